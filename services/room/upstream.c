/* Messages of clients to their businesses: to the coordinator that owns the registration's slot,
 * which keeps their order, and the outcome back. The answer of the business comes with the outcome,
 * and is written before it, so that UPSTREAM_ACK always says all there is to say.
 *
 * Until the login load is answered nobody knows whether the registration is barred. What a client
 * sends so early is held, within limits.partial_frames, and goes on, in order, with that answer. */
#define HF_LOG_MODULE "upstream"
#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "hf_log.h"
#include "room.h"

/* One message under way. */
struct upstream {
	struct room *room;
	hf_handle connection, session;
	uint64_t epoch;
	uint32_t app, sequence;
};

/* Frames of one session that wait for its login load. */
struct upstream_held {
	struct hf_table_node node;
	hf_handle session, connection;
	struct held_frame {
		struct held_frame *next;
		uint32_t len;
		uint8_t body[];
	} * frames, **last;
};

static void send_ack(struct room *room, struct connection *connection, uint32_t app,
		     uint32_t sequence, uint32_t code, const char *reason)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	struct hf_bytes text = hf_bytes_of_string(reason);
	ssize_t len;

	text.len = HF_MIN(text.len, (size_t)HF_WIRE_REASON_MAX);
	len = hf_wire_encode_upstream_ack(&(struct hf_wire_upstream_ack){ .app = app,
									  .sequence = sequence,
									  .code = code,
									  .reason = text },
					  wire, sizeof(wire));
	connection_send_control(room, connection, len > 0 ? frame_new(wire, (size_t)len) : NULL);
}

/* The answer of the business, as it will be read. False: the client can't take it and is cut. */
static bool send_answer(struct room *room, struct connection *connection,
			const ProtobufCBinaryData *wire)
{
	struct frame *frame;
	bool sent;

	if (wire->len < 2 || wire->data[0] != HF_WIRE_PUSH << 3)
		return true;
	frame = frame_new(wire->data, wire->len);
	sent = frame != NULL && delivery_write(room, connection, frame);
	frame_unref(frame);
	return sent;
}

static void tell(const struct upstream *upstream, struct connection *connection,
		 const Hf__UpstreamReply *reply)
{
	static struct hf_log_throttle throttle;
	struct room *room = upstream->room;
	enum hf_rpc_status status = hf_rpc_last_status();

	if (reply != NULL) {
		++*room->metrics.upstream[reply->code == 0 ? UPSTREAM_ACCEPTED : UPSTREAM_REFUSED];
		if (send_answer(room, connection, &reply->frame))
			send_ack(room, connection, upstream->app, upstream->sequence, reply->code,
				 reply->reason);
		return;
	}
	++*room->metrics.upstream[UPSTREAM_UNAVAILABLE];
	if (hf_log_throttle_pass(&throttle, 5000))
		HF_WARN("coordinator did not answer", "status=%s reason=%s",
			hf_rpc_status_name(status), hf_rpc_last_reason());
	if (hf_rpc_status_is_safe_to_retry(status))
		send_ack(room, connection, upstream->app, upstream->sequence, HF_CLOSE_OVERLOADED,
			 "not sent");
	else
		send_ack(room, connection, upstream->app, upstream->sequence, HF_UPSTREAM_TIMEOUT,
			 "no answer in time");
}

static void on_outcome(const Hf__UpstreamReply *reply, void *ctx)
{
	struct upstream *upstream = ctx;
	struct room *room = upstream->room;
	struct connection *connection = room_connection(room, upstream->connection);
	const struct session *session = room_session(room, upstream->session);

	if (connection != NULL)
		connection->upstream--;
	/* An answer is for the registration that asked, not for who holds the app by now. */
	if (connection == NULL || connection->state != CONNECTION_ACTIVE || session == NULL ||
	    session->epoch != upstream->epoch)
		++*room->metrics.upstream[UPSTREAM_GONE];
	else
		tell(upstream, connection, reply);
	free(upstream);
}

static void call_coordinator(struct room *room, struct connection *connection,
			     const struct session *session, const struct hf_wire_upstream *wire)
{
	struct hf_bytes registration = session_registration(room, session);
	struct hf_bytes user_id = session_user_id(room, session);
	struct upstream *upstream = malloc(sizeof(*upstream));
	Hf__UpstreamRequest request = HF__UPSTREAM_REQUEST__INIT;
	char forward_type[HF_WIRE_LABEL_MAX + 1];

	if (upstream == NULL) {
		connection_close(room, connection, HF_CLOSE_OVERLOADED, "out of memory");
		return;
	}
	*upstream = (struct upstream){ .room = room,
				       .connection = connection->handle,
				       .session = session->handle,
				       .epoch = session->epoch,
				       .app = wire->app,
				       .sequence = wire->sequence };
	memcpy(forward_type, wire->forward_type.data, wire->forward_type.len);
	forward_type[wire->forward_type.len] = '\0';
	request.app = wire->app;
	request.registration =
		(ProtobufCBinaryData){ registration.len, (uint8_t *)(uintptr_t)registration.data };
	request.user_id = (ProtobufCBinaryData){ user_id.len, (uint8_t *)(uintptr_t)user_id.data };
	request.forward_type = forward_type;
	request.sequence = wire->sequence;
	request.payload = (ProtobufCBinaryData){ wire->payload.len,
						 (uint8_t *)(uintptr_t)wire->payload.data };
	connection->upstream++;
	hf__coordinator__upstream(hf_peers_call(room->coordinators,
						hf_peers_by_slot(room->coordinators, session->slot),
						(uint32_t)room->config->limits.upstream_timeout_ms),
				  &request, on_outcome, upstream);
}

static struct upstream_held *find_held(const struct room *room, const struct session *session)
{
	struct hf_table_node *node =
		room->upstream_held.count == 0
			? NULL
			: hf_table_find(&room->upstream_held, hf_hash_u64(session->handle));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct upstream_held *held = HF_CONTAINER_OF(node, struct upstream_held, node);

		if (held->session == session->handle)
			return held;
	}
	return NULL;
}

/* False: there is no room for it. */
static bool hold(struct room *room, struct connection *connection, const struct session *session,
		 struct hf_bytes body)
{
	struct upstream_held *held = find_held(room, session);
	struct held_frame *frame;

	if (room->partial_bytes + body.len > room->config->limits.partial_frames ||
	    (held != NULL && held->connection != connection->handle))
		return false;
	frame = malloc(sizeof(*frame) + body.len);
	if (frame != NULL && held == NULL) {
		held = calloc(1, sizeof(*held));
		if (held != NULL) {
			held->session = session->handle;
			held->connection = connection->handle;
			held->last = &held->frames;
			hf_table_insert(&room->upstream_held, &held->node,
					hf_hash_u64(session->handle));
		}
	}
	if (frame == NULL || held == NULL) {
		free(frame);
		return false;
	}
	frame->next = NULL;
	frame->len = (uint32_t)body.len;
	memcpy(frame->body, body.data, body.len);
	*held->last = frame;
	held->last = &frame->next;
	room->partial_bytes += body.len;
	connection->upstream++;
	return true;
}

/* The frames that are held, now the caller's; NULL: none. They count on the connection that they
 * came by no more, though it may not be the session's by now. */
static struct held_frame *take_held(struct room *room, const struct session *session)
{
	struct upstream_held *held = find_held(room, session);
	struct connection *connection;
	struct held_frame *frames;

	if (held == NULL)
		return NULL;
	frames = held->frames;
	connection = room_connection(room, held->connection);
	for (const struct held_frame *frame = frames; frame != NULL; frame = frame->next) {
		room->partial_bytes -= frame->len;
		if (connection != NULL)
			connection->upstream--;
	}
	hf_table_remove(&room->upstream_held, &held->node);
	free(held);
	return frames;
}

static struct held_frame *next_held(struct held_frame *frame)
{
	struct held_frame *next = frame->next;

	free(frame);
	return next;
}

void upstream_session_loaded(struct room *room, struct session *session)
{
	struct held_frame *frame = take_held(room, session);
	hf_handle handle = session->handle;

	for (; frame != NULL; frame = next_held(frame)) {
		struct hf_wire_upstream wire;

		session = room_session(room, handle); /* gone when there is no memory for it */
		if (session != NULL &&
		    hf_wire_decode_upstream(hf_bytes_of(frame->body, frame->len), &wire) == 0)
			call_coordinator(room, room_connection(room, session->connection), session,
					 &wire);
	}
}

void upstream_session_unknown(struct room *room, struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);
	struct held_frame *frame = take_held(room, session);

	for (; frame != NULL; frame = next_held(frame)) {
		struct hf_wire_upstream wire;

		++*room->metrics.upstream[UPSTREAM_UNAVAILABLE];
		if (connection->state == CONNECTION_ACTIVE &&
		    hf_wire_decode_upstream(hf_bytes_of(frame->body, frame->len), &wire) == 0)
			send_ack(room, connection, wire.app, wire.sequence, HF_CLOSE_OVERLOADED,
				 "not sent");
	}
}

void upstream_session_gone(struct room *room, const struct session *session)
{
	struct held_frame *frame = take_held(room, session);

	for (; frame != NULL; frame = next_held(frame))
		++*room->metrics.upstream[UPSTREAM_GONE];
}

void upstream_on_frame(struct room *room, struct connection *connection, struct hf_bytes body)
{
	struct hf_wire_upstream wire;
	const struct session *session;

	if (hf_wire_decode_upstream(body, &wire) < 0 || wire.payload.len > HF_WIRE_PAYLOAD_MAX) {
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad UPSTREAM");
		return;
	}
	session = session_of_app(room, connection, wire.app);
	if (connection->state != CONNECTION_ACTIVE ||
	    (session != NULL && session->flags & (SESSION_JOINING | SESSION_ATTACHING))) {
		++*room->metrics.upstream[UPSTREAM_NOT_ATTACHED];
		send_ack(room, connection, wire.app, wire.sequence, HF_CLOSE_OVERLOADED,
			 "not attached yet");
	} else if (session == NULL) {
		++*room->metrics.upstream[UPSTREAM_NOT_ATTACHED];
		send_ack(room, connection, wire.app, wire.sequence, HF_CLOSE_PROTOCOL_VIOLATION,
			 "this app is not attached");
	} else if (connection->upstream >= room->config->limits.upstream_in_flight) {
		++*room->metrics.upstream[UPSTREAM_IN_FLIGHT];
		send_ack(room, connection, wire.app, wire.sequence, HF_CLOSE_RATE_LIMITED,
			 "too many messages not answered yet");
	} else if (session->flags & SESSION_LOADED) {
		call_coordinator(room, connection, session, &wire);
	} else if (!hold(room, connection, session, body)) {
		++*room->metrics.upstream[UPSTREAM_UNAVAILABLE];
		send_ack(room, connection, wire.app, wire.sequence, HF_CLOSE_OVERLOADED,
			 "not attached yet");
	}
}

int upstream_open(struct room *room)
{
	struct hf_peers_options options = { .service = "coordinator",
					    .descriptor = &hf__coordinator__descriptor };

	return hf_peers_new(room->loop, room->service->metrics, room->service->keeper, &options,
			    &room->coordinators);
}

void upstream_close(struct room *room)
{
	hf_peers_free(room->coordinators); /* ends every open call */
	room->coordinators = NULL;
}
