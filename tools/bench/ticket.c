/* What clients get their sessions back with after a cut (proto/README.md, "Flash cut"): a ticket
 * each, kept beside the clients, as few runs want them. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_wire.h"

struct ticket {
	uint32_t linger_s;
	uint32_t until_s; /* 0: the connection is there */
	uint8_t len;
	uint8_t data[HF_WIRE_TICKET_MAX];
};

int tickets_open(struct fleet *fleet)
{
	fleet->tickets = calloc(fleet->count + 1, sizeof(*fleet->tickets));
	return fleet->tickets == NULL ? -ENOMEM : 0;
}

void tickets_close(struct fleet *fleet)
{
	free(fleet->tickets);
}

static struct ticket *ticket_of(const struct client *client)
{
	struct fleet *fleet = client->fleet;

	return fleet->tickets == NULL ? NULL : &fleet->tickets[client - fleet->clients];
}

static uint32_t now_s(const struct client *client)
{
	return (uint32_t)(client->fleet->engine.now_ns / 1000000000u);
}

void ticket_keep(struct client *client, struct hf_bytes data, uint32_t linger_s)
{
	struct ticket *ticket = ticket_of(client);

	if (ticket == NULL)
		return;
	*ticket = (struct ticket){ .linger_s = linger_s };
	if (linger_s == 0 || data.len == 0 || data.len > sizeof(ticket->data))
		return;
	memcpy(ticket->data, data.data, data.len);
	ticket->len = (uint8_t)data.len;
}

void ticket_on_end(struct client *client, bool cut)
{
	struct ticket *ticket = ticket_of(client);

	if (ticket == NULL)
		return;
	ticket->until_s = now_s(client) + ticket->linger_s;
	if (!cut)
		ticket->len = 0;
}

struct hf_bytes ticket_show(const struct client *client)
{
	const struct ticket *ticket = ticket_of(client);

	if (ticket == NULL || ticket->len == 0 || now_s(client) > ticket->until_s)
		return hf_bytes_of(NULL, 0);
	return hf_bytes_of(ticket->data, ticket->len);
}
