/* services/center/disconnect.c - POST .../connections/disconnect: connections are ended, and their
 * registrations perhaps kept away for a while.
 *
 * By registration or by user: who is meant -> who of them is kept -> the bar, if there is one ->
 * Coordinator.Disconnect. The bar is set first: a client that comes back at once meets it. By
 * connection: Room.Kick of exactly these sessions. */
#include <errno.h>
#include <stdlib.h>

#include "ask.h"
#include "change.h"
#include "connection_id.h"
#include "fields.h"
#include "hf_rpc.h"
#include "hf_wire.h"
#include "ids.h"
#include "lookup.h"
#include "steer.h"

#define KEEP_MAX 1000

enum by { BY_REGISTRATION, BY_USER, BY_CONNECTION };

struct item {
	struct hf_bytes name; /* registration or connection id; into `names` */
	struct connection_id connection;
	const char *result; /* NULL: not decided yet */
	bool barred;
};

struct disconnect {
	struct ask ask; /* first */
	enum by by;
	uint32_t code;
	char reason[HF_WIRE_REASON_MAX + 1];
	uint64_t bar_s;
	size_t keep_count, count;
	struct connection_id *keep;
	struct item *items;
	uint8_t *names;
	size_t *open_items; /* of the call under way: which items it is about */
	size_t open_count, calls;
};

static void disconnect_free(struct disconnect *disconnect)
{
	free(disconnect->keep);
	free(disconnect->items);
	free(disconnect->names);
	free(disconnect->open_items);
	free(disconnect);
}

static void end_no_memory(struct disconnect *disconnect)
{
	ask_unavailable(&disconnect->ask, "OVERLOADED", "out of memory");
	disconnect_free(disconnect);
}

static void answer(struct disconnect *disconnect)
{
	json_t *results = json_array();
	int kicked = 0;

	for (size_t i = 0; i < disconnect->count; i++) {
		const struct item *item = &disconnect->items[i];
		const char *result = item->result != NULL ? item->result : "failed";
		json_t *word = json_pack("{s:s%, s:s}",
					 disconnect->by == BY_CONNECTION ? "connection_id"
									 : "registration_id",
					 item->name.data, item->name.len, "result", result);

		kicked += strcmp(result, "kicked") == 0;
		if (disconnect->bar_s > 0)
			json_object_set_new(word, "barred", json_boolean(item->barred));
		json_array_append_new(results, word);
	}
	ask_answer(&disconnect->ask, json_pack("{s:i, s:o}", "kicked", kicked, "results", results));
	disconnect_free(disconnect);
}

/* Who is meant: copies of `names`. 0 or -ENOMEM. */
static int set_items(struct disconnect *disconnect, const struct hf_bytes *names, size_t count)
{
	size_t size = 0;
	uint8_t *copy;

	for (size_t i = 0; i < count; i++)
		size += names[i].len;
	disconnect->items = calloc(count > 0 ? count : 1, sizeof(disconnect->items[0]));
	disconnect->open_items = calloc(count > 0 ? count : 1, sizeof(disconnect->open_items[0]));
	disconnect->names = copy = malloc(size > 0 ? size : 1);
	if (disconnect->items == NULL || disconnect->open_items == NULL || copy == NULL)
		return -ENOMEM;
	disconnect->count = count;
	for (size_t i = 0; i < count; i++) {
		memcpy(copy, names[i].data, names[i].len);
		disconnect->items[i].name = hf_bytes_of(copy, names[i].len);
		copy += names[i].len;
	}
	return 0;
}

static bool is_kept(const struct disconnect *disconnect, const struct connection_id *id)
{
	for (size_t i = 0; i < disconnect->keep_count; i++)
		if (connection_id_equal(&disconnect->keep[i], id))
			return true;
	return false;
}

/* The names of those that nothing was decided about yet; ret has room for all. */
static size_t undecided(struct disconnect *disconnect, struct hf_bytes *ret)
{
	disconnect->open_count = 0;
	for (size_t i = 0; i < disconnect->count; i++) {
		if (disconnect->items[i].result != NULL)
			continue;
		ret[disconnect->open_count] = disconnect->items[i].name;
		disconnect->open_items[disconnect->open_count++] = i;
	}
	return disconnect->open_count;
}

/* ---- by registration: kick ---- */

static void on_kicked(const Hf__KickReply *reply, void *ctx)
{
	struct disconnect *disconnect = ctx;

	if (reply == NULL || reply->n_results != disconnect->open_count) {
		ask_unavailable(&disconnect->ask, "COORDINATOR_UNAVAILABLE",
				"no coordinator answered; asking again is safe");
		disconnect_free(disconnect);
		return;
	}
	for (size_t i = 0; i < reply->n_results; i++)
		disconnect->items[disconnect->open_items[i]].result =
			steer_kick_name(reply->results[i]);
	answer(disconnect);
}

static void kick(struct disconnect *disconnect)
{
	struct hf_bytes names[REQUEST_TARGETS_MAX];
	size_t count = undecided(disconnect, names);

	if (count == 0 || !ask_goes_on(&disconnect->ask))
		answer(disconnect);
	else
		steer_disconnect(disconnect->ask.center, disconnect->ask.app, names, count,
				 disconnect->code, disconnect->reason, on_kicked, disconnect);
}

/* ---- the bar ---- */

static void on_barred(struct change *change, void *ctx)
{
	struct disconnect *disconnect = ctx;

	for (size_t i = 0; i < change->count; i++) {
		struct item *item = &disconnect->items[disconnect->open_items[i]];

		item->barred = change->items[i].outcome == CHANGE_MADE;
		if (change->items[i].session == CHANGE_SESSION_TOLD)
			item->result = "kicked"; /* by the room itself, as it heard of the bar */
	}
	kick(disconnect);
}

static void bar(struct disconnect *disconnect)
{
	struct center *center = disconnect->ask.center;
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	struct hf_bytes names[REQUEST_TARGETS_MAX];
	size_t count = undecided(disconnect, names);

	if (disconnect->bar_s == 0 || count == 0 || !ask_goes_on(&disconnect->ask)) {
		kick(disconnect);
		return;
	}
	request.app = disconnect->ask.app;
	request.set_bar = true;
	request.barred_until_ms = hf_loop_wall_ms(center->loop) + disconnect->bar_s * 1000;
	request.bar_reason =
		(ProtobufCBinaryData){ strlen(disconnect->reason), (uint8_t *)disconnect->reason };
	if (change_start(center, &request, names, count, on_barred, disconnect) < 0)
		end_no_memory(disconnect);
}

/* ---- those to keep ---- */

static void on_found(struct lookup *lookup, void *ctx)
{
	struct disconnect *disconnect = ctx;

	for (size_t i = 0; i < lookup->count; i++) {
		const struct lookup_item *found = &lookup->items[i];
		const struct connection_id id = { found->room, found->session, found->epoch };

		if (found->presence == HF__PRESENCE__NOT_YET_KNOWN)
			disconnect->items[i].result = "failed"; /* it may be one to keep */
		else if (found->presence == HF__PRESENCE__ONLINE && is_kept(disconnect, &id))
			disconnect->items[i].result = "kept";
	}
	bar(disconnect);
}

static void keep(struct disconnect *disconnect)
{
	struct hf_bytes names[REQUEST_TARGETS_MAX];
	size_t count = undecided(disconnect, names);

	if (disconnect->keep_count == 0 || count == 0 || !ask_goes_on(&disconnect->ask))
		bar(disconnect);
	else if (lookup_start(disconnect->ask.center, disconnect->ask.app, names, count, on_found,
			      disconnect) < 0)
		end_no_memory(disconnect);
}

/* ---- by user ---- */

static void on_users(const Hf__ReadUsersReply *reply, void *ctx)
{
	struct disconnect *disconnect = ctx;
	struct hf_bytes names[REQUEST_TARGETS_MAX];
	struct problem problem;
	size_t count = 0;

	if (reply == NULL) {
		ask_no_store(&disconnect->ask);
		disconnect_free(disconnect);
		return;
	}
	for (size_t i = 0; i < reply->n_users; i++) {
		const Hf__UserRegistrations *user = reply->users[i];

		for (size_t j = 0; j < user->n_registrations; j++) {
			if (count == REQUEST_TARGETS_MAX) {
				problem_set(&problem, 400, "TOO_MANY_TARGETS", "user_id", NULL,
					    "these users have more than %d registrations: name "
					    "fewer of them",
					    REQUEST_TARGETS_MAX);
				ask_fail(&disconnect->ask, &problem);
				disconnect_free(disconnect);
				return;
			}
			names[count++] = hf_bytes_of(user->registrations[j].data,
						     user->registrations[j].len);
		}
	}
	if (set_items(disconnect, names, count) < 0)
		end_no_memory(disconnect);
	else
		keep(disconnect);
}

/* ---- by connection ---- */

struct room_call {
	struct disconnect *disconnect;
	size_t count;
	size_t items[];
};

static void one_less(struct disconnect *disconnect)
{
	if (--disconnect->calls == 0)
		answer(disconnect);
}

static void on_room_kicked(const Hf__RoomKickReply *reply, void *ctx)
{
	struct room_call *call = ctx;
	struct disconnect *disconnect = call->disconnect;

	for (size_t i = 0; i < call->count; i++)
		disconnect->items[call->items[i]].result =
			reply == NULL || reply->n_kicked != call->count ? "failed"
			: reply->kicked[i]                              ? "kicked"
									: "not_connected";
	free(call);
	one_less(disconnect);
}

/* One call for all connections of the room of item `first`. */
static void kick_in_room(struct disconnect *disconnect, size_t first)
{
	struct center *center = disconnect->ask.center;
	uint32_t sessions[REQUEST_TARGETS_MAX], number = disconnect->items[first].connection.room;
	uint64_t epochs[REQUEST_TARGETS_MAX];
	struct hf_peer *room = hf_peers_by_number(center->rooms, number);
	Hf__RoomKickRequest request = HF__ROOM_KICK_REQUEST__INIT;
	struct room_call *call =
		malloc(sizeof(*call) + (disconnect->count - first) * sizeof(call->items[0]));
	size_t count = 0;

	for (size_t i = first; i < disconnect->count; i++) {
		struct item *item = &disconnect->items[i];

		if (item->result != NULL || item->connection.room != number)
			continue;
		/* A room that is gone has no connections. */
		item->result = room == NULL ? "not_connected" : "failed";
		sessions[count] = item->connection.session;
		epochs[count] = item->connection.epoch;
		if (call != NULL)
			call->items[count] = i;
		count++;
	}
	if (room == NULL || call == NULL) {
		free(call);
		return;
	}
	call->disconnect = disconnect;
	call->count = count;
	request.app = disconnect->ask.app;
	request.n_sessions = request.n_epochs = count;
	request.sessions = sessions;
	request.epochs = epochs;
	request.code = disconnect->code;
	request.reason = disconnect->reason;
	disconnect->calls++;
	hf__room__kick(hf_peers_call(center->rooms, room, (uint32_t)center->config->disconnect_ms),
		       &request, on_room_kicked, call);
}

static void kick_connections(struct disconnect *disconnect)
{
	disconnect->calls = 1; /* held while the calls are made */
	for (size_t i = 0; i < disconnect->count; i++)
		if (is_kept(disconnect, &disconnect->items[i].connection))
			disconnect->items[i].result = "kept";
	for (size_t i = 0; i < disconnect->count; i++)
		if (disconnect->items[i].result == NULL)
			kick_in_room(disconnect, i);
	one_less(disconnect);
}

/* ---- the request ---- */

struct asked {
	enum by by;
	struct hf_bytes ids[REQUEST_TARGETS_MAX], keep[KEEP_MAX];
	size_t count, keep_count;
	uint64_t code, bar_s;
	const char *reason;
};

static int parse_who(const json_t *body, struct asked *ret, struct problem *ret_problem)
{
	static const struct {
		const char *field;
		struct ids_kind kind;
	} ways[] = {
		[BY_REGISTRATION] = { "registration_id",
				      { "a registration id", HF_REGISTRATION_MAX,
					REQUEST_TARGETS_MAX } },
		[BY_USER] = { "user_id", { "a user id", HF_USER_ID_MAX, REQUEST_TARGETS_MAX } },
		[BY_CONNECTION] = { "connection_id",
				    { "a connection id", CONNECTION_ID_SIZE,
				      REQUEST_TARGETS_MAX } },
	};
	int found = -1;

	for (int i = 0; i < (int)HF_ARRAY_LEN(ways); i++) {
		const json_t *value = json_object_get(body, ways[i].field);

		if (value == NULL || json_is_null(value))
			continue;
		if (found >= 0)
			return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", ways[i].field,
					   NULL, "name connections by %s or by %s, not by both",
					   ways[found].field, ways[i].field);
		found = i;
		if (json_is_array(value) && json_array_size(value) == 0)
			return problem_set(ret_problem, 400, "BAD_VALUE", ways[i].field, NULL,
					   "%s must not be empty", ways[i].field);
		if (ids_parse_any(value, ways[i].field, &ways[i].kind, ret->ids, &ret->count,
				  ret_problem) < 0)
			return -EINVAL;
	}
	if (found < 0)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "registration_id", NULL,
				   "registration_id, user_id or connection_id is required");
	ret->by = (enum by)found;
	return 0;
}

static int parse_how(const json_t *body, struct asked *ret, struct problem *ret_problem)
{
	static const struct ids_kind connection = { "a connection id", CONNECTION_ID_SIZE,
						    KEEP_MAX };
	int err = steer_parse_bar_seconds(json_object_get(body, "bar_s"), "bar_s", &ret->bar_s,
					  ret_problem);

	if (err == 0 && ret->bar_s > 0 && ret->by == BY_CONNECTION)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "bar_s", NULL,
				   "a bar is for registrations: name them, or their users");
	if (err == 0 && ret->bar_s > 0 && json_object_get(body, "code") != NULL)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "code", NULL,
				   "who is barred is always told %d", HF_CLOSE_BANNED);
	ret->code = ret->bar_s > 0 ? HF_CLOSE_BANNED : HF_CLOSE_KICKED;
	if (err == 0)
		err = fields_uint(json_object_get(body, "code"), "code", 4000, 4399, "BAD_VALUE",
				  &ret->code, ret_problem);
	if (err == 0 && !hf_close_is_known((unsigned)ret->code))
		return problem_set(ret_problem, 400, "BAD_VALUE", "code", NULL,
				   "%u is no close code", (unsigned)ret->code);
	ret->reason = "";
	if (err == 0)
		err = fields_text(json_object_get(body, "reason"), "reason", 0, HF_WIRE_REASON_MAX,
				  &ret->reason, ret_problem);
	if (err == 0)
		err = ids_parse_any(json_object_get(body, "keep"), "keep", &connection, ret->keep,
				    &ret->keep_count, ret_problem);
	return err;
}

static int parse_connections(const struct hf_bytes *names, size_t count, const char *field,
			     struct connection_id *ret, struct problem *ret_problem)
{
	for (size_t i = 0; i < count; i++)
		if (connection_id_parse((const char *)names[i].data, &ret[i]) < 0)
			return problem_set(ret_problem, 400, "BAD_VALUE", field,
					   (const char *)names[i].data,
					   "a connection id is what the list of connections says");
	return 0;
}

/* Takes what the request says into `disconnect`. 0, or -EINVAL with the problem. */
static int prepare(struct disconnect *disconnect, const struct asked *asked,
		   struct problem *ret_problem)
{
	struct connection_id ids[REQUEST_TARGETS_MAX];
	int err = 0;

	disconnect->by = asked->by;
	disconnect->code = (uint32_t)asked->code;
	disconnect->bar_s = asked->bar_s;
	memcpy(disconnect->reason, asked->reason, strlen(asked->reason) + 1);
	disconnect->keep = calloc(asked->keep_count + 1, sizeof(disconnect->keep[0]));
	if (disconnect->keep != NULL)
		err = parse_connections(asked->keep, asked->keep_count, "keep", disconnect->keep,
					ret_problem);
	disconnect->keep_count = asked->keep_count;
	if (err == 0 && asked->by == BY_CONNECTION)
		err = parse_connections(asked->ids, asked->count, "connection_id", ids,
					ret_problem);
	if (err < 0)
		return err;
	if (disconnect->keep == NULL ||
	    (asked->by != BY_USER && set_items(disconnect, asked->ids, asked->count) < 0))
		return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
	for (size_t i = 0; asked->by == BY_CONNECTION && i < asked->count; i++)
		disconnect->items[i].connection = ids[i];
	return 0;
}

static void begin(struct disconnect *disconnect, const struct asked *asked)
{
	switch (asked->by) {
	case BY_REGISTRATION:
		keep(disconnect);
		break;
	case BY_USER:
		steer_read_users(disconnect->ask.center, disconnect->ask.app, asked->ids,
				 asked->count, on_users, disconnect);
		break;
	case BY_CONNECTION:
		kick_connections(disconnect);
		break;
	}
}

void api_disconnect(struct call *call)
{
	static const char *const known[] = { "registration_id", "user_id", "connection_id", "code",
					     "reason",          "keep",    "bar_s",         NULL };
	struct asked *asked = calloc(1, sizeof(*asked));
	struct disconnect *disconnect = NULL;
	struct problem problem;
	json_t *body = api_body(call);
	int err = -EINVAL;

	if (body != NULL && asked == NULL)
		err = problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
	else if (body != NULL)
		err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = parse_who(body, asked, &problem);
	if (err == 0)
		err = parse_how(body, asked, &problem);
	if (body != NULL && err < 0)
		api_fail(call, &problem);
	if (err == 0)
		disconnect = ask_new(call, sizeof(*disconnect));
	if (disconnect != NULL && prepare(disconnect, asked, &problem) < 0) {
		ask_fail(&disconnect->ask, &problem);
		disconnect_free(disconnect);
	} else if (disconnect != NULL) {
		begin(disconnect, asked);
	}
	free(asked);
	json_decref(body);
}
