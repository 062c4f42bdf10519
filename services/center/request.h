/* services/center/request.h - a send request, from JSON to a checked struct. Pure.
 *
 * Every field is either obeyed or refused: what a later version will implement is refused by name
 * (UNSUPPORTED), what nobody knows is UNKNOWN_FIELD, and nothing is ever ignored. */
#ifndef CENTER_REQUEST_H
#define CENTER_REQUEST_H

#include "hf_arena.h"
#include "hf_base.h"
#include "problem.h"

#define REQUEST_TARGETS_MAX 1000
#define REQUEST_LABEL_MAX   50
#define REQUEST_CID_MAX     64
#define REQUEST_TTL_S       86400u
#define REQUEST_TTL_MAX_S   2419200u
#define REQUEST_WAIT_MS     3000u
#define REQUEST_WAIT_MAX_MS 30000u
#define REQUEST_ACKED_MAX   100 /* most recipients of a call that waits for acks */

enum request_class { REQUEST_TRANSIENT, REQUEST_STORED, REQUEST_DURABLE };
enum request_wait { REQUEST_WAIT_NONE, REQUEST_WAIT_ROUTED, REQUEST_WAIT_ACKED };

struct request {
	size_t target_count;
	struct hf_bytes *targets; /* registration ids, each once */
	uint8_t payload_kind;     /* enum hf_wire_payload_kind */
	struct hf_bytes payload;
	enum request_class class;
	uint64_t ttl_ms; /* 0: online only */
	char label[REQUEST_LABEL_MAX + 1];
	char cid[REQUEST_CID_MAX + 1]; /* idempotency key in the body; "" when absent */
	enum request_wait wait;
	uint64_t wait_ms;
	bool validate_only;
};

/* Fill `ret` from `text`. What it points to lives in `arena` or in `text`. `payload_max`: bytes
 * that the app allows. 0, or -EINVAL with the problem to answer. */
HF_MUST_CHECK int request_parse(struct hf_bytes text, size_t payload_max, struct hf_arena *arena,
				struct request *ret, struct problem *ret_problem);

/* Is it an idempotency key: 1..64 printable ASCII characters? */
bool request_is_key(const char *text, size_t len);

#endif
