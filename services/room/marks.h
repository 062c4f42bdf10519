/* services/room/marks.h - one bit for each position of a slab, as many as were needed so far. Pure.
 */
#ifndef ROOM_MARKS_H
#define ROOM_MARKS_H

#include <stdlib.h>

#include "hf_slab.h"

struct marks { /* zeroed: none is set */
	uint8_t *bits;
	uint32_t bytes;
};

static inline void marks_free(struct marks *marks)
{
	free(marks->bits);
	*marks = (struct marks){ 0 };
}

static inline bool marks_has(const struct marks *marks, hf_handle handle)
{
	uint32_t pos = handle & HF_SLAB_LIMIT_MAX;

	return pos / 8 < marks->bytes && marks->bits[pos / 8] & 1u << pos % 8;
}

static inline void marks_clear(struct marks *marks, hf_handle handle)
{
	uint32_t pos = handle & HF_SLAB_LIMIT_MAX;

	if (pos / 8 < marks->bytes)
		marks->bits[pos / 8] &= (uint8_t) ~(1u << pos % 8);
}

/* Out of memory it stays as it was. */
static inline void marks_set(struct marks *marks, hf_handle handle)
{
	uint32_t pos = handle & HF_SLAB_LIMIT_MAX;
	uint32_t bytes = HF_MAX(2 * marks->bytes, pos / 8 + 64);

	if (pos / 8 >= marks->bytes) {
		uint8_t *bits = realloc(marks->bits, bytes);

		if (bits == NULL)
			return;
		memset(bits + marks->bytes, 0, bytes - marks->bytes);
		marks->bits = bits;
		marks->bytes = bytes;
	}
	marks->bits[pos / 8] |= (uint8_t)(1u << pos % 8);
}

#endif
