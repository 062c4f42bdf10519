#define HF_LOG_MODULE "saver"
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator.pb-c.h"
#include "hf_event.h"

#define POKES_MAX       256
#define POKE_TIMEOUT_MS 1000

struct saver_spool {
	struct saver *saver;
	struct hf_apps *apps;
	struct hf_peers *coordinators;
	struct hf_task poke_task;
	size_t poke_count;
	struct saver_spool_queue pokes[POKES_MAX]; /* appended to in this turn */
	uint64_t *stored, *refused;
	struct hf_log_throttle throttle;
};

static const char spool_full[] = "SPOOL_FULL";

/* Events of one app, lane and node on their way to Redis. */
struct batch {
	struct saver_spool *spool;
	struct append *append; /* NULL: nobody waits */
	uint32_t app;
	uint8_t lane, queue_count;
	uint16_t slot; /* of what is told of, when it is one registration: no `append` */
	unsigned node;
	struct saver_spool_queue queues[HF_WEBHOOKS_MAX];
	size_t count;
	uint32_t indexes[]; /* into the request of `append` */
};

struct append {
	struct saver *saver;
	Hf__SpoolAppendReply_Closure closure;
	void *call;
	uint32_t pending;
	const char *reason;
	size_t failed_count;
	uint32_t failed[SAVER_SPOOL_APPEND_MAX];
};

/* One event that is to be stored, and for which of the app's callbacks. */
struct entry {
	Hf__Event event;
	unsigned bits;
	uint32_t index;
};

/* KEYS: the app's hash, the lane's set, the queues. ARGV: most events, most bytes, the lane, how
 * many queues, their members of the set; then for each event the queues it goes to, as bits, and
 * its bytes. Returns how many of the events there was room for: the first ones. */
static const char script[] =
	"local use = redis.call('HMGET', KEYS[1], 'n', 'b', ARGV[3])\n"
	"local n, b, seq = tonumber(use[1] or 0), tonumber(use[2] or 0), tonumber(use[3] or 0)\n"
	"local t = redis.call('TIME')\n"
	"local now, queues, done, hit = t[1] * 1000000 + t[2], tonumber(ARGV[4]), 0, {}\n"
	"for i = 5 + queues, #ARGV, 2 do\n"
	"  local bits, size, to = tonumber(ARGV[i]), #ARGV[i + 1], {}\n"
	"  for q = 1, queues do\n"
	"    if bit.band(bits, bit.lshift(1, q - 1)) ~= 0 then to[#to + 1] = q end\n"
	"  end\n"
	"  if n + #to > tonumber(ARGV[1]) or b + #to * size > tonumber(ARGV[2]) then break end\n"
	"  seq = now > seq and now or seq + 1\n"
	"  for _, q in ipairs(to) do\n"
	"    redis.call('XADD', KEYS[2 + q], string.format('%.0f-0', seq), 'e', ARGV[i + 1])\n"
	"    hit[q] = true\n"
	"  end\n"
	"  n, b, done = n + #to, b + #to * size, done + 1\n"
	"end\n"
	"if done > 0 then\n"
	"  redis.call('HSET', KEYS[1], 'n', n, 'b', b, ARGV[3], string.format('%.0f', seq))\n"
	"  for q in pairs(hit) do redis.call('ZADD', KEYS[2], 0, ARGV[4 + q]) end\n"
	"end\n"
	"return done";

size_t saver_spool_app_key(uint32_t app, char ret[SAVER_SPOOL_KEY_MAX + 1])
{
	return (size_t)snprintf(ret, SAVER_SPOOL_KEY_MAX + 1, "hf:ea:%u", app);
}

size_t saver_spool_lane_key(unsigned lane, char ret[SAVER_SPOOL_KEY_MAX + 1])
{
	return (size_t)snprintf(ret, SAVER_SPOOL_KEY_MAX + 1, "hf:el:%u", lane);
}

size_t saver_spool_queue_key(const struct saver_spool_queue *queue,
			     char ret[SAVER_SPOOL_KEY_MAX + 1])
{
	return (size_t)snprintf(ret, SAVER_SPOOL_KEY_MAX + 1, "hf:e:%u:%u:%s", queue->app,
				queue->lane, queue->webhook);
}

/* Digits in full, so that members sort by app. */
size_t saver_spool_member(uint32_t app, const char *webhook, char ret[SAVER_SPOOL_KEY_MAX + 1])
{
	return (size_t)snprintf(ret, SAVER_SPOOL_KEY_MAX + 1, "%010u:%s", app, webhook);
}

/* Tell the owners of the lanes. Best effort: they look by themselves every few seconds. */
static void poke(void *ctx)
{
	struct saver_spool *spool = ctx;
	struct hf_peer *peer;

	for (peer = hf_peers_first(spool->coordinators); peer != NULL; peer = peer->next) {
		Hf__SpoolQueue queues[POKES_MAX], *pointers[POKES_MAX];
		Hf__SpoolPoke request = HF__SPOOL_POKE__INIT;

		for (size_t i = 0; i < spool->poke_count; i++) {
			struct saver_spool_queue *from = &spool->pokes[i];
			Hf__SpoolQueue *queue = &queues[request.n_queues];

			if (hf_peers_by_slot(spool->coordinators, from->lane) != peer)
				continue;
			hf__spool_queue__init(queue);
			queue->app = from->app;
			queue->lane = from->lane;
			queue->part = from->node;
			queue->webhook.data = (uint8_t *)from->webhook;
			queue->webhook.len = from->webhook_len;
			pointers[request.n_queues++] = queue;
		}
		request.queues = pointers;
		if (request.n_queues > 0)
			hf__coordinator__poke(hf_peers_call(spool->coordinators, peer,
							    POKE_TIMEOUT_MS),
					      &request, NULL, NULL);
	}
	spool->poke_count = 0;
}

static void note_poke(struct saver_spool *spool, const struct saver_spool_queue *queue)
{
	for (size_t i = 0; i < spool->poke_count; i++) {
		const struct saver_spool_queue *known = &spool->pokes[i];

		if (known->app == queue->app && known->lane == queue->lane &&
		    known->node == queue->node && strcmp(known->webhook, queue->webhook) == 0)
			return;
	}
	if (spool->poke_count == POKES_MAX)
		return;
	spool->pokes[spool->poke_count++] = *queue;
	hf_task_schedule(spool->saver->service->loop, &spool->poke_task);
}

static void release(struct append *append)
{
	Hf__SpoolAppendReply reply = HF__SPOOL_APPEND_REPLY__INIT;

	if (--append->pending > 0)
		return;
	reply.n_failed = append->failed_count;
	reply.failed = append->failed;
	if (append->failed_count > 0)
		reply.reason = (char *)(uintptr_t)append->reason;
	append->closure(&reply, append->call);
	free(append);
}

static void fail_events(struct append *append, const uint32_t *indexes, size_t count,
			const char *reason)
{
	if (append == NULL || count == 0)
		return;
	/* The reason goes for all: what may be tried again comes before what may not. */
	if (append->failed_count == 0 || strcmp(append->reason, spool_full) == 0)
		append->reason = reason;
	for (size_t i = 0; i < count; i++)
		append->failed[append->failed_count++] = indexes[i];
}

static void on_appended(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct batch *batch = ctx;
	struct saver_spool *spool = batch->spool;
	const char *reason = spool_full;
	size_t done = 0;

	if (error != SAVER_OK)
		reason = saver_error_reason(error);
	else if (reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0)
		done = HF_MIN((size_t)reply->integer, batch->count);
	*spool->stored += done;
	*spool->refused += batch->count - done;
	if (done < batch->count && hf_log_throttle_pass(&spool->throttle, 10000))
		HF_WARN("events_refused", "app=%u lane=%u events=%zu reason=%s", batch->app,
			batch->lane, batch->count - done, reason);
	for (unsigned i = 0; done > 0 && i < batch->queue_count; i++)
		note_poke(spool, &batch->queues[i]);
	if (batch->append != NULL) {
		fail_events(batch->append, batch->indexes + done, batch->count - done, reason);
		release(batch->append);
	}
	free(batch);
}

/* Everything that the command needs in memory beside its entries. */
struct command {
	char app_key[SAVER_SPOOL_KEY_MAX + 1], lane_key[SAVER_SPOOL_KEY_MAX + 1];
	char queue_keys[HF_WEBHOOKS_MAX][SAVER_SPOOL_KEY_MAX + 1];
	char members[HF_WEBHOOKS_MAX][SAVER_SPOOL_KEY_MAX + 1];
	char events_max[24], bytes_max[24], lane[4], queue_count[4], key_count[4];
	struct hf_bytes words[16 + 2 * HF_WEBHOOKS_MAX];
	size_t count;
};

static void put_word(struct command *command, const char *text)
{
	command->words[command->count++] = hf_bytes_of_string(text);
}

static void command_init(struct command *command, const struct saver_spool *spool,
			 const struct batch *batch)
{
	const struct saver_config *config = spool->saver->config;
	unsigned nodes = saver_redis_count(spool->saver->redis);

	command->count = 0;
	saver_spool_app_key(batch->app, command->app_key);
	saver_spool_lane_key(batch->lane, command->lane_key);
	/* Each node has an equal share, rounded up. */
	snprintf(command->events_max, sizeof(command->events_max), "%llu",
		 (unsigned long long)((config->spool_events + nodes - 1) / nodes));
	snprintf(command->bytes_max, sizeof(command->bytes_max), "%llu",
		 (unsigned long long)((config->spool_bytes + nodes - 1) / nodes));
	snprintf(command->lane, sizeof(command->lane), "%u", batch->lane % HF_EVENT_LANES);
	snprintf(command->queue_count, sizeof(command->queue_count), "%u",
		 (unsigned)batch->queue_count % 10);
	snprintf(command->key_count, sizeof(command->key_count), "%u",
		 (2u + batch->queue_count) % 10);
	put_word(command, "EVAL");
	put_word(command, script);
	put_word(command, command->key_count);
	put_word(command, command->app_key);
	put_word(command, command->lane_key);
	for (unsigned i = 0; i < batch->queue_count; i++) {
		saver_spool_queue_key(&batch->queues[i], command->queue_keys[i]);
		put_word(command, command->queue_keys[i]);
	}
	put_word(command, command->events_max);
	put_word(command, command->bytes_max);
	put_word(command, command->lane);
	put_word(command, command->queue_count);
	for (unsigned i = 0; i < batch->queue_count; i++) {
		saver_spool_member(batch->app, batch->queues[i].webhook, command->members[i]);
		put_word(command, command->members[i]);
	}
}

/* Send the batch; on an error it stays the caller's. */
static enum saver_error send_batch(struct batch *batch, const struct entry *entries)
{
	static const char *const bits[1 << HF_WEBHOOKS_MAX] = { "0",  "1",  "2",  "3", "4",  "5",
								"6",  "7",  "8",  "9", "10", "11",
								"12", "13", "14", "15" };
	struct saver *saver = batch->spool->saver;
	struct command command;
	struct hf_bytes *words;
	enum saver_error error;
	size_t bytes = 0, count;
	uint8_t *pos;

	for (size_t i = 0; i < batch->count; i++)
		bytes += hf__event__get_packed_size(&entries[i].event);
	command_init(&command, batch->spool, batch);
	count = command.count;
	words = malloc((count + 2 * batch->count) * sizeof(*words) + bytes);
	if (words == NULL)
		return SAVER_INTERNAL;
	memcpy(words, command.words, count * sizeof(*words));
	pos = (uint8_t *)(words + count + 2 * batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		size_t len = hf__event__pack(&entries[i].event, pos);

		words[count++] = hf_bytes_of_string(bits[entries[i].bits]);
		words[count++] = hf_bytes_of(pos, len);
		pos += len;
	}
	/* What is told of a registration belongs to a call that was admitted: it may not be lost as
	 * the node has too much to do since, and comes before what follows of the registration. */
	if (batch->append == NULL) {
		error = saver_redis_send_slot(saver->redis, batch->slot, SAVER_OP_SPOOL, words,
					      count, on_appended, batch);
	} else {
		error = saver_redis_admit(saver->redis, batch->node);
		if (error == SAVER_OK)
			error = saver_redis_send(saver->redis, batch->node, SAVER_OP_SPOOL, words,
						 count, on_appended, batch);
	}
	free(words);
	return error;
}

static struct batch *batch_new(struct saver_spool *spool, const struct hf_app *app, unsigned slot,
			       struct append *append, size_t count)
{
	struct batch *batch = calloc(1, sizeof(*batch) + count * sizeof(batch->indexes[0]));

	if (batch == NULL)
		return NULL;
	batch->spool = spool;
	batch->append = append;
	batch->app = app->id;
	batch->lane = slot % HF_EVENT_LANES;
	batch->slot = (uint16_t)slot;
	batch->node = saver_redis_node_of(spool->saver->redis, (uint16_t)slot);
	batch->count = count;
	/* All of the app's, so that bits are indexes; those without an event cost a few bytes. */
	batch->queue_count = (uint8_t)app->webhook_count;
	for (size_t i = 0; i < app->webhook_count; i++) {
		struct saver_spool_queue *queue = &batch->queues[i];

		queue->app = app->id;
		queue->lane = batch->lane;
		queue->node = batch->node;
		queue->webhook_len = (uint8_t)strlen(app->webhooks[i].id);
		memcpy(queue->webhook, app->webhooks[i].id, queue->webhook_len);
	}
	return batch;
}

static unsigned wanted_by(const struct hf_app *app, unsigned type)
{
	unsigned bits = 0;

	for (size_t i = 0; i < app->webhook_count; i++)
		if (app->webhooks[i].enabled && app->webhooks[i].event_mask >> type & 1)
			bits |= 1u << i;
	return bits;
}

bool saver_spool_wants(const struct saver *saver, uint32_t app_id, Hf__EventType type)
{
	const struct hf_app *app = hf_apps_get(saver->spool->apps, app_id);

	return app != NULL && app->event_mask >> type & 1;
}

enum saver_error saver_spool_add(struct saver *saver, const struct saver_name *name,
				 const struct saver_event *events, size_t count)
{
	struct saver_spool *spool = saver->spool;
	const struct hf_app *app = hf_apps_get(spool->apps, name->app);
	struct entry *entries;
	struct batch *batch;
	enum saver_error error;
	size_t wanted = 0;

	if (app == NULL || app->event_mask == 0 || count > SAVER_SPOOL_APPEND_MAX)
		return SAVER_OK;
	entries = malloc(count * sizeof(*entries));
	if (entries == NULL)
		return SAVER_INTERNAL;
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = &entries[wanted];
		uint64_t now_ms = hf_loop_wall_ms(saver->service->loop);

		entry->bits = wanted_by(app, events[i].type);
		if (entry->bits == 0 || events[i].data.len > HF_EVENT_DATA_MAX)
			continue;
		hf__event__init(&entry->event);
		entry->event.type = events[i].type;
		entry->event.app = name->app;
		entry->event.key.data = (uint8_t *)(uintptr_t)name->bytes;
		entry->event.key.len = name->len;
		entry->event.id =
			events[i].id != 0 ? events[i].id : hf_id_next(&saver->service->ids, now_ms);
		entry->event.at_ms = now_ms;
		entry->event.data.data = (uint8_t *)(uintptr_t)events[i].data.data;
		entry->event.data.len = events[i].data.len;
		wanted++;
	}
	if (wanted == 0) {
		free(entries);
		return SAVER_OK;
	}
	batch = batch_new(spool, app, name->slot, NULL, wanted);
	error = batch != NULL ? send_batch(batch, entries) : SAVER_INTERNAL;
	free(entries);
	if (error != SAVER_OK) {
		*spool->refused += wanted;
		free(batch);
	}
	return error;
}

enum saver_error saver_spool_add_message(struct saver *saver, const struct saver_name *name,
					 Hf__EventType type, uint64_t message_id,
					 struct hf_bytes label, struct hf_bytes params,
					 const char *reason)
{
	struct hf_event_message message = { .message_id = message_id,
					    .registration = saver_name_registration(name),
					    .label = label,
					    .params = params,
					    .reason = reason };
	char data[HF_EVENT_DATA_MAX];
	struct saver_event event = { .type = type };
	ssize_t len;

	if (!saver_spool_wants(saver, name->app, type))
		return SAVER_OK;
	len = hf_event_message_data(&message, data);
	if (len < 0)
		return SAVER_INTERNAL;
	event.data = hf_bytes_of(data, (size_t)len);
	event.id = hf_event_message_id(saver->service->salt, type, message_id, name->app,
				       name->bytes, name->len);
	return saver_spool_add(saver, name, &event, 1);
}

/* SpoolAppend: events cut into batches of one app, lane and node. */
struct item {
	uint32_t index, app;
	uint16_t slot;
	unsigned node;
};

static int by_batch(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	unsigned lane_x = x->slot % HF_EVENT_LANES, lane_y = y->slot % HF_EVENT_LANES;

	if (x->app != y->app)
		return x->app < y->app ? -1 : 1;
	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (lane_x != lane_y)
		return lane_x < lane_y ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Which of the app's callbacks an event of the request goes to. */
static unsigned bits_of(const struct hf_app *app, const Hf__SpoolAppendRequest *request,
			const Hf__Event *event)
{
	if (request->webhook.len == 0)
		return wanted_by(app, event->type);
	for (size_t i = 0; i < app->webhook_count; i++)
		if (hf_bytes_equal(hf_bytes_of_string(app->webhooks[i].id),
				   hf_bytes_of(request->webhook.data, request->webhook.len)))
			return 1u << i;
	return 0;
}

static void append_batch(struct append *append, const Hf__SpoolAppendRequest *request,
			 const struct item *items, size_t count)
{
	struct saver_spool *spool = append->saver->spool;
	const struct hf_app *app = hf_apps_get(spool->apps, items[0].app);
	struct entry *entries = calloc(count, sizeof(*entries));
	struct batch *batch = NULL;
	enum saver_error error = SAVER_INTERNAL;
	size_t wanted = 0;

	if (app != NULL && entries != NULL)
		batch = batch_new(spool, app, items[0].slot, append, count);
	for (size_t i = 0; batch != NULL && i < count; i++) {
		const Hf__Event *event = request->events[items[i].index];
		struct entry *entry = &entries[wanted];

		entry->bits = bits_of(app, request, event);
		if (entry->bits == 0)
			continue;
		entry->event = *event;
		entry->event.sequence = 0;
		if (entry->event.id == 0)
			entry->event.id = hf_id_next(&append->saver->service->ids,
						     hf_loop_wall_ms(append->saver->service->loop));
		batch->indexes[wanted++] = items[i].index;
	}
	if (batch != NULL) {
		batch->count = wanted;
		error = wanted > 0 ? send_batch(batch, entries) : SAVER_OK;
		append->pending += error == SAVER_OK && wanted > 0;
		if (error != SAVER_OK) {
			fail_events(append, batch->indexes, wanted, saver_error_reason(error));
			*spool->refused += wanted;
		}
		if (error != SAVER_OK || wanted == 0)
			free(batch);
	} else if (app != NULL) {
		for (size_t i = 0; i < count; i++)
			fail_events(append, &items[i].index, 1, saver_error_reason(error));
	}
	free(entries);
}

static bool event_is_valid(const Hf__Event *event)
{
	return event->app != 0 && event->type > HF__EVENT_TYPE__EVENT_NONE &&
	       event->type < HF_EVENT_TYPES && event->key.len > 0 &&
	       event->key.len <= SAVER_EVENT_KEY_MAX && event->data.len > 0 &&
	       event->data.len <= HF_EVENT_DATA_MAX;
}

void saver_on_spool_append(Hf__Saver_Service *rpc, const Hf__SpoolAppendRequest *request,
			   Hf__SpoolAppendReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct item items[SAVER_SPOOL_APPEND_MAX];
	struct append *append;
	size_t count = request->n_events;

	if (count == 0 || count > SAVER_SPOOL_APPEND_MAX) {
		saver_fail_invalid(saver, call, "BAD_COUNT");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const Hf__Event *event = request->events[i];

		if (!event_is_valid(event)) {
			saver_fail_invalid(saver, call, "BAD_EVENT");
			return;
		}
		items[i].index = (uint32_t)i;
		items[i].app = event->app;
		items[i].slot = hf_service_slot(saver->service, event->app, event->key.data,
						event->key.len);
		items[i].node = saver_redis_node_of(saver->redis, items[i].slot);
	}
	append = malloc(sizeof(*append));
	if (append == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	append->saver = saver;
	append->closure = closure;
	append->call = call;
	append->pending = 1;
	append->failed_count = 0;
	qsort(items, count, sizeof(items[0]), by_batch);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1;
		     end < count && items[end].app == items[i].app &&
		     items[end].node == items[i].node &&
		     items[end].slot % HF_EVENT_LANES == items[i].slot % HF_EVENT_LANES;)
			end++;
		append_batch(append, request, items + i, end - i);
	}
	release(append);
}

int saver_spool_new(struct saver *saver, struct saver_spool **ret_spool)
{
	struct hf_service *service = saver->service;
	struct hf_peers_options coordinators = { .service = "coordinator",
						 .descriptor = &hf__coordinator__descriptor };
	static const char help[] =
		"Events for callbacks: stored, or refused as there is no room or "
		"no store.";
	struct saver_spool *spool = calloc(1, sizeof(*spool));
	int err;

	if (spool == NULL)
		return -ENOMEM;
	*ret_spool = spool;
	spool->saver = saver;
	hf_task_init(&spool->poke_task, poke, spool);
	spool->stored = hf_metrics_counter(service->metrics, "holdfast_saver_spooled_events_total",
					   "result=\"stored\"", help);
	spool->refused = hf_metrics_counter(service->metrics, "holdfast_saver_spooled_events_total",
					    "result=\"refused\"", help);
	err = hf_peers_new(service->loop, service->metrics, service->keeper, &coordinators,
			   &spool->coordinators);
	if (err == 0)
		err = hf_apps_new(service->keeper, NULL, NULL, &spool->apps);
	if (err < 0)
		HF_ERROR("keeper_watch", "err=%s", strerror(-err));
	return err;
}

void saver_spool_close(struct saver_spool *spool)
{
	if (spool == NULL)
		return;
	hf_peers_free(spool->coordinators);
	spool->coordinators = NULL;
	hf_task_cancel(spool->saver->service->loop, &spool->poke_task);
	spool->poke_count = POKES_MAX; /* no more */
}

void saver_spool_free(struct saver_spool *spool)
{
	if (spool == NULL)
		return;
	hf_apps_free(spool->apps);
	free(spool);
}
