/* services/room/pace.h - an even rate of messages: a token bucket that holds a tenth of a second's
 * worth, or one message. Who was late for a moment catches up; who was idle gets no burst. Pure. */
#ifndef ROOM_PACE_H
#define ROOM_PACE_H

#include "hf_base.h"

#define PACE_MESSAGE  1000000000ll /* what one message costs */
#define PACE_DEPTH_US 100000u

struct pace {
	uint64_t rate_millis; /* messages in 1000 s; 0: no limit */
	int64_t credit;       /* in 1 / PACE_MESSAGE */
	uint64_t at_us;       /* of the last refill */
};

static inline int64_t pace_depth(const struct pace *pace)
{
	return HF_MAX((int64_t)(pace->rate_millis * PACE_DEPTH_US), PACE_MESSAGE);
}

static inline void pace_refill(struct pace *pace, uint64_t now_us)
{
	uint64_t elapsed_us = now_us - pace->at_us;
	uint64_t whole_us; /* of an empty bucket to a full one */

	pace->at_us = now_us;
	if (pace->rate_millis == 0)
		return;
	whole_us = (uint64_t)(pace_depth(pace) - pace->credit) / pace->rate_millis + 1;
	pace->credit += (int64_t)(HF_MIN(elapsed_us, whole_us) * pace->rate_millis);
	pace->credit = HF_MIN(pace->credit, pace_depth(pace));
}

/* At the start, or a new rate from now on: what was saved up at a higher one is gone. */
static inline void pace_set(struct pace *pace, uint64_t rate_millis, uint64_t now_us)
{
	pace_refill(pace, now_us);
	if (pace->rate_millis == 0)
		pace->credit = 0;
	pace->rate_millis = rate_millis;
	pace->credit = HF_MIN(pace->credit, pace_depth(pace));
}

static inline bool pace_may(const struct pace *pace)
{
	return pace->rate_millis == 0 || pace->credit >= PACE_MESSAGE;
}

/* What had to go without asking is paid for as well: the next ones wait for it. */
static inline void pace_pay(struct pace *pace)
{
	if (pace->rate_millis != 0)
		pace->credit -= PACE_MESSAGE;
}

#endif
