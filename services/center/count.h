/* services/center/count.h - how many an audience means now: the dry run of a broadcast. */
#ifndef CENTER_COUNT_H
#define CENTER_COUNT_H

#include "center.h"

struct count_result {
	uint64_t online;    /* sessions that match, in the rooms that answered */
	bool complete;      /* every room did */
	int64_t registered; /* registrations that match; < 0: the registry did not say */
};

/* `audience` NULL: everybody. Borrowed for the call. `done` runs once, later or from within. */
void count_start(struct center *center, uint32_t app, const Hf__Audience *audience, bool registered,
		 void (*done)(const struct count_result *result, void *ctx), void *ctx);

#endif
