/* Queue, MessageState and SaverStats: looking without touching. */
#include <stdlib.h>

#include "hf_hash.h"
#include "hf_id.h"
#include "hf_why_rpc.h"
#include "saver.h"
#include "walk.h"

#define QUEUE_MAX 2048u /* messages shown: more than a cap allows */

struct queue {
	struct saver_walk walk;
	struct saver *saver;
	Hf__QueueReply_Closure closure;
	void *call;
	size_t count;
	Hf__QueuedMessage messages[QUEUE_MAX];
};

static void on_message(struct saver_walk *walk, uint64_t id, const struct saver_value *value)
{
	struct queue *queue = HF_CONTAINER_OF(walk, struct queue, walk);
	Hf__QueuedMessage *message = &queue->messages[queue->count];

	if (queue->count == QUEUE_MAX)
		return;
	queue->count++;
	hf__queued_message__init(message);
	message->message_id = id;
	message->expires_ms = value != NULL ? value->expires_ms : 0;
	message->size = value != NULL ? (uint32_t)value->frame.len : 0;
	message->deliveries =
		saver_quarantine_deliveries(&queue->saver->quarantine, &walk->name, id);
}

static int compare_messages(const void *a, const void *b)
{
	const Hf__QueuedMessage *x = *(Hf__QueuedMessage *const *)a;
	const Hf__QueuedMessage *y = *(Hf__QueuedMessage *const *)b;

	return x->message_id < y->message_id ? -1 : x->message_id > y->message_id;
}

static void on_queue_end(struct saver_walk *walk, enum saver_error error)
{
	struct queue *queue = HF_CONTAINER_OF(walk, struct queue, walk);
	struct saver *saver = queue->saver;
	Hf__QueueReply reply = HF__QUEUE_REPLY__INIT;
	Hf__QueuedMessage *pointers[QUEUE_MAX];
	size_t count = 0;

	for (size_t i = 0; i < queue->count; i++)
		pointers[i] = &queue->messages[i];
	qsort(pointers, queue->count, sizeof(pointers[0]), compare_messages);
	for (size_t i = 0; i < queue->count; i++) { /* a walk may show one twice */
		if (count == 0 || pointers[count - 1]->message_id != pointers[i]->message_id)
			pointers[count++] = pointers[i];
	}
	reply.n_messages = count;
	reply.messages = pointers;
	reply.quarantined = saver_quarantine_closed(&saver->quarantine, &walk->name,
						    hf_loop_wall_ms(saver->service->loop)) != 0;
	if (error == SAVER_OK)
		queue->closure(&reply, queue->call);
	else
		saver_fail(saver, queue->call, error);
	free(queue);
}

void saver_on_queue(Hf__Saver_Service *rpc, const Hf__QueueRequest *request,
		    Hf__QueueReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_name name;
	struct queue *queue;
	enum saver_error error;

	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	queue = malloc(sizeof(*queue));
	if (queue == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	queue->walk = (struct saver_walk){ .redis = saver->redis,
					   .op = SAVER_OP_INSPECT,
					   .name = name,
					   .on_message = on_message,
					   .on_end = on_queue_end };
	queue->saver = saver;
	queue->closure = closure;
	queue->call = call;
	queue->count = 0;
	error = saver_walk_start(&queue->walk);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(queue);
	}
}

/* The log is the same for all savers, and the asker sums up what they say: one of them speaks of
 * it. */
static bool owns_message(struct saver *saver, uint32_t app, uint64_t id)
{
	char text[HF_ID_TEXT_SIZE];

	hf_id_format(id, text);
	return saver_owns(saver, hf_slot(saver->service->salt, app, text, HF_ID_TEXT_SIZE - 1));
}

void saver_on_message_state(Hf__Saver_Service *rpc, const Hf__MessageStateRequest *request,
			    Hf__MessageStateReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	Hf__MessageStateReply reply = HF__MESSAGE_STATE_REPLY__INIT;
	const struct saver_history_record *record =
		saver_history_find(&saver->history, request->app, request->message_id);

	if (record != NULL) {
		reply.known = true;
		reply.stored = record->counts[SAVER_STORED];
		reply.acked = record->counts[SAVER_ACKED];
		reply.expired = record->counts[SAVER_EXPIRED];
		reply.dropped = record->counts[SAVER_DROPPED];
		reply.recalled = record->counts[SAVER_RECALLED];
		reply.expires_ms = record->expires_ms;
		reply.class_ = (Hf__Class)record->class;
	}
	if (record == NULL && owns_message(saver, request->app, request->message_id))
		saver_log_message_state(saver, request->app, request->message_id, closure, call);
	else
		closure(&reply, call);
}

void saver_on_saver_stats(Hf__Saver_Service *rpc, const Hf__SaverStatsRequest *request,
			  Hf__SaverStatsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const struct saver_metrics *metrics = &saver->metrics;
	Hf__SaverStatsReply reply = HF__SAVER_STATS_REPLY__INIT;

	reply.durability = HF__DURABILITY__FSYNC;
	for (unsigned node = 0; node < saver_redis_count(saver->redis); node++)
		reply.durability =
			HF_MIN(reply.durability, saver_health_durability(saver->health, node));
	reply.redis_ok = saver_redis_all_serving(saver->redis);
	reply.database_ok = saver_database_up(saver->database);
	reply.stored = *metrics->fates[SAVER_STORED];
	reply.acked = *metrics->fates[SAVER_ACKED];
	reply.expired = *metrics->fates[SAVER_EXPIRED];
	reply.dropped = *metrics->fates[SAVER_DROPPED] + *metrics->fates[SAVER_PURGED] +
			*metrics->fates[SAVER_COLLAPSED];
	reply.awaiting_write = saver_write_behind_pending(saver->wb);
	reply.quarantined = saver->quarantine.registrations.quarantined;
	closure(&reply, call);
}

void saver_on_why(Hf__Saver_Service *rpc, const Hf__WhyRequest *request,
		  Hf__WhyReply_Closure closure, void *call)
{
	hf_why_answer(&saver_of(rpc)->service->why, request, closure, call);
}
