/* common/wire/hf_wire.c - the frame itself, and the three bodies that live on the hot path:
 * PUSH, ACK and PING, which are fixed layouts and not protobuf. */
#include <endian.h>
#include <errno.h>

#include "hf_wire.h"

const uint8_t hf_wire_ping_frame[2] = { HF_WIRE_PING << 3, 0 };
const uint8_t hf_wire_pong_frame[2] = { HF_WIRE_PONG << 3, 0 };

#define PUSH_FIXED   12 /* the least a PUSH body has: id, app, kind, qos, sequence */
#define LENGTH_BYTES 4  /* most bytes of the length */
#define CONTROL_BODY (HF_WIRE_CONTROL_MAX - HF_WIRE_HEADER_MAX)

/* Largest body of each type plus one, so that 0 marks a type that does not exist. */
static const uint32_t body_limit[32] = {
	[HF_WIRE_LOGIN] = HF_WIRE_LOGIN_MAX - HF_WIRE_HEADER_MAX + 1,
	[HF_WIRE_LOGIN_ACK] = CONTROL_BODY + 1,
	[HF_WIRE_ATTACH] = CONTROL_BODY + 1,
	[HF_WIRE_ATTACH_ACK] = CONTROL_BODY + 1,
	[HF_WIRE_DETACH] = CONTROL_BODY + 1,
	[HF_WIRE_DETACH_ACK] = CONTROL_BODY + 1,
	[HF_WIRE_PUSH] = HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD + 1,
	[HF_WIRE_ACK] = HF_WIRE_ACK_IDS_MAX * 8 + 1,
	[HF_WIRE_UPSTREAM] = HF_WIRE_PAYLOAD_MAX + HF_WIRE_UPSTREAM_OVERHEAD + 1,
	[HF_WIRE_UPSTREAM_ACK] = CONTROL_BODY + 1,
	[HF_WIRE_PING] = 5 + 1,
	[HF_WIRE_PONG] = 0 + 1,
	[HF_WIRE_COMMAND] = CONTROL_BODY + 1,
	[HF_WIRE_BYE] = CONTROL_BODY + 1,
};

const char *hf_wire_type_name(unsigned type)
{
	static const char *const names[HF_WIRE_TYPE_COUNT] = {
		[HF_WIRE_LOGIN] = "login",       [HF_WIRE_LOGIN_ACK] = "login_ack",
		[HF_WIRE_ATTACH] = "attach",     [HF_WIRE_ATTACH_ACK] = "attach_ack",
		[HF_WIRE_DETACH] = "detach",     [HF_WIRE_DETACH_ACK] = "detach_ack",
		[HF_WIRE_PUSH] = "push",         [HF_WIRE_ACK] = "ack",
		[HF_WIRE_UPSTREAM] = "upstream", [HF_WIRE_UPSTREAM_ACK] = "upstream_ack",
		[HF_WIRE_PING] = "ping",         [HF_WIRE_PONG] = "pong",
		[HF_WIRE_COMMAND] = "command",   [HF_WIRE_BYE] = "bye",
	};

	return type > 0 && type < HF_WIRE_TYPE_COUNT ? names[type] : "unknown";
}

uint32_t hf_wire_body_max(unsigned type)
{
	return type < HF_ARRAY_LEN(body_limit) && body_limit[type] > 0 ? body_limit[type] - 1 : 0;
}

/* The length at `buf`, of one byte at least. Returns the bytes it takes, 0 or -EPROTO. */
static int decode_length(const uint8_t *buf, size_t len, uint32_t *ret_length)
{
	uint32_t length = 0;

	for (unsigned i = 0; i < LENGTH_BYTES; i++) {
		if (i == len)
			return 0;
		length |= (uint32_t)(buf[i] & 0x7f) << (7 * i);
		if (!(buf[i] & 0x80)) {
			if (i > 0 && buf[i] == 0)
				return -EPROTO; /* a shorter form exists */
			*ret_length = length;
			return (int)i + 1;
		}
	}
	return -EPROTO;
}

ssize_t hf_wire_decode(const uint8_t *buf, size_t len, uint32_t max_body,
		       struct hf_wire_frame *ret_frame, size_t *ret_need)
{
	size_t header = 2;
	uint32_t limit, body_len;

	if (ret_need != NULL)
		*ret_need = 0;
	if (len == 0)
		return 0;

	limit = body_limit[buf[0] >> 3];
	if (HF_UNLIKELY(limit == 0 || (buf[0] & 7) != 0))
		return -EPROTO;
	if (HF_UNLIKELY(len == 1))
		return 0;

	body_len = buf[1];
	if (HF_UNLIKELY(body_len >= 0x80)) {
		int n = decode_length(buf + 1, len - 1, &body_len);

		if (n <= 0)
			return n;
		header = 1 + (size_t)n;
	}
	if (HF_UNLIKELY(body_len > max_body || body_len >= limit))
		return -EMSGSIZE;
	if (ret_need != NULL)
		*ret_need = header + body_len;
	if (len - header < body_len)
		return 0;

	ret_frame->type = buf[0] >> 3;
	ret_frame->flags = 0;
	ret_frame->body = hf_bytes_of(buf + header, body_len);
	return (ssize_t)(header + body_len);
}

/* A minimal varint of 32 bits at *pos, which moves past it. */
static inline bool read_varint32(const uint8_t **pos, const uint8_t *end, uint32_t *ret)
{
	const uint8_t *p = *pos;
	uint64_t value = 0;

	if (HF_LIKELY(p < end && *p < 0x80)) {
		*ret = *p;
		*pos = p + 1;
		return true;
	}
	for (unsigned i = 0; i < 5 && p < end; i++, p++) {
		value |= (uint64_t)(*p & 0x7f) << (7 * i);
		if (*p & 0x80)
			continue;
		if (*p == 0 || value > UINT32_MAX)
			return false;
		*ret = (uint32_t)value;
		*pos = p + 1;
		return true;
	}
	return false;
}

static inline uint64_t load_u64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return le64toh(value);
}

int hf_wire_decode_push(struct hf_bytes body, struct hf_wire_push *ret)
{
	const uint8_t *pos, *end;
	struct hf_wire_push push;

	if (HF_UNLIKELY(body.len < PUSH_FIXED))
		return -EPROTO;
	pos = body.data + 8;
	end = body.data + body.len;
	push.message_id = load_u64(body.data);
	if (!read_varint32(&pos, end, &push.app) || end - pos < 3)
		return -EPROTO;
	push.kind = pos[0];
	push.qos = pos[1];
	pos += 2;
	if (!read_varint32(&pos, end, &push.upstream_sequence))
		return -EPROTO;
	push.payload = hf_bytes_of(pos, (size_t)(end - pos));
	if (HF_UNLIKELY(push.app == 0 || push.kind > HF_WIRE_PAYLOAD_ENVELOPE || push.qos > 1 ||
			push.payload.len > HF_WIRE_PAYLOAD_MAX))
		return -EPROTO;
	*ret = push;
	return 0;
}

int hf_wire_decode_ack(struct hf_bytes body, uint64_t *ret, size_t *ret_count)
{
	size_t count = body.len / 8;

	if (HF_UNLIKELY(body.len % 8 != 0 || count == 0 || count > HF_WIRE_ACK_IDS_MAX))
		return -EPROTO;
	for (size_t i = 0; i < count; i++)
		ret[i] = load_u64(body.data + 8 * i);
	*ret_count = count;
	return 0;
}

int hf_wire_decode_ping(struct hf_bytes body, uint32_t *ret_heartbeat_s)
{
	const uint8_t *pos = body.data;
	uint32_t heartbeat_s;

	if (HF_LIKELY(body.len == 0)) {
		*ret_heartbeat_s = 0;
		return 0;
	}
	if (!read_varint32(&pos, body.data + body.len, &heartbeat_s) ||
	    pos != body.data + body.len || heartbeat_s == 0)
		return -EPROTO;
	*ret_heartbeat_s = heartbeat_s;
	return 0;
}
