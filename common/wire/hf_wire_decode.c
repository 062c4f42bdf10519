/* common/wire/hf_wire_decode.c - control bodies: protobuf messages of proto/client.proto, read by
 * hand.
 *
 * Each message is a loop over its fields. Known fields are checked where they are read; fields with
 * a number we don't know are skipped, as protobuf demands. Stricter than protobuf: a known field
 * with another wire type, a group, and a uint32 beyond 32 bits are errors. */
#include <errno.h>

#include "hf_cursor.h"
#include "hf_text.h"
#include "hf_wire.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
	uint32_t number;
	uint8_t type;
	uint64_t value;
	struct hf_bytes bytes;
};

/* 1: *ret_field is the next one; 0: the end; or -EPROTO. */
static int next_field(struct hf_cursor *c, struct field *ret_field)
{
	uint64_t tag;
	uint64_t len;

	if (hf_cursor_left(c) == 0)
		return 0;
	tag = hf_cursor_varint(c, 5);
	if (c->failed || tag > UINT32_MAX || tag >> 3 == 0)
		return -EPROTO;
	ret_field->number = (uint32_t)(tag >> 3);
	ret_field->type = tag & 7;
	switch (ret_field->type) {
	case WIRE_VARINT:
		ret_field->value = hf_cursor_varint(c, 10);
		break;
	case WIRE_FIXED64:
		ret_field->value = hf_cursor_u64(c);
		break;
	case WIRE_BYTES:
		len = hf_cursor_varint(c, 5);
		if (c->failed || len > hf_cursor_left(c))
			return -EPROTO;
		ret_field->bytes.len = (size_t)len;
		ret_field->bytes.data = hf_cursor_bytes(c, (size_t)len);
		break;
	case WIRE_FIXED32:
		ret_field->value = hf_cursor_u32(c);
		break;
	default:
		return -EPROTO;
	}
	return c->failed ? -EPROTO : 1;
}

static bool take_u32(const struct field *field, uint32_t *ret)
{
	if (field->type != WIRE_VARINT || field->value > UINT32_MAX)
		return false;
	*ret = (uint32_t)field->value;
	return true;
}

static bool take_u64(const struct field *field, uint64_t *ret)
{
	if (field->type != WIRE_VARINT)
		return false;
	*ret = field->value;
	return true;
}

static bool take_bytes(const struct field *field, size_t max, struct hf_bytes *ret)
{
	if (field->type != WIRE_BYTES || field->bytes.len > max)
		return false;
	*ret = field->bytes;
	return true;
}

/* An id; an empty one is the same as an absent one. */
static bool take_id(const struct field *field, size_t max, struct hf_bytes *ret)
{
	return take_bytes(field, max, ret) &&
	       (ret->len == 0 || hf_text_is_id(ret->data, ret->len, max));
}

static bool take_text(const struct field *field, size_t max, struct hf_bytes *ret)
{
	return take_bytes(field, max, ret) &&
	       (ret->len == 0 || hf_text_is_utf8(ret->data, ret->len));
}

static bool take_endpoint(const struct field *field, struct hf_bytes *endpoints, size_t *count)
{
	if (*count == HF_WIRE_ENDPOINTS_MAX ||
	    !take_id(field, HF_WIRE_ENDPOINT_MAX, &endpoints[*count]) || endpoints[*count].len == 0)
		return false;
	(*count)++;
	return true;
}

static bool session_field(struct hf_wire_session *session, const struct field *field)
{
	struct hf_bytes *tag;

	switch (field->number) {
	case 1:
		return take_u32(field, &session->app);
	case 2:
		return take_id(field, HF_REGISTRATION_MAX, &session->registration);
	case 3:
		return take_id(field, HF_WIRE_TOKEN_MAX, &session->token);
	case 4:
		return take_id(field, HF_USER_ID_MAX, &session->user_id);
	case 5:
		if (session->tag_count == HF_WIRE_TAGS_MAX)
			return false;
		tag = &session->tags[session->tag_count++];
		return take_id(field, HF_WIRE_TAG_MAX, tag) && tag->len > 0;
	default:
		return true;
	}
}

int hf_wire_decode_attach(struct hf_bytes body, struct hf_wire_session *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_session){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!session_field(ret, &field))
			return -EPROTO;
	}
	if (more < 0 || ret->app == 0 || ret->registration.len == 0)
		return -EPROTO;
	return 0;
}

static bool add_session(struct hf_wire_login *login, const struct field *field)
{
	struct hf_wire_session *session;

	if (field->type != WIRE_BYTES || login->session_count == HF_WIRE_SESSIONS_MAX)
		return false;
	session = &login->sessions[login->session_count];
	if (hf_wire_decode_attach(field->bytes, session) < 0)
		return false;
	for (size_t i = 0; i < login->session_count; i++) {
		if (login->sessions[i].app == session->app)
			return false;
	}
	login->session_count++;
	return true;
}

static bool login_field(struct hf_wire_login *login, const struct field *field)
{
	uint32_t network;

	switch (field->number) {
	case 1:
		return take_id(field, HF_DEVICE_MAX, &login->device);
	case 2:
		return take_id(field, HF_WIRE_LABEL_MAX, &login->platform);
	case 3:
		return take_id(field, HF_WIRE_LABEL_MAX, &login->sdk_version);
	case 4:
		if (!take_u32(field, &network))
			return false;
		login->network = network <= HF_NETWORK_ETHERNET ? (uint8_t)network
								: (uint8_t)HF_NETWORK_UNKNOWN;
		return true;
	case 5:
		return take_u32(field, &login->heartbeat_s);
	case 6:
		return take_bytes(field, HF_WIRE_TICKET_MAX, &login->ticket);
	case 7:
		return add_session(login, field);
	default:
		return true;
	}
}

/* Leaves the sessions beyond session_count as they are: clearing nine kilobytes for a login of one
 * session costs more than decoding it. */
static void login_clear(struct hf_wire_login *login)
{
	login->version = 0;
	login->device = login->platform = login->sdk_version = login->ticket = hf_bytes_of(NULL, 0);
	login->network = HF_NETWORK_UNKNOWN;
	login->heartbeat_s = 0;
	login->session_count = 0;
}

int hf_wire_decode_login(struct hf_bytes body, struct hf_wire_login *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	login_clear(ret);
	if (hf_cursor_u8(&c) != 'H' || hf_cursor_u8(&c) != 'F')
		return -EPROTO;
	ret->version = hf_cursor_u8(&c);
	if (c.failed || ret->version == 0)
		return -EPROTO;
	if (ret->version != HF_WIRE_VERSION)
		return 0;
	while ((more = next_field(&c, &field)) > 0) {
		if (!login_field(ret, &field))
			return -EPROTO;
	}
	if (more < 0 || ret->device.len == 0 || ret->session_count == 0)
		return -EPROTO;
	return 0;
}

/* AttachResult, Detach: app, code, reason. */
static int decode_app_code(struct hf_bytes body, uint32_t *ret_app, uint32_t *ret_code,
			   struct hf_bytes *ret_reason)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret_app = *ret_code = 0;
	*ret_reason = hf_bytes_of(NULL, 0);
	while ((more = next_field(&c, &field)) > 0) {
		bool ok = true;

		switch (field.number) {
		case 1:
			ok = take_u32(&field, ret_app);
			break;
		case 2:
			ok = take_u32(&field, ret_code);
			break;
		case 3:
			ok = take_text(&field, HF_WIRE_REASON_MAX, ret_reason);
			break;
		}
		if (!ok)
			return -EPROTO;
	}
	return more < 0 || *ret_app == 0 ? -EPROTO : 0;
}

int hf_wire_decode_attach_ack(struct hf_bytes body, struct hf_wire_attach_result *ret)
{
	return decode_app_code(body, &ret->app, &ret->code, &ret->reason);
}

int hf_wire_decode_detach(struct hf_bytes body, struct hf_wire_detach *ret)
{
	return decode_app_code(body, &ret->app, &ret->code, &ret->reason);
}

static bool login_ack_field(struct hf_wire_login_ack *ack, const struct field *field)
{
	uint64_t resumed;

	switch (field->number) {
	case 1:
		return take_u64(field, &ack->server_time_ms);
	case 2:
		return take_u32(field, &ack->heartbeat_s);
	case 3:
		return take_u32(field, &ack->linger_s);
	case 4:
		return take_bytes(field, HF_WIRE_TICKET_MAX, &ack->ticket);
	case 5:
		return take_u32(field, &ack->window);
	case 6:
		return take_u32(field, &ack->frame_max);
	case 7:
		if (!take_u64(field, &resumed))
			return false;
		ack->resumed = resumed != 0;
		return true;
	case 8:
		return take_id(field, HF_NODE_ID_MAX, &ack->node);
	case 9:
		if (field->type != WIRE_BYTES || ack->result_count == HF_WIRE_SESSIONS_MAX)
			return false;
		return hf_wire_decode_attach_ack(field->bytes,
						 &ack->results[ack->result_count++]) == 0;
	default:
		return true;
	}
}

int hf_wire_decode_login_ack(struct hf_bytes body, struct hf_wire_login_ack *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_login_ack){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!login_ack_field(ret, &field))
			return -EPROTO;
	}
	return more;
}

static bool upstream_field(struct hf_wire_upstream *upstream, const struct field *field)
{
	switch (field->number) {
	case 1:
		return take_u32(field, &upstream->app);
	case 2:
		return take_u32(field, &upstream->sequence);
	case 3:
		return take_id(field, HF_WIRE_LABEL_MAX, &upstream->forward_type);
	case 4:
		return take_bytes(field, HF_WIRE_PAYLOAD_MAX, &upstream->payload);
	default:
		return true;
	}
}

int hf_wire_decode_upstream(struct hf_bytes body, struct hf_wire_upstream *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_upstream){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!upstream_field(ret, &field))
			return -EPROTO;
	}
	if (more < 0 || ret->app == 0 || ret->sequence == 0 || ret->forward_type.len == 0)
		return -EPROTO;
	return 0;
}

static bool upstream_ack_field(struct hf_wire_upstream_ack *ack, const struct field *field)
{
	switch (field->number) {
	case 1:
		return take_u32(field, &ack->app);
	case 2:
		return take_u32(field, &ack->sequence);
	case 3:
		return take_u32(field, &ack->code);
	case 4:
		return take_text(field, HF_WIRE_REASON_MAX, &ack->reason);
	default:
		return true;
	}
}

int hf_wire_decode_upstream_ack(struct hf_bytes body, struct hf_wire_upstream_ack *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_upstream_ack){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!upstream_ack_field(ret, &field))
			return -EPROTO;
	}
	return more < 0 || ret->app == 0 || ret->sequence == 0 ? -EPROTO : 0;
}

static bool command_field(struct hf_wire_command *command, const struct field *field)
{
	uint32_t kind;

	switch (field->number) {
	case 1:
		if (!take_u32(field, &kind) || kind > UINT8_MAX)
			return false;
		command->kind = (uint8_t)kind; /* one we don't know is the caller's to ignore */
		return true;
	case 2:
		return take_u32(field, &command->delay_ms);
	case 3:
		return take_u32(field, &command->heartbeat_s);
	case 4:
		return take_u32(field, &command->app);
	case 5:
		return take_u32(field, &command->count);
	case 6:
		return take_endpoint(field, command->endpoints, &command->endpoint_count);
	default:
		return true;
	}
}

int hf_wire_decode_command(struct hf_bytes body, struct hf_wire_command *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_command){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!command_field(ret, &field))
			return -EPROTO;
	}
	return more < 0 || ret->kind == 0 ? -EPROTO : 0;
}

static bool bye_field(struct hf_wire_bye *bye, const struct field *field)
{
	switch (field->number) {
	case 1:
		return take_u32(field, &bye->code);
	case 2:
		return take_text(field, HF_WIRE_REASON_MAX, &bye->reason);
	case 3:
		return take_u32(field, &bye->delay_ms);
	case 4:
		return take_endpoint(field, bye->endpoints, &bye->endpoint_count);
	default:
		return true;
	}
}

int hf_wire_decode_bye(struct hf_bytes body, struct hf_wire_bye *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	struct field field;
	int more;

	*ret = (struct hf_wire_bye){ 0 };
	while ((more = next_field(&c, &field)) > 0) {
		if (!bye_field(ret, &field))
			return -EPROTO;
	}
	return more < 0 || ret->code == 0 ? -EPROTO : 0;
}
