/* services/center/fields.c - see fields.h. */
#include "fields.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hf_text.h"

static bool is_absent(const json_t *value)
{
	return value == NULL || json_is_null(value);
}

/* A value as the error shows it: scalars only, cut by problem_set() when it is long. */
static const char *show(const json_t *value, char *room, size_t size)
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_number(value)) {
		snprintf(room, size, "%.17g", json_number_value(value));
		return room;
	}
	if (json_is_boolean(value))
		return json_is_true(value) ? "true" : "false";
	return NULL;
}

static int wrong(const json_t *value, const char *field, const char *reason, const char *wanted,
		 struct problem *ret_problem)
{
	char room[40];

	return problem_set(ret_problem, 400, reason, field, show(value, room, sizeof(room)),
			   "%s must be %s", field, wanted);
}

int fields_unknown(const char *path, const char *key, struct problem *ret_problem)
{
	char field[128];

	snprintf(field, sizeof(field), "%s%s", path, key);
	return problem_set(ret_problem, 400, "UNKNOWN_FIELD", field, NULL, "there is no field %s",
			   field);
}

int fields_known(const json_t *object, const char *path, const char *const *known,
		 struct problem *ret_problem)
{
	void *at = json_object_iter((json_t *)object);

	for (; at != NULL; at = json_object_iter_next((json_t *)object, at)) {
		const char *key = json_object_iter_key(at);
		size_t i = 0;

		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] == NULL)
			return fields_unknown(path, key, ret_problem);
	}
	return 0;
}

int fields_unsupported(const json_t *value, const char *field, struct problem *ret_problem)
{
	if (is_absent(value) || (json_is_array(value) && json_array_size(value) == 0) ||
	    (json_is_object(value) && json_object_size(value) == 0))
		return 0;
	return problem_set(ret_problem, 400, "UNSUPPORTED", field, NULL,
			   "%s is not implemented in this version", field);
}

int fields_bool(const json_t *value, const char *field, bool *ret, struct problem *ret_problem)
{
	if (is_absent(value))
		return 0;
	if (!json_is_boolean(value))
		return wrong(value, field, "BAD_VALUE", "true or false", ret_problem);
	*ret = json_is_true(value);
	return 0;
}

int fields_uint(const json_t *value, const char *field, uint64_t min, uint64_t max,
		const char *reason, uint64_t *ret, struct problem *ret_problem)
{
	char wanted[80];
	double number;

	if (is_absent(value))
		return 0;
	number = json_number_value(value);
	if (!json_is_number(value) || number != floor(number) || number < (double)min ||
	    number > (double)max) {
		snprintf(wanted, sizeof(wanted), "a whole number between %llu and %llu",
			 (unsigned long long)min, (unsigned long long)max);
		return wrong(value, field, reason, wanted, ret_problem);
	}
	*ret = (uint64_t)number;
	return 0;
}

int fields_duration(const json_t *value, const char *field, uint64_t max_ms,
		    const char *range_reason, uint64_t *ret_ms, struct problem *ret_problem)
{
	uint64_t ms = 0;
	char wanted[80];
	int err = 0;

	if (is_absent(value))
		return 0;
	if (json_is_string(value)) {
		err = hf_text_parse_duration(json_string_value(value), 1000, &ms);
	} else if (json_is_number(value)) {
		double seconds = json_number_value(value);

		if (seconds != floor(seconds))
			err = -EINVAL;
		else if (seconds < 0 || seconds * 1000 > (double)max_ms)
			err = -ERANGE;
		else
			ms = (uint64_t)(seconds * 1000);
	} else {
		err = -EINVAL;
	}
	if (err == -EINVAL)
		return wrong(value, field, "BAD_DURATION", "whole seconds, or text like \"15m\"",
			     ret_problem);
	if (err < 0 || ms > max_ms) {
		snprintf(wanted, sizeof(wanted), "between 0 and %llu seconds",
			 (unsigned long long)(max_ms / 1000));
		return wrong(value, field, range_reason, wanted, ret_problem);
	}
	*ret_ms = ms;
	return 0;
}

/* d: a digit; anything else: itself. */
static bool has_shape(const char *text, const char *shape, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
			return false;
	return true;
}

const char *fields_parse_date(const char *text, const char *form, int64_t *ret_seconds)
{
	struct tm tm = { .tm_mday = 1 }, day;
	const char *end;

	if (!has_shape(text, "dddd-dd-ddTdd:dd:dd", strchr(form, 'T') != NULL ? 19 : 10))
		return NULL;
	end = strptime(text, form, &tm);
	if (end == NULL)
		return NULL;
	day = (struct tm){ .tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday };
	timegm(&day);
	if (day.tm_mday != tm.tm_mday)
		return NULL; /* 31 February is not 3 March */
	*ret_seconds = timegm(&tm);
	return end;
}

/* What may follow the seconds: a fraction, then Z or an offset. Milliseconds to add; false: no. */
static bool parse_zone(const char *text, int64_t *ret_ms)
{
	int64_t ms = 0, unit = 100;
	unsigned hours, minutes;

	if (*text == '.') {
		if (*++text < '0' || *text > '9')
			return false;
		for (; *text >= '0' && *text <= '9'; text++, unit /= 10)
			ms += (*text - '0') * unit;
	}
	*ret_ms = ms;
	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
		return true;
	if ((*text != '+' && *text != '-') || !has_shape(text + 1, "dd:dd", 5) || text[6] != '\0' ||
	    sscanf(text + 1, "%2u:%2u", &hours, &minutes) != 2 || hours > 23 || minutes > 59)
		return false;
	ms = (int64_t)(hours * 60 + minutes) * 60000;
	*ret_ms += *text == '+' ? -ms : ms;
	return true;
}

int fields_time(const json_t *value, const char *field, uint64_t *ret_ms,
		struct problem *ret_problem)
{
	static const char wanted[] = "Unix seconds, or like 2026-01-31T12:00:00Z";
	double seconds = json_number_value(value);
	const char *end = NULL;
	int64_t rest_ms, at;

	if (is_absent(value))
		return 0;
	if (json_is_number(value)) {
		if (!(seconds >= 0 && seconds <= 253402300799.0))
			return wrong(value, field, "BAD_VALUE", wanted, ret_problem);
		*ret_ms = (uint64_t)(seconds * 1000);
		return 0;
	}
	if (json_is_string(value) && strlen(json_string_value(value)) <= 40)
		end = fields_parse_date(json_string_value(value), "%Y-%m-%dT%H:%M:%S", &at);
	if (end == NULL || !parse_zone(end, &rest_ms) || at < 0 || at * 1000 + rest_ms < 0)
		return wrong(value, field, "BAD_VALUE", wanted, ret_problem);
	*ret_ms = (uint64_t)(at * 1000 + rest_ms);
	return 0;
}

int fields_choice(const json_t *value, const char *field, const char *const *choices, int *ret,
		  struct problem *ret_problem)
{
	char wanted[80] = "one of";
	size_t len = strlen(wanted);

	if (is_absent(value))
		return 0;
	for (int i = 0; json_is_string(value) && choices[i] != NULL; i++) {
		if (strcmp(json_string_value(value), choices[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	for (int i = 0; choices[i] != NULL && len < sizeof(wanted); i++)
		len += (size_t)snprintf(wanted + len, sizeof(wanted) - len, "%s %s",
					i > 0 ? "," : "", choices[i]);
	return wrong(value, field, "BAD_VALUE", wanted, ret_problem);
}

int fields_text(const json_t *value, const char *field, size_t min, size_t max, const char **ret,
		struct problem *ret_problem)
{
	char wanted[80];

	if (is_absent(value))
		return 0;
	if (!json_is_string(value) || json_string_length(value) < min ||
	    (json_string_length(value) > 0 &&
	     !hf_text_is_id(json_string_value(value), json_string_length(value), max))) {
		snprintf(wanted, sizeof(wanted),
			 "text of %zu to %zu bytes without control characters", min, max);
		return wrong(value, field, "BAD_VALUE", wanted, ret_problem);
	}
	*ret = json_string_value(value);
	return 0;
}
