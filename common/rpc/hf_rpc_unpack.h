/* common/rpc/hf_rpc_unpack.h - decodes a protobuf message into an arena, within a budget.
 *
 * protobuf-c turns hostile bytes into up to 47 times as much memory. The budget is 32 times the
 * body plus 64 KiB, and never above 64 MiB: real requests take about five times their length. */
#ifndef HF_RPC_UNPACK_H
#define HF_RPC_UNPACK_H

#include <protobuf-c/protobuf-c.h>

#include "hf_arena.h"

/* Resets `arena` first, so one message at a time lives in it, until the next call or reset.
 * NULL: malformed, or over budget. */
HF_MUST_CHECK ProtobufCMessage *hf_rpc_unpack(struct hf_arena *arena,
					      const ProtobufCMessageDescriptor *descriptor,
					      struct hf_bytes body);

#endif
