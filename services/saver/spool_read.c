/* SpoolList, SpoolRead and SpoolRemove: what the coordinators that own lanes do with the spool. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_cursor.h"
#include "hf_event.h"
#include "hf_text.h"
#include "spool.h"

#define LIST_PER_LANE 100 /* of one lane and node in one answer */
#define MEMBER_APP    10  /* digits */

/* False after ending the call. */
static bool read_queue(struct saver *saver, const Hf__SpoolQueue *from, void *call,
		       struct saver_spool_queue *ret)
{
	if (from == NULL || from->app == 0 || from->lane >= HF_EVENT_LANES ||
	    from->part >= saver_redis_count(saver->redis) || from->webhook.len == 0 ||
	    from->webhook.len > HF_WEBHOOK_ID_MAX) {
		saver_fail_invalid(saver, call, "BAD_QUEUE");
		return false;
	}
	*ret = (struct saver_spool_queue){ .app = from->app,
					   .lane = (uint8_t)from->lane,
					   .webhook_len = (uint8_t)from->webhook.len,
					   .node = from->part };
	memcpy(ret->webhook, from->webhook.data, from->webhook.len);
	if (hf_webhook_id_is_valid(ret->webhook))
		return true;
	saver_fail_invalid(saver, call, "BAD_QUEUE");
	return false;
}

/* SpoolList: one command for each lane and node, in the order of the answer. */
struct list {
	struct saver *saver;
	Hf__SpoolListReply_Closure closure;
	void *call;
	uint32_t pending;
	enum saver_error error;
	size_t count, max;
	bool more; /* the answer ends here: what comes after belongs to the next page */
	size_t next;
	uint16_t parts[HF_EVENT_LANES * SAVER_REDIS_NODES_MAX]; /* node * lanes + lane, as asked */
	struct saver_spool_queue queues[SAVER_SPOOL_LIST_MAX];
};

static void list_release(struct list *list)
{
	Hf__SpoolListReply reply = HF__SPOOL_LIST_REPLY__INIT;
	Hf__SpoolQueue queues[SAVER_SPOOL_LIST_MAX], *pointers[SAVER_SPOOL_LIST_MAX];

	if (--list->pending > 0)
		return;
	if (list->error != SAVER_OK) {
		saver_fail(list->saver, list->call, list->error);
		free(list);
		return;
	}
	for (size_t i = 0; i < list->count; i++) {
		hf__spool_queue__init(&queues[i]);
		queues[i].app = list->queues[i].app;
		queues[i].lane = list->queues[i].lane;
		queues[i].part = list->queues[i].node;
		queues[i].webhook.data = (uint8_t *)list->queues[i].webhook;
		queues[i].webhook.len = list->queues[i].webhook_len;
		pointers[i] = &queues[i];
	}
	reply.n_queues = list->count;
	reply.queues = pointers;
	reply.more = list->more;
	list->closure(&reply, list->call);
	free(list);
}

static bool parse_member(struct hf_bytes member, struct saver_spool_queue *ret)
{
	uint64_t app;

	if (member.len < MEMBER_APP + 2 || member.len > MEMBER_APP + 1 + HF_WEBHOOK_ID_MAX ||
	    member.data[MEMBER_APP] != ':' ||
	    hf_text_parse_uint((const char *)member.data, MEMBER_APP, &app) < 0 || app > UINT32_MAX)
		return false;
	ret->app = (uint32_t)app;
	ret->webhook_len = (uint8_t)(member.len - MEMBER_APP - 1);
	memset(ret->webhook, 0, sizeof(ret->webhook));
	memcpy(ret->webhook, member.data + MEMBER_APP + 1, ret->webhook_len);
	return true;
}

static void on_listed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct list *list = ctx;
	unsigned part = list->parts[list->next++];

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error != SAVER_OK && list->error == SAVER_OK)
		list->error = error;
	for (size_t i = 0; error == SAVER_OK && !list->more && i < reply->elements; i++) {
		struct saver_spool_queue *queue = &list->queues[list->count];

		if (list->count == list->max) {
			list->more = true;
			break;
		}
		queue->lane = part % HF_EVENT_LANES;
		queue->node = part / HF_EVENT_LANES;
		if (parse_member(saver_reply_bytes(reply->element[i]), queue))
			list->count++;
	}
	if (error == SAVER_OK && reply->elements == LIST_PER_LANE)
		list->more = true;
	list_release(list);
}

/* A node that is away must not hide the queues of the others. */
static void list_lane(struct list *list, unsigned node, unsigned lane, const char *from)
{
	char key[SAVER_SPOOL_KEY_MAX + 1];
	struct hf_bytes words[7] = { HF_BYTES_LITERAL("ZRANGEBYLEX"),
				     { (uint8_t *)key, saver_spool_lane_key(lane, key) },
				     hf_bytes_of_string(from),
				     HF_BYTES_LITERAL("+"),
				     HF_BYTES_LITERAL("LIMIT"),
				     HF_BYTES_LITERAL("0"),
				     HF_BYTES_LITERAL("100") };

	if (saver_redis_send(list->saver->redis, node, SAVER_OP_SPOOL, words, 7, on_listed, list) !=
	    SAVER_OK)
		return;
	list->parts[list->pending++ - 1] = (uint16_t)(node * HF_EVENT_LANES + lane);
}

void saver_on_spool_list(Hf__Saver_Service *rpc, const Hf__SpoolListRequest *request,
			 Hf__SpoolListReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_spool_queue after = { 0 };
	char from[SAVER_SPOOL_KEY_MAX + 2] = "-";
	unsigned first = 0, nodes = saver_redis_count(saver->redis);
	struct list *list;

	if (request->lanes.len != HF_EVENT_LANES / 8 || request->max == 0 ||
	    request->max > SAVER_SPOOL_LIST_MAX) {
		saver_fail_invalid(saver, call, "BAD_LIST");
		return;
	}
	if (request->after != NULL) {
		if (!read_queue(saver, request->after, call, &after))
			return;
		first = after.node * HF_EVENT_LANES + after.lane;
		from[0] = '(';
		saver_spool_member(after.app, after.webhook, from + 1);
	}
	list = malloc(sizeof(*list));
	if (list == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	list->saver = saver;
	list->closure = closure;
	list->call = call;
	list->pending = 1;
	list->error = SAVER_OK;
	list->count = list->next = 0;
	list->max = request->max;
	list->more = false;
	for (unsigned part = first; part < nodes * HF_EVENT_LANES; part++) {
		unsigned lane = part % HF_EVENT_LANES;

		if (request->lanes.data[lane / 8] >> lane % 8 & 1)
			list_lane(list, part / HF_EVENT_LANES, lane, part == first ? from : "-");
	}
	list_release(list);
}

struct read {
	struct saver *saver;
	Hf__SpoolReadReply_Closure closure;
	void *call;
	uint32_t app, max;
};

/* "1700000000000000-0" of the stream's ids. */
static uint64_t parse_sequence(struct hf_bytes id)
{
	const uint8_t *dash = memchr(id.data, '-', id.len);
	uint64_t sequence;

	if (dash == NULL ||
	    hf_text_parse_uint((const char *)id.data, (size_t)(dash - id.data), &sequence) < 0)
		return 0;
	return sequence;
}

/* One entry: [id, ["e", bytes]]. NULL: not one of ours. */
static Hf__Event *read_entry(const redisReply *entry, uint32_t app)
{
	const redisReply *fields;
	Hf__Event *event = NULL;
	uint64_t sequence;

	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
	    entry->element[0]->type != REDIS_REPLY_STRING)
		return NULL;
	sequence = parse_sequence(saver_reply_bytes(entry->element[0]));
	fields = entry->element[1];
	if (sequence == 0)
		return NULL;
	if (fields->type == REDIS_REPLY_ARRAY && fields->elements == 2 &&
	    fields->element[1]->type == REDIS_REPLY_STRING)
		event = hf__event__unpack(NULL, fields->element[1]->len,
					  (uint8_t *)fields->element[1]->str);
	if (event == NULL) { /* unreadable: it must be removable all the same */
		event = malloc(sizeof(*event));
		if (event == NULL)
			return NULL;
		hf__event__init(event);
	}
	event->app = app;
	event->sequence = sequence;
	return event;
}

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct read *read = ctx;
	Hf__SpoolReadReply answer = HF__SPOOL_READ_REPLY__INIT;
	Hf__Event *events[SAVER_SPOOL_READ_MAX];

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_fail(read->saver, read->call, error);
		free(read);
		return;
	}
	for (size_t i = 0; i < reply->elements && answer.n_events < SAVER_SPOOL_READ_MAX; i++) {
		Hf__Event *event = read_entry(reply->element[i], read->app);

		if (event != NULL && event->type == HF__EVENT_TYPE__EVENT_NONE)
			++*read->saver->metrics.unreadable;
		if (event != NULL)
			events[answer.n_events++] = event;
	}
	answer.events = events;
	answer.more = reply->elements >= read->max;
	read->closure(&answer, read->call);
	for (size_t i = 0; i < answer.n_events; i++)
		hf__event__free_unpacked(events[i], NULL);
	free(read);
}

void saver_on_spool_read(Hf__Saver_Service *rpc, const Hf__SpoolReadRequest *request,
			 Hf__SpoolReadReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	char key[SAVER_SPOOL_KEY_MAX + 1], from[32], max[12];
	struct saver_spool_queue queue;
	struct hf_bytes words[6];
	struct read *read;
	enum saver_error error;

	if (!read_queue(saver, request->queue, call, &queue))
		return;
	if (request->max == 0 || request->max > SAVER_SPOOL_READ_MAX ||
	    request->after == UINT64_MAX) {
		saver_fail_invalid(saver, call, "BAD_READ");
		return;
	}
	read = malloc(sizeof(*read));
	if (read == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*read = (struct read){ saver, closure, call, queue.app, request->max };
	snprintf(from, sizeof(from), "%" PRIu64 "-0", request->after + 1);
	snprintf(max, sizeof(max), "%u", request->max);
	words[0] = HF_BYTES_LITERAL("XRANGE");
	words[1] = hf_bytes_of(key, saver_spool_queue_key(&queue, key));
	words[2] = hf_bytes_of_string(from);
	words[3] = HF_BYTES_LITERAL("+");
	words[4] = HF_BYTES_LITERAL("COUNT");
	words[5] = hf_bytes_of_string(max);
	error = saver_redis_admit(saver->redis, queue.node);
	if (error == SAVER_OK)
		error = saver_redis_send(saver->redis, queue.node, SAVER_OP_SPOOL, words, 6,
					 on_read, read);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(read);
	}
}

/* KEYS: the app's hash, the lane's set, the queue. ARGV: the queue's member of the set, then ids of
 * entries. Also takes a queue that is empty off the set, whatever made it so. */
static const char remove_script[] =
	"local n, b = 0, 0\n"
	"for i = 2, #ARGV do\n"
	"  local found = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])\n"
	"  if #found == 1 then\n"
	"    n, b = n + 1, b + #(found[1][2][2] or '')\n"
	"    redis.call('XDEL', KEYS[3], ARGV[i])\n"
	"  end\n"
	"end\n"
	"if n > 0 then\n"
	"  redis.call('HINCRBY', KEYS[1], 'n', -n)\n"
	"  redis.call('HINCRBY', KEYS[1], 'b', -b)\n"
	"end\n"
	"if redis.call('EXISTS', KEYS[3]) == 0 or redis.call('XLEN', KEYS[3]) == 0 then\n"
	"  redis.call('DEL', KEYS[3])\n"
	"  redis.call('ZREM', KEYS[2], ARGV[1])\n"
	"end\n"
	"return n";

struct removal {
	struct saver *saver;
	Hf__SpoolRemoveReply_Closure closure;
	void *call;
};

static void on_removed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct removal *removal = ctx;
	Hf__SpoolRemoveReply answer = HF__SPOOL_REMOVE_REPLY__INIT;

	if (error == SAVER_OK)
		removal->closure(&answer, removal->call);
	else
		saver_fail(removal->saver, removal->call, error);
	free(removal);
}

static enum saver_error send_removal(struct removal *removal, const struct saver_spool_queue *queue,
				     const Hf__SpoolRemoveRequest *request)
{
	char keys[3][SAVER_SPOOL_KEY_MAX + 1], member[SAVER_SPOOL_KEY_MAX + 1];
	char ids[SAVER_SPOOL_REMOVE_MAX][24];
	struct hf_bytes words[7 + SAVER_SPOOL_REMOVE_MAX];
	size_t count = 0;

	words[count++] = HF_BYTES_LITERAL("EVAL");
	words[count++] = hf_bytes_of(remove_script, sizeof(remove_script) - 1);
	words[count++] = HF_BYTES_LITERAL("3");
	words[count++] = hf_bytes_of(keys[0], saver_spool_app_key(queue->app, keys[0]));
	words[count++] = hf_bytes_of(keys[1], saver_spool_lane_key(queue->lane, keys[1]));
	words[count++] = hf_bytes_of(keys[2], saver_spool_queue_key(queue, keys[2]));
	words[count++] =
		hf_bytes_of(member, saver_spool_member(queue->app, queue->webhook, member));
	for (size_t i = 0; i < request->n_sequences; i++) {
		snprintf(ids[i], sizeof(ids[i]), "%" PRIu64 "-0", request->sequences[i]);
		words[count++] = hf_bytes_of_string(ids[i]);
	}
	return saver_redis_send(removal->saver->redis, queue->node, SAVER_OP_SPOOL, words, count,
				on_removed, removal);
}

void saver_on_spool_remove(Hf__Saver_Service *rpc, const Hf__SpoolRemoveRequest *request,
			   Hf__SpoolRemoveReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_spool_queue queue;
	struct removal *removal;
	enum saver_error error;

	if (!read_queue(saver, request->queue, call, &queue))
		return;
	if (request->n_sequences > SAVER_SPOOL_REMOVE_MAX) {
		saver_fail_invalid(saver, call, "TOO_MANY_ITEMS");
		return;
	}
	removal = malloc(sizeof(*removal));
	if (removal == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*removal = (struct removal){ saver, closure, call };
	error = send_removal(removal, &queue, request);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(removal);
	}
}
