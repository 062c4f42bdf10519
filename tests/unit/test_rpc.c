/* tests/unit/test_rpc.c - promises to callers and handlers: hf_rpc_client.h, hf_rpc_server.h. */
#include "rpc_fixture.h"

static void test_a_reply_comes_to_its_call(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result result = { 0 };

	call_sized(f, METHOD_ECHO, ECHO_NOW, 42, 100, 1000, &result);
	assert_int_equal(result.count, 0); /* never inside the stub */
	assert_int_equal(hf_rpc_client_in_flight(f->client), 1);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_OK);
	assert_int_equal(result.number, 42);
	assert_int_equal(result.len, 100);
	assert_int_equal(hf_rpc_client_in_flight(f->client), 0);
	assert_int_equal(hf_rpc_server_running(f->server), 0);
	assert_true(metrics_have(f, "holdfast_rpc_requests_total{peer_role=\"echo\","
				    "method=\"Echo\",code=\"OK\"} 1"));
	assert_true(metrics_have(f, "holdfast_rpc_duration_seconds_count{peer_role=\"echo\","
				    "method=\"Echo\"} 1"));
	assert_true(metrics_have(f, "holdfast_rpc_inflight{peer_role=\"echo\"} 0"));
	assert_true(metrics_have(f, "holdfast_rpc_served_total{method=\"Echo\",code=\"OK\"} 1"));
	fixture_free(f);
}

static void test_many_calls_share_the_connection(void **state)
{
	enum { COUNT = 20000 }; /* more than window and queue let through at once */
	struct hf_rpc_client_options options = { .window = 256, .queue = COUNT };
	struct fixture *f = fixture_new(&options, NULL);
	struct result *results = calloc(COUNT, sizeof(*results));
	unsigned done = 0;

	assert_non_null(results);
	for (unsigned i = 0; i < COUNT; i++)
		call_sized(f, METHOD_ECHO, ECHO_NOW, i, 64, 9000, &results[i]);
	assert_int_equal(hf_rpc_client_in_flight(f->client), COUNT);
	RUN_UNTIL(f, hf_rpc_client_in_flight(f->client) == 0);
	for (unsigned i = 0; i < COUNT; i++)
		done += results[i].count == 1 && results[i].number == i && results[i].len == 64;
	assert_int_equal(done, COUNT);
	assert_true(metrics_have(f, "holdfast_rpc_connections 1"));
	free(results);
	fixture_free(f);
}

static void test_replies_may_come_in_any_order(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result results[3] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		call_echo(f, ECHO_HOLD, i, &results[i]);
	RUN_UNTIL(f, f->held_count == 3);
	assert_int_equal(hf_rpc_server_running(f->server), 3);
	for (unsigned i = 3; i-- > 0;) {
		answer_held(f, i);
		RUN_UNTIL(f, results[i].count == 1);
		assert_int_equal(results[i].number, i);
	}
	fixture_free(f);
}

static void test_an_error_tells_status_and_reason(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result failed = { 0 }, null = { 0 };

	call_echo(f, ECHO_FAIL, 1, &failed);
	call_echo(f, ECHO_NULL, 1, &null);
	RUN_UNTIL(f, failed.count == 1 && null.count == 1);
	assert_int_equal(failed.status, HF_RPC_UNAVAILABLE);
	assert_string_equal(failed.reason, "STORE_UNAVAILABLE");
	assert_int_equal(null.status, HF_RPC_INTERNAL);
	assert_string_equal(hf_rpc_last_reason(), ""); /* only of the running closure */
	assert_int_equal(hf_rpc_last_status(), HF_RPC_OK);
	fixture_free(f);
}

static void test_a_deadline_ends_a_call_and_its_late_reply_ends_nothing(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result late = { 0 }, next = { 0 };

	call_sized(f, METHOD_ECHO, ECHO_HOLD, 1, 0, 10, &late);
	RUN_UNTIL(f, late.count == 1);
	assert_int_equal(late.status, HF_RPC_DEADLINE);
	answer_held(f, 0);
	call_echo(f, ECHO_NOW, 2, &next);
	RUN_UNTIL(f, next.count == 1);
	assert_int_equal(next.number, 2);
	assert_int_equal(late.count, 1);
	fixture_free(f);
}

static void test_over_window_and_queue_a_call_ends_overloaded(void **state)
{
	struct hf_rpc_client_options options = { .window = 2, .queue = 2 };
	struct fixture *f = fixture_new(&options, NULL);
	struct result results[5] = { 0 };

	for (unsigned i = 0; i < 5; i++)
		call_echo(f, ECHO_HOLD, i, &results[i]);
	assert_int_equal(results[4].count, 0); /* not inside the stub */
	RUN_UNTIL(f, results[4].count == 1 && f->held_count == 2);
	assert_int_equal(results[4].status, HF_RPC_OVERLOADED);
	assert_string_equal(results[4].reason, "WINDOW_FULL");
	answer_held(f, 0); /* lets the third call in */
	RUN_UNTIL(f, f->held_count == 3);
	answer_held(f, 1);
	RUN_UNTIL(f, f->held_count == 4);
	answer_held(f, 2);
	answer_held(f, 3);
	RUN_UNTIL(f, results[3].count == 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(results[i].number, i);
	fixture_free(f);
}

static void test_a_call_that_never_left_says_so_at_its_deadline(void **state)
{
	struct hf_rpc_client_options options = { .window = 1 };
	struct fixture *f = fixture_new(&options, NULL);
	struct result held = { 0 }, waited = { 0 };

	call_echo(f, ECHO_HOLD, 1, &held);
	call_sized(f, METHOD_ECHO, ECHO_NOW, 2, 0, 10, &waited);
	RUN_UNTIL(f, waited.count == 1);
	assert_int_equal(waited.status, HF_RPC_OVERLOADED);
	RUN_UNTIL(f, f->held_count == 1);
	answer_held(f, 0);
	RUN_UNTIL(f, held.count == 1);
	assert_int_equal(f->served, 1);
	fixture_free(f);
}

static void test_one_way_calls_are_done_when_handed_over(void **state)
{
	struct hf_rpc_client_options options = { .window = 1 };
	struct fixture *f = fixture_new(&options, NULL);
	struct result result = { 0 };

	call_sized(f, METHOD_TELL, 0, 1, 0, 1000, NULL);
	call_sized(f, METHOD_TELL, 0, 2, 0, 1000, &result); /* takes no place in the window */
	assert_int_equal(result.count, 0);
	assert_int_equal(hf_rpc_client_in_flight(f->client), 0);
	RUN_UNTIL(f, f->told == 2 && result.count == 1);
	assert_int_equal(result.status, HF_RPC_OK);
	assert_int_equal(f->last_told, 2);
	assert_int_equal(hf_rpc_server_running(f->server), 0);
	fixture_free(f);
}

static void test_one_way_calls_wait_for_the_link(void **state)
{
	struct fixture *f = fixture_bare();
	struct result result = { 0 };

	server_start(f, "127.0.0.1:0", NULL);
	client_start(f, f->address, NULL);
	call_sized(f, METHOD_TELL, 0, 7, 0, 5000, NULL);
	call_sized(f, METHOD_TELL, 0, 8, 0, 5000, &result);
	RUN_UNTIL(f, f->told == 2 && result.count == 1);
	assert_int_equal(result.status, HF_RPC_OK);
	fixture_free(f);
}

static void test_large_messages_pass_and_too_large_ones_are_refused(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	size_t sizes[] = { 60000, 140000, 300000, 1 << 20, HF_RPC_FRAME_MAX - 16 };
	struct result results[HF_ARRAY_LEN(sizes)] = { 0 }, request = { 0 }, reply = { 0 };

	for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++)
		call_sized(f, METHOD_ECHO, ECHO_NOW, (uint32_t)i, sizes[i], 9000, &results[i]);
	call_sized(f, METHOD_ECHO, ECHO_NOW, 1, HF_RPC_FRAME_MAX, 9000, &request);
	call_sized(f, METHOD_ECHO, ECHO_BIG, HF_RPC_FRAME_MAX, 0, 9000, &reply);
	RUN_UNTIL(f, hf_rpc_client_in_flight(f->client) == 0 && request.count == 1);
	for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
		assert_int_equal(results[i].status, HF_RPC_OK);
		assert_int_equal(results[i].len, sizes[i]);
	}
	assert_int_equal(request.status, HF_RPC_INVALID);
	assert_string_equal(request.reason, "REQUEST_TOO_LARGE");
	assert_int_equal(reply.status, HF_RPC_INTERNAL);
	assert_string_equal(reply.reason, "REPLY_TOO_LARGE");
	fixture_free(f);
}

static void test_a_server_refuses_what_is_over_its_bounds(void **state)
{
	struct hf_rpc_server_options limits = { .running_max = 2 };
	struct fixture *f = fixture_new(NULL, &limits);
	struct result results[3] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		call_echo(f, ECHO_HOLD, i, &results[i]);
	RUN_UNTIL(f, results[2].count == 1);
	assert_int_equal(results[2].status, HF_RPC_OVERLOADED);
	assert_string_equal(results[2].reason, "TOO_MANY_RUNNING");
	assert_true(metrics_have(f, "method=\"Echo\",code=\"OVERLOADED\"} 1"));
	answer_held(f, 0);
	answer_held(f, 1);
	RUN_UNTIL(f, results[1].count == 1);
	assert_int_equal(results[1].status, HF_RPC_OK);
	fixture_free(f);
}

static void test_a_draining_server_finishes_and_takes_nothing_new(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result old = { 0 }, new = { 0 };

	call_echo(f, ECHO_HOLD, 1, &old);
	RUN_UNTIL(f, f->held_count == 1);
	hf_rpc_server_drain(f->server);
	call_echo(f, ECHO_NOW, 2, &new);
	RUN_UNTIL(f, new.count == 1);
	assert_int_equal(new.status, HF_RPC_UNAVAILABLE);
	assert_string_equal(new.reason, "DRAINING");
	assert_true(hf_rpc_status_is_safe_to_retry(new.status));
	answer_held(f, 0);
	RUN_UNTIL(f, old.count == 1);
	assert_int_equal(old.status, HF_RPC_OK);
	fixture_free(f);
}

static void test_free_cancels_every_open_call(void **state)
{
	struct hf_rpc_client_options options = { .window = 1, .queue = 1 };
	struct fixture *f = fixture_new(&options, NULL);
	struct result sent = { 0 }, waiting = { 0 }, refused = { 0 };

	call_echo(f, ECHO_HOLD, 1, &sent);
	call_echo(f, ECHO_HOLD, 2, &waiting);
	call_echo(f, ECHO_HOLD, 3, &refused);
	hf_rpc_client_free(f->client);
	f->client = NULL;
	assert_int_equal(sent.count + waiting.count + refused.count, 3);
	assert_int_equal(sent.status, HF_RPC_CANCELED);
	assert_int_equal(waiting.status, HF_RPC_CANCELED);
	assert_int_equal(refused.status, HF_RPC_OVERLOADED); /* it was over before */
	assert_int_equal(f->downs, 0);
	assert_true(metrics_have(f, "holdfast_rpc_inflight{peer_role=\"echo\"} 0"));
	fixture_free(f);
}

static void on_free_client(const ProtobufCMessage *message, void *ctx)
{
	struct fixture *f = ctx;

	hf_rpc_client_free(f->client);
	f->client = NULL;
}

static void test_a_closure_may_free_its_client(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;
	ProtobufCService *service = hf_rpc_to(f->client, 1000);
	struct result others[2] = { 0 };

	service->invoke(service, METHOD_ECHO, &request.base, on_free_client, f);
	call_echo(f, ECHO_NOW, 1, &others[0]); /* its reply comes in the same read */
	call_echo(f, ECHO_HOLD, 2, &others[1]);
	RUN_UNTIL(f, f->client == NULL);
	assert_int_equal(others[0].status, HF_RPC_CANCELED);
	assert_int_equal(others[1].status, HF_RPC_CANCELED);
	RUN_UNTIL(f, f->held_count == 1);
	answer_held(f, 0);
	fixture_free(f);
}

static void on_call_again(const ProtobufCMessage *message, void *ctx)
{
	struct fixture *f = ctx;

	call_sized(f, METHOD_ECHO, ECHO_NOW, 5, 0, 1000, (struct result *)f->held[0].call);
}

static void test_a_closure_may_call_again(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;
	ProtobufCService *service = hf_rpc_to(f->client, 1000);
	struct result again = { 0 };

	f->held[0].call = &again;
	service->invoke(service, METHOD_ECHO, &request.base, on_call_again, f);
	RUN_UNTIL(f, again.count == 1);
	assert_int_equal(again.number, 5);
	fixture_free(f);
}

struct late_caller {
	struct hf_turn_hook hook;
	struct fixture *f;
	struct result result;
	bool called;
};

static void on_late_hook(void *ctx)
{
	struct late_caller *late = ctx;

	if (!late->called)
		call_echo(late->f, ECHO_NOW, 1, &late->result);
	late->called = true;
}

/* Hooks run in the order they came, so this one runs after the one that sends. */
static void test_a_call_at_the_very_end_of_a_turn_does_not_wait_for_another_event(void **state)
{
	struct hf_rpc_client_options options = { .ping_ms = 60000 };
	struct fixture *f = fixture_new(&options, NULL);
	struct late_caller late = { .f = f };

	late.hook = (struct hf_turn_hook){ .fn = on_late_hook, .ctx = &late };
	hf_loop_add_hook(f->loop, &late.hook);
	hf_loop_turn(f->loop, false);
	assert_true(late.called);
	RUN_UNTIL(f, late.result.count == 1);
	hf_loop_remove_hook(f->loop, &late.hook);
	fixture_free(f);
}

static void test_a_call_to_nobody_ends_unreachable_later(void **state)
{
	struct fixture *f = fixture_bare();
	ProtobufCService *service = hf_rpc_to_nobody(f->loop, &echo_descriptor);
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;
	struct result result = { 0 };

	assert_ptr_equal(service->descriptor, &echo_descriptor);
	service->invoke(service, METHOD_ECHO, &request.base, on_result, &result);
	service->invoke(service, METHOD_TELL, &request.base, NULL, NULL);
	assert_int_equal(result.count, 0);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_UNREACHABLE);
	assert_true(hf_rpc_status_is_safe_to_retry(result.status));
	fixture_free(f);
}

static void test_unix_sockets_work_and_leave_nothing_behind(void **state)
{
	char path[] = "/tmp/hf_rpc_XXXXXX", address[64];
	struct fixture *f = fixture_bare();
	struct result result = { 0 };

	assert_non_null(mkdtemp(path));
	snprintf(address, sizeof(address), "unix:%s/s", path);
	server_start(f, address, NULL);
	assert_string_equal(f->address, address);
	client_start(f, f->address, NULL);
	call_echo(f, ECHO_NOW, 3, &result);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_OK);
	fixture_free(f);
	assert_int_equal(rmdir(path), 0);
}

static void test_a_bad_address_is_refused(void **state)
{
	struct fixture *f = fixture_bare();
	struct hf_rpc_client_options options = { .peer_role = "x", .service = &echo_descriptor };
	const char *bad[] = { "", "host.example:1", "127.0.0.1", "127.0.0.1:99999", "unix:" };

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		options.address = bad[i];
		assert_int_equal(hf_rpc_client_new(f->loop, f->metrics, &options, &f->client), -22);
	}
	fixture_free(f);
}

static void test_statuses_have_names(void **state)
{
	for (int i = 0; i < HF_RPC_STATUS_COUNT; i++)
		assert_true(strlen(hf_rpc_status_name((enum hf_rpc_status)i)) > 1);
	assert_string_equal(hf_rpc_status_name(HF_RPC_OVERLOADED), "OVERLOADED");
	assert_string_equal(hf_rpc_status_name((enum hf_rpc_status)99), "UNKNOWN");
	assert_false(hf_rpc_status_is_safe_to_retry(HF_RPC_LOST));
	assert_false(hf_rpc_status_is_safe_to_retry(HF_RPC_DEADLINE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_reply_comes_to_its_call),
		cmocka_unit_test(test_many_calls_share_the_connection),
		cmocka_unit_test(test_replies_may_come_in_any_order),
		cmocka_unit_test(test_an_error_tells_status_and_reason),
		cmocka_unit_test(test_a_deadline_ends_a_call_and_its_late_reply_ends_nothing),
		cmocka_unit_test(test_over_window_and_queue_a_call_ends_overloaded),
		cmocka_unit_test(test_a_call_that_never_left_says_so_at_its_deadline),
		cmocka_unit_test(test_one_way_calls_are_done_when_handed_over),
		cmocka_unit_test(test_one_way_calls_wait_for_the_link),
		cmocka_unit_test(test_large_messages_pass_and_too_large_ones_are_refused),
		cmocka_unit_test(test_a_server_refuses_what_is_over_its_bounds),
		cmocka_unit_test(test_a_draining_server_finishes_and_takes_nothing_new),
		cmocka_unit_test(test_free_cancels_every_open_call),
		cmocka_unit_test(test_a_closure_may_free_its_client),
		cmocka_unit_test(test_a_closure_may_call_again),
		cmocka_unit_test(
			test_a_call_at_the_very_end_of_a_turn_does_not_wait_for_another_event),
		cmocka_unit_test(test_a_call_to_nobody_ends_unreachable_later),
		cmocka_unit_test(test_unix_sockets_work_and_leave_nothing_behind),
		cmocka_unit_test(test_a_bad_address_is_refused),
		cmocka_unit_test(test_statuses_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
