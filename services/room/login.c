/* Who a client is: LOGIN, ATTACH and DETACH, from the token to the answer. */
#define HF_LOG_MODULE "login"
#include <errno.h>

#include "hf_audience.h"
#include "hf_log.h"
#include "room.h"

/* Kept from LOGIN to LOGIN_ACK. */
struct login {
	uint64_t started_us;
	bool resumed;
	size_t count;
	struct login_result {
		uint32_t app, code;
		const char *reason; /* static */
	} results[HF_WIRE_SESSIONS_MAX];
};

static const struct {
	uint32_t code;
	const char *reason;
} token_refusals[] = {
	[HF_TOKEN_MALFORMED] = { HF_CLOSE_AUTH_REJECTED, "token malformed" },
	[HF_TOKEN_KEY_UNKNOWN] = { HF_CLOSE_AUTH_REJECTED, "token key unknown" },
	[HF_TOKEN_BAD_SIGNATURE] = { HF_CLOSE_AUTH_REJECTED, "token signature wrong" },
	[HF_TOKEN_EXPIRED] = { HF_CLOSE_TOKEN_EXPIRED, "token expired" },
	[HF_TOKEN_NOT_YET_VALID] = { HF_CLOSE_TOKEN_NOT_YET_VALID, "token not yet valid" },
	[HF_TOKEN_MISMATCH] = { HF_CLOSE_AUTH_REJECTED, "token is for another registration" },
};

static uint32_t refuse(uint32_t code, const char *reason, const char **ret_reason)
{
	*ret_reason = reason;
	return code;
}

/* May this registration attach? 0, or the close code that says why not. The user id is the token's:
 * what the client itself claims counts only where the token names none. */
static uint32_t check(struct room *room, const struct hf_wire_session *wanted,
		      struct hf_token_claims *ret_claims, struct hf_bytes *ret_user_id,
		      const char **ret_reason)
{
	const struct hf_app *app = hf_apps_get(room->apps, wanted->app);
	enum hf_token_result result;

	if (app == NULL)
		return refuse(HF_CLOSE_APP_UNKNOWN, "app unknown", ret_reason);
	if (!app->enabled)
		return refuse(HF_CLOSE_APP_DISABLED, "app disabled", ret_reason);
	result = hf_token_check(wanted->token, app->token_keys, app->token_key_count, wanted->app,
				wanted->registration, hf_loop_wall_ms(room->loop), ret_claims);
	if (result != HF_TOKEN_OK)
		return refuse(token_refusals[result].code, token_refusals[result].reason,
			      ret_reason);
	*ret_user_id = hf_bytes_of_string(ret_claims->user_id);
	if (ret_user_id->len == 0)
		*ret_user_id = wanted->user_id;
	else if (wanted->user_id.len > 0 && !hf_bytes_equal(*ret_user_id, wanted->user_id))
		return refuse(HF_CLOSE_AUTH_REJECTED, "token is for another user", ret_reason);
	*ret_reason = "";
	return 0;
}

/* Counted by code; what smells of guessing also counts against the address. */
static void count_refusal(struct room *room, const struct connection *connection, uint32_t code,
			  const char *reason)
{
	static struct hf_log_throttle throttle;

	++*metrics_of_code(&room->metrics, room->metrics.logins, code);
	if (code != HF_CLOSE_AUTH_REJECTED && code != HF_CLOSE_APP_UNKNOWN)
		return;
	if (ip_login_failed(&room->ips, &room->config->ip_limits, connection->ip,
			    hf_loop_now_ms(room->loop)))
		++*room->metrics.ip_penalties;
	if (hf_log_throttle_pass(&throttle, 10000))
		HF_WARN("login refused", "conn=%u code=%u reason=\"%s\"", connection->handle, code,
			reason);
}

/* Kept until the login load tells saver of them: a record of the registry has tags of its own. */
int login_keep_tags(struct room *room, struct session *session,
		    const struct hf_wire_session *wanted)
{
	ProtobufCBinaryData tags[HF_WIRE_TAGS_MAX];
	uint8_t packed[HF_TAGS_PACKED_MAX];

	for (size_t i = 0; i < wanted->tag_count; i++)
		tags[i] = (ProtobufCBinaryData){ wanted->tags[i].len,
						 (uint8_t *)(uintptr_t)wanted->tags[i].data };
	return session_set_tags(room, session,
				hf_bytes_of(packed, hf_tags_pack(tags, wanted->tag_count, packed)));
}

static bool is_same_registration(const struct room *room, const struct session *session,
				 const struct hf_wire_session *wanted, const char **ret_reason)
{
	*ret_reason = "another registration of this app is attached";
	return hf_bytes_equal(session_registration(room, session), wanted->registration);
}

/* Attach one registration. 0: a session stands, and register was told of it. */
static uint32_t attach(struct room *room, struct connection *connection,
		       const struct hf_wire_session *wanted, uint8_t flags, const char **ret_reason)
{
	struct session *session = session_of_app(room, connection, wanted->app);
	struct hf_token_claims claims;
	struct hf_bytes user_id;
	uint32_t code = check(room, wanted, &claims, &user_id, ret_reason);

	if (code != 0)
		return code;
	if (session != NULL) { /* said twice in one LOGIN */
		if (!is_same_registration(room, session, wanted, ret_reason))
			return HF_CLOSE_PROTOCOL_VIOLATION;
		if (session_set_user_id(room, session, user_id) < 0)
			return refuse(HF_CLOSE_INTERNAL_ERROR, "out of memory", ret_reason);
		return 0;
	}
	if (connection->session_count >= HF_WIRE_SESSIONS_MAX)
		return refuse(HF_CLOSE_PROTOCOL_VIOLATION, "too many apps on this connection",
			      ret_reason);
	session = session_new(room, connection, wanted->app, wanted->registration, user_id);
	if (session == NULL)
		return refuse(HF_CLOSE_OVERLOADED, "out of memory", ret_reason);
	if (login_keep_tags(room, session, wanted) < 0) {
		session_drop(room, session);
		return refuse(HF_CLOSE_OVERLOADED, "out of memory", ret_reason);
	}
	++*room->metrics.logins_ok;
	session->flags |= flags;
	if (index_add(room, session))
		session->flags |= SESSION_JOINING;
	return 0;
}

void login_forget(struct room *room, struct connection *connection)
{
	pool_free(&room->pool, connection->login, sizeof(struct login));
	connection->login = 0;
}

static struct frame *encode_login_ack(struct room *room, const struct connection *connection,
				      const struct login *login)
{
	const struct room_config *config = room->config;
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	uint8_t ticket[TICKET_SIZE];
	struct hf_wire_login_ack ack = {
		.server_time_ms = hf_loop_wall_ms(room->loop),
		.heartbeat_s = connection->heartbeat_s,
		.window = (uint32_t)config->limits.unacked,
		.frame_max = (uint32_t)config->limits.frame_max,
		.node = hf_bytes_of_string(room->service->instance.id),
		.resumed = login->resumed,
		.result_count = login->count,
	};
	ssize_t len;

	if (connection->first_session != 0 && config->linger.time_ms > 0 &&
	    ticket_make(&room->ticket_key, connection->handle, connection->opened, ticket) == 0) {
		ack.linger_s = (uint32_t)(config->linger.time_ms / 1000);
		ack.ticket = hf_bytes_of(ticket, sizeof(ticket));
	}
	for (size_t i = 0; i < login->count; i++)
		ack.results[i] = (struct hf_wire_attach_result){
			.app = login->results[i].app,
			.code = login->results[i].code,
			.reason = hf_bytes_of_string(login->results[i].reason),
		};
	len = hf_wire_encode_login_ack(&ack, wire, sizeof(wire));
	return len > 0 ? frame_new(wire, (size_t)len) : NULL;
}

/* BYE has one code, so that LOGIN_ACK goes before it where there are several to tell. */
static void nobody_attached(struct room *room, struct connection *connection,
			    const struct login *login)
{
	struct login_result first = login->results[0];

	++*room->metrics.rejected[REJECT_LOGIN];
	if (login->count > 1)
		connection_send_control(room, connection,
					encode_login_ack(room, connection, login));
	connection_close(room, connection, first.code, first.reason);
}

/* Once register knows all sessions, or will not in time: answer, and ask what is owed. */
static void finish_if_known(struct room *room, struct connection *connection)
{
	struct login *login = pool_at(&room->pool, connection->login);
	struct session *session = room_session(room, connection->first_session);
	struct frame *ack;
	bool resumed;

	for (; session != NULL; session = room_session(room, session->next_of_connection)) {
		if (session->flags & SESSION_JOINING)
			return;
	}
	if (connection->first_session == 0) {
		nobody_attached(room, connection, login);
		return;
	}

	hf_histogram_record(room->metrics.handshake_register,
			    hf_loop_now_us(room->loop) - login->started_us);
	resumed = login->resumed;
	connection->opened = (uint32_t)(hf_loop_wall_ms(room->loop) / 1000);
	ack = encode_login_ack(room, connection, login);
	login_forget(room, connection);
	connection_set_state(room, connection, CONNECTION_ACTIVE);
	room->logged_in++;
	HF_DEBUG("logged in", "conn=%u sessions=%u heartbeat_s=%u resumed=%d", connection->handle,
		 connection->session_count, connection->heartbeat_s, resumed);
	connection_send_control(room, connection, ack);
	session = room_session(room, connection->first_session);
	while (session != NULL) {
		hf_handle next = session->next_of_connection;

		if (resumed) {
			linger_resend(room, session);
		} else {
			events_session_opened(room, session);
			delivery_login(room, session);
		}
		session = room_session(room, next); /* none, when the client had to be cut */
	}
}

static void reject(struct room *room, struct connection *connection, enum reject_reason counted,
		   uint32_t code, const char *reason)
{
	++*room->metrics.rejected[counted];
	connection_close(room, connection, code, reason);
}

/* True when this LOGIN can be looked at; else the connection is closing. */
static bool is_welcome(struct room *room, struct connection *connection,
		       const struct hf_wire_login *login)
{
	if (login->version != HF_WIRE_VERSION)
		reject(room, connection, REJECT_LOGIN, HF_CLOSE_VERSION_UNSUPPORTED,
		       "protocol version 1 only");
	else if (room_is_draining(room))
		reject(room, connection, REJECT_DRAINING, HF_CLOSE_DRAINING,
		       "this room is being stopped");
	else if (!hf_apps_known(room->apps))
		reject(room, connection, REJECT_LOGIN, HF_CLOSE_OVERLOADED, "starting");
	else
		return true;
	return false;
}

/* With the ticket of a connection that lingers (or whose death only the client has seen), and a
 * good token for each of its sessions, these go on as if nothing had been cut. False: this is an
 * ordinary login. */
static bool resume(struct room *room, struct connection *connection,
		   const struct hf_wire_login *wire)
{
	struct connection *old = linger_find(room, wire);
	struct hf_token_claims claims;
	struct hf_bytes user_id = { 0 };
	const char *reason;

	if (old == NULL)
		return false;
	for (size_t i = 0; i < wire->session_count; i++) {
		const struct session *session = session_of_app(room, old, wire->sessions[i].app);
		enum resume_result result = RESUME_DONE;

		if (check(room, &wire->sessions[i], &claims, &user_id, &reason) != 0)
			result = RESUME_REFUSED;
		else if (user_id.len > 0 &&
			 !hf_bytes_equal(session_user_id(room, session), user_id))
			result = RESUME_CHANGED;
		if (result != RESUME_DONE) {
			++*room->metrics.resumes[result];
			return false;
		}
	}
	linger_take_over(room, connection, old);
	return true;
}

void login_on_login(struct room *room, struct connection *connection, struct hf_bytes body)
{
	struct hf_wire_login wire;
	struct login *login;

	if (hf_wire_decode_login(body, &wire) < 0) {
		reject(room, connection, REJECT_LOGIN, HF_CLOSE_BAD_FRAME, "bad LOGIN");
		return;
	}
	if (!is_welcome(room, connection, &wire))
		return;
	login = pool_alloc(&room->pool, sizeof(*login), &connection->login);
	if (login == NULL || connection_set_profile(room, connection,
						    &(struct profile){ wire.device, wire.platform,
								       wire.sdk_version }) < 0) {
		reject(room, connection, REJECT_LOGIN, HF_CLOSE_OVERLOADED, "out of memory");
		return;
	}

	hf_histogram_record(room->metrics.handshake_auth,
			    ((uint32_t)room_age_ms(room) - connection->opened) * 1000ull);
	connection->network = wire.network;
	connection->heartbeat_s = heartbeat_agree(room, wire.network, wire.heartbeat_s);
	connection_set_state(room, connection, CONNECTION_JOINING);
	*login = (struct login){ .started_us = hf_loop_now_us(room->loop),
				 .resumed = resume(room, connection, &wire),
				 .count = wire.session_count };
	for (size_t i = 0; i < wire.session_count; i++) {
		struct login_result *result = &login->results[i];

		result->app = wire.sessions[i].app;
		result->reason = "";
		if (login->resumed)
			continue;
		result->code = attach(room, connection, &wire.sessions[i], 0, &result->reason);
		if (result->code != 0)
			count_refusal(room, connection, result->code, result->reason);
	}
	finish_if_known(room, connection);
}

void login_send_attach_ack(struct room *room, struct connection *connection, uint32_t app,
			   uint32_t code, const char *reason)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	ssize_t len = hf_wire_encode_attach_ack(
		&(struct hf_wire_attach_result){ app, code, hf_bytes_of_string(reason) }, wire,
		sizeof(wire));

	connection_send_control(room, connection, len > 0 ? frame_new(wire, (size_t)len) : NULL);
}

/* The registration is attached: a new token, user id or tags. */
static void refresh(struct room *room, struct connection *connection, struct session *session,
		    const struct hf_wire_session *wanted)
{
	struct hf_token_claims claims;
	struct hf_bytes user_id;
	const char *reason;
	uint32_t code = check(room, wanted, &claims, &user_id, &reason);

	if (code == 0 && !is_same_registration(room, session, wanted, &reason))
		code = HF_CLOSE_PROTOCOL_VIOLATION;
	if (code == 0) {
		refresh_begin(room, session, wanted, user_id);
		return;
	}
	count_refusal(room, connection, code, reason);
	login_send_attach_ack(room, connection, wanted->app, code, reason);
}

void login_on_attach(struct room *room, struct connection *connection, struct hf_bytes body)
{
	struct hf_wire_session wanted;
	struct session *session;
	const char *reason;
	uint32_t code;

	if (hf_wire_decode_attach(body, &wanted) < 0) {
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad ATTACH");
		return;
	}
	session = session_of_app(room, connection, wanted.app);
	if (session != NULL && session->flags & (SESSION_ATTACHING | SESSION_REFRESHING)) {
		connection_close(room, connection, HF_CLOSE_PROTOCOL_VIOLATION,
				 "ATTACH again before ATTACH_ACK");
		return;
	}
	if (session != NULL) {
		refresh(room, connection, session, &wanted);
		return;
	}
	code = attach(room, connection, &wanted, SESSION_ATTACHING, &reason);
	if (code != 0) {
		count_refusal(room, connection, code, reason);
		login_send_attach_ack(room, connection, wanted.app, code, reason);
		return;
	}
	session = session_of_app(room, connection, wanted.app);
	if (!(session->flags & SESSION_JOINING))
		login_session_known(room, session);
}

void login_on_detach(struct room *room, struct connection *connection, struct hf_bytes body)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	struct hf_wire_detach detach;
	struct session *session;
	ssize_t len;

	if (hf_wire_decode_detach(body, &detach) < 0) {
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad DETACH");
		return;
	}
	session = session_of_app(room, connection, detach.app);
	if (session != NULL) {
		bool attaching = session->flags & (SESSION_ATTACHING | SESSION_REFRESHING);

		events_session_closed(room, session, 0, HF_BYTES_LITERAL("detached"));
		session_drop(room, session);
		if (attaching) /* the answer that it waits for finds nobody: this is the last chance
				*/
			login_send_attach_ack(room, connection, detach.app, 0, "");
	}
	/* Asked twice, or crossed with a kick: what was wanted is so, either way. */
	len = hf_wire_encode_detach(HF_WIRE_DETACH_ACK,
				    &(struct hf_wire_detach){ .app = detach.app }, wire,
				    sizeof(wire));
	connection_send_control(room, connection, len > 0 ? frame_new(wire, (size_t)len) : NULL);
}

void login_session_known(struct room *room, struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);

	session->flags &= (uint8_t)~SESSION_JOINING;
	if (connection->state == CONNECTION_JOINING) {
		finish_if_known(room, connection);
	} else if (session->flags & SESSION_ATTACHING) {
		hf_handle handle = session->handle;

		session->flags &= (uint8_t)~SESSION_ATTACHING;
		login_send_attach_ack(room, connection, session->app, 0, "");
		session = room_session(room, handle); /* gone when the client was cut */
		if (session != NULL) {
			events_session_opened(room, session);
			delivery_login(room, session);
		}
	}
}

void login_session_refused(struct room *room, struct connection *connection, uint32_t app,
			   uint32_t code)
{
	struct login *login = pool_at(&room->pool, connection->login);

	for (size_t i = 0; i < login->count; i++) {
		if (login->results[i].app == app && login->results[i].code == 0) {
			login->results[i].code = code;
			login->results[i].reason = hf_close_name(code);
		}
	}
	finish_if_known(room, connection);
}
