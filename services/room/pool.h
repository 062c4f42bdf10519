/* services/room/pool.h - small blocks of many sizes, named by 32-bit references.
 *
 * What a record needs only at times (names, unacked windows, queues, partial frames) lives here. A
 * block costs its size rounded up to 8 bytes (above 512: to a power of two) and nothing beside it;
 * malloc would add 8 to 24 bytes to each. Blocks never move. Memory is reused by size class and
 * given back only when the pool ends. The owner of a block remembers its size. */
#ifndef HF_ROOM_POOL_H
#define HF_ROOM_POOL_H

#include "hf_base.h"

#define POOL_UNIT        8u
#define POOL_CHUNK_SHIFT 15u /* units of a chunk, as a power of two: 256 KiB */
#define POOL_BLOCK_MAX   (128u << 10)
#define POOL_CLASSES     (64 + 8)

typedef uint32_t pool_ref; /* 0: none */

struct pool {
	uint8_t **chunks;
	uint32_t chunk_count, chunk_capacity;
	uint32_t fresh, fresh_end;         /* units never used yet, in the newest chunk */
	pool_ref free_heads[POOL_CLASSES]; /* linked through the first 4 bytes */
	size_t used;                       /* bytes of live blocks, rounded */
};

void pool_init(struct pool *pool);
void pool_deinit(struct pool *pool);

/* A block of `size` bytes (1..POOL_BLOCK_MAX), 8-byte aligned, not zeroed; NULL out of memory. */
HF_MUST_CHECK void *pool_alloc(struct pool *pool, size_t size, pool_ref *ret_ref);
/* `size` as given to pool_alloc(). Reference 0 is fine. */
void pool_free(struct pool *pool, pool_ref ref, size_t size);
size_t pool_bytes(const struct pool *pool); /* taken from the system */

/* NULL for reference 0. */
static inline void *pool_at(const struct pool *pool, pool_ref ref)
{
	const uint32_t mask = (1u << POOL_CHUNK_SHIFT) - 1;

	if (ref == 0)
		return NULL;
	return pool->chunks[ref >> POOL_CHUNK_SHIFT] + (size_t)(ref & mask) * POOL_UNIT;
}

#endif
