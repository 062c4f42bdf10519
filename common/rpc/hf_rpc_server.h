/* common/rpc/hf_rpc_server.h - answers calls.
 *
 * The server dispatches to the vtable that protobuf-c generated:
 *
 *	static void on_lookup(Hf__Register_Service *service, const Hf__LookupRequest *request,
 *			      Hf__LookupReply_Closure closure, void *call)
 *	{
 *		...
 *		closure(&reply, call);              now or later, exactly once
 *		hf_rpc_fail(call, HF_RPC_UNAVAILABLE, "STORE_UNAVAILABLE");    or this
 *	}
 *
 * The request is borrowed until the handler returns (it lives in an arena that the next request is
 * decoded into): what is needed later is copied. `call` stays valid until answered, also when its
 * connection is gone by then (the answer is dropped). The handler of a one-way method runs its
 * closure as well; nothing is sent. Requests read in one turn are handled as one batch; their
 * replies leave in one send at the end of the turn. */
#ifndef HF_RPC_SERVER_H
#define HF_RPC_SERVER_H

#include "hf_loop.h"
#include "hf_metrics.h"
#include "hf_rpc.h"

struct hf_rpc_server;

struct hf_rpc_server_options {
	const char *address;       /* to listen on; port 0: the system chooses */
	ProtobufCService *service; /* initialised by hf__<name>__init(); borrowed */
	uint32_t running_max; /* unanswered calls of the whole server; 0: 65536; then OVERLOADED */
	uint32_t connection_max;  /* unanswered calls of one connection; 0: 8192 */
	uint32_t connections_max; /* 0: 4096 */
	/* Queued reply bytes of a connection before it stops being read; four times as many end it.
	 * 0: 16 MiB. */
	size_t output_max;
};

HF_MUST_CHECK int hf_rpc_server_new(struct hf_loop *loop, struct hf_metrics *metrics,
				    const struct hf_rpc_server_options *options,
				    struct hf_rpc_server **ret_server); /* 0 or -errno */
/* Closes listener and connections; calls unanswered so far may still be answered, into the void,
 * and must be before the process leaves the loop for good. NULL is fine. */
void hf_rpc_server_free(struct hf_rpc_server *server);
/* No new connections, and new calls end UNAVAILABLE "DRAINING". */
void hf_rpc_server_drain(struct hf_rpc_server *server);
uint32_t hf_rpc_server_running(const struct hf_rpc_server *server); /* unanswered calls */
/* Do answers wait for a socket to take them? */
bool hf_rpc_server_has_output(const struct hf_rpc_server *server);
const char *hf_rpc_server_address(const struct hf_rpc_server *server); /* the real port filled in */

/* End `call` (the closure_data of a handler) with an error instead of a reply. */
void hf_rpc_fail(void *call, enum hf_rpc_status status, const char *reason);

#endif
