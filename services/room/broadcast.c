/* Broadcasts of this room: their start and changes, and what each gives to a session. walk.c has
 * the walk through the sessions. */
#define HF_LOG_MODULE "broadcast"
#include "broadcast.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_audience.h"
#include "hf_id.h"
#include "hf_log.h"
#include "room.h"
#include "window.h"

#define REMEMBERED_MS    86400000u /* a done one is forgotten when nobody asked for so long */
#define SETTLE_MS        60000u    /* login loads that a done one waits for */
#define REMEMBERED_TIMES 4u        /* as many done ones as `broadcast.tasks`, times this */
#define MAINTENANCE_MS   5000u
#define ASKS_PER_SECOND  5000u

static void broadcast_free(struct broadcast *broadcast)
{
	if (broadcast == NULL)
		return;
	frame_unref(broadcast->frame);
	if (broadcast->audience != NULL)
		hf__audience__free_unpacked(broadcast->audience, NULL);
	free(broadcast->spans);
	marks_free(&broadcast->missed);
	marks_free(&broadcast->brought);
	free(broadcast);
}

static struct broadcast *find(const struct broadcasts *all, uint64_t id)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->list[i]->id == id)
			return all->list[i];
	}
	return NULL;
}

static void forget(struct broadcasts *all, size_t at)
{
	broadcast_free(all->list[at]);
	all->count--;
	memmove(&all->list[at], &all->list[at + 1], (all->count - at) * sizeof(*all->list));
	all->next = 0;
}

/* The done one that nobody asked for for the longest time. False: all are open. */
static bool forget_one(struct broadcasts *all)
{
	size_t oldest = all->count;

	for (size_t i = 0; i < all->count; i++) {
		if (broadcast_is_done(all->list[i]) &&
		    (oldest == all->count || all->list[i]->asked_ms < all->list[oldest]->asked_ms))
			oldest = i;
	}
	if (oldest == all->count)
		return false;
	forget(all, oldest);
	return true;
}

static void maintain(struct hf_timer *timer, void *ctx)
{
	struct room *room = ctx;
	struct broadcasts *all = &room->broadcasts;
	uint64_t now_ms = hf_loop_now_ms(room->loop);

	for (size_t i = all->count; i-- > 0;) {
		struct broadcast *broadcast = all->list[i];

		/* One that rests is looked at by no walk, and would keep its place for ever. */
		if (!broadcast_is_done(broadcast) && broadcast->expires_ms != 0 &&
		    broadcast->expires_ms <= hf_loop_wall_ms(room->loop))
			broadcast_finish(room, broadcast);
		if (!broadcast_is_done(broadcast))
			continue;
		if (now_ms - HF_MAX(broadcast->done_ms, broadcast->asked_ms) >= REMEMBERED_MS) {
			forget(all, i);
		} else if (now_ms - broadcast->done_ms >= SETTLE_MS) {
			frame_unref(broadcast->frame);
			broadcast->frame = NULL;
			if (broadcast->state == HF__TASK_STATE__TASK_RUN)
				marks_free(&broadcast->missed);
		}
	}
	if (all->count > 0)
		hf_loop_arm(room->loop, timer, MAINTENANCE_MS);
}

/* What it gives */

bool broadcast_matches(const struct room *room, const struct broadcast *broadcast,
		       const struct session *session)
{
	struct hf_profile profile;

	if (broadcast->audience == NULL)
		return true;
	profile = session_profile(room, session);
	return hf_audience_matches(broadcast->audience, &profile);
}

bool broadcast_give(struct room *room, struct broadcast *broadcast, struct session *session)
{
	Hf__PushResult result = delivery_give(room, session, broadcast->stored, broadcast->frame);

	++*room->metrics.broadcast_results[result];
	delivery_note(room, session, result, broadcast->id, HF_WHY_TASK_WRITTEN);
	switch (result) {
	case HF__PUSH_RESULT__WRITTEN:
		broadcast->written++;
		++*room->metrics.written_broadcast;
		return true;
	case HF__PUSH_RESULT__DEFERRED:
		broadcast->deferred++;
		return true;
	case HF__PUSH_RESULT__DROPPED:
		broadcast->dropped++;
		return true;
	default:
		return false;
	}
}

bool broadcast_ask(struct room *room, struct broadcast *broadcast, struct session *session)
{
	if (window_has(&room->pool, session->window, broadcast->id) ||
	    window_was_acked(&room->pool, session->window, broadcast->id) ||
	    !delivery_fall_behind(room, session, broadcast->id - 1))
		return false;
	delivery_continue(room, session);
	++*room->metrics.broadcast_results[HF__PUSH_RESULT__DEFERRED];
	return true;
}

void broadcast_finish(struct room *room, struct broadcast *broadcast)
{
	broadcast->first.active = broadcast->again.active = false;
	marks_free(&broadcast->brought);
	if (broadcast_is_done(broadcast))
		return;
	broadcast->done_ms = HF_MAX(hf_loop_now_ms(room->loop), 1u);
	room->broadcasts.active--;
	HF_INFO("broadcast done",
		"id=%llu app=%u state=%d walked=%llu matched=%llu written=%llu deferred=%llu "
		"dropped=%llu",
		(unsigned long long)broadcast->id, broadcast->app, broadcast->state,
		(unsigned long long)broadcast->walked, (unsigned long long)broadcast->matched,
		(unsigned long long)broadcast->written, (unsigned long long)broadcast->deferred,
		(unsigned long long)broadcast->dropped);
}

/* Pages */

/* Does this page bring the broadcast, or should it have and has not? */
static void note_page(struct broadcast *broadcast, hf_handle session, uint64_t after,
		      const Hf__LoadReply *reply)
{
	size_t low = 0, high = reply->n_messages;

	if (after >= broadcast->id ||
	    (reply->more && (high == 0 || reply->messages[high - 1]->message_id < broadcast->id)))
		return;
	while (low < high) { /* they come in the order of ids */
		size_t middle = low + (high - low) / 2;

		if (reply->messages[middle]->message_id < broadcast->id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < reply->n_messages && reply->messages[low]->message_id == broadcast->id) {
		marks_set(&broadcast->brought, session);
		marks_clear(&broadcast->missed, session);
	} else if (!broadcast_is_done(broadcast) ||
		   broadcast->state == HF__TASK_STATE__TASK_PAUSE) {
		marks_set(&broadcast->missed, session);
	}
}

/* The login load was open when the walk came by, or may have been: now it can be decided. */
static void settle(struct room *room, struct broadcast *broadcast, struct session *session)
{
	uint32_t pos = session->handle & HF_SLAB_LIMIT_MAX;
	enum spans_verdict verdict =
		spans_decide(broadcast->spans, broadcast->span_count, session->log_version);

	if (broadcast->state == HF__TASK_STATE__TASK_CANCEL || verdict == SPANS_SKIP ||
	    (broadcast->first.active && pos >= broadcast->first.pos) || /* it will come by */
	    (verdict == SPANS_ASK && broadcast->again.active && pos >= broadcast->again.pos) ||
	    (broadcast->span_count == 0 && session->epoch > broadcast->start_epoch) ||
	    (broadcast->expires_ms != 0 && broadcast->expires_ms <= hf_loop_wall_ms(room->loop)) ||
	    !broadcast_matches(room, broadcast, session))
		return;
	if (broadcast->state == HF__TASK_STATE__TASK_PAUSE) {
		marks_set(&broadcast->missed, session->handle);
		return;
	}
	broadcast->matched++;
	if (verdict == SPANS_GIVE && broadcast->frame != NULL) {
		if (broadcast_give(room, broadcast, session))
			pace_pay(&broadcast->pace);
	} else if (broadcast->stored && broadcast_ask(room, broadcast, session)) {
		broadcast->deferred++;
		pace_pay(&broadcast->pace);
	}
}

void broadcasts_on_page(struct room *room, hf_handle handle, bool login, uint64_t after,
			const Hf__LoadReply *reply)
{
	struct broadcasts *all = &room->broadcasts;

	for (size_t i = 0; i < all->count; i++) {
		struct broadcast *broadcast = all->list[i];
		struct session *session = room_session(room, handle);

		if (session == NULL)
			return; /* cut, as it could not take what it was given */
		if (broadcast->app != session->app)
			continue;
		if (broadcast->stored)
			note_page(broadcast, handle, after, reply);
		if (login)
			settle(room, broadcast, session);
	}
}

/* Calls */

static bool are_spans(const Hf__StartTaskRequest *request)
{
	uint32_t last = 0;

	if (request->n_spans > SPANS_MAX)
		return false;
	for (size_t i = 0; i < request->n_spans; i++) {
		const Hf__LoadableSpan *span = request->spans[i];
		bool open = span->until == 0;

		if (span->from < last ||
		    (open ? i + 1 < request->n_spans : span->until < span->from))
			return false;
		last = span->until;
	}
	return true;
}

/* What every call must have; a new broadcast needs more. */
static bool is_request(const Hf__StartTaskRequest *request)
{
	return request->broadcast != NULL && request->broadcast->message_id != 0 &&
	       request->state >= HF__TASK_STATE__TASK_RUN &&
	       request->state <= HF__TASK_STATE__TASK_CANCEL && are_spans(request);
}

static bool is_broadcast(const Hf__Broadcast *wire)
{
	const char *field;

	return delivery_is_push(&wire->frame, wire->delivery) &&
	       (wire->audience == NULL || hf_audience_check(wire->audience, &field) == 0);
}

/* 0 or -ENOMEM: then the old ones stay. */
static int set_spans(struct broadcast *broadcast, const Hf__StartTaskRequest *request)
{
	struct span *spans = malloc(HF_MAX(request->n_spans, (size_t)1) * sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < request->n_spans; i++)
		spans[i] = (struct span){ request->spans[i]->from, request->spans[i]->until };
	free(broadcast->spans);
	broadcast->spans = spans;
	broadcast->span_count = request->n_spans;
	return 0;
}

static struct broadcast *broadcast_new(struct room *room, const Hf__Broadcast *wire)
{
	struct broadcast *broadcast = calloc(1, sizeof(*broadcast));

	if (broadcast == NULL)
		return NULL;
	broadcast->id = wire->message_id;
	broadcast->app = wire->app;
	broadcast->stored = wire->class_ != HF__CLASS__TRANSIENT;
	broadcast->expires_ms = wire->expires_ms;
	broadcast->start_epoch = hf_id_next(&room->service->ids, hf_loop_wall_ms(room->loop));
	broadcast->frame =
		delivery_frame(wire->app, wire->message_id, &wire->frame, wire->delivery);
	if (!hf_audience_is_all(wire->audience))
		broadcast->audience = hf_audience_copy(wire->audience);
	if (broadcast->frame == NULL ||
	    (broadcast->audience == NULL && !hf_audience_is_all(wire->audience))) {
		broadcast_free(broadcast);
		return NULL;
	}
	broadcast->frame->expires_ms = wire->expires_ms;
	broadcast->first.active = true;
	return broadcast;
}

/* Into the list, for which an old one may have to go. NULL: `ret_reason` says why. */
static struct broadcast *add(struct room *room, const Hf__Broadcast *wire, const char **ret_reason)
{
	struct broadcasts *all = &room->broadcasts;
	size_t most = room->config->broadcast_tasks;
	struct broadcast *broadcast;

	*ret_reason = "TOO_MANY_TASKS";
	if (all->active >= most ||
	    (all->count >= most * (1 + REMEMBERED_TIMES) && !forget_one(all)))
		return NULL;
	*ret_reason = "OUT_OF_MEMORY";
	if (all->count == all->capacity) {
		size_t capacity = HF_MAX((size_t)16, 2 * all->capacity);
		struct broadcast **list = realloc(all->list, capacity * sizeof(struct broadcast *));

		if (list == NULL)
			return NULL;
		all->list = list;
		all->capacity = capacity;
	}
	broadcast = broadcast_new(room, wire);
	if (broadcast == NULL)
		return NULL;
	all->list[all->count++] = broadcast;
	all->active++;
	if (!hf_timer_armed(&all->maintenance))
		hf_loop_arm(room->loop, &all->maintenance, MAINTENANCE_MS);
	return broadcast;
}

/* Held until now: those who came meanwhile are still to be found. */
static void walk_again(struct room *room, struct broadcast *broadcast)
{
	broadcast->again = (struct cursor){ .active = true };
	if (broadcast_is_done(broadcast)) {
		broadcast->done_ms = 0;
		room->broadcasts.active++;
	}
}

static void change(struct room *room, struct broadcast *broadcast,
		   const Hf__StartTaskRequest *request)
{
	uint32_t had =
		broadcast->span_count == 0 ? 0 : broadcast->spans[broadcast->span_count - 1].from;
	bool ran = broadcast_runs(broadcast);
	size_t count = request->n_spans;

	if (request->revision < broadcast->revision ||
	    broadcast->state == HF__TASK_STATE__TASK_CANCEL)
		return;
	if (count > 0 && set_spans(broadcast, request) < 0)
		HF_ERROR("out of memory", "id=%llu spans=%zu", (unsigned long long)broadcast->id,
			 count);
	broadcast->revision = request->revision;
	broadcast->state = request->state;
	if (!ran) /* nothing is saved up while it waits */
		broadcast->pace.at_us = hf_loop_now_us(room->loop);
	pace_set(&broadcast->pace, request->rate_millis, hf_loop_now_us(room->loop));
	if (request->state == HF__TASK_STATE__TASK_CANCEL)
		broadcast_finish(room, broadcast);
	else if (had != 0 && count > 1 && request->spans[count - 1]->from > had)
		walk_again(room, broadcast);
	walk_wake(room);
}

static void answer(struct room *room, const struct broadcast *broadcast,
		   Hf__TaskProgress_Closure closure, void *call)
{
	Hf__TaskProgress reply = HF__TASK_PROGRESS__INIT;

	reply.incarnation = room->service->instance.incarnation;
	if (broadcast != NULL) {
		reply.known = true;
		reply.state = broadcast->state;
		reply.revision = broadcast->revision;
		reply.done = broadcast_is_done(broadcast);
		reply.sessions = app_counts_sessions(&room->app_counts, broadcast->app);
		reply.walked = broadcast->walked;
		reply.matched = broadcast->matched;
		reply.written = broadcast->written;
		reply.deferred = broadcast->deferred;
		reply.dropped = broadcast->dropped;
	}
	closure(&reply, call);
}

void broadcast_on_start(Hf__Room_Service *rpc, const Hf__StartTaskRequest *request,
			Hf__TaskProgress_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	struct broadcast *broadcast;
	const char *reason;

	if (!is_request(request)) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_TASK");
		return;
	}
	broadcast = find(&room->broadcasts, request->broadcast->message_id);
	if (broadcast == NULL) {
		if (!is_broadcast(request->broadcast)) {
			hf_rpc_fail(call, HF_RPC_INVALID, "BAD_BROADCAST");
			return;
		}
		broadcast = add(room, request->broadcast, &reason);
		if (broadcast == NULL) {
			++*room->metrics.broadcasts_refused;
			hf_rpc_fail(call, HF_RPC_OVERLOADED, reason);
			return;
		}
		++*room->metrics.broadcasts_started;
		HF_INFO("broadcast", "id=%llu app=%u stored=%d rate_millis=%u",
			(unsigned long long)broadcast->id, broadcast->app, broadcast->stored,
			request->rate_millis);
	}
	broadcast->asked_ms = hf_loop_now_ms(room->loop);
	change(room, broadcast, request);
	answer(room, broadcast, closure, call);
}

void broadcast_on_read(Hf__Room_Service *rpc, const Hf__ReadTaskRequest *request,
		       Hf__TaskProgress_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	struct broadcast *broadcast = find(&room->broadcasts, request->message_id);

	if (broadcast != NULL)
		broadcast->asked_ms = hf_loop_now_ms(room->loop);
	answer(room, broadcast, closure, call);
}

/* The process */

static void on_tick(struct hf_timer *timer, void *ctx)
{
	walk_wake(ctx);
}

int broadcasts_open(struct room *room)
{
	struct broadcasts *all = &room->broadcasts;

	hf_task_init(&all->slice, walk_run, room);
	hf_timer_init(&all->tick, on_tick, room);
	hf_timer_init(&all->maintenance, maintain, room);
	all->hook = (struct hf_turn_hook){ .fn = walk_on_turn_end, .ctx = room };
	hf_loop_add_hook(room->loop, &all->hook);
	pace_set(&all->asks, 1000 * ASKS_PER_SECOND, hf_loop_now_us(room->loop));
	broadcasts_reload(room);
	return 0;
}

void broadcasts_reload(struct room *room)
{
	pace_set(&room->broadcasts.pace, 1000 * room->config->broadcast_rate,
		 hf_loop_now_us(room->loop));
	walk_wake(room);
}

void broadcasts_close(struct room *room)
{
	struct broadcasts *all = &room->broadcasts;

	if (all->slice.fn == NULL)
		return;
	hf_task_cancel(room->loop, &all->slice);
	hf_wheel_disarm(&all->tick);
	hf_wheel_disarm(&all->maintenance);
	hf_loop_remove_hook(room->loop, &all->hook);
	for (size_t i = 0; i < all->count; i++)
		broadcast_free(all->list[i]);
	free(all->list);
	*all = (struct broadcasts){ 0 };
}
