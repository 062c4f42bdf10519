/* Telling rooms to end sessions: losers of a takeover, gathered per turn, and those that a Kick
 * names. */
#define HF_LOG_MODULE "register"
#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "register.h"
#include "room.pb-c.h"

#define CODE_REPLACED 4006
#define REPLACED_CAPACITY \
	65536 /* most takeovers that wait to be told; a room's next Sync finds the rest */

/* Losers of takeovers as one room is told of them. */
struct replaced_part {
	struct register_state *state;
	size_t count;
	struct kick_target targets[];
};

/* One Kick as it waits for its rooms. */
struct kick_call {
	struct register_state *state;
	Hf__KickReply_Closure closure;
	void *call;
	size_t count;
	uint32_t rooms_waiting;
	Hf__KickResult results[KICK_MAX];
};

/* The part of it that one room answers. */
struct kick_part {
	struct kick_call *kick;
	size_t count;
	uint32_t results[]; /* indexes into kick->results */
};

static int by_room(const void *a, const void *b)
{
	uint32_t left = hf_id_node(((const struct kick_target *)a)->epoch);
	uint32_t right = hf_id_node(((const struct kick_target *)b)->epoch);

	return (left > right) - (left < right);
}

/* One Room.Kick for targets that all are in one room. */
static void room_kick(struct register_state *state, const struct kick_target *targets, size_t count,
		      uint32_t code, char *reason, Hf__RoomKickReply_Closure closure, void *ctx)
{
	struct hf_peer *peer = hf_peers_by_number(state->rooms, hf_id_node(targets[0].epoch));
	Hf__RoomKickRequest request = HF__ROOM_KICK_REQUEST__INIT;
	uint32_t sessions[KICK_MAX];
	uint64_t epochs[KICK_MAX];

	for (size_t i = 0; i < count; i++) {
		sessions[i] = targets[i].session;
		epochs[i] = targets[i].epoch;
	}
	request.n_sessions = request.n_epochs = count;
	request.sessions = sessions;
	request.epochs = epochs;
	request.code = code;
	request.reason = reason;
	hf__room__kick(hf_peers_call(state->rooms, peer, (uint32_t)state->config->kick_timeout_ms),
		       &request, closure, ctx);
}

/* How many targets from the front are in the same room as the first, KICK_MAX at most. */
static size_t same_room(const struct kick_target *targets, size_t count)
{
	size_t n = 1;

	while (n < count && n < KICK_MAX && by_room(&targets[0], &targets[n]) == 0)
		n++;
	return n;
}

/* Room for one more, or false. */
static bool replaced_reserve(struct register_state *state)
{
	size_t capacity = HF_MAX(state->replaced_capacity * 2, (size_t)64);
	struct kick_target *more;

	if (state->replaced_count < state->replaced_capacity)
		return true;
	more = capacity > REPLACED_CAPACITY ? NULL
					    : realloc(state->replaced, capacity * sizeof(*more));
	if (more == NULL)
		return false;
	state->replaced = more;
	state->replaced_capacity = capacity;
	return true;
}

/* Could it help to say it again? Room.Kick names sessions by epoch: twice is as good as once. */
static bool may_be_told_again(enum hf_rpc_status status)
{
	return hf_rpc_status_is_safe_to_retry(status) || status == HF_RPC_DEADLINE ||
	       status == HF_RPC_LOST;
}

/* A room that was not reached is told again at the next tick, for as long as it lives: it has no
 * other way to learn that its session lost. */
static void on_replaced_told(const Hf__RoomKickReply *reply, void *ctx)
{
	struct replaced_part *part = ctx;
	struct register_state *state = part->state;
	bool again = reply == NULL && may_be_told_again(hf_rpc_last_status());

	if (reply == NULL)
		++*state->metrics.kicks_failed;
	for (size_t i = 0; reply != NULL && i < part->count && i < reply->n_kicked; i++) {
		if (reply->kicked[i]) /* there was a client to be told: that is a fight */
			takeovers_note(&state->takeovers, part->targets[i].hash,
				       hf_loop_now_ms(state->service->loop),
				       state->config->takeovers_limit, state->config->takeovers_ms);
	}
	for (size_t i = 0; again && i < part->count; i++) {
		if (session_is_live(state, part->targets[i].epoch) && replaced_reserve(state))
			state->replaced[state->replaced_count++] = part->targets[i];
	}
	free(part);
}

static void on_replaced_task(void *ctx)
{
	static char reason[] = "another login took over";
	struct register_state *state = ctx;
	struct kick_target *targets = state->replaced;
	size_t done = 0, count = state->replaced_count;

	state->replaced = NULL; /* what can't be told comes into a new list */
	state->replaced_count = state->replaced_capacity = 0;
	qsort(targets, count, sizeof(*targets), by_room);
	while (done < count) {
		size_t n = same_room(targets + done, count - done);
		size_t size = n * sizeof(*targets);
		struct replaced_part *part = malloc(sizeof(*part) + size);

		if (part == NULL) {
			++*state->metrics.kicks_failed;
			break;
		}
		part->state = state;
		part->count = n;
		memcpy(part->targets, targets + done, size);
		room_kick(state, part->targets, n, CODE_REPLACED, reason, on_replaced_told, part);
		done += n;
	}
	free(targets);
}

void kick_replaced(struct register_state *state, uint64_t hash, const struct slot_session *session)
{
	if (!replaced_reserve(state)) {
		++*state->metrics.kicks_failed;
		return;
	}
	state->replaced[state->replaced_count++] = (struct kick_target){
		.epoch = session->epoch, .hash = hash, .session = session->session
	};
	++*state->metrics.kicks_replaced;
	hf_task_schedule(state->service->loop, &state->replaced_task);
}

void kick_tick(struct register_state *state)
{
	if (state->replaced_count > 0)
		hf_task_schedule(state->service->loop, &state->replaced_task);
}

void kick_init(struct register_state *state)
{
	hf_task_init(&state->replaced_task, on_replaced_task, state);
}

void kick_deinit(struct register_state *state)
{
	hf_task_cancel(state->service->loop, &state->replaced_task);
	free(state->replaced);
	state->replaced = NULL;
}

static void kick_answer(struct kick_call *kick)
{
	Hf__KickReply reply = HF__KICK_REPLY__INIT;

	reply.n_results = kick->count;
	reply.results = kick->results;
	kick->closure(&reply, kick->call);
	free(kick);
}

static void on_room_kicked(const Hf__RoomKickReply *reply, void *ctx)
{
	struct kick_part *part = ctx;
	struct kick_call *kick = part->kick;

	if (reply == NULL || reply->n_kicked != part->count) {
		/* The results stay at "failed". */
		++*kick->state->metrics.kicks_failed;
		HF_WARN("kick failed", "status=%s sessions=%zu",
			hf_rpc_status_name(hf_rpc_last_status()), part->count);
	} else {
		for (size_t i = 0; i < part->count; i++)
			kick->results[part->results[i]] = reply->kicked[i]
								  ? HF__KICK_RESULT__KICKED
								  : HF__KICK_RESULT__NOT_CONNECTED;
	}
	free(part);
	if (--kick->rooms_waiting == 0)
		kick_answer(kick);
}

/* Find each registration; fills `targets` with those online and the results of the others. */
static size_t kick_find(struct kick_call *kick, const Hf__KickRequest *request,
			struct kick_target *targets)
{
	size_t found = 0;

	for (size_t i = 0; i < kick->count; i++) {
		struct hf_bytes registration =
			hf_bytes_of(request->registrations[i].data, request->registrations[i].len);
		struct slot_session session;

		kick->results[i] = HF__KICK_RESULT__NOT_CONNECTED;
		if (registration.len < 1 || registration.len > HF_REGISTRATION_MAX)
			continue;
		switch (session_find(kick->state, request->app, registration, &session)) {
		case HF__PRESENCE__ONLINE:
			kick->results[i] =
				HF__KICK_RESULT__KICK_FAILED; /* until its room answers */
			targets[found++] = (struct kick_target){ .epoch = session.epoch,
								 .session = session.session,
								 .result = (uint32_t)i };
			hf_why_note_name(&kick->state->service->why, HF_WHY_SESSION_KICKED,
					 request->app, registration.data, registration.len, 0,
					 hf_id_node(session.epoch));
			break;
		case HF__PRESENCE__OFFLINE:
			break;
		default:
			kick->results[i] = HF__KICK_RESULT__KICK_FAILED;
			break;
		}
	}
	return found;
}

void on_kick(Hf__Register_Service *rpc, const Hf__KickRequest *request,
	     Hf__KickReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);
	struct kick_target targets[KICK_MAX];
	struct kick_call *kick;
	size_t found, done = 0;

	if (request->n_registrations == 0 || request->n_registrations > KICK_MAX ||
	    strlen(request->reason) > KICK_REASON_MAX || request->code < 4000 ||
	    request->code > 4399) {
		++*state->metrics.bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_KICK");
		return;
	}
	kick = calloc(1, sizeof(*kick));
	if (kick == NULL) {
		hf_rpc_fail(call, HF_RPC_INTERNAL, "OUT_OF_MEMORY");
		return;
	}
	*kick = (struct kick_call){ .state = state,
				    .closure = closure,
				    .call = call,
				    .count = request->n_registrations,
				    .rooms_waiting = 1 };
	found = kick_find(kick, request, targets);
	*state->metrics.kicks_asked += found;
	qsort(targets, found, sizeof(targets[0]), by_room);
	while (done < found) {
		size_t n = same_room(targets + done, found - done);
		struct kick_part *part = malloc(sizeof(*part) + n * sizeof(part->results[0]));

		if (part == NULL)
			break; /* what is left stays "failed" */
		part->kick = kick;
		part->count = n;
		for (size_t i = 0; i < n; i++)
			part->results[i] = targets[done + i].result;
		kick->rooms_waiting++;
		room_kick(state, targets + done, n, request->code, request->reason, on_room_kicked,
			  part);
		done += n;
	}
	if (--kick->rooms_waiting == 0)
		kick_answer(kick);
}
