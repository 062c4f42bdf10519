/* services/coordinator/coordinator.h - operations that need several parts, and the way to the
 * businesses.
 *
 * Data: none that outlives a call. Disconnect cuts its list by slot owner, asks each register, and
 * puts the answers together again. Upstream waits in the queue of its callback (target.h). */
#ifndef COORDINATOR_H
#define COORDINATOR_H

#include "coordinator.pb-c.h"
#include "hf_apps.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "target.h"

#define DISCONNECT_MAX        1000
#define DISCONNECT_REASON_MAX 123

struct coordinator_config {
	struct hf_service_config service;
	uint64_t disconnect_timeout_ms;
	/* of callbacks */
	uint64_t queue, queue_bytes, total_bytes, in_flight, queue_timeout_ms;
	uint64_t connect_timeout_ms, answer_max;
	char *ca_file;
};

struct coordinator_state {
	struct hf_service *service;
	const struct coordinator_config *config;
	struct hf_peers *registers;
	Hf__Coordinator_Service rpc;
	uint64_t *disconnects[3]; /* by Hf__KickResult */
	uint64_t *bad_requests;
	struct hf_apps *apps;
	struct targets *targets;
	struct hf_histogram *upstream_us;
};

extern const struct hf_service_type coordinator_type;
extern const struct hf_option coordinator_options[];

/* disconnect.c */
void on_disconnect(Hf__Coordinator_Service *rpc, const Hf__KickRequest *request,
		   Hf__KickReply_Closure closure, void *call);

/* upstream.c */
HF_MUST_CHECK int upstream_open(struct coordinator_state *state); /* 0 or -errno */
void upstream_configure(struct coordinator_state *state);         /* after a reload */
void upstream_close(struct coordinator_state *state);
void on_upstream(Hf__Coordinator_Service *rpc, const Hf__UpstreamRequest *request,
		 Hf__UpstreamReply_Closure closure, void *call);

#endif
