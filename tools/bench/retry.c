/* Who comes back after an end that was not ours: when, and where. As the SDKs do it
 * (proto/README.md, "Close codes"): what goes on in the back-off of a crowd is part of the test. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_backoff.h"
#include "hf_hash.h"
#include "hf_wire.h"

#define STABLE_NS  60000000000 /* so long logged in, and what failed before is forgotten */
#define LOYAL_TILL 3           /* failures in a row, then other rooms are tried too */

int retry_open(struct fleet *fleet)
{
	/* Room for all of them at once; memory that is never written is none. */
	fleet->retries.heap = calloc(fleet->count + 1, sizeof(*fleet->retries.heap));
	return fleet->retries.heap == NULL ? -ENOMEM : 0;
}

void retry_close(struct fleet *fleet)
{
	free(fleet->retries.heap);
}

static void heap_add(struct retries *retries, struct retry retry)
{
	size_t i = retries->count++;

	for (; i > 0 && retries->heap[(i - 1) / 2].due_ns > retry.due_ns; i = (i - 1) / 2)
		retries->heap[i] = retries->heap[(i - 1) / 2];
	retries->heap[i] = retry;
}

static struct retry heap_take(struct retries *retries)
{
	struct retry first = retries->heap[0], last = retries->heap[--retries->count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < retries->count) {
		if (child + 1 < retries->count &&
		    retries->heap[child + 1].due_ns < retries->heap[child].due_ns)
			child++;
		if (last.due_ns <= retries->heap[child].due_ns)
			break;
		retries->heap[i] = retries->heap[child];
		i = child;
	}
	retries->heap[i] = last;
	return first;
}

static uint32_t backoff_ms(struct client *client, const struct options *options)
{
	struct hf_backoff backoff = { .base_ms = options->backoff.base_ms,
				      .cap_ms = options->backoff.cap_ms,
				      .attempts = client->attempts };

	if (client->attempts < UINT8_MAX)
		client->attempts++;
	return hf_backoff_next_ms(&backoff);
}

static uint64_t wait_ms(struct client *client, enum back why, unsigned code)
{
	const struct options *options = client->fleet->engine.worker->options;

	if (client->attempts == 0 && (why >= BACK_CUT || code == HF_CLOSE_KEEPALIVE_TIMEOUT)) {
		/* A server that dies sends all its clients here at once. */
		client->attempts = 1;
		return hf_random_below(options->first_retry_ms + 1);
	}
	if (client->attempts == 0 && hf_close_action(code) == HF_CLOSE_MOVE) {
		client->attempts = 1; /* at once, but once: servers may send us round in circles */
		return 0;
	}
	return backoff_ms(client, options);
}

void retry_plan(struct client *client, enum back why, unsigned code, uint32_t delay_ms)
{
	struct fleet *fleet = client->fleet;
	const struct targets *targets = fleet->engine.worker->targets;
	uint64_t now_ns = fleet->engine.now_ns;
	bool elsewhere =
		code != HF_CLOSE_KEEPALIVE_TIMEOUT && hf_close_action(code) == HF_CLOSE_MOVE;

	if (client->back == BACK_NONE)
		client->back = (uint8_t)why;
	client->churned = client->back == BACK_CHURN;
	if ((!fleet->engine.worker->options->retry && why != BACK_CHURN) ||
	    hf_close_action(code) == HF_CLOSE_STOP)
		return;
	if (why == BACK_CHURN || (why != BACK_FAILED && now_ns - client->connected_ns >= STABLE_NS))
		client->attempts = 0;
	else if (why == BACK_FAILED)
		elsewhere = client->connected_ns == 0 || client->attempts >= LOYAL_TILL;
	if (elsewhere)
		client->room = (uint8_t)hf_random_below(targets->count);
	client->waiting = true;
	heap_add(&fleet->retries,
		 (struct retry){ now_ns + (wait_ms(client, why, code) + delay_ms) * 1000000u,
				 (uint32_t)(client - fleet->clients) });
}

uint64_t retry_due(struct fleet *fleet)
{
	struct retries *retries = &fleet->retries;

	for (unsigned i = 0; retries->count > 0; i++) {
		uint64_t due_ns = retries->heap[0].due_ns;
		struct client *client;

		if (due_ns > fleet->engine.now_ns)
			return due_ns;
		if (i == BURST)
			return fleet->engine.now_ns;
		client = &fleet->clients[heap_take(retries).client];
		client->waiting = false;
		if (client->left)
			continue;
		/* Who comes back from a wave is timed from the wave on. */
		client_start(client, client->wave > 0 ? client->intended_ns : due_ns);
	}
	return UINT64_MAX;
}
