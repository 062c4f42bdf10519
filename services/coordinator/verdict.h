/* services/coordinator/verdict.h - what the outcome of a request means for the events in it. Pure.
 */
#ifndef COORDINATOR_VERDICT_H
#define COORDINATOR_VERDICT_H

#include "post.h"

#define VERDICT_DELAYS_MAX  16
#define VERDICT_REFUSED     3    /* tries of what the business refuses by a 3xx or 4xx */
#define VERDICT_RETRY_AFTER 3600 /* longest Retry-After that is honoured, seconds */

enum verdict_kind {
	VERDICT_DELIVERED,           /* any 2xx, whatever came after it */
	VERDICT_FAILED,              /* try again while the schedule has a delay left */
	VERDICT_REFUSED_BY_BUSINESS, /* the same, for fewer tries */
	VERDICT_GONE,                /* 410: the callback is to be turned off */
};

struct verdict {
	enum verdict_kind kind;
	bool throttle;    /* 429, 502, 504: the whole callback wants a rest */
	bool unreachable; /* nobody judged these events: another batch may bring the callback back
			   */
};

struct verdict verdict_of(const struct post_outcome *outcome);

struct verdict_schedule {
	size_t count;
	uint64_t delays_ms[VERDICT_DELAYS_MAX]; /* after the first try, after the second, ... */
};

/* Milliseconds until the next try after `attempt` tries (1 and up), within 20 % of the schedule's
 * and not before Retry-After; `random` is any 64 bits. UINT64_MAX: there is none, give up. */
uint64_t verdict_delay(const struct verdict_schedule *schedule, const struct verdict *verdict,
		       unsigned attempt, uint32_t retry_after_s, uint64_t random);
/* "HTTP 500", "timeout", ...: for people. */
void verdict_reason(const struct post_outcome *outcome, char *ret, size_t size);

#endif
