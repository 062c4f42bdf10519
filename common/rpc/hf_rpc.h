/* common/rpc/hf_rpc.h - what both sides of the RPC layer share: outcomes and limits.
 * README.md has the wire format; hf_rpc_client.h and hf_rpc_server.h are the two sides. */
#ifndef HF_RPC_H
#define HF_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "hf_base.h"

/* The one outcome of a call. Numbers travel in error frames. */
enum hf_rpc_status {
	HF_RPC_OK = 0,
	HF_RPC_OVERLOADED = 1, /* window and queue are full, here or there; retry later */
	HF_RPC_DEADLINE = 2,   /* no reply in time: it may have happened or not */
	HF_RPC_LOST = 3, /* the connection went down after sending: may have happened or not */
	HF_RPC_UNREACHABLE = 4, /* never sent: nobody was there */
	HF_RPC_UNAVAILABLE = 5, /* refused by the server, by name; retry later */
	HF_RPC_INVALID = 6,     /* the request breaks a rule; do not retry */
	HF_RPC_NOT_FOUND = 7,
	HF_RPC_UNKNOWN_METHOD = 8,
	HF_RPC_INTERNAL = 9,
	HF_RPC_CANCELED = 10, /* the client was freed */
	HF_RPC_STATUS_COUNT
};
const char *hf_rpc_status_name(enum hf_rpc_status status); /* "OVERLOADED" */
/* Has the call certainly had no effect? OVERLOADED, UNREACHABLE, UNAVAILABLE, ... */
bool hf_rpc_status_is_safe_to_retry(enum hf_rpc_status status);

#define HF_RPC_FRAME_MAX  (4u << 20) /* bytes of one frame's body */
#define HF_RPC_REASON_MAX 127        /* bytes of an error's reason text */

#endif
