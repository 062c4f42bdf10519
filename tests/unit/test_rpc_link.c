/* tests/unit/test_rpc_link.c - promises of a client's link: what it survives, whom it refuses, when
 * it is cut. */
#include "rpc_raw.h"

static void test_a_link_comes_back_after_its_server(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result lost = { 0 }, waited = { 0 };
	char address[HF_NET_TEXT_SIZE];

	snprintf(address, sizeof(address), "%s", f->address);
	call_echo(f, ECHO_HOLD, 1, &lost);
	RUN_UNTIL(f, f->held_count == 1);
	hf_rpc_server_free(f->server);
	f->server = NULL;
	RUN_UNTIL(f, lost.count == 1);
	assert_int_equal(lost.status, HF_RPC_LOST);
	assert_int_equal(f->downs, 1);
	assert_false(hf_rpc_client_connected(f->client));
	answer_held(f, 0); /* into the void */

	call_echo(f, ECHO_NOW, 2, &waited);
	server_start(f, address, NULL);
	RUN_UNTIL(f, waited.count == 1);
	assert_int_equal(waited.status, HF_RPC_OK);
	assert_int_equal(f->ups, 2);
	assert_int_equal(lost.count, 1);
	fixture_free(f);
}

static void test_a_call_with_nobody_there_ends_unreachable(void **state)
{
	struct fixture *f = fixture_bare();
	struct raw raw;
	struct event *acceptable = raw_listen(&raw, f); /* to get a port that is surely free */
	struct result result = { 0 };

	event_free(acceptable);
	raw_close(&raw);
	client_start(f, f->address, NULL);
	call_sized(f, METHOD_ECHO, ECHO_NOW, 1, 0, 30, &result);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_UNREACHABLE);
	assert_string_equal(result.reason, "NOT_CONNECTED");
	assert_true(metrics_have(f, "reason=\"connect_failed\""));
	fixture_free(f);
}

static void test_the_wrong_service_is_found_out_before_the_first_call(void **state)
{
	struct hf_rpc_client_options options = { .service = &hf__saver__descriptor };
	struct fixture *f = fixture_bare();
	Hf__PurgeRequest request = HF__PURGE_REQUEST__INIT;
	struct result result = { 0 };

	server_start(f, "127.0.0.1:0", NULL);
	client_start(f, f->address, &options);
	hf__saver__purge(hf_rpc_to(f->client, 50), &request, (Hf__PurgeReply_Closure)on_result,
			 &result);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_UNREACHABLE);
	assert_int_equal(f->ups, 0);
	assert_int_equal(f->served, 0);
	assert_true(metrics_have(f, "holdfast_rpc_disconnects_total{peer_role=\"echo\","
				    "reason=\"wrong_service\"}"));
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"wrong_service\"}"));
	fixture_free(f);
}

static void test_a_client_refuses_a_server_that_is_none(void **state)
{
	static const struct {
		uint16_t version;
		enum hf_rpc_role role;
		const char *name, *reason;
	} cases[] = {
		{ HF_RPC_VERSION, HF_RPC_CLIENT, "test.Echo", "wrong_service" },
		{ HF_RPC_VERSION, HF_RPC_SERVER, "test.Other", "wrong_service" },
		{ HF_RPC_VERSION + 1, HF_RPC_SERVER, "test.Echo", "wrong_version" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		struct fixture *f = fixture_bare();
		struct hf_rpc_frame frame;
		struct raw raw;
		struct event *acceptable = raw_listen(&raw, f);

		client_start(f, f->address, NULL);
		RUN_UNTIL(f, raw.fd >= 0);
		raw_expect(&raw, HF_RPC_HELLO, &frame);
		raw_greet(&raw, cases[i].version, cases[i].role, cases[i].name, 0);
		RUN_UNTIL(f, raw.eof);
		assert_int_equal(f->ups, 0);
		assert_true(metrics_have(f, cases[i].reason));
		event_free(acceptable);
		raw_close(&raw);
		fixture_free(f);
	}
}

static void test_a_client_cuts_a_silent_server_after_two_pings(void **state)
{
	struct hf_rpc_client_options options = { .ping_ms = 10 };
	struct fixture *f = fixture_bare();
	struct result result = { 0 };
	struct hf_rpc_frame frame;
	struct raw raw;
	struct event *acceptable = raw_listen(&raw, f);

	client_start(f, f->address, &options);
	call_echo(f, ECHO_NOW, 1, &result);
	RUN_UNTIL(f, raw.fd >= 0);
	raw_expect(&raw, HF_RPC_HELLO, &frame);
	raw_greet(&raw, HF_RPC_VERSION, HF_RPC_SERVER, "test.Echo", 0);
	raw_expect(&raw, HF_RPC_REQUEST, &frame);
	RUN_UNTIL(f, raw.eof);
	assert_int_equal(result.status, HF_RPC_LOST);
	assert_int_equal(f->downs, 1);
	raw_expect(&raw, HF_RPC_PING, &frame);
	raw_expect(&raw, HF_RPC_PING, &frame);
	assert_int_equal(hf_buffer_len(&raw.in), 0);
	assert_true(metrics_have(f, "reason=\"silent\"} 1"));
	event_free(acceptable);
	raw_close(&raw);
	fixture_free(f);
}

static void test_an_idle_link_stays(void **state)
{
	struct hf_rpc_client_options options = { .ping_ms = 20 };
	struct fixture *f = fixture_new(&options, NULL);
	struct hf_timer timer;
	struct fixture later = { 0 }; /* only its out_of_time is used */

	hf_timer_init(&timer, on_out_of_time, &later);
	hf_loop_arm(f->loop, &timer, 300);
	RUN_UNTIL(f, later.out_of_time);
	assert_int_equal(f->ups, 1);
	assert_int_equal(f->downs, 0);
	fixture_free(f);
}

static void test_a_bad_reply_ends_its_call_only(void **state)
{
	struct fixture *f = fixture_bare();
	struct result bad = { 0 }, good = { 0 };
	struct hf_rpc_frame frame;
	struct raw raw;
	struct event *acceptable = raw_listen(&raw, f);
	uint8_t body[64];
	size_t len = request_body(body, ECHO_NOW, 9);

	client_start(f, f->address, NULL);
	call_echo(f, ECHO_NOW, 1, &bad);
	RUN_UNTIL(f, raw.fd >= 0);
	raw_expect(&raw, HF_RPC_HELLO, &frame);
	raw_greet(&raw, HF_RPC_VERSION, HF_RPC_SERVER, "test.Echo", 0);
	raw_expect(&raw, HF_RPC_REQUEST, &frame);
	raw_send_frame(&raw, HF_RPC_REPLY, frame.call_id + 100, METHOD_ECHO, body, len);
	raw_send_frame(&raw, HF_RPC_REPLY, frame.call_id, METHOD_ECHO, "\xff\xff\xff", 3);
	RUN_UNTIL(f, bad.count == 1);
	assert_int_equal(bad.status, HF_RPC_INTERNAL);
	assert_string_equal(bad.reason, "BAD_REPLY");
	call_echo(f, ECHO_NOW, 2, &good);
	raw_expect(&raw, HF_RPC_REQUEST, &frame);
	raw_send_frame(&raw, HF_RPC_REPLY, frame.call_id, METHOD_ECHO, body, len);
	RUN_UNTIL(f, good.count == 1);
	assert_int_equal(good.number, 9);
	raw_send_frame(&raw, HF_RPC_REQUEST, 1, METHOD_ECHO, body, len); /* to a client */
	RUN_UNTIL(f, raw.eof);
	assert_int_equal(f->downs, 1);
	event_free(acceptable);
	raw_close(&raw);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_comes_back_after_its_server),
		cmocka_unit_test(test_a_call_with_nobody_there_ends_unreachable),
		cmocka_unit_test(test_the_wrong_service_is_found_out_before_the_first_call),
		cmocka_unit_test(test_a_client_refuses_a_server_that_is_none),
		cmocka_unit_test(test_a_client_cuts_a_silent_server_after_two_pings),
		cmocka_unit_test(test_an_idle_link_stays),
		cmocka_unit_test(test_a_bad_reply_ends_its_call_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
