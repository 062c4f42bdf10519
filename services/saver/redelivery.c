#include "redelivery.h"

#include <errno.h>
#include <stdlib.h>

#include "delivery.h"
#include "log_cache.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "saver.h"
#include "sweep.h"

#define TICK_MS     200
#define BATCH_MAX   1000u /* Lookup takes no more */
#define IN_HAND_MAX 4000u

struct saver_redelivery {
	struct saver *saver;
	struct hf_timer tick;
	uint32_t in_hand; /* entries taken and not given back yet */
	uint64_t *results[HF__PUSH_RESULT__DROPPED + 1];
	uint64_t *offline, *failed, *given_up;
};

/* Entries of one register, while it is asked. */
struct lookup {
	struct saver_redelivery *redelivery;
	size_t count;
	hf_handle handles[];
};

/* One message, while it is read and pushed. */
struct delivery {
	struct saver_redelivery *redelivery;
	struct saver_log_wait wait;
	hf_handle handle;
	uint32_t room;
	uint32_t session;
	uint64_t epoch;
};

/* It was tried, and is not acked yet: later, and less often each time. */
static void try_again(struct saver_redelivery *redelivery, hf_handle handle)
{
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, handle);

	redelivery->in_hand--;
	if (entry != NULL &&
	    !saver_owed_again(&saver->owed, entry, hf_loop_now_ms(saver->service->loop)))
		++*redelivery->given_up;
}

/* It could not be tried. However long that lasts, it is not given up: its client may stay connected
 * for days, and nobody else would push it. */
static void try_later(struct saver_redelivery *redelivery, hf_handle handle)
{
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, handle);

	redelivery->in_hand--;
	if (entry != NULL)
		saver_owed_wait(&saver->owed, entry, hf_loop_now_ms(saver->service->loop));
}

static void forget(struct saver_redelivery *redelivery, hf_handle handle)
{
	struct saver_owed_entry *entry = saver_owed_get(&redelivery->saver->owed, handle);

	redelivery->in_hand--;
	if (entry != NULL)
		saver_owed_drop(&redelivery->saver->owed, entry);
}

static void on_push(const Hf__PushReply *reply, void *ctx)
{
	struct delivery *delivery = ctx;
	struct saver_redelivery *redelivery = delivery->redelivery;
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, delivery->handle);

	if (reply == NULL || reply->n_results != 1 ||
	    (unsigned)reply->results[0] > HF__PUSH_RESULT__DROPPED) {
		++*redelivery->failed;
		try_later(redelivery, delivery->handle);
	} else {
		++*redelivery->results[reply->results[0]];
		if (reply->results[0] == HF__PUSH_RESULT__WRITTEN && entry != NULL)
			saver_quarantine_on_delivery(&saver->quarantine, &entry->name,
						     entry->message_id,
						     hf_loop_wall_ms(saver->service->loop));
		try_again(redelivery, delivery->handle);
	}
	free(delivery);
}

static void push(struct delivery *delivery, const struct saver_owed_entry *entry,
		 const struct saver_value *value)
{
	struct saver *saver = delivery->redelivery->saver;
	struct hf_peer *room = hf_peers_by_number(saver->rooms, delivery->room);
	Hf__PushItem item = HF__PUSH_ITEM__INIT, *items[1] = { &item };
	Hf__PushRequest request = HF__PUSH_REQUEST__INIT;
	Hf__Delivery *how = saver_delivery_unpack(value->delivery);

	hf_why_note_name(&saver->service->why, HF_WHY_REDELIVERED, entry->name.app,
			 entry->name.bytes, entry->name.len, entry->message_id, delivery->room);
	item.frame.data = (uint8_t *)value->frame.data;
	item.frame.len = value->frame.len;
	item.message_id = entry->message_id;
	item.class_ = (Hf__Class)value->class;
	item.expires_ms = value->expires_ms;
	item.delivery = how;
	item.n_sessions = item.n_epochs = 1;
	item.sessions = &delivery->session;
	item.epochs = &delivery->epoch;
	request.n_items = 1;
	request.items = items;
	hf__room__push(hf_peers_call(saver->rooms, room,
				     (uint32_t)saver->config->redelivery_timeout_ms),
		       &request, on_push, delivery);
	saver_delivery_free(how);
}

static void on_value(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct delivery *delivery = ctx;
	struct saver_redelivery *redelivery = delivery->redelivery;
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, delivery->handle);
	struct saver_value value;
	bool first = true, fresh;

	if (error != SAVER_OK) {
		++*redelivery->failed;
		try_later(redelivery, delivery->handle);
	} else if (entry == NULL || reply->type != REDIS_REPLY_STRING ||
		   !saver_value_decode(saver_reply_bytes(reply), &value) ||
		   value.expires_ms <= hf_loop_wall_ms(saver->service->loop)) {
		forget(redelivery, delivery->handle);
	} else if (saver_quarantine_skips(&saver->quarantine, &entry->name, entry->message_id,
					  hf_loop_wall_ms(saver->service->loop), &first, &fresh)) {
		*saver->metrics.quarantined_messages += fresh;
		forget(redelivery, delivery->handle);
	} else {
		push(delivery, entry, &value);
		return;
	}
	free(delivery);
}

/* Read the message, as by now it may be acked. */
static void read_value(struct delivery *delivery, const struct saver_owed_entry *entry)
{
	struct saver_redelivery *redelivery = delivery->redelivery;
	struct saver *saver = redelivery->saver;
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HGET"),
				     { key, saver_queue_key_encode(&entry->name, key) },
				     { field, sizeof(field) } };

	saver_field_encode(entry->message_id, field);
	if (saver_redis_send_slot(saver->redis, entry->name.slot, SAVER_OP_REDELIVER, words, 3,
				  on_value, delivery) == SAVER_OK)
		return;
	++*redelivery->failed;
	try_later(redelivery, delivery->handle);
	free(delivery);
}

static void on_log(struct saver_log_wait *wait, struct saver_log_app *app, enum saver_error error)
{
	struct delivery *delivery = HF_CONTAINER_OF(wait, struct delivery, wait);
	struct saver_redelivery *redelivery = delivery->redelivery;
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, delivery->handle);
	bool recalled;

	if (error != SAVER_OK) {
		++*redelivery->failed;
		try_later(redelivery, delivery->handle);
		free(delivery);
		return;
	}
	recalled = entry != NULL && saver_log_is_recalled(app, entry->message_id,
							  hf_loop_wall_ms(saver->service->loop));
	saver_log_release(app);
	if (entry != NULL && !recalled) {
		read_value(delivery, entry);
		return;
	}
	if (recalled && saver_remove(saver, &entry->name, &entry->message_id, 1, SAVER_RECALLED,
				     NULL, NULL) != SAVER_OK)
		++*redelivery->failed; /* its load, or the sweep, drops it */
	forget(redelivery, delivery->handle);
	free(delivery);
}

/* The session is there. Was the message recalled meanwhile? */
static void deliver(struct saver_redelivery *redelivery, hf_handle handle,
		    const Hf__LookupResult *result)
{
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *entry = saver_owed_get(&saver->owed, handle);
	struct delivery *delivery;

	if (entry == NULL) {
		redelivery->in_hand--;
		return;
	}
	delivery = malloc(sizeof(*delivery));
	if (delivery == NULL) {
		try_later(redelivery, handle);
		return;
	}
	*delivery = (struct delivery){ .redelivery = redelivery,
				       .wait = { .done = on_log },
				       .handle = handle,
				       .room = result->room,
				       .session = result->session,
				       .epoch = result->epoch };
	if (saver_log_ask(saver->log, entry->name.app, &delivery->wait) != SAVER_OK) {
		++*redelivery->failed;
		try_later(redelivery, handle);
		free(delivery);
	}
}

static void on_lookup(const Hf__LookupReply *reply, void *ctx)
{
	struct lookup *lookup = ctx;
	struct saver_redelivery *redelivery = lookup->redelivery;
	bool usable = reply != NULL && reply->n_results == lookup->count;

	for (size_t i = 0; i < lookup->count; i++) {
		const Hf__LookupResult *result = usable ? reply->results[i] : NULL;

		if (result == NULL) {
			++*redelivery->failed;
			try_later(redelivery, lookup->handles[i]);
		} else if (result->presence == HF__PRESENCE__ONLINE) {
			deliver(redelivery, lookup->handles[i], result);
		} else if (result->presence == HF__PRESENCE__OFFLINE) {
			++*redelivery->offline;
			forget(redelivery, lookup->handles[i]);
		} else {
			try_later(redelivery, lookup->handles[i]);
		}
	}
	free(lookup);
}

/* One Lookup for those of `taken` that belong to `owner`; they are taken out of the array. */
static void ask_register(struct saver_redelivery *redelivery, struct hf_peer *owner,
			 struct saver_owed_entry **taken, struct hf_peer **owners, size_t count)
{
	struct saver *saver = redelivery->saver;
	struct lookup *lookup = malloc(sizeof(*lookup) + count * sizeof(lookup->handles[0]));
	Hf__LookupItem items[BATCH_MAX], *pointers[BATCH_MAX];
	Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (taken[i] == NULL || owners[i] != owner)
			continue;
		if (lookup == NULL) {
			try_later(redelivery, taken[i]->handle);
		} else {
			hf__lookup_item__init(&items[n]);
			items[n].app = taken[i]->name.app;
			items[n].registration.data = taken[i]->name.bytes;
			items[n].registration.len = taken[i]->name.len;
			pointers[n] = &items[n];
			lookup->handles[n++] = taken[i]->handle;
		}
		taken[i] = NULL;
	}
	if (lookup == NULL)
		return;
	lookup->redelivery = redelivery;
	lookup->count = n;
	request.n_items = n;
	request.items = pointers;
	hf__register__lookup(hf_peers_call(saver->registers, owner,
					   (uint32_t)saver->config->redelivery_timeout_ms),
			     &request, on_lookup, lookup);
}

static void on_tick(struct hf_timer *timer, void *ctx)
{
	struct saver_redelivery *redelivery = ctx;
	struct saver *saver = redelivery->saver;
	struct saver_owed_entry *taken[BATCH_MAX], *entry;
	struct hf_peer *owners[BATCH_MAX];
	uint64_t now = hf_loop_now_ms(saver->service->loop);
	size_t count = 0, passed = 0;

	if (saver->owed_missed && saver_owed_count(&saver->owed) < saver->owed.slab.limit / 2) {
		saver->owed_missed = false;
		saver_sweep_hurry(saver->sweep);
	}
	while (count < BATCH_MAX && redelivery->in_hand < IN_HAND_MAX &&
	       (entry = saver_owed_due(&saver->owed, now)) != NULL) {
		if (saver_redis_state(saver->redis, saver_node_of(saver, &entry->name)) !=
		    SAVER_NODE_SERVING) {
			saver_owed_wait(&saver->owed, entry, now);
			if (++passed == BATCH_MAX)
				break;
			continue;
		}
		redelivery->in_hand++;
		owners[count] = hf_peers_by_slot(saver->registers, entry->name.slot);
		taken[count++] = entry;
	}
	for (size_t i = 0; i < count; i++) {
		if (taken[i] != NULL)
			ask_register(redelivery, owners[i], taken, owners, count);
	}
	/* A full batch: there is more; it goes on as soon as this one is on its way. Those of a
	 * node that is away must not keep the others waiting either. */
	hf_loop_arm(saver->service->loop, timer,
		    count == BATCH_MAX || passed == BATCH_MAX ? 10 : TICK_MS);
}

int saver_redelivery_new(struct saver *saver, struct saver_redelivery **ret)
{
	static const char *const labels[] = {
		[HF__PUSH_RESULT__WRITTEN] = "result=\"written\"",
		[HF__PUSH_RESULT__DEFERRED] = "result=\"deferred\"",
		[HF__PUSH_RESULT__IN_FLIGHT] = "result=\"in_flight\"",
		[HF__PUSH_RESULT__GONE] = "result=\"gone\"",
		[HF__PUSH_RESULT__DROPPED] = "result=\"dropped\"",
	};
	static const char name[] = "holdfast_saver_redeliveries_total";
	static const char help[] = "Messages that were stored and not acked in time, by what became"
				   " of the next delivery.";
	struct hf_metrics *metrics = saver->service->metrics;
	struct saver_redelivery *redelivery = calloc(1, sizeof(*redelivery));

	if (redelivery == NULL)
		return -ENOMEM;
	redelivery->saver = saver;
	for (size_t i = 0; i < HF_ARRAY_LEN(labels); i++)
		redelivery->results[i] = hf_metrics_counter(metrics, name, labels[i], help);
	redelivery->offline = hf_metrics_counter(metrics, name, "result=\"offline\"", help);
	redelivery->failed = hf_metrics_counter(metrics, name, "result=\"failed\"", help);
	redelivery->given_up = hf_metrics_counter(metrics, name, "result=\"given_up\"", help);
	hf_timer_init(&redelivery->tick, on_tick, redelivery);
	hf_loop_arm(saver->service->loop, &redelivery->tick, TICK_MS);
	*ret = redelivery;
	return 0;
}

void saver_redelivery_free(struct saver_redelivery *redelivery)
{
	if (redelivery == NULL)
		return;
	hf_wheel_disarm(&redelivery->tick);
	free(redelivery);
}
