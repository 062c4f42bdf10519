/* tests/unit/test_client_endings.c - how libholdfast-client ends, waits, and finds its next server.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_server.h"
#include "hf_clock.h"

static struct fixture f;
static struct server other; /* a second server, or a dispatcher */
static const char *dispatcher;
static char dispatcher_url[64], cache_file[64];

static int setup(void **state)
{
	fixture_init(&f);
	server_open(&other);
	snprintf(dispatcher_url, sizeof(dispatcher_url), "http://%s", other.address);
	snprintf(cache_file, sizeof(cache_file), "/tmp/hf-test-cache-%d", getpid());
	dispatcher = dispatcher_url;
	return 0;
}

static int teardown(void **state)
{
	fixture_deinit(&f);
	server_close(&other);
	unlink(cache_file);
	return 0;
}

/* The server's LOGIN_ACK with these codes for the apps 7 and 8. */
static void answer_login(unsigned code_7, unsigned code_8)
{
	struct hf_wire_login_ack ack = { .result_count = 2,
					 .results = { { .app = 7, .code = code_7 },
						      { .app = 8, .code = code_8 } } };
	uint8_t frame[256];

	server_frame(&f, &f.server, HF_WIRE_LOGIN);
	server_send_encoded(&f.server, frame, hf_wire_encode_login_ack(&ack, frame, sizeof(frame)));
}

static void attach_8(void)
{
	const struct hf_client_app app = { .app = 8, .registration = "r8", .token = "t8" };

	assert_int_equal(hf_client_attach(f.client, &app), 0);
}

static enum hf_client_state state_now(void)
{
	struct hf_client_status status;

	hf_client_status(f.client, &status);
	return status.state;
}

static void test_garbage_ends_the_connection_and_the_client_comes_back(void **state)
{
	struct hf_wire_frame frame;
	struct hf_wire_bye bye;

	/* Time to read its BYE: the fake server has one connection, and the next takes its place.
	 */
	f.config.backoff_base_ms = f.config.backoff_cap_ms = 1000;
	fixture_connect(&f);
	server_send(&f.server, "GET / HTTP/1.1\r\n\r\n", 18);
	frame = server_frame(&f, &f.server, HF_WIRE_BYE);
	assert_int_equal(hf_wire_decode_bye(frame.body, &bye), 0);
	assert_int_equal(bye.code, HF_CLOSE_BAD_FRAME);
	assert_int_equal(f.record.errors[HF_CLIENT_ERROR_PROTOCOL], 1);
	server_log_in(&f);
}

static void test_garbage_instead_of_a_login_ack_is_a_failed_attempt(void **state)
{
	struct hf_client_stats stats;

	fixture_start(&f);
	server_frame(&f, &f.server, HF_WIRE_LOGIN);
	server_push(&f.server, 1, 7, "too early");
	PUMP_UNTIL(&f, &f.server, f.record.errors[HF_CLIENT_ERROR_PROTOCOL] == 1);
	hf_client_stats(f.client, &stats);
	assert_int_equal(stats.connect_failures, 1);
	assert_int_equal(stats.logins, 0);
	assert_int_equal(f.record.messages, 0);
}

static void test_who_is_replaced_stays_away(void **state)
{
	fixture_connect(&f);
	server_bye(&f.server, HF_CLOSE_REPLACED, 0, NULL);
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_STOPPED);
	assert_int_equal(f.record.code, HF_CLOSE_REPLACED);
	assert_string_equal(f.record.reason, "because");
	assert_int_equal(hf_client_next_timeout_ms(f.client), -1);
	assert_int_equal(hf_client_run(f.client, -1), 0);
	assert_int_equal(f.server.accepted, 1);
}

static void test_an_overloaded_server_gets_us_back_after_its_delay(void **state)
{
	uint64_t start;

	fixture_connect(&f);
	server_bye(&f.server, HF_CLOSE_OVERLOADED, 150, NULL);
	start = hf_clock_monotonic_ms();
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_WAITING);
	assert_in_range(f.record.retry_in_ms, 1, 200);
	/* a hint of the platform does not overrule the server */
	hf_client_notify_network(f.client, HF_CLIENT_NETWORK_WIFI);
	server_log_in(&f);
	assert_true(hf_clock_monotonic_ms() - start >= 145);
}

static void test_an_order_to_move_is_obeyed_at_once_but_not_in_circles(void **state)
{
	struct hf_wire_frame frame;

	f.config.backoff_base_ms = f.config.backoff_cap_ms = 100000;
	fixture_connect(&f);
	server_bye(&f.server, HF_CLOSE_DRAINING, 0, other.address);
	frame = server_frame(&f, &other, HF_WIRE_LOGIN);
	assert_int_equal(frame.type, HF_WIRE_LOGIN);
	server_bye(&other, HF_CLOSE_DRAINING, 0, f.server.address);
	PUMP_UNTIL(&f, &other, state_now() == HF_CLIENT_WAITING && f.record.retry_in_ms > 0);
}

static void test_a_command_to_move_ends_in_order_and_goes_there(void **state)
{
	struct hf_wire_command command = { .kind = HF_WIRE_COMMAND_MOVE, .endpoint_count = 1 };
	uint8_t frame[256];

	fixture_connect(&f);
	command.endpoints[0] = hf_bytes_of_string(other.address);
	server_send_encoded(&f.server, frame,
			    hf_wire_encode_command(&command, frame, sizeof(frame)));
	server_frame(&f, &f.server, HF_WIRE_BYE);
	server_frame(&f, &other, HF_WIRE_LOGIN);
}

static void test_an_expired_token_is_asked_for_and_the_new_one_used(void **state)
{
	static struct hf_wire_login login;
	struct hf_wire_frame frame;

	fixture_start(&f);
	server_frame(&f, &f.server, HF_WIRE_LOGIN);
	server_bye(&f.server, HF_CLOSE_TOKEN_EXPIRED, 0, NULL);
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_WAITING);
	assert_int_equal(f.record.token_asked, 1);
	assert_int_equal(f.record.app_code[7], HF_CLOSE_TOKEN_EXPIRED);
	assert_int_equal(hf_client_next_timeout_ms(f.client), -1); /* nothing to come back with */

	assert_int_equal(hf_client_set_token(f.client, 7, "fresh"), 0);
	frame = server_frame(&f, &f.server, HF_WIRE_LOGIN);
	assert_int_equal(hf_wire_decode_login(frame.body, &login), 0);
	assert_true(hf_bytes_equal(login.sessions[0].token, HF_BYTES_LITERAL("fresh")));
	assert_int_equal(f.record.token_asked, 1);
}

static void test_a_provider_that_gives_bad_tokens_does_not_spin(void **state)
{
	struct hf_client_stats stats;

	f.config.backoff_base_ms = f.config.backoff_cap_ms = 100000;
	f.record.next_token = "stale";
	fixture_start(&f);
	server_frame(&f, &f.server, HF_WIRE_LOGIN);
	server_bye(&f.server, HF_CLOSE_TOKEN_EXPIRED, 0, NULL);
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_WAITING && f.record.retry_in_ms > 0);
	hf_client_stats(f.client, &stats);
	assert_int_equal(stats.connects, 1);
	assert_int_equal(f.record.token_asked, 1);
}

static void test_an_app_without_a_token_asks_for_one_before_it_connects(void **state)
{
	const struct hf_client_app app = { .app = 7, .registration = "r7" };

	assert_int_equal(hf_client_new(&f.config, &f.client), 0);
	assert_int_equal(hf_client_attach(f.client, &app), 0);
	assert_int_equal(hf_client_start(f.client), 0);
	PUMP_UNTIL(&f, &f.server, f.record.token_asked == 1);
	assert_int_equal(hf_client_next_timeout_ms(f.client), -1);
	assert_int_equal(f.server.accepted, 0);
	assert_int_equal(hf_client_set_token(f.client, 7, "t"), 0);
	server_log_in(&f);
}

static void test_a_refused_app_leaves_the_others_alone(void **state)
{
	uint8_t frame[64];
	struct hf_wire_detach detach = { .app = 7, .code = HF_CLOSE_KICKED };

	fixture_start(&f);
	attach_8();
	answer_login(0, HF_CLOSE_AUTH_REJECTED);
	PUMP_UNTIL(&f, &f.server, f.record.app_code[8] == HF_CLOSE_AUTH_REJECTED);
	server_push(&f.server, 1, 7, "a");
	server_frame(&f, &f.server, HF_WIRE_ACK);
	assert_int_equal(state_now(), HF_CLIENT_CONNECTED);

	/* and when the last one goes there is nothing left to be connected for */
	server_send_encoded(&f.server, frame,
			    hf_wire_encode_detach(HF_WIRE_DETACH_ACK, &detach, frame,
						  sizeof(frame)));
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_STOPPED);
	assert_int_equal(f.record.code, HF_CLOSE_KICKED);
}

static void test_when_all_apps_are_refused_the_one_that_can_be_helped_is(void **state)
{
	fixture_start(&f);
	attach_8();
	f.record.next_token = "fresh";
	answer_login(HF_CLOSE_AUTH_REJECTED, HF_CLOSE_TOKEN_EXPIRED);
	server_bye(&f.server, HF_CLOSE_AUTH_REJECTED, 0, NULL);
	server_frame(&f, &f.server, HF_WIRE_LOGIN);
	assert_int_equal(f.record.token_asked, 1);
	assert_int_equal(f.record.states[HF_CLIENT_CONNECTED], 0);
}

static void test_a_server_that_is_not_there_is_tried_with_back_off(void **state)
{
	struct hf_client_stats stats;

	f.config.backoff_base_ms = 1;
	f.config.backoff_cap_ms = 30;
	server_close(&f.server);
	f.server.fd = f.server.listener = -1;
	fixture_start(&f);
	PUMP_UNTIL(&f, &other, (hf_client_stats(f.client, &stats), stats.connect_failures >= 4));
	assert_int_equal(f.record.states[HF_CLIENT_CONNECTED], 0);
	assert_true(f.record.states[HF_CLIENT_WAITING] >= 3);
}

static void test_a_server_that_never_answers_is_given_up(void **state)
{
	f.config.login_timeout_ms = 40;
	fixture_start(&f);
	PUMP_UNTIL(&f, &f.server, f.record.errors[HF_CLIENT_ERROR_CONNECT] > 0);
	assert_int_equal(f.record.states[HF_CLIENT_WAITING], 1);
}

static void test_a_cut_is_followed_by_a_login_with_the_ticket(void **state)
{
	static struct hf_wire_login login;
	struct hf_wire_login_ack ack = { .linger_s = 30,
					 .ticket = HF_BYTES_LITERAL("ticket"),
					 .result_count = 1,
					 .results = { { .app = 7 } } };
	struct hf_wire_frame frame;
	uint8_t out[256];

	fixture_start(&f);
	frame = server_frame(&f, &f.server, HF_WIRE_LOGIN);
	assert_int_equal(hf_wire_decode_login(frame.body, &login), 0);
	assert_int_equal(login.ticket.len, 0);
	server_send_encoded(&f.server, out, hf_wire_encode_login_ack(&ack, out, sizeof(out)));
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_CONNECTED);
	server_hang_up(&f.server);
	frame = server_frame(&f, &f.server, HF_WIRE_LOGIN);
	assert_int_equal(hf_wire_decode_login(frame.body, &login), 0);
	assert_true(hf_bytes_equal(login.ticket, ack.ticket));
}

/* Logs in with a ticket in LOGIN_ACK; the ticket that came in LOGIN. */
static struct hf_bytes log_in_with_ticket(bool resumed)
{
	static struct hf_wire_login login;
	struct hf_wire_login_ack ack = { .linger_s = 30,
					 .ticket = HF_BYTES_LITERAL("ticket"),
					 .resumed = resumed,
					 .result_count = 1,
					 .results = { { .app = 7 } } };
	struct hf_wire_frame frame = server_frame(&f, &f.server, HF_WIRE_LOGIN);
	unsigned connected = f.record.states[HF_CLIENT_CONNECTED];
	uint8_t out[256];

	assert_int_equal(hf_wire_decode_login(frame.body, &login), 0);
	server_send_encoded(&f.server, out, hf_wire_encode_login_ack(&ack, out, sizeof(out)));
	PUMP_UNTIL(&f, &f.server, f.record.states[HF_CLIENT_CONNECTED] > connected);
	return login.ticket;
}

static void test_only_a_death_keeps_the_ticket(void **state)
{
	static const struct {
		unsigned bye; /* 0: cut */
		bool ticket;
	} ends[] = { { 0, true }, { 4201, true }, { 4200, false }, { 4100, false } };

	fixture_start(&f);
	assert_int_equal(log_in_with_ticket(false).len, 0);
	for (size_t i = 0; i < HF_ARRAY_LEN(ends); i++) {
		struct hf_client_status status;

		if (ends[i].bye == 0)
			server_hang_up(&f.server);
		else
			server_bye(&f.server, ends[i].bye, 0, NULL);
		assert_int_equal(log_in_with_ticket(ends[i].ticket).len, ends[i].ticket ? 6 : 0);
		hf_client_status(f.client, &status);
		assert_int_equal(status.resumed, ends[i].ticket);
	}
}

/* The program says something new of itself: that is for an ordinary login. */
static void test_an_app_that_was_attached_anew_does_not_resume(void **state)
{
	fixture_start(&f);
	log_in_with_ticket(false);
	server_bye(&f.server, HF_CLOSE_KEEPALIVE_TIMEOUT, 1000,
		   NULL); /* a death, and time enough */
	PUMP_UNTIL(&f, &f.server, state_now() == HF_CLIENT_WAITING);
	assert_int_equal(hf_client_detach(f.client, 7), 0);
	assert_int_equal(hf_client_attach(f.client, &(struct hf_client_app){ .app = 7,
									     .registration = "r7",
									     .token = "t7" }),
			 0);
	assert_int_equal(log_in_with_ticket(false).len, 0);
}

/* Waits for a question at the dispatcher and answers it. */
static void answer_question(const char *answer)
{
	struct hf_buffer *in = &other.in;

	PUMP_UNTIL(&f, &other,
		   hf_buffer_len(in) > 0 &&
			   memmem(hf_buffer_data(in), hf_buffer_len(in), "\r\n\r\n", 4) != NULL);
	assert_memory_equal(hf_buffer_data(in), "GET /v1/endpoints?format=text&app_id=7&", 39);
	server_send(&other, answer, strlen(answer));
	hf_buffer_clear(in, 0);
}

static void use_dispatcher(void)
{
	f.config.dispatchers = &dispatcher;
	f.config.dispatcher_count = 1;
	f.config.address_count = 0;
}

/* An answer that names f.server. */
static const char *good_answer(void)
{
	static char text[512];
	char body[256];
	int len = snprintf(body, sizeof(body), "%s tcp 100\n192.0.2.1:1 wss 3\n", f.server.address);

	snprintf(text, sizeof(text),
		 "HTTP/1.1 200 OK\r\ncontent-length: %d\r\nConnection: close\r\n\r\n%s", len, body);
	return text;
}

static void test_a_dispatcher_names_the_server(void **state)
{
	use_dispatcher();
	fixture_start(&f);
	answer_question(good_answer());
	server_log_in(&f);
}

static void test_an_answer_without_a_length_ends_with_the_stream(void **state)
{
	char answer[256];

	use_dispatcher();
	fixture_start(&f);
	snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\n\r\n%s tcp 1\r\n", f.server.address);
	answer_question(answer);
	server_hang_up(&other);
	server_log_in(&f);
}

static void test_bad_answers_of_a_dispatcher_are_refused(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot lines",
		"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n1.2.3.4:99999 tcp 1\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n\r\n",
	};

	use_dispatcher();
	f.config.backoff_cap_ms = 1;
	fixture_start(&f);
	for (unsigned i = 0; i < HF_ARRAY_LEN(answers); i++) {
		answer_question(answers[i]);
		PUMP_UNTIL(&f, &other, f.record.errors[HF_CLIENT_ERROR_DISPATCHER] == i + 1);
	}
	answer_question(good_answer());
	server_log_in(&f);
}

static void test_the_reason_of_a_dispatcher_is_told(void **state)
{
	static const struct {
		const char *body, *told;
	} cases[] = {
		{ "{\"error\":{\"code\":404,\"reason\":\"APP_UNKNOWN\",\"message\":\"x\"}}",
		  "status 404 APP_UNKNOWN" },
		{ "{\"reason\":\"\x1b[31m\"}", "status 404" },
		{ "{\"reason\":\"CUT", "status 404 CUT" },
		{ "no such page", "status 404" },
	};
	char answer[256];

	use_dispatcher();
	f.config.backoff_cap_ms = 1;
	fixture_start(&f);
	for (unsigned i = 0; i < HF_ARRAY_LEN(cases); i++) {
		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 404 Not Found\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(cases[i].body), cases[i].body);
		answer_question(answer);
		PUMP_UNTIL(&f, &other, f.record.errors[HF_CLIENT_ERROR_DISPATCHER] == i + 1);
		assert_non_null(strstr(f.record.error_detail, "status"));
		assert_string_equal(strstr(f.record.error_detail, "status"), cases[i].told);
	}
}

static void test_retry_after_of_a_dispatcher_is_obeyed(void **state)
{
	use_dispatcher();
	fixture_start(&f);
	answer_question("HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
	PUMP_UNTIL(&f, &other, state_now() == HF_CLIENT_WAITING);
	assert_in_range(f.record.retry_in_ms, 3000, 7000);
}

static void test_without_a_dispatcher_the_configured_address_serves(void **state)
{
	use_dispatcher();
	f.config.address_count = 1;
	server_close(&other);
	fixture_start(&f);
	server_log_in(&f);
	assert_int_equal(f.record.errors[HF_CLIENT_ERROR_DISPATCHER], 1);
}

static void test_the_cache_spares_the_question(void **state)
{
	use_dispatcher();
	f.config.cache_file = cache_file;
	fixture_start(&f);
	answer_question(good_answer());
	server_log_in(&f);
	hf_client_free(f.client);
	f.record = (struct record){ 0 };

	fixture_start(&f);
	server_log_in(&f);
	assert_int_equal(other.accepted, 1);
}

static void test_a_broken_cache_is_no_cache(void **state)
{
	FILE *file = fopen(cache_file, "w");

	fputs("holdfast-endpoints 1 99 -\nrubbish\n", file);
	fclose(file);
	use_dispatcher();
	f.config.cache_file = cache_file;
	fixture_start(&f);
	answer_question(good_answer());
	server_log_in(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage_ends_the_connection_and_the_client_comes_back),
		cmocka_unit_test(test_garbage_instead_of_a_login_ack_is_a_failed_attempt),
		cmocka_unit_test(test_who_is_replaced_stays_away),
		cmocka_unit_test(test_an_overloaded_server_gets_us_back_after_its_delay),
		cmocka_unit_test(test_an_order_to_move_is_obeyed_at_once_but_not_in_circles),
		cmocka_unit_test(test_a_command_to_move_ends_in_order_and_goes_there),
		cmocka_unit_test(test_an_expired_token_is_asked_for_and_the_new_one_used),
		cmocka_unit_test(test_a_provider_that_gives_bad_tokens_does_not_spin),
		cmocka_unit_test(test_an_app_without_a_token_asks_for_one_before_it_connects),
		cmocka_unit_test(test_a_refused_app_leaves_the_others_alone),
		cmocka_unit_test(test_when_all_apps_are_refused_the_one_that_can_be_helped_is),
		cmocka_unit_test(test_a_server_that_is_not_there_is_tried_with_back_off),
		cmocka_unit_test(test_a_server_that_never_answers_is_given_up),
		cmocka_unit_test(test_a_cut_is_followed_by_a_login_with_the_ticket),
		cmocka_unit_test(test_only_a_death_keeps_the_ticket),
		cmocka_unit_test(test_an_app_that_was_attached_anew_does_not_resume),
		cmocka_unit_test(test_a_dispatcher_names_the_server),
		cmocka_unit_test(test_an_answer_without_a_length_ends_with_the_stream),
		cmocka_unit_test(test_bad_answers_of_a_dispatcher_are_refused),
		cmocka_unit_test(test_the_reason_of_a_dispatcher_is_told),
		cmocka_unit_test(test_retry_after_of_a_dispatcher_is_obeyed),
		cmocka_unit_test(test_without_a_dispatcher_the_configured_address_serves),
		cmocka_unit_test(test_the_cache_spares_the_question),
		cmocka_unit_test(test_a_broken_cache_is_no_cache),
	};
	struct CMUnitTest with_fixture[HF_ARRAY_LEN(tests)];

	for (size_t i = 0; i < HF_ARRAY_LEN(tests); i++) {
		with_fixture[i] = tests[i];
		with_fixture[i].setup_func = setup;
		with_fixture[i].teardown_func = teardown;
	}
	return cmocka_run_group_tests_name("client endings", with_fixture, NULL, NULL);
}
