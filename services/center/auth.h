/* services/center/auth.h - who asks: an API key of the app, or the operators' key of the cluster.
 */
#ifndef CENTER_AUTH_H
#define CENTER_AUTH_H

#include "center.h"
#include "problem.h"

/* What a route asks for; each may do what the ones before may. */
enum access { ACCESS_VIEWER, ACCESS_SENDER, ACCESS_ADMIN, ACCESS_OPS };

/* Take the configured operators' key, "<id>.<secret>"; "" means that there is none. -EINVAL: too
 * short. */
HF_MUST_CHECK int auth_init(struct center *center);
/* May this request do `access` to `app`? `app` is NULL for routes without one, and for an app that
 * is not known: then only operators pass. *ret_key (may be NULL) is the app's key, borrowed as
 * `app` is, and NULL for an operator. 0, or -EINVAL with a problem 401 or 403. */
HF_MUST_CHECK int auth_check(struct center *center, struct hf_http_exchange *exchange,
			     const struct hf_app *app, enum access access,
			     const struct hf_api_key **ret_key, struct problem *ret_problem);

#endif
