/* services/saver/log_value.h - the broadcast log of an app as it lies in Redis. Pure: no I/O.
 *
 * All on one node, that of slot (app, ""); gone by themselves a week after the last entry expired,
 * but for the version. <id> is 8 bytes big endian.
 *
 *	hf:lv:<app>   string: the log's version
 *	hf:lm:<app>   hash: <id> to what is known of a broadcast (below). Field "f": what left the
 *	              log before its time; who read it at an older version reads all of it anew
 *	hf:lf:<app>   hash: <id> to the PUSH frame. Here are exactly the live ones
 *	hf:lc:<app>   hash: <id> to how many registrations have acked it
 *	hf:lr:<app>   hash: <id> of a recalled message to u32 version | expires_ms in decimal
 *	hf:lz:<app>   sorted set: "b"<id> and "r"<id> by the version of their last change
 *	hf:lx:<app>   sorted set: "b"<id> and "r"<id> by expiry; "t"<id> of a past one by when it
 *	              leaves
 *	hf:a:<app>:<registration>   set of the <id>s that it has acked; on the registration's node
 *
 *	broadcast = u8 1 | u8 state | u16 spans | spans * (u32 from | u32 until)
 *	            | u64 appended_ms | u32 length of the frame | Broadcast, packed, without frame
 *
 * Integers in values are little endian. The scripts in log.c write the bytes before appended_ms. */
#ifndef SAVER_LOG_VALUE_H
#define SAVER_LOG_VALUE_H

#include "saver.pb-c.h"
#include "value.h"

#define SAVER_LOG_SPANS_MAX   1000u
#define SAVER_LOG_RECALLS_MAX 10000u
#define SAVER_LOG_LIVE        1000u  /* broadcasts of an app, when the caller names no bound */
#define SAVER_LOG_LIVE_MAX    10000u /* whatever the caller says */
#define SAVER_LOG_TAIL_HEADER 12     /* appended_ms, length of the frame */

struct saver_log_meta {
	Hf__LogState state;
	uint64_t appended_ms;
	uint32_t frame_len;
	uint32_t span_count;
	const uint8_t *spans;      /* borrowed, like the next */
	struct hf_bytes broadcast; /* packed */
};

/* False for a version that we do not know or bytes that make no sense. */
HF_MUST_CHECK bool saver_log_meta_decode(struct hf_bytes bytes, struct saver_log_meta *ret);
struct saver_span {
	uint32_t from, until; /* 0: still */
};
struct saver_span saver_log_span(const struct saver_log_meta *meta, size_t i);

/* What LogAppend gives to its script: everything from appended_ms on. NULL: no memory; else freed
 * by the caller. */
HF_MUST_CHECK uint8_t *saver_log_tail_encode(const Hf__Broadcast *broadcast, uint64_t appended_ms,
					     uint64_t expires_ms, size_t *ret_len);
/* Either output may be NULL. */
HF_MUST_CHECK bool saver_log_recall_decode(struct hf_bytes bytes, uint32_t *ret_version,
					   uint64_t *ret_expires_ms);

size_t saver_acked_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX]);

/* NULL, or which rule the broadcast breaks. */
const char *saver_log_check(const Hf__Broadcast *broadcast);

/* Both ascending; `ids` has room for all. Equal ones become one. Returns how many there are now. */
size_t saver_ids_merge(uint64_t *ids, size_t count, const uint64_t *more, size_t more_count);
/* Where `id` is, or would have to be put. */
size_t saver_ids_find(const uint64_t *ids, size_t count, uint64_t id);
static inline bool saver_ids_have(const uint64_t *ids, size_t count, uint64_t id)
{
	size_t i = saver_ids_find(ids, count, id);

	return i < count && ids[i] == id;
}

#endif
