/* services/center/steer.c - see steer.h. */
#include "steer.h"

#include "fields.h"
#include "hf_text.h"

bool steer_registration(struct call *call, struct hf_bytes *ret)
{
	struct problem problem;

	*ret = hf_bytes_of(call->arg, call->arg_len);
	if (hf_text_is_id(call->arg, call->arg_len, HF_REGISTRATION_MAX))
		return true;
	problem_set(&problem, 400, "BAD_VALUE", "registration_id", NULL,
		    "a registration id is text of 1 to %d bytes, without control characters",
		    HF_REGISTRATION_MAX);
	api_fail(call, &problem);
	return false;
}

int steer_parse_bar_seconds(const json_t *value, const char *field, uint64_t *ret,
			    struct problem *ret_problem)
{
	return fields_uint(value, field, 1, STEER_BAR_MAX_S, "BAD_VALUE", ret, ret_problem);
}

/* `names` as protobuf has them, in the arena of calls; NULL out of memory. */
static ProtobufCBinaryData *list_of(struct center *center, const struct hf_bytes *names,
				    size_t count)
{
	ProtobufCBinaryData *list;

	hf_arena_reset(&center->call);
	list = hf_arena_alloc(&center->call, count * sizeof(*list));
	for (size_t i = 0; list != NULL && i < count; i++)
		list[i] =
			(ProtobufCBinaryData){ names[i].len, (uint8_t *)(uintptr_t)names[i].data };
	return list;
}

void steer_disconnect(struct center *center, uint32_t app, const struct hf_bytes *registrations,
		      size_t count, uint32_t code, const char *reason,
		      Hf__KickReply_Closure on_reply, void *ctx)
{
	Hf__KickRequest request = HF__KICK_REQUEST__INIT;
	struct hf_peer *peer = hf_peers_pick(center->coordinators, HF_BALANCE_LEAST_IN_FLIGHT);

	request.app = app;
	request.registrations = list_of(center, registrations, count);
	request.n_registrations = request.registrations != NULL ? count : 0;
	request.code = code;
	request.reason = (char *)(uintptr_t)reason;
	hf__coordinator__disconnect(hf_peers_call(center->coordinators,
						  request.registrations != NULL ? peer : NULL,
						  (uint32_t)center->config->disconnect_ms),
				    &request, on_reply, ctx);
}

void steer_read_users(struct center *center, uint32_t app, const struct hf_bytes *user_ids,
		      size_t count, Hf__ReadUsersReply_Closure on_reply, void *ctx)
{
	Hf__ReadUsersRequest request = HF__READ_USERS_REQUEST__INIT;
	struct hf_peer *peer = hf_peers_pick(center->savers, HF_BALANCE_LEAST_IN_FLIGHT);

	request.app = app;
	request.user_ids = list_of(center, user_ids, count);
	request.n_user_ids = request.user_ids != NULL ? count : 0;
	hf__saver__read_users(hf_peers_call(center->savers, request.user_ids != NULL ? peer : NULL,
					    (uint32_t)center->config->query_ms),
			      &request, on_reply, ctx);
}

const char *steer_kick_name(Hf__KickResult result)
{
	static const char *const names[] = {
		[HF__KICK_RESULT__KICKED] = "kicked",
		[HF__KICK_RESULT__NOT_CONNECTED] = "not_connected",
		[HF__KICK_RESULT__KICK_FAILED] = "failed",
	};

	return (unsigned)result < HF_ARRAY_LEN(names) ? names[result] : "failed";
}

int steer_change_problem(const struct change_item *item, struct problem *ret_problem)
{
	switch ((enum change_outcome)item->outcome) {
	case CHANGE_MADE:
		return 0;
	case CHANGE_UNKNOWN:
		return problem_set(ret_problem, 404, "UNREGISTERED", NULL, NULL,
				   "no client ever attached as this registration");
	case CHANGE_REFUSED:
		return problem_set(ret_problem, 409, item->reason, NULL, NULL,
				   "the registration would have more than it may");
	case CHANGE_OPEN:
	case CHANGE_FAILED:
		break;
	}
	return problem_retry(ret_problem, 503, "STORE_UNAVAILABLE", 1,
			     "the store did not answer; asking again is safe");
}

const char *steer_session_name(const struct change_item *item)
{
	static const char *const names[] = { [CHANGE_NO_SESSION] = "none",
					     [CHANGE_SESSION_TOLD] = "updated",
					     [CHANGE_SESSION_UNTOLD] = "unknown" };

	return names[item->session];
}
