#include "log_value.h"

#include <stdlib.h>

#include "delivery.h"
#include "hf_audience.h"
#include "hf_cursor.h"

#define META_VERSION 1

bool saver_log_meta_decode(struct hf_bytes bytes, struct saver_log_meta *ret)
{
	struct hf_cursor c = hf_cursor_of(bytes.data, bytes.len);
	uint8_t version = hf_cursor_u8(&c), state = hf_cursor_u8(&c);

	ret->state = (Hf__LogState)state;
	ret->span_count = hf_cursor_u16(&c);
	ret->spans = hf_cursor_bytes(&c, 8 * (size_t)ret->span_count);
	ret->appended_ms = hf_cursor_u64(&c);
	ret->frame_len = hf_cursor_u32(&c);
	ret->broadcast = hf_bytes_of(c.pos, hf_cursor_left(&c));
	return !c.failed && version == META_VERSION && state <= HF__LOG_STATE__REMOVED &&
	       ret->frame_len <= SAVER_FRAME_MAX;
}

struct saver_span saver_log_span(const struct saver_log_meta *meta, size_t i)
{
	struct hf_cursor c = hf_cursor_of(meta->spans + 8 * i, 8);
	struct saver_span span;

	span.from = hf_cursor_u32(&c);
	span.until = hf_cursor_u32(&c);
	return span;
}

uint8_t *saver_log_tail_encode(const Hf__Broadcast *broadcast, uint64_t appended_ms,
			       uint64_t expires_ms, size_t *ret_len)
{
	Hf__Broadcast kept = *broadcast;
	size_t packed_len;
	uint8_t *bytes;
	struct hf_writer w;

	kept.frame = (ProtobufCBinaryData){ 0, NULL };
	kept.expires_ms = expires_ms;
	packed_len = hf__broadcast__get_packed_size(&kept);
	bytes = malloc(SAVER_LOG_TAIL_HEADER + packed_len);
	if (bytes == NULL)
		return NULL;
	w = hf_writer_of(bytes, SAVER_LOG_TAIL_HEADER);
	hf_writer_u64(&w, appended_ms);
	hf_writer_u32(&w, (uint32_t)broadcast->frame.len);
	hf__broadcast__pack(&kept, bytes + SAVER_LOG_TAIL_HEADER);
	*ret_len = SAVER_LOG_TAIL_HEADER + packed_len;
	return bytes;
}

bool saver_log_recall_decode(struct hf_bytes bytes, uint32_t *ret_version, uint64_t *ret_expires_ms)
{
	struct hf_cursor c = hf_cursor_of(bytes.data, bytes.len);
	uint32_t version = hf_cursor_u32(&c);
	uint64_t expires_ms = 0;

	if (c.failed || hf_cursor_left(&c) < 1 || hf_cursor_left(&c) > 19)
		return false;
	for (; c.pos < c.end; c.pos++) {
		if (*c.pos < '0' || *c.pos > '9')
			return false;
		expires_ms = expires_ms * 10 + (*c.pos - (uint64_t)'0');
	}
	if (ret_version != NULL)
		*ret_version = version;
	if (ret_expires_ms != NULL)
		*ret_expires_ms = expires_ms;
	return true;
}

size_t saver_acked_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX])
{
	size_t len = saver_queue_key_encode(name, ret);

	ret[3] = 'a'; /* hf:q: is the queues' */
	return len;
}

const char *saver_log_check(const Hf__Broadcast *broadcast)
{
	uint8_t packed[SAVER_DELIVERY_MAX];
	const char *field;

	if (broadcast->message_id == 0 || broadcast->app == 0)
		return "BAD_ID";
	if (broadcast->frame.len == 0 || broadcast->frame.len > SAVER_FRAME_MAX)
		return "BAD_FRAME";
	if (broadcast->class_ != HF__CLASS__STORED && broadcast->class_ != HF__CLASS__DURABLE)
		return "BAD_CLASS";
	if (broadcast->audience != NULL && hf_audience_check(broadcast->audience, &field) < 0)
		return "BAD_AUDIENCE";
	if (saver_delivery_pack(broadcast->delivery, packed) < 0)
		return "BAD_DELIVERY";
	return NULL;
}

size_t saver_ids_merge(uint64_t *ids, size_t count, const uint64_t *more, size_t more_count)
{
	size_t total = count, to = count + more_count, end = to;

	if (more_count == 0)
		return count;
	while (more_count > 0) { /* from the end: nothing is overwritten before it was read */
		uint64_t id = more[more_count - 1];

		if (total > 0 && ids[total - 1] >= id) {
			more_count -= ids[total - 1] == id;
			ids[--to] = ids[--total];
		} else {
			ids[--to] = id;
			more_count--;
		}
	}
	memmove(ids + total, ids + to, (end - to) * sizeof(ids[0]));
	return total + end - to;
}

size_t saver_ids_find(const uint64_t *ids, size_t count, uint64_t id)
{
	size_t low = 0;

	while (low < count) {
		size_t middle = low + (count - low) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}
