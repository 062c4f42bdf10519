#include "value.h"

#include <stdio.h>
#include <stdlib.h>

#include "hf_cursor.h"
#include "hf_hash.h"
#include "hf_text.h"

#define VALUE_VERSION 1

bool saver_name_set(struct saver_name *name, uint64_t salt, uint32_t app, const void *registration,
		    size_t len)
{
	if (len == 0 || len > HF_REGISTRATION_MAX)
		return false;
	name->hash = hf_hash_registration(app, registration, len);
	name->app = app;
	name->slot = hf_slot(salt, app, registration, len);
	name->len = (uint8_t)len;
	memcpy(name->bytes, registration, len);
	return true;
}

uint64_t saver_message_hash(const struct saver_name *name, uint64_t message_id)
{
	return name->hash ^ hf_hash_u64(message_id);
}

size_t saver_queue_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX])
{
	char digits[10];
	size_t n = 0, len = sizeof(SAVER_QUEUE_PREFIX) - 1;
	uint32_t rest = name->app;

	memcpy(ret, SAVER_QUEUE_PREFIX, len);
	do
		digits[n++] = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	while (n > 0)
		ret[len++] = (uint8_t)digits[--n];
	ret[len++] = ':';
	memcpy(ret + len, name->bytes, name->len);
	return len + name->len;
}

bool saver_queue_key_decode(struct hf_bytes key, uint32_t *ret_app,
			    struct hf_bytes *ret_registration)
{
	size_t prefix = sizeof(SAVER_QUEUE_PREFIX) - 1;
	const uint8_t *colon;
	uint64_t app;

	if (key.len <= prefix || memcmp(key.data, SAVER_QUEUE_PREFIX, prefix) != 0)
		return false;
	colon = memchr(key.data + prefix, ':', key.len - prefix);
	if (colon == NULL ||
	    hf_text_parse_uint((const char *)key.data + prefix, (size_t)(colon - key.data) - prefix,
			       &app) < 0 ||
	    app > UINT32_MAX)
		return false;
	*ret_app = (uint32_t)app;
	*ret_registration = hf_bytes_of(colon + 1, key.len - (size_t)(colon + 1 - key.data));
	return ret_registration->len >= 1 && ret_registration->len <= HF_REGISTRATION_MAX;
}

void saver_field_encode(uint64_t message_id, uint8_t ret[SAVER_FIELD_SIZE])
{
	for (int i = 0; i < SAVER_FIELD_SIZE; i++)
		ret[i] = (uint8_t)(message_id >> (56 - 8 * i));
}

bool saver_field_decode(struct hf_bytes field, uint64_t *ret_message_id)
{
	uint64_t id = 0;

	if (field.len != SAVER_FIELD_SIZE)
		return false;
	for (int i = 0; i < SAVER_FIELD_SIZE; i++)
		id = id << 8 | field.data[i];
	*ret_message_id = id;
	return true;
}

void saver_value_header_encode(uint8_t class, uint64_t expires_ms, uint8_t ret[SAVER_VALUE_HEADER])
{
	struct hf_writer w = hf_writer_of(ret, SAVER_VALUE_HEADER);

	hf_writer_u8(&w, VALUE_VERSION);
	hf_writer_u8(&w, class);
	hf_writer_u64(&w, expires_ms);
}

bool saver_value_decode(struct hf_bytes bytes, struct saver_value *ret)
{
	struct hf_cursor c = hf_cursor_of(bytes.data, bytes.len);
	uint8_t version = hf_cursor_u8(&c);

	ret->class = hf_cursor_u8(&c);
	ret->expires_ms = hf_cursor_u64(&c);
	if (c.failed || version != VALUE_VERSION)
		return false;
	ret->frame = hf_bytes_of(c.pos, hf_cursor_left(&c));
	return true;
}

struct saver_frame *saver_frame_new(const void *data, size_t len)
{
	struct saver_frame *frame = malloc(sizeof(*frame) + len);

	if (frame == NULL)
		return NULL;
	frame->refs = 1;
	frame->len = (uint32_t)len;
	if (len > 0)
		memcpy(frame->data, data, len);
	return frame;
}

void saver_frame_unref(struct saver_frame *frame)
{
	if (frame != NULL && --frame->refs == 0)
		free(frame);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void saver_ids_sort(uint64_t *ids, size_t count)
{
	qsort(ids, count, sizeof(*ids), compare_ids);
}
