/* sdk/c/answer.h - a dispatcher's HTTP answer, as a pure parser: tests and fuzzers use it alone. */
#ifndef HOLDFAST_ANSWER_H
#define HOLDFAST_ANSWER_H

#include "hf_base.h"

#define ANSWER_MAX 32768 /* head and body */

struct answer {
	unsigned status;
	uint64_t retry_after_s; /* 0: not told, or told as a date */
	struct hf_bytes body;   /* borrowed */
};

/* Parses HTTP/1.x with a Content-Length or an end of stream (`ended`). 1: whole; 0: more must come;
 * -EMSGSIZE: longer than ANSWER_MAX; -EPROTO: not HTTP, cut short, or in chunks, which no
 * dispatcher of ours sends. */
HF_MUST_CHECK int answer_parse(const uint8_t *data, size_t len, bool ended, struct answer *ret);

/* The reason that an error of Holdfast names, such as "APP_UNKNOWN", or "": found by its name, as
 * who answers may be anybody. */
#define ANSWER_REASON_SIZE 33
void answer_reason(const struct answer *answer, char ret[ANSWER_REASON_SIZE]);

#endif
