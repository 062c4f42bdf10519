#include "hf_arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGNMENT 16u
#define CHUNK_MIN 4096u
#define CHUNK_MAX 65536u /* a chunk for one larger allocation is as large as that needs */

struct hf_arena_chunk {
	struct hf_arena_chunk *next; /* older */
	size_t size;                 /* bytes in data */
	alignas(ALIGNMENT) uint8_t data[];
};

void hf_arena_init(struct hf_arena *arena, size_t budget, size_t keep)
{
	*arena = (struct hf_arena){ .budget = budget, .keep = keep };
}

/* Free all chunks newer than `last`; NULL frees every one. */
static void free_chunks_until(struct hf_arena *arena, const struct hf_arena_chunk *last)
{
	struct hf_arena_chunk *chunk;

	while ((chunk = arena->chunks) != last) {
		arena->chunks = chunk->next;
		free(chunk);
	}
	arena->pos = chunk == NULL ? NULL : chunk->data;
	arena->end = chunk == NULL ? NULL : chunk->data + chunk->size;
}

void hf_arena_deinit(struct hf_arena *arena)
{
	free_chunks_until(arena, NULL);
	hf_arena_init(arena, arena->budget, arena->keep);
}

/* A round that took several chunks makes the next one begin with a single chunk as large as all of
 * them, up to `keep`; from then on that chunk stays. */
void hf_arena_reset(struct hf_arena *arena)
{
	struct hf_arena_chunk *oldest = NULL;
	size_t held = 0, wanted;

	for (struct hf_arena_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->next) {
		held += chunk->size;
		oldest = chunk;
	}
	wanted = HF_MIN(held, arena->keep) / ALIGNMENT * ALIGNMENT;
	if (oldest != NULL) {
		free_chunks_until(arena, oldest->size == wanted ? oldest : NULL);
		arena->first_size = wanted;
	}
	arena->used = 0;
}

static int add_chunk(struct hf_arena *arena, size_t size)
{
	struct hf_arena_chunk *chunk;

	if (arena->chunks == NULL)
		size = HF_MAX(size, arena->first_size > 0 ? arena->first_size : CHUNK_MIN);
	else
		size = HF_MAX(size, HF_MIN(HF_MAX(arena->chunks->size * 2, CHUNK_MIN), CHUNK_MAX));
	if (size > SIZE_MAX - sizeof(*chunk))
		return -ENOMEM;
	chunk = malloc(sizeof(*chunk) + size);
	if (chunk == NULL)
		return -ENOMEM;

	chunk->next = arena->chunks;
	chunk->size = size;
	arena->chunks = chunk;
	arena->pos = chunk->data;
	arena->end = chunk->data + size;
	return 0;
}

void *hf_arena_alloc(struct hf_arena *arena, size_t size)
{
	uint8_t *ret;

	if (HF_UNLIKELY(size > SIZE_MAX - ALIGNMENT))
		return NULL;
	size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (arena->budget > 0 && size > arena->budget - arena->used)
		return NULL;
	if (size > (size_t)(arena->end - arena->pos) && add_chunk(arena, size) < 0)
		return NULL;

	ret = arena->pos;
	arena->pos += size;
	arena->used += size;
	return ret;
}

void *hf_arena_zalloc(struct hf_arena *arena, size_t size)
{
	void *ret = hf_arena_alloc(arena, size);

	return ret == NULL ? NULL : memset(ret, 0, size);
}

void *hf_arena_copy(struct hf_arena *arena, const void *data, size_t len)
{
	void *ret = hf_arena_alloc(arena, len);

	if (ret != NULL && len > 0)
		memcpy(ret, data, len);
	return ret;
}

char *hf_arena_printf(struct hf_arena *arena, const char *fmt, ...)
{
	va_list args, again;
	char *ret = NULL;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	if (len >= 0)
		ret = hf_arena_alloc(arena, (size_t)len + 1);
	if (ret != NULL)
		vsnprintf(ret, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(args);
	return ret;
}
