/* The walk of broadcasts through the sessions, in slices: after each the loop looks at its sockets,
 * so that other messages wait for a slice at most. Broadcasts take turns.
 *
 * Beside pushes the walk rests after each slice for twice as long as that took. A slice makes work
 * for all who share this machine or come after it: clients read and ack what they got, and their
 * acks go to the store, where others wait as well. */
#include "hf_clock.h"
#include "room.h"

#define SLICE_NS    500000u
#define SLICE_GIVES 128u /* messages of a slice: they are written at its end */
#define TURN_VISITS 64u  /* positions of one broadcast before it is the next one's turn */
#define TURN_LOOKS  16u  /* the same where each has an audience to be held against */
#define TURN_GIVES  16u
#define TICK_MS     10u
#define BESIDE_MS   100u /* there was a push within that time */
#define REST_SHARE  2u

void walk_wake(struct room *room)
{
	hf_task_schedule(room->loop, &room->broadcasts.slice);
}

static bool may_give(const struct room *room, const struct broadcast *broadcast)
{
	const struct broadcasts *all = &room->broadcasts;

	return broadcast_runs(broadcast) && pace_may(&broadcast->pace) && pace_may(&all->pace) &&
	       (!broadcast->again.active || pace_may(&all->asks));
}

/* The walk that finds who was there before. True: something went out. */
static bool visit_first(struct room *room, struct broadcast *broadcast, struct session *session)
{
	enum spans_verdict verdict;

	broadcast->walked++;
	if (!(session->flags & SESSION_LOADED) ||
	    (broadcast->span_count == 0 && session->epoch > broadcast->start_epoch))
		return false; /* settled when its page comes; came later */
	verdict = spans_decide(broadcast->spans, broadcast->span_count, session->log_version);
	if (verdict == SPANS_SKIP || marks_has(&broadcast->brought, session->handle) ||
	    !broadcast_matches(room, broadcast, session))
		return false;
	broadcast->matched++;
	if (verdict == SPANS_GIVE)
		return broadcast_give(room, broadcast, session);
	if (!broadcast_ask(room, broadcast, session))
		return false;
	broadcast->deferred++;
	return true;
}

/* The walk after a pause. Who was counted before and only missed a page counts no second time. */
static bool visit_again(struct room *room, struct broadcast *broadcast, struct session *session)
{
	bool missed = marks_has(&broadcast->missed, session->handle);
	uint32_t pos = session->handle & HF_SLAB_LIMIT_MAX;
	enum spans_verdict verdict;
	bool is_new;

	marks_clear(&broadcast->missed, session->handle);
	if (!(session->flags & SESSION_LOADED))
		return false;
	verdict = spans_decide(broadcast->spans, broadcast->span_count, session->log_version);
	if ((verdict != SPANS_ASK && !missed) || !broadcast_matches(room, broadcast, session))
		return false;
	is_new = spans_in_last_gap(broadcast->spans, broadcast->span_count, session->log_version) &&
		 !(broadcast->first.active && pos >= broadcast->first.pos);
	broadcast->matched += is_new;
	if (!broadcast_ask(room, broadcast, session))
		return false;
	broadcast->deferred += is_new;
	return true;
}

static bool is_over(const struct room *room, const struct broadcast *broadcast)
{
	return broadcast->expires_ms != 0 && broadcast->expires_ms <= hf_loop_wall_ms(room->loop);
}

/* The walk that is not at its end; NULL: there is none. */
static struct cursor *cursor_of(struct room *room, struct broadcast *broadcast)
{
	uint32_t end = hf_slab_end(&room->sessions);

	/* An app without sessions here has nobody to find. */
	if (is_over(room, broadcast) || app_counts_sessions(&room->app_counts, broadcast->app) == 0)
		end = 0;
	if (broadcast->again.active && broadcast->again.pos < end)
		return &broadcast->again;
	broadcast->again.active = false;
	if (broadcast->first.active && broadcast->first.pos < end)
		return &broadcast->first;
	broadcast->first.active = false;
	return NULL;
}

/* One turn of one broadcast; how many messages went out. */
static unsigned take_turn(struct room *room, struct broadcast *broadcast)
{
	unsigned left = broadcast->audience == NULL ? TURN_VISITS : TURN_LOOKS, gives = 0;

	while (left > 0 && gives < TURN_GIVES && may_give(room, broadcast)) {
		struct cursor *cursor = cursor_of(room, broadcast);
		struct session *session;
		uint32_t from;
		bool gave;

		if (cursor == NULL) {
			broadcast_finish(room, broadcast);
			break;
		}
		from = cursor->pos;
		session = room_session(room, hf_slab_next(&room->sessions, &cursor->pos, left));
		left -= HF_MIN(left, cursor->pos - from);
		if (session == NULL || session->app != broadcast->app)
			continue;
		gave = cursor == &broadcast->again ? visit_again(room, broadcast, session)
						   : visit_first(room, broadcast, session);
		if (gave) {
			pace_pay(&broadcast->pace);
			pace_pay(&room->broadcasts.pace);
			if (cursor == &broadcast->again)
				pace_pay(&room->broadcasts.asks);
			gives++;
		}
	}
	return gives;
}

/* Some that run, and whether any of them could go on at once. */
static bool find_waiting(struct room *room, bool *ret_any_runs)
{
	const struct broadcasts *all = &room->broadcasts;
	bool any_may = false;

	*ret_any_runs = false;
	for (size_t i = 0; i < all->count; i++) {
		*ret_any_runs |= broadcast_runs(all->list[i]);
		any_may |= may_give(room, all->list[i]);
	}
	return any_may;
}

void walk_run(void *ctx)
{
	struct room *room = ctx;
	struct broadcasts *all = &room->broadcasts;
	uint64_t now_us = hf_loop_now_us(room->loop), begin_ns = hf_clock_monotonic_ns();
	unsigned gives = 0;
	size_t idle = 0;
	bool any_runs;

	pace_refill(&all->pace, now_us);
	pace_refill(&all->asks, now_us);
	for (size_t i = 0; i < all->count; i++) {
		if (broadcast_runs(all->list[i]))
			pace_refill(&all->list[i]->pace, now_us);
	}
	while (idle < all->count && gives < SLICE_GIVES &&
	       hf_clock_monotonic_ns() < begin_ns + SLICE_NS) {
		struct broadcast *broadcast = all->list[all->next++ % all->count];

		if (may_give(room, broadcast)) {
			gives += take_turn(room, broadcast);
			idle = 0;
		} else {
			idle++;
		}
	}
	if (find_waiting(room, &any_runs))
		all->slice_ns = begin_ns; /* goes on when it is written */
	else if (any_runs)
		hf_loop_arm(room->loop, &all->tick, TICK_MS);
}

void walk_on_turn_end(void *ctx)
{
	struct room *room = ctx;
	struct broadcasts *all = &room->broadcasts;
	uint64_t now_ns, rest_ns;

	if (all->slice_ns == 0)
		return;
	if (all->pushed_ms != 0 && hf_loop_now_ms(room->loop) - all->pushed_ms < BESIDE_MS) {
		now_ns = hf_clock_monotonic_ns();
		rest_ns = REST_SHARE * (now_ns - all->slice_ns);
		hf_loop_arm(room->loop, &all->tick, /* counts from the turn's begin */
			    (now_ns + rest_ns) / 1000000 + 1 - hf_loop_now_ms(room->loop));
	} else {
		walk_wake(room);
	}
	all->slice_ns = 0;
}
