#include "value.h"

#include <stdio.h>
#include <stdlib.h>

#include "hf_cursor.h"
#include "hf_hash.h"
#include "hf_text.h"

#define VERSION_PLAIN    1
#define VERSION_DELIVERY 2

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

size_t saver_key_encode(struct hf_bytes prefix, uint32_t app, struct hf_bytes rest, uint8_t *ret)
{
	char digits[10];
	size_t n = 0, len = prefix.len;

	memcpy(ret, prefix.data, len);
	do
		digits[n++] = (char)('0' + app % 10);
	while ((app /= 10) > 0);
	while (n > 0)
		ret[len++] = (uint8_t)digits[--n];
	ret[len++] = ':';
	memcpy(ret + len, rest.data, rest.len);
	return len + rest.len;
}

bool saver_key_decode(struct hf_bytes prefix, struct hf_bytes key, uint32_t *ret_app,
		      struct hf_bytes *ret_rest)
{
	const uint8_t *colon;
	uint64_t app;

	if (key.len <= prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0)
		return false;
	colon = memchr(key.data + prefix.len, ':', key.len - prefix.len);
	if (colon == NULL ||
	    hf_text_parse_uint((const char *)key.data + prefix.len,
			       (size_t)(colon - key.data) - prefix.len, &app) < 0 ||
	    app > UINT32_MAX)
		return false;
	*ret_app = (uint32_t)app;
	*ret_rest = hf_bytes_of(colon + 1, key.len - (size_t)(colon + 1 - key.data));
	return true;
}

size_t saver_queue_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX])
{
	return saver_key_encode(HF_BYTES_LITERAL(SAVER_QUEUE_PREFIX), name->app,
				saver_name_registration(name), ret);
}

bool saver_queue_key_decode(struct hf_bytes key, uint32_t *ret_app,
			    struct hf_bytes *ret_registration)
{
	return saver_key_decode(HF_BYTES_LITERAL(SAVER_QUEUE_PREFIX), key, ret_app,
				ret_registration) &&
	       ret_registration->len >= 1 && ret_registration->len <= HF_REGISTRATION_MAX;
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

size_t saver_value_encode(const struct saver_value *value, uint8_t ret[SAVER_VALUE_MAX])
{
	struct hf_writer w = hf_writer_of(ret, SAVER_VALUE_MAX);
	size_t delivery_len = HF_MIN(value->delivery.len, (size_t)SAVER_DELIVERY_MAX);

	hf_writer_u8(&w, delivery_len == 0 ? VERSION_PLAIN : VERSION_DELIVERY);
	hf_writer_u8(&w, value->class);
	hf_writer_u64(&w, value->expires_ms);
	if (delivery_len > 0) {
		hf_writer_u16(&w, (uint16_t)delivery_len);
		hf_writer_bytes(&w, value->delivery.data, delivery_len);
	}
	hf_writer_bytes(&w, value->frame.data, HF_MIN(value->frame.len, (size_t)SAVER_FRAME_MAX));
	return (size_t)(w.pos - ret);
}

bool saver_value_decode(struct hf_bytes bytes, struct saver_value *ret)
{
	struct hf_cursor c = hf_cursor_of(bytes.data, bytes.len);
	uint8_t version = hf_cursor_u8(&c);

	ret->class = hf_cursor_u8(&c);
	ret->expires_ms = hf_cursor_u64(&c);
	ret->delivery = (struct hf_bytes){ 0 };
	if (version == VERSION_DELIVERY) {
		ret->delivery.len = hf_cursor_u16(&c);
		ret->delivery.data = hf_cursor_bytes(&c, ret->delivery.len);
	} else if (version != VERSION_PLAIN) {
		return false;
	}
	if (c.failed)
		return false;
	ret->frame = hf_bytes_of(c.pos, hf_cursor_left(&c));
	return true;
}

struct saver_frame *saver_frame_new(struct hf_bytes delivery, struct hf_bytes bytes)
{
	struct saver_frame *frame = malloc(sizeof(*frame) + delivery.len + bytes.len);

	if (frame == NULL)
		return NULL;
	frame->refs = 1;
	frame->len = (uint32_t)(delivery.len + bytes.len);
	frame->delivery_len = (uint16_t)delivery.len;
	if (delivery.len > 0)
		memcpy(frame->data, delivery.data, delivery.len);
	if (bytes.len > 0)
		memcpy(frame->data + delivery.len, bytes.data, bytes.len);
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
	if (count > 1)
		qsort(ids, count, sizeof(*ids), compare_ids);
}
