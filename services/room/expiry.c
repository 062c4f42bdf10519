#include "expiry.h"

#include <errno.h>
#include <stdlib.h>

void expiry_deinit(struct expiry *expiry)
{
	free(expiry->entries);
	*expiry = (struct expiry){ 0 };
}

int expiry_push(struct expiry *expiry, hf_handle handle, uint32_t tick)
{
	if (expiry->count == expiry->capacity) {
		uint32_t capacity = HF_MAX(64u, 2 * expiry->capacity);
		struct expiry_entry *entries = malloc(capacity * sizeof(*entries));

		if (entries == NULL)
			return -ENOMEM;
		for (uint32_t i = 0; i < expiry->count; i++)
			entries[i] = expiry->entries[(expiry->head + i) & (expiry->capacity - 1)];
		free(expiry->entries);
		expiry->entries = entries;
		expiry->head = 0;
		expiry->capacity = capacity;
	}
	expiry->entries[(expiry->head + expiry->count++) & (expiry->capacity - 1)] =
		(struct expiry_entry){ handle, tick };
	return 0;
}

hf_handle expiry_pop(struct expiry *expiry, uint32_t tick, uint32_t age)
{
	struct expiry_entry oldest;

	if (expiry->count == 0)
		return 0;
	oldest = expiry->entries[expiry->head];
	if (tick - oldest.since < age)
		return 0;
	expiry->head = (expiry->head + 1) & (expiry->capacity - 1);
	if (--expiry->count == 0)
		expiry_deinit(expiry); /* a rush that is over needs no memory */
	return oldest.handle;
}
