/* services/center/ask.h - a request that is answered later, when other processes have answered.
 *
 * It lies at the head of a handler's own context. The client may leave meanwhile: then the exchange
 * is NULL, and what was begun goes on and answers into the void. A handler's next step first looks
 * at ask_goes_on(): when the process ends, nobody may be called any more. */
#ifndef CENTER_ASK_H
#define CENTER_ASK_H

#include "api.h"
#include "problem.h"

struct ask {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	uint32_t app;
};

/* A context of `size` bytes, zeroed but for the ask at its head; NULL: already answered. */
HF_MUST_CHECK void *ask_new(struct call *call, size_t size);
/* May other processes still be asked? */
static inline bool ask_goes_on(const struct ask *ask)
{
	return !ask->center->stopping;
}
/* Each ends the exchange, not the context. `body` is taken; NULL is out of memory. */
void ask_answer(struct ask *ask, json_t *body);
void ask_fail(struct ask *ask, const struct problem *problem);
/* 503: somebody did not answer; asking again is safe. `reason` is a literal. */
void ask_unavailable(struct ask *ask, const char *reason, const char *message);
void ask_no_store(struct ask *ask); /* STORE_UNAVAILABLE, or what the store said of itself */

#endif
