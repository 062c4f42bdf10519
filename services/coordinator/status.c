/* Events of the status class: kept in memory for a few minutes, sent in batches, in order. A queue
 * is one lane of one callback; an event that several callbacks want is held once. */
#define HF_LOG_MODULE "status"
#include <errno.h>
#include <stdlib.h>

#include "body.h"
#include "events.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "notes.h"

#define BACKOFF_BASE_MS 1000ull
#define BACKOFF_MAX_MS  30000ull

struct status_event {
	uint32_t refs;
	uint64_t arrived_ms; /* monotonic */
	size_t size;
	Hf__Event event; /* its bytes follow */
	uint8_t bytes[];
};

struct entry {
	TAILQ_ENTRY(entry) link;
	struct status_event *event;
};
TAILQ_HEAD(entries, entry);

struct queue {
	struct hf_table_node node;
	struct hook_member member;
	struct status *status;
	struct hook *hook;
	uint8_t lane;
	bool sending;
	unsigned attempt;
	struct entries entries;
	size_t count;
	size_t batch; /* entries at the head that were sent once already; 0: none */
	uint64_t batch_id;
	struct hf_timer timer; /* armed while it waits; runs the queue */
	struct parcel parcel;
	char *body;
};

struct status {
	struct coordinator_state *state;
	struct targets *targets;
	struct hooks hooks;
	struct hf_table queues;
	size_t events, sending;
	bool closed;
	struct events_metrics metrics;
	uint64_t *full, *expired, *refused, *off;
};

static uint64_t hash_of(uint32_t app, const char *webhook, unsigned lane)
{
	return hf_hash(webhook, strlen(webhook)) ^ hf_hash_u64((uint64_t)app << 8 | lane);
}

static void event_unref(struct status_event *event)
{
	if (--event->refs == 0)
		free(event);
}

static void drop_head(struct queue *queue, uint64_t *counter)
{
	struct entry *entry = TAILQ_FIRST(&queue->entries);

	TAILQ_REMOVE(&queue->entries, entry, link);
	queue->count--;
	queue->hook->events--;
	queue->hook->bytes -= entry->event->size;
	queue->status->events--;
	++*counter;
	event_unref(entry->event);
	free(entry);
}

static void queue_free(struct queue *queue)
{
	while (queue->count > 0)
		drop_head(queue, queue->status->off);
	hf_wheel_disarm(&queue->timer);
	LIST_REMOVE(&queue->member, link);
	hf_table_remove(&queue->status->queues, &queue->node);
	hook_unref(&queue->status->hooks, queue->hook);
	free(queue->body);
	free(queue);
}

static void wait_ms(struct queue *queue, uint64_t delay_ms)
{
	hf_loop_arm(queue->status->state->service->loop, &queue->timer, delay_ms);
}

/* What nobody took for so long is not news any more. */
static void drop_expired(struct queue *queue)
{
	struct coordinator_state *state = queue->status->state;
	uint64_t now_ms = hf_loop_now_ms(state->service->loop);
	bool cut = false;

	while (queue->count > 0 &&
	       TAILQ_FIRST(&queue->entries)->event->arrived_ms + state->config->status_keep_ms <=
		       now_ms) {
		drop_head(queue, queue->status->expired);
		queue->batch -= queue->batch > 0;
		cut = true;
	}
	if (cut) /* another batch than the one that has the id */
		queue->batch = 0;
}

/* Nothing to do now: the queue is gone, or waits. */
static bool put_off(struct queue *queue)
{
	struct hf_loop *loop = queue->status->state->service->loop;
	const struct hf_webhook *webhook = hook_webhook(&queue->status->hooks, queue->hook);
	uint64_t now_ms = hf_loop_now_ms(loop), age_ms;

	drop_expired(queue);
	if (queue->count == 0 || !hook_is_on(&queue->status->hooks, queue->hook)) {
		queue_free(queue);
		return true;
	}
	if (queue->hook->resume_ms > now_ms) {
		wait_ms(queue, queue->hook->resume_ms - now_ms + hf_random_below(100));
		return true;
	}
	age_ms = now_ms - TAILQ_FIRST(&queue->entries)->event->arrived_ms;
	if (queue->batch == 0 && queue->count < webhook->batch_events &&
	    age_ms < webhook->batch_wait_ms) {
		wait_ms(queue, webhook->batch_wait_ms - age_ms);
		return true;
	}
	return false;
}

static void gather(const struct queue *queue, Hf__Event *ret[HF_WEBHOOK_BATCH_MAX])
{
	struct entry *entry = TAILQ_FIRST(&queue->entries);

	for (size_t i = 0; i < queue->batch; i++, entry = TAILQ_NEXT(entry, link))
		ret[i] = &entry->event->event;
}

static char *make_body(struct queue *queue, size_t *ret_len)
{
	Hf__Event *events[HF_WEBHOOK_BATCH_MAX];

	gather(queue, events);
	return body_of_events(queue->hook->app,
			      hf_loop_wall_ms(queue->status->state->service->loop), events,
			      queue->batch, ret_len);
}

static void note(const struct queue *queue, const struct post_outcome *outcome)
{
	struct hf_service *service = queue->status->state->service;
	Hf__Event *events[HF_WEBHOOK_BATCH_MAX];

	gather(queue, events);
	notes_end(notes_new(service, events, queue->batch), service, outcome);
}

static void queue_run(struct queue *queue)
{
	struct status *status = queue->status;
	struct hf_service *service = status->state->service;
	struct parcel *parcel = &queue->parcel;
	struct hf_webhook webhook;

	if (queue->sending || put_off(queue))
		return;
	webhook = *hook_webhook(&status->hooks, queue->hook);
	webhook.timeout_ms = (uint32_t)HF_MIN((uint64_t)webhook.timeout_ms,
					      status->state->config->status_timeout_ms);
	if (queue->batch == 0) {
		queue->batch = HF_MIN(queue->count, (size_t)webhook.batch_events);
		queue->batch_id = hf_id_next(&service->ids, hf_loop_wall_ms(service->loop));
	}
	queue->body = make_body(queue, &parcel->request.body_len);
	parcel->request.app = queue->hook->app;
	parcel->request.id = queue->batch_id;
	parcel->request.attempt = queue->attempt + 1;
	parcel->request.body = queue->body;
	if (queue->body == NULL ||
	    targets_submit(status->targets, queue->hook->app, &webhook, queue->lane, parcel) < 0) {
		free(queue->body);
		queue->body = NULL;
		wait_ms(queue, 200 + hf_random_below(300));
		return;
	}
	queue->sending = true;
	status->sending++;
}

static void on_queue_timer(struct hf_timer *timer, void *ctx)
{
	queue_run(ctx);
}

static void batch_over(struct queue *queue, uint64_t *counter)
{
	for (; queue->batch > 0; queue->batch--)
		drop_head(queue, counter);
	queue->attempt = 0;
	queue_run(queue);
}

/* The callback is back: who waits for his next try need not wait out his delay. */
static void wake_others(struct hook *hook)
{
	struct hook_member *member;

	LIST_FOREACH (member, &hook->members, link) {
		struct queue *queue = HF_CONTAINER_OF(member, struct queue, member);

		if (!queue->sending && queue->attempt > 0)
			wait_ms(queue, hf_random_below(1000));
	}
}

static void on_sent(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct queue *queue = HF_CONTAINER_OF(parcel, struct queue, parcel);
	struct status *status = queue->status;
	struct coordinator_state *state = status->state;
	struct verdict verdict;
	uint64_t delay_ms, now_ms;

	free(queue->body);
	queue->body = NULL;
	queue->sending = false;
	status->sending--;
	if (outcome == NULL) {
		if (!status->closed)
			wait_ms(queue, 200);
		return;
	}
	events_count_request(state, &status->metrics, "status", parcel, queue->hook->id, outcome);
	note(queue, outcome);
	verdict = verdict_of(outcome);
	now_ms = hf_loop_now_ms(state->service->loop);
	if (hook_note(queue->hook, &verdict, outcome->retry_after_s, now_ms))
		wake_others(queue->hook);
	if (queue->hook->resume_ms > now_ms)
		targets_rest(status->targets, queue->hook->app, queue->hook->id,
			     queue->hook->resume_ms - now_ms);
	if (verdict.kind == VERDICT_DELIVERED) {
		batch_over(queue, status->metrics.delivered);
		return;
	}
	if (verdict.kind == VERDICT_GONE) {
		events_disable_webhook(state, queue->hook->app, queue->hook->id, "it answered 410");
		queue_free(queue);
		return;
	}
	queue->attempt++;
	if (verdict.kind == VERDICT_REFUSED_BY_BUSINESS && queue->attempt >= VERDICT_REFUSED) {
		batch_over(queue, status->refused);
		return;
	}
	delay_ms = HF_MIN(BACKOFF_BASE_MS << HF_MIN(queue->attempt - 1, 5u), BACKOFF_MAX_MS);
	wait_ms(queue, delay_ms - delay_ms / 5 + hf_random_below(2 * delay_ms / 5 + 1));
}

static struct queue *queue_get(struct status *status, uint32_t app, const char *webhook,
			       unsigned lane)
{
	uint64_t hash = hash_of(app, webhook, lane);
	struct hf_table_node *node = hf_table_find(&status->queues, hash);
	struct queue *queue;

	for (; node != NULL; node = hf_table_find_next(node)) {
		queue = HF_CONTAINER_OF(node, struct queue, node);
		if (queue->lane == lane && queue->hook->app == app &&
		    strcmp(queue->hook->id, webhook) == 0)
			return queue;
	}
	queue = calloc(1, sizeof(*queue));
	if (queue == NULL)
		return NULL;
	queue->hook = hook_ref(&status->hooks, app, webhook);
	if (queue->hook == NULL) {
		free(queue);
		return NULL;
	}
	queue->status = status;
	queue->lane = (uint8_t)lane;
	TAILQ_INIT(&queue->entries);
	hf_timer_init(&queue->timer, on_queue_timer, queue);
	LIST_INSERT_HEAD(&queue->hook->members, &queue->member, link);
	hf_table_insert(&status->queues, &queue->node, hash);
	return queue;
}

static struct status_event *event_copy(struct coordinator_state *state, const Hf__Event *from)
{
	size_t size = sizeof(struct status_event) + from->key.len + from->data.len;
	struct status_event *event = malloc(size);

	if (event == NULL)
		return NULL;
	event->refs = 1;
	event->arrived_ms = hf_loop_now_ms(state->service->loop);
	event->size = size + sizeof(struct entry);
	event->event = *from;
	event->event.key.data = event->bytes;
	event->event.data.data = event->bytes + from->key.len;
	memcpy(event->bytes, from->key.data, from->key.len);
	memcpy(event->event.data.data, from->data.data, from->data.len);
	event->event.registration = (ProtobufCBinaryData){ 0 };
	return event;
}

static bool queue_add(struct queue *queue, struct status_event *event)
{
	const struct coordinator_config *config = queue->status->state->config;
	const struct hf_webhook *webhook = hook_webhook(&queue->status->hooks, queue->hook);
	struct entry *entry;

	if (queue->hook->events >= config->status_queue ||
	    queue->hook->bytes + event->size > config->status_bytes)
		return false;
	entry = malloc(sizeof(*entry));
	if (entry == NULL)
		return false;
	entry->event = event;
	event->refs++;
	TAILQ_INSERT_TAIL(&queue->entries, entry, link);
	queue->count++;
	queue->hook->events++;
	queue->hook->bytes += event->size;
	queue->status->events++;
	/* The first one starts the clock, a full batch stops it. */
	if (queue->count == 1 ||
	    (queue->attempt == 0 && queue->count == webhook->batch_events && !queue->sending))
		queue_run(queue);
	return true;
}

bool status_add(struct coordinator_state *state, const Hf__Event *from)
{
	struct status *status = state->status;
	const struct hf_app *app = hf_apps_get(state->apps, from->app);
	struct status_event *event;
	bool all = true;
	unsigned lane;

	if (app == NULL || !(app->event_mask >> from->type & 1))
		return true;
	event = event_copy(state, from);
	if (event == NULL)
		return false;
	lane = hf_service_slot(state->service, from->app, from->key.data, from->key.len) %
	       HF_EVENT_LANES;
	for (size_t i = 0; i < app->webhook_count; i++) {
		struct queue *queue;

		if (!app->webhooks[i].enabled || !(app->webhooks[i].event_mask >> from->type & 1))
			continue;
		queue = queue_get(status, from->app, app->webhooks[i].id, lane);
		if (queue != NULL && queue_add(queue, event))
			continue;
		if (queue != NULL && queue->count == 0)
			queue_free(queue);
		++*status->full;
		all = false;
	}
	event_unref(event);
	return all;
}

void status_configure(struct coordinator_state *state)
{
	struct targets_limits limits;

	coordinator_limits(state, &limits);
	limits.queue = UINT32_MAX; /* one batch of each lane at most */
	limits.queue_bytes = limits.bytes;
	targets_set_limits(state->status->targets, &limits);
}

/* While we drain: the first tries are waited for, what fails is not. */
bool status_busy(const struct coordinator_state *state)
{
	const struct status *status = state->status;
	struct hf_table_node *node;
	size_t pos = 0;

	if (status->sending > 0)
		return true;
	while (status->events > 0 && (node = hf_table_walk(&status->queues, &pos)) != NULL) {
		for (; node != NULL; node = node->next)
			if (HF_CONTAINER_OF(node, struct queue, node)->attempt == 0)
				return true;
	}
	return false;
}

static double read_events(void *ctx)
{
	return (double)((struct status *)ctx)->events;
}

static double read_oldest(void *ctx)
{
	const struct status *status = ctx;
	uint64_t now_ms = hf_loop_now_ms(status->state->service->loop), oldest_ms = now_ms;
	struct hf_table_node *node;
	size_t pos = 0;

	while ((node = hf_table_walk(&status->queues, &pos)) != NULL) {
		for (; node != NULL; node = node->next) {
			const struct queue *queue = HF_CONTAINER_OF(node, struct queue, node);

			if (queue->count > 0)
				oldest_ms = HF_MIN(oldest_ms,
						   TAILQ_FIRST(&queue->entries)->event->arrived_ms);
		}
	}
	return (double)(now_ms - oldest_ms) / 1000;
}

int status_open(struct coordinator_state *state)
{
	struct status *status = calloc(1, sizeof(*status));
	struct hf_metrics *metrics = state->service->metrics;
	int err;

	if (status == NULL)
		return -ENOMEM;
	err = hooks_init(&status->hooks, state->apps);
	if (err == 0) {
		err = hf_table_init(&status->queues);
		if (err < 0)
			hooks_deinit(&status->hooks);
	}
	if (err < 0) {
		free(status);
		return err;
	}
	state->status = status;
	status->state = state;
	status->targets = targets_new(state->service->loop, on_sent);
	if (status->targets == NULL)
		return -ENOMEM;
	events_metrics_init(&status->metrics, metrics, "status");
	status->full = events_dropped(state, "status", "queue_full");
	status->expired = events_dropped(state, "status", "expired");
	status->refused = events_dropped(state, "status", "refused");
	status->off = events_dropped(state, "status", "webhook_off");
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_queue_events", "class=\"status\"",
			    "Waiting for their turn at a callback", read_events, status);
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_oldest_event_age_seconds",
			    "class=\"status\"", "Age of the oldest event that is not delivered",
			    read_oldest, status);
	status_configure(state);
	return 0;
}

void status_close(struct coordinator_state *state)
{
	struct status *status = state->status;
	struct hf_table_node *node;
	size_t pos = 0;

	if (status == NULL)
		return;
	status->closed = true;
	targets_free(status->targets);
	if (status->events > 0)
		HF_WARN("status events lost", "events=%zu", status->events);
	while ((node = hf_table_walk(&status->queues, &pos)) != NULL) {
		queue_free(HF_CONTAINER_OF(node, struct queue, node));
		pos = 0; /* the bucket may have more */
	}
	hf_table_deinit(&status->queues);
	hooks_deinit(&status->hooks);
	free(status);
	state->status = NULL;
}
