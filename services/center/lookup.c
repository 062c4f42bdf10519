/* services/center/lookup.c - see lookup.h. */
#include "lookup.h"

#include <errno.h>
#include <stdlib.h>

/* One call: which items it asked about. */
struct lookup_call {
	struct lookup *lookup;
	size_t count;
	uint32_t at[];
};

static void one_less(struct lookup *lookup)
{
	if (--lookup->open > 0)
		return;
	lookup->done(lookup, lookup->ctx);
	free(lookup);
}

static void on_reply(const Hf__LookupReply *reply, void *ctx)
{
	struct lookup_call *call = ctx;
	struct lookup *lookup = call->lookup;

	for (size_t i = 0; reply != NULL && reply->n_results == call->count && i < call->count;
	     i++) {
		struct lookup_item *item = &lookup->items[call->at[i]];

		item->presence = reply->results[i]->presence;
		item->room = reply->results[i]->room;
		item->session = reply->results[i]->session;
		item->epoch = reply->results[i]->epoch;
	}
	free(call);
	one_less(lookup);
}

/* Ask `peer` about all items of its slots that come at or after `first`. */
static void ask(struct lookup *lookup, struct hf_peer *peer, size_t first, bool *asked)
{
	struct center *center = lookup->center;
	struct lookup_call *call =
		malloc(sizeof(*call) + (lookup->count - first) * sizeof(call->at[0]));
	size_t room = lookup->count - first;
	Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;
	Hf__LookupItem *items;

	hf_arena_reset(&center->call);
	items = hf_arena_alloc(&center->call, room * sizeof(*items));
	request.items = hf_arena_alloc(&center->call, room * sizeof(*request.items));
	if (call == NULL || items == NULL || request.items == NULL) {
		free(call);
		asked[first] = true; /* stays not known */
		return;
	}
	call->lookup = lookup;
	call->count = 0;
	for (size_t i = first; i < lookup->count; i++) {
		Hf__LookupItem *item = &items[call->count];

		if (asked[i] || hf_peers_by_slot(center->registers, lookup->items[i].slot) != peer)
			continue;
		asked[i] = true;
		hf__lookup_item__init(item);
		item->app = lookup->app;
		item->registration.data = (uint8_t *)lookup->items[i].registration.data;
		item->registration.len = lookup->items[i].registration.len;
		request.items[call->count] = item;
		call->at[call->count++] = (uint32_t)i;
	}
	request.n_items = call->count;
	lookup->open++;
	hf__register__lookup(hf_peers_call(center->registers, peer,
					   (uint32_t)center->config->query_ms),
			     &request, on_reply, call);
}

int lookup_start(struct center *center, uint32_t app, const struct hf_bytes *registrations,
		 size_t count, lookup_done done, void *ctx)
{
	size_t names = 0;
	struct lookup *lookup;
	uint8_t *copy;
	bool *asked;

	for (size_t i = 0; i < count; i++)
		names += registrations[i].len;
	lookup = calloc(1, sizeof(*lookup) + count * sizeof(lookup->items[0]) + names);
	asked = calloc(count > 0 ? count : 1, sizeof(*asked));
	if (lookup == NULL || asked == NULL) {
		free(lookup);
		free(asked);
		return -ENOMEM;
	}
	lookup->center = center;
	lookup->app = app;
	lookup->done = done;
	lookup->ctx = ctx;
	lookup->count = count;
	lookup->open = 1; /* held while the calls are made */
	copy = (uint8_t *)&lookup->items[count];
	for (size_t i = 0; i < count; i++) {
		struct lookup_item *item = &lookup->items[i];

		memcpy(copy, registrations[i].data, registrations[i].len);
		item->registration = hf_bytes_of(copy, registrations[i].len);
		item->slot = hf_service_slot(center->service, app, copy, registrations[i].len);
		item->presence = HF__PRESENCE__NOT_YET_KNOWN;
		copy += registrations[i].len;
	}
	for (size_t i = 0; i < count; i++)
		if (!asked[i])
			ask(lookup, hf_peers_by_slot(center->registers, lookup->items[i].slot), i,
			    asked);
	free(asked);
	one_less(lookup);
	return 0;
}
