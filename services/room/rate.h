/* services/room/rate.h - a token bucket in 4 bytes: the generic cell rate algorithm (ITU-T I.371).
 *
 * Time is in ticks of 1/16 ms and may wrap. The bucket is the moment at which it would be empty
 * again; an event moves it on by its cost, and one that would move it more than `burst` ahead of
 * now is refused. A fresh bucket is the present moment. */
#ifndef HF_ROOM_RATE_H
#define HF_ROOM_RATE_H

#include "hf_base.h"

#define RATE_TICKS_PER_MS 16u

typedef uint32_t rate;

static inline uint32_t rate_ticks(uint64_t ms)
{
	return (uint32_t)(ms * RATE_TICKS_PER_MS);
}

/* What `amount` costs at `per_second`; 0 when per_second is 0: no limit. */
static inline uint32_t rate_cost(uint64_t amount, uint64_t per_second)
{
	uint64_t ticks;

	if (per_second == 0)
		return 0;
	ticks = (amount * 1000 * RATE_TICKS_PER_MS + per_second - 1) / per_second;
	return (uint32_t)HF_MIN(ticks, (uint64_t)INT32_MAX);
}

/* May an event of `cost` happen now? Takes it if so. The burst must be below 2^30 ticks (18 h). */
static inline bool rate_take(rate *bucket, uint32_t now, uint32_t cost, uint32_t burst)
{
	uint32_t ahead = *bucket - now;

	if (ahead > burst)
		ahead = 0; /* in the past, or so far off that time has wrapped */
	if (cost > burst - ahead)
		return false;
	*bucket = now + ahead + cost;
	return true;
}

#endif
