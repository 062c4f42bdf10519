/* Store: into Redis, and for `durable` also into the database, before the reply. */
#include <stdlib.h>

#include "saver.h"

struct item {
	struct saver_row_waiter waiter; /* durable: told when the row is committed */
	struct store *store;
	struct saver_frame *frame;
	uint64_t message_id, expires_ms;
	uint32_t cap;
	uint8_t class;
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
	enum saver_error first = SAVER_OK;

	for (size_t i = 0; i < store->count; i++) {
		enum saver_error error = store->items[i].error;
		Hf__StoreFailure *failure = &failures[reply.n_failures];

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

	if (!saver_owed_add(&saver->owed, &item->name, item->message_id,
			    hf_loop_now_ms(saver->service->loop))) {
		++*saver->metrics.owed_overflow;
		saver->owed_missed = true;
	}
}

static void on_hset(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;
	struct store *store = item->store;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK) {
		if (reply->integer > 0)
			saver_history_stored(&store->saver->history, item->name.app,
					     item->message_id, item->class, item->expires_ms);
		saver_account(store->saver, &item->name, item->message_id, SAVER_STORED,
			      reply->integer > 0);
		item_stored(item);
		look_after(item);
	} else {
		note_error(item, error);
		/* Perhaps Redis has it all the same: then nobody else would push it. */
		if (error == SAVER_STORE_UNAVAILABLE)
			look_after(item);
	}
	release(store);
}

static void on_hlen(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct item *item = ctx;
	struct store *store = item->store;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_INTEGER &&
	    reply->integer > (long long)item->cap)
		saver_trim(store->saver, &item->name, item->cap);
	release(store);
}

static void send_item(struct item *item)
{
	struct store *store = item->store;
	struct saver_redis *redis = store->saver->redis;
	unsigned node = saver_node_of(store->saver, &item->name);
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	uint8_t value[SAVER_VALUE_HEADER + SAVER_FRAME_MAX];
	size_t key_len = saver_queue_key_encode(&item->name, key);
	struct hf_bytes hset[4] = { HF_BYTES_LITERAL("HSET"),
				    { key, key_len },
				    { field, sizeof(field) },
				    { value, SAVER_VALUE_HEADER + item->frame->len } };
	struct hf_bytes hlen[2] = { HF_BYTES_LITERAL("HLEN"), { key, key_len } };
	enum saver_error error;

	saver_field_encode(item->message_id, field);
	saver_value_header_encode(item->class, item->expires_ms, value);
	memcpy(value + SAVER_VALUE_HEADER, item->frame->data, item->frame->len);
	error = saver_redis_send(redis, node, SAVER_OP_STORE, hset, 4, on_hset, item);
	if (error == SAVER_OK) {
		store->pending++;
		error = saver_redis_send(redis, node, SAVER_OP_STORE, hlen, 2, on_hlen, item);
		store->pending += error == SAVER_OK;
	}
	if (error != SAVER_OK)
		note_error(item, error);
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

		if (from->frame >= request->n_frames || request->frames[from->frame].len == 0 ||
		    request->frames[from->frame].len > SAVER_FRAME_MAX)
			return "BAD_FRAME";
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
		item->cap = from->cap == 0 ? (uint32_t)config->store_cap
					   : HF_MIN(from->cap, SAVER_CAP_MAX);
		item->expires_ms = from->expires_ms == 0 ? now + config->store_ttl_ms
							 : HF_MIN(from->expires_ms,
								  now + config->store_ttl_max_ms);
		if (frames[from->frame] == NULL)
			frames[from->frame] = saver_frame_new(request->frames[from->frame].data,
							      request->frames[from->frame].len);
		if (frames[from->frame] == NULL)
			return "OUT_OF_MEMORY";
		item->frame = saver_frame_ref(frames[from->frame]);
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
			send_item(&store->items[i]);
	}
	release(store);
}
