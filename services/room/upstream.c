/* Messages of clients to their businesses: to the coordinator that owns the registration's slot,
 * which keeps their order, and the outcome back. The answer of the business comes with the outcome,
 * and is written before it, so that UPSTREAM_ACK always says all there is to say. */
#define HF_LOG_MODULE "upstream"
#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "room.h"

/* One message under way. */
struct upstream {
	struct room *room;
	hf_handle connection, session;
	uint64_t epoch;
	uint32_t app, sequence;
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
	} else {
		call_coordinator(room, connection, session, &wire);
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
