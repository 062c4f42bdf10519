/* services/center/pace.h - one rate, shared out over rooms so that they end together. Pure. */
#ifndef CENTER_PACE_H
#define CENTER_PACE_H

#include "hf_base.h"

struct pace_share {
	uint64_t left;        /* messages that this room has still to give, as far as is known */
	uint32_t rate_millis; /* out: messages in 1000 s */
};

/* A job's whole rate in messages in 1000 s; 0: no limit. */
uint64_t pace_rate_millis(uint64_t rate_per_second, uint64_t spread_ms, uint64_t targets);
/* The shares add up to `rate_millis`, but for rooms that would get nothing: each gets a little.
 * With 0 all are 0: no limit. */
void pace_share_out(uint64_t rate_millis, struct pace_share *shares, size_t count);

#endif
