#include "hf_buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY_MIN 256u

void hf_buffer_init(struct hf_buffer *buffer)
{
	*buffer = (struct hf_buffer){ 0 };
}

void hf_buffer_deinit(struct hf_buffer *buffer)
{
	free(buffer->data);
	hf_buffer_init(buffer);
}

static int buffer_grow(struct hf_buffer *buffer, size_t need)
{
	size_t capacity = HF_MAX(buffer->capacity, CAPACITY_MIN), content = hf_buffer_len(buffer);
	uint8_t *data;

	while (capacity < need) {
		if (capacity > SIZE_MAX / 2)
			return -ENOMEM;
		capacity *= 2;
	}
	data = malloc(capacity);
	if (data == NULL)
		return -ENOMEM;
	if (content > 0)
		memcpy(data, hf_buffer_data(buffer), content);
	free(buffer->data);
	*buffer = (struct hf_buffer){ .data = data, .end = content, .capacity = capacity };
	return 0;
}

uint8_t *hf_buffer_reserve(struct hf_buffer *buffer, size_t len)
{
	size_t content = hf_buffer_len(buffer);

	if (buffer->data != NULL && len <= buffer->capacity - buffer->end)
		return buffer->data + buffer->end;
	if (len > SIZE_MAX - content)
		return NULL;

	/* Moving is worth it only when it frees as much as it moves: else it could cost O(n^2). */
	if (buffer->start >= content && len + content <= buffer->capacity && buffer->data != NULL) {
		memcpy(buffer->data, buffer->data + buffer->start, content);
		buffer->start = 0;
		buffer->end = content;
	} else if (buffer_grow(buffer, len + content) < 0) {
		return NULL;
	}
	return buffer->data + buffer->end;
}

void hf_buffer_commit(struct hf_buffer *buffer, size_t len)
{
	assert(len <= buffer->capacity - buffer->end);
	buffer->end += len;
}

int hf_buffer_append(struct hf_buffer *buffer, const void *data, size_t len)
{
	uint8_t *room;

	if (len == 0)
		return 0;
	room = hf_buffer_reserve(buffer, len);
	if (room == NULL)
		return -ENOMEM;
	memcpy(room, data, len);
	buffer->end += len;
	return 0;
}

int hf_buffer_printf(struct hf_buffer *buffer, const char *fmt, ...)
{
	uint8_t *room = hf_buffer_reserve(buffer, 1);
	size_t size = room == NULL ? 0 : buffer->capacity - buffer->end;
	va_list args, again;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = room == NULL ? -1 : vsnprintf((char *)room, size, fmt, args);
	if (len >= 0 && (size_t)len >= size) { /* the NUL needs room too, though it isn't kept */
		size = (size_t)len + 1;
		room = hf_buffer_reserve(buffer, size);
		len = room == NULL ? -1 : vsnprintf((char *)room, size, fmt, again);
	}
	va_end(again);
	va_end(args);

	if (len < 0)
		return -ENOMEM;
	buffer->end += (size_t)len;
	return 0;
}

void hf_buffer_drain(struct hf_buffer *buffer, size_t len)
{
	assert(len <= hf_buffer_len(buffer));
	buffer->start += len;
	if (buffer->start == buffer->end)
		buffer->start = buffer->end = 0;
}

void hf_buffer_clear(struct hf_buffer *buffer, size_t keep)
{
	buffer->start = buffer->end = 0;
	if (buffer->capacity > keep)
		hf_buffer_deinit(buffer);
}
