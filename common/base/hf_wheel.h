/* common/base/hf_wheel.h - a hierarchical timer wheel (Varghese and Lauck 1987): arm, re-arm and
 * disarm in constant time. Timers live in the caller's records. Six levels of 64 slots, of 1 ms,
 * 64 ms, 4 s, 4 min ... each: a timer moves to a finer level as it comes near, so that it is exact
 * to 1 ms at any distance. It never fires early; timers due in one millisecond fire in no set
 * order. */
#ifndef HF_WHEEL_H
#define HF_WHEEL_H

#include "hf_base.h"

struct hf_timer;
typedef void (*hf_timer_cb)(struct hf_timer *timer, void *ctx);

struct hf_timer {
	struct hf_timer *next, **prev; /* prev != NULL: armed */
	uint64_t due_ms;
	hf_timer_cb cb;
	void *ctx;
};

struct hf_wheel; /* opaque, about 3 KiB */

HF_MUST_CHECK struct hf_wheel *hf_wheel_new(uint64_t now_ms);
void hf_wheel_free(struct hf_wheel *wheel); /* armed timers are disarmed, not called */

static inline void hf_timer_init(struct hf_timer *timer, hf_timer_cb cb, void *ctx)
{
	*timer = (struct hf_timer){ .cb = cb, .ctx = ctx };
}
static inline bool hf_timer_armed(const struct hf_timer *timer)
{
	return timer->prev != NULL;
}

void hf_wheel_arm(struct hf_wheel *wheel, struct hf_timer *timer, uint64_t due_ms); /* or re-arm */
void hf_wheel_disarm(struct hf_timer *timer); /* armed or not */
/* Run what is due at `now_ms`; callbacks may arm, re-arm and disarm any timer, and free its record.
 * What they arm for a time not after `now_ms` waits for the next advance. Time never goes back: an
 * earlier `now_ms` counts as the latest one. */
void hf_wheel_advance(struct hf_wheel *wheel, uint64_t now_ms);
/* Milliseconds until something may be due (a lower bound, exact within the last 64 ms; 0 when
 * overdue); UINT64_MAX when empty. */
uint64_t hf_wheel_wait_ms(const struct hf_wheel *wheel, uint64_t now_ms);

#endif
