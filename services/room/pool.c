#include "pool.h"

#include <assert.h>
#include <stdlib.h>

/* Under the address sanitizer a freed block is poisoned, as malloc's would be. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, size)   ASAN_POISON_MEMORY_REGION(p, size)
#define UNPOISON(p, size) ASAN_UNPOISON_MEMORY_REGION(p, size)
#else
#define POISON(p, size)   ((void)(p), (void)(size))
#define UNPOISON(p, size) ((void)(p), (void)(size))
#endif

#define CHUNK_UNITS  (1u << POOL_CHUNK_SHIFT)
#define CHUNK_BYTES  ((size_t)CHUNK_UNITS * POOL_UNIT)
#define LINEAR_BYTES 512u

/* Class of `size`, and in *ret_units what its blocks take. */
static unsigned class_of(size_t size, uint32_t *ret_units)
{
	unsigned class = LINEAR_BYTES / POOL_UNIT;

	assert(size > 0 && size <= POOL_BLOCK_MAX);
	if (size <= LINEAR_BYTES) {
		*ret_units = (uint32_t)(size + POOL_UNIT - 1) / POOL_UNIT;
		return *ret_units - 1;
	}
	*ret_units = 2 * LINEAR_BYTES / POOL_UNIT;
	for (; (size_t)*ret_units * POOL_UNIT < size; class ++)
		*ret_units *= 2;
	return class;
}

void pool_init(struct pool *pool)
{
	*pool = (struct pool){ 0 };
}

void pool_deinit(struct pool *pool)
{
	for (uint32_t i = 0; i < pool->chunk_count; i++) {
		UNPOISON(pool->chunks[i], CHUNK_BYTES);
		free(pool->chunks[i]);
	}
	free(pool->chunks);
	pool_init(pool);
}

static void release(struct pool *pool, pool_ref ref, unsigned class, uint32_t units)
{
	void *block = pool_at(pool, ref);

	memcpy(block, &pool->free_heads[class], sizeof(pool_ref));
	pool->free_heads[class] = ref;
	POISON(block, (size_t)units * POOL_UNIT);
}

/* What is left of the newest chunk becomes free blocks of the classes it can still serve. */
static void retire_chunk(struct pool *pool)
{
	while (pool->fresh < pool->fresh_end) {
		uint32_t left = pool->fresh_end - pool->fresh;
		uint32_t units = HF_MIN(left, LINEAR_BYTES / POOL_UNIT);

		release(pool, pool->fresh, units - 1, units);
		pool->fresh += units;
	}
}

static bool add_chunk(struct pool *pool)
{
	uint8_t *chunk;

	if (pool->chunk_count == 1u << (32 - POOL_CHUNK_SHIFT))
		return false;
	if (pool->chunk_count == pool->chunk_capacity) {
		uint32_t capacity = HF_MAX(16u, 2 * pool->chunk_capacity);
		uint8_t **chunks = realloc(pool->chunks, capacity * sizeof(*chunks));

		if (chunks == NULL)
			return false;
		pool->chunks = chunks;
		pool->chunk_capacity = capacity;
	}
	chunk = malloc(CHUNK_BYTES);
	if (chunk == NULL)
		return false;

	retire_chunk(pool);
	pool->chunks[pool->chunk_count] = chunk;
	pool->fresh = pool->chunk_count << POOL_CHUNK_SHIFT;
	if (pool->fresh == 0)
		pool->fresh = 1; /* unit 0 would be the reference "none" */
	pool->fresh_end = (pool->chunk_count << POOL_CHUNK_SHIFT) + CHUNK_UNITS - 1;
	pool->chunk_count++;
	return true;
}

void *pool_alloc(struct pool *pool, size_t size, pool_ref *ret_ref)
{
	uint32_t units;
	unsigned class = class_of(size, &units);
	pool_ref ref = pool->free_heads[class];
	void *block;

	if (ref != 0) {
		block = pool_at(pool, ref);
		UNPOISON(block, (size_t)units * POOL_UNIT);
		memcpy(&pool->free_heads[class], block, sizeof(ref));
	} else {
		if (pool->fresh + units > pool->fresh_end && !add_chunk(pool))
			return NULL;
		ref = pool->fresh;
		pool->fresh += units;
		block = pool_at(pool, ref);
	}
	pool->used += (size_t)units * POOL_UNIT;
	*ret_ref = ref;
	return block;
}

void pool_free(struct pool *pool, pool_ref ref, size_t size)
{
	uint32_t units;
	unsigned class;

	if (ref == 0)
		return;
	class = class_of(size, &units);
	pool->used -= (size_t)units * POOL_UNIT;
	release(pool, ref, class, units);
}

size_t pool_bytes(const struct pool *pool)
{
	return pool->chunk_count * CHUNK_BYTES;
}
