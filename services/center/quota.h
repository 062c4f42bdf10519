/* services/center/quota.h - how much each app may send: limits.messages_per_second and limits.burst
 * of the app, counted in recipients, by each center for itself. */
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
/* X-RateLimit-Limit, -Remaining and -Reset. */
void quota_headers(struct center *center, const struct hf_app *app,
		   struct hf_http_exchange *exchange);
/* Forget apps that are no more. */
void quota_sweep(struct center *center);

#endif
