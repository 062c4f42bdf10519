/* services/center/query.c - see query.h. */
#include "query.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "fields.h"
#include "hf_http_parser.h"
#include "hf_text.h"

#define VALUE_MAX       4096 /* encoded bytes of one value: as long as a target may be */
#define CURSOR_TEXT_MAX (4 * (QUERY_CURSOR_MAX + 1) / 3 + 4)

/* The next "name=value" or "name". */
static bool next_pair(struct hf_bytes *query, struct hf_bytes *ret_name)
{
	const uint8_t *end, *equals;
	size_t len;

	if (query->len == 0)
		return false;
	end = memchr(query->data, '&', query->len);
	len = end != NULL ? (size_t)(end - query->data) : query->len;
	equals = len > 0 ? memchr(query->data, '=', len) : NULL;
	*ret_name = hf_bytes_of(query->data, equals != NULL ? (size_t)(equals - query->data) : len);
	len += end != NULL;
	query->data += len;
	query->len -= len;
	return true;
}

static bool is_listed(const char *known, struct hf_bytes name)
{
	while (known != NULL && *known != '\0') {
		size_t len = strcspn(known, " ");

		if (hf_bytes_equal(hf_bytes_of(known, len), name))
			return true;
		known += len + (known[len] == ' ');
	}
	return false;
}

static void copy_name(struct hf_bytes name, char ret[QUERY_NAME_MAX + 1])
{
	size_t len = HF_MIN(name.len, (size_t)QUERY_NAME_MAX);

	memcpy(ret, name.data, len);
	ret[len] = '\0';
}

int query_check(struct hf_bytes query, const char *known, struct problem *ret_problem)
{
	struct hf_bytes rest = query, name;
	char text[QUERY_NAME_MAX + 1];

	while (next_pair(&rest, &name)) {
		struct hf_bytes after = rest, other;

		copy_name(name, text);
		if (!is_listed(known, name))
			return problem_set(ret_problem, 400, "UNKNOWN_FIELD", text, NULL,
					   "this path has no query parameter of this name");
		while (next_pair(&after, &other))
			if (hf_bytes_equal(name, other))
				return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", text,
						   NULL, "%s is given more than once", text);
	}
	return 0;
}

bool query_has(struct hf_bytes query, const char *name)
{
	return hf_http_query(query, name).data != NULL;
}

/* The decoded value: its length, -ENOENT when it is absent, -EINVAL. */
static ssize_t read_value(struct hf_bytes query, const char *name, char ret[VALUE_MAX + 1])
{
	struct hf_bytes value = hf_http_query(query, name);

	if (value.data == NULL)
		return -ENOENT;
	if (value.len > VALUE_MAX)
		return -EINVAL;
	return hf_http_unescape(value, true, ret);
}

int query_id(struct hf_bytes query, const char *name, size_t max, char *ret, size_t *ret_len,
	     struct problem *ret_problem)
{
	char value[VALUE_MAX + 1];
	ssize_t len = read_value(query, name, value);

	*ret_len = 0;
	if (len == -ENOENT)
		return 0;
	if (len < 0 || !hf_text_is_id(value, (size_t)len, max))
		return problem_set(ret_problem, 400, "BAD_VALUE", name, NULL,
				   "%s must be text of 1 to %zu bytes without control characters",
				   name, max);
	memcpy(ret, value, (size_t)len + 1);
	*ret_len = (size_t)len;
	return 0;
}

int query_uint(struct hf_bytes query, const char *name, uint64_t min, uint64_t max, uint64_t *ret,
	       struct problem *ret_problem)
{
	char value[VALUE_MAX + 1];
	ssize_t len = read_value(query, name, value);
	uint64_t number;

	if (len == -ENOENT)
		return 0;
	if (len < 0 || hf_text_parse_uint(value, (size_t)len, &number) < 0 || number < min ||
	    number > max)
		return problem_set(ret_problem, 400, "BAD_VALUE", name, NULL,
				   "%s must be a number between %llu and %llu", name,
				   (unsigned long long)min, (unsigned long long)max);
	*ret = number;
	return 0;
}

int query_choice(struct hf_bytes query, const char *name, const char *const *choices, int *ret,
		 struct problem *ret_problem)
{
	char value[VALUE_MAX + 1], wanted[80] = "";
	ssize_t len = read_value(query, name, value);
	size_t at = 0;

	if (len == -ENOENT)
		return 0;
	for (int i = 0; len >= 0 && choices[i] != NULL; i++) {
		if (strcmp(choices[i], value) == 0) {
			*ret = i;
			return 0;
		}
	}
	for (int i = 0; choices[i] != NULL && at < sizeof(wanted); i++)
		at += (size_t)snprintf(wanted + at, sizeof(wanted) - at, "%s%s",
				       i > 0 ? " or " : "", choices[i]);
	return problem_set(ret_problem, 400, "BAD_VALUE", name, NULL, "%s must be %s", name,
			   wanted);
}

/* Seconds since 1970 of a date, or of a date and time in UTC; 0 when it is neither. */
static uint64_t parse_date(const char *text)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d" };

	for (size_t i = 0; i < HF_ARRAY_LEN(forms); i++) {
		int64_t at;
		const char *end = fields_parse_date(text, forms[i], &at);

		if (end != NULL && *end == '\0' && at > 0)
			return (uint64_t)at;
	}
	return 0;
}

int query_time(struct hf_bytes query, const char *name, uint64_t *ret_ms,
	       struct problem *ret_problem)
{
	char value[VALUE_MAX + 1];
	ssize_t len = read_value(query, name, value);
	uint64_t seconds = 0;

	if (len == -ENOENT)
		return 0;
	if (len > 0 && hf_text_parse_uint(value, (size_t)len, &seconds) < 0)
		seconds = parse_date(value);
	if (len <= 0 || seconds < 1 || seconds > 253402300799ull)
		return problem_set(ret_problem, 400, "BAD_VALUE", name, NULL,
				   "%s must be Unix seconds, 2026-01-31, or 2026-01-31T12:00:00Z",
				   name);
	*ret_ms = seconds * 1000;
	return 0;
}

int query_page(struct hf_bytes query, char kind, size_t cursor_max, uint64_t limit_max,
	       struct query_page *ret, struct problem *ret_problem)
{
	char value[VALUE_MAX + 1];
	uint8_t decoded[VALUE_MAX];
	ssize_t len = read_value(query, "cursor", value), n = -1;

	ret->limit = QUERY_LIMIT;
	ret->cursor_len = 0;
	if (query_uint(query, "limit", 1, limit_max, &ret->limit, ret_problem) < 0)
		return -EINVAL;
	if (len == -ENOENT)
		return 0;
	if (len > 0 && len <= CURSOR_TEXT_MAX)
		n = hf_base64_decode(value, (size_t)len, true, decoded);
	if (n < 2 || n > (ssize_t)HF_MIN(cursor_max, (size_t)QUERY_CURSOR_MAX) + 1 ||
	    decoded[0] != (uint8_t)kind)
		return problem_set(ret_problem, 400, "BAD_VALUE", "cursor", NULL,
				   "cursor must be the next_cursor of a page of this list");
	ret->cursor_len = (size_t)n - 1;
	memcpy(ret->cursor, decoded + 1, ret->cursor_len);
	ret->cursor[ret->cursor_len] = '\0';
	return 0;
}

json_t *query_next_cursor(char kind, const void *position, size_t len)
{
	uint8_t bytes[QUERY_CURSOR_MAX + 1] = { (uint8_t)kind };
	char text[CURSOR_TEXT_MAX + 1];

	if (len == 0 || len > QUERY_CURSOR_MAX)
		return json_null();
	memcpy(bytes + 1, position, len);
	hf_base64_encode(bytes, len + 1, true, text);
	return json_string(text);
}
