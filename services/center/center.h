/* services/center/center.h - the API of the businesses: one process, and what its modules share.
 *
 * A message's way: api*.c (HTTP) -> request.c (checks) -> send.c (idempotency, rate, answer) ->
 * message.c (life) -> store.c (saver) -> route.c (register, then room). Nothing here is durable:
 * what was accepted is the store's, and what was not yet answered is the caller's to repeat. */
#ifndef CENTER_CENTER_H
#define CENTER_CENTER_H

#include <sys/queue.h>

#include "center.pb-c.h"
#include "coordinator.pb-c.h"
#include "hf_apps.h"
#include "hf_arena.h"
#include "hf_http_server.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "hf_table.h"
#include "lanes.h"
#include "recent.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "runner.h"
#include "saver.pb-c.h"

struct center_config {
	struct hf_service_config service;
	char *api_bind, *operator_key;
	uint64_t connections_max, body_max, batch_body_max, buffered_max;
	uint64_t header_ms, body_ms, idle_ms;
	uint64_t store_try_ms, store_total_ms, route_try_ms, route_total_ms, query_ms,
		disconnect_ms;
	uint64_t targets_max, frame_bytes_max, stream_in_flight, recent_max;
};

enum center_kind {
	CENTER_UNICAST,
	CENTER_MULTICAST,
	CENTER_TAG,
	CENTER_BROADCAST,
	CENTER_KIND_COUNT
};

struct center_counters {
	uint64_t *accepted[CENTER_KIND_COUNT];
	uint64_t *written, *deferred, *offline, *dropped, *unrouted, *gone;
	uint64_t *store_retries, *route_retries, *store_failed, *unregistered, *replayed;
	struct hf_histogram *store_us, *write_us;
};

struct center {
	Hf__Center_Service rpc;
	struct hf_service *service;
	struct hf_loop *loop;
	const struct center_config *config;
	struct hf_apps *apps;
	struct hf_peers *savers, *registers, *rooms, *coordinators, *centers; /* called */
	struct hf_peers *dispatchers;                                         /* listed only */
	struct hf_http_server *http;
	struct hf_arena scratch; /* of the request being checked; reset before each */
	struct hf_arena call;    /* of the RPC request being built; likewise */
	struct lanes store_lanes, lookup_lanes, push_lanes;
	struct recent recent;
	struct runner runner;
	struct hf_table quotas; /* api rate of each app: quota.c */
	TAILQ_HEAD(, message) messages;
	TAILQ_HEAD(, send) sends;
	TAILQ_HEAD(, held_answer)
	held_answers; /* until our view of the apps has caught up: apps.c */
	uint8_t operator_digest[32];
	bool has_operator, stopping;
	size_t messages_open, targets_open, frame_bytes; /* in delivery */
	size_t ack_waits; /* recipients whose ack a call waits for, or will: acks.c */
	struct center_counters counters;
};

extern const struct hf_service_type center_type;
extern const struct hf_option center_options[]; /* options.c */

/* Counted by reason; for everything that is answered with an error. */
void center_count_refusal(struct center *center, const char *reason);

#endif
