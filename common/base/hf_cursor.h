/* common/base/hf_cursor.h - reads bytes we do not trust, and writes bytes into bounded room.
 *
 * A read past the end yields 0 or NULL and sets `failed`, which stays set: a decoder reads all its
 * fields and then checks once. Only hf_cursor_bytes() moves `pos`; all others sit on top of it.
 * Integers are little endian; varints are base 128, least significant group first. */
#ifndef HF_CURSOR_H
#define HF_CURSOR_H

#include "hf_base.h"

struct hf_cursor {
	const uint8_t *pos, *end;
	bool failed;
};

static inline struct hf_cursor hf_cursor_of(const void *data, size_t len)
{
	const uint8_t *bytes = data;

	return (struct hf_cursor){ .pos = bytes, .end = bytes == NULL ? NULL : bytes + len };
}

static inline size_t hf_cursor_left(const struct hf_cursor *c)
{
	return (size_t)(c->end - c->pos);
}

static inline const uint8_t *hf_cursor_bytes(struct hf_cursor *c, size_t n)
{
	const uint8_t *p = c->pos;

	if (c->failed || n > hf_cursor_left(c)) {
		c->failed = true;
		return NULL;
	}
	if (n > 0) /* pos may be NULL: nothing is added to that */
		c->pos += n;
	return p;
}

static inline uint8_t hf_cursor_u8(struct hf_cursor *c)
{
	const uint8_t *p = hf_cursor_bytes(c, 1);

	return p ? p[0] : 0;
}

static inline uint16_t hf_cursor_u16(struct hf_cursor *c)
{
	const uint8_t *p = hf_cursor_bytes(c, 2);

	return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

static inline uint32_t hf_cursor_u32(struct hf_cursor *c)
{
	uint32_t low = hf_cursor_u16(c), high = hf_cursor_u16(c);

	return c->failed ? 0 : low | high << 16;
}

static inline uint64_t hf_cursor_u64(struct hf_cursor *c)
{
	uint64_t low = hf_cursor_u32(c), high = hf_cursor_u32(c);

	return c->failed ? 0 : low | high << 32;
}

/* At most `max_bytes` groups (1..10); longer, or bits beyond 64, is a failure. */
static inline uint64_t hf_cursor_varint(struct hf_cursor *c, unsigned max_bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < max_bytes; i++) {
		uint8_t byte = hf_cursor_u8(c);

		if (i == 9 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80))
			return c->failed ? 0 : value;
	}
	c->failed = true;
	return 0;
}

/* The writing twin: bytes that do not fit set `failed`, and nothing is written past `end`. */
struct hf_writer {
	uint8_t *pos, *end;
	bool failed;
};

static inline struct hf_writer hf_writer_of(void *data, size_t size)
{
	return (struct hf_writer){ .pos = data, .end = (uint8_t *)data + size };
}

static inline uint8_t *hf_writer_room(struct hf_writer *w, size_t n)
{
	uint8_t *p = w->pos;

	if (w->failed || n > (size_t)(w->end - w->pos)) {
		w->failed = true;
		return NULL;
	}
	w->pos += n;
	return p;
}

static inline void hf_writer_bytes(struct hf_writer *w, const void *data, size_t n)
{
	uint8_t *p = hf_writer_room(w, n);

	if (p != NULL && n > 0)
		memcpy(p, data, n);
}

static inline void hf_writer_u8(struct hf_writer *w, uint8_t value)
{
	if (w->failed || w->pos == w->end) {
		w->failed = true;
		return;
	}
	*w->pos++ = value;
}

static inline void hf_writer_uint(struct hf_writer *w, uint64_t value, unsigned bytes)
{
	uint8_t *p = hf_writer_room(w, bytes);

	for (unsigned i = 0; p != NULL && i < bytes; i++)
		p[i] = (uint8_t)(value >> (8 * i));
}

static inline void hf_writer_u16(struct hf_writer *w, uint16_t value)
{
	hf_writer_uint(w, value, 2);
}

static inline void hf_writer_u32(struct hf_writer *w, uint32_t value)
{
	hf_writer_uint(w, value, 4);
}

static inline void hf_writer_u64(struct hf_writer *w, uint64_t value)
{
	hf_writer_uint(w, value, 8);
}

static inline void hf_writer_varint(struct hf_writer *w, uint64_t value)
{
	while (value >= 0x80) {
		hf_writer_u8(w, (uint8_t)(value | 0x80));
		value >>= 7;
	}
	hf_writer_u8(w, (uint8_t)value);
}

static inline size_t hf_varint_size(uint64_t value)
{
	size_t n = 1;

	for (; value >= 0x80; value >>= 7)
		n++;
	return n;
}

#endif
