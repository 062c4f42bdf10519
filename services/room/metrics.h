/* services/room/metrics.h - every number the room counts; README.md lists them. */
#ifndef ROOM_METRICS_H
#define ROOM_METRICS_H

#include "hf_metrics.h"
#include "hf_wire.h"

struct room;

/* Why a connection was turned away before it had logged in. */
enum reject_reason {
	REJECT_CONNECTIONS, /* limits.connections, or descriptors */
	REJECT_PER_IP_CONNECTIONS,
	REJECT_ACCEPT_RATE,
	REJECT_PER_IP_ACCEPT_RATE,
	REJECT_PENALTY,     /* too many failed logins from that address */
	REJECT_DESCRIPTORS, /* EMFILE, ENFILE */
	REJECT_MEMORY,
	REJECT_DRAINING,
	REJECT_TLS_NOT_CONFIGURED,
	REJECT_TLS_HANDSHAKE,
	REJECT_HTTP,     /* a web client: not served on this port */
	REJECT_NOT_OURS, /* neither TLS nor our protocol */
	REJECT_HANDSHAKE_TIMEOUT,
	REJECT_CROWD, /* more want to log in than can; see lobby.h */
	REJECT_LOGIN, /* LOGIN was refused; _logins_total says why */
	REJECT_REASON_COUNT
};

enum drop_reason {
	DROP_QUEUE_FULL, /* transient, and the client's queue was full */
	DROP_EXPIRED,
	DROP_NOT_READY, /* transient, and LOGIN_ACK was not out yet */
	DROP_MEMORY,
	DROP_REASON_COUNT
};

enum upstream_outcome {
	UPSTREAM_ACCEPTED,
	UPSTREAM_REFUSED,      /* by the coordinator or the business, whatever the code */
	UPSTREAM_NOT_ATTACHED, /* no session of that app */
	UPSTREAM_IN_FLIGHT,    /* too many of this client */
	UPSTREAM_UNAVAILABLE,  /* no coordinator, or none that answered */
	UPSTREAM_GONE,         /* the client left before the outcome */
	UPSTREAM_OUTCOME_COUNT
};

/* LOGINs with a ticket. All but the first are ordinary logins then. */
enum resume_result {
	RESUME_DONE,
	RESUME_UNKNOWN, /* not a ticket of this process */
	RESUME_EXPIRED, /* nothing lingers under it any more, or it was used */
	RESUME_FOREIGN, /* another device's */
	RESUME_CHANGED, /* other sessions, another user, platform or SDK version than before */
	RESUME_REFUSED, /* a token is not good (any more) */
	RESUME_RESULT_COUNT
};

enum linger_event {
	LINGER_BEGUN,
	LINGER_OVER,     /* the client did not come back in time */
	LINGER_NO_PLACE, /* linger.share is used up: the sessions ended at once */
	LINGER_EVENT_COUNT
};

#define METRICS_CODE_CLASSES 5 /* 1000, 4000, 4100, 4200, 4300: up to 16 codes each */

struct room_metrics {
	int64_t *connections[2]; /* tcp, tls */
	uint64_t *opened[2];
	uint64_t *rejected[REJECT_REASON_COUNT];
	uint64_t *closed[METRICS_CODE_CLASSES][16], *closed_eof, *closed_error, *closed_other;
	uint64_t *logins[METRICS_CODE_CLASSES][16], *logins_ok;
	uint64_t *sessions_ended[METRICS_CODE_CLASSES][16];
	uint64_t *frames_in[HF_WIRE_TYPE_COUNT], *frames_out[HF_WIRE_TYPE_COUNT];
	uint64_t *bytes_in, *bytes_out;
	uint64_t *lobby_waits, *accepts_paused;
	uint64_t *keepalive_timeouts;
	uint64_t *written_online, *written_offline, *acked, *acks_unknown;
	uint64_t *pushes[5]; /* by enum PushResult */
	uint64_t *collapsed;
	uint64_t *broadcasts_started, *broadcasts_refused, *written_broadcast;
	uint64_t *broadcast_results[5]; /* by enum PushResult */
	uint64_t *dropped[DROP_REASON_COUNT];
	uint64_t *loads_ok, *loads_failed, *loads_overloaded, *loads_quarantined;
	uint64_t *ack_batches_ok, *ack_batches_failed, *acks_given_up;
	uint64_t *updates_ok, *updates_failed, *stale_sessions, *syncs_ok, *syncs_failed;
	uint64_t *resumes[RESUME_RESULT_COUNT], *lingers[LINGER_EVENT_COUNT], *parked, *resent;
	uint64_t *upstream[UPSTREAM_OUTCOME_COUNT], *ip_penalties;
	struct hf_histogram *handshake_tls, *handshake_auth, *handshake_register;
	struct hf_histogram *accept_to_write, *accept_to_ack, *loop_lag;
	int64_t *drain_active;
};

void metrics_open(struct room *room);
/* The cell of a close code in one of the tables above. */
uint64_t *metrics_of_code(struct room_metrics *metrics, uint64_t *table[METRICS_CODE_CLASSES][16],
			  uint32_t code);

#endif
