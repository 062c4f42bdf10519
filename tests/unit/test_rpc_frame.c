/* tests/unit/test_rpc_frame.c - promises of hf_rpc_frame.h, hf_rpc_unpack.h and hf_rpc_pending.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_rpc_frame.h"
#include "hf_rpc_pending.h"
#include "hf_rpc_unpack.h"
#include "register.pb-c.h"

static uint8_t *exact_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static void test_a_frame_is_read_as_written(void **state)
{
	uint8_t wire[HF_RPC_HEADER_SIZE + 3];
	struct hf_rpc_frame frame;

	hf_rpc_header_encode(wire, HF_RPC_REQUEST, 0x01020304, 0x0506, 3);
	memcpy(wire + HF_RPC_HEADER_SIZE, "abc", 3);
	assert_memory_equal(wire, "\3\0\0\0\4\3\2\1\6\5\1\0abc", sizeof(wire));
	assert_int_equal(hf_rpc_frame_decode(wire, sizeof(wire), &frame), sizeof(wire));
	assert_int_equal(frame.call_id, 0x01020304);
	assert_int_equal(frame.method, 0x0506);
	assert_int_equal(frame.kind, HF_RPC_REQUEST);
	assert_int_equal(frame.body.len, 3);
	assert_ptr_equal(frame.body.data, wire + HF_RPC_HEADER_SIZE);
}

static void test_every_prefix_of_a_frame_is_incomplete(void **state)
{
	uint8_t wire[HF_RPC_HEADER_SIZE + 40];
	struct hf_rpc_frame frame;

	memset(wire, 7, sizeof(wire));
	hf_rpc_header_encode(wire, HF_RPC_REPLY, 9, 1, 40);
	for (size_t len = 0; len < sizeof(wire); len++) {
		uint8_t *exact = exact_copy(wire, len);

		assert_int_equal(hf_rpc_frame_decode(exact, len, &frame), 0);
		assert_int_equal(hf_rpc_frame_size(exact, len),
				 len < HF_RPC_HEADER_SIZE ? 0 : sizeof(wire));
		free(exact);
	}
}

static void test_each_kind_has_its_limits(void **state)
{
	static const struct {
		uint8_t kind;
		uint32_t len;
		ssize_t err;
	} cases[] = {
		{ 0, 0, -EPROTO },
		{ 8, 0, -EPROTO },
		{ 255, 0, -EPROTO },
		{ HF_RPC_REQUEST, HF_RPC_FRAME_MAX, 0 },
		{ HF_RPC_REQUEST, HF_RPC_FRAME_MAX + 1, -EMSGSIZE },
		{ HF_RPC_REPLY, UINT32_MAX, -EMSGSIZE },
		{ HF_RPC_ERROR, 0, -EPROTO },
		{ HF_RPC_ERROR, 2 + HF_RPC_REASON_MAX, -EMSGSIZE },
		{ HF_RPC_PING, 1, -EMSGSIZE },
		{ HF_RPC_PONG, 1, -EMSGSIZE },
		{ HF_RPC_HELLO, HF_RPC_HELLO_SIZE - 1, -EPROTO },
		{ HF_RPC_HELLO, HF_RPC_HELLO_MAX, 0 },
		{ HF_RPC_HELLO, HF_RPC_HELLO_MAX + 1, -EMSGSIZE },
	};
	uint8_t wire[HF_RPC_HEADER_SIZE];
	struct hf_rpc_frame frame;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		hf_rpc_header_encode(wire, cases[i].kind, 1, 0, cases[i].len);
		assert_int_equal(hf_rpc_frame_decode(wire, sizeof(wire), &frame), cases[i].err);
	}
	hf_rpc_header_encode(wire, HF_RPC_PING, 1, 0, 0);
	wire[11] = 1; /* flags */
	assert_int_equal(hf_rpc_frame_decode(wire, sizeof(wire), &frame), -EPROTO);
}

static void test_errors_carry_status_and_reason(void **state)
{
	uint8_t body[1 + HF_RPC_REASON_MAX];
	char reason[HF_RPC_REASON_MAX + 1], long_reason[200];
	enum hf_rpc_status status;
	size_t len = hf_rpc_error_encode(body, HF_RPC_UNAVAILABLE, "DRAINING");

	assert_int_equal(len, 9);
	assert_int_equal(hf_rpc_error_decode(hf_bytes_of(body, len), &status, reason), 0);
	assert_int_equal(status, HF_RPC_UNAVAILABLE);
	assert_string_equal(reason, "DRAINING");

	memset(long_reason, 'x', sizeof(long_reason) - 1);
	long_reason[sizeof(long_reason) - 1] = '\0';
	len = hf_rpc_error_encode(body, HF_RPC_INVALID, long_reason);
	assert_int_equal(len, sizeof(body));
	assert_int_equal(hf_rpc_error_decode(hf_bytes_of(body, len), &status, reason), 0);
	assert_int_equal(strlen(reason), HF_RPC_REASON_MAX);

	body[0] = 200; /* a status of the future */
	assert_int_equal(hf_rpc_error_decode(hf_bytes_of(body, 1), &status, reason), 0);
	assert_int_equal(status, HF_RPC_INTERNAL);
	body[0] = HF_RPC_OK;
	assert_int_equal(hf_rpc_error_decode(hf_bytes_of(body, 1), &status, reason), -EPROTO);
	assert_int_equal(hf_rpc_error_decode(hf_bytes_of(body, 0), &status, reason), -EPROTO);
}

static void test_a_hello_is_read_as_written(void **state)
{
	struct hf_rpc_hello hello = { HF_RPC_VERSION, HF_RPC_CLIENT,
				      hf_rpc_service_hash("hf.Register"), 3000 };
	struct hf_rpc_hello got;
	uint8_t body[HF_RPC_HELLO_SIZE];

	hf_rpc_hello_encode(&hello, body);
	assert_memory_equal(body, "HFRP\1\0\1\0", 8);
	assert_int_equal(hf_rpc_hello_decode(hf_bytes_of(body, sizeof(body)), &got), 0);
	assert_memory_equal(&got, &hello, sizeof(got));
	body[0] = 'h';
	assert_int_equal(hf_rpc_hello_decode(hf_bytes_of(body, sizeof(body)), &got), -EPROTO);
}

static void test_service_hashes_are_fnv_1a(void **state)
{
	assert_int_equal(hf_rpc_service_hash(""), 0x811c9dc5u);
	assert_int_equal(hf_rpc_service_hash("a"), 0xe40c292cu);
	assert_int_equal(hf_rpc_service_hash("hf.Register"), 0x328e649au);
}

/* Of common/rpc/README.md: client's HELLO, request, reply, error. */
static void test_the_worked_example_holds(void **state)
{
	static const uint8_t wire[] =
		"\x10\0\0\0\0\0\0\0\0\0\7\0HFRP\1\0\1\0\x9a\x64\x8e\x32\xb8\x0b\0\0"
		"\x09\0\0\0\1\0\0\0\2\0\1\0\x0a\7\x08\7\x12\3ana"
		"\x14\0\0\0\1\0\0\0\2\0\2\0\x0a\x12\x08\1\x10\x11\x1d\5\0\0\1"
		"\x21\xef\xcd\xab\x89\x67\x45\x23\1"
		"\x09\0\0\0\2\0\0\0\2\0\3\0\5"
		"DRAINING";
	const uint8_t *pos = wire, *end = wire + sizeof(wire) - 1;
	struct hf_rpc_frame frames[4];
	struct hf_rpc_hello hello;
	struct hf_arena arena;
	const Hf__LookupRequest *request;
	const Hf__LookupReply *reply;
	enum hf_rpc_status status;
	char reason[HF_RPC_REASON_MAX + 1];

	for (unsigned i = 0; i < 4; i++) {
		ssize_t n = hf_rpc_frame_decode(pos, (size_t)(end - pos), &frames[i]);

		assert_true(n > 0);
		pos += n;
	}
	assert_ptr_equal(pos, end);
	hf_arena_init(&arena, 0, 1 << 16);
	assert_int_equal(hf_rpc_hello_decode(frames[0].body, &hello), 0);
	assert_int_equal(hello.service, hf_rpc_service_hash("hf.Register"));
	assert_int_equal(hello.ping_ms, 3000);
	assert_string_equal(hf__register__descriptor.methods[frames[1].method].name, "Lookup");
	request = (const Hf__LookupRequest *)hf_rpc_unpack(&arena, &hf__lookup_request__descriptor,
							   frames[1].body);
	assert_non_null(request);
	assert_int_equal(request->items[0]->app, 7);
	assert_memory_equal(request->items[0]->registration.data, "ana", 3);
	reply = (const Hf__LookupReply *)hf_rpc_unpack(&arena, &hf__lookup_reply__descriptor,
						       frames[2].body);
	assert_non_null(reply);
	assert_int_equal(reply->results[0]->presence, HF__PRESENCE__ONLINE);
	assert_int_equal(reply->results[0]->room, 17);
	assert_int_equal(reply->results[0]->session, 0x01000005);
	assert_int_equal(reply->results[0]->epoch, 0x0123456789abcdef);
	assert_int_equal(hf_rpc_error_decode(frames[3].body, &status, reason), 0);
	assert_int_equal(status, HF_RPC_UNAVAILABLE);
	assert_string_equal(reason, "DRAINING");
	hf_arena_deinit(&arena);
}

/* 256 KiB of items of two bytes each would take some 10 MiB: over the budget of any one frame. */
static void test_hostile_bodies_are_refused_within_the_budget(void **state)
{
	size_t len = (size_t)256 << 10;
	uint8_t *body = malloc(len);
	struct hf_arena arena;

	assert_non_null(body);
	for (size_t i = 0; i < len; i += 2)
		memcpy(body + i, "\x0a\x00", 2); /* LookupRequest.items, empty */
	hf_arena_init(&arena, 0, 1 << 20);
	assert_null(hf_rpc_unpack(&arena, &hf__lookup_request__descriptor, hf_bytes_of(body, len)));
	assert_true(arena.used <= ((size_t)64 << 10) + 32 * len);
	/* The arena is as good as new. */
	assert_non_null(
		hf_rpc_unpack(&arena, &hf__lookup_request__descriptor, hf_bytes_of(body, 2)));
	assert_non_null(
		hf_rpc_unpack(&arena, &hf__lookup_request__descriptor, hf_bytes_of(NULL, 0)));
	hf_arena_deinit(&arena);
	free(body);
}

/* The densest real requests: a thousand registrations of one byte each. */
static void test_real_requests_fit_the_budget(void **state)
{
	Hf__KickRequest request = HF__KICK_REQUEST__INIT;
	ProtobufCBinaryData ids[1000];
	struct hf_arena arena;
	uint8_t id = 'r', *body;
	size_t len;

	for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++)
		ids[i] = (ProtobufCBinaryData){ 1, &id };
	request.n_registrations = HF_ARRAY_LEN(ids);
	request.registrations = ids;
	len = hf__kick_request__get_packed_size(&request);
	body = malloc(len);
	assert_non_null(body);
	hf__kick_request__pack(&request, body);
	hf_arena_init(&arena, 0, 1 << 20);
	assert_non_null(
		hf_rpc_unpack(&arena, &hf__kick_request__descriptor, hf_bytes_of(body, len)));
	hf_arena_deinit(&arena);
	free(body);
}

static void test_pending_ids_are_unique_among_the_living(void **state)
{
	struct hf_rpc_pending pending;
	int calls[3];
	uint32_t old_id, id;

	hf_rpc_pending_init(&pending, UINT32_MAX - 100); /* wraps on the way */
	assert_null(hf_rpc_pending_find(&pending, 1));
	assert_int_equal(hf_rpc_pending_add(&pending, &calls[0], &old_id), 0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(hf_rpc_pending_add(&pending, &calls[1], &id), 0);
		assert_int_not_equal(id, 0);
		assert_int_not_equal(id, old_id);
		assert_ptr_equal(hf_rpc_pending_find(&pending, id), &calls[1]);
		hf_rpc_pending_remove(&pending, id);
		assert_null(hf_rpc_pending_find(&pending, id));
	}
	assert_ptr_equal(hf_rpc_pending_find(&pending, old_id), &calls[0]);
	assert_int_equal(pending.count, 1);
	assert_int_equal(pending.size, 64); /* churn does not grow it */
	hf_rpc_pending_deinit(&pending);
}

static void test_pending_calls_survive_growth(void **state)
{
	enum { COUNT = 5000 };
	struct hf_rpc_pending pending;
	uint32_t ids[COUNT];
	char calls[COUNT];

	hf_rpc_pending_init(&pending, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(hf_rpc_pending_add(&pending, &calls[i], &ids[i]), 0);
		if (i % 3 == 0) {
			hf_rpc_pending_remove(&pending, ids[i]);
			ids[i] = 0;
		}
	}
	for (unsigned i = 0; i < COUNT; i++) {
		if (ids[i] != 0)
			assert_ptr_equal(hf_rpc_pending_find(&pending, ids[i]), &calls[i]);
	}
	hf_rpc_pending_deinit(&pending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_is_read_as_written),
		cmocka_unit_test(test_every_prefix_of_a_frame_is_incomplete),
		cmocka_unit_test(test_each_kind_has_its_limits),
		cmocka_unit_test(test_errors_carry_status_and_reason),
		cmocka_unit_test(test_a_hello_is_read_as_written),
		cmocka_unit_test(test_service_hashes_are_fnv_1a),
		cmocka_unit_test(test_the_worked_example_holds),
		cmocka_unit_test(test_hostile_bodies_are_refused_within_the_budget),
		cmocka_unit_test(test_real_requests_fit_the_budget),
		cmocka_unit_test(test_pending_ids_are_unique_among_the_living),
		cmocka_unit_test(test_pending_calls_survive_growth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
