/* Bytes of a client into frames, and frames to those who know what they mean. */
#define HF_LOG_MODULE "room"
#include <ctype.h>
#include <errno.h>

#include "hf_log.h"
#include "room.h"

#define TLS_FIRST_BYTE 0x16
#define PARTIAL_FIRST  64u

/* The beginning of a frame, kept until the rest comes. */
struct partial {
	uint32_t len, capacity;
	uint32_t need; /* size of the whole frame; 0: its header is not complete */
	uint8_t data[];
};

/* Most bytes that a body may have, by the first byte of its frame. The codec has limits of its own.
 */
static uint32_t body_max(const struct room *room, uint8_t first)
{
	switch (first >> 3) {
	case HF_WIRE_LOGIN:
		return (uint32_t)room->config->limits.login_max;
	case HF_WIRE_UPSTREAM:
		return (uint32_t)room->config->limits.frame_max;
	case HF_WIRE_ATTACH:
	case HF_WIRE_ACK:
	case HF_WIRE_PING:
	case HF_WIRE_PONG:
		return hf_wire_body_max(first >> 3);
	default:
		return 1024; /* DETACH and BYE, which say little, and what no client may send */
	}
}

static size_t partial_size(uint32_t capacity)
{
	return sizeof(struct partial) + capacity;
}

static void partial_free(struct room *room, pool_ref ref)
{
	const struct partial *partial = pool_at(&room->pool, ref);

	room->partial_bytes -= partial->capacity;
	pool_free(&room->pool, ref, partial_size(partial->capacity));
}

void input_forget(struct room *room, struct connection *connection)
{
	if (connection->partial != 0)
		partial_free(room, connection->partial);
	connection->partial = 0;
}

/* Room for `more` bytes, growing by doubling, but never beyond the frame that is awaited: who
 * claims a large frame gets memory only for what was sent. */
static struct partial *partial_grow(struct room *room, struct connection *connection, uint32_t more)
{
	struct partial *old = pool_at(&room->pool, connection->partial), *partial;
	uint32_t len = old == NULL ? 0 : old->len;
	uint32_t capacity = HF_MAX(len + more, old == NULL ? PARTIAL_FIRST : 2 * old->capacity);
	pool_ref ref;

	if (old != NULL && len + more <= old->capacity)
		return old;
	if (old != NULL && old->need != 0)
		capacity = HF_MIN(capacity, old->need);
	if (room->partial_bytes + capacity > room->config->limits.partial_frames)
		return NULL;
	partial = pool_alloc(&room->pool, partial_size(capacity), &ref);
	if (partial == NULL)
		return NULL;
	*partial = (struct partial){ .len = len, .capacity = capacity };
	if (old != NULL) {
		partial->need = old->need;
		memcpy(partial->data, old->data, len);
	}
	input_forget(room, connection);
	connection->partial = ref;
	room->partial_bytes += capacity;
	return partial;
}

static bool partial_append(struct room *room, struct connection *connection, const uint8_t *data,
			   size_t len, size_t need)
{
	struct partial *partial = partial_grow(room, connection, (uint32_t)len);

	if (partial == NULL) {
		connection_close(room, connection, HF_CLOSE_OVERLOADED,
				 "no memory for partial frames");
		return false;
	}
	memcpy(partial->data + partial->len, data, len);
	partial->len += (uint32_t)len;
	partial->need = (uint32_t)need;
	return true;
}

static void refuse(struct room *room, struct connection *connection, ssize_t err)
{
	connection_close(room, connection, HF_CLOSE_BAD_FRAME,
			 err == -EMSGSIZE ? "frame too long" : "not a frame");
}

static void on_bye(struct room *room, struct connection *connection, struct hf_bytes body)
{
	struct hf_wire_bye bye;

	if (hf_wire_decode_bye(body, &bye) < 0)
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad BYE");
	else
		connection_abort(room, connection, HF_CLOSE_NORMAL);
}

static void on_frame(struct room *room, struct connection *connection,
		     const struct hf_wire_frame *frame)
{
	uint64_t per_second = room->config->limits.frames_per_second;
	bool logged_in = connection->state == CONNECTION_ACTIVE;

	++*room->metrics.frames_in[frame->type];
	if (frame->type != HF_WIRE_ACK && /* an ACK pays only when it acks nothing */
	    !rate_take(&connection->frames, rate_ticks(room_age_ms(room)), rate_cost(1, per_second),
		       rate_cost(2 * per_second, per_second))) {
		connection_close(room, connection, HF_CLOSE_RATE_LIMITED, "too many frames");
		return;
	}
	if (connection->state == CONNECTION_LOGIN) {
		if (frame->type == HF_WIRE_LOGIN)
			login_on_login(room, connection, frame->body);
		else
			connection_close(room, connection, HF_CLOSE_PROTOCOL_VIOLATION,
					 "LOGIN must come first");
		return;
	}
	switch (frame->type) {
	case HF_WIRE_PING:
		heartbeat_on_ping(room, connection, frame->body);
		return;
	case HF_WIRE_PONG:
		return;
	case HF_WIRE_ACK:
		delivery_on_ack(room, connection, frame->body);
		return;
	case HF_WIRE_UPSTREAM:
		upstream_on_frame(room, connection, frame->body);
		return;
	case HF_WIRE_BYE:
		on_bye(room, connection, frame->body);
		return;
	case HF_WIRE_ATTACH:
		if (logged_in) {
			login_on_attach(room, connection, frame->body);
			return;
		}
		break;
	case HF_WIRE_DETACH:
		if (logged_in) {
			login_on_detach(room, connection, frame->body);
			return;
		}
		break;
	default:
		break;
	}
	connection_close(room, connection, HF_CLOSE_PROTOCOL_VIOLATION, "frame not welcome now");
}

/* Bytes for the frame that is kept: how many were taken. A header is completed byte by byte, as
 * nothing tells yet how long it is. */
static size_t continue_partial(struct room *room, struct connection *connection,
			       const uint8_t *data, size_t len)
{
	struct partial *partial = pool_at(&room->pool, connection->partial);
	size_t take = partial->need == 0 ? 1 : HF_MIN(len, (size_t)partial->need - partial->len);
	pool_ref ref;
	struct hf_wire_frame frame;
	size_t need = 0;
	ssize_t n;

	if (!partial_append(room, connection, data, take, partial->need))
		return take;
	ref = connection->partial;
	partial = pool_at(&room->pool, ref);
	n = hf_wire_decode(partial->data, partial->len, body_max(room, partial->data[0]), &frame,
			   &need);
	partial->need = (uint32_t)need;
	if (n < 0) {
		refuse(room, connection, n);
	} else if (n > 0) {
		connection->partial = 0; /* the frame borrows from it while it is handled */
		on_frame(room, connection, &frame);
		partial_free(room, ref);
	}
	return take;
}

/* What speaks here does not speak our protocol. */
static bool is_foreign(struct room *room, struct connection *connection, const uint8_t *data,
		       size_t len)
{
	uint8_t first = data[0];
	bool letters = isupper(first) && len > 1 && isupper(data[1]);
	enum reject_reason reason;

	if (first >> 3 == HF_WIRE_LOGIN && (first & 7) == 0)
		return false;
	if (first == TLS_FIRST_BYTE)
		reason = REJECT_TLS_NOT_CONFIGURED;
	else if (letters) /* a method's name */
		reason = REJECT_HTTP;
	else
		reason = REJECT_NOT_OURS;
	++*room->metrics.rejected[reason];
	if (reason == REJECT_HTTP) /* BYE would mean nothing to it */
		connection_abort(room, connection, HF_CLOSE_BAD_FRAME);
	else if (first >> 3 > 0 && first >> 3 < HF_WIRE_TYPE_COUNT && (first & 7) == 0)
		connection_close(room, connection, HF_CLOSE_PROTOCOL_VIOLATION,
				 "LOGIN must come first");
	else
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "not our protocol");
	return true;
}

void input_feed(struct room *room, struct connection *connection, const uint8_t *data, size_t len)
{
	if (connection->state == CONNECTION_LOGIN && connection->partial == 0 && len > 0 &&
	    is_foreign(room, connection, data, len))
		return;

	while (len > 0 && connection->state < CONNECTION_CLOSING) {
		struct hf_wire_frame frame;
		size_t need = 0;
		ssize_t n;

		if (connection->partial != 0) {
			size_t taken = continue_partial(room, connection, data, len);

			data += taken;
			len -= taken;
			continue;
		}
		n = hf_wire_decode(data, len, body_max(room, data[0]), &frame, &need);
		if (n < 0) {
			refuse(room, connection, n);
			return;
		}
		if (n == 0) {
			partial_append(room, connection, data, len, need);
			return;
		}
		on_frame(room, connection, &frame);
		data += n;
		len -= (size_t)n;
	}
}
