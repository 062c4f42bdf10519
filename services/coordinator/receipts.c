/* Receipts: events of the spool to their callbacks. Each queue of the spool is read from its head,
 * a batch is sent until it is delivered or given up, and only then removed from the store; what
 * comes after it waits. Nothing that is not in the spool is kept but how often it was tried. */
#define HF_LOG_MODULE "receipts"
#include <errno.h>
#include <stdlib.h>

#include "body.h"
#include "events.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "notes.h"
#include "receipts.h"

#define UNKNOWN_MS 3000 /* longer than the keeper takes to tell of a change */

static uint64_t hash_of(uint32_t app, const char *webhook, unsigned lane, unsigned part)
{
	return hf_hash(webhook, strlen(webhook)) ^
	       hf_hash_u64((uint64_t)app << 32 | lane << 16 | part);
}

static struct queue *queue_find(struct receipts *receipts, uint32_t app, const char *webhook,
				unsigned lane, unsigned part)
{
	struct hf_table_node *node =
		hf_table_find(&receipts->queues, hash_of(app, webhook, lane, part));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct queue *queue = HF_CONTAINER_OF(node, struct queue, node);

		if (queue->lane == lane && queue->part == part && queue->hook->app == app &&
		    strcmp(queue->hook->id, webhook) == 0)
			return queue;
	}
	return NULL;
}

void receipts_forget(struct queue *queue)
{
	struct receipts *receipts = queue->receipts;

	hf_wheel_disarm(&queue->timer);
	LIST_REMOVE(&queue->member, link);
	hf_table_remove(&receipts->queues, &queue->node);
	hook_unref(&receipts->hooks, queue->hook);
	free(queue->body);
	notes_end(queue->notes, receipts->state->service, NULL);
	free(queue);
}

static bool owns(const struct receipts *receipts, unsigned lane)
{
	return receipts->lanes[lane / 8] >> lane % 8 & 1;
}

static void wait_ms(struct queue *queue, uint64_t delay_ms)
{
	queue->phase = QUEUE_WAITING;
	hf_loop_arm(queue->receipts->state->service->loop, &queue->timer, delay_ms);
}

/* The store or our own bounds said no: soon again, and not counted as a try. */
void receipts_wait_a_little(struct queue *queue)
{
	wait_ms(queue, 500 + hf_random_below(1000));
}

/* Its callback is unknown. Savers may have heard of a new one before us, and a definition that we
 * can't read is not the end of an app: only what stays unknown is gone. */
static bool wait_for_word(struct queue *queue, uint64_t now_ms)
{
	const struct hf_apps *apps = queue->receipts->state->apps;
	uint32_t app = queue->hook->app;
	bool readable = hf_apps_get(apps, app) != NULL || !hf_apps_has(apps, app);

	if (queue->unknown_ms == 0)
		queue->unknown_ms = now_ms;
	queue->discard =
		hf_apps_known(apps) && readable && now_ms - queue->unknown_ms >= UNKNOWN_MS;
	if (!queue->discard)
		wait_ms(queue, 1000);
	return !queue->discard;
}

/* True, when there is nothing to do for this queue now: it is gone, or waits. */
static bool put_off(struct queue *queue)
{
	struct receipts *receipts = queue->receipts;
	uint64_t now_ms = hf_loop_now_ms(receipts->state->service->loop);

	/* What was delivered is removed, whoever owns the lane by now: else he sends it again. */
	if (queue->step == QUEUE_STEP_REMOVE)
		return false;
	if (!owns(receipts, queue->lane) || receipts->draining) {
		receipts_forget(queue);
		return true;
	}
	if (hook_webhook(&receipts->hooks, queue->hook) != NULL) {
		queue->unknown_ms = 0;
		queue->discard = false;
	} else if (wait_for_word(queue, now_ms)) {
		return true;
	}
	if (queue->discard || queue->step != QUEUE_STEP_SEND)
		return false;
	if (!hook_is_on(&receipts->hooks, queue->hook)) {
		receipts_forget(
			queue); /* its events stay in the spool until it is turned on again */
		return true;
	}
	if (queue->hook->resume_ms > now_ms) {
		wait_ms(queue, queue->hook->resume_ms - now_ms + hf_random_below(100));
		return true;
	}
	return false;
}

static void queue_run(struct queue *queue)
{
	if (put_off(queue))
		return;
	if (queue->step == QUEUE_STEP_REMOVE)
		receipts_remove(queue);
	else
		receipts_read(queue);
}

void receipts_next(struct queue *queue)
{
	queue->phase = QUEUE_IDLE;
	queue_run(queue);
}

static void on_queue_timer(struct hf_timer *timer, void *ctx)
{
	receipts_next(ctx);
}

static void wake(struct receipts *receipts, uint32_t app, const struct hf_bytes *id, unsigned lane,
		 unsigned part, bool poked)
{
	char webhook[HF_WEBHOOK_ID_MAX + 1] = "";
	struct queue *queue;

	if (id->len == 0 || id->len > HF_WEBHOOK_ID_MAX || app == 0 || lane >= HF_EVENT_LANES ||
	    part > UINT16_MAX || !owns(receipts, lane) || receipts->draining)
		return;
	memcpy(webhook, id->data, id->len);
	queue = queue_find(receipts, app, webhook, lane, part);
	if (queue != NULL) {
		queue->poked |= poked;
		return;
	}
	if (!hf_webhook_id_is_valid(webhook))
		return;
	if (receipts->queues.count >= RECEIPT_QUEUES_MAX) { /* found again by the next listing */
		++*receipts->full;
		return;
	}
	queue = calloc(1, sizeof(*queue));
	if (queue == NULL)
		return;
	queue->hook = hook_ref(&receipts->hooks, app, webhook);
	if (queue->hook == NULL) {
		free(queue);
		return;
	}
	queue->receipts = receipts;
	queue->lane = (uint8_t)lane;
	queue->part = (uint16_t)part;
	hf_timer_init(&queue->timer, on_queue_timer, queue);
	LIST_INSERT_HEAD(&queue->hook->members, &queue->member, link);
	hf_table_insert(&receipts->queues, &queue->node, hash_of(app, webhook, lane, part));
	queue_run(queue);
}

void on_poke(Hf__Coordinator_Service *rpc, const Hf__SpoolPoke *request,
	     Hf__Nothing_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	Hf__Nothing nothing = HF__NOTHING__INIT;

	if (request->n_queues > 1000)
		++*state->bad_requests;
	for (size_t i = 0; i < request->n_queues && request->n_queues <= 1000; i++) {
		const Hf__SpoolQueue *queue = request->queues[i];
		struct hf_bytes id = { queue->webhook.data, queue->webhook.len };

		wake(state->receipts, queue->app, &id, queue->lane, queue->part, true);
	}
	closure(&nothing, call);
}

/* The batch is what it was at the first try: so is its id, also after another process took over. */
static uint64_t batch_id(const struct queue *queue)
{
	uint64_t parts[5] = { queue->sequences[0], queue->sequences[queue->count - 1], queue->count,
			      (uint64_t)queue->hook->app << 32 | (uint32_t)queue->part << 8 |
				      queue->lane };
	uint64_t salt = queue->receipts->state->service->salt;

	parts[4] = hf_hash_shared(salt, queue->hook->id, strlen(queue->hook->id));
	return hf_hash_shared(salt, parts, sizeof(parts));
}

/* Wait for more events? Only before the first try, and never longer than the callback says. */
static bool wait_for_more(struct queue *queue, const struct hf_webhook *webhook, uint64_t at_ms)
{
	uint64_t now_ms = hf_loop_wall_ms(queue->receipts->state->service->loop);
	uint64_t age_ms = now_ms > at_ms ? now_ms - at_ms : 0;

	if (queue->attempt > 0 || queue->waited || queue->count >= webhook->batch_events ||
	    age_ms >= webhook->batch_wait_ms)
		return false;
	queue->waited = true;
	wait_ms(queue, webhook->batch_wait_ms - age_ms);
	return true;
}

void receipts_send(struct queue *queue, Hf__Event *const *events)
{
	struct receipts *receipts = queue->receipts;
	struct coordinator_state *state = receipts->state;
	const struct hf_webhook *now = hook_webhook(&receipts->hooks, queue->hook);
	struct parcel *parcel = &queue->parcel;
	struct hf_webhook webhook;

	if (now == NULL) { /* removed while its events were read */
		receipts_next(queue);
		return;
	}
	webhook = *now;
	if (wait_for_more(queue, &webhook, events[0]->at_ms))
		return;
	webhook.timeout_ms = (uint32_t)state->config->receipt_timeout_ms;
	queue->body = body_of_events(queue->hook->app, hf_loop_wall_ms(state->service->loop),
				     events, queue->count, &parcel->request.body_len);
	if (queue->body == NULL) {
		receipts_wait_a_little(queue);
		return;
	}
	parcel->request.app = queue->hook->app;
	parcel->request.id = batch_id(queue);
	parcel->request.attempt = queue->attempt + 1;
	parcel->request.body = queue->body;
	queue->notes = notes_new(state->service, events, queue->count);
	if (targets_submit(receipts->targets, queue->hook->app, &webhook,
			   (uint64_t)queue->part * HF_EVENT_LANES + queue->lane, parcel) < 0) {
		free(queue->body);
		queue->body = NULL;
		notes_end(queue->notes, state->service, NULL);
		queue->notes = NULL;
		receipts_wait_a_little(queue);
		return;
	}
	queue->phase = QUEUE_SENDING;
	receipts->sending++;
}

/* The callback is back: queues that wait for a try that nobody judged need not wait for hours. */
static void wake_others(struct hook *hook)
{
	struct hook_member *member;

	LIST_FOREACH (member, &hook->members, link) {
		struct queue *queue = HF_CONTAINER_OF(member, struct queue, member);

		if (queue->phase == QUEUE_WAITING && queue->unreachable && queue->attempt > 0 &&
		    queue->wakes < RECEIPT_WAKES_MAX) {
			queue->wakes++;
			wait_ms(queue, hf_random_below(2000));
		}
	}
}

/* The batch is over, one way or the other. */
static void settle(struct queue *queue, enum queue_step step)
{
	queue->step = step;
	receipts_next(queue);
}

static void failed(struct queue *queue, const struct post_outcome *outcome,
		   const struct verdict *verdict)
{
	struct coordinator_state *state = queue->receipts->state;
	uint64_t delay_ms = verdict_delay(&state->retries, verdict, ++queue->attempt,
					  outcome->retry_after_s, hf_random_u64());

	verdict_reason(outcome, queue->reason, sizeof(queue->reason));
	queue->unreachable = verdict->unreachable;
	if (delay_ms == UINT64_MAX)
		settle(queue, QUEUE_STEP_BURY);
	else
		wait_ms(queue, delay_ms);
}

static void on_sent(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct queue *queue = HF_CONTAINER_OF(parcel, struct queue, parcel);
	struct receipts *receipts = queue->receipts;
	struct coordinator_state *state = receipts->state;
	struct verdict verdict;
	uint64_t now_ms;

	free(queue->body);
	queue->body = NULL;
	notes_end(queue->notes, state->service, outcome);
	queue->notes = NULL;
	queue->phase = QUEUE_IDLE;
	receipts->sending--;
	if (outcome == NULL) {
		if (!receipts->closed)
			receipts_wait_a_little(queue);
		return;
	}
	events_count_request(state, &receipts->metrics, "receipt", parcel, queue->hook->id,
			     outcome);
	verdict = verdict_of(outcome);
	now_ms = hf_loop_now_ms(state->service->loop);
	if (hook_note(queue->hook, &verdict, outcome->retry_after_s, now_ms))
		wake_others(queue->hook);
	if (queue->hook->resume_ms > now_ms)
		targets_rest(receipts->targets, queue->hook->app, queue->hook->id,
			     queue->hook->resume_ms - now_ms);
	switch (verdict.kind) {
	case VERDICT_DELIVERED:
		*receipts->metrics.delivered += queue->count;
		settle(queue, QUEUE_STEP_REMOVE);
		break;
	case VERDICT_GONE:
		queue->attempt++;
		verdict_reason(outcome, queue->reason, sizeof(queue->reason));
		events_disable_webhook(state, queue->hook->app, queue->hook->id, "it answered 410");
		settle(queue, QUEUE_STEP_BURY);
		break;
	case VERDICT_FAILED:
	case VERDICT_REFUSED_BY_BUSINESS:
		failed(queue, outcome, &verdict);
		break;
	}
}

/* What nobody poked us for: lanes that are new to us, and pokes that were lost. */
static void list(struct receipts *receipts);

static void on_listed(const Hf__SpoolListReply *reply, void *ctx)
{
	struct receipts *receipts = ctx;
	const struct coordinator_config *config = receipts->state->config;

	if (receipts->closed)
		return;
	receipts->listing = false;
	for (size_t i = 0; reply != NULL && i < reply->n_queues; i++) {
		const Hf__SpoolQueue *queue = reply->queues[i];
		struct hf_bytes id = { queue->webhook.data, queue->webhook.len };

		wake(receipts, queue->app, &id, queue->lane, queue->part, false);
	}
	receipts->more = reply != NULL && reply->more && reply->n_queues > 0;
	if (receipts->more) {
		const Hf__SpoolQueue *last = reply->queues[reply->n_queues - 1];

		receipts->after = *last;
		receipts->more = last->webhook.len <= sizeof(receipts->after_webhook);
		if (receipts->more)
			memcpy(receipts->after_webhook, last->webhook.data, last->webhook.len);
		receipts->after.webhook.data = (uint8_t *)receipts->after_webhook;
		list(receipts);
		return;
	}
	hf_loop_arm(receipts->state->service->loop, &receipts->list_timer,
		    receipts->list_again ? 0 : config->poll_ms);
	receipts->list_again = false;
}

static void list(struct receipts *receipts)
{
	Hf__SpoolListRequest request = HF__SPOOL_LIST_REQUEST__INIT;
	struct hf_peers *savers = receipts->state->savers;

	receipts->listing = true;
	request.lanes.data = receipts->lanes;
	request.lanes.len = sizeof(receipts->lanes);
	request.max = LIST_PAGE;
	if (receipts->more)
		request.after = &receipts->after;
	hf__saver__spool_list(hf_peers_call(savers, hf_peers_pick(savers, HF_BALANCE_ROUND_ROBIN),
					    RECEIPT_CALL_MS),
			      &request, on_listed, receipts);
}

static void on_list_timer(struct hf_timer *timer, void *ctx)
{
	struct receipts *receipts = ctx;

	if (!receipts->listing)
		list(receipts);
}

static void list_soon(struct receipts *receipts)
{
	if (receipts->listing)
		receipts->list_again = true;
	else
		hf_loop_arm(receipts->state->service->loop, &receipts->list_timer, 0);
}

/* What waits in lanes that are another's now is forgotten: when a lane comes back to us, its queues
 * begin anew rather than at the end of a long wait. */
static void let_go(struct receipts *receipts)
{
	struct hf_table_node *node;
	size_t pos = 0;

	while ((node = hf_table_walk(&receipts->queues, &pos)) != NULL) {
		for (; node != NULL; node = node->next) {
			struct queue *queue = HF_CONTAINER_OF(node, struct queue, node);

			if (queue->phase == QUEUE_WAITING && !owns(receipts, queue->lane))
				wait_ms(queue, 0);
		}
	}
}

void receipts_lanes_changed(struct coordinator_state *state)
{
	struct receipts *receipts = state->receipts;
	bool gained = false, lost = false;

	if (receipts == NULL)
		return;
	for (unsigned lane = 0; lane < HF_EVENT_LANES; lane++) {
		const struct hf_peer *owner = hf_peers_by_slot(state->coordinators, (uint16_t)lane);
		bool ours =
			owner != NULL && owner->instance.number == state->service->instance.number;

		gained |= ours && !owns(receipts, lane);
		lost |= !ours && owns(receipts, lane);
		receipts->lanes[lane / 8] &= (uint8_t) ~(1u << lane % 8);
		receipts->lanes[lane / 8] |= (uint8_t)((unsigned)ours << lane % 8);
	}
	if (gained)
		list_soon(receipts);
	if (lost)
		let_go(receipts);
}

void receipts_apps_changed(struct coordinator_state *state)
{
	if (state->receipts != NULL) /* a callback that was off may be on again */
		list_soon(state->receipts);
}

void receipts_configure(struct coordinator_state *state)
{
	struct targets_limits limits;

	coordinator_limits(state, &limits);
	limits.queue = UINT32_MAX; /* what waits is bounded by lanes and parts, and by its bytes */
	limits.queue_bytes = limits.bytes;
	targets_set_limits(state->receipts->targets, &limits);
}

bool receipts_busy(const struct coordinator_state *state)
{
	state->receipts->draining = true;
	return state->receipts->sending > 0 || state->receipts->storing > 0;
}

static double read_oldest(void *ctx)
{
	const struct receipts *receipts = ctx;
	uint64_t now_ms = hf_loop_wall_ms(receipts->state->service->loop), oldest_ms = now_ms;
	struct hf_table_node *node;
	size_t pos = 0;

	while ((node = hf_table_walk(&receipts->queues, &pos)) != NULL) {
		for (; node != NULL; node = node->next) {
			const struct queue *queue = HF_CONTAINER_OF(node, struct queue, node);

			if (queue->count > 0)
				oldest_ms = HF_MIN(oldest_ms, queue->oldest_ms);
		}
	}
	return (double)(now_ms - oldest_ms) / 1000;
}

static double read_queues(void *ctx)
{
	return (double)((struct receipts *)ctx)->queues.count;
}

int receipts_open(struct coordinator_state *state)
{
	struct receipts *receipts = calloc(1, sizeof(*receipts));
	struct hf_metrics *metrics = state->service->metrics;
	int err;

	if (receipts == NULL)
		return -ENOMEM;
	err = hooks_init(&receipts->hooks, state->apps);
	if (err == 0) {
		err = hf_table_init(&receipts->queues);
		if (err < 0)
			hooks_deinit(&receipts->hooks);
	}
	if (err < 0) {
		free(receipts);
		return err;
	}
	state->receipts = receipts;
	receipts->state = state;
	hf_timer_init(&receipts->list_timer, on_list_timer, receipts);
	receipts->targets = targets_new(state->service->loop, on_sent);
	if (receipts->targets == NULL)
		return -ENOMEM;
	events_metrics_init(&receipts->metrics, metrics, "receipt");
	receipts->buried = events_dropped(state, "receipt", "dead_letter");
	receipts->discarded = events_dropped(state, "receipt", "webhook_removed");
	receipts->unreadable = events_dropped(state, "receipt", "unreadable");
	receipts->full =
		hf_metrics_counter(metrics, "holdfast_webhook_receipt_queues_full_total", NULL,
				   "Queues of the spool put off as too many are open");
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_oldest_event_age_seconds",
			    "class=\"receipt\"", "Age of the oldest event that is not delivered",
			    read_oldest, receipts);
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_receipt_queues", NULL,
			    "Queues of the spool that are being emptied", read_queues, receipts);
	receipts_configure(state);
	hf_loop_arm(state->service->loop, &receipts->list_timer, state->config->poll_ms);
	return 0;
}

void receipts_stop(struct coordinator_state *state)
{
	if (state->receipts != NULL)
		state->receipts->closed = true;
}

void receipts_close(struct coordinator_state *state)
{
	struct receipts *receipts = state->receipts;
	struct hf_table_node *node;
	size_t pos = 0;

	if (receipts == NULL)
		return;
	targets_free(receipts->targets);
	while ((node = hf_table_walk(&receipts->queues, &pos)) != NULL) {
		receipts_forget(HF_CONTAINER_OF(node, struct queue, node));
		pos = 0; /* the bucket may have more */
	}
	hf_wheel_disarm(&receipts->list_timer);
	hf_table_deinit(&receipts->queues);
	hooks_deinit(&receipts->hooks);
	free(receipts);
	state->receipts = NULL;
}
