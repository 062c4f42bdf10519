/* common/rpc/hf_rpc_dispatch.c - calls of a server: from their frame to their answer. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_rpc_server_internal.h"
#include "hf_rpc_unpack.h"

/* A peer that lets so many times output_max pile up is cut: answers to calls that it made before
 * reading stopped. */
#define OUTPUT_HARD_FACTOR 4

static void count(struct hf_rpc_server *server, uint16_t method, enum hf_rpc_status status)
{
	const ProtobufCServiceDescriptor *descriptor = server->options.service->descriptor;
	unsigned row = HF_MIN((unsigned)method, descriptor->n_methods); /* the last: unknown ones */
	uint64_t **cell = &server->served[row * HF_RPC_STATUS_COUNT + status];

	if (server->freed) /* the registry may be gone */
		return;
	if (HF_UNLIKELY(*cell == NULL)) {
		char labels[256];

		snprintf(labels, sizeof(labels), "method=\"%s\",code=\"%s\"",
			 row < descriptor->n_methods ? descriptor->methods[row].name : "unknown",
			 hf_rpc_status_name(status));
		*cell = hf_metrics_counter(server->metrics, "holdfast_rpc_served_total", labels,
					   "Calls answered, by outcome.");
	}
	++**cell;
}

/* Answering */

static void put_error(struct hf_rpc_peer *peer, uint32_t id, uint16_t method,
		      enum hf_rpc_status status, const char *reason)
{
	uint8_t error[1 + HF_RPC_REASON_MAX];
	size_t len = hf_rpc_error_encode(error, status, reason);
	uint8_t *body = hf_rpc_conn_put(&peer->conn, HF_RPC_ERROR, id, method, len);

	if (body != NULL)
		memcpy(body, error, len);
}

static bool is_over(const struct hf_rpc_peer *peer, unsigned factor)
{
	return hf_buffer_len(&peer->conn.out) / factor > peer->server->options.output_max;
}

/* What the socket does not take is bounded: first we stop reading, then we hang up. */
void hf_rpc_peer_check_output(struct hf_rpc_peer *peer)
{
	if (HF_LIKELY(!is_over(peer, 1)))
		return;
	hf_rpc_conn_pause(&peer->conn);
	if (is_over(peer, OUTPUT_HARD_FACTOR) && !peer->conn.blocked)
		hf_rpc_conn_flush(&peer->conn); /* all this may come from one turn */
	if (is_over(peer, OUTPUT_HARD_FACTOR))
		hf_rpc_peer_cut(peer, "slow_reader");
}

static void running_end(struct hf_rpc_running *call)
{
	struct hf_rpc_peer *peer = call->peer;
	struct hf_rpc_server *server = peer->server;

	call->next = server->free_calls;
	server->free_calls = call;
	server->running--;
	peer->running--;
	if (!server->freed)
		*server->running_gauge = server->running;
	hf_rpc_peer_unref_if_done(peer);
}

/* `reply` NULL: an error. Dead connections swallow what is put on them. */
static void answer(struct hf_rpc_running *call, const ProtobufCMessage *reply,
		   enum hf_rpc_status status, const char *reason)
{
	struct hf_rpc_peer *peer = call->peer;
	size_t size = reply != NULL ? protobuf_c_message_get_packed_size(reply) : 0;

	hf_rpc_conn_enter(&peer->conn);
	if (size > HF_RPC_FRAME_MAX) {
		reply = NULL;
		status = HF_RPC_INTERNAL;
		reason = "REPLY_TOO_LARGE";
	}
	count(peer->server, call->method, status);
	if (!call->oneway && reply != NULL) {
		uint8_t *body =
			hf_rpc_conn_put(&peer->conn, HF_RPC_REPLY, call->id, call->method, size);

		if (body != NULL)
			protobuf_c_message_pack(reply, body);
	} else if (!call->oneway) {
		put_error(peer, call->id, call->method, status, reason);
	}
	hf_rpc_peer_check_output(peer);
	running_end(call);
	hf_rpc_conn_leave(&peer->conn);
}

/* The closure that handlers run. */
static void on_reply(const ProtobufCMessage *reply, void *call)
{
	if (reply != NULL)
		answer(call, reply, HF_RPC_OK, "");
	else
		answer(call, NULL, HF_RPC_INTERNAL, "NO_REPLY");
}

void hf_rpc_fail(void *call, enum hf_rpc_status status, const char *reason)
{
	assert(status != HF_RPC_OK);
	answer(call, NULL, status, reason);
}

/* Dispatching */

static void refuse(struct hf_rpc_peer *peer, const struct hf_rpc_frame *frame,
		   enum hf_rpc_status status, const char *reason)
{
	count(peer->server, frame->method, status);
	if (frame->kind == HF_RPC_ONEWAY)
		return;
	put_error(peer, frame->call_id, frame->method, status, reason);
	hf_rpc_peer_check_output(peer);
}

static struct hf_rpc_running *running_begin(struct hf_rpc_peer *peer,
					    const struct hf_rpc_frame *frame)
{
	struct hf_rpc_server *server = peer->server;
	struct hf_rpc_running *call = server->free_calls;

	if (call != NULL)
		server->free_calls = call->next;
	else if ((call = malloc(sizeof(*call))) == NULL)
		return NULL;
	*call = (struct hf_rpc_running){
		.peer = peer,
		.id = frame->call_id,
		.method = frame->method,
		.oneway = frame->kind == HF_RPC_ONEWAY,
	};
	peer->running++;
	server->running++;
	*server->running_gauge = server->running;
	return call;
}

/* A vtable may leave a method out. The generated struct has them as an array after its base; a
 * service that brings its own invoke() has none, and takes them all. */
static bool is_implemented(const ProtobufCService *service, uint16_t method)
{
	void (*const *handlers)(void) = (void (*const *)(void))(const void *)(service + 1);

	return service->invoke != protobuf_c_service_invoke_internal || handlers[method] != NULL;
}

void hf_rpc_dispatch(struct hf_rpc_peer *peer, const struct hf_rpc_frame *frame)
{
	struct hf_rpc_server *server = peer->server;
	ProtobufCService *service = server->options.service;
	struct hf_rpc_running *call;
	ProtobufCMessage *request;

	if (frame->method >= service->descriptor->n_methods ||
	    !is_implemented(service, frame->method)) {
		refuse(peer, frame, HF_RPC_UNKNOWN_METHOD, "");
		return;
	}
	if (server->draining) {
		refuse(peer, frame, HF_RPC_UNAVAILABLE, "DRAINING");
		return;
	}
	if (server->running >= server->options.running_max ||
	    peer->running >= server->options.connection_max) {
		refuse(peer, frame, HF_RPC_OVERLOADED, "TOO_MANY_RUNNING");
		return;
	}
	request = hf_rpc_unpack(&peer->conn.io->arena,
				service->descriptor->methods[frame->method].input, frame->body);
	if (request == NULL) {
		refuse(peer, frame, HF_RPC_INVALID, "BAD_REQUEST");
		return;
	}
	call = running_begin(peer, frame);
	if (call == NULL) {
		refuse(peer, frame, HF_RPC_OVERLOADED, "OUT_OF_MEMORY");
		return;
	}
	service->invoke(service, frame->method, request, on_reply, call);
}

int hf_rpc_dispatch_init(struct hf_rpc_server *server)
{
	const ProtobufCServiceDescriptor *descriptor = server->options.service->descriptor;

	assert(descriptor->n_methods <= UINT16_MAX);
	server->served = calloc((size_t)(descriptor->n_methods + 1) * HF_RPC_STATUS_COUNT,
				sizeof(*server->served));
	if (server->served == NULL)
		return -ENOMEM;
	server->running_gauge = hf_metrics_gauge(server->metrics, "holdfast_rpc_running", NULL,
						 "Calls being answered.");
	server->connections_gauge = hf_metrics_gauge(server->metrics, "holdfast_rpc_connections",
						     NULL, "Open connections of callers.");
	return 0;
}

void hf_rpc_dispatch_deinit(struct hf_rpc_server *server)
{
	while (server->free_calls != NULL) {
		struct hf_rpc_running *call = server->free_calls;

		server->free_calls = call->next;
		free(call);
	}
	free(server->served);
}
