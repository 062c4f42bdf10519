#include "window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_CAPACITY 4u

static size_t block_size(uint32_t capacity)
{
	return sizeof(struct window) + capacity * (sizeof(uint64_t) + sizeof(struct frame *));
}

static struct frame **frames_of(struct window *window)
{
	return (struct frame **)(void *)&window->ids[window->capacity];
}

static bool has(const struct window *window, uint32_t from, uint32_t count, uint64_t id)
{
	for (uint32_t i = from; i < from + count; i++) {
		if (window->ids[i] == id)
			return true;
	}
	return false;
}

bool window_has(const struct pool *pool, pool_ref ref, uint64_t id)
{
	const struct window *window = pool_at(pool, ref);

	return window != NULL && has(window, 0, window->count, id);
}

bool window_was_acked(const struct pool *pool, pool_ref ref, uint64_t id)
{
	const struct window *window = pool_at(pool, ref);

	return window != NULL && has(window, window->count, window->acked, id);
}

uint32_t window_count(const struct pool *pool, pool_ref ref)
{
	const struct window *window = pool_at(pool, ref);

	return window == NULL ? 0 : window->count;
}

uint64_t window_after(const struct pool *pool, pool_ref ref)
{
	const struct window *window = pool_at(pool, ref);

	return window == NULL ? WINDOW_UP_TO_DATE : window->after;
}

void window_free(struct pool *pool, pool_ref *ref)
{
	const struct window *window = pool_at(pool, *ref);

	if (window == NULL)
		return;
	assert(window->kept_bytes == 0);
	pool_free(pool, *ref, block_size(window->capacity));
	*ref = 0;
}

uint32_t window_kept_bytes(const struct pool *pool, pool_ref ref)
{
	const struct window *window = pool_at(pool, ref);

	return window == NULL ? 0 : window->kept_bytes;
}

/* The window with room for one more id than it has. */
static struct window *grow(struct pool *pool, pool_ref *ref)
{
	struct window *old = pool_at(pool, *ref), *window;
	uint32_t capacity = old == NULL ? FIRST_CAPACITY : 2u * old->capacity;
	pool_ref grown;

	if (old != NULL && old->count + old->acked < old->capacity)
		return old;
	window = pool_alloc(pool, block_size(capacity), &grown);
	if (window == NULL)
		return NULL;
	*window = (struct window){ .after = WINDOW_UP_TO_DATE };
	if (old != NULL)
		memcpy(window, old,
		       sizeof(*old) + (size_t)(old->count + old->acked) * sizeof(uint64_t));
	window->capacity = (uint16_t)capacity;
	if (old != NULL) {
		memcpy(frames_of(window), frames_of(old), old->count * sizeof(struct frame *));
		old->kept_bytes = 0;
	}
	window_free(pool, ref);
	*ref = grown;
	return window;
}

int window_add(struct pool *pool, pool_ref *ref, uint64_t id, struct frame *frame)
{
	struct window *window;

	if (window_count(pool, *ref) >= WINDOW_MAX)
		return -ENOSPC;
	window = grow(pool, ref);
	if (window == NULL)
		return -ENOMEM;
	window->ids[window->count + window->acked] = window->ids[window->count];
	frames_of(window)[window->count] = frame;
	window->ids[window->count++] = id;
	window->kept_bytes += frame == NULL ? 0 : frame->len;
	return 0;
}

int window_park(struct pool *pool, pool_ref *ref, uint64_t id, struct frame *frame)
{
	int err = window_add(pool, ref, id, frame);

	if (err == 0)
		((struct window *)pool_at(pool, *ref))->parked++;
	return err;
}

static void free_if_idle(struct pool *pool, pool_ref *ref)
{
	const struct window *window = pool_at(pool, *ref);

	if (window != NULL && window->count == 0 && window->acked == 0 &&
	    window->after == WINDOW_UP_TO_DATE)
		window_free(pool, ref);
}

bool window_remove(struct pool *pool, pool_ref *ref, uint64_t id, bool remember,
		   struct frame **ret_frame)
{
	struct window *window = pool_at(pool, *ref);

	*ret_frame = NULL;
	for (uint32_t i = 0; window != NULL && i < window->count; i++) {
		struct frame **frames = frames_of(window);

		if (window->ids[i] != id)
			continue;
		assert(window->parked == 0); /* who is cut acks nothing */
		*ret_frame = frames[i];
		window->kept_bytes -= frames[i] == NULL ? 0 : frames[i]->len;
		window->ids[i] = window->ids[--window->count];
		frames[i] = frames[window->count];
		window->ids[window->count] = id; /* the first of the acked ones now */
		if (remember && window->acked < WINDOW_ACKED_MAX)
			window->acked++;
		else
			window->ids[window->count] = window->ids[window->count + window->acked];
		free_if_idle(pool, ref);
		return true;
	}
	return false;
}

struct frame *window_unpark(struct pool *pool, pool_ref *ref, uint64_t collapse)
{
	struct window *window = pool_at(pool, *ref);
	uint32_t i = window == NULL ? 0 : (uint32_t)window->count - window->parked;
	struct frame **frames, *frame;

	if (window == NULL)
		return NULL;
	frames = frames_of(window);
	while (i < window->count && (frames[i] == NULL || frames[i]->collapse != collapse))
		i++;
	if (i == window->count)
		return NULL;
	frame = frames[i];
	window->kept_bytes -= frame->len;
	window->parked--;
	window->count--;
	memmove(&frames[i], &frames[i + 1], (window->count - i) * sizeof(*frames));
	/* What follows is kept in order: the parked ones, and behind them the acked ones. */
	memmove(&window->ids[i], &window->ids[i + 1],
		(window->count - i + window->acked) * sizeof(window->ids[0]));
	free_if_idle(pool, ref);
	return frame;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct window_entry *)a)->id, y = ((const struct window_entry *)b)->id;

	return (x > y) - (x < y);
}

uint32_t window_take(struct pool *pool, pool_ref *ref, struct window_entry *ret,
		     uint32_t *ret_parked)
{
	struct window *window = pool_at(pool, *ref);
	uint32_t count = window == NULL ? 0 : window->count;

	*ret_parked = 0;
	if (count == 0)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		ret[i] = (struct window_entry){ window->ids[i], frames_of(window)[i] };
	*ret_parked = window->parked;
	qsort(ret, count - window->parked, sizeof(*ret), by_id);
	memmove(window->ids, window->ids + count, window->acked * sizeof(uint64_t));
	window->count = window->parked = 0;
	window->kept_bytes = 0;
	free_if_idle(pool, ref);
	return count;
}

void window_forget_acked(struct pool *pool, pool_ref *ref)
{
	struct window *window = pool_at(pool, *ref);

	if (window == NULL)
		return;
	window->acked = 0;
	free_if_idle(pool, ref);
}

int window_fall_behind(struct pool *pool, pool_ref *ref, uint64_t after)
{
	struct window *window = pool_at(pool, *ref);

	if (window == NULL) {
		window = grow(pool, ref);
		if (window == NULL)
			return -ENOMEM;
	}
	window->after = HF_MIN(window->after, after);
	return 0;
}

void window_catch_up(struct pool *pool, pool_ref *ref)
{
	struct window *window = pool_at(pool, *ref);

	if (window == NULL)
		return;
	window->after = WINDOW_UP_TO_DATE;
	free_if_idle(pool, ref);
}
