/* services/center/recall.h - take a message back: what is scheduled never starts, what is running
 * stops, and what is still owed is owed no more.
 *
 *	job? --> cancelled --> broadcast: out of the log, rooms told to stop
 *	no, or over --> broadcast: out of the log, if it is there
 *	            --> list: a recall in the log, if somebody is still owed it */
#ifndef CENTER_RECALL_H
#define CENTER_RECALL_H

#include "center.h"
#include "problem.h"

enum recall_outcome {
	RECALL_CANCELLED,   /* nobody gets it any more */
	RECALL_CANCELLING,  /* not every room has confirmed that it stopped */
	RECALL_FINISHED,    /* everybody had it, or its time was over */
	RECALL_UNKNOWN,     /* no such message that anybody remembers */
	RECALL_UNAVAILABLE, /* somebody who must know did not answer */
};

struct recall_result {
	enum recall_outcome outcome;
	uint64_t already_sent; /* recipients that have it: written or acked */
	bool full;             /* RECALL_UNAVAILABLE, as no more recalls of the app are kept */
};

/* `blindly`: what nobody remembers is recalled all the same (a saver that was restarted forgets
 * what it counted). `done` runs once, later or from within. */
void recall_start(struct center *center, uint32_t app, uint64_t id, bool blindly,
		  void (*done)(const struct recall_result *result, void *ctx), void *ctx);
/* Why it was RECALL_UNAVAILABLE; `message` is for a store that did not answer. */
void recall_problem(const struct recall_result *result, const char *message,
		    struct problem *ret_problem);

#endif
