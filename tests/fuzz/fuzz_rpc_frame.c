/* tests/fuzz/fuzz_rpc_frame.c - the inside door: frames, and then their bodies as each message that
 * could stand there: hello, error, and the request of every method of every service, decoded into
 * an arena as the server does it. */
#include <stdlib.h>

#include "coordinator.pb-c.h"
#include "hf_rpc_frame.h"
#include "hf_rpc_unpack.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "saver.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAMES_MAX 64

static const ProtobufCServiceDescriptor *const services[] = {
	&hf__register__descriptor,
	&hf__room__descriptor,
	&hf__saver__descriptor,
	&hf__coordinator__descriptor,
};

static void check(bool promise)
{
	if (!promise)
		abort();
}

/* What was decoded must be fit to be encoded again. */
static void unpack(struct hf_arena *arena, const ProtobufCMessageDescriptor *descriptor,
		   struct hf_bytes body)
{
	ProtobufCMessage *message = hf_rpc_unpack(arena, descriptor, body);
	uint8_t *again;
	size_t len;

	if (message == NULL)
		return;
	len = protobuf_c_message_get_packed_size(message);
	again = malloc(len > 0 ? len : 1);
	check(again != NULL && protobuf_c_message_pack(message, again) == len);
	free(again);
}

static void try_body(struct hf_arena *arena, const struct hf_rpc_frame *frame)
{
	char reason[HF_RPC_REASON_MAX + 1];
	enum hf_rpc_status status;
	struct hf_rpc_hello hello;

	if (frame->kind == HF_RPC_HELLO && hf_rpc_hello_decode(frame->body, &hello) == 0) {
		uint8_t again[HF_RPC_HELLO_SIZE];

		hf_rpc_hello_encode(&hello, again);
		check(memcmp(again, frame->body.data, sizeof(again)) == 0);
	}
	if (frame->kind == HF_RPC_ERROR && hf_rpc_error_decode(frame->body, &status, reason) == 0)
		check(status != HF_RPC_OK && status < HF_RPC_STATUS_COUNT);
	if (frame->kind != HF_RPC_REQUEST && frame->kind != HF_RPC_ONEWAY &&
	    frame->kind != HF_RPC_REPLY)
		return;
	for (size_t i = 0; i < HF_ARRAY_LEN(services); i++) {
		const ProtobufCMethodDescriptor *method;

		if (frame->method >= services[i]->n_methods)
			continue;
		method = &services[i]->methods[frame->method];
		unpack(arena, frame->kind == HF_RPC_REPLY ? method->output : method->input,
		       frame->body);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_arena arena;

	hf_arena_init(&arena, 0, 1 << 16);
	for (unsigned i = 0; i < FRAMES_MAX; i++) {
		struct hf_rpc_frame frame;
		ssize_t n = hf_rpc_frame_decode(data, size, &frame);

		if (n <= 0) {
			check(n != 0 || size < HF_RPC_HEADER_SIZE ||
			      hf_rpc_frame_size(data, size) > size);
			break;
		}
		check((size_t)n <= size && (size_t)n == HF_RPC_HEADER_SIZE + frame.body.len);
		try_body(&arena, &frame);
		data += n;
		size -= (size_t)n;
	}
	hf_arena_deinit(&arena);
	return 0;
}
