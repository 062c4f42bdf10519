/* services/center/fields.h - reading one JSON value each, with a problem that names the field.
 * Pure.
 *
 * Absent (NULL) and null values are the same: the output keeps what it was. */
#ifndef CENTER_FIELDS_H
#define CENTER_FIELDS_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"

/* All keys of `object` must be among `known` (NULL-terminated); `path` is "" or ends with a dot. */
HF_MUST_CHECK int fields_known(const json_t *object, const char *path, const char *const *known,
			       struct problem *ret_problem);
/* The refusal of a key that is not known. */
int fields_unknown(const char *path, const char *key, struct problem *ret_problem);
/* Refuse what has no effect yet: anything but absent, null, an empty array or an empty object. */
HF_MUST_CHECK int fields_unsupported(const json_t *value, const char *field,
				     struct problem *ret_problem);
HF_MUST_CHECK int fields_bool(const json_t *value, const char *field, bool *ret,
			      struct problem *ret_problem);
/* A whole number of min..max. `reason` names the refusal. */
HF_MUST_CHECK int fields_uint(const json_t *value, const char *field, uint64_t min, uint64_t max,
			      const char *reason, uint64_t *ret, struct problem *ret_problem);
/* Whole seconds, or text with a unit ("15m"), of min..max milliseconds. */
HF_MUST_CHECK int fields_duration(const json_t *value, const char *field, uint64_t max_ms,
				  const char *range_reason, uint64_t *ret_ms,
				  struct problem *ret_problem);
/* The time at the start of `text`, which has the form that strptime() wants and begins with a date;
 * what follows it, or NULL. Unlike strptime() it wants all digits, and a day that exists. */
HF_MUST_CHECK const char *fields_parse_date(const char *text, const char *form,
					    int64_t *ret_seconds);
/* RFC 3339 ("2026-01-31T12:00:00Z", with a fraction or an offset if need be) or Unix seconds, from
 * 1970 to 9999, as milliseconds. */
HF_MUST_CHECK int fields_time(const json_t *value, const char *field, uint64_t *ret_ms,
			      struct problem *ret_problem);
/* The index in `choices` (NULL-terminated). */
HF_MUST_CHECK int fields_choice(const json_t *value, const char *field, const char *const *choices,
				int *ret, struct problem *ret_problem);
/* Text of min..max bytes without control characters; borrowed from `value`. */
HF_MUST_CHECK int fields_text(const json_t *value, const char *field, size_t min, size_t max,
			      const char **ret, struct problem *ret_problem);

#endif
