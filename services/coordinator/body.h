/* services/coordinator/body.h - the JSON that a business gets (README.md has the shape). Pure. */
#ifndef COORDINATOR_BODY_H
#define COORDINATOR_BODY_H

#include "event.pb-c.h"
#include "hf_base.h"

struct upstream_event {
	uint32_t app, sequence;
	uint64_t id, at_ms;
	struct hf_bytes registration, user_id, forward_type, payload;
};

/* Text, malloc'd, its length in *ret_len; NULL: out of memory. A payload that is a JSON text goes
 * in verbatim as `payload`, any other as base64 in `payload_b64`. */
HF_MUST_CHECK char *body_of_upstream(const struct upstream_event *event, size_t *ret_len);

/* {"app_id","sent_at_ms","events":[...]} of events that the cluster makes; those that have no name
 * are left out. Likewise. */
HF_MUST_CHECK char *body_of_events(uint32_t app, uint64_t sent_at_ms, Hf__Event *const *events,
				   size_t count, size_t *ret_len);
/* The webhook.test event; `challenge` is to be echoed. Likewise. */
HF_MUST_CHECK char *body_of_test(uint32_t app, uint64_t at_ms, uint64_t id, const char *webhook,
				 const char *challenge, size_t *ret_len);

/* Is this one whole JSON text, nested 64 levels at most? */
bool body_is_json(struct hf_bytes text);

#endif
