/* services/center/request_internal.h - the parts of the check of a send request. */
#ifndef CENTER_REQUEST_INTERNAL_H
#define CENTER_REQUEST_INTERNAL_H

#include <jansson.h>

#include "json_read.h"
#include "request.h"

/* All members of a request that are read by name; request.c has their names. */
enum request_slot {
	SLOT_UNKNOWN,
	SLOT_AUDIENCE,
	SLOT_PLATFORM,
	SLOT_MESSAGE,
	SLOT_OPTIONS,
	SLOT_CID,
	SLOT_AUDIENCE_UNKNOWN,
	SLOT_REGISTRATION_ID,
	SLOT_USER_ID,
	SLOT_TAG,
	SLOT_TAG_AND,
	SLOT_TAG_NOT,
	SLOT_SDK_VERSION,
	SLOT_PERCENTAGE,
	SLOT_PERCENTAGE_SEED,
	SLOT_MESSAGE_UNKNOWN,
	SLOT_DATA,
	SLOT_DATA_B64,
	SLOT_NOTIFICATION,
	SLOT_COLLAPSE_KEY,
	SLOT_TTL,
	SLOT_PRIORITY,
	SLOT_QOS,
	SLOT_LABEL,
	SLOT_DURABLE,
	SLOT_OPTIONS_UNKNOWN,
	SLOT_SEND_AT,
	SLOT_PACE,
	SLOT_WAIT,
	SLOT_WAIT_TIMEOUT,
	SLOT_REPLACES,
	SLOT_EXCLUDE,
	SLOT_RECEIPTS,
	SLOT_VALIDATE_ONLY,
	REQUEST_SLOTS
};

/* Absent and null are the same. */
static inline bool request_has(const json_t *value)
{
	return value != NULL && !json_is_null(value);
}
static inline bool request_has_text(struct hf_bytes text)
{
	return text.data != NULL && !hf_bytes_equal(text, HF_BYTES_LITERAL("null"));
}
static inline int request_out_of_memory(struct problem *ret_problem)
{
	return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}

/* Refuse the member of the object called `path` ("" or with a dot at the end) that has no name of
 * ours. */
HF_MUST_CHECK int request_known(const struct json_slot *unknown, const char *path,
				struct problem *ret_problem);

/* audience.c: `audience` and `platform` of the request, into kind, targets, users and audience. */
HF_MUST_CHECK int request_parse_audience(const struct json_slot *slots, struct hf_arena *arena,
					 struct request *ret, struct problem *ret_problem);
/* The texts of an array, of 1..len_max bytes, each once, at most `count_max`. Absent: none. They
 * lie in `list`, or in `arena`. */
HF_MUST_CHECK int request_parse_ids(struct hf_bytes list, const char *field, size_t count_max,
				    size_t len_max, struct hf_arena *arena, struct hf_bytes **ret,
				    size_t *ret_count, struct problem *ret_problem);
/* Leave these out: from the list if that is all there is to look at, else by the audience. */
HF_MUST_CHECK int request_exclude(const struct hf_bytes *excluded, size_t count,
				  struct hf_arena *arena, struct request *ret,
				  struct problem *ret_problem);

/* request_options.c: `options` of the request. */
HF_MUST_CHECK int request_parse_options(const struct json_slot *slots, uint64_t wall_ms,
					struct hf_arena *arena, struct request *ret,
					struct problem *ret_problem);
HF_MUST_CHECK int request_parse_pace(const json_t *pace, const char *field, uint64_t *ret_rate,
				     uint64_t *ret_spread_ms, struct problem *ret_problem);

#endif
