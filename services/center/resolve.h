/* services/center/resolve.h - a list audience to the registrations that it means now.
 *
 * Users are read from the savers; with registrations named as well, who is in both is meant; what
 * else the audience says is held against the registrations' records. */
#ifndef CENTER_RESOLVE_H
#define CENTER_RESOLVE_H

#include "center.h"
#include "problem.h"
#include "request.h"

struct resolve;
/* `targets` live in the arena that was given. err: 0, or -EINVAL with a problem: TOO_MANY_TARGETS,
 * STORE_UNAVAILABLE, and NO_RECIPIENTS when nobody is left. */
typedef void (*resolve_done)(void *ctx, int err, struct hf_bytes *targets, size_t count,
			     const struct problem *problem);

/* `request` and `arena` live until `done`, which runs once, later or from within. */
void resolve_start(struct center *center, uint32_t app, const struct request *request,
		   struct hf_arena *arena, resolve_done done, void *ctx);

#endif
