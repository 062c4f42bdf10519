/* common/rpc/hf_rpc_calls.c - calls of a client: from the stub to their one outcome. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common.pb-c.h"
#include "hf_rpc_client_internal.h"
#include "hf_rpc_unpack.h"

#define OUTPUT_MAX  ((size_t)16 << 20) /* encoded and not yet taken by the socket */
#define WAITING_MAX ((size_t)64 << 20) /* bytes of calls that wait */

static bool is_oneway(const struct hf_rpc_client *client, unsigned method)
{
	return client->service.descriptor->methods[method].output == &hf__nothing__descriptor;
}

/* Metrics */

static void count(struct hf_rpc_client *client, unsigned method, enum hf_rpc_status status)
{
	uint64_t **cell = &client->requests[method * HF_RPC_STATUS_COUNT + status];

	if (HF_UNLIKELY(*cell == NULL)) {
		char labels[256];

		snprintf(labels, sizeof(labels), "peer_role=\"%s\",method=\"%s\",code=\"%s\"",
			 client->peer_role, client->service.descriptor->methods[method].name,
			 hf_rpc_status_name(status));
		*cell = hf_metrics_counter(client->metrics, "holdfast_rpc_requests_total", labels,
					   "Calls made, by outcome.");
	}
	++**cell;
}

static void measure(struct hf_rpc_client *client, unsigned method, uint64_t start_us)
{
	struct hf_histogram **cell = &client->seconds[method];

	if (HF_UNLIKELY(*cell == NULL)) {
		char labels[256];

		snprintf(labels, sizeof(labels), "peer_role=\"%s\",method=\"%s\"",
			 client->peer_role, client->service.descriptor->methods[method].name);
		*cell = hf_metrics_histogram(client->metrics, "holdfast_rpc_duration_seconds",
					     labels, "Time from the call to its reply or error.",
					     1000000);
	}
	hf_histogram_record(*cell, hf_loop_now_us(client->loop) - start_us);
}

/* Records */

static void on_deadline(struct hf_timer *timer, void *ctx);

static struct hf_rpc_call *call_new(struct hf_rpc_client *client, unsigned method,
				    ProtobufCClosure closure, void *ctx)
{
	struct hf_rpc_call *call = TAILQ_FIRST(&client->free_calls);

	if (call != NULL) {
		TAILQ_REMOVE(&client->free_calls, call, link);
		client->free_count--;
	} else {
		call = malloc(sizeof(*call));
		if (call == NULL)
			return NULL;
		hf_timer_init(&call->deadline, on_deadline, call);
	}
	call->client = client;
	call->closure = closure;
	call->ctx = ctx;
	call->start_us = hf_loop_now_us(client->loop);
	call->method = (uint16_t)method;
	call->body = NULL;
	call->body_len = 0;
	return call;
}

static void call_recycle(struct hf_rpc_client *client, struct hf_rpc_call *call)
{
	if (client->free_count >= client->options.window) {
		free(call);
		return;
	}
	TAILQ_INSERT_HEAD(&client->free_calls, call, link);
	client->free_count++;
}

/* The only ways into and out of a state. */
static void call_enter_state(struct hf_rpc_call *call, enum hf_rpc_call_state state)
{
	struct hf_rpc_client *client = call->client;

	call->state = state;
	TAILQ_INSERT_TAIL(&client->calls[state], call, link);
	if (state == HF_RPC_CALL_WAITING) {
		client->waiting_count++;
		client->waiting_bytes += call->body_len;
	}
	if (state == HF_RPC_CALL_DONE)
		hf_task_schedule(client->loop, &client->deliver);
	else
		++*client->in_flight;
}

static void call_leave_state(struct hf_rpc_call *call)
{
	struct hf_rpc_client *client = call->client;

	TAILQ_REMOVE(&client->calls[call->state], call, link);
	if (call->state == HF_RPC_CALL_SENT)
		hf_rpc_pending_remove(&client->pending, call->id);
	if (call->state == HF_RPC_CALL_WAITING) {
		client->waiting_count--;
		client->waiting_bytes -= call->body_len;
		free(call->body);
		call->body = NULL;
	}
	if (call->state != HF_RPC_CALL_DONE)
		--*client->in_flight;
}

/* The one outcome. The record is gone before the closure runs, which may do anything. */
static void call_finish(struct hf_rpc_call *call, enum hf_rpc_status status, const char *reason,
			const ProtobufCMessage *reply)
{
	struct hf_rpc_client *client = call->client;
	struct hf_rpc_outcome outcome = { status, reason };
	ProtobufCClosure closure = call->closure;
	void *ctx = call->ctx;

	if (call->state == HF_RPC_CALL_SENT)
		measure(client, call->method, call->start_us);
	count(client, call->method, status);
	hf_wheel_disarm(&call->deadline);
	call_leave_state(call);
	call_recycle(client, call);
	hf_rpc_conclude(closure, ctx, outcome, reply);
}

/* An outcome that arises inside the stub reaches the closure after the stub has returned. */
static void conclude_later(struct hf_rpc_client *client, unsigned method, ProtobufCClosure closure,
			   void *ctx, struct hf_rpc_outcome outcome)
{
	struct hf_rpc_call *call = closure != NULL ? call_new(client, method, closure, ctx) : NULL;

	if (call == NULL) { /* nobody wants it; or no memory, and then too early beats never */
		count(client, method, outcome.status);
		hf_rpc_conclude(closure, ctx, outcome, NULL);
		return;
	}
	call->outcome = outcome;
	call_enter_state(call, HF_RPC_CALL_DONE);
}

static void deliver_done(struct hf_rpc_client *client)
{
	struct hf_rpc_call *call;

	while ((call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_DONE])) != NULL)
		call_finish(call, call->outcome.status, call->outcome.reason, NULL);
}

/* Calls that these closures make and that are done at once wait for the next turn. */
static void on_deliver(void *ctx)
{
	struct hf_rpc_client *client = ctx;
	struct hf_rpc_call *call,
		*last = TAILQ_LAST(&client->calls[HF_RPC_CALL_DONE], hf_rpc_calls);

	hf_rpc_conn_enter(&client->conn);
	do {
		call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_DONE]);
		if (call == NULL) /* freed inside a closure */
			break;
		call_finish(call, call->outcome.status, call->outcome.reason, NULL);
	} while (call != last);
	hf_rpc_conn_leave(&client->conn);
}

/* A call that was never sent has certainly had no effect, and its outcome says so. */
static void on_deadline(struct hf_timer *timer, void *ctx)
{
	struct hf_rpc_call *call = ctx;
	struct hf_rpc_client *client = call->client;

	hf_rpc_conn_enter(&client->conn);
	if (call->state == HF_RPC_CALL_SENT)
		call_finish(call, HF_RPC_DEADLINE, "", NULL);
	else if (client->link == HF_RPC_LINK_READY)
		call_finish(call, HF_RPC_OVERLOADED, "WINDOW_FULL", NULL);
	else
		call_finish(call, HF_RPC_UNREACHABLE, "NOT_CONNECTED", NULL);
	hf_rpc_calls_pump(client);
	hf_rpc_conn_leave(&client->conn);
}

/* Sending */

static bool may_send(const struct hf_rpc_client *client, bool oneway)
{
	return client->link == HF_RPC_LINK_READY && hf_buffer_len(&client->conn.out) < OUTPUT_MAX &&
	       (oneway || client->pending.count < client->options.window);
}

static void send_oneway(struct hf_rpc_client *client, unsigned method,
			const ProtobufCMessage *input, size_t size, ProtobufCClosure closure,
			void *ctx)
{
	struct hf_rpc_outcome outcome = { HF_RPC_OK, "" };
	uint8_t *body = hf_rpc_conn_put(&client->conn, HF_RPC_ONEWAY, 0, (uint16_t)method, size);

	if (body != NULL)
		protobuf_c_message_pack(input, body);
	else
		outcome.status = HF_RPC_LOST;
	conclude_later(client, method, closure, ctx, outcome);
}

/* 0 or -ENOMEM, then nothing has happened. */
static int send_request(struct hf_rpc_client *client, struct hf_rpc_call *call,
			const ProtobufCMessage *input, size_t size)
{
	uint8_t *body;

	if (hf_rpc_pending_add(&client->pending, call, &call->id) < 0)
		return -ENOMEM;
	call_enter_state(call, HF_RPC_CALL_SENT);
	hf_loop_arm(client->loop, &call->deadline, client->timeout_ms);
	body = hf_rpc_conn_put(&client->conn, HF_RPC_REQUEST, call->id, call->method, size);
	if (body != NULL) /* else the connection ends with this turn, and the call with it */
		protobuf_c_message_pack(input, body);
	return 0;
}

static int wait_for_turn(struct hf_rpc_client *client, struct hf_rpc_call *call,
			 const ProtobufCMessage *input, size_t size)
{
	call->body = malloc(size > 0 ? size : 1);
	if (call->body == NULL)
		return -ENOMEM;
	call->body_len = (uint32_t)protobuf_c_message_pack(input, call->body);
	call_enter_state(call, HF_RPC_CALL_WAITING);
	hf_loop_arm(client->loop, &call->deadline, client->timeout_ms);
	return 0;
}

/* What the generated stubs call. */
static void on_invoke(ProtobufCService *service, unsigned method, const ProtobufCMessage *input,
		      ProtobufCClosure closure, void *ctx)
{
	static const struct hf_rpc_outcome too_large = { HF_RPC_INVALID, "REQUEST_TOO_LARGE" };
	static const struct hf_rpc_outcome window_full = { HF_RPC_OVERLOADED, "WINDOW_FULL" };
	static const struct hf_rpc_outcome no_memory = { HF_RPC_OVERLOADED, "OUT_OF_MEMORY" };
	struct hf_rpc_client *client = HF_CONTAINER_OF(service, struct hf_rpc_client, service);
	size_t size = protobuf_c_message_get_packed_size(input);
	bool oneway = is_oneway(client, method), at_once;
	struct hf_rpc_call *call;
	int err;

	if (client->freed) { /* by a closure that this call's free is running */
		service = hf_rpc_to_nobody(client->loop, service->descriptor);
		service->invoke(service, method, input, closure, ctx);
		return;
	}
	at_once = TAILQ_EMPTY(&client->calls[HF_RPC_CALL_WAITING]) && may_send(client, oneway);
	if (size > HF_RPC_FRAME_MAX) {
		conclude_later(client, method, closure, ctx, too_large);
		return;
	}
	if (at_once && oneway) {
		send_oneway(client, method, input, size, closure, ctx);
		return;
	}
	if (!at_once && (client->waiting_count >= client->options.queue ||
			 client->waiting_bytes + size > WAITING_MAX)) {
		conclude_later(client, method, closure, ctx, window_full);
		return;
	}
	call = call_new(client, method, closure, ctx);
	err = -ENOMEM;
	if (call != NULL)
		err = at_once ? send_request(client, call, input, size)
			      : wait_for_turn(client, call, input, size);
	if (err < 0) {
		if (call != NULL)
			call_recycle(client, call);
		conclude_later(client, method, closure, ctx, no_memory);
	}
}

/* True when the call is on its way. */
static bool send_waiting(struct hf_rpc_client *client, struct hf_rpc_call *call, bool oneway)
{
	enum hf_rpc_kind kind = oneway ? HF_RPC_ONEWAY : HF_RPC_REQUEST;
	uint32_t id = 0;
	uint8_t *body;

	if (!oneway && hf_rpc_pending_add(&client->pending, call, &id) < 0)
		return false;
	body = hf_rpc_conn_put(&client->conn, kind, id, call->method, call->body_len);
	if (body == NULL) {
		if (!oneway)
			hf_rpc_pending_remove(&client->pending, id);
		return false;
	}
	memcpy(body, call->body, call->body_len);
	call_leave_state(call);
	if (!oneway) {
		call->id = id;
		call_enter_state(call, HF_RPC_CALL_SENT);
		return true;
	}
	hf_wheel_disarm(&call->deadline);
	call->outcome = (struct hf_rpc_outcome){ HF_RPC_OK, "" };
	call_enter_state(call, HF_RPC_CALL_DONE);
	return true;
}

void hf_rpc_calls_pump(struct hf_rpc_client *client)
{
	struct hf_rpc_call *call;

	while ((call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_WAITING])) != NULL) {
		bool oneway = is_oneway(client, call->method);

		if (!may_send(client, oneway) || !send_waiting(client, call, oneway))
			return;
	}
}

/* Outcomes */

void hf_rpc_calls_answer(struct hf_rpc_client *client, const struct hf_rpc_frame *frame)
{
	struct hf_rpc_call *call = hf_rpc_pending_find(&client->pending, frame->call_id);
	char reason[HF_RPC_REASON_MAX + 1] = "";
	enum hf_rpc_status status;
	ProtobufCMessage *reply;

	if (call == NULL) /* came after its deadline */
		return;
	if (frame->kind == HF_RPC_REPLY) {
		reply = hf_rpc_unpack(&client->conn.io->arena,
				      client->service.descriptor->methods[call->method].output,
				      frame->body);
		if (reply != NULL)
			call_finish(call, HF_RPC_OK, "", reply);
		else
			call_finish(call, HF_RPC_INTERNAL, "BAD_REPLY", NULL);
	} else {
		if (hf_rpc_error_decode(frame->body, &status, reason) < 0)
			status = HF_RPC_INTERNAL;
		call_finish(call, status, reason, NULL);
	}
	hf_rpc_calls_pump(client);
}

void hf_rpc_calls_lost(struct hf_rpc_client *client)
{
	struct hf_rpc_call *call;

	while ((call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_SENT])) != NULL)
		call_finish(call, HF_RPC_LOST, "", NULL);
}

void hf_rpc_calls_cancel(struct hf_rpc_client *client)
{
	struct hf_rpc_call *call;

	hf_task_cancel(client->loop, &client->deliver);
	deliver_done(client);
	while ((call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_SENT])) != NULL)
		call_finish(call, HF_RPC_CANCELED, "", NULL);
	while ((call = TAILQ_FIRST(&client->calls[HF_RPC_CALL_WAITING])) != NULL)
		call_finish(call, HF_RPC_CANCELED, "", NULL);
}

int hf_rpc_calls_init(struct hf_rpc_client *client)
{
	const ProtobufCServiceDescriptor *descriptor = client->options.service;
	char labels[128];

	client->service = (ProtobufCService){ .descriptor = descriptor, .invoke = on_invoke };
	hf_rpc_pending_init(&client->pending, 1);
	for (unsigned i = 0; i < HF_RPC_CALL_STATES; i++)
		TAILQ_INIT(&client->calls[i]);
	TAILQ_INIT(&client->free_calls);
	hf_task_init(&client->deliver, on_deliver, client);

	client->seconds = calloc(descriptor->n_methods, sizeof(*client->seconds));
	client->requests = calloc((size_t)descriptor->n_methods * HF_RPC_STATUS_COUNT,
				  sizeof(*client->requests));
	if (client->seconds == NULL || client->requests == NULL)
		return -ENOMEM;
	snprintf(labels, sizeof(labels), "peer_role=\"%s\"", client->peer_role);
	client->in_flight = hf_metrics_gauge(client->metrics, "holdfast_rpc_inflight", labels,
					     "Calls sent and calls waiting.");
	return 0;
}

void hf_rpc_calls_deinit(struct hf_rpc_client *client)
{
	struct hf_rpc_call *call;

	while ((call = TAILQ_FIRST(&client->free_calls)) != NULL) {
		TAILQ_REMOVE(&client->free_calls, call, link);
		free(call);
	}
	hf_rpc_pending_deinit(&client->pending);
	free(client->seconds);
	free(client->requests);
}
