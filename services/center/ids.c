/* services/center/ids.c - see ids.h. */
#include "ids.h"

#include <stdlib.h>

#include "hf_text.h"

int ids_parse_any(const json_t *list, const char *field, const struct ids_kind *kind,
		  struct hf_bytes *ret, size_t *ret_count, struct problem *ret_problem)
{
	size_t count = json_array_size(list);

	*ret_count = 0;
	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return problem_set(ret_problem, 400, "BAD_VALUE", field, NULL,
				   "%s must be an array", field);
	if (count > kind->count_max)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", field, NULL,
				   "%s may have %zu elements at most", field, kind->count_max);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);

		if (!json_is_string(item) ||
		    !hf_text_is_id(json_string_value(item), json_string_length(item),
				   kind->len_max))
			return problem_set(ret_problem, 400, "BAD_VALUE", field,
					   json_string_value(item),
					   "%s is text of 1 to %zu bytes, without control "
					   "characters",
					   kind->what, kind->len_max);
		ret[i] = hf_bytes_of(json_string_value(item), json_string_length(item));
	}
	*ret_count = count;
	return 0;
}

int ids_parse(const json_t *list, const char *field, struct hf_bytes ret[REQUEST_TARGETS_MAX],
	      size_t *ret_count, struct problem *ret_problem)
{
	static const struct ids_kind kind = { "a registration id", HF_REGISTRATION_MAX,
					      REQUEST_TARGETS_MAX };

	if (list == NULL || json_is_null(list))
		return problem_set(ret_problem, 400, "MISSING_FIELD", field, NULL, "%s is required",
				   field);
	if (json_is_array(list) && json_array_size(list) == 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", field, NULL,
				   "%s must be an array of registration ids", field);
	return ids_parse_any(list, field, &kind, ret, ret_count, ret_problem);
}

static int compare(const void *a, const void *b)
{
	const struct hf_bytes *left = *(const struct hf_bytes *const *)a;
	const struct hf_bytes *right = *(const struct hf_bytes *const *)b;
	int order = memcmp(left->data, right->data, HF_MIN(left->len, right->len));

	return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

const struct hf_bytes *ids_shared(const struct hf_bytes *a, size_t a_count,
				  const struct hf_bytes *b, size_t b_count)
{
	const struct hf_bytes *sorted[REQUEST_TARGETS_MAX];

	if (a_count == 0 || b_count == 0 || a_count > REQUEST_TARGETS_MAX)
		return NULL;
	for (size_t i = 0; i < a_count; i++)
		sorted[i] = &a[i];
	qsort(sorted, a_count, sizeof(sorted[0]), compare);
	for (size_t i = 0; i < b_count; i++) {
		const struct hf_bytes *wanted = &b[i];

		if (bsearch(&wanted, sorted, a_count, sizeof(sorted[0]), compare) != NULL)
			return wanted;
	}
	return NULL;
}
