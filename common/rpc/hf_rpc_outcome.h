/* common/rpc/hf_rpc_outcome.h - how an outcome reaches a closure. Inside of common/rpc only. */
#ifndef HF_RPC_OUTCOME_H
#define HF_RPC_OUTCOME_H

#include "hf_rpc.h"

struct hf_rpc_outcome {
	enum hf_rpc_status status;
	const char *reason; /* "" when there is none; outlives the closure */
};

/* Run `closure` (NULL is fine) while hf_rpc_last_status() and hf_rpc_last_reason() tell `outcome`.
 */
void hf_rpc_conclude(ProtobufCClosure closure, void *ctx, struct hf_rpc_outcome outcome,
		     const ProtobufCMessage *reply);

#endif
