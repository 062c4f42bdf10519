/* common/rpc/hf_rpc_client.h - one peer that we call.
 *
 *	lookup_request req = ...;
 *	hf__register__lookup(hf_rpc_to(client, 500), &req, on_lookup, ctx);
 *
 *	static void on_lookup(const Hf__LookupReply *reply, void *ctx)
 *	{
 *		if (reply == NULL)
 *			... hf_rpc_last_status(), hf_rpc_last_reason()
 *
 * The generated stub is the API: hf_rpc_to() gives the ProtobufCService and fixes the deadline of
 * the next call. The request is encoded before the stub returns and stays the caller's. The closure
 * runs exactly once, later (never inside the stub), with a reply that it borrows, or with NULL. A
 * method whose output is hf.Nothing is one-way: its closure may be NULL; it runs with NULL and
 * status OK as soon as the frame is handed over, and the call takes no place in the window.
 *
 * Any number of calls are in flight on the one connection, up to `window`; then up to `queue` (and
 * 64 MiB of requests) wait here; then a call ends OVERLOADED. All frames of one turn leave in one
 * send. A lost connection ends its calls in flight with LOST, and is tried again with full-jitter
 * back-off. A call that still waits at its deadline was never sent, and its outcome says so:
 * UNREACHABLE without a connection, OVERLOADED behind a full window. After `ping_ms` of silence a
 * ping goes out; after two unanswered the link is cut. Before the first call the two sides compare
 * the service's name: who got the port of a dead process is not taken for it. */
#ifndef HF_RPC_CLIENT_H
#define HF_RPC_CLIENT_H

#include "hf_loop.h"
#include "hf_metrics.h"
#include "hf_rpc.h"

struct hf_rpc_client;

struct hf_rpc_client_options {
	const char *address;   /* "127.0.0.1:40001" or "unix:/path"; copied */
	const char *peer_role; /* metrics label: "register" */
	const ProtobufCServiceDescriptor *service;
	uint32_t window;                          /* calls in flight; 0: 4096 */
	uint32_t queue;                           /* calls waiting; 0: 16384 */
	uint32_t ping_ms;                         /* 0: 3000 */
	uint32_t backoff_base_ms, backoff_cap_ms; /* 0: 50, 3000 */
	/* May be NULL. Down: runs before the calls in flight end with LOST. Not run by a free. */
	void (*on_state)(struct hf_rpc_client *client, bool connected, void *ctx);
	void *ctx;
};

/* Connects at once and for as long as it lives. 0, -EINVAL (address) or -ENOMEM. */
HF_MUST_CHECK int hf_rpc_client_new(struct hf_loop *loop, struct hf_metrics *metrics,
				    const struct hf_rpc_client_options *options,
				    struct hf_rpc_client **ret_client);
/* Every open call ends with CANCELED from within this function; closures that run there must not
 * touch the client. Safe inside any closure and on_state(). NULL is fine. */
void hf_rpc_client_free(struct hf_rpc_client *client);

ProtobufCService *hf_rpc_to(struct hf_rpc_client *client, uint32_t timeout_ms);
bool hf_rpc_client_connected(const struct hf_rpc_client *client);
uint32_t hf_rpc_client_in_flight(
	const struct hf_rpc_client *client); /* sent and waiting, together */

/* Of the closure that is running now. */
enum hf_rpc_status hf_rpc_last_status(void);
const char *hf_rpc_last_reason(void); /* "" when there is none */

/* For a peer that is not there (no owner, say): the next call ends UNREACHABLE, later. Like that of
 * hf_rpc_to(), the result is for one call, made at once. */
ProtobufCService *hf_rpc_to_nobody(struct hf_loop *loop, const ProtobufCServiceDescriptor *service);

#endif
