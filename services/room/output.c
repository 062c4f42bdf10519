#include "output.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_CAPACITY 4u
#define CAPACITY_MAX   8192u

struct frame *frame_new(const void *data, size_t len)
{
	struct frame *frame = malloc(sizeof(*frame) + len);

	if (frame == NULL)
		return NULL;
	*frame = (struct frame){ .refs = 1, .len = (uint32_t)len };
	if (data != NULL)
		memcpy(frame->data, data, len);
	return frame;
}

void frame_unref(struct frame *frame)
{
	if (frame != NULL && --frame->refs == 0)
		free(frame);
}

static size_t ring_size(uint32_t capacity)
{
	return sizeof(struct output_ring) + capacity * sizeof(struct frame *);
}

static struct frame **ring_at(struct output_ring *ring, uint32_t i)
{
	return &ring->frames[(ring->head + i) & (ring->capacity - 1u)];
}

static void ring_free(struct pool *pool, struct output *output)
{
	const struct output_ring *ring = pool_at(pool, output->ring);

	if (ring != NULL)
		pool_free(pool, output->ring, ring_size(ring->capacity));
	output->ring = 0;
}

/* The ring with room for one more; NULL out of memory. */
static struct output_ring *ring_grow(struct pool *pool, struct output *output)
{
	struct output_ring *old = pool_at(pool, output->ring), *ring;
	uint32_t capacity = old == NULL ? FIRST_CAPACITY : 2u * old->capacity;
	pool_ref grown;

	if (old != NULL && old->count < old->capacity)
		return old;
	ring = pool_alloc(pool, ring_size(capacity), &grown);
	if (ring == NULL)
		return NULL;
	*ring = (struct output_ring){ .capacity = (uint16_t)capacity };
	if (old != NULL) {
		ring->bytes = old->bytes;
		ring->written = old->written;
		ring->count = old->count;
		for (uint32_t i = 0; i < old->count; i++)
			ring->frames[i] = *ring_at(old, i);
		ring_free(pool, output);
	}
	output->ring = grown;
	return ring;
}

uint64_t output_bytes(const struct pool *pool, const struct output *output)
{
	const struct output_ring *ring = pool_at(pool, output->ring);

	if (output->first == NULL)
		return 0;
	if (ring == NULL)
		return output->first->len;
	return output->first->len - ring->written + ring->bytes;
}

/* The frame at a position: 0 is the one in the record, the others are in the ring. */
static struct frame **frame_at(struct output *output, struct output_ring *ring, uint32_t at)
{
	return at == 0 ? &output->first : ring_at(ring, at - 1);
}

static uint32_t frame_count(const struct output *output, const struct output_ring *ring)
{
	return output->first == NULL ? 0 : 1u + (ring == NULL ? 0 : ring->count);
}

/* The first position that may still change. */
static uint32_t first_free(struct output *output, struct output_ring *ring, size_t pinned)
{
	uint32_t written = ring == NULL ? 0 : ring->written;
	uint32_t count = frame_count(output, ring), at = 0;

	for (size_t begun = written + pinned, bytes = 0; at < count && bytes < begun; at++)
		bytes += (*frame_at(output, ring, at))->len;
	return at;
}

int output_push(struct pool *pool, struct output *output, struct frame *frame, size_t pinned)
{
	struct output_ring *ring = pool_at(pool, output->ring);
	uint32_t at, lowest;

	if (output->first == NULL) {
		output->first = frame_ref(frame);
		return 0;
	}
	if (ring != NULL && ring->count == CAPACITY_MAX)
		return -ENOBUFS;
	ring = ring_grow(pool, output);
	if (ring == NULL)
		return -ENOMEM;
	at = frame_count(output, ring);
	lowest = frame->kind == FRAME_HIGH ? first_free(output, ring, pinned) : at;
	ring->count++;
	for (; at > lowest && (*frame_at(output, ring, at - 1))->kind == FRAME_MESSAGE; at--)
		*frame_at(output, ring, at) = *frame_at(output, ring, at - 1);
	ring->bytes += at > 0 ? frame->len : (*frame_at(output, ring, 1))->len;
	*frame_at(output, ring, at) = frame_ref(frame);
	return 0;
}

struct frame *output_take(struct pool *pool, struct output *output, uint64_t collapse,
			  size_t pinned)
{
	struct output_ring *ring = pool_at(pool, output->ring);
	uint32_t count = frame_count(output, ring), at = first_free(output, ring, pinned);
	struct frame *frame;

	while (at < count && (*frame_at(output, ring, at))->collapse != collapse)
		at++;
	if (at == count)
		return NULL;
	frame = *frame_at(output, ring, at);
	if (count == 1) {
		output->first = NULL;
	} else {
		ring->bytes -= at > 0 ? frame->len : (*frame_at(output, ring, 1))->len;
		for (; at + 1 < count; at++)
			*frame_at(output, ring, at) = *frame_at(output, ring, at + 1);
		ring->count--;
	}
	if (ring != NULL && ring->count == 0 && ring->written == 0)
		ring_free(pool, output);
	return frame;
}

int output_peek(const struct pool *pool, const struct output *output, struct iovec *ret, int max)
{
	struct output_ring *ring = pool_at(pool, output->ring);
	uint32_t written = ring == NULL ? 0 : ring->written;
	int n = 0;

	if (output->first == NULL || max < 1)
		return 0;
	ret[n++] = (struct iovec){ output->first->data + written, output->first->len - written };
	for (uint32_t i = 0; ring != NULL && i < ring->count && n < max; i++) {
		struct frame *frame = *ring_at(ring, i);

		ret[n++] = (struct iovec){ frame->data, frame->len };
	}
	return n;
}

/* The first frame leaves, the next one takes its place. */
static void shift(struct output *output, struct output_ring *ring)
{
	frame_unref(output->first);
	output->first = NULL;
	if (ring == NULL)
		return;
	ring->written = 0;
	if (ring->count > 0) {
		output->first = *ring_at(ring, 0);
		ring->bytes -= output->first->len;
		ring->head = (uint16_t)((ring->head + 1u) & (ring->capacity - 1u));
		ring->count--;
	}
}

int output_advance(struct pool *pool, struct output *output, size_t n)
{
	struct output_ring *ring = pool_at(pool, output->ring);

	while (output->first != NULL) {
		size_t left = output->first->len - (ring == NULL ? 0 : ring->written);

		if (n < left)
			break;
		n -= left;
		shift(output, ring);
	}
	if (n > 0) {
		ring = ring_grow(pool, output);
		if (ring == NULL)
			return -ENOMEM;
		ring->written += (uint32_t)n;
	} else if (ring != NULL && ring->count == 0 && ring->written == 0) {
		ring_free(pool, output);
	}
	return 0;
}

uint32_t output_truncate(struct pool *pool, struct output *output)
{
	struct output_ring *ring = pool_at(pool, output->ring);
	uint32_t dropped = 0;

	if (ring == NULL || ring->written == 0) {
		dropped = (output->first != NULL) + (ring == NULL ? 0u : ring->count);
		output_clear(pool, output);
		return dropped;
	}
	for (; ring->count > 0; ring->count--, dropped++)
		frame_unref(*ring_at(ring, ring->count - 1u));
	ring->bytes = 0;
	return dropped;
}

void output_clear(struct pool *pool, struct output *output)
{
	struct output_ring *ring = pool_at(pool, output->ring);

	for (uint32_t i = 0; ring != NULL && i < ring->count; i++)
		frame_unref(*ring_at(ring, i));
	ring_free(pool, output);
	frame_unref(output->first);
	output->first = NULL;
}
