/* common/rpc/hf_rpc_unpack.c - see hf_rpc_unpack.h. */
#include "hf_rpc_unpack.h"

#define BUDGET_BASE   ((size_t)64 << 10)
#define BUDGET_FACTOR 32
#define BUDGET_MAX    ((size_t)64 << 20)

static void *allocate(void *arena, size_t size)
{
	return hf_arena_alloc(arena, size);
}

static void release(void *arena, void *p)
{
}

ProtobufCMessage *hf_rpc_unpack(struct hf_arena *arena,
				const ProtobufCMessageDescriptor *descriptor, struct hf_bytes body)
{
	static const uint8_t nothing[1];
	ProtobufCAllocator allocator = { .alloc = allocate,
					 .free = release,
					 .allocator_data = arena };

	hf_arena_reset(arena);
	arena->budget = HF_MIN(BUDGET_BASE + BUDGET_FACTOR * body.len, BUDGET_MAX);
	return protobuf_c_message_unpack(descriptor, &allocator, body.len,
					 body.len > 0 ? body.data : nothing);
}
