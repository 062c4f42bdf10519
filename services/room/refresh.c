/* An ATTACH of a registration that is attached already: a new user id or new tags become part of
 * its record. Saver keeps it; ATTACH_ACK says that it does. */
#define HF_LOG_MODULE "login"
#include <stdlib.h>

#include "hf_audience.h"
#include "hf_log.h"
#include "room.h"

#define CHANGE_TIMEOUT_MS 5000

struct refresh {
	struct room *room;
	uint64_t epoch;
	hf_handle session, connection;
};

static void finish(const struct refresh *refresh, struct session *session, uint32_t code,
		   const char *reason)
{
	struct room *room = refresh->room;
	struct connection *connection = room_connection(room, session->connection);

	session->flags &= (uint8_t)~SESSION_REFRESHING;
	/* Who came back on another connection asks again there, if he still wants it. */
	if (session->connection == refresh->connection && connection->state == CONNECTION_ACTIVE)
		login_send_attach_ack(room, connection, session->app, code, reason);
}

static void on_changed(const Hf__ChangeRegistrationReply *reply, void *ctx)
{
	static struct hf_log_throttle throttle;
	struct refresh refresh = *(struct refresh *)ctx;
	struct session *session = room_session(refresh.room, refresh.session);
	bool refused = reply == NULL && hf_rpc_last_status() == HF_RPC_INVALID;

	free(ctx);
	if (session == NULL || session->epoch != refresh.epoch)
		return;
	if (reply != NULL && reply->known && reply->record != NULL) {
		if (session_set_record(refresh.room, session, reply->record))
			finish(&refresh, session, 0, "");
		return;
	}
	if (hf_log_throttle_pass(&throttle, 5000))
		HF_WARN("saver change failed", "status=%s reason=%s",
			hf_rpc_status_name(hf_rpc_last_status()), hf_rpc_last_reason());
	if (refused)
		finish(&refresh, session, HF_CLOSE_PROTOCOL_VIOLATION, "refused by the store");
	else
		finish(&refresh, session, HF_CLOSE_OVERLOADED, "the store did not answer");
}

static ProtobufCBinaryData binary(struct hf_bytes bytes)
{
	return (ProtobufCBinaryData){ bytes.len, (uint8_t *)(uintptr_t)bytes.data };
}

/* Does he say what is not known? Nothing said of something: it stays as it is. */
static bool fill(struct room *room, const struct session *session,
		 const struct hf_wire_session *wanted, struct hf_bytes user_id,
		 ProtobufCBinaryData tags[HF_WIRE_TAGS_MAX], Hf__ChangeRegistrationRequest *request)
{
	struct hf_bytes known = session_tags(room, session);

	request->app = session->app;
	request->registration = binary(session_registration(room, session));
	request->set_user_id =
		user_id.len > 0 && !hf_bytes_equal(user_id, session_user_id(room, session));
	request->user_id = binary(user_id);
	for (size_t i = 0; i < wanted->tag_count; i++) {
		tags[i] = binary(wanted->tags[i]);
		request->set_tags |= !hf_tags_have(known, wanted->tags[i]);
	}
	/* As many as are known, and each of them known: the same, unless one was said twice. */
	for (size_t pos = 0, count = 0; pos < known.len && wanted->tag_count > 0;
	     pos += 1u + known.data[pos])
		request->set_tags |= ++count > wanted->tag_count;
	request->tags_add = tags;
	request->n_tags_add = request->set_tags ? wanted->tag_count : 0;
	return request->set_user_id || request->set_tags;
}

/* The load that makes the record has not been answered, and may have to be asked for again: then
 * with what is said now. */
static bool keep_for_load(struct room *room, struct session *session,
			  const struct hf_wire_session *wanted, struct hf_bytes user_id)
{
	if (!(session->flags & SESSION_LOGIN_LOAD))
		return true;
	return (user_id.len == 0 || session_set_user_id(room, session, user_id) == 0) &&
	       (wanted->tag_count == 0 || login_keep_tags(room, session, wanted) == 0);
}

void refresh_begin(struct room *room, struct session *session, const struct hf_wire_session *wanted,
		   struct hf_bytes user_id)
{
	struct connection *connection = room_connection(room, session->connection);
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	ProtobufCBinaryData tags[HF_WIRE_TAGS_MAX];
	struct refresh *refresh;

	if (!fill(room, session, wanted, user_id, tags, &request)) { /* a new token, mostly */
		login_send_attach_ack(room, connection, session->app, 0, "");
		return;
	}
	refresh = malloc(sizeof(*refresh));
	if (refresh == NULL) {
		login_send_attach_ack(room, connection, session->app, HF_CLOSE_OVERLOADED,
				      "out of memory");
		return;
	}
	*refresh = (struct refresh){ room, session->epoch, session->handle, session->connection };
	session->flags |= SESSION_REFRESHING;
	hf__saver__change_registration(hf_peers_call(room->savers,
						     hf_peers_by_slot(room->savers, session->slot),
						     CHANGE_TIMEOUT_MS),
				       &request, on_changed, refresh);
	if (!keep_for_load(room, session, wanted, user_id))
		delivery_out_of_memory(room, session);
}
