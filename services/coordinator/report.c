/* Report: events of the status class from rooms. What it knows of a key is how far the key has
 * come: the epoch of its newest session, and whether that has ended. Older news is dropped, so that
 * a room that is late, or that repeats itself, turns nothing back. */
#define HF_LOG_MODULE "report"
#include <errno.h>
#include <stdlib.h>

#include "body.h"
#include "events.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_text.h"

#define REPORT_MAX 1000

struct key {
	struct hf_table_node node;
	TAILQ_ENTRY(key) link; /* by last use, the oldest first */
	uint64_t epoch;
	uint32_t app;
	uint8_t len;
	bool closed;
	uint8_t bytes[];
};

struct report {
	struct hf_table keys;
	TAILQ_HEAD(, key) used;
	uint64_t sequence;
	uint64_t *accepted, *stale;
};

static struct key *key_find(struct report *report, uint32_t app, const ProtobufCBinaryData *name)
{
	struct hf_table_node *node =
		hf_table_find(&report->keys, hf_hash_registration(app, name->data, name->len));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct key *key = HF_CONTAINER_OF(node, struct key, node);

		if (key->app == app && key->len == name->len &&
		    memcmp(key->bytes, name->data, name->len) == 0)
			return key;
	}
	return NULL;
}

static void key_free(struct report *report, struct key *key)
{
	hf_table_remove(&report->keys, &key->node);
	TAILQ_REMOVE(&report->used, key, link);
	free(key);
}

/* False when it tells of a session that is older than what was told already. */
static bool is_news(struct coordinator_state *state, const Hf__Event *event)
{
	struct report *report = state->report;
	struct key *key = key_find(report, event->app, &event->key);
	bool closed = event->type == HF__EVENT_TYPE__CONNECTION_CLOSED;

	if (key == NULL) {
		if (report->keys.count >= state->config->status_keys)
			key_free(report, TAILQ_FIRST(&report->used));
		key = malloc(sizeof(*key) + event->key.len);
		if (key == NULL)
			return true;
		key->app = event->app;
		key->len = (uint8_t)event->key.len;
		memcpy(key->bytes, event->key.data, event->key.len);
		hf_table_insert(&report->keys, &key->node,
				hf_hash_registration(event->app, event->key.data, event->key.len));
	} else if (event->epoch < key->epoch ||
		   (event->epoch == key->epoch && (key->closed || !closed))) {
		return false;
	} else {
		TAILQ_REMOVE(&report->used, key, link);
	}
	key->epoch = event->epoch;
	key->closed = closed;
	TAILQ_INSERT_TAIL(&report->used, key, link);
	return true;
}

uint64_t report_sequence(struct coordinator_state *state)
{
	uint64_t now_us = hf_loop_wall_ms(state->service->loop) * 1000;

	state->report->sequence = HF_MAX(state->report->sequence + 1, now_us);
	return state->report->sequence;
}

static bool is_valid(const Hf__Event *event)
{
	bool user = event->type == HF__EVENT_TYPE__USER_ONLINE ||
		    event->type == HF__EVENT_TYPE__USER_OFFLINE;

	if (event->app == 0 || !hf_event_is_status(event->type) || event->key.len == 0 ||
	    event->key.len > (user ? HF_USER_ID_MAX : HF_REGISTRATION_MAX))
		return false;
	if (user)
		return event->registration.len > 0 &&
		       event->registration.len <= HF_REGISTRATION_MAX;
	return event->epoch != 0 && event->data.len <= HF_EVENT_DATA_MAX && event->data.len > 0 &&
	       event->data.data[0] == '{' &&
	       body_is_json(hf_bytes_of(event->data.data, event->data.len));
}

/* False: there is no room for it. */
static bool take(struct coordinator_state *state, const Hf__Event *from)
{
	struct hf_service *service = state->service;
	Hf__Event event = *from;

	if (event.type == HF__EVENT_TYPE__USER_ONLINE || event.type == HF__EVENT_TYPE__USER_OFFLINE)
		return presence_hint(state, &event);
	if (!is_news(state, &event)) {
		++*state->report->stale;
		return true;
	}
	if (event.id == 0)
		event.id = hf_id_next(&service->ids, hf_loop_wall_ms(service->loop));
	event.sequence = report_sequence(state);
	return status_add(state, &event);
}

void on_report(Hf__Coordinator_Service *rpc, const Hf__ReportRequest *request,
	       Hf__ReportReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	Hf__ReportReply reply = HF__REPORT_REPLY__INIT;
	bool valid = request->n_events <= REPORT_MAX;

	for (size_t i = 0; valid && i < request->n_events; i++)
		valid = is_valid(request->events[i]);
	if (!valid) {
		++*state->bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_REPORT");
		return;
	}
	for (size_t i = 0; i < request->n_events; i++)
		reply.dropped += !take(state, request->events[i]);
	*state->report->accepted += request->n_events - reply.dropped;
	closure(&reply, call);
}

int report_open(struct coordinator_state *state)
{
	struct report *report = calloc(1, sizeof(*report));

	if (report == NULL || hf_table_init(&report->keys) < 0) {
		free(report);
		return -ENOMEM;
	}
	state->report = report;
	TAILQ_INIT(&report->used);
	report->accepted = hf_metrics_counter(state->service->metrics,
					      "holdfast_webhook_events_reported_total", NULL,
					      "Status events that rooms reported");
	report->stale = events_dropped(state, "status", "stale");
	return 0;
}

void report_close(struct coordinator_state *state)
{
	struct report *report = state->report;

	if (report == NULL)
		return;
	while (!TAILQ_EMPTY(&report->used))
		key_free(report, TAILQ_FIRST(&report->used));
	hf_table_deinit(&report->keys);
	free(report);
	state->report = NULL;
}
