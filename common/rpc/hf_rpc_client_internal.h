/* common/rpc/hf_rpc_client_internal.h - the client's two halves: hf_rpc_client.c keeps the link up,
 * hf_rpc_calls.c knows the calls. */
#ifndef HF_RPC_CLIENT_INTERNAL_H
#define HF_RPC_CLIENT_INTERNAL_H

#include "hf_backoff.h"
#include "hf_log.h"
#include "hf_rpc_client.h"
#include "hf_rpc_conn.h"
#include "hf_rpc_outcome.h"
#include "hf_rpc_pending.h"

enum hf_rpc_link {
	HF_RPC_LINK_BACKOFF,    /* down; the link timer starts the next try */
	HF_RPC_LINK_CONNECTING, /* the link timer ends a try that takes too long, this and the next
				 */
	HF_RPC_LINK_GREETING,   /* our HELLO is out, the server's is awaited */
	HF_RPC_LINK_READY,      /* calls flow; the link timer pings */
};

enum hf_rpc_call_state {
	HF_RPC_CALL_SENT,    /* in `pending` */
	HF_RPC_CALL_WAITING, /* encoded beside the record: no link, or window full */
	HF_RPC_CALL_DONE,    /* its outcome is known and delivered by the task */
	HF_RPC_CALL_STATES
};

/* A call; `client->calls[X]` holds exactly those in state X. */
struct hf_rpc_call {
	TAILQ_ENTRY(hf_rpc_call) link; /* also of the free list */
	struct hf_rpc_client *client;
	struct hf_timer deadline;
	ProtobufCClosure closure;
	void *ctx;
	uint64_t start_us;
	uint32_t id; /* SENT */
	uint16_t method;
	uint8_t state; /* enum hf_rpc_call_state */
	uint32_t body_len;
	uint8_t *body;                 /* WAITING: owned */
	struct hf_rpc_outcome outcome; /* DONE */
};
TAILQ_HEAD(hf_rpc_calls, hf_rpc_call);

struct hf_rpc_client {
	struct hf_rpc_conn conn;
	ProtobufCService service;
	uint32_t timeout_ms; /* of the next call */
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_rpc_client_options options; /* defaults filled in; strings are the two below */
	char *address, *peer_role;
	bool freed;

	enum hf_rpc_link link;
	struct hf_timer link_timer;
	struct hf_backoff backoff;
	uint64_t tick_ms; /* last look at the link */
	unsigned pings_unanswered;
	struct hf_log_throttle throttle;

	struct hf_rpc_pending pending;
	struct hf_rpc_calls calls[HF_RPC_CALL_STATES], free_calls;
	uint32_t waiting_count, free_count;
	size_t waiting_bytes;
	struct hf_task deliver; /* runs the closures of DONE calls */

	int64_t *in_flight; /* metrics; the cells of a method are made at its first use */
	struct hf_histogram **seconds; /* [method] */
	uint64_t **requests;           /* [method * HF_RPC_STATUS_COUNT + status] */
};

/* hf_rpc_calls.c; all but _init must run inside hf_rpc_conn_enter() and _leave(). */
int hf_rpc_calls_init(struct hf_rpc_client *client);
void hf_rpc_calls_deinit(struct hf_rpc_client *client); /* none is open any more */
void hf_rpc_calls_answer(struct hf_rpc_client *client, const struct hf_rpc_frame *frame);
/* Send waiting calls as far as window and output buffer allow. */
void hf_rpc_calls_pump(struct hf_rpc_client *client);
void hf_rpc_calls_lost(struct hf_rpc_client *client); /* all SENT ones */
void hf_rpc_calls_cancel(struct hf_rpc_client *client);

#endif
