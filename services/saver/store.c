/* Store: into Redis, and for `durable` also into the database, before the reply. */
#include <stdlib.h>

#include "collapse.h"
#include "delivery.h"
#include "labels.h"
#include "saver.h"
#include "tell.h"

struct item {
	struct saver_row_waiter waiter; /* durable: told when the row is committed */
	struct store *store;
	struct saver_frame *frame;
	uint8_t collapse_len;
	uint8_t collapse_key[SAVER_COLLAPSE_KEY_MAX];
	uint64_t message_id, expires_ms;
	uint32_t cap;
	uint8_t class;
	bool unregistered; /* nobody ever attached as this registration: not stored */
	bool counts_message;
	bool paced;
	enum saver_error error; /* why it is not stored, or not known to be */
	struct saver_name name;
};

/* One call; freed when nothing is pending and the reply is out. */
struct store {
	struct saver *saver;
	Hf__StoreReply_Closure closure;
	void *call;
	Hf__Durability durability;
	uint32_t pending; /* replies and commits awaited, and 1 while items are sent */
	size_t count;
	struct item items[];
};

static void note_error(struct item *item, enum saver_error error)
{
	if (item->error == SAVER_OK)
		item->error = error;
}

/* What is stored must not be held up by what is not: an item fails alone, unless all do. */
static void answer(struct store *store)
{
	Hf__StoreReply reply = HF__STORE_REPLY__INIT;
	Hf__StoreFailure failures[SAVER_STORE_ITEMS_MAX], *pointers[SAVER_STORE_ITEMS_MAX];
	uint32_t unregistered[SAVER_STORE_ITEMS_MAX];
	enum saver_error first = SAVER_OK;

	reply.unregistered = unregistered;
	for (size_t i = 0; i < store->count; i++) {
		enum saver_error error = store->items[i].error;
		Hf__StoreFailure *failure = &failures[reply.n_failures];

		if (store->items[i].unregistered)
			unregistered[reply.n_unregistered++] = (uint32_t)i;
		if (error == SAVER_OK)
			continue;
		if (first == SAVER_OK)
			first = error;
		hf__store_failure__init(failure);
		failure->item = (uint32_t)i;
		failure->reason = (char *)saver_error_reason(error);
		pointers[reply.n_failures++] = failure;
	}
	if (first != SAVER_OK && reply.n_failures == store->count) {
		saver_fail(store->saver, store->call, first);
		return;
	}
	if (first != SAVER_OK)
		++*store->saver->metrics.refused[first];
	reply.durability = store->durability;
	reply.failures = pointers;
	store->closure(&reply, store->call);
}

static void release(struct store *store)
{
	if (--store->pending > 0)
		return;
	answer(store);
	for (size_t i = 0; i < store->count; i++)
		saver_frame_unref(store->items[i].frame);
	free(store);
}

static void on_committed(struct saver_row_waiter *waiter, bool ok)
{
	struct item *item = HF_CONTAINER_OF(waiter, struct item, waiter);

	if (!ok)
		note_error(item, SAVER_DATABASE_UNAVAILABLE);
	release(item->store);
}

/* Redis has it: on to the database. */
static void item_stored(struct item *item)
{
	struct store *store = item->store;
	struct saver *saver = store->saver;
	bool durable = item->class == HF__CLASS__DURABLE;
	Hf__Durability reached =
		saver_health_durability(saver->health, saver_node_of(saver, &item->name));
	enum saver_error error;

	item->waiter.committed = on_committed;
	error = saver_write_behind_put(saver->wb, &item->name, item->message_id, item->class,
				       item->expires_ms, item->frame,
				       durable ? &item->waiter : NULL);
	if (error != SAVER_OK)
		note_error(item, error);
	else if (durable)
		store->pending++;
	if (durable)
		reached = HF__DURABILITY__COMMITTED;
	store->durability = HF_MIN(store->durability, reached);
}

/* To see to it that it is acked, or delivered once more. */
static void look_after(struct item *item)
{
	struct saver *saver = item->store->saver;

	if (item->paced)
		return;
	if (!saver_owed_add(&saver->owed, &item->name, item->message_id,
			    hf_loop_now_ms(saver->service->loop))) {
		++*saver->metrics.owed_overflow;
		saver->owed_missed = true;
	}
}

/* It was not there before. */
static void count_stored(struct item *item)
{
	struct saver *saver = item->store->saver;
	struct hf_bytes packed = saver_frame_delivery(item->frame), label = { 0 };
	Hf__Delivery *delivery = saver_delivery_unpack(packed);

	if (delivery != NULL)
		label = hf_bytes_of(delivery->label.data, delivery->label.len);
	saver_history_stored(&saver->history, item->name.app, item->message_id, item->class,
			     item->expires_ms, packed.len > 0);
	saver_account(saver, &item->name, item->message_id, SAVER_STORED, true);
	saver_count_label(saver, item->name.app, SAVER_STORED, delivery);
	if (item->counts_message)
		saver_labels_message(saver->labels, item->name.app, label);
	saver_delivery_free(delivery);
}

/* A newer one with its key is owed instead. The script took it already: if we are killed now, no
 * receipt tells of it. */
static void left_collapsed(struct item *item, uint64_t id, struct hf_bytes packed)
{
	struct saver *saver = item->store->saver;
	Hf__Delivery *delivery = saver_delivery_unpack(packed);

	(void)!saver_tell(saver, &item->name, id, SAVER_COLLAPSED, delivery);
	saver_account(saver, &item->name, id, SAVER_COLLAPSED, true);
	saver_count_label(saver, item->name.app, SAVER_COLLAPSED, delivery);
	saver_delivery_free(delivery);
}

/* `fresh`: it was not there before. */
static void queued(struct item *item, bool fresh)
{
	struct saver *saver = item->store->saver;

	if (fresh)
		count_stored(item);
	else
		saver_account(saver, &item->name, item->message_id, SAVER_STORED, false);
	item_stored(item);
	look_after(item);
}

static void not_queued(struct item *item, enum saver_error error)
{
	note_error(item, error);
	/* Perhaps Redis has it all the same: then nobody else would push it. */
	if (error == SAVER_STORE_UNAVAILABLE)
		look_after(item);
}

static void on_hset(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK)
		queued(item, reply->integer > 0);
	else
		not_queued(item, error);
	release(item->store);
}

/* It came after a newer one with its key: accepted, and never owed. */
static void superseded(struct item *item, bool fresh)
{
	if (!fresh)
		return;
	count_stored(item);
	left_collapsed(item, item->message_id, saver_frame_delivery(item->frame));
}

static void on_collapse(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;
	struct saver_collapsed collapsed;

	if (error == SAVER_OK && !saver_collapse_parse(reply, &collapsed))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		not_queued(item, error);
	} else if (collapsed.outcome >= SAVER_COLLAPSE_SUPERSEDED) {
		superseded(item, collapsed.outcome == SAVER_COLLAPSE_SUPERSEDED);
	} else {
		if (collapsed.replaced_id != 0)
			left_collapsed(item, collapsed.replaced_id, collapsed.replaced);
		queued(item, collapsed.outcome == SAVER_COLLAPSE_STORED);
	}
	release(item->store);
}

static void on_hlen(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;
	struct store *store = item->store;
	struct saver *saver = store->saver;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0) {
		/* It is true for as long as nothing else is on its way. */
		if (!saver_redis_slot_busy(saver->redis, item->name.slot))
			saver_known_set_length(&saver->registry.known, &item->name,
					       (uint64_t)reply->integer);
		if (reply->integer > (long long)item->cap)
			saver_trim(saver, &item->name, item->cap);
	}
	release(store);
}

static enum saver_error put(struct item *item)
{
	struct saver_redis *redis = item->store->saver->redis;
	struct saver_value value = { item->class, item->expires_ms,
				     saver_frame_delivery(item->frame),
				     saver_frame_bytes(item->frame) };
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE], bytes[SAVER_VALUE_MAX];
	struct hf_bytes words[4] = { HF_BYTES_LITERAL("HSET"),
				     { key, saver_queue_key_encode(&item->name, key) },
				     { field, sizeof(field) },
				     { bytes, 0 } };

	if (item->collapse_len > 0)
		return saver_collapse_send(redis, SAVER_OP_STORE, &item->name, item->message_id,
					   &value,
					   hf_bytes_of(item->collapse_key, item->collapse_len),
					   false, on_collapse, item);
	saver_field_encode(item->message_id, field);
	words[3].len = saver_value_encode(&value, bytes);
	return saver_redis_send_slot(redis, item->name.slot, SAVER_OP_STORE, words, 4, on_hset,
				     item);
}

/* Into Redis. Its queue is asked for its length only if it may be longer than the cap. */
static void send_item(struct item *item)
{
	struct store *store = item->store;
	struct saver_known *known = &store->saver->registry.known;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes hlen[2] = { HF_BYTES_LITERAL("HLEN"), { key, 0 } };
	enum saver_error error = put(item);

	if (error == SAVER_OK) {
		store->pending++;
		saver_known_sent(known, &item->name);
	}
	if (error == SAVER_OK &&
	    saver_known_length(known, &item->name) >= HF_MIN(item->cap + 1, SAVER_KNOWN_MANY)) {
		hlen[1].len = saver_queue_key_encode(&item->name, key);
		error = saver_redis_send_slot(store->saver->redis, item->name.slot, SAVER_OP_STORE,
					      hlen, 2, on_hlen, item);
		store->pending += error == SAVER_OK;
	}
	if (error != SAVER_OK)
		note_error(item, error);
}

static void on_exists(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;
	struct saver *saver = item->store->saver;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		note_error(item, error);
	} else if (reply->integer == 0) {
		item->unregistered = true;
		++*saver->registry.unregistered;
	} else {
		saver_registry_note_known(saver, &item->name);
		send_item(item);
	}
	release(item->store);
}

/* Store it, if its registration has a record: known from before, or asked for. */
static void begin_item(struct item *item)
{
	struct store *store = item->store;
	struct saver *saver = store->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("EXISTS"),
				     { key, saver_record_key_encode(&item->name, key) } };
	enum saver_error error;

	if (saver_known_has(&saver->registry.known, &item->name)) {
		++*saver->registry.known_hits;
		send_item(item);
		return;
	}
	++*saver->registry.known_misses;
	/* In the order of the records' changes: when a record is gone, all that was let in on the
	 * strength of it has been sent, so that the purge after it meets that. */
	error = saver_redis_send(saver->redis, saver_node_of(saver, &item->name),
				 SAVER_OP_REGISTRY_READ, words, 2, on_exists, item);
	if (error == SAVER_OK)
		store->pending++;
	else
		note_error(item, error);
}

/* The frame of an item, shared by those of the call that are to be delivered alike. */
static const char *take_frame(struct item *item, const Hf__StoreItem *from,
			      const Hf__StoreRequest *request, struct saver_frame **frames)
{
	uint8_t packed[SAVER_DELIVERY_MAX];
	ssize_t len = saver_delivery_pack(from->delivery, packed);
	struct hf_bytes delivery = hf_bytes_of(packed, len > 0 ? (size_t)len : 0);
	struct saver_frame **shared;

	if (len < 0)
		return "BAD_DELIVERY";
	if (from->frame >= request->n_frames || request->frames[from->frame].len == 0 ||
	    request->frames[from->frame].len > SAVER_FRAME_MAX)
		return "BAD_FRAME";
	shared = &frames[from->frame];
	if (*shared == NULL || !hf_bytes_equal(saver_frame_delivery(*shared), delivery)) {
		saver_frame_unref(*shared);
		*shared = saver_frame_new(delivery, hf_bytes_of(request->frames[from->frame].data,
								request->frames[from->frame].len));
	}
	if (*shared == NULL)
		return "OUT_OF_MEMORY";
	if (from->delivery != NULL) { /* its length was checked when it was packed */
		item->collapse_len = (uint8_t)from->delivery->collapse_key.len;
		if (item->collapse_len > 0)
			memcpy(item->collapse_key, from->delivery->collapse_key.data,
			       item->collapse_len);
	}
	item->frame = saver_frame_ref(*shared);
	return NULL;
}

/* Fill the items from the request: NULL, or which rule it breaks. */
static const char *take_items(struct store *store, const Hf__StoreRequest *request,
			      struct saver_frame **frames)
{
	struct saver *saver = store->saver;
	const struct saver_config *config = saver->config;
	uint64_t now = hf_loop_wall_ms(saver->service->loop);

	for (size_t i = 0; i < request->n_items; i++) {
		const Hf__StoreItem *from = request->items[i];
		struct item *item = &store->items[i];
		const char *broken;

		if (from->class_ != HF__CLASS__STORED && from->class_ != HF__CLASS__DURABLE)
			return "BAD_CLASS";
		if (from->message_id == 0 || from->app == 0)
			return "BAD_ID";
		if (!saver_name_set(&item->name, saver->service->salt, from->app,
				    from->registration.data, from->registration.len))
			return "BAD_REGISTRATION";
		item->store = store;
		item->error = SAVER_OK;
		item->message_id = from->message_id;
		item->class = (uint8_t)from->class_;
		item->counts_message = from->counts_message;
		item->paced = from->paced;
		item->cap = from->cap == 0 ? (uint32_t)config->store_cap
					   : HF_MIN(from->cap, SAVER_CAP_MAX);
		item->expires_ms = from->expires_ms == 0 ? now + config->store_ttl_ms
							 : HF_MIN(from->expires_ms,
								  now + config->store_ttl_max_ms);
		item->collapse_len = 0;
		item->unregistered = false;
		broken = take_frame(item, from, request, frames);
		if (broken != NULL)
			return broken;
		store->count++;
	}
	return NULL;
}

/* Can its node take it, and the database where it must? Asked for all before the first is sent, so
 * that a call is not cut in two by a bound that it reaches itself. */
static enum saver_error admit(const struct item *item)
{
	const struct saver *saver = item->store->saver;
	enum saver_error error = saver_redis_admit(saver->redis, saver_node_of(saver, &item->name));

	if (error == SAVER_OK && item->class == HF__CLASS__DURABLE &&
	    !saver_database_up(saver->database))
		error = SAVER_DATABASE_UNAVAILABLE;
	return error;
}

void saver_on_store(Hf__Saver_Service *rpc, const Hf__StoreRequest *request,
		    Hf__StoreReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_frame *frames[SAVER_STORE_ITEMS_MAX] = { 0 };
	struct store *store;
	const char *broken;

	if (request->n_items > SAVER_STORE_ITEMS_MAX || request->n_frames > SAVER_STORE_ITEMS_MAX) {
		saver_fail_invalid(saver, call, "TOO_MANY_ITEMS");
		return;
	}
	store = malloc(sizeof(*store) + request->n_items * sizeof(store->items[0]));
	if (store == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*store = (struct store){ .saver = saver,
				 .closure = closure,
				 .call = call,
				 .durability = HF__DURABILITY__COMMITTED,
				 .pending = 1 };
	broken = take_items(store, request, frames);
	for (size_t i = 0; i < request->n_frames; i++)
		saver_frame_unref(frames[i]); /* the items share them */
	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		for (size_t i = 0; i < store->count; i++)
			saver_frame_unref(store->items[i].frame);
		free(store);
		return;
	}
	for (size_t i = 0; i < store->count; i++)
		store->items[i].error = admit(&store->items[i]);
	for (size_t i = 0; i < store->count; i++) {
		if (store->items[i].error == SAVER_OK)
			begin_item(&store->items[i]);
	}
	release(store);
}
