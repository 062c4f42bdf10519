#define HF_LOG_MODULE "events"
#include "events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "event.pb-c.h"
#include "hf_event.h"
#include "hf_log.h"
#include "room.h"

#define BATCH_MAX   1000
#define CALL_MS     3000
#define RETRY_MS    200
#define PATIENCE_MS 60000 /* then an event that nobody took is dropped */

struct news {
	TAILQ_ENTRY(news) link;
	uint64_t made_ms; /* monotonic */
	Hf__Event event;  /* its bytes follow */
	uint8_t bytes[];
};
TAILQ_HEAD(news_list, news);

/* Events of one lane leave in order: while some are on their way, the others wait. */
struct lane {
	struct news_list waiting;
	bool busy;
	uint64_t rests_until_ms; /* after a failure, however much more there is to tell */
};

struct outlet;

/* One call. */
struct batch {
	struct outlet *outlet;
	uint64_t lanes; /* bits */
	size_t count;
	struct news *events[BATCH_MAX];
};

/* Where events go: coordinators' Report, or saver's SpoolAppend. */
struct outlet {
	struct room_events *owner;
	struct lane lanes[HF_EVENT_LANES];
	struct hf_peer *(*peer_of)(struct room *room, unsigned lane);
	void (*send)(struct batch *batch, struct hf_peer *peer, Hf__Event **events);
	size_t calls;
};

struct room_events {
	struct room *room;
	struct outlet reports, receipts;
	struct hf_task task;
	struct hf_timer retry;
	size_t count; /* waiting and on their way */
	bool closed;
	uint64_t *made, *full, *late, *refused;
};

static void drop(struct room_events *events, struct news *event, uint64_t *counter)
{
	++*counter;
	events->count--;
	free(event);
}

/* Back to the head of their lanes, in order. */
static void put_back(struct batch *batch)
{
	for (size_t i = batch->count; i > 0; i--) {
		struct news *event = batch->events[i - 1];
		struct room *room = batch->outlet->owner->room;
		unsigned lane = hf_service_slot(room->service, event->event.app,
						event->event.key.data, event->event.key.len) %
				HF_EVENT_LANES;

		TAILQ_INSERT_HEAD(&batch->outlet->lanes[lane].waiting, event, link);
	}
	batch->count = 0;
}

static void arm_retry(struct room_events *events)
{
	if (!hf_timer_armed(&events->retry))
		hf_loop_arm(events->room->loop, &events->retry, RETRY_MS);
}

static void batch_over(struct batch *batch, bool again)
{
	struct outlet *outlet = batch->outlet;
	struct room_events *events = outlet->owner;

	for (unsigned i = 0; i < HF_EVENT_LANES; i++) {
		struct lane *lane = &outlet->lanes[i];

		if (!(batch->lanes >> i & 1))
			continue;
		lane->busy = false;
		if (again)
			lane->rests_until_ms = hf_loop_now_ms(events->room->loop) + RETRY_MS;
	}
	outlet->calls--;
	free(batch);
	if (again) /* armed already: that one comes first, and arms it for the rest */
		arm_retry(events);
	else
		hf_task_schedule(events->room->loop, &events->task);
}

static void failed(struct batch *batch, const char *call)
{
	static struct hf_log_throttle throttle;

	if (hf_log_throttle_pass(&throttle, 5000))
		HF_WARN("events not taken", "call=%s events=%zu status=%s reason=%s", call,
			batch->count, hf_rpc_status_name(hf_rpc_last_status()),
			hf_log_quote(hf_rpc_last_reason(), strlen(hf_rpc_last_reason())));
	put_back(batch);
	batch_over(batch, true);
}

static void on_reported(const Hf__ReportReply *reply, void *ctx)
{
	struct batch *batch = ctx;
	struct room_events *events = batch->outlet->owner;

	if (reply == NULL && !events->closed && hf_rpc_last_status() != HF_RPC_INVALID) {
		failed(batch, "Report");
		return;
	}
	for (size_t i = 0; i < batch->count; i++) /* what was dropped there is counted there */
		drop(events, batch->events[i], reply != NULL ? events->made : events->refused);
	batch_over(batch, false);
}

static void send_report(struct batch *batch, struct hf_peer *peer, Hf__Event **list)
{
	struct room *room = batch->outlet->owner->room;
	Hf__ReportRequest request = HF__REPORT_REQUEST__INIT;

	request.n_events = batch->count;
	request.events = list;
	hf__coordinator__report(hf_peers_call(room->coordinators, peer, CALL_MS), &request,
				on_reported, batch);
}

/* Those that the spool has no room for are gone; the others of the failed are tried again. */
static void on_appended(const Hf__SpoolAppendReply *reply, void *ctx)
{
	struct batch *batch = ctx;
	struct room_events *events = batch->outlet->owner;
	size_t kept = 0, next = 0;
	bool full;

	if (reply == NULL && !events->closed && hf_rpc_last_status() != HF_RPC_INVALID) {
		failed(batch, "SpoolAppend");
		return;
	}
	full = reply == NULL || strcmp(reply->reason, "SPOOL_FULL") == 0;
	for (size_t i = 0; i < batch->count; i++) {
		bool bad = false;

		for (next = 0; reply != NULL && next < reply->n_failed && !bad; next++)
			bad = reply->failed[next] == i;
		if (bad && !full)
			batch->events[kept++] = batch->events[i];
		else
			drop(events, batch->events[i],
			     reply == NULL || bad ? events->refused : events->made);
	}
	batch->count = kept;
	put_back(batch);
	batch_over(batch, kept > 0);
}

static void send_receipts(struct batch *batch, struct hf_peer *peer, Hf__Event **list)
{
	struct room *room = batch->outlet->owner->room;
	Hf__SpoolAppendRequest request = HF__SPOOL_APPEND_REQUEST__INIT;

	request.n_events = batch->count;
	request.events = list;
	hf__saver__spool_append(hf_peers_call(room->savers, peer, CALL_MS), &request, on_appended,
				batch);
}

static struct hf_peer *coordinator_of(struct room *room, unsigned lane)
{
	return hf_peers_by_slot(room->coordinators, (uint16_t)lane);
}

static struct hf_peer *saver_of(struct room *room, unsigned lane)
{
	return hf_peers_by_slot(room->savers, (uint16_t)(lane * (HF_SLOTS / HF_EVENT_LANES)));
}

/* Events of the lane into the batch; those that waited too long are dropped on the way. */
static void take(struct batch *batch, struct lane *lane, unsigned number)
{
	struct room_events *events = batch->outlet->owner;
	uint64_t now_ms = hf_loop_now_ms(events->room->loop);
	struct news *event;

	while (batch->count < BATCH_MAX && (event = TAILQ_FIRST(&lane->waiting)) != NULL) {
		TAILQ_REMOVE(&lane->waiting, event, link);
		if (now_ms - event->made_ms > PATIENCE_MS) {
			drop(events, event, events->late);
			continue;
		}
		batch->events[batch->count++] = event;
		batch->lanes |= 1ull << number;
		lane->busy = true;
	}
}

/* One call to whom the first free lane with events belongs, with what other lanes have for him. */
static bool flush_one(struct outlet *outlet)
{
	struct room *room = outlet->owner->room;
	uint64_t now_ms = hf_loop_now_ms(room->loop);
	struct batch *batch = NULL;
	struct hf_peer *peer = NULL;
	Hf__Event *list[BATCH_MAX];

	for (unsigned i = 0; i < HF_EVENT_LANES; i++) {
		struct lane *lane = &outlet->lanes[i];

		if (lane->busy || lane->rests_until_ms > now_ms || TAILQ_EMPTY(&lane->waiting))
			continue;
		if (batch == NULL) {
			batch = calloc(1, sizeof(*batch));
			if (batch == NULL)
				return false;
			batch->outlet = outlet;
			peer = outlet->peer_of(room, i);
		} else if (outlet->peer_of(room, i) != peer) {
			continue;
		}
		take(batch, lane, i);
	}
	if (batch == NULL)
		return false;
	if (batch->count == 0) {
		free(batch);
		return true;
	}
	for (size_t i = 0; i < batch->count; i++)
		list[i] = &batch->events[i]->event;
	outlet->calls++;
	outlet->send(batch, peer, list);
	return true;
}

static void flush(void *ctx)
{
	struct room_events *events = ctx;

	if (events->closed)
		return;
	while (flush_one(&events->reports))
		continue;
	while (flush_one(&events->receipts))
		continue;
}

/* Some lanes may rest a little longer than those that it was armed for. */
static void on_retry(struct hf_timer *timer, void *ctx)
{
	struct room_events *events = ctx;

	flush(events);
	if (events->count > 0 && !events->closed)
		arm_retry(events);
}

/* Key, data and registration are copied. */
static void add(struct room *room, struct outlet *outlet, const Hf__Event *from)
{
	struct room_events *events = room->events;
	size_t size = from->key.len + from->data.len + from->registration.len;
	unsigned lane = hf_service_slot(room->service, from->app, from->key.data, from->key.len) %
			HF_EVENT_LANES;
	struct news *event = NULL;
	uint8_t *pos;

	if (events->count < room->config->limits.events)
		event = malloc(sizeof(*event) + size);
	if (event == NULL) {
		++*events->full;
		return;
	}
	event->made_ms = hf_loop_now_ms(room->loop);
	event->event = *from;
	pos = event->bytes;
	event->event.key.data = memcpy(pos, from->key.data, from->key.len);
	pos += from->key.len;
	event->event.data.data = pos;
	if (from->data.len > 0)
		memcpy(pos, from->data.data, from->data.len);
	pos += from->data.len;
	event->event.registration.data = pos;
	if (from->registration.len > 0)
		memcpy(pos, from->registration.data, from->registration.len);
	TAILQ_INSERT_TAIL(&outlet->lanes[lane].waiting, event, link);
	events->count++;
	hf_task_schedule(room->loop, &events->task);
}

static uint32_t wanted(const struct room *room, const struct session *session)
{
	const struct hf_app *app = hf_apps_get(room->apps, session->app);

	return app != NULL ? app->event_mask : 0;
}

static void fill(struct room *room, const struct session *session, Hf__EventType type,
		 struct hf_bytes key, Hf__Event *ret)
{
	hf__event__init(ret);
	ret->type = type;
	ret->app = session->app;
	ret->key = (ProtobufCBinaryData){ key.len, (uint8_t *)(uintptr_t)key.data };
	ret->at_ms = hf_loop_wall_ms(room->loop);
	ret->epoch = session->epoch;
}

static void hint(struct room *room, const struct session *session, Hf__EventType type,
		 struct hf_bytes user_id)
{
	struct hf_bytes registration = session_registration(room, session);
	Hf__Event event;

	if (user_id.len == 0)
		return;
	fill(room, session, type, user_id, &event);
	event.registration =
		(ProtobufCBinaryData){ registration.len, (uint8_t *)(uintptr_t)registration.data };
	add(room, &room->events->reports, &event);
}

static void put_field(struct hf_json_writer *w, const char *name, struct hf_bytes value)
{
	hf_json_put_text(w, name);
	hf_json_put_string(w, value);
}

/* `ended`: with how and when it ended. */
static void report(struct room *room, const struct session *session, Hf__EventType type, bool ended,
		   uint32_t code, struct hf_bytes reason)
{
	struct connection *connection = room_connection(room, session->connection);
	struct hf_bytes user_id = session_user_id(room, session);
	char data[HF_EVENT_DATA_MAX], id[HF_ID_TEXT_SIZE], connection_id[48];
	struct hf_json_writer w = { data, data + sizeof(data), false };
	uint64_t began_ms = hf_id_wall_ms(session->epoch), now_ms = hf_loop_wall_ms(room->loop);
	Hf__Event event;

	hf_id_format(session->epoch, id);
	snprintf(connection_id, sizeof(connection_id), "%u-%08x-%s", room->service->instance.number,
		 session->handle, id);
	put_field(&w, "{\"registration_id\":", session_registration(room, session));
	if (user_id.len > 0)
		put_field(&w, ",\"user_id\":", user_id);
	put_field(&w, ",\"connection_id\":", hf_bytes_of_string(connection_id));
	put_field(&w, ",\"node\":", hf_bytes_of_string(room->service->instance.id));
	put_field(&w, ",\"platform\":", connection_profile(room, connection).platform);
	if (ended) {
		hf_json_put_text(&w, ",\"code\":");
		hf_json_put_uint(&w, code);
		put_field(&w, ",\"reason\":", reason);
		hf_json_put_text(&w, ",\"duration_s\":");
		hf_json_put_uint(&w, now_ms > began_ms ? (now_ms - began_ms) / 1000 : 0);
	}
	hf_json_put_text(&w, "}");
	if (w.failed)
		return; /* can't be: the parts have bounds */
	fill(room, session, type, session_registration(room, session), &event);
	event.id = hf_id_next(&room->service->ids, event.at_ms);
	event.data = (ProtobufCBinaryData){ (size_t)(w.pos - data), (uint8_t *)data };
	add(room, &room->events->reports, &event);
}

void events_session_opened(struct room *room, struct session *session)
{
	uint32_t mask = wanted(room, session);

	session->began = true;
	if (mask >> HF__EVENT_TYPE__CONNECTION_OPENED & 1)
		report(room, session, HF__EVENT_TYPE__CONNECTION_OPENED, false, 0,
		       hf_bytes_of(NULL, 0));
	if (mask & (1u << HF__EVENT_TYPE__USER_ONLINE | 1u << HF__EVENT_TYPE__USER_OFFLINE))
		hint(room, session, HF__EVENT_TYPE__USER_ONLINE, session_user_id(room, session));
}

void events_session_closed(struct room *room, const struct session *session, uint32_t code,
			   struct hf_bytes reason)
{
	uint32_t mask = wanted(room, session);

	if (mask == 0 || !session->began)
		return;
	if (mask >> HF__EVENT_TYPE__CONNECTION_CLOSED & 1)
		report(room, session, HF__EVENT_TYPE__CONNECTION_CLOSED, true, code, reason);
	if (mask & (1u << HF__EVENT_TYPE__USER_ONLINE | 1u << HF__EVENT_TYPE__USER_OFFLINE))
		hint(room, session, HF__EVENT_TYPE__USER_OFFLINE, session_user_id(room, session));
}

void events_user_changed(struct room *room, const struct session *session, struct hf_bytes old_user,
			 struct hf_bytes new_user)
{
	uint32_t mask = wanted(room, session);

	if (!(mask & (1u << HF__EVENT_TYPE__USER_ONLINE | 1u << HF__EVENT_TYPE__USER_OFFLINE)) ||
	    !session->began)
		return;
	hint(room, session, HF__EVENT_TYPE__USER_OFFLINE, old_user);
	hint(room, session, HF__EVENT_TYPE__USER_ONLINE, new_user);
}

void events_message_written(struct room *room, const struct session *session, uint64_t message_id,
			    const Hf__Delivery *delivery)
{
	struct hf_bytes registration = session_registration(room, session);
	struct hf_event_message message = { .message_id = message_id,
					    .registration = registration };
	char data[HF_EVENT_DATA_MAX];
	Hf__Event event;
	ssize_t len;

	if (delivery == NULL || !(delivery->receipts >> HF__EVENT_TYPE__MESSAGE_WRITTEN & 1) ||
	    !(wanted(room, session) >> HF__EVENT_TYPE__MESSAGE_WRITTEN & 1))
		return;
	message.label = hf_bytes_of(delivery->label.data, delivery->label.len);
	message.params = hf_bytes_of(delivery->receipt_params.data, delivery->receipt_params.len);
	len = hf_event_message_data(&message, data);
	if (len < 0)
		return;
	fill(room, session, HF__EVENT_TYPE__MESSAGE_WRITTEN, registration, &event);
	event.id = hf_event_message_id(room->service->salt, event.type, message_id, session->app,
				       registration.data, registration.len);
	event.epoch = 0;
	event.data = (ProtobufCBinaryData){ (size_t)len, (uint8_t *)data };
	add(room, &room->events->receipts, &event);
}

static void outlet_init(struct outlet *outlet, struct room_events *owner,
			struct hf_peer *(*peer_of)(struct room *, unsigned),
			void (*send)(struct batch *, struct hf_peer *, Hf__Event **))
{
	outlet->owner = owner;
	outlet->peer_of = peer_of;
	outlet->send = send;
	for (unsigned i = 0; i < HF_EVENT_LANES; i++)
		TAILQ_INIT(&outlet->lanes[i].waiting);
}

static void outlet_deinit(struct outlet *outlet)
{
	for (unsigned i = 0; i < HF_EVENT_LANES; i++) {
		struct news *event;

		while ((event = TAILQ_FIRST(&outlet->lanes[i].waiting)) != NULL) {
			TAILQ_REMOVE(&outlet->lanes[i].waiting, event, link);
			free(event);
		}
	}
}

static double read_waiting(void *ctx)
{
	return (double)((struct room_events *)ctx)->count;
}

int events_open(struct room *room)
{
	static const char name[] = "holdfast_room_events_total",
			  help[] = "Events for callbacks by what became of them";
	struct hf_metrics *metrics = room->service->metrics;
	struct room_events *events = calloc(1, sizeof(*events));

	if (events == NULL)
		return -ENOMEM;
	room->events = events;
	events->room = room;
	outlet_init(&events->reports, events, coordinator_of, send_report);
	outlet_init(&events->receipts, events, saver_of, send_receipts);
	hf_task_init(&events->task, flush, events);
	hf_timer_init(&events->retry, on_retry, events);
	events->made = hf_metrics_counter(metrics, name, "result=\"taken\"", help);
	events->full = hf_metrics_counter(metrics, name, "result=\"queue_full\"", help);
	events->late = hf_metrics_counter(metrics, name, "result=\"late\"", help);
	events->refused = hf_metrics_counter(metrics, name, "result=\"refused\"", help);
	hf_metrics_gauge_fn(metrics, "holdfast_room_events_waiting", NULL,
			    "Events for callbacks that nobody has taken yet", read_waiting, events);
	return 0;
}

bool events_are_settled(const struct room *room)
{
	return room->events->count == 0 || hf_peers_count(room->coordinators) == 0;
}

void events_stop(struct room *room)
{
	if (room->events != NULL)
		room->events->closed = true;
}

void events_close(struct room *room)
{
	struct room_events *events = room->events;

	if (events == NULL)
		return;
	hf_task_cancel(room->loop, &events->task);
	hf_wheel_disarm(&events->retry);
	outlet_deinit(&events->reports);
	outlet_deinit(&events->receipts);
	free(events);
	room->events = NULL;
}
