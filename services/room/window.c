#include "window.h"

#include <errno.h>

#define FIRST_CAPACITY 4u

static size_t block_size(uint32_t capacity)
{
	return sizeof(struct window) + capacity * sizeof(uint64_t);
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
	pool_free(pool, *ref, block_size(window->capacity));
	*ref = 0;
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
	if (old != NULL)
		memcpy(window, old, block_size((uint32_t)old->count + old->acked));
	else
		*window = (struct window){ .after = WINDOW_UP_TO_DATE };
	window->capacity = (uint16_t)capacity;
	window_free(pool, ref);
	*ref = grown;
	return window;
}

int window_add(struct pool *pool, pool_ref *ref, uint64_t id)
{
	struct window *window;

	if (window_count(pool, *ref) >= WINDOW_MAX)
		return -ENOSPC;
	window = grow(pool, ref);
	if (window == NULL)
		return -ENOMEM;
	window->ids[window->count + window->acked] = window->ids[window->count];
	window->ids[window->count++] = id;
	return 0;
}

static void free_if_idle(struct pool *pool, pool_ref *ref)
{
	const struct window *window = pool_at(pool, *ref);

	if (window != NULL && window->count == 0 && window->acked == 0 &&
	    window->after == WINDOW_UP_TO_DATE)
		window_free(pool, ref);
}

bool window_remove(struct pool *pool, pool_ref *ref, uint64_t id, bool remember)
{
	struct window *window = pool_at(pool, *ref);

	for (uint32_t i = 0; window != NULL && i < window->count; i++) {
		if (window->ids[i] != id)
			continue;
		window->ids[i] = window->ids[--window->count];
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
