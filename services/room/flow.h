/* services/room/flow.h - how many calls a server is given at once, found out from its answers.
 * Pure.
 *
 * As TCP does it: one more for each answer until the server says the first time that it is too
 * much, then one more for each whole window of answers, and half as many after each time that it
 * says so. So who has work for an overloaded server keeps it in a line of his own, and the server
 * does what it takes up. What was refused by several answers of one moment counts once. */
#ifndef ROOM_FLOW_H
#define ROOM_FLOW_H

#include "hf_base.h"

#define FLOW_FIRST   16u
#define FLOW_REST_MS 100u /* nothing is sent for so long when the server had too much */

struct flow {
	uint32_t window, in_flight;
	uint32_t answers; /* since the window grew */
	bool found;       /* the server's measure: from now on it grows slowly */
	bool full;        /* the window was all used a moment ago, so that a larger one is of use */
	uint64_t rest_until_ms;
};

enum flow_answer {
	FLOW_GOOD,
	FLOW_TOO_MUCH,
	FLOW_OTHER /* an end that says nothing of how much it can do */
};

static inline void flow_init(struct flow *flow)
{
	*flow = (struct flow){ .window = FLOW_FIRST };
}

static inline bool flow_rests(const struct flow *flow, uint64_t now_ms)
{
	return now_ms < flow->rest_until_ms;
}

static inline bool flow_may(const struct flow *flow, uint64_t now_ms)
{
	return flow->in_flight < flow->window && !flow_rests(flow, now_ms);
}

static inline void flow_began(struct flow *flow)
{
	flow->full |= ++flow->in_flight >= flow->window;
}

/* `most`: the largest window. */
static inline void flow_ended(struct flow *flow, enum flow_answer answer, uint32_t most,
			      uint64_t now_ms)
{
	flow->full &= --flow->in_flight >= flow->window / 2;
	if (answer == FLOW_TOO_MUCH && !flow_rests(flow, now_ms)) {
		flow->window = HF_MAX(flow->window / 2, 1u);
		flow->found = true;
		flow->answers = 0;
		flow->rest_until_ms = now_ms + FLOW_REST_MS;
	} else if (answer == FLOW_GOOD && flow->full &&
		   ++flow->answers >= (flow->found ? flow->window : 1)) {
		flow->window++;
		flow->answers = 0;
	}
	flow->window = HF_MIN(flow->window, most);
}

#endif
