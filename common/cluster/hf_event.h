/* common/cluster/hf_event.h - what callbacks tell of: names of the types, and what their data says.
 *
 * Types are numbered by proto/event.proto; a set of them is a mask with bit n for type n. Pure. */
#ifndef HF_EVENT_H
#define HF_EVENT_H

#include <sys/types.h>

#include "hf_base.h"

#define HF_EVENT_TYPES    15   /* with none, which has number 0 */
#define HF_EVENT_DATA_MAX 2048 /* bytes of the JSON object that is an event's data */
#define HF_EVENT_LANES    64

/* "message.acked"; NULL: no such type. */
const char *hf_event_name(unsigned type);
/* "message.acked", "message.*" or "*"; 0: names nothing. "*" is all but webhook.test. */
uint32_t hf_event_mask(const char *pattern);
/* connection.* and user.*: told in memory, given up after minutes. The others are receipts: kept in
 * the store until their business has them. */
bool hf_event_is_status(unsigned type);

/* Id of an event of a message: whoever makes it again makes the same. Never 0. */
uint64_t hf_event_message_id(uint64_t salt, unsigned type, uint64_t message_id, uint32_t app,
			     const void *registration, size_t len);

/* The data of message.* events. */
struct hf_event_message {
	uint64_t message_id;
	struct hf_bytes registration;  /* empty: of no single one */
	struct hf_bytes label, params; /* as in Delivery; params: a JSON object or empty */
	const char *reason;            /* message.dropped: "cap", "purged"; NULL: none */
};
/* JSON without a NUL. Bytes written, or -EMSGSIZE; params that do not fit are left out. */
HF_MUST_CHECK ssize_t hf_event_message_data(const struct hf_event_message *message,
					    char ret[HF_EVENT_DATA_MAX]);

/* A small JSON writer that never goes over `end`: a text that does not fit sets `failed`. */
struct hf_json_writer {
	char *pos, *end;
	bool failed;
};
void hf_json_put(struct hf_json_writer *w, const void *data, size_t len); /* verbatim */
void hf_json_put_text(struct hf_json_writer *w, const char *text);        /* verbatim */
/* In quotes and escaped; what is not UTF-8 becomes U+FFFD, byte by byte. */
void hf_json_put_string(struct hf_json_writer *w, struct hf_bytes text);
void hf_json_put_uint(struct hf_json_writer *w, uint64_t value);

#endif
