/* services/center/message_state.h - what became of a message: a job as its record says, and a
 * message to a list as the savers have counted it. */
#ifndef CENTER_MESSAGE_STATE_H
#define CENTER_MESSAGE_STATE_H

#include <jansson.h>

#include "center.h"
#include "problem.h"

/* `state`, as the API words it, is the callee's now; NULL: `problem` says why there is none. */
typedef void (*message_state_done)(json_t *state, const struct problem *problem, void *ctx);
/* `done` runs once, later. -ENOMEM: it won't. */
HF_MUST_CHECK int message_state_read(struct center *center, uint32_t app, uint64_t id,
				     message_state_done done, void *ctx);

#endif
