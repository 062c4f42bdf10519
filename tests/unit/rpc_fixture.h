/* tests/unit/rpc_fixture.h - a small service, its server and a client of it on one loop. */
#ifndef RPC_FIXTURE_H
#define RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.pb-c.h"
#include "hf_net.h"
#include "hf_rpc_client.h"
#include "hf_rpc_frame.h"
#include "hf_rpc_server.h"
#include "saver.pb-c.h"

/* test.Echo: what it does with a message is said by its `result` field; `status` is a number to
 * tell messages apart. */
enum { ECHO_NOW, ECHO_HOLD, ECHO_FAIL, ECHO_BIG, ECHO_NULL };
enum { METHOD_ECHO, METHOD_TELL, METHOD_COUNT };
#define HELD_MAX 4096

struct fixture {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_rpc_server *server;
	struct hf_rpc_client *client;
	char address[HF_NET_TEXT_SIZE];

	ProtobufCService service;
	unsigned served, told, last_told;
	struct {
		ProtobufCClosure closure;
		void *call;
		uint32_t number;
	} held[HELD_MAX];
	unsigned held_count;

	unsigned ups, downs; /* of the client's link */
	bool out_of_time;
};

/* How one call of the test ended. */
struct result {
	unsigned count;
	enum hf_rpc_status status;
	char reason[HF_RPC_REASON_MAX + 1];
	uint32_t number;
	size_t len;
};

static const ProtobufCMethodDescriptor echo_methods[METHOD_COUNT] = {
	{ "Echo", &hf__claim_reply__descriptor, &hf__claim_reply__descriptor },
	{ "Tell", &hf__claim_reply__descriptor, &hf__nothing__descriptor },
};
static const unsigned echo_method_order[METHOD_COUNT] = { 0, 1 };
static const ProtobufCServiceDescriptor echo_descriptor = {
	.magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
	.name = "test.Echo",
	.short_name = "Echo",
	.c_name = "Test__Echo",
	.package = "test",
	.n_methods = METHOD_COUNT,
	.methods = echo_methods,
	.method_indices_by_name = echo_method_order,
};

static inline void echo_answer(ProtobufCClosure closure, void *call, uint32_t number, size_t len)
{
	Hf__ClaimReply reply = HF__CLAIM_REPLY__INIT;
	uint8_t *data = calloc(1, len + 1);

	assert_non_null(data);
	reply.status = number;
	reply.response = (ProtobufCBinaryData){ len, data };
	closure(&reply.base, call);
	free(data);
}

static inline void echo_invoke(ProtobufCService *service, unsigned method,
			       const ProtobufCMessage *input, ProtobufCClosure closure, void *call)
{
	struct fixture *f = HF_CONTAINER_OF(service, struct fixture, service);
	const Hf__ClaimReply *request = (const Hf__ClaimReply *)input;

	f->served++;
	if (method == METHOD_TELL) {
		Hf__Nothing nothing = HF__NOTHING__INIT;

		f->told++;
		f->last_told = request->status;
		closure(&nothing.base, call);
		return;
	}
	switch ((int)request->result) {
	case ECHO_HOLD:
		assert_true(f->held_count < HELD_MAX);
		f->held[f->held_count].closure = closure;
		f->held[f->held_count].call = call;
		f->held[f->held_count++].number = request->status;
		return;
	case ECHO_FAIL:
		hf_rpc_fail(call, HF_RPC_UNAVAILABLE, "STORE_UNAVAILABLE");
		return;
	case ECHO_BIG:
		echo_answer(closure, call, request->status, request->status);
		return;
	case ECHO_NULL:
		closure(NULL, call);
		return;
	default:
		echo_answer(closure, call, request->status, request->response.len);
	}
}

static inline void answer_held(struct fixture *f, unsigned i)
{
	echo_answer(f->held[i].closure, f->held[i].call, f->held[i].number, 0);
}

static inline void on_result(const ProtobufCMessage *message, void *ctx)
{
	const Hf__ClaimReply *reply = (const Hf__ClaimReply *)message;
	struct result *result = ctx;

	result->count++;
	result->status = hf_rpc_last_status();
	snprintf(result->reason, sizeof(result->reason), "%s", hf_rpc_last_reason());
	if (message != NULL && message->descriptor == &hf__claim_reply__descriptor) {
		result->number = reply->status;
		result->len = reply->response.len;
	}
}

static inline void on_fixture_state(struct hf_rpc_client *client, bool connected, void *ctx)
{
	struct fixture *f = ctx;

	if (connected)
		f->ups++;
	else
		f->downs++;
}

/* The calls that a test makes. */
static inline void call_sized(struct fixture *f, unsigned method, int what, uint32_t number,
			      size_t len, uint32_t timeout_ms, struct result *result)
{
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;
	uint8_t *data = calloc(1, len + 1);
	ProtobufCService *service = hf_rpc_to(f->client, timeout_ms);

	assert_non_null(data);
	request.result = (Hf__ClaimResult)what;
	request.status = number;
	request.response = (ProtobufCBinaryData){ len, data };
	service->invoke(service, method, &request.base, result != NULL ? on_result : NULL, result);
	free(data);
}

static inline void call_echo(struct fixture *f, int what, uint32_t number, struct result *result)
{
	call_sized(f, METHOD_ECHO, what, number, 0, 5000, result);
}

static inline void on_out_of_time(struct hf_timer *timer, void *ctx)
{
	((struct fixture *)ctx)->out_of_time = true;
}

/* Turns the loop until `condition` holds; fails the test after ten seconds. */
#define RUN_UNTIL(f, condition)                             \
	do {                                                \
		struct hf_timer guard;                      \
                                                            \
		(f)->out_of_time = false;                   \
		hf_timer_init(&guard, on_out_of_time, (f)); \
		hf_loop_arm((f)->loop, &guard, 10000);      \
		while (!(condition) && !(f)->out_of_time)   \
			hf_loop_turn((f)->loop, true);      \
		hf_wheel_disarm(&guard);                    \
		assert_true(condition);                     \
	} while (0)

static inline void server_start(struct fixture *f, const char *address,
				const struct hf_rpc_server_options *limits)
{
	struct hf_rpc_server_options options = { 0 };

	if (limits != NULL)
		options = *limits;
	options.address = address;
	options.service = &f->service;
	assert_int_equal(hf_rpc_server_new(f->loop, f->metrics, &options, &f->server), 0);
	snprintf(f->address, sizeof(f->address), "%s", hf_rpc_server_address(f->server));
}

static inline void client_start(struct fixture *f, const char *address,
				const struct hf_rpc_client_options *limits)
{
	struct hf_rpc_client_options options = { 0 };

	if (limits != NULL)
		options = *limits;
	options.address = address;
	options.peer_role = "echo";
	if (options.service == NULL)
		options.service = &echo_descriptor;
	options.backoff_base_ms = 1;
	options.backoff_cap_ms = 5;
	options.on_state = on_fixture_state;
	options.ctx = f;
	assert_int_equal(hf_rpc_client_new(f->loop, f->metrics, &options, &f->client), 0);
}

/* Neither server nor client yet. */
static inline struct fixture *fixture_bare(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->loop = hf_loop_new();
	f->metrics = hf_metrics_new();
	assert_non_null(f->loop);
	assert_non_null(f->metrics);
	f->service = (ProtobufCService){ .descriptor = &echo_descriptor, .invoke = echo_invoke };
	return f;
}

static inline struct fixture *fixture_new(const struct hf_rpc_client_options *client,
					  const struct hf_rpc_server_options *server)
{
	struct fixture *f = fixture_bare();

	server_start(f, "127.0.0.1:0", server);
	client_start(f, f->address, client);
	RUN_UNTIL(f, f->ups == 1);
	return f;
}

static inline void fixture_free(struct fixture *f)
{
	hf_rpc_client_free(f->client);
	hf_rpc_server_free(f->server);
	hf_loop_free(f->loop);
	hf_metrics_free(f->metrics);
	free(f);
}

static inline bool metrics_have(struct fixture *f, const char *text)
{
	struct hf_buffer out = { 0 };
	bool found;

	assert_int_equal(hf_metrics_write(f->metrics, &out), 0);
	assert_int_equal(hf_buffer_append(&out, "", 1), 0);
	found = strstr((const char *)hf_buffer_data(&out), text) != NULL;
	hf_buffer_deinit(&out);
	return found;
}

#endif
