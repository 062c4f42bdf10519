/* common/base/hf_slab.h - records of one size in pages, named by 32-bit handles.
 *
 * A handle is index | generation: after a record is freed its old handles find nothing, so nobody
 * can reach a record through a stale name. Records never move, pages are never given back while the
 * slab lives, and each costs its size plus one byte of generation beside the page. Generations wrap
 * after 128 lives; dead records are reused oldest first and only while HF_SLAB_DEAD_MIN are dead,
 * so a handle comes back after 128 * HF_SLAB_DEAD_MIN frees at the earliest.
 *
 *	handle   31        24 23                0
 *	         +------------+------------------+
 *	         | generation | index (1..2^24-1)|   0 is no handle; bit 24 is set in every one
 *	         +------------+------------------+
 */
#ifndef HF_SLAB_H
#define HF_SLAB_H

#include "hf_base.h"

typedef uint32_t hf_handle;

#define HF_SLAB_PAGE_RECORDS 1024u
#define HF_SLAB_LIMIT_MAX    0xffffffu
#define HF_SLAB_DEAD_MIN     256u

struct hf_slab {
	uint8_t **pages; /* HF_SLAB_PAGE_RECORDS records each, then a byte of generation for each */
	uint32_t page_count, page_capacity;
	uint32_t record_size, limit; /* limit: most live records */
	uint32_t live;
	uint32_t free_head, free_tail; /* a queue through the first 4 bytes of dead records */
	uint32_t fresh;                /* next index never used yet */
};

/* `record_size`: at least 4, and a multiple of the record's alignment; page starts are aligned
 * to 64. `limit`: at most HF_SLAB_LIMIT_MAX records. */
void hf_slab_init(struct hf_slab *slab, size_t record_size, uint32_t limit);
void hf_slab_deinit(struct hf_slab *slab);

/* A zeroed record, its handle in *ret_handle; NULL at the limit or out of memory. */
HF_MUST_CHECK void *hf_slab_alloc(struct hf_slab *slab, hf_handle *ret_handle);
void hf_slab_free(struct hf_slab *slab, hf_handle handle); /* handle must be live */

/* NULL when stale, or 0. */
static inline void *hf_slab_get(const struct hf_slab *slab, hf_handle handle)
{
	uint32_t index = handle & HF_SLAB_LIMIT_MAX, at = index % HF_SLAB_PAGE_RECORDS;
	uint8_t *page, generation = (uint8_t)(handle >> 24);

	if (HF_UNLIKELY(index >= slab->fresh || !(generation & 1)))
		return NULL;
	page = slab->pages[index / HF_SLAB_PAGE_RECORDS];
	if (HF_UNLIKELY(page[(size_t)slab->record_size * HF_SLAB_PAGE_RECORDS + at] != generation))
		return NULL;
	return page + (size_t)slab->record_size * at;
}

/* Walk: the handle of the first live record at or after position `*pos` (start at 0), moving `*pos`
 * past it; 0 when the end is reached. Looks at no more than `max_steps` positions: when those are
 * used up without a find it returns 0 with *pos < hf_slab_end(). */
hf_handle hf_slab_next(const struct hf_slab *slab, uint32_t *pos, uint32_t max_steps);
uint32_t hf_slab_end(const struct hf_slab *slab);

#endif
