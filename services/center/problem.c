/* services/center/problem.c - see problem.h. */
#include "problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "hf_http_error.h"
#include "hf_text.h"

static void copy_text(char *ret, size_t size, const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0;

	ret[0] = '\0';
	if (len == 0 || len >= size || !hf_text_is_utf8(text, len))
		return;
	memcpy(ret, text, len + 1);
}

int problem_set(struct problem *ret, unsigned code, const char *reason, const char *field,
		const char *value, const char *message, ...)
{
	va_list args;

	ret->code = code;
	ret->reason = reason;
	ret->retry_after_s = code == 429 || code == 503 ? 1 : -1;
	copy_text(ret->field, sizeof(ret->field), field);
	copy_text(ret->value, sizeof(ret->value), value);
	va_start(args, message);
	vsnprintf(ret->message, sizeof(ret->message), message, args);
	va_end(args);
	if (!hf_text_is_utf8(ret->message, strlen(ret->message)))
		copy_text(ret->message, sizeof(ret->message), reason);
	return -EINVAL;
}

int problem_retry(struct problem *ret, unsigned code, const char *reason, int retry_after_s,
		  const char *message)
{
	problem_set(ret, code, reason, NULL, NULL, "%s", message);
	ret->retry_after_s = retry_after_s;
	return -EINVAL;
}

void problem_respond(const struct problem *problem, struct hf_http_exchange *exchange)
{
	hf_http_respond_error(exchange, problem->code, NULL, problem->reason, problem->message,
			      problem->field[0] != '\0' ? problem->field : NULL,
			      problem->value[0] != '\0' ? problem->value : NULL,
			      problem->retry_after_s);
}

char *problem_text(const struct problem *problem, const char *request_id)
{
	struct hf_http_error error = {
		.code = problem->code,
		.reason = problem->reason,
		.message = problem->message,
		.field = problem->field[0] != '\0' ? problem->field : NULL,
		.value = problem->value[0] != '\0' ? problem->value : NULL,
		.retry_after_s = problem->retry_after_s,
	};
	json_t *root = hf_http_error_json(&error, request_id);
	char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}
