/* services/saver/value.h - what keys and values of the store look like in Redis. Pure: no I/O.
 *
 *	hf:q:<app>:<registration>   hash: one field per owed message, gone by itself when empty
 *	    field   message id, 8 bytes big endian, so that fields sort like ids
 *	    value   u8 1 | u8 class | u64 expires_ms | frame                 (little endian)
 *	            u8 2 | u8 class | u64 expires_ms | u16 n | n bytes of Delivery, packed | frame
 *	            Version 2 is written only for a message that has a Delivery.
 *	    field "!" holds, in decimal, how many messages the cap dropped since the last load
 *	hf:k:<app>:<registration>   hash of collapse keys: collapse.h
 *	hf:l:<app>:<day>            counts by label: labels.h
 *	hf:i:<app>:<key>            idempotency claim (claims.c)
 *	hf:e...                     events for callbacks (spool.h, dead_letters.c)
 *	hf:r:, hf:u:, hf:d          the registry (record.h)
 *	hf:j*, hf:l*, hf:a:*        jobs, broadcast logs: job_value.h, log_value.h, kept.h
 *	hf:store, hf:refill         whose store this is, and who refills it (refill.c) */
#ifndef SAVER_VALUE_H
#define SAVER_VALUE_H

#include "hf_base.h"

#define SAVER_FIELD_SIZE   8
#define SAVER_VALUE_HEADER 12  /* at most */
#define SAVER_DELIVERY_MAX 512 /* packed */
#define SAVER_FRAME_MAX    (65536 + 64)
#define SAVER_VALUE_MAX    (SAVER_VALUE_HEADER + SAVER_DELIVERY_MAX + SAVER_FRAME_MAX)
#define SAVER_KEY_MAX      (5 + 10 + 1 + HF_REGISTRATION_MAX)
#define SAVER_LOST_FIELD   "!"
#define SAVER_QUEUE_PREFIX "hf:q:"

/* (app, registration), with what is derived from it once: table hash and slot. */
struct saver_name {
	uint64_t hash;
	uint32_t app;
	uint16_t slot;
	uint8_t len;
	uint8_t bytes[HF_REGISTRATION_MAX];
};

/* False when the registration is empty or too long. */
HF_MUST_CHECK bool saver_name_set(struct saver_name *name, uint64_t salt, uint32_t app,
				  const void *registration, size_t len);
static inline struct hf_bytes saver_name_registration(const struct saver_name *name)
{
	return hf_bytes_of(name->bytes, name->len);
}
static inline bool saver_name_equal(const struct saver_name *a, const struct saver_name *b)
{
	return a->app == b->app && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
/* Table hash of one message owed to one registration. */
uint64_t saver_message_hash(const struct saver_name *name, uint64_t message_id);

/* `prefix`, app in decimal, ":", `rest`. `ret` has room for the prefix, 11 bytes and the rest. */
size_t saver_key_encode(struct hf_bytes prefix, uint32_t app, struct hf_bytes rest, uint8_t *ret);
/* False when `key` is not one of these. *ret_rest borrows from it and may be empty. */
HF_MUST_CHECK bool saver_key_decode(struct hf_bytes prefix, struct hf_bytes key, uint32_t *ret_app,
				    struct hf_bytes *ret_rest);

/* Returns the length of the key. */
size_t saver_queue_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX]);
/* False when `key` is not one of ours. The registration borrows from it. */
HF_MUST_CHECK bool saver_queue_key_decode(struct hf_bytes key, uint32_t *ret_app,
					  struct hf_bytes *ret_registration);

void saver_field_encode(uint64_t message_id, uint8_t ret[SAVER_FIELD_SIZE]);
/* False for fields that are no message: "!" and whatever a later version may add. */
HF_MUST_CHECK bool saver_field_decode(struct hf_bytes field, uint64_t *ret_message_id);

struct saver_value {
	uint8_t class; /* Hf__Class */
	uint64_t expires_ms;
	struct hf_bytes delivery; /* packed Delivery, empty: none; borrowed like the frame */
	struct hf_bytes frame;
};

/* Returns the length; delivery and frame within their bounds. */
size_t saver_value_encode(const struct saver_value *value, uint8_t ret[SAVER_VALUE_MAX]);
/* False for a version that we do not know or bytes that are cut short. */
HF_MUST_CHECK bool saver_value_decode(struct hf_bytes bytes, struct saver_value *ret);

/* One frame and how it is to be delivered, shared by the messages of a call: several registrations,
 * and the rows yet to be written. */
struct saver_frame {
	uint32_t refs, len; /* len: of both */
	uint16_t delivery_len;
	uint8_t data[]; /* Delivery, packed, then the frame */
};

/* refs 1; NULL: no memory. */
HF_MUST_CHECK struct saver_frame *saver_frame_new(struct hf_bytes delivery, struct hf_bytes frame);
static inline struct saver_frame *saver_frame_ref(struct saver_frame *frame)
{
	frame->refs++;
	return frame;
}
static inline struct hf_bytes saver_frame_delivery(const struct saver_frame *frame)
{
	return hf_bytes_of(frame->data, frame->delivery_len);
}
static inline struct hf_bytes saver_frame_bytes(const struct saver_frame *frame)
{
	return hf_bytes_of(frame->data + frame->delivery_len, frame->len - frame->delivery_len);
}
void saver_frame_unref(struct saver_frame *frame); /* NULL is fine */

/* Ascending, in place. */
void saver_ids_sort(uint64_t *ids, size_t count);

#endif
