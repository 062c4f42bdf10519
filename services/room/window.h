/* services/room/window.h - what a session was sent and has not acked, and where the rest begins.
 *
 * The block exists only while there is something to remember: an idle session has none. The
 * number of ids is bounded by limits.unacked, so a linear search is the fastest one.
 *
 * Beside an unacked id may lie the frame that carried it, to be sent again after a flash cut. While
 * the client is cut what is pushed is added as well: the last `parked` ids are those, in the order
 * in which they came. */
#ifndef HF_ROOM_WINDOW_H
#define HF_ROOM_WINDOW_H

#include "output.h"
#include "pool.h"

#define WINDOW_MAX        1024u      /* most ids, whatever the configuration says */
#define WINDOW_ACKED_MAX  1024u      /* most acked ids remembered */
#define WINDOW_UP_TO_DATE UINT64_MAX /* of `after`: nothing waits in saver */

struct window {
	uint64_t after;      /* saver holds messages above this id that were not sent yet */
	uint32_t full_since; /* tick at which it became full; for the slow consumer rule */
	uint32_t
		fresh_since; /* tick of the last page with young messages; for SESSION_FRESH_PAGE */
	uint16_t count, acked, capacity;
	uint16_t parked;     /* the last ones of `count`: not sent yet */
	uint32_t kept_bytes; /* of the frames */
	uint64_t ids[]; /* `count` unacked ones, then `acked` ones, each in no order; behind the
			 * last place a frame for each unacked one, or NULL */
};

struct window_entry {
	uint64_t id;
	struct frame *frame;
};

/* All take the place where the session keeps the reference; 0 there is an empty window. */
bool window_has(const struct pool *pool, pool_ref ref, uint64_t id);
uint32_t window_count(const struct pool *pool, pool_ref ref);
uint64_t window_after(const struct pool *pool, pool_ref ref);
/* Remember `id` as sent. `frame` is taken, and may be NULL. 0, -ENOSPC (WINDOW_MAX) or -ENOMEM. */
HF_MUST_CHECK int window_add(struct pool *pool, pool_ref *ref, uint64_t id, struct frame *frame);
/* The same for one that is to be sent later. */
HF_MUST_CHECK int window_park(struct pool *pool, pool_ref *ref, uint64_t id, struct frame *frame);
/* A parked one with this collapse key is not owed any more: its frame, now the caller's, or NULL.
 */
struct frame *window_unpark(struct pool *pool, pool_ref *ref, uint64_t collapse);
/* `id` is acked; false when it was not in flight. While a page is on its way from saver it may
 * carry that message still: with `remember` the id is kept (up to WINDOW_ACKED_MAX) to tell.
 * *ret_frame: its frame, now the caller's, or NULL. */
bool window_remove(struct pool *pool, pool_ref *ref, uint64_t id, bool remember,
		   struct frame **ret_frame);
/* Takes all unacked entries out, with their frames: those that were sent, by id, then the parked
 * ones. Returns how many there are (at most WINDOW_MAX). */
uint32_t window_take(struct pool *pool, pool_ref *ref, struct window_entry *ret,
		     uint32_t *ret_parked);
uint32_t window_kept_bytes(const struct pool *pool, pool_ref ref);
bool window_was_acked(const struct pool *pool, pool_ref ref, uint64_t id);
void window_forget_acked(struct pool *pool, pool_ref *ref);
/* Everything above `after` is still to be loaded (the lowest such mark wins). 0 or -ENOMEM. */
HF_MUST_CHECK int window_fall_behind(struct pool *pool, pool_ref *ref, uint64_t after);
void window_catch_up(struct pool *pool, pool_ref *ref); /* the mark goes */
void window_free(struct pool *pool, pool_ref *ref);     /* no frame may be left in it */

#endif
