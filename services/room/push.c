/* Messages that center pushes, and the clients' acks. delivery.c has the other way to a session. */
#include <errno.h>

#include "hf_hash.h"
#include "hf_id.h"
#include "room.h"
#include "window.h"

/* Queue a message. False: not taken, and the connection may be closed by now. */
bool delivery_write(struct room *room, struct connection *connection, struct frame *frame)
{
	if (connection_send(room, connection, frame))
		return true;
	if (connection->state < CONNECTION_CLOSING)
		connection_close(room, connection, HF_CLOSE_SLOW_CONSUMER, "output queue full");
	return false;
}

bool delivery_remember(struct room *room, struct session *session, struct frame *frame)
{
	struct connection *connection = room_connection(room, session->connection);
	struct frame *kept = linger_keep(room, session, frame);
	struct window *window;

	if (window_add(&room->pool, &session->window, frame->message_id, kept) < 0) {
		linger_release(room, kept);
		delivery_out_of_memory(room, session);
		return false;
	}
	window = pool_at(&room->pool, session->window);
	if (window->count >= room->config->limits.unacked) {
		window->full_since = room_tick(room);
		connection->flags |= CONNECTION_CHECK_WINDOWS;
	}
	return true;
}

/* A stored message that can't go now stays in saver, and the session's mark says so. */
static Hf__PushResult defer(struct room *room, struct session *session, uint64_t message_id)
{
	if (!delivery_fall_behind(room, session, message_id - 1))
		return HF__PUSH_RESULT__GONE;
	return HF__PUSH_RESULT__DEFERRED;
}

static Hf__PushResult drop(struct room *room, const struct session *session, uint64_t message_id,
			   enum drop_reason reason)
{
	static const enum hf_why_outcome why[DROP_REASON_COUNT] = {
		[DROP_QUEUE_FULL] = HF_WHY_DROPPED,
		[DROP_EXPIRED] = HF_WHY_DROPPED_EXPIRED,
		[DROP_NOT_READY] = HF_WHY_DROPPED_EARLY,
		[DROP_MEMORY] = HF_WHY_DROPPED,
	};

	++*room->metrics.dropped[reason];
	session_note(room, session, why[reason], message_id, 0);
	return HF__PUSH_RESULT__DROPPED;
}

/* Is there more in saver for it than it was sent? A page on its way counts as well. */
static bool is_behind(const struct room *room, const struct session *session)
{
	return session->flags & SESSION_LOADING ||
	       window_after(&room->pool, session->window) != WINDOW_UP_TO_DATE;
}

bool delivery_is_push(const ProtobufCBinaryData *frame, const Hf__Delivery *delivery)
{
	return frame->len >= 2 && frame->len <= HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD &&
	       frame->data[0] == HF_WIRE_PUSH << 3 &&
	       (delivery == NULL || delivery->collapse_key.len <= DELIVERY_COLLAPSE_KEY_MAX);
}

struct frame *delivery_frame(uint32_t app, uint64_t message_id, const ProtobufCBinaryData *bytes,
			     const Hf__Delivery *delivery)
{
	struct frame *frame = frame_new(bytes->data, bytes->len);
	uint8_t key[sizeof(app) + DELIVERY_COLLAPSE_KEY_MAX];

	if (frame == NULL)
		return NULL;
	frame->kind = delivery != NULL && delivery->high ? FRAME_HIGH : FRAME_MESSAGE;
	frame->message_id = message_id;
	if (delivery != NULL && delivery->collapse_key.len > 0 &&
	    delivery->collapse_key.len <= DELIVERY_COLLAPSE_KEY_MAX) {
		memcpy(key, &app, sizeof(app));
		memcpy(key + sizeof(app), delivery->collapse_key.data, delivery->collapse_key.len);
		frame->collapse = hf_hash(key, sizeof(app) + delivery->collapse_key.len) | 1;
	}
	return frame;
}

void delivery_collapse(struct room *room, struct session *session, const struct frame *frame)
{
	struct connection *connection = room_connection(room, session->connection);
	bool remember = session->flags & (SESSION_LOADING | SESSION_FRESH_PAGE);
	struct frame *kept;
	uint64_t older;

	if (frame->collapse == 0)
		return;
	older = connection_collapse(room, connection, frame->collapse);
	if (older != 0) {
		window_remove(&room->pool, &session->window, older, remember, &kept);
		linger_release(room, kept);
	}
}

static Hf__PushResult give_transient(struct room *room, struct frame *frame,
				     struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);

	if (connection->state != CONNECTION_ACTIVE)
		return drop(room, session, frame->message_id, DROP_NOT_READY);
	delivery_collapse(room, session, frame);
	if (connection_send(room, connection, frame))
		return HF__PUSH_RESULT__WRITTEN;
	if (connection->state == CONNECTION_CUT)
		return linger_park(room, session, false, frame);
	return drop(room, session, frame->message_id, DROP_QUEUE_FULL);
}

Hf__PushResult delivery_give(struct room *room, struct session *session, bool stored,
			     struct frame *frame)
{
	struct connection *connection = room_connection(room, session->connection);
	uint64_t message_id = frame->message_id;

	if (connection->state == CONNECTION_CUT)
		return linger_park(room, session, stored, frame);
	if (!stored)
		return give_transient(room, frame, session);
	if (window_has(&room->pool, session->window, message_id) ||
	    window_was_acked(&room->pool, session->window, message_id))
		return HF__PUSH_RESULT__IN_FLIGHT; /* or its ack is, which is as good */
	delivery_collapse(room, session, frame);
	if (connection->state != CONNECTION_ACTIVE ||
	    window_count(&room->pool, session->window) >= room->config->limits.unacked)
		return defer(room, session, message_id);
	/* Who reads its backlog as fast as it can is not cut for a message that belongs to it. */
	if (is_behind(room, session) && !connection_has_room(room, connection, frame->len) &&
	    connection->state < CONNECTION_CLOSING)
		return defer(room, session, message_id);
	if (!delivery_write(room, connection, frame))
		return connection->state == CONNECTION_CUT
			       ? linger_park(room, session, stored, frame)
			       : HF__PUSH_RESULT__GONE;
	return delivery_remember(room, session, frame) ? HF__PUSH_RESULT__WRITTEN
						       : HF__PUSH_RESULT__GONE;
}

void delivery_note(struct room *room, const struct session *session, Hf__PushResult result,
		   uint64_t message_id, enum hf_why_outcome written)
{
	enum hf_why_outcome outcome = written;

	if (result >= HF__PUSH_RESULT__GONE)
		return; /* gone: the session may be, too; dropped: noted with its reason */
	if (result == HF__PUSH_RESULT__IN_FLIGHT)
		outcome = HF_WHY_IN_FLIGHT;
	else if (result == HF__PUSH_RESULT__DEFERRED)
		outcome = room_connection(room, session->connection)->state == CONNECTION_CUT
				  ? HF_WHY_PARKED
				  : HF_WHY_DEFERRED;
	session_note(room, session, outcome, message_id, 0);
}

Hf__PushResult delivery_push(struct room *room, const Hf__PushItem *item, struct frame **frame,
			     hf_handle handle, uint64_t epoch)
{
	struct session *session = room_session(room, handle);
	uint64_t wall_ms = hf_loop_wall_ms(room->loop), accepted_ms;
	Hf__PushResult result;

	/* Who is pushed to is known to register, even if its answer is still on the way. */
	if (session != NULL && session->epoch == epoch && session->flags & SESSION_JOINING) {
		login_session_known(room, session);
		session = room_session(room, handle);
	}
	if (session == NULL || session->epoch != epoch)
		return HF__PUSH_RESULT__GONE;
	if (item->expires_ms != 0 && item->expires_ms <= wall_ms)
		return drop(room, session, item->message_id, DROP_EXPIRED);
	if (*frame == NULL)
		*frame = delivery_frame(session->app, item->message_id, &item->frame,
					item->delivery);
	if (*frame == NULL)
		return drop(room, session, item->message_id, DROP_MEMORY);
	(*frame)->expires_ms = item->expires_ms;

	result = delivery_give(room, session, item->class_ != HF__CLASS__TRANSIENT, *frame);
	delivery_note(room, session, result, item->message_id, HF_WHY_WRITTEN);
	if (result == HF__PUSH_RESULT__WRITTEN) {
		accepted_ms = hf_id_wall_ms(item->message_id);
		++*room->metrics.written_online;
		session = room_session(room, handle); /* gone when the client was cut */
		if (session != NULL)
			events_message_written(room, session, item->message_id, item->delivery);
		hf_histogram_record(room->metrics.accept_to_write,
				    wall_ms > accepted_ms ? wall_ms - accepted_ms : 0);
	}
	return result;
}

static bool ack_one(struct room *room, struct connection *connection, uint64_t message_id)
{
	struct session *session = room_session(room, connection->first_session);

	for (; session != NULL; session = room_session(room, session->next_of_connection)) {
		bool remember = session->flags & (SESSION_LOADING | SESSION_FRESH_PAGE);
		struct frame *frame;

		if (window_remove(&room->pool, &session->window, message_id, remember, &frame)) {
			linger_release(room, frame);
			acks_add(room, session, message_id);
			session_note(room, session, HF_WHY_CLIENT_ACKED, message_id, 0);
			return true;
		}
	}
	return false;
}

/* ACKs are as frequent as what we send, so only those that ack nothing count as frames of the
 * client's own. */
static void pay_for_empty_ack(struct room *room, struct connection *connection)
{
	uint64_t per_second = room->config->limits.frames_per_second;

	if (!rate_take(&connection->frames, rate_ticks(room_age_ms(room)), rate_cost(1, per_second),
		       rate_cost(2 * per_second, per_second)))
		connection_close(room, connection, HF_CLOSE_RATE_LIMITED, "too many frames");
}

void delivery_on_ack(struct room *room, struct connection *connection, struct hf_bytes body)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX], wall_ms = hf_loop_wall_ms(room->loop);
	size_t count, known = 0;
	struct session *session;

	if (hf_wire_decode_ack(body, ids, &count) < 0) {
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad ACK");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t accepted_ms = hf_id_wall_ms(ids[i]);

		if (!ack_one(room, connection, ids[i]))
			continue;
		known++;
		hf_histogram_record(room->metrics.accept_to_ack,
				    wall_ms > accepted_ms ? wall_ms - accepted_ms : 0);
	}
	*room->metrics.acked += known;
	*room->metrics.acks_unknown += count - known;
	if (known == 0) {
		pay_for_empty_ack(room, connection);
		return;
	}
	session = room_session(room, connection->first_session);
	while (session != NULL) {
		hf_handle next = session->next_of_connection;

		delivery_continue(room, session);
		session = room_session(room, next);
	}
}
