/* services/center/ids.h - lists of ids in JSON bodies. */
#ifndef CENTER_IDS_H
#define CENTER_IDS_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"
#include "request.h"

/* 1..REQUEST_TARGETS_MAX registration ids into `ret`, which borrows from `list`. */
HF_MUST_CHECK int ids_parse(const json_t *list, const char *field,
			    struct hf_bytes ret[REQUEST_TARGETS_MAX], size_t *ret_count,
			    struct problem *ret_problem);

/* Lists that may be absent, or empty: up to `count_max` texts of 1..len_max bytes. `what` names one
 * of them in the problem: "a tag". */
struct ids_kind {
	const char *what;
	size_t len_max, count_max;
};
HF_MUST_CHECK int ids_parse_any(const json_t *list, const char *field, const struct ids_kind *kind,
				struct hf_bytes *ret, size_t *ret_count,
				struct problem *ret_problem);
/* The first that `a` and `b` share, or NULL. */
const struct hf_bytes *ids_shared(const struct hf_bytes *a, size_t a_count,
				  const struct hf_bytes *b, size_t b_count);

#endif
