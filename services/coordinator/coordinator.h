/* services/coordinator/coordinator.h - operations that need several parts.
 *
 * Data: none that outlives a call. Disconnect cuts its list by slot owner, asks each register, and
 * puts the answers together again. */
#ifndef COORDINATOR_H
#define COORDINATOR_H

#include "coordinator.pb-c.h"
#include "hf_peers.h"
#include "hf_service.h"

#define DISCONNECT_MAX        1000
#define DISCONNECT_REASON_MAX 123

struct coordinator_config {
	struct hf_service_config service;
	uint64_t disconnect_timeout_ms;
};

struct coordinator_state {
	struct hf_service *service;
	const struct coordinator_config *config;
	struct hf_peers *registers;
	Hf__Coordinator_Service rpc;
	uint64_t *disconnects[3]; /* by Hf__KickResult */
	uint64_t *bad_requests;
};

extern const struct hf_service_type coordinator_type;

/* disconnect.c */
void on_disconnect(Hf__Coordinator_Service *rpc, const Hf__KickRequest *request,
		   Hf__KickReply_Closure closure, void *call);

#endif
