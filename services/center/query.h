/* services/center/query.h - the query string of a request: which parameters there may be, and one
 * value each. Pure.
 *
 * Like a body's fields they are obeyed or refused: a name that the route does not know is
 * UNKNOWN_FIELD, one that stands there twice is CONFLICTING_FIELDS. An absent parameter leaves the
 * output as it was. */
#ifndef CENTER_QUERY_H
#define CENTER_QUERY_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"

#define QUERY_NAME_MAX   32
#define QUERY_CURSOR_MAX 128 /* bytes that a cursor holds */
#define QUERY_LIMIT      100

/* `known`: names with spaces between them; NULL: none. 0, or -EINVAL with the problem. */
HF_MUST_CHECK int query_check(struct hf_bytes query, const char *known,
			      struct problem *ret_problem);
bool query_has(struct hf_bytes query, const char *name);
/* An id of 1..max bytes, decoded into `ret` (max + 1 bytes) and ended by a NUL; `*ret_len` is 0
 * when it is absent. */
HF_MUST_CHECK int query_id(struct hf_bytes query, const char *name, size_t max, char *ret,
			   size_t *ret_len, struct problem *ret_problem);
HF_MUST_CHECK int query_uint(struct hf_bytes query, const char *name, uint64_t min, uint64_t max,
			     uint64_t *ret, struct problem *ret_problem);
/* The index in `choices` (NULL-terminated). */
HF_MUST_CHECK int query_choice(struct hf_bytes query, const char *name, const char *const *choices,
			       int *ret, struct problem *ret_problem);
/* Unix seconds, "2026-01-31" or "2026-01-31T12:00:00Z", as milliseconds. */
HF_MUST_CHECK int query_time(struct hf_bytes query, const char *name, uint64_t *ret_ms,
			     struct problem *ret_problem);

/* limit= and cursor= of a list. A cursor is opaque to callers: it names the list it is of (`kind`,
 * a letter), so that one of another list is refused, and where the next page starts. */
struct query_page {
	uint64_t limit;
	uint8_t cursor[QUERY_CURSOR_MAX + 1];
	size_t cursor_len; /* 0: from the start */
};
/* `cursor_max`: bytes that a cursor of this list holds at most; `limit_max`: 100 is the default. */
HF_MUST_CHECK int query_page(struct hf_bytes query, char kind, size_t cursor_max,
			     uint64_t limit_max, struct query_page *ret,
			     struct problem *ret_problem);
/* A cursor's text; null when `len` is 0 or above QUERY_CURSOR_MAX. */
json_t *query_next_cursor(char kind, const void *position, size_t len);

#endif
