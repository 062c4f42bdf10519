/* services/coordinator/coordinator.h - operations that need several parts, and the way to the
 * businesses.
 *
 * Data: none that may not be lost. Disconnect cuts its list by slot owner, asks each register, and
 * puts the answers together again. Upstream waits in the queue of its callback (target.h). Events
 * of the status class wait in memory for minutes, receipts in the store (events.h). */
#ifndef COORDINATOR_H
#define COORDINATOR_H

#include "coordinator.pb-c.h"
#include "hf_apps.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "target.h"
#include "verdict.h"

#define DISCONNECT_MAX        1000
#define DISCONNECT_REASON_MAX 123

struct coordinator_config {
	struct hf_service_config service;
	uint64_t disconnect_timeout_ms;
	/* of callbacks */
	uint64_t queue, queue_bytes, total_bytes, in_flight, queue_timeout_ms;
	uint64_t connect_timeout_ms, answer_max;
	char *ca_file;
	/* of events */
	struct hf_strings retries;
	uint64_t receipt_timeout_ms, poll_ms;
	uint64_t status_timeout_ms, status_keep_ms, status_queue, status_bytes, status_keys;
	uint64_t offline_delay_ms;
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
	struct hf_peers *savers, *coordinators;
	struct verdict_schedule retries; /* of receipts */
	struct receipts *receipts;
	struct status *status;
	struct report *report;
	struct presence *presence;
	struct manual *manual;
};

extern const struct hf_service_type coordinator_type;
extern const struct hf_option coordinator_options[];

/* disconnect.c */
void on_disconnect(Hf__Coordinator_Service *rpc, const Hf__KickRequest *request,
		   Hf__KickReply_Closure closure, void *call);

/* What is common to the limits of all classes; queues are the class's own. */
void coordinator_limits(const struct coordinator_state *state, struct targets_limits *ret);

/* report.c, receipts.c */
void on_report(Hf__Coordinator_Service *rpc, const Hf__ReportRequest *request,
	       Hf__ReportReply_Closure closure, void *call);
void on_poke(Hf__Coordinator_Service *rpc, const Hf__SpoolPoke *request,
	     Hf__Nothing_Closure closure, void *call);

/* manual.c: what people ask for: a test, or a dead letter once more. */
HF_MUST_CHECK int manual_open(struct coordinator_state *state);
void manual_configure(struct coordinator_state *state);
void manual_close(struct coordinator_state *state);
void on_test_webhook(Hf__Coordinator_Service *rpc, const Hf__TestWebhookRequest *request,
		     Hf__TestWebhookReply_Closure closure, void *call);
void on_redeliver(Hf__Coordinator_Service *rpc, const Hf__RedeliverRequest *request,
		  Hf__TestWebhookReply_Closure closure, void *call);

/* upstream.c */
HF_MUST_CHECK int upstream_open(struct coordinator_state *state); /* 0 or -errno */
void upstream_configure(struct coordinator_state *state);         /* after a reload */
void upstream_close(struct coordinator_state *state);
void on_upstream(Hf__Coordinator_Service *rpc, const Hf__UpstreamRequest *request,
		 Hf__UpstreamReply_Closure closure, void *call);

#endif
