/* common/cluster/hf_peers.h - the live instances of one service, and an RPC client to each.
 *
 * Follows instances/<service> in the keeper: makes a client for each newcomer, frees the one of who
 * left (a restart under the same id is both), and keeps the table of slot owners: rendezvous
 * hashing over the instances in state SERVING, worked out once per change, so that finding an owner
 * is one array read. */
#ifndef HF_PEERS_H
#define HF_PEERS_H

#include "hf_instance.h"
#include "hf_keeper.h"
#include "hf_rpc_client.h"

struct hf_peers;

struct hf_peer {
	struct hf_instance instance;
	struct hf_rpc_client *client; /* NULL when only watching */
	void *user;                   /* the owner's; NULL at first */
	int64_t smooth_weight;        /* smooth weighted round robin (nginx) */
	struct hf_peer *next;
};

enum hf_balance {
	HF_BALANCE_ROUND_ROBIN,
	HF_BALANCE_WEIGHTED, /* smooth weighted round robin */
	HF_BALANCE_LEAST_IN_FLIGHT,
	HF_BALANCE_RANDOM,
};

struct hf_peers_options {
	const char *service;                          /* "register" */
	const ProtobufCServiceDescriptor *descriptor; /* NULL: only watch, make no clients */
	/* All may be NULL, and none may call hf_peers_free(). `on_join` runs after the peer is in
	 * the list; `on_leave` before it is freed, when no look-up finds it any more, also for each
	 * peer that hf_peers_free() ends; `on_change` once after a change of instances (other than
	 * load), states or slot owners, peers all settled, and after the first list even if that is
	 * empty. */
	void (*on_join)(struct hf_peer *peer, void *ctx);
	void (*on_leave)(struct hf_peer *peer, void *ctx);
	void (*on_change)(struct hf_peers *peers, void *ctx);
	void (*on_connected)(struct hf_peer *peer, bool connected, void *ctx);
	void *ctx;
};

HF_MUST_CHECK int hf_peers_new(struct hf_loop *loop, struct hf_metrics *metrics,
			       struct hf_keeper *keeper, const struct hf_peers_options *options,
			       struct hf_peers **ret_peers);
void hf_peers_free(struct hf_peers *peers);

bool hf_peers_known(const struct hf_peers *peers); /* has the first list arrived? */
size_t hf_peers_count(const struct hf_peers *peers);
struct hf_peer *hf_peers_first(const struct hf_peers *peers); /* then ->next; sorted by id */
struct hf_peer *hf_peers_by_id(const struct hf_peers *peers, const char *id);
struct hf_peer *hf_peers_by_number(const struct hf_peers *peers, uint32_t number);
/* Owner of `slot`, NULL when nobody serves. */
struct hf_peer *hf_peers_by_slot(const struct hf_peers *peers, uint16_t slot);
/* A serving, connected one (any serving one when none is connected); NULL when nobody serves. */
struct hf_peer *hf_peers_pick(struct hf_peers *peers, enum hf_balance balance);

/* The service to call: `peer` may be NULL, then the call ends UNREACHABLE, later. */
ProtobufCService *hf_peers_call(struct hf_peers *peers, struct hf_peer *peer, uint32_t timeout_ms);

#endif
