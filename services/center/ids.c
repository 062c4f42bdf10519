/* services/center/ids.c - see ids.h. */
#include "ids.h"

#include "hf_text.h"

int ids_parse(const json_t *list, const char *field, struct hf_bytes ret[REQUEST_TARGETS_MAX],
	      size_t *ret_count, struct problem *ret_problem)
{
	size_t count = json_array_size(list);

	if (list == NULL || json_is_null(list))
		return problem_set(ret_problem, 400, "MISSING_FIELD", field, NULL, "%s is required",
				   field);
	if (!json_is_array(list) || count == 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", field, NULL,
				   "%s must be an array of registration ids", field);
	if (count > REQUEST_TARGETS_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", field, NULL,
				   "%s may name %d registrations at most", field,
				   REQUEST_TARGETS_MAX);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);

		if (!json_is_string(item) ||
		    !hf_text_is_id(json_string_value(item), json_string_length(item),
				   HF_REGISTRATION_MAX))
			return problem_set(ret_problem, 400, "BAD_VALUE", field,
					   json_string_value(item),
					   "a registration id is text of 1 to %d bytes, without "
					   "control characters",
					   HF_REGISTRATION_MAX);
		ret[i] = hf_bytes_of(json_string_value(item), json_string_length(item));
	}
	*ret_count = count;
	return 0;
}
