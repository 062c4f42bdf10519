/* services/center/problem.h - why a request is refused, in the terms of the API's error shape. */
#ifndef CENTER_PROBLEM_H
#define CENTER_PROBLEM_H

#include <jansson.h>

#include "hf_base.h"
#include "hf_http_server.h"

struct problem {
	unsigned code;      /* HTTP status */
	const char *reason; /* stable; a literal, as it is a metric label, too */
	char message[160];
	char field[128];   /* "": none */
	char value[64];    /* "": none */
	int retry_after_s; /* < 0: none; 429 and 503 always have one */
};

/* Fill `ret` and return -EINVAL, so that a check can end with it. `field` and `value` may be NULL;
 * what does not fit, or is not UTF-8, is left out. */
int problem_set(struct problem *ret, unsigned code, const char *reason, const char *field,
		const char *value, const char *message, ...) HF_PRINTF(6, 7);
/* The same with a Retry-After. */
int problem_retry(struct problem *ret, unsigned code, const char *reason, int retry_after_s,
		  const char *message);

void problem_respond(const struct problem *problem, struct hf_http_exchange *exchange);
/* {"error":{...}} as text, malloc'd; NULL out of memory. */
HF_MUST_CHECK char *problem_text(const struct problem *problem, const char *request_id);

#endif
