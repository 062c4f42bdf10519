/* common/http/hf_http_error.h - the one error shape of Holdfast (INTERFACES A3) as a JSON value,
 * for results inside a larger response; hf_http_respond_error() makes a whole response of it. */
#ifndef HF_HTTP_ERROR_H
#define HF_HTTP_ERROR_H

#include <jansson.h>

#include "hf_base.h"

struct hf_http_error {
	unsigned code;      /* HTTP status */
	const char *status; /* NULL: the usual one of the code */
	const char *reason, *message;
	const char *field, *value; /* NULL: none */
	int retry_after_s;         /* < 0: none */
};

/* {"error": {...}}; NULL out of memory or when a text is not UTF-8. */
HF_MUST_CHECK json_t *hf_http_error_json(const struct hf_http_error *error, const char *request_id);

#endif
