/* tests/fuzz/fuzz_wire.c - the client protocol, as a stream of frames. Whatever decodes must
 * encode, what was encoded must decode, and encode to the same bytes again. */
#include <stdlib.h>

#include "hf_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static union {
	struct hf_wire_login login;
	struct hf_wire_login_ack login_ack;
	struct hf_wire_session session;
	struct hf_wire_attach_result result;
	struct hf_wire_detach detach;
	struct hf_wire_push push;
	struct {
		uint64_t ids[HF_WIRE_ACK_IDS_MAX];
		size_t count;
	} ack;
	struct hf_wire_upstream upstream;
	struct hf_wire_upstream_ack upstream_ack;
	uint32_t heartbeat_s;
	struct hf_wire_command command;
	struct hf_wire_bye bye;
} read;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int decode_body(const struct hf_wire_frame *frame)
{
	switch (frame->type) {
	case HF_WIRE_LOGIN:
		return hf_wire_decode_login(frame->body, &read.login);
	case HF_WIRE_LOGIN_ACK:
		return hf_wire_decode_login_ack(frame->body, &read.login_ack);
	case HF_WIRE_ATTACH:
		return hf_wire_decode_attach(frame->body, &read.session);
	case HF_WIRE_ATTACH_ACK:
		return hf_wire_decode_attach_ack(frame->body, &read.result);
	case HF_WIRE_DETACH:
	case HF_WIRE_DETACH_ACK:
		return hf_wire_decode_detach(frame->body, &read.detach);
	case HF_WIRE_PUSH:
		return hf_wire_decode_push(frame->body, &read.push);
	case HF_WIRE_ACK:
		return hf_wire_decode_ack(frame->body, read.ack.ids, &read.ack.count);
	case HF_WIRE_UPSTREAM:
		return hf_wire_decode_upstream(frame->body, &read.upstream);
	case HF_WIRE_UPSTREAM_ACK:
		return hf_wire_decode_upstream_ack(frame->body, &read.upstream_ack);
	case HF_WIRE_PING:
		return hf_wire_decode_ping(frame->body, &read.heartbeat_s);
	case HF_WIRE_COMMAND:
		return hf_wire_decode_command(frame->body, &read.command);
	case HF_WIRE_BYE:
		return hf_wire_decode_bye(frame->body, &read.bye);
	default: /* PONG: the frame decoder saw that it is empty */
		check(frame->type == HF_WIRE_PONG && frame->body.len == 0);
		return 0;
	}
}

/* What decode_body() read, as a frame again. */
static ssize_t encode(unsigned type, uint8_t *out, size_t size)
{
	switch (type) {
	case HF_WIRE_LOGIN:
		return hf_wire_encode_login(&read.login, out, size);
	case HF_WIRE_LOGIN_ACK:
		return hf_wire_encode_login_ack(&read.login_ack, out, size);
	case HF_WIRE_ATTACH:
		return hf_wire_encode_attach(&read.session, out, size);
	case HF_WIRE_ATTACH_ACK:
		return hf_wire_encode_attach_ack(&read.result, out, size);
	case HF_WIRE_DETACH:
	case HF_WIRE_DETACH_ACK:
		return hf_wire_encode_detach(type, &read.detach, out, size);
	case HF_WIRE_PUSH:
		return hf_wire_encode_push(&read.push, out, size);
	case HF_WIRE_ACK:
		return hf_wire_encode_ack(read.ack.ids, read.ack.count, out, size);
	case HF_WIRE_UPSTREAM:
		return hf_wire_encode_upstream(&read.upstream, out, size);
	case HF_WIRE_UPSTREAM_ACK:
		return hf_wire_encode_upstream_ack(&read.upstream_ack, out, size);
	case HF_WIRE_PING:
		return hf_wire_encode_ping(read.heartbeat_s, out, size);
	case HF_WIRE_COMMAND:
		return hf_wire_encode_command(&read.command, out, size);
	case HF_WIRE_BYE:
		return hf_wire_encode_bye(&read.bye, out, size);
	default:
		memcpy(out, hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
		return sizeof(hf_wire_pong_frame);
	}
}

/* The most bytes that the header promises for a frame of `type`. */
static size_t frame_max(unsigned type)
{
	switch (type) {
	case HF_WIRE_LOGIN:
		return HF_WIRE_LOGIN_MAX;
	case HF_WIRE_PUSH:
		return HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD;
	case HF_WIRE_UPSTREAM:
		return HF_WIRE_PAYLOAD_MAX + HF_WIRE_UPSTREAM_OVERHEAD;
	default:
		return HF_WIRE_CONTROL_MAX;
	}
}

static void round_trip(const struct hf_wire_frame *frame)
{
	static uint8_t once[HF_WIRE_PAYLOAD_MAX + 64], twice[HF_WIRE_PAYLOAD_MAX + 64];
	struct hf_wire_frame again;
	ssize_t n;

	if (decode_body(frame) < 0)
		return;
	if (frame->type == HF_WIRE_LOGIN && read.login.version != HF_WIRE_VERSION)
		return; /* nothing of it was read */
	n = encode(frame->type, once, frame_max(frame->type));
	check(n > 0);
	check(hf_wire_decode(once, (size_t)n, UINT32_MAX, &again, NULL) == n);
	check(again.type == frame->type);
	check(decode_body(&again) == 0);
	check(encode(again.type, twice, frame_max(again.type)) == n);
	check(memcmp(once, twice, (size_t)n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_wire_frame frame;
	size_t need;
	ssize_t n;

	while ((n = hf_wire_decode(data, size, HF_WIRE_LOGIN_MAX, &frame, &need)) > 0) {
		check((size_t)n <= size && need == (size_t)n);
		round_trip(&frame);
		data += n;
		size -= (size_t)n;
	}
	check(n < 0 || need == 0 || need > size);
	return 0;
}
