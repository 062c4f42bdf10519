/* services/center/steer.h - what the routes about registrations, users, tags and connections share.
 */
#ifndef CENTER_STEER_H
#define CENTER_STEER_H

#include "api.h"
#include "change.h"
#include "problem.h"

#define STEER_BAR_MAX_S (30 * 86400u)

/* The registration id in the path; false: already answered. */
HF_MUST_CHECK bool steer_registration(struct call *call, struct hf_bytes *ret);
/* 1 s to 30 days; absent: stays. */
HF_MUST_CHECK int steer_parse_bar_seconds(const json_t *value, const char *field, uint64_t *ret,
					  struct problem *ret_problem);

/* Coordinator.Disconnect of 1..1000 registrations. The callback runs once, later. */
void steer_disconnect(struct center *center, uint32_t app, const struct hf_bytes *registrations,
		      size_t count, uint32_t code, const char *reason,
		      Hf__KickReply_Closure on_reply, void *ctx);
const char *steer_kick_name(Hf__KickResult result); /* "kicked" "not_connected" "failed" */
/* Saver.ReadUsers of 1..1000 users, likewise. */
void steer_read_users(struct center *center, uint32_t app, const struct hf_bytes *user_ids,
		      size_t count, Hf__ReadUsersReply_Closure on_reply, void *ctx);

/* Why a change of one registration did not happen, as a problem; 0 when it did. */
HF_MUST_CHECK int steer_change_problem(const struct change_item *item, struct problem *ret_problem);
/* "none", "updated" or "unknown": was the connected session told? */
const char *steer_session_name(const struct change_item *item);

#endif
