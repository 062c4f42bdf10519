#include "metrics.h"

#include <stdio.h>

#include "room.h"

static const char *const reject_names[] = {
	[REJECT_CONNECTIONS] = "connections",
	[REJECT_PER_IP_CONNECTIONS] = "per_ip_connections",
	[REJECT_ACCEPT_RATE] = "accept_rate",
	[REJECT_PER_IP_ACCEPT_RATE] = "per_ip_accept_rate",
	[REJECT_PENALTY] = "penalty",
	[REJECT_DESCRIPTORS] = "descriptors",
	[REJECT_MEMORY] = "memory",
	[REJECT_DRAINING] = "draining",
	[REJECT_TLS_NOT_CONFIGURED] = "tls_not_configured",
	[REJECT_TLS_HANDSHAKE] = "tls_handshake",
	[REJECT_HTTP] = "http",
	[REJECT_NOT_OURS] = "not_our_protocol",
	[REJECT_HANDSHAKE_TIMEOUT] = "handshake_timeout",
	[REJECT_CROWD] = "crowd",
	[REJECT_LOGIN] = "login",
};
static const char *const drop_names[] = {
	[DROP_QUEUE_FULL] = "queue_full",
	[DROP_EXPIRED] = "expired",
	[DROP_NOT_READY] = "not_ready",
	[DROP_MEMORY] = "memory",
};
static const char *const push_names[] = {
	[HF__PUSH_RESULT__WRITTEN] = "written",     [HF__PUSH_RESULT__DEFERRED] = "deferred",
	[HF__PUSH_RESULT__IN_FLIGHT] = "in_flight", [HF__PUSH_RESULT__GONE] = "gone",
	[HF__PUSH_RESULT__DROPPED] = "dropped",
};
static const char *const upstream_names[] = {
	[UPSTREAM_ACCEPTED] = "accepted",         [UPSTREAM_REFUSED] = "refused",
	[UPSTREAM_NOT_ATTACHED] = "not_attached", [UPSTREAM_IN_FLIGHT] = "in_flight",
	[UPSTREAM_UNAVAILABLE] = "unavailable",   [UPSTREAM_GONE] = "gone",
};
static const char *const resume_names[] = {
	[RESUME_DONE] = "resumed",    [RESUME_UNKNOWN] = "unknown", [RESUME_EXPIRED] = "expired",
	[RESUME_FOREIGN] = "foreign", [RESUME_CHANGED] = "changed", [RESUME_REFUSED] = "refused",
};
static const char *const linger_names[] = {
	[LINGER_BEGUN] = "begun",
	[LINGER_OVER] = "over",
	[LINGER_NO_PLACE] = "no_place",
};
static const unsigned code_bases[METRICS_CODE_CLASSES] = { 1000, 4000, 4100, 4200, 4300 };

static uint64_t *labelled(struct room *room, const char *name, const char *key, const char *value,
			  const char *help)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "%s=\"%s\"", key, value);
	return hf_metrics_counter(room->service->metrics, name, labels, help);
}

static uint64_t *plain(struct room *room, const char *name, const char *help)
{
	return hf_metrics_counter(room->service->metrics, name, NULL, help);
}

static void open_codes(struct room *room, uint64_t *table[METRICS_CODE_CLASSES][16],
		       const char *name, const char *help)
{
	for (unsigned class = 0; class < METRICS_CODE_CLASSES; class ++) {
		for (unsigned i = 0; i < 16; i++) {
			char text[16];

			if (!hf_close_is_known(code_bases[class] + i))
				continue;
			snprintf(text, sizeof(text), "%u", code_bases[class] + i);
			table[class][i] = labelled(room, name, "code", text, help);
		}
	}
}

uint64_t *metrics_of_code(struct room_metrics *metrics, uint64_t *table[METRICS_CODE_CLASSES][16],
			  uint32_t code)
{
	for (unsigned class = 0; class < METRICS_CODE_CLASSES; class ++) {
		uint32_t i = code - code_bases[class];

		if (i < 16 && table[class][i] != NULL)
			return table[class][i];
	}
	return metrics->closed_other;
}

static double read_queue(void *ctx)
{
	return (double)((const struct room *)ctx)->queued_bytes;
}

static double read_sessions(void *ctx)
{
	return ((const struct room *)ctx)->sessions.live;
}

static double read_logged_in(void *ctx)
{
	return (double)((const struct room *)ctx)->logged_in;
}

static double slab_bytes(const struct hf_slab *slab)
{
	return (double)slab->page_count * HF_SLAB_PAGE_RECORDS * (slab->record_size + 1);
}

static double read_lobby(void *ctx)
{
	return ((const struct room *)ctx)->lobby.line.count;
}

static double read_memory(void *ctx)
{
	const struct room *room = ctx;
	double bytes = slab_bytes(&room->connections) + slab_bytes(&room->sessions) +
		       slab_bytes(&room->ips.entries) + (double)pool_bytes(&room->pool);

	return room->connections.live == 0 ? 0 : bytes / room->connections.live;
}

static double read_lingering(void *ctx)
{
	return ((const struct room *)ctx)->cut_count;
}

static double read_kept(void *ctx)
{
	return (double)((const struct room *)ctx)->kept_bytes;
}

static double read_loads_waiting(void *ctx)
{
	return ((const struct room *)ctx)->loads.waiting;
}

static double read_loads_in_flight(void *ctx)
{
	return ((const struct room *)ctx)->loads.in_flight;
}

static double read_drain_remaining(void *ctx)
{
	const struct room *room = ctx;

	return room_is_draining(room) ? room->connections.live : 0;
}

static void open_traffic(struct room *room)
{
	struct room_metrics *m = &room->metrics;
	const char *frames = "holdfast_room_frames_total", *help = "Frames by direction and type";

	for (unsigned type = 1; type < HF_WIRE_TYPE_COUNT; type++) {
		char labels[96];

		snprintf(labels, sizeof(labels), "direction=\"in\",type=\"%s\"",
			 hf_wire_type_name(type));
		m->frames_in[type] =
			hf_metrics_counter(room->service->metrics, frames, labels, help);
		snprintf(labels, sizeof(labels), "direction=\"out\",type=\"%s\"",
			 hf_wire_type_name(type));
		m->frames_out[type] =
			hf_metrics_counter(room->service->metrics, frames, labels, help);
	}
	m->bytes_in = labelled(room, "holdfast_room_bytes_total", "direction", "in",
			       "Bytes of clients' connections, without TLS");
	m->bytes_out = labelled(room, "holdfast_room_bytes_total", "direction", "out", "");
	m->keepalive_timeouts = plain(room, "holdfast_room_keepalive_timeouts_total",
				      "Connections cut after too long a silence");
	m->lobby_waits = plain(room, "holdfast_room_lobby_waits_total",
			       "Times that newcomers began to stand in line");
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_lobby_connections", NULL,
			    "Connections that stand in line to log in", read_lobby, room);
	m->accepts_paused = plain(room, "holdfast_room_accepts_paused_total",
				  "Times that nobody was accepted, as the lobby was full");
	for (int i = 0; i < UPSTREAM_OUTCOME_COUNT; i++)
		m->upstream[i] = labelled(room, "holdfast_room_upstream_total", "result",
					  upstream_names[i], "UPSTREAM frames by outcome");
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_send_queue_bytes", NULL,
			    "Bytes waiting to be written to clients", read_queue, room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_memory_per_connection_bytes",
			    NULL, "Memory of records, names and queues by connection", read_memory,
			    room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_sessions", NULL,
			    "Registrations attached", read_sessions, room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_logged_in_connections", NULL,
			    "Connections whose login is done", read_logged_in, room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_drain_remaining_connections", NULL,
			    "Connections still to be moved by a drain", read_drain_remaining, room);
	m->drain_active = hf_metrics_gauge(room->service->metrics, "holdfast_drain_active", NULL,
					   "1 while this process drains");
}

static double read_broadcasts(void *ctx)
{
	return (double)((const struct room *)ctx)->broadcasts.active;
}

static void open_broadcasts(struct room *room)
{
	struct room_metrics *m = &room->metrics;
	const char *started = "holdfast_room_broadcasts_total";

	m->broadcasts_started =
		labelled(room, started, "result", "started", "Broadcasts that center asked for");
	m->broadcasts_refused = labelled(room, started, "result", "refused", "");
	for (int i = 0; i < (int)HF_ARRAY_LEN(push_names); i++)
		m->broadcast_results[i] =
			labelled(room, "holdfast_room_broadcast_messages_total", "result",
				 push_names[i], "Broadcasts given to sessions, by outcome");
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_broadcasts_open", NULL,
			    "Broadcasts that are not done, paused ones too", read_broadcasts, room);
}

static void open_connections(struct room *room)
{
	struct room_metrics *m = &room->metrics;
	const char *labels[2] = { "transport=\"tcp\"", "transport=\"tls\"" };

	for (int i = 0; i < 2; i++) {
		m->connections[i] =
			hf_metrics_gauge(room->service->metrics, "holdfast_room_connections",
					 labels[i], "Connections of clients");
		m->opened[i] = hf_metrics_counter(room->service->metrics,
						  "holdfast_room_connections_opened_total",
						  labels[i], "Connections accepted");
	}
	for (int i = 0; i < REJECT_REASON_COUNT; i++)
		m->rejected[i] = labelled(room, "holdfast_room_connections_rejected_total",
					  "reason", reject_names[i],
					  "Connections turned away before their login was done");
	open_codes(room, m->closed, "holdfast_room_connections_closed_total",
		   "Connections ended, by close code");
	m->closed_eof = labelled(room, "holdfast_room_connections_closed_total", "code", "eof", "");
	m->closed_error =
		labelled(room, "holdfast_room_connections_closed_total", "code", "error", "");
	m->closed_other =
		labelled(room, "holdfast_room_connections_closed_total", "code", "other", "");
	open_codes(room, m->logins, "holdfast_room_logins_total",
		   "Sessions asked for by LOGIN and ATTACH, by close code");
	m->logins_ok = labelled(room, "holdfast_room_logins_total", "code", "ok", "");
	open_codes(room, m->sessions_ended, "holdfast_room_sessions_ended_total",
		   "Sessions that the cluster ended, by close code");
	m->ip_penalties = plain(room, "holdfast_room_ip_penalties_total",
				"Addresses refused for a time after too many failed logins");
}

static void open_delivery(struct room *room)
{
	struct room_metrics *m = &room->metrics;
	const char *written = "holdfast_messages_written_total";
	const char *loads = "holdfast_room_loads_total",
		   *batches = "holdfast_room_ack_batches_total";

	for (int i = 0; i < (int)HF_ARRAY_LEN(push_names); i++)
		m->pushes[i] = labelled(room, "holdfast_room_pushes_total", "result", push_names[i],
					"Pushes to sessions, by outcome");
	for (int i = 0; i < DROP_REASON_COUNT; i++)
		m->dropped[i] = labelled(room, "holdfast_messages_dropped_total", "reason",
					 drop_names[i], "Messages not written to a session");
	m->written_online = labelled(room, written, "path", "online",
				     "Messages written to clients: pushed, or loaded from saver");
	m->written_broadcast = labelled(room, written, "path", "broadcast", "");
	m->written_offline = labelled(room, written, "path", "offline", "");
	m->collapsed = plain(room, "holdfast_room_messages_collapsed_total",
			     "Messages that a newer one replaced before they were written");
	m->acked = plain(room, "holdfast_messages_acked_total", "Messages acked by clients");
	m->acks_unknown = plain(room, "holdfast_room_acks_unknown_total",
				"Ids acked that were not in flight");
	m->loads_ok = labelled(room, loads, "result", "ok", "Pages asked of saver");
	m->loads_failed = labelled(room, loads, "result", "failed", "");
	m->loads_overloaded = labelled(room, loads, "result", "overloaded", "");
	m->loads_quarantined = labelled(room, loads, "result", "quarantined", "");
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_loads_waiting", NULL,
			    "Pages that wait until saver can take the call", read_loads_waiting,
			    room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_loads_in_flight", NULL,
			    "Pages asked of saver and not answered", read_loads_in_flight, room);
	m->ack_batches_ok = labelled(room, batches, "result", "ok", "Calls of Saver.Ack");
	m->ack_batches_failed = labelled(room, batches, "result", "failed", "");
	m->acks_given_up = plain(room, "holdfast_room_acks_given_up_total",
				 "Acks not handed to saver in time: delivered again later");
	m->accept_to_write = hf_metrics_histogram(
		room->service->metrics, "holdfast_delivery_latency_seconds",
		"stage=\"accept_to_write\"",
		"From the message's id to the write (pushed ones) and to the client's ack", 1000);
	m->accept_to_ack =
		hf_metrics_histogram(room->service->metrics, "holdfast_delivery_latency_seconds",
				     "stage=\"accept_to_ack\"", "", 1000);
}

static void open_linger(struct room *room)
{
	struct room_metrics *m = &room->metrics;

	for (int i = 0; i < RESUME_RESULT_COUNT; i++)
		m->resumes[i] = labelled(room, "holdfast_room_resumes_total", "result",
					 resume_names[i], "LOGINs with a ticket, by outcome");
	for (int i = 0; i < LINGER_EVENT_COUNT; i++)
		m->lingers[i] =
			labelled(room, "holdfast_room_lingers_total", "event", linger_names[i],
				 "Connections that died and left their sessions waiting");
	m->parked = plain(room, "holdfast_room_parked_total",
			  "Pushes kept for a session whose client was cut a moment ago");
	m->resent = plain(room, "holdfast_room_resent_total",
			  "Messages sent again when a client resumed");
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_lingering_connections", NULL,
			    "Dead connections whose sessions wait for the client", read_lingering,
			    room);
	hf_metrics_gauge_fn(room->service->metrics, "holdfast_room_kept_bytes", NULL,
			    "Frames kept until their message is acked", read_kept, room);
}

void metrics_open(struct room *room)
{
	struct room_metrics *m = &room->metrics;
	const char *updates = "holdfast_room_register_updates_total";
	const char *syncs = "holdfast_room_register_syncs_total";
	const char *handshake = "holdfast_room_handshake_duration_seconds";

	open_connections(room);
	open_traffic(room);
	open_delivery(room);
	open_broadcasts(room);
	open_linger(room);
	m->updates_ok = labelled(room, updates, "result", "ok", "Calls of Register.Update");
	m->updates_failed = labelled(room, updates, "result", "failed", "");
	m->syncs_ok = labelled(room, syncs, "result", "ok", "Calls of Register.Sync");
	m->syncs_failed = labelled(room, syncs, "result", "failed", "");
	m->stale_sessions = plain(room, "holdfast_room_stale_sessions_total",
				  "Sessions that register said a newer one replaces");
	m->handshake_tls = hf_metrics_histogram(
		room->service->metrics, handshake, "stage=\"tls\"",
		"Stages of a login: TLS, until LOGIN was valid, until register answered", 1000000);
	m->handshake_auth = hf_metrics_histogram(room->service->metrics, handshake,
						 "stage=\"auth\"", "", 1000000);
	m->handshake_register = hf_metrics_histogram(room->service->metrics, handshake,
						     "stage=\"register\"", "", 1000000);
	m->loop_lag = hf_metrics_histogram(room->service->metrics, "holdfast_room_loop_lag_seconds",
					   NULL, "How late the room's 100 ms tick ran", 1000);
}
