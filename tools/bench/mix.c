/* The clients that are not as one would like them: who leave and come back, who read slowly, whose
 * app loses what it got. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_hash.h"

#define TRIES     64     /* for a client that is there */
#define DROPS_MAX 65536u /* unacked at once, of a worker; a power of two */
#define PROBES    8u

static const struct options *options_of(const struct fleet *fleet)
{
	return fleet->engine.worker->options;
}

bool mix_chosen(uint32_t number, unsigned salt, double share)
{
	uint32_t hash = (number * 2654435761u) ^ (salt * 0x9e3779b9u);

	hash ^= hash >> 15;
	hash *= 0x2c1b3c6du;
	hash ^= hash >> 12;
	return (double)hash < share * 4294967296.0;
}

/* ---- churn ---- */

static struct client *any_open(struct fleet *fleet)
{
	uint64_t there = fleet->next_arrival, place = hf_random_below(there);

	for (unsigned i = 0; i < TRIES; i++, place++) {
		struct client *client = &fleet->clients[place % there];

		if (client->state == CLIENT_OPEN)
			return client;
	}
	return NULL;
}

/* A device that changes networks: the connection is gone without a word, and soon there is another.
 * It begins when all have been begun, and its rate is a share of those that there are to be just
 * then: a ramp that goes down takes it along. */
uint64_t mix_churn_due(struct fleet *fleet)
{
	double rate = options_of(fleet)->churn * (double)fleet->next_arrival;
	uint64_t now_ns = fleet->engine.now_ns;

	if (fleet->churn_ns == 0 && fleet->next_arrival < fleet->count)
		return UINT64_MAX;
	if (fleet->churn_ns != 0)
		fleet->churn_credit += rate * (double)(now_ns - fleet->churn_ns) / 1e9;
	fleet->churn_ns = now_ns;
	if (rate <= 0)
		return UINT64_MAX;
	for (unsigned i = 0; i < BURST; i++) {
		struct client *client;

		if (fleet->churn_credit < 1)
			return now_ns + 1 + (uint64_t)((1 - fleet->churn_credit) / rate * 1e9);
		fleet->churn_credit -= 1;
		client = any_open(fleet);
		if (client == NULL)
			continue;
		fleet->engine.worker->stats->counters[COUNT_CHURNED]++;
		client->churned = true;
		client_drop(client, DROP_CUT);
		retry_plan(client, BACK_CHURN, 0, 0);
	}
	return now_ns;
}

/* ---- messages that the app loses ---- */

/* One that was not acked, and has not come again. */
struct drop {
	uint64_t message_id, at_ns; /* at_ns 0: a free place */
	uint32_t client;
};
struct drops {
	struct drop places[DROPS_MAX];
};

int mix_open(struct fleet *fleet)
{
	if (options_of(fleet)->loss_app <= 0)
		return 0;
	fleet->drops = calloc(1, sizeof(*fleet->drops));
	return fleet->drops == NULL ? -ENOMEM : 0;
}

void mix_close(struct fleet *fleet)
{
	free(fleet->drops);
}

static struct drop *place_of(struct fleet *fleet, uint64_t message_id, uint32_t client, unsigned i)
{
	uint64_t hash = hf_hash_u64(message_id + client * 0x9e3779b97f4a7c15u);

	return &fleet->drops->places[(hash + i) % DROPS_MAX];
}

bool mix_loses(struct client *client, uint64_t message_id)
{
	struct fleet *fleet = client->fleet;

	if (fleet->drops == NULL ||
	    (double)hf_random_below(1000000000) >= options_of(fleet)->loss_app * 1e9)
		return false;
	for (unsigned i = 0; i < PROBES; i++) {
		struct drop *drop = place_of(fleet, message_id, client->number, i);

		if (drop->at_ns != 0)
			continue;
		*drop = (struct drop){ message_id, fleet->engine.now_ns, client->number };
		fleet->engine.worker->stats->counters[COUNT_APP_LOST]++;
		return true;
	}
	return false; /* too many are lost already */
}

bool mix_came_again(struct client *client, uint64_t message_id)
{
	struct fleet *fleet = client->fleet;
	struct stats *stats = fleet->engine.worker->stats;

	for (unsigned i = 0; fleet->drops != NULL && i < PROBES; i++) {
		struct drop *drop = place_of(fleet, message_id, client->number, i);

		if (drop->at_ns == 0 || drop->message_id != message_id ||
		    drop->client != client->number)
			continue;
		hf_histogram_record(&stats->hist[HIST_REDELIVER],
				    (fleet->engine.now_ns - drop->at_ns) / 1000);
		stats->counters[COUNT_REDELIVERED]++;
		drop->at_ns = 0;
		return true;
	}
	return false;
}
