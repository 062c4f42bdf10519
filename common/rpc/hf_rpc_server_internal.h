/* common/rpc/hf_rpc_server_internal.h - the server's two halves: hf_rpc_server.c has listener and
 * connections, hf_rpc_dispatch.c has the calls. */
#ifndef HF_RPC_SERVER_INTERNAL_H
#define HF_RPC_SERVER_INTERNAL_H

#include "hf_log.h"
#include "hf_net.h"
#include "hf_rpc_conn.h"
#include "hf_rpc_server.h"

/* A call from its frame until its answer; outlives its connection if need be. */
struct hf_rpc_running {
	struct hf_rpc_running *next; /* free list */
	struct hf_rpc_peer *peer;
	uint32_t id;
	uint16_t method;
	bool oneway;
};

/* An accepted connection; freed when it is closed and its last call is answered. */
struct hf_rpc_peer {
	struct hf_rpc_conn conn;
	struct hf_rpc_server *server;
	LIST_ENTRY(hf_rpc_peer) link;
	uint32_t running;
	bool open, greeted;
	uint32_t ping_ms; /* it promised to send something so often */
	struct hf_timer timer;
	char name[HF_NET_TEXT_SIZE];
};

struct hf_rpc_server {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_rpc_io *io;
	struct hf_rpc_server_options options; /* defaults filled in; address is not kept */
	char address[HF_NET_TEXT_SIZE];
	int listener, spare; /* a spare descriptor, to refuse with when all are used up */
	struct event *acceptable;
	struct hf_timer pause; /* the listener's, when out of descriptors */
	struct hf_log_throttle throttle;
	bool draining, freed;

	LIST_HEAD(, hf_rpc_peer) peers;
	uint32_t open_count; /* peers that are open */
	uint32_t running;
	struct hf_rpc_running *free_calls;

	int64_t *running_gauge, *connections_gauge;
	uint64_t **served; /* [method * HF_RPC_STATUS_COUNT + status], made at first use */
};

/* hf_rpc_dispatch.c */
int hf_rpc_dispatch_init(struct hf_rpc_server *server);
void hf_rpc_dispatch_deinit(struct hf_rpc_server *server);
/* A REQUEST or ONEWAY frame. */
void hf_rpc_dispatch(struct hf_rpc_peer *peer, const struct hf_rpc_frame *frame);
/* After anything was put on the connection; `peer` may be gone after. */
void hf_rpc_peer_check_output(struct hf_rpc_peer *peer);

/* hf_rpc_server.c */
void hf_rpc_peer_cut(struct hf_rpc_peer *peer, const char *reason); /* `peer` may be gone after */
void hf_rpc_peer_unref_if_done(struct hf_rpc_peer *peer);           /* likewise */

#endif
