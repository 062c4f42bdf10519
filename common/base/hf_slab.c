#include "hf_slab.h"

#include <assert.h>
#include <stdlib.h>

#define INDEX_OF(handle) ((handle)&HF_SLAB_LIMIT_MAX)

void hf_slab_init(struct hf_slab *slab, size_t record_size, uint32_t limit)
{
	assert(record_size >= sizeof(uint32_t) && record_size <= UINT32_MAX / 2);
	assert(limit <= HF_SLAB_LIMIT_MAX);
	*slab = (struct hf_slab){ .record_size = (uint32_t)record_size,
				  .limit = limit,
				  .fresh = 1 };
}

void hf_slab_deinit(struct hf_slab *slab)
{
	for (uint32_t i = 0; i < slab->page_count; i++)
		free(slab->pages[i]);
	free(slab->pages);
	*slab = (struct hf_slab){ 0 };
}

static uint8_t *record_at(const struct hf_slab *slab, uint32_t index)
{
	return slab->pages[index / HF_SLAB_PAGE_RECORDS] +
	       (size_t)slab->record_size * (index % HF_SLAB_PAGE_RECORDS);
}

static uint8_t *generation_at(const struct hf_slab *slab, uint32_t index)
{
	return slab->pages[index / HF_SLAB_PAGE_RECORDS] +
	       (size_t)slab->record_size * HF_SLAB_PAGE_RECORDS + index % HF_SLAB_PAGE_RECORDS;
}

static bool add_page(struct hf_slab *slab)
{
	size_t records = (size_t)slab->record_size * HF_SLAB_PAGE_RECORDS;
	uint8_t *page;

	if (slab->page_count == slab->page_capacity) {
		uint32_t capacity = slab->page_capacity == 0 ? 16 : slab->page_capacity * 2;
		uint8_t **pages = realloc(slab->pages, capacity * sizeof(*pages));

		if (pages == NULL)
			return false;
		slab->pages = pages;
		slab->page_capacity = capacity;
	}
	page = aligned_alloc(64, records + HF_SLAB_PAGE_RECORDS); /* a multiple of 1024 */
	if (page == NULL)
		return false;
	memset(page + records, 0, HF_SLAB_PAGE_RECORDS);
	slab->pages[slab->page_count++] = page;
	return true;
}

/* An index to use, or 0. */
static uint32_t take_index(struct hf_slab *slab)
{
	uint32_t dead = slab->fresh - 1 - slab->live, index = slab->free_head;
	bool page_full = slab->fresh >= slab->page_count * HF_SLAB_PAGE_RECORDS;

	if (dead < HF_SLAB_DEAD_MIN && slab->fresh <= HF_SLAB_LIMIT_MAX &&
	    (!page_full || add_page(slab)))
		return slab->fresh++;
	if (index != 0)
		memcpy(&slab->free_head, record_at(slab, index), sizeof(slab->free_head));
	return index;
}

void *hf_slab_alloc(struct hf_slab *slab, hf_handle *ret_handle)
{
	uint32_t index = slab->live < slab->limit ? take_index(slab) : 0;
	uint8_t *generation;

	if (index == 0)
		return NULL;
	slab->live++;
	generation = generation_at(slab, index);
	*generation |= 1;
	*ret_handle = (uint32_t)*generation << 24 | index;
	return memset(record_at(slab, index), 0, slab->record_size);
}

void hf_slab_free(struct hf_slab *slab, hf_handle handle)
{
	uint32_t index = INDEX_OF(handle), end_of_list = 0;

	assert(hf_slab_get(slab, handle) != NULL);
	++*generation_at(slab, index);
	slab->live--;

	memcpy(record_at(slab, index), &end_of_list, sizeof(end_of_list));
	if (slab->free_head == 0)
		slab->free_head = index;
	else
		memcpy(record_at(slab, slab->free_tail), &index, sizeof(index));
	slab->free_tail = index;
}

hf_handle hf_slab_next(const struct hf_slab *slab, uint32_t *pos, uint32_t max_steps)
{
	for (; max_steps > 0 && *pos < slab->fresh; max_steps--) {
		uint32_t index = (*pos)++;
		uint8_t generation = index == 0 ? 0 : *generation_at(slab, index);

		if (generation & 1)
			return (uint32_t)generation << 24 | index;
	}
	return 0;
}

uint32_t hf_slab_end(const struct hf_slab *slab)
{
	return slab->fresh;
}
