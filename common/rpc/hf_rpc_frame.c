/* common/rpc/hf_rpc_frame.c - see hf_rpc_frame.h. */
#include "hf_rpc_frame.h"

#include <errno.h>

#include "hf_cursor.h"

static const struct {
	uint32_t min, max;
} body_limits[] = {
	[HF_RPC_REQUEST] = { 0, HF_RPC_FRAME_MAX },
	[HF_RPC_REPLY] = { 0, HF_RPC_FRAME_MAX },
	[HF_RPC_ERROR] = { 1, 1 + HF_RPC_REASON_MAX },
	[HF_RPC_ONEWAY] = { 0, HF_RPC_FRAME_MAX },
	[HF_RPC_PING] = { 0, 0 },
	[HF_RPC_PONG] = { 0, 0 },
	[HF_RPC_HELLO] = { HF_RPC_HELLO_SIZE, HF_RPC_HELLO_MAX },
};

ssize_t hf_rpc_frame_decode(const uint8_t *buf, size_t len, struct hf_rpc_frame *ret_frame)
{
	struct hf_cursor c = hf_cursor_of(buf, len);
	struct hf_rpc_frame frame;
	uint32_t body_len = hf_cursor_u32(&c);
	uint8_t flags;

	frame.call_id = hf_cursor_u32(&c);
	frame.method = hf_cursor_u16(&c);
	frame.kind = hf_cursor_u8(&c);
	flags = hf_cursor_u8(&c);
	if (c.failed)
		return 0; /* header incomplete */

	if (frame.kind == 0 || frame.kind >= HF_ARRAY_LEN(body_limits) || flags != 0)
		return -EPROTO;
	if (body_len > body_limits[frame.kind].max)
		return -EMSGSIZE;
	if (body_len < body_limits[frame.kind].min)
		return -EPROTO;

	frame.body = hf_bytes_of(hf_cursor_bytes(&c, body_len), body_len);
	if (c.failed)
		return 0; /* body incomplete */

	*ret_frame = frame;
	return c.pos - buf;
}

size_t hf_rpc_frame_size(const uint8_t *buf, size_t len)
{
	struct hf_cursor c = hf_cursor_of(buf, len);
	size_t body_len = hf_cursor_u32(&c);

	/* Before its kind is there too, nothing has looked at the length. */
	return len < HF_RPC_HEADER_SIZE ? 0 : HF_RPC_HEADER_SIZE + body_len;
}

void hf_rpc_header_encode(uint8_t *ret, enum hf_rpc_kind kind, uint32_t call_id, uint16_t method,
			  uint32_t body_len)
{
	struct hf_writer w = hf_writer_of(ret, HF_RPC_HEADER_SIZE);

	hf_writer_u32(&w, body_len);
	hf_writer_u32(&w, call_id);
	hf_writer_u16(&w, method);
	hf_writer_u8(&w, (uint8_t)kind);
	hf_writer_u8(&w, 0);
}

size_t hf_rpc_error_encode(uint8_t *ret, enum hf_rpc_status status, const char *reason)
{
	size_t len = strnlen(reason, HF_RPC_REASON_MAX);

	ret[0] = (uint8_t)status;
	memcpy(ret + 1, reason, len);
	return 1 + len;
}

int hf_rpc_error_decode(struct hf_bytes body, enum hf_rpc_status *ret_status,
			char ret_reason[HF_RPC_REASON_MAX + 1])
{
	size_t reason_len;

	if (body.len < 1 || body.len > 1 + HF_RPC_REASON_MAX || body.data[0] == HF_RPC_OK)
		return -EPROTO;
	*ret_status = body.data[0] < HF_RPC_STATUS_COUNT ? (enum hf_rpc_status)body.data[0]
							 : HF_RPC_INTERNAL;
	reason_len = body.len - 1;
	memcpy(ret_reason, body.data + 1, reason_len);
	ret_reason[reason_len] = '\0';
	return 0;
}

void hf_rpc_hello_encode(const struct hf_rpc_hello *hello, uint8_t ret[HF_RPC_HELLO_SIZE])
{
	struct hf_writer w = hf_writer_of(ret, HF_RPC_HELLO_SIZE);

	hf_writer_u32(&w, HF_RPC_MAGIC);
	hf_writer_u16(&w, hello->version);
	hf_writer_u16(&w, hello->role);
	hf_writer_u32(&w, hello->service);
	hf_writer_u32(&w, hello->ping_ms);
}

int hf_rpc_hello_decode(struct hf_bytes body, struct hf_rpc_hello *ret)
{
	struct hf_cursor c = hf_cursor_of(body.data, body.len);
	uint32_t magic = hf_cursor_u32(&c);
	struct hf_rpc_hello hello;

	hello.version = hf_cursor_u16(&c);
	hello.role = hf_cursor_u16(&c);
	hello.service = hf_cursor_u32(&c);
	hello.ping_ms = hf_cursor_u32(&c);
	if (c.failed || magic != HF_RPC_MAGIC)
		return -EPROTO;
	*ret = hello;
	return 0;
}

uint32_t hf_rpc_service_hash(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}
