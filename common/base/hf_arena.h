/* common/base/hf_arena.h - a bump allocator: many small allocations, one release.
 *
 * Memory is kept across hf_arena_reset() up to `keep` bytes, so a busy connection allocates from
 * malloc once and then never again. A budget bounds what one round may take: what outside bytes
 * make us decode can't exceed it. */
#ifndef HF_ARENA_H
#define HF_ARENA_H

#include "hf_base.h"

struct hf_arena_chunk;

struct hf_arena {
	struct hf_arena_chunk *chunks; /* newest first */
	uint8_t *pos, *end;            /* what is left of the newest */
	size_t used, budget, keep;
	size_t first_size; /* of the first chunk of a round; 0: nothing known yet */
};

/* `budget`: most bytes between two resets (0: no limit). `keep`: bytes kept by a reset. */
void hf_arena_init(struct hf_arena *arena, size_t budget, size_t keep);
void hf_arena_deinit(struct hf_arena *arena);
void hf_arena_reset(struct hf_arena *arena); /* everything allocated from it is gone */

/* 16-byte aligned, not zeroed, and never two at one address (also of size 0); NULL when over budget
 * or out of memory. Sizes count rounded up to 16. _copy() takes NULL for no bytes. */
HF_MUST_CHECK void *hf_arena_alloc(struct hf_arena *arena, size_t size);
HF_MUST_CHECK void *hf_arena_zalloc(struct hf_arena *arena, size_t size);
HF_MUST_CHECK char *hf_arena_printf(struct hf_arena *arena, const char *fmt, ...) HF_PRINTF(2, 3);
HF_MUST_CHECK void *hf_arena_copy(struct hf_arena *arena, const void *data, size_t len);

#endif
