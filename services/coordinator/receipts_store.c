/* What receipts.c asks of saver: to read a batch, to keep it as a dead letter, to remove it. */
#define HF_LOG_MODULE "receipts"
#include "receipts.h"

#include "body.h"
#include "hf_event.h"
#include "hf_log.h"

static ProtobufCService *saver_of(const struct queue *queue)
{
	struct hf_peers *savers = queue->receipts->state->savers;
	/* Any of them answers; by lane, so that they share the work. */
	uint16_t slot = (uint16_t)(queue->lane * (HF_SLOTS / HF_EVENT_LANES));

	return hf_peers_call(savers, hf_peers_by_slot(savers, slot), RECEIPT_CALL_MS);
}

static void fill_name(const struct queue *queue, Hf__SpoolQueue *ret)
{
	hf__spool_queue__init(ret);
	ret->app = queue->hook->app;
	ret->lane = queue->lane;
	ret->part = queue->part;
	ret->webhook.data = (uint8_t *)queue->hook->id;
	ret->webhook.len = strlen(queue->hook->id);
}

/* True when the call came back while there is still somebody to hear it. */
static bool came_back(struct queue *queue)
{
	if (queue->receipts->closed)
		return false;
	queue->receipts->storing--;
	queue->phase = QUEUE_IDLE;
	return true;
}

static void begin(struct queue *queue)
{
	queue->phase = QUEUE_STORING;
	queue->receipts->storing++;
}

static void log_failure(const struct queue *queue, const char *what)
{
	static struct hf_log_throttle throttle;

	if (hf_log_throttle_pass(&throttle, 1000))
		HF_WARN("spool call failed", "call=%s app=%u webhook=%s status=%s reason=%s", what,
			queue->hook->app, queue->hook->id, hf_rpc_status_name(hf_rpc_last_status()),
			hf_log_quote(hf_rpc_last_reason(), strlen(hf_rpc_last_reason())));
}

static void on_buried(const Hf__PutDeadLetterReply *reply, void *ctx)
{
	struct queue *queue = ctx;

	if (!came_back(queue))
		return;
	if (reply == NULL) {
		log_failure(queue, "PutDeadLetter");
		receipts_wait_a_little(queue);
		return;
	}
	*queue->receipts->buried += queue->count;
	HF_WARN("receipts given up", "app=%u webhook=%s events=%zu attempts=%u reason=%s",
		queue->hook->app, queue->hook->id, queue->count, queue->attempt,
		hf_log_quote(queue->reason, strlen(queue->reason)));
	queue->step = QUEUE_STEP_REMOVE;
	receipts_next(queue);
}

static void bury(struct queue *queue, Hf__Event **events)
{
	struct hf_service *service = queue->receipts->state->service;
	Hf__PutDeadLetterRequest request = HF__PUT_DEAD_LETTER_REQUEST__INIT;
	Hf__DeadLetter letter = HF__DEAD_LETTER__INIT;

	if (queue->letter_id == 0)
		queue->letter_id = hf_id_next(&service->ids, hf_loop_wall_ms(service->loop));
	letter.id = queue->letter_id;
	letter.app = queue->hook->app;
	letter.webhook.data = (uint8_t *)queue->hook->id;
	letter.webhook.len = strlen(queue->hook->id);
	letter.failed_ms = hf_loop_wall_ms(service->loop);
	letter.attempts = queue->attempt;
	letter.reason.data = (uint8_t *)queue->reason;
	letter.reason.len = strlen(queue->reason);
	letter.n_events = queue->count;
	letter.events = events;
	request.letter = &letter;
	begin(queue);
	hf__saver__put_dead_letter(saver_of(queue), &request, on_buried, queue);
}

/* Take note of the batch. Events that make no JSON lose their type: they are not sent. Returns how
 * many are left to send. */
static size_t take_batch(struct queue *queue, const Hf__SpoolReadReply *reply)
{
	size_t fit = 0;

	if (reply->n_events > 0 && queue->attempt > 0 &&
	    reply->events[0]->sequence != queue->sequences[0])
		queue->attempt = queue->wakes = 0; /* somebody else was done with that batch */
	queue->count = HF_MIN(reply->n_events, (size_t)RECEIPT_BATCH_MAX);
	queue->more = reply->more;
	queue->oldest_ms = UINT64_MAX;
	for (size_t i = 0; i < queue->count; i++) {
		Hf__Event *event = reply->events[i];

		queue->sequences[i] = event->sequence;
		if (hf_event_name(event->type) == NULL || event->key.len > HF_USER_ID_MAX ||
		    event->data.len > HF_EVENT_DATA_MAX ||
		    !body_is_json(hf_bytes_of(event->data.data, event->data.len))) {
			event->type = HF__EVENT_TYPE__EVENT_NONE;
			continue;
		}
		fit++;
		queue->oldest_ms = HF_MIN(queue->oldest_ms, event->at_ms);
	}
	return fit;
}

static void on_read(const Hf__SpoolReadReply *reply, void *ctx)
{
	struct queue *queue = ctx;
	size_t fit;

	if (!came_back(queue))
		return;
	if (reply == NULL) {
		log_failure(queue, "SpoolRead");
		receipts_wait_a_little(queue);
		return;
	}
	fit = take_batch(queue, reply);
	if (fit == 0 || queue->discard) {
		*queue->receipts->discarded += queue->discard ? queue->count : 0;
		*queue->receipts->unreadable += queue->discard ? 0 : queue->count;
		queue->step = QUEUE_STEP_REMOVE; /* nothing: takes it off the list of queues */
		receipts_next(queue);
	} else if (queue->step == QUEUE_STEP_BURY) {
		bury(queue, reply->events);
	} else {
		receipts_send(queue, reply->events);
	}
}

void receipts_read(struct queue *queue)
{
	const struct hf_webhook *webhook = hook_webhook(&queue->receipts->hooks, queue->hook);
	Hf__SpoolReadRequest request = HF__SPOOL_READ_REQUEST__INIT;
	Hf__SpoolQueue name;

	fill_name(queue, &name);
	request.queue = &name;
	if (queue->attempt > 0 && queue->count > 0)
		request.max = (uint32_t)queue->count; /* the batch as it was sent before */
	else
		request.max = webhook != NULL ? webhook->batch_events : RECEIPT_BATCH_MAX;
	queue->poked = false;
	begin(queue);
	hf__saver__spool_read(saver_of(queue), &request, on_read, queue);
}

static void on_removed(const Hf__SpoolRemoveReply *reply, void *ctx)
{
	struct queue *queue = ctx;

	if (!came_back(queue))
		return;
	if (reply == NULL) {
		log_failure(queue, "SpoolRemove");
		receipts_wait_a_little(queue);
		return;
	}
	queue->step = QUEUE_STEP_SEND;
	queue->count = 0;
	queue->attempt = queue->wakes = 0;
	queue->letter_id = 0;
	queue->waited = false;
	if (queue->more || queue->poked)
		receipts_next(queue);
	else
		receipts_forget(queue);
}

void receipts_remove(struct queue *queue)
{
	Hf__SpoolRemoveRequest request = HF__SPOOL_REMOVE_REQUEST__INIT;
	Hf__SpoolQueue name;

	fill_name(queue, &name);
	request.queue = &name;
	request.n_sequences = queue->count;
	request.sequences = queue->sequences;
	begin(queue);
	hf__saver__spool_remove(saver_of(queue), &request, on_removed, queue);
}
