/* common/loop/hf_loop.h - the one event loop of a process, and what a turn of it is.
 *
 * A turn: wait until something is ready; run every callback that is; run the due timers; run the
 * deferred tasks; then the turn-end hooks, which write out what the turn produced. So frames for
 * one peer that many callbacks made leave in one write. libevent runs underneath; modules that need
 * a descriptor watched make a `struct event` on loop->base. Everything is single-threaded. */
#ifndef HF_LOOP_H
#define HF_LOOP_H

#include <event2/event.h>

#include "hf_base.h"
#include "hf_histogram.h"
#include "hf_wheel.h"

typedef void (*hf_loop_fn)(void *ctx);

/* Runs once, at the end of the turn that scheduled it (or of the next, when scheduled by another
 * task). Embedded in the owner's record; idempotent while pending. */
struct hf_task {
	struct hf_task *next, **prev; /* prev != NULL: pending */
	hf_loop_fn fn;
	void *ctx;
};

/* Runs at the end of every turn, in the order of registration, after all tasks. */
struct hf_turn_hook {
	struct hf_turn_hook *next;
	hf_loop_fn fn;
	void *ctx;
};

/* Others use `base`, `wheel` and `turn_us`; the rest belongs to hf_loop.c. */
struct hf_loop {
	struct event_base *base;
	struct hf_wheel *wheel;
	struct hf_histogram *turn_us; /* when set: gets the busy time of every turn, microseconds */
	struct hf_task *tasks, **tasks_tail;
	struct hf_turn_hook *hooks, *next_hook;
	struct event *wake; /* ends the wait when the wheel's next timer is due */
	uint64_t wake_ms;   /* when `wake` is armed for; UINT64_MAX: not armed */
	uint64_t clock_ns, clock_ms, clock_wall_ms;
	bool clock_fresh; /* the three above were read in this turn */
	bool in_turn, stopping;
};

HF_MUST_CHECK struct hf_loop *hf_loop_new(void);
void hf_loop_free(struct hf_loop *loop);

/* The clocks: read at the first call in a turn (so never before its wait), then the same for the
 * rest of the turn. Outside of a turn they are read anew each time. Never keep a value for a later
 * turn. */
void hf_loop_read_clocks(struct hf_loop *loop);
static inline uint64_t hf_loop_now_ms(struct hf_loop *loop) /* monotonic */
{
	if (HF_UNLIKELY(!loop->clock_fresh))
		hf_loop_read_clocks(loop);
	return loop->clock_ms;
}
static inline uint64_t hf_loop_now_us(
	struct hf_loop *loop) /* the same in microseconds, to measure by */
{
	if (HF_UNLIKELY(!loop->clock_fresh))
		hf_loop_read_clocks(loop);
	return loop->clock_ns / 1000;
}
static inline uint64_t hf_loop_wall_ms(struct hf_loop *loop) /* milliseconds since 1970 */
{
	if (HF_UNLIKELY(!loop->clock_fresh))
		hf_loop_read_clocks(loop);
	return loop->clock_wall_ms;
}

void hf_loop_run(struct hf_loop *loop);                  /* until hf_loop_stop() */
void hf_loop_stop(struct hf_loop *loop);                 /* returns at the end of this turn */
void hf_loop_turn(struct hf_loop *loop, bool may_block); /* one turn, for tests and embedding */

static inline void hf_task_init(struct hf_task *task, hf_loop_fn fn, void *ctx)
{
	*task = (struct hf_task){ .fn = fn, .ctx = ctx };
}
void hf_task_schedule(struct hf_loop *loop, struct hf_task *task);
void hf_task_cancel(struct hf_loop *loop, struct hf_task *task); /* pending or not */

/* The hook stays the caller's memory and outlives the registration. */
void hf_loop_add_hook(struct hf_loop *loop, struct hf_turn_hook *hook);
void hf_loop_remove_hook(struct hf_loop *loop, struct hf_turn_hook *hook);

/* Arm `timer` (see hf_wheel.h; init it with hf_timer_init) to fire in `delay_ms`. */
void hf_loop_arm(struct hf_loop *loop, struct hf_timer *timer, uint64_t delay_ms);

#endif
