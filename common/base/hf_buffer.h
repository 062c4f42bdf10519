/* common/base/hf_buffer.h - a growable run of bytes: filled at the end, drained from the front. */
#ifndef HF_BUFFER_H
#define HF_BUFFER_H

#include "hf_base.h"

struct hf_buffer {
	uint8_t *data;
	size_t start, end, capacity; /* content is data[start..end) */
};

void hf_buffer_init(struct hf_buffer *buffer); /* allocates nothing; {0} is the same */
void hf_buffer_deinit(struct hf_buffer *buffer);

static inline size_t hf_buffer_len(const struct hf_buffer *buffer)
{
	return buffer->end - buffer->start;
}
static inline const uint8_t *hf_buffer_data(const struct hf_buffer *buffer)
{
	return buffer->data == NULL ? NULL : buffer->data + buffer->start;
}

/* Room for `len` more bytes at the end, or NULL. The caller writes there, then commits. */
HF_MUST_CHECK uint8_t *hf_buffer_reserve(struct hf_buffer *buffer, size_t len);
void hf_buffer_commit(struct hf_buffer *buffer, size_t len);
/* 0 or -ENOMEM. _printf() appends no NUL. */
HF_MUST_CHECK int hf_buffer_append(struct hf_buffer *buffer, const void *data, size_t len);
HF_MUST_CHECK int hf_buffer_printf(struct hf_buffer *buffer, const char *fmt, ...) HF_PRINTF(2, 3);
void hf_buffer_drain(struct hf_buffer *buffer, size_t len); /* len <= hf_buffer_len() */
/* Forget the content; give memory back when more than `keep` bytes are held. */
void hf_buffer_clear(struct hf_buffer *buffer, size_t keep);

#endif
