/* services/room/expiry.h - deadlines that all lie the same time ahead: a queue, oldest first.
 *
 * Entering and leaving costs nothing but 8 bytes: who met the deadline is simply skipped when its
 * turn comes. That serves what every connection goes through once (handshake, linger) without a
 * timer in each record. */
#ifndef HF_ROOM_EXPIRY_H
#define HF_ROOM_EXPIRY_H

#include "hf_slab.h"

struct expiry {
	struct expiry_entry {
		hf_handle handle;
		uint32_t since; /* tick */
	} * entries;
	uint32_t head, count, capacity; /* a ring; the capacity is a power of two */
};

void expiry_deinit(struct expiry *expiry); /* {0} is an empty one */
HF_MUST_CHECK int expiry_push(struct expiry *expiry, hf_handle handle, uint32_t tick);
/* The oldest handle pushed at least `age` ticks before `tick`, taken out; 0 when there is none. */
hf_handle expiry_pop(struct expiry *expiry, uint32_t tick, uint32_t age);

#endif
