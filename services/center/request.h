/* services/center/request.h - a send request, from JSON to a checked struct. Pure.
 *
 * Every field is either obeyed or refused: what nobody knows is UNKNOWN_FIELD, two fields that
 * can't both be obeyed are CONFLICTING_FIELDS, and nothing is ever ignored.
 *
 * A request is for a list (registrations, users, or both; filtered by what else the audience says)
 * or for an audience without a list: tags, everybody, a share of everybody. */
#ifndef CENTER_REQUEST_H
#define CENTER_REQUEST_H

#include "hf_arena.h"
#include "hf_audience.h"
#include "hf_base.h"
#include "problem.h"

#define REQUEST_TARGETS_MAX    1000  /* registrations, or users, named in one call */
#define REQUEST_RESOLVED_MAX   10000 /* registrations that they may turn out to be */
#define REQUEST_COLLAPSE_MAX   64
#define REQUEST_PARAMS_MAX     256
#define REQUEST_SEND_AT_MAX_MS (30ull * 86400 * 1000) /* ahead */
#define REQUEST_PACE_MAX_MS    (86400ull * 1000)
#define REQUEST_RATE_MAX       4000000u
#define REQUEST_PACED_MIN      101 /* registrations of a list whose pace can be chosen */
#define REQUEST_LABEL_MAX      50
#define REQUEST_CID_MAX        64
#define REQUEST_TTL_S          86400u
#define REQUEST_TTL_MAX_S      2419200u
#define REQUEST_WAIT_MS        3000u
#define REQUEST_WAIT_MAX_MS    30000u
#define REQUEST_ACKED_MAX      100 /* most recipients of a call that waits for acks */

enum request_class { REQUEST_TRANSIENT, REQUEST_STORED, REQUEST_DURABLE };
enum request_kind { REQUEST_LIST, REQUEST_TAG, REQUEST_BROADCAST };
enum request_wait { REQUEST_WAIT_NONE, REQUEST_WAIT_ROUTED, REQUEST_WAIT_ACKED };

struct request {
	enum request_kind kind;
	size_t target_count, user_count;
	struct hf_bytes *targets; /* registration ids, each once */
	struct hf_bytes *users;   /* likewise; with both, who is in both is meant */
	/* What else must match; NULL: nothing. Of a list without users that is a reason to look the
	 * registrations up. */
	Hf__Audience *audience;
	uint8_t payload_kind; /* enum hf_wire_payload_kind */
	struct hf_bytes payload;
	enum request_class class;
	uint64_t ttl_ms; /* 0: online only */
	char label[REQUEST_LABEL_MAX + 1];
	char cid[REQUEST_CID_MAX + 1]; /* idempotency key in the body; "" when absent */
	bool high;
	char collapse_key[REQUEST_COLLAPSE_MAX + 1]; /* "": none */
	uint32_t receipts;                           /* bit n: EventType n */
	struct hf_bytes receipt_params;              /* JSON object as it was sent */
	uint64_t send_at_ms;                         /* wall clock; 0: now */
	uint64_t rate_per_second, spread_ms;         /* the pace: one of them, or neither */
	uint64_t replaces;                           /* message id; 0: none */
	enum request_wait wait;
	uint64_t wait_ms;
	bool validate_only;
};

/* Fill `ret` from `text`. What it points to lives in `arena` or in `text`. `payload_max`: bytes
 * that the app allows; `wall_ms`: when it was sent. 0, or -EINVAL with the problem to answer. */
HF_MUST_CHECK int request_parse(struct hf_bytes text, size_t payload_max, uint64_t wall_ms,
				struct hf_arena *arena, struct request *ret,
				struct problem *ret_problem);
/* Are the registrations known as they stand, without asking anybody? */
static inline bool request_is_plain(const struct request *request)
{
	return request->kind == REQUEST_LIST && request->user_count == 0 &&
	       request->audience == NULL;
}
static inline bool request_is_paced(const struct request *request)
{
	return request->rate_per_second > 0 || request->spread_ms > 0;
}

/* Is it an idempotency key: 1..64 printable ASCII characters? */
bool request_is_key(const char *text, size_t len);

#endif
