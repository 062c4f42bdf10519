/* services/center/quota.h - how much each app, and each key, may ask of this center.
 *
 * Sends take from the app's bucket of recipients (limits.messages_per_second and .burst), all other
 * requests from its bucket of requests (limits.requests_per_second, and twice that at once). A key
 * may have a limit of its own for its requests of both kinds. Operators are not limited. */
#ifndef CENTER_QUOTA_H
#define CENTER_QUOTA_H

#include "center.h"
#include "problem.h"

HF_MUST_CHECK int quota_init(struct center *center); /* 0 or -ENOMEM */
void quota_deinit(struct center *center);
/* 0, or -EINVAL with a problem 429 QUOTA_APP. */
HF_MUST_CHECK int quota_take(struct center *center, const struct hf_app *app, uint32_t cost,
			     struct problem *ret_problem);
void quota_refund(struct center *center, uint32_t app, uint32_t cost);
/* X-RateLimit-Limit, -Remaining and -Reset, of recipients. */
void quota_headers(struct center *center, const struct hf_app *app,
		   struct hf_http_exchange *exchange);

/* One request with `key` (NULL: an operator's). 0, or -EINVAL with a problem 429, QUOTA_KEY or
 * QUOTA_APP. Adds the headers of requests, unless it `sends` and is not refused. */
HF_MUST_CHECK int quota_take_request(struct center *center, const struct hf_app *app,
				     const struct hf_api_key *key, bool sends,
				     struct hf_http_exchange *exchange,
				     struct problem *ret_problem);

/* Forget apps and keys that are no more. */
void quota_sweep(struct center *center);

#endif
