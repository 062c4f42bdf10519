/* common/http/hf_http_error.c - the one error shape of Holdfast; see hf_http_server.h. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_http_error.h"
#include "hf_http_server.h"

static const char *default_status(unsigned code)
{
	switch (code) {
	case 401:
		return "UNAUTHENTICATED";
	case 403:
		return "PERMISSION_DENIED";
	case 404:
		return "NOT_FOUND";
	case 405:
		return "METHOD_NOT_ALLOWED";
	case 408:
		return "DEADLINE_EXCEEDED";
	case 409:
		return "CONFLICT";
	case 413:
		return "PAYLOAD_TOO_LARGE";
	case 415:
		return "UNSUPPORTED_MEDIA_TYPE";
	case 422:
		return "UNPROCESSABLE";
	case 429:
		return "RESOURCE_EXHAUSTED";
	case 500:
		return "INTERNAL";
	case 501:
		return "UNIMPLEMENTED";
	case 503:
		return "UNAVAILABLE";
	case 504:
		return "DEADLINE_EXCEEDED";
	default:
		return code >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
	}
}

static bool is_retryable(unsigned code, int retry_after_s)
{
	return retry_after_s >= 0 || code == 408 || code == 429 || code == 500 || code == 503 ||
	       code == 504;
}

json_t *hf_http_error_json(const struct hf_http_error *error, const char *request_id)
{
	json_t *details = json_array(), *root = NULL;

	if (details != NULL && error->field != NULL) {
		json_t *detail = json_pack("{s:s}", "field", error->field);

		/* A value that is not UTF-8 can't stand in JSON; the field alone has to do. */
		if (error->value != NULL)
			json_object_set_new(detail, "value", json_string(error->value));
		json_array_append_new(details, detail);
	}
	root = json_pack("{s:{s:i, s:s, s:s, s:s, s:o, s:b}}", "error", "code", (int)error->code,
			 "status",
			 error->status != NULL ? error->status : default_status(error->code),
			 "reason", error->reason, "message", error->message, "details", details,
			 "retryable", is_retryable(error->code, error->retry_after_s));
	if (root != NULL) {
		json_t *body = json_object_get(root, "error");

		json_object_set_new(body, "retry_after_s",
				    error->retry_after_s >= 0 ? json_integer(error->retry_after_s)
							      : json_null());
		json_object_set_new(body, "request_id", json_string(request_id));
	}
	return root;
}

void hf_http_respond_error(struct hf_http_exchange *exchange, unsigned code, const char *status,
			   const char *reason, const char *message, const char *field,
			   const char *value, int retry_after_s)
{
	struct hf_http_error error = { code, status, reason, message, field, value, retry_after_s };
	json_t *root = hf_http_error_json(&error, hf_http_exchange_request_id(exchange));
	char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
	char seconds[16];

	json_decref(root);
	if (retry_after_s >= 0) {
		snprintf(seconds, sizeof(seconds), "%d", retry_after_s);
		hf_http_add_header(exchange, "Retry-After", seconds);
	}
	if (text != NULL)
		hf_http_respond(exchange, code, "application/json", text, strlen(text));
	else
		hf_http_respond(exchange, code, NULL, NULL, 0);
	free(text);
}
