/* common/wire/hf_wire_encode.c - whole frames, written into the caller's memory.
 *
 * Each protobuf message has one function that writes its fields to a `struct out`. It runs twice:
 * over an `out` without room, which only counts, and then over the real one; so every length prefix
 * is known before it is written, in its shortest form, and nothing is ever moved. */
#include <errno.h>

#include "hf_cursor.h"
#include "hf_text.h"
#include "hf_wire.h"

enum { TAG_VARINT = 0, TAG_BYTES = 2 };

struct out {
	uint8_t *data; /* NULL: only count */
	size_t len;
};

static void put(struct out *out, const void *data, size_t len)
{
	if (out->data != NULL && len > 0)
		memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put_varint(struct out *out, uint64_t value)
{
	uint8_t bytes[10];
	struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));

	hf_writer_varint(&w, value);
	put(out, bytes, (size_t)(w.pos - bytes));
}

/* Fields with their default value are left out, as proto3 does. */
static void put_uint(struct out *out, unsigned number, uint64_t value)
{
	if (value == 0)
		return;
	put_varint(out, number << 3 | TAG_VARINT);
	put_varint(out, value);
}

/* One more of a repeated field: written even when it is empty. */
static void put_item(struct out *out, unsigned number, struct hf_bytes bytes)
{
	put_varint(out, number << 3 | TAG_BYTES);
	put_varint(out, bytes.len);
	put(out, bytes.data, bytes.len);
}

static void put_bytes(struct out *out, unsigned number, struct hf_bytes bytes)
{
	if (bytes.len > 0)
		put_item(out, number, bytes);
}

static void put_reason(struct out *out, unsigned number, struct hf_bytes reason)
{
	if (reason.len > 0 && hf_text_is_utf8(reason.data, reason.len))
		put_item(out, number, reason);
}

typedef void put_body(struct out *out, const void *message);

static ssize_t encode_frame(unsigned type, put_body *body, const void *message, uint8_t *ret,
			    size_t size)
{
	struct out count = { 0 };
	struct out out = { ret, 0 };
	uint8_t first = (uint8_t)(type << 3);

	body(&count, message);
	if (count.len > hf_wire_body_max(type) || 1 + hf_varint_size(count.len) + count.len > size)
		return -EMSGSIZE;
	put(&out, &first, 1);
	put_varint(&out, count.len);
	body(&out, message);
	return (ssize_t)out.len;
}

static bool is_id(struct hf_bytes bytes, size_t max)
{
	return hf_text_is_id(bytes.data, bytes.len, max);
}

static bool is_optional_id(struct hf_bytes bytes, size_t max)
{
	return bytes.len == 0 || is_id(bytes, max);
}

static bool are_endpoints(const struct hf_bytes *endpoints, size_t count)
{
	if (count > HF_WIRE_ENDPOINTS_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_id(endpoints[i], HF_WIRE_ENDPOINT_MAX))
			return false;
	}
	return true;
}

static bool session_is_valid(const struct hf_wire_session *session)
{
	if (session->app == 0 || !is_id(session->registration, HF_REGISTRATION_MAX) ||
	    !is_optional_id(session->token, HF_WIRE_TOKEN_MAX) ||
	    !is_optional_id(session->user_id, HF_USER_ID_MAX) ||
	    session->tag_count > HF_WIRE_TAGS_MAX)
		return false;
	for (size_t i = 0; i < session->tag_count; i++) {
		if (!is_id(session->tags[i], HF_WIRE_TAG_MAX))
			return false;
	}
	return true;
}

static void put_session(struct out *out, const void *message)
{
	const struct hf_wire_session *session = message;

	put_uint(out, 1, session->app);
	put_bytes(out, 2, session->registration);
	put_bytes(out, 3, session->token);
	put_bytes(out, 4, session->user_id);
	for (size_t i = 0; i < session->tag_count; i++)
		put_item(out, 5, session->tags[i]);
}

static void put_result(struct out *out, const void *message)
{
	const struct hf_wire_attach_result *result = message;

	put_uint(out, 1, result->app);
	put_uint(out, 2, result->code);
	put_reason(out, 3, result->reason);
}

static void put_nested(struct out *out, unsigned number, put_body *body, const void *message)
{
	struct out count = { 0 };

	body(&count, message);
	put_varint(out, number << 3 | TAG_BYTES);
	put_varint(out, count.len);
	body(out, message);
}

static bool login_is_valid(const struct hf_wire_login *login)
{
	if (login->version == 0 || !is_id(login->device, HF_DEVICE_MAX) ||
	    !is_optional_id(login->platform, HF_WIRE_LABEL_MAX) ||
	    !is_optional_id(login->sdk_version, HF_WIRE_LABEL_MAX) ||
	    login->network > HF_NETWORK_ETHERNET || login->ticket.len > HF_WIRE_TICKET_MAX ||
	    login->session_count == 0 || login->session_count > HF_WIRE_SESSIONS_MAX)
		return false;
	for (size_t i = 0; i < login->session_count; i++) {
		if (!session_is_valid(&login->sessions[i]))
			return false;
		for (size_t j = 0; j < i; j++) {
			if (login->sessions[j].app == login->sessions[i].app)
				return false;
		}
	}
	return true;
}

static void put_login(struct out *out, const void *message)
{
	const struct hf_wire_login *login = message;
	const uint8_t magic[3] = { 'H', 'F', login->version };

	put(out, magic, sizeof(magic));
	put_bytes(out, 1, login->device);
	put_bytes(out, 2, login->platform);
	put_bytes(out, 3, login->sdk_version);
	put_uint(out, 4, login->network);
	put_uint(out, 5, login->heartbeat_s);
	put_bytes(out, 6, login->ticket);
	for (size_t i = 0; i < login->session_count; i++)
		put_nested(out, 7, put_session, &login->sessions[i]);
}

ssize_t hf_wire_encode_login(const struct hf_wire_login *login, uint8_t *ret, size_t size)
{
	if (!login_is_valid(login))
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_LOGIN, put_login, login, ret, size);
}

static bool result_is_valid(const struct hf_wire_attach_result *result)
{
	return result->app != 0 && result->reason.len <= HF_WIRE_REASON_MAX;
}

static void put_login_ack(struct out *out, const void *message)
{
	const struct hf_wire_login_ack *ack = message;

	put_uint(out, 1, ack->server_time_ms);
	put_uint(out, 2, ack->heartbeat_s);
	put_uint(out, 3, ack->linger_s);
	put_bytes(out, 4, ack->ticket);
	put_uint(out, 5, ack->window);
	put_uint(out, 6, ack->frame_max);
	put_uint(out, 7, ack->resumed);
	put_bytes(out, 8, ack->node);
	for (size_t i = 0; i < ack->result_count; i++)
		put_nested(out, 9, put_result, &ack->results[i]);
}

ssize_t hf_wire_encode_login_ack(const struct hf_wire_login_ack *ack, uint8_t *ret, size_t size)
{
	if (ack->ticket.len > HF_WIRE_TICKET_MAX || !is_optional_id(ack->node, HF_NODE_ID_MAX) ||
	    ack->result_count > HF_WIRE_SESSIONS_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < ack->result_count; i++) {
		if (!result_is_valid(&ack->results[i]))
			return -EMSGSIZE;
	}
	return encode_frame(HF_WIRE_LOGIN_ACK, put_login_ack, ack, ret, size);
}

ssize_t hf_wire_encode_attach(const struct hf_wire_session *session, uint8_t *ret, size_t size)
{
	if (!session_is_valid(session))
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_ATTACH, put_session, session, ret, size);
}

ssize_t hf_wire_encode_attach_ack(const struct hf_wire_attach_result *result, uint8_t *ret,
				  size_t size)
{
	if (!result_is_valid(result))
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_ATTACH_ACK, put_result, result, ret, size);
}

ssize_t hf_wire_encode_detach(unsigned type, const struct hf_wire_detach *detach, uint8_t *ret,
			      size_t size)
{
	const struct hf_wire_attach_result fields = { detach->app, detach->code, detach->reason };

	if ((type != HF_WIRE_DETACH && type != HF_WIRE_DETACH_ACK) || !result_is_valid(&fields))
		return -EMSGSIZE;
	return encode_frame(type, put_result, &fields, ret, size);
}

ssize_t hf_wire_encode_push(const struct hf_wire_push *push, uint8_t *ret, size_t size)
{
	struct hf_writer w = hf_writer_of(ret, size);

	if (push->app == 0 || push->kind > HF_WIRE_PAYLOAD_ENVELOPE || push->qos > 1 ||
	    push->payload.len > HF_WIRE_PAYLOAD_MAX)
		return -EMSGSIZE;
	hf_writer_u8(&w, HF_WIRE_PUSH << 3);
	hf_writer_varint(&w, 8 + hf_varint_size(push->app) + 2 +
				     hf_varint_size(push->upstream_sequence) + push->payload.len);
	hf_writer_u64(&w, push->message_id);
	hf_writer_varint(&w, push->app);
	hf_writer_u8(&w, push->kind);
	hf_writer_u8(&w, push->qos);
	hf_writer_varint(&w, push->upstream_sequence);
	hf_writer_bytes(&w, push->payload.data, push->payload.len);
	return w.failed ? -EMSGSIZE : w.pos - ret;
}

ssize_t hf_wire_encode_ack(const uint64_t *ids, size_t count, uint8_t *ret, size_t size)
{
	struct hf_writer w = hf_writer_of(ret, size);

	if (count == 0 || count > HF_WIRE_ACK_IDS_MAX)
		return -EMSGSIZE;
	hf_writer_u8(&w, HF_WIRE_ACK << 3);
	hf_writer_varint(&w, count * 8);
	for (size_t i = 0; i < count; i++)
		hf_writer_u64(&w, ids[i]);
	return w.failed ? -EMSGSIZE : w.pos - ret;
}

static void put_upstream(struct out *out, const void *message)
{
	const struct hf_wire_upstream *upstream = message;

	put_uint(out, 1, upstream->app);
	put_uint(out, 2, upstream->sequence);
	put_bytes(out, 3, upstream->forward_type);
	put_bytes(out, 4, upstream->payload);
}

ssize_t hf_wire_encode_upstream(const struct hf_wire_upstream *upstream, uint8_t *ret, size_t size)
{
	if (upstream->app == 0 || upstream->sequence == 0 ||
	    !is_id(upstream->forward_type, HF_WIRE_LABEL_MAX) ||
	    upstream->payload.len > HF_WIRE_PAYLOAD_MAX)
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_UPSTREAM, put_upstream, upstream, ret, size);
}

static void put_upstream_ack(struct out *out, const void *message)
{
	const struct hf_wire_upstream_ack *ack = message;

	put_uint(out, 1, ack->app);
	put_uint(out, 2, ack->sequence);
	put_uint(out, 3, ack->code);
	put_reason(out, 4, ack->reason);
}

ssize_t hf_wire_encode_upstream_ack(const struct hf_wire_upstream_ack *ack, uint8_t *ret,
				    size_t size)
{
	if (ack->app == 0 || ack->sequence == 0 || ack->reason.len > HF_WIRE_REASON_MAX)
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_UPSTREAM_ACK, put_upstream_ack, ack, ret, size);
}

static void put_command(struct out *out, const void *message)
{
	const struct hf_wire_command *command = message;

	put_uint(out, 1, command->kind);
	put_uint(out, 2, command->delay_ms);
	put_uint(out, 3, command->heartbeat_s);
	put_uint(out, 4, command->app);
	put_uint(out, 5, command->count);
	for (size_t i = 0; i < command->endpoint_count; i++)
		put_item(out, 6, command->endpoints[i]);
}

ssize_t hf_wire_encode_command(const struct hf_wire_command *command, uint8_t *ret, size_t size)
{
	if (command->kind == 0 || !are_endpoints(command->endpoints, command->endpoint_count))
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_COMMAND, put_command, command, ret, size);
}

static void put_bye(struct out *out, const void *message)
{
	const struct hf_wire_bye *bye = message;

	put_uint(out, 1, bye->code);
	put_reason(out, 2, bye->reason);
	put_uint(out, 3, bye->delay_ms);
	for (size_t i = 0; i < bye->endpoint_count; i++)
		put_item(out, 4, bye->endpoints[i]);
}

ssize_t hf_wire_encode_bye(const struct hf_wire_bye *bye, uint8_t *ret, size_t size)
{
	if (bye->code == 0 || bye->reason.len > HF_WIRE_REASON_MAX ||
	    !are_endpoints(bye->endpoints, bye->endpoint_count))
		return -EMSGSIZE;
	return encode_frame(HF_WIRE_BYE, put_bye, bye, ret, size);
}

ssize_t hf_wire_encode_ping(uint32_t heartbeat_s, uint8_t *ret, size_t size)
{
	struct hf_writer w = hf_writer_of(ret, size);

	hf_writer_u8(&w, HF_WIRE_PING << 3);
	hf_writer_u8(&w, heartbeat_s == 0 ? 0 : (uint8_t)hf_varint_size(heartbeat_s));
	if (heartbeat_s != 0)
		hf_writer_varint(&w, heartbeat_s);
	return w.failed ? -EMSGSIZE : w.pos - ret;
}
