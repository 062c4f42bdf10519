/* sdk/c/send.c - messages to the businesses, and how it went with each. */
#include <errno.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_text.h"

static uint32_t next_sequence(struct hf_client *client)
{
	client->last_sequence = client->last_sequence == INT32_MAX ? 1 : client->last_sequence + 1;
	return client->last_sequence;
}

int hf_client_send(struct hf_client *client, uint32_t id, const char *type, const void *data,
		   size_t len)
{
	const struct app *app = app_find(client, id);
	struct hf_wire_upstream upstream = { .app = id, .payload = hf_bytes_of(data, len) };
	size_t size = len + HF_WIRE_UPSTREAM_OVERHEAD;
	uint8_t *room;
	ssize_t n;

	if (app == NULL)
		return -ENOENT;
	if (type == NULL || !hf_text_is_id(type, strlen(type), HF_WIRE_LABEL_MAX) ||
	    (data == NULL && len > 0))
		return -EINVAL;
	if (client->phase != PHASE_ACTIVE || app->state != APP_ATTACHED)
		return -ENOTCONN;
	if (len > HF_WIRE_PAYLOAD_MAX || (client->frame_max != 0 && size > client->frame_max))
		return -EMSGSIZE;
	if (client->send_count == HF_CLIENT_SENDS_MAX ||
	    client->quiet_until_ms > hf_clock_monotonic_ms())
		return -EAGAIN;
	room = connection_room(client, size);
	if (room == NULL)
		return -EAGAIN;
	upstream.forward_type = hf_bytes_of_string(type);
	upstream.sequence = next_sequence(client);
	n = hf_wire_encode_upstream(&upstream, room, size);
	if (n < 0)
		return (int)n;
	connection_committed(client, n);
	client->sends[client->send_count++] =
		(struct sent){ .app = id, .sequence = upstream.sequence };
	client->stats.sends++;
	return (int)upstream.sequence;
}

static void remove_at(struct hf_client *client, size_t i)
{
	client->send_count--;
	memmove(&client->sends[i], &client->sends[i + 1],
		(client->send_count - i) * sizeof(client->sends[0]));
}

static void tell(struct hf_client *client, struct sent sent, int result, const char *reason)
{
	client->stats.sends_failed += result != 0;
	if (client->config.callbacks.on_send_result != NULL)
		client->config.callbacks.on_send_result(client, sent.app, sent.sequence, result,
							reason, client->config.ctx);
}

bool send_on_ack(struct hf_client *client, struct hf_bytes body)
{
	struct hf_wire_upstream_ack ack;
	char reason[HF_WIRE_REASON_MAX + 1] = "";

	if (hf_wire_decode_upstream_ack(body, &ack) < 0 || ack.code > INT32_MAX)
		return false;
	if (ack.reason.len > 0)
		memcpy(reason, ack.reason.data, ack.reason.len);
	for (size_t i = 0; i < client->send_count; i++) {
		struct sent sent = client->sends[i];

		if (sent.app != ack.app || sent.sequence != ack.sequence)
			continue;
		remove_at(client, i);
		tell(client, sent, (int)ack.code, reason);
		break;
	}
	return true; /* one of an app that was detached is nobody's */
}

void send_fail(struct hf_client *client, uint32_t app, int result)
{
	struct sent failed[HF_CLIENT_SENDS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < client->send_count; i++)
		if (app == 0 || client->sends[i].app == app)
			failed[count++] = client->sends[i];
	send_forget(client, app); /* before the callbacks, which may send again */
	for (size_t i = 0; i < count; i++)
		tell(client, failed[i], result, hf_client_strerror(result));
}

void send_forget(struct hf_client *client, uint32_t app)
{
	for (size_t i = client->send_count; i-- > 0;)
		if (app == 0 || client->sends[i].app == app)
			remove_at(client, i);
}
