/* services/center/request_internal.h - the parts of the check of a send request. */
#ifndef CENTER_REQUEST_INTERNAL_H
#define CENTER_REQUEST_INTERNAL_H

#include <jansson.h>

#include "request.h"

static inline bool request_has(const json_t *value)
{
	return value != NULL && !json_is_null(value);
}
static inline int request_out_of_memory(struct problem *ret_problem)
{
	return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}

/* audience.c: `audience` and `platform` of the request, into kind, targets, users and audience. */
HF_MUST_CHECK int request_parse_audience(const json_t *root, struct hf_arena *arena,
					 struct request *ret, struct problem *ret_problem);
/* Text ids of 1..len_max bytes, each once, at most `count_max`. Absent: none. */
HF_MUST_CHECK int request_parse_ids(const json_t *list, const char *field, size_t count_max,
				    size_t len_max, struct hf_arena *arena, struct hf_bytes **ret,
				    size_t *ret_count, struct problem *ret_problem);
/* Leave these out: from the list if that is all there is to look at, else by the audience. */
HF_MUST_CHECK int request_exclude(const struct hf_bytes *excluded, size_t count,
				  struct hf_arena *arena, struct request *ret,
				  struct problem *ret_problem);

/* request_options.c: `text` is the text of `options`. */
HF_MUST_CHECK int request_parse_options(const json_t *options, struct hf_bytes text,
					uint64_t wall_ms, struct hf_arena *arena,
					struct request *ret, struct problem *ret_problem);
HF_MUST_CHECK int request_parse_pace(const json_t *pace, const char *field, uint64_t *ret_rate,
				     uint64_t *ret_spread_ms, struct problem *ret_problem);

#endif
