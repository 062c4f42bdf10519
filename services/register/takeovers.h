/* services/register/takeovers.h - how often a registration was taken from a live client of late.
 *
 * Two clients that hold the same id and do not stop when they are told to would end each other for
 * ever. Of each registration a token bucket is kept, in a table of fixed size: a set of four places
 * by hash, of which the one that has been quiet for the longest gives way. What is forgotten so is
 * let in once more; the bound on memory is worth that. */
#ifndef TAKEOVERS_H
#define TAKEOVERS_H

#include "hf_base.h"

#define TAKEOVERS_SETS   4096u
#define TAKEOVERS_PLACES 4u

struct takeovers {
	struct takeover {
		uint64_t hash;
		uint64_t empty_ms; /* when its bucket will be empty again; 0: no place taken */
	} places[TAKEOVERS_SETS][TAKEOVERS_PLACES];
};

/* A live client lost this registration to another one. `limit` of them in `period_ms` are free. */
void takeovers_note(struct takeovers *takeovers, uint64_t hash, uint64_t now_ms, uint64_t limit,
		    uint64_t period_ms);
/* Has that happened so often that the next newcomer is to stay away? A limit of 0: never. */
bool takeovers_too_many(const struct takeovers *takeovers, uint64_t hash, uint64_t now_ms,
			uint64_t limit, uint64_t period_ms);

#endif
