/* common/rpc/hf_rpc.c - outcomes, and the peer that is nobody. See hf_rpc.h and hf_rpc_client.h. */
#include "hf_rpc.h"

#include <stdlib.h>

#include "hf_rpc_client.h"
#include "hf_rpc_outcome.h"

static const char *const status_names[HF_RPC_STATUS_COUNT] = {
	[HF_RPC_OK] = "OK",
	[HF_RPC_OVERLOADED] = "OVERLOADED",
	[HF_RPC_DEADLINE] = "DEADLINE",
	[HF_RPC_LOST] = "LOST",
	[HF_RPC_UNREACHABLE] = "UNREACHABLE",
	[HF_RPC_UNAVAILABLE] = "UNAVAILABLE",
	[HF_RPC_INVALID] = "INVALID",
	[HF_RPC_NOT_FOUND] = "NOT_FOUND",
	[HF_RPC_UNKNOWN_METHOD] = "UNKNOWN_METHOD",
	[HF_RPC_INTERNAL] = "INTERNAL",
	[HF_RPC_CANCELED] = "CANCELED",
};

static struct hf_rpc_outcome last = { HF_RPC_OK, "" };

const char *hf_rpc_status_name(enum hf_rpc_status status)
{
	return (unsigned)status < HF_RPC_STATUS_COUNT ? status_names[status] : "UNKNOWN";
}

bool hf_rpc_status_is_safe_to_retry(enum hf_rpc_status status)
{
	return status == HF_RPC_OVERLOADED || status == HF_RPC_UNREACHABLE ||
	       status == HF_RPC_UNAVAILABLE || status == HF_RPC_UNKNOWN_METHOD;
}

enum hf_rpc_status hf_rpc_last_status(void)
{
	return last.status;
}

const char *hf_rpc_last_reason(void)
{
	return last.reason;
}

/* A closure may free a client, which ends other calls inside it: hence put back what was before. */
void hf_rpc_conclude(ProtobufCClosure closure, void *ctx, struct hf_rpc_outcome outcome,
		     const ProtobufCMessage *reply)
{
	struct hf_rpc_outcome before = last;

	if (closure == NULL)
		return;
	last = outcome;
	closure(reply, ctx);
	last = before;
}

/* A call to nobody: lives until its closure has run, at the end of the turn. */
struct nobody_call {
	struct hf_task task;
	ProtobufCClosure closure;
	void *ctx;
};

static const struct hf_rpc_outcome unreachable = { HF_RPC_UNREACHABLE, "NO_PEER" };

static void conclude_nobody(void *ctx)
{
	struct nobody_call call = *(struct nobody_call *)ctx;

	free(ctx);
	hf_rpc_conclude(call.closure, call.ctx, unreachable, NULL);
}

static struct {
	ProtobufCService service;
	struct hf_loop *loop;
} nobody;

static void invoke_nobody(ProtobufCService *service, unsigned method, const ProtobufCMessage *input,
			  ProtobufCClosure closure, void *ctx)
{
	struct nobody_call *call;

	if (closure == NULL)
		return;
	call = malloc(sizeof(*call));
	if (call == NULL) { /* an outcome too early beats one that never comes */
		hf_rpc_conclude(closure, ctx, unreachable, NULL);
		return;
	}
	call->closure = closure;
	call->ctx = ctx;
	hf_task_init(&call->task, conclude_nobody, call);
	hf_task_schedule(nobody.loop, &call->task);
}

ProtobufCService *hf_rpc_to_nobody(struct hf_loop *loop, const ProtobufCServiceDescriptor *service)
{
	nobody.loop = loop;
	nobody.service = (ProtobufCService){ .descriptor = service, .invoke = invoke_nobody };
	return &nobody.service;
}
