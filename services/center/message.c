/* services/center/message.c - the life of a message; see message.h. */
#include "message.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_wire.h"

#define RETRY_BASE_MS 50
#define RETRY_CAP_MS  500
#define PACE_TICK_MS  50

static void on_retry_timer(struct hf_timer *timer, void *ctx);
static void on_pace_timer(struct hf_timer *timer, void *ctx);

static void message_free(struct message *message)
{
	struct center *center = message->center;

	TAILQ_REMOVE(&center->messages, message, link);
	center->messages_open--;
	center->targets_open -= message->target_count;
	center->frame_bytes -= message->frame_len;
	center->ack_waits -= message->ack_waits;
	hf_wheel_disarm(&message->retry_timer);
	hf_wheel_disarm(&message->pace_timer);
	free(message);
}

static void free_if_over(struct message *message)
{
	bool over = message->phase == MESSAGE_DONE || message->phase == MESSAGE_NEW;

	if (!message->owned && over && message->holds == 0)
		message_free(message);
}

size_t message_frame_max(const struct request *request)
{
	return request->payload.len + HF_WIRE_PUSH_OVERHEAD;
}

ssize_t message_build_frame(uint64_t id, uint32_t app, const struct request *request,
			    uint8_t *ret_frame)
{
	struct hf_wire_push push = {
		.message_id = id,
		.app = app,
		.kind = request->payload_kind,
		.qos = request->class != REQUEST_TRANSIENT, /* what is not stored is not acked */
		.payload = request->payload,
	};

	return hf_wire_encode_push(&push, ret_frame, message_frame_max(request));
}

void message_fill_delivery(Hf__Delivery *delivery, const struct request *request)
{
	const ProtobufCBinaryData key = { strlen(request->collapse_key),
					  (uint8_t *)request->collapse_key };
	const ProtobufCBinaryData label = { strlen(request->label), (uint8_t *)request->label };

	hf__delivery__init(delivery);
	delivery->high = request->high;
	delivery->collapse_key = key;
	delivery->receipts = request->receipts;
	delivery->receipt_params = (ProtobufCBinaryData){ request->receipt_params.len,
							  (uint8_t *)request->receipt_params.data };
	delivery->label = label;
}

void message_problem(int err, struct problem *ret_problem)
{
	if (err == -EMSGSIZE)
		problem_set(ret_problem, 413, "PAYLOAD_TOO_LARGE", "message", NULL,
			    "the payload is too large");
	else
		problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}

static ProtobufCBinaryData keep(ProtobufCBinaryData bytes, uint8_t **at)
{
	if (bytes.len > 0)
		memcpy(*at, bytes.data, bytes.len);
	bytes.data = *at;
	*at += bytes.len;
	return bytes;
}

/* For as long as the message: what the request points to goes to `room`. Nothing for a message
 * without options. Returns what is left of the room. */
static uint8_t *fill_delivery(struct message *message, const struct request *request, uint8_t *room)
{
	Hf__Delivery *delivery = &message->delivery_of;

	if (!request->high && request->collapse_key[0] == '\0' && request->receipts == 0 &&
	    request->label[0] == '\0')
		return room;
	message_fill_delivery(delivery, request);
	delivery->label.data = (uint8_t *)message->label;
	delivery->collapse_key = keep(delivery->collapse_key, &room);
	delivery->receipt_params = keep(delivery->receipt_params, &room);
	message->delivery = delivery;
	return room;
}

/* Names go to `room`; returns what is left of it. */
static uint8_t *fill_targets(struct message *message, const struct request *request, uint8_t *names)
{
	for (size_t i = 0; i < request->target_count; i++) {
		struct target *target = &message->targets[i];
		struct hf_bytes registration = request->targets[i];

		memcpy(names, registration.data, registration.len);
		target->message = message;
		target->registration = names;
		target->registration_len = (uint8_t)registration.len;
		target->slot = hf_service_slot(message->center->service, message->app, names,
					       registration.len);
		names += registration.len;
	}
	message->target_count = (uint32_t)request->target_count;
	return names;
}

static void remember(const struct message *message)
{
	struct recent_entry *entry =
		recent_add(&message->center->recent, message->id, message->app);

	if (entry == NULL)
		return;
	entry->class = message->class;
	entry->expires_ms = message->expires_ms;
	entry->targets = message->target_count;
	memcpy(entry->label, message->label, sizeof(entry->label));
}

/* When it is not stored, it lives as long as it is pushed. */
static uint64_t expiry_of(const struct message *message, const struct request *request)
{
	uint64_t from_ms = HF_MAX(message->wall_ms, request->send_at_ms);
	uint64_t spread_ms = request->spread_ms;

	if (request->class != REQUEST_TRANSIENT)
		return (request->send_at_ms > 0 ? request->send_at_ms : message->wall_ms) +
		       request->ttl_ms;
	if (request->rate_per_second > 0)
		spread_ms = request->target_count * 1000 / request->rate_per_second;
	return from_ms + spread_ms + message->center->config->route_total_ms;
}

/* What it begins with; all else is 0. */
static void init(struct message *message, struct center *center, const struct hf_app *app,
		 const struct request *request, uint64_t id)
{
	message->center = center;
	message->class = request->class;
	message->app = app->id;
	message->cap = app->stored_per_registration;
	message->wall_ms = hf_loop_wall_ms(center->loop);
	message->started_us = hf_loop_now_us(center->loop);
	message->id = id != 0 ? id : hf_id_next(&center->service->ids, message->wall_ms);
	message->expires_ms = expiry_of(message, request);
	message->rate_per_second = request->rate_per_second;
	message->spread_ms = request->spread_ms;
	message->backoff = (struct hf_backoff){ .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS };
	message->durability = HF__DURABILITY__COMMITTED;
	message->store_reason = "STORE_UNAVAILABLE";
	message->owned = true;
	memcpy(message->label, request->label, sizeof(message->label));
	TAILQ_INIT(&message->retry);
	hf_timer_init(&message->retry_timer, on_retry_timer, message);
	hf_timer_init(&message->pace_timer, on_pace_timer, message);
}

int message_new(struct center *center, const struct hf_app *app, const struct request *request,
		uint64_t id, struct message **ret_message)
{
	size_t fixed_size = sizeof(struct message) + request->target_count * sizeof(struct target);
	size_t bytes = strlen(request->collapse_key) + request->receipt_params.len +
		       message_frame_max(request);
	struct message *message;
	uint8_t *room;
	ssize_t n;

	for (size_t i = 0; i < request->target_count; i++)
		bytes += request->targets[i].len;
	message = malloc(fixed_size + bytes);
	if (message == NULL)
		return -ENOMEM;
	memset(message, 0, fixed_size);
	init(message, center, app, request, id);
	room = fill_targets(message, request, (uint8_t *)message + fixed_size);
	room = fill_delivery(message, request, room);
	n = message_build_frame(message->id, message->app, request, room);
	if (n < 0) {
		free(message);
		return (int)n;
	}
	message->frame = room;
	message->frame_len = (size_t)n;
	center->messages_open++;
	center->targets_open += message->target_count;
	center->frame_bytes += message->frame_len;
	if (request->wait == REQUEST_WAIT_ACKED)
		message->ack_waits = message->target_count;
	center->ack_waits += message->ack_waits;
	TAILQ_INSERT_TAIL(&center->messages, message, link);
	*ret_message = message;
	return 0;
}

static void emit(struct message *message, enum message_event event)
{
	if (message->owned)
		message->on_event(message, event, message->ctx);
}

static void finish_routing(struct message *message)
{
	struct recent_entry *entry = recent_find(&message->center->recent, message->id);

	message->phase = MESSAGE_DONE;
	if (entry != NULL) {
		entry->routed = true;
		entry->written = message->written;
		entry->offline = message->offline;
		entry->dropped = message->dropped;
		entry->unrouted = message->unrouted;
	}
	message->holds++; /* the listener may let go of it */
	emit(message, MESSAGE_ROUTED);
	message->holds--;
	free_if_over(message);
}

/* Paced: as many as are due by now go on their way. */
static void on_pace_timer(struct hf_timer *timer, void *ctx)
{
	struct message *message = ctx;
	struct hf_loop *loop = message->center->loop;
	uint64_t passed_ms = hf_loop_now_ms(loop) - message->paced_since_ms + PACE_TICK_MS;
	/* A center that ends hurries: what it does not push waits for the next login. */
	uint64_t due = message->center->runner.draining ? UINT64_MAX
		       : message->rate_per_second > 0
			       ? passed_ms * message->rate_per_second / 1000
			       : passed_ms * message->accepted / message->spread_ms;

	while (message->paced_next < message->target_count && message->paced_count < due) {
		struct target *target = &message->targets[message->paced_next++];

		if (target->outcome != TARGET_STORED)
			continue;
		message->paced_count++;
		route_begin(target);
	}
	message->deadline_ms = hf_loop_now_ms(loop) + message->center->config->route_total_ms;
	if (message->paced_next < message->target_count)
		hf_loop_arm(loop, &message->pace_timer, PACE_TICK_MS);
}

static void finish_storing(struct message *message)
{
	struct center *center = message->center;
	struct recent_entry *entry = recent_find(&center->recent, message->id);

	message->phase = MESSAGE_ROUTING;
	message->deadline_ms = hf_loop_now_ms(center->loop) + center->config->route_total_ms;
	hf_backoff_reset(&message->backoff);
	if (entry != NULL) {
		entry->stored = true;
		entry->accepted = message->accepted;
	}
	if (message->class != REQUEST_TRANSIENT)
		hf_histogram_record(center->counters.store_us,
				    hf_loop_now_us(center->loop) - message->started_us);
	message->pending = message->accepted;
	if (message_is_paced(message)) {
		message->paced_since_ms = hf_loop_now_ms(center->loop);
		on_pace_timer(&message->pace_timer, message);
	} else {
		for (uint32_t i = 0; i < message->target_count; i++)
			if (message->targets[i].outcome == TARGET_STORED)
				route_begin(&message->targets[i]);
	}
	/* Routing goes on at the end of the turn: nothing to wait for. */
	emit(message, MESSAGE_STORED);
	if (message->pending == 0)
		finish_routing(message);
}

void message_start(struct message *message, message_cb on_event, void *ctx)
{
	struct center *center = message->center;

	message->on_event = on_event;
	message->ctx = ctx;
	message->phase = MESSAGE_STORING;
	message->pending = message->target_count;
	remember(message);
	for (uint32_t i = 0; i < message->target_count; i++)
		message_note(&message->targets[i], HF_WHY_ACCEPTED, message->target_count);
	message->deadline_ms = hf_loop_now_ms(center->loop) + center->config->store_total_ms;
	if (message->class != REQUEST_TRANSIENT) {
		for (uint32_t i = 0; i < message->target_count; i++)
			store_begin(&message->targets[i]);
		return;
	}
	for (uint32_t i = 0; i < message->target_count; i++)
		message->targets[i].outcome = TARGET_STORED;
	message->accepted = message->target_count;
	finish_storing(message);
}

void message_release(struct message *message)
{
	message->owned = false;
	message_forget_acks(message);
	free_if_over(message);
}

static void stop_pushing(struct message *message)
{
	hf_wheel_disarm(&message->pace_timer);
	message->holds++; /* the last of them may end it */
	while (message->paced_next < message->target_count) {
		struct target *target = &message->targets[message->paced_next++];

		if (target->outcome == TARGET_STORED)
			message_target_done(target, TARGET_UNROUTED);
	}
	message->holds--;
	free_if_over(message);
}

void message_stop(struct center *center, uint32_t app, uint64_t id)
{
	struct message *message;

	TAILQ_FOREACH (message, &center->messages, link) {
		if (message->id != id || message->app != app)
			continue;
		if (message->phase == MESSAGE_ROUTING && message_is_paced(message))
			stop_pushing(message);
		return;
	}
}

void message_free_all(struct center *center)
{
	while (!TAILQ_EMPTY(&center->messages))
		message_free(TAILQ_FIRST(&center->messages));
}

void message_note(const struct target *target, enum hf_why_outcome outcome, uint64_t detail)
{
	const struct message *message = target->message;

	hf_why_note_name(&message->center->service->why, outcome, message->app,
			 target->registration, target->registration_len, message->id, detail);
}

void message_target_done(struct target *target, enum target_outcome outcome)
{
	struct message *message = target->message;
	struct center_counters *counters = &message->center->counters;

	target->outcome = (uint8_t)outcome;
	switch (outcome) {
	case TARGET_OPEN:
		break;
	case TARGET_STORED:
		message->accepted++;
		break;
	case TARGET_FAILED:
		message->failed++;
		++*counters->store_failed;
		break;
	case TARGET_UNREGISTERED:
		message->unregistered++;
		++*counters->unregistered;
		break;
	case TARGET_WRITTEN:
		message->written++;
		break;
	case TARGET_OFFLINE:
		message->offline++;
		message_note(target, HF_WHY_FOUND_OFFLINE, 0);
		++*counters->offline;
		break;
	case TARGET_DROPPED:
		message->dropped++;
		++*counters->dropped;
		break;
	case TARGET_UNROUTED:
		message->unrouted++;
		message_note(target, HF_WHY_NOT_FOUND, 0);
		++*counters->unrouted;
		break;
	}
	if (--message->pending > 0)
		return;
	if (message->phase == MESSAGE_STORING)
		finish_storing(message);
	else
		finish_routing(message);
}

static void on_retry_timer(struct hf_timer *timer, void *ctx)
{
	struct message *message = ctx;
	struct target *target;

	while ((target = TAILQ_FIRST(&message->retry)) != NULL) {
		TAILQ_REMOVE(&message->retry, target, link);
		if (message->phase == MESSAGE_STORING)
			store_begin(target);
		else
			route_begin(target);
	}
}

void message_target_retry(struct target *target, enum target_outcome last)
{
	struct message *message = target->message;
	struct center *center = message->center;
	bool armed = hf_timer_armed(&message->retry_timer);
	uint64_t delay_ms = armed ? 0 : 1 + hf_backoff_next_ms(&message->backoff);

	if (center->stopping || hf_loop_now_ms(center->loop) + delay_ms >= message->deadline_ms) {
		message_target_done(target, last);
		return;
	}
	++*(message->phase == MESSAGE_STORING ? center->counters.store_retries
					      : center->counters.route_retries);
	TAILQ_INSERT_TAIL(&message->retry, target, link);
	if (!armed)
		hf_loop_arm(center->loop, &message->retry_timer, delay_ms);
}

void message_acks_over(struct message *message)
{
	message->holds++; /* the listener may let go of it */
	emit(message, MESSAGE_ACKED);
	message->holds--;
	free_if_over(message);
}
