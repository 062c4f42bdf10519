/* tests/unit/test_rpc_server.c - what a server lets its peers do to it, and what not. */
#include <sys/resource.h>

#include "rpc_raw.h"

static void test_a_server_cuts_who_breaks_the_protocol(void **state)
{
	static const struct {
		bool greet;
		const char *bytes;
		size_t len;
		const char *reason;
	} cases[] = {
		{ false, "GET / HTTP/1.1\r\n\r\n", 18, "bad_frame" },
		{ false, "\0\0\0\0\1\0\0\0\0\0\5\0", 12, "bad_frame" }, /* PING before HELLO */
		{ false, "\x20\0\0\0\0\0\0\0\0\0\7\0HFRx0123456789abcdef0123456789ab", 44,
		  "bad_frame" },
		{ true, "\1\0\100\0\1\0\0\0\0\0\1\0", 12, "frame_too_large" },
		{ true, "\0\0\0\0\1\0\0\0\0\0\x63\0", 12, "bad_frame" }, /* unknown kind */
		{ true, "\0\0\0\0\1\0\0\0\0\0\1\1", 12, "bad_frame" },   /* flags */
		{ true, "\0\0\0\0\1\0\0\0\0\0\2\0", 12, "bad_frame" },   /* REPLY to a server */
		{ true, "\x10\0\0\0\0\0\0\0\0\0\7\0HFRP\1\0\1\0abcdefgh", 28, "bad_frame" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		struct fixture *f = fixture_bare();
		struct raw raw;
		char metric[96];

		server_start(f, "127.0.0.1:0", NULL);
		if (cases[i].greet)
			raw_connect_greeted(&raw, f);
		else
			raw_connect(&raw, f, false);
		raw_send(&raw, cases[i].bytes, cases[i].len);
		RUN_UNTIL(f, raw.eof);
		snprintf(metric, sizeof(metric), "holdfast_rpc_refused_total{reason=\"%s\"} 1",
			 cases[i].reason);
		assert_true(metrics_have(f, metric));
		assert_true(metrics_have(f, "holdfast_rpc_connections 0"));
		assert_int_equal(f->served, 0);
		raw_close(&raw);
		fixture_free(f);
	}
}

/* Four bytes of 0xff are not yet a frame of 4 GiB to wait for. */
static void test_no_length_is_believed_before_its_header_is_whole(void **state)
{
	static const uint8_t header[HF_RPC_HEADER_SIZE] = { 0xff, 0xff, 0xff, 0xff, 1, 0,
							    0,    0,    0,    0,    1, 0 };
	struct fixture *f = fixture_bare();
	struct raw raw;

	for (size_t first = 1; first < sizeof(header); first++) {
		server_start(f, "127.0.0.1:0", NULL);
		raw_connect_greeted(&raw, f);
		raw_send(&raw, header, first);
		for (unsigned i = 0; i < 20; i++)
			hf_loop_turn(f->loop, false);
		raw_send(&raw, header + first, sizeof(header) - first);
		RUN_UNTIL(f, raw.eof);
		raw_close(&raw);
		hf_rpc_server_free(f->server);
		f->server = NULL;
	}
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"frame_too_large\"} 11"));
	fixture_free(f);
}

/* Nor one that a pause has left unread. */
static void test_no_length_is_believed_of_what_a_pause_left(void **state)
{
	struct hf_rpc_server_options limits = { .output_max = 1 << 16 };
	static const uint8_t header[HF_RPC_HEADER_SIZE] = { 0xff, 0xff, 0xff, 0xff, 1, 0,
							    0,    0,    0,    0,    1, 0 };
	struct fixture *f = fixture_bare();
	uint8_t body[64], wire[256];
	size_t len = request_body(body, ECHO_BIG, 100000);
	struct raw raw;

	server_start(f, "127.0.0.1:0", &limits);
	raw_connect_greeted(&raw, f);
	event_del(raw.readable);
	len = frame_build(wire, HF_RPC_REQUEST, 1, METHOD_ECHO, body, len);
	memcpy(wire + len, header, sizeof(header));
	raw_send(&raw, wire, len + sizeof(header));
	RUN_UNTIL(f, f->served == 1);
	event_add(raw.readable, NULL);
	RUN_UNTIL(f, raw.eof);
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"frame_too_large\"} 1"));
	raw_close(&raw);
	fixture_free(f);
}

static void test_frames_may_come_byte_by_byte(void **state)
{
	struct fixture *f = fixture_bare();
	struct hf_rpc_frame frame;
	struct raw raw;
	uint8_t body[64], wire[256];
	size_t len = request_body(body, ECHO_NOW, 77), total = 0;

	server_start(f, "127.0.0.1:0", NULL);
	raw_connect_greeted(&raw, f);
	total += frame_build(wire, HF_RPC_PING, 5, 0, NULL, 0);
	total += frame_build(wire + total, HF_RPC_REQUEST, 6, METHOD_ECHO, body, len);
	total += frame_build(wire + total, HF_RPC_REQUEST, 7, METHOD_ECHO, body, len);
	for (size_t i = 0; i < total; i++) {
		raw_send(&raw, wire + i, 1);
		hf_loop_turn(f->loop, false);
	}
	raw_expect(&raw, HF_RPC_PONG, &frame);
	assert_int_equal(frame.call_id, 5);
	expect_reply(&raw, 6, 77);
	expect_reply(&raw, 7, 77);
	raw_close(&raw);
	fixture_free(f);
}

static void test_a_bad_call_is_answered_and_the_link_goes_on(void **state)
{
	struct fixture *f = fixture_bare();
	struct hf_rpc_frame frame;
	struct raw raw;
	uint8_t body[64];
	size_t len = request_body(body, ECHO_NOW, 1);

	server_start(f, "127.0.0.1:0", NULL);
	raw_connect_greeted(&raw, f);
	raw_send_frame(&raw, HF_RPC_REQUEST, 1, METHOD_COUNT, NULL, 0);
	raw_expect(&raw, HF_RPC_ERROR, &frame);
	assert_int_equal(frame.call_id, 1);
	assert_int_equal(frame.body.data[0], HF_RPC_UNKNOWN_METHOD);
	raw_send_frame(&raw, HF_RPC_REQUEST, 2, METHOD_ECHO, "\xff\xff\xff", 3);
	raw_expect(&raw, HF_RPC_ERROR, &frame);
	assert_int_equal(frame.call_id, 2);
	assert_memory_equal(frame.body.data, "\6BAD_REQUEST", 12);
	raw_send_frame(&raw, HF_RPC_ONEWAY, 0, METHOD_COUNT, NULL, 0); /* refused in silence */
	raw_send_frame(&raw, HF_RPC_REQUEST, 3, METHOD_ECHO, body, len);
	expect_reply(&raw, 3, 1);
	assert_true(metrics_have(f, "holdfast_rpc_served_total{method=\"unknown\","
				    "code=\"UNKNOWN_METHOD\"} 2"));
	raw_close(&raw);
	fixture_free(f);
}

static void test_a_server_cuts_a_silent_client(void **state)
{
	struct fixture *f = fixture_bare();
	struct hf_rpc_frame frame;
	struct raw raw;

	server_start(f, "127.0.0.1:0", NULL);
	raw_connect(&raw, f, false);
	raw_greet(&raw, HF_RPC_VERSION, HF_RPC_CLIENT, "test.Echo", 10);
	raw_expect(&raw, HF_RPC_HELLO, &frame);
	RUN_UNTIL(f, raw.eof);
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"silent\"} 1"));
	raw_close(&raw);
	fixture_free(f);
}

/* 600 replies of 64 KiB for a peer that does not read: the server must stop taking requests, and go
 * on where it stopped once the peer reads. */
static void test_who_does_not_read_is_not_read(void **state)
{
	enum { CALLS = 600, SIZE = 65536 };
	struct hf_rpc_server_options limits = { .output_max = 1 << 20 };
	struct fixture *f = fixture_bare();
	struct raw raw;
	struct hf_buffer requests = { 0 };
	unsigned before;

	server_start(f, "127.0.0.1:0", &limits);
	raw_connect(&raw, f, true);
	raw_greet(&raw, HF_RPC_VERSION, HF_RPC_CLIENT, "test.Echo", 60000);
	for (uint32_t i = 0; i < CALLS; i++) {
		uint8_t body[64], wire[128];
		size_t len = request_body(body, ECHO_BIG, SIZE);

		len = frame_build(wire, HF_RPC_REQUEST, i, METHOD_ECHO, body, len);
		assert_int_equal(hf_buffer_append(&requests, wire, len), 0);
	}
	raw_send(&raw, hf_buffer_data(&requests), hf_buffer_len(&requests));
	hf_buffer_deinit(&requests);
	RUN_UNTIL(f, f->served > 0);
	do {
		before = f->served;
		for (unsigned i = 0; i < 50; i++)
			hf_loop_turn(f->loop, false);
	} while (f->served > before);
	assert_true(f->served < CALLS);

	event_add(raw.readable, NULL);
	RUN_UNTIL(f, hf_buffer_len(&raw.in) > (size_t)CALLS * SIZE);
	assert_int_equal(f->served, CALLS);
	assert_false(raw.eof);
	raw_close(&raw);
	fixture_free(f);
}

static void test_who_pings_without_reading_is_not_read(void **state)
{
	enum { PINGS = 4096, FLOOD = 64 << 20 };
	struct hf_rpc_server_options limits = { .output_max = 1 << 16 };
	static uint8_t pings[PINGS * HF_RPC_HEADER_SIZE];
	struct fixture *f = fixture_bare();
	struct raw raw;
	size_t sent = 0, stuck = 0;

	server_start(f, "127.0.0.1:0", &limits);
	raw_connect_greeted(&raw, f);
	event_del(raw.readable);
	for (size_t i = 0; i < PINGS; i++)
		frame_build(pings + i * HF_RPC_HEADER_SIZE, HF_RPC_PING, 1, 0, NULL, 0);
	while (sent < FLOOD && stuck < 50) {
		size_t at = sent % sizeof(pings);
		ssize_t n =
			send(raw.fd, pings + at, sizeof(pings) - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		stuck = n > 0 ? 0 : stuck + 1;
		hf_loop_turn(f->loop, false);
	}
	assert_true(sent < FLOOD);
	raw_close(&raw);
	fixture_free(f);
}

static void test_a_server_takes_only_so_many_connections(void **state)
{
	struct hf_rpc_server_options limits = { .connections_max = 1 };
	struct fixture *f = fixture_bare();
	struct raw first, second;

	server_start(f, "127.0.0.1:0", &limits);
	raw_connect_greeted(&first, f);
	raw_connect(&second, f, false);
	RUN_UNTIL(f, second.eof);
	assert_true(metrics_have(f, "reason=\"too_many_connections\"} 1"));
	raw_close(&second);
	raw_close(&first);
	RUN_UNTIL(f, metrics_have(f, "holdfast_rpc_connections 0"));
	raw_connect_greeted(&first, f);
	raw_close(&first);
	fixture_free(f);
}

static void test_a_dead_connection_swallows_its_answers(void **state)
{
	struct fixture *f = fixture_bare();
	struct raw raw;
	uint8_t body[64];
	size_t len = request_body(body, ECHO_HOLD, 1);

	server_start(f, "127.0.0.1:0", NULL);
	raw_connect_greeted(&raw, f);
	raw_send_frame(&raw, HF_RPC_REQUEST, 1, METHOD_ECHO, body, len);
	raw_send_frame(&raw, HF_RPC_REQUEST, 2, METHOD_ECHO, body, len);
	RUN_UNTIL(f, f->held_count == 2);
	raw_close(&raw);
	RUN_UNTIL(f, metrics_have(f, "holdfast_rpc_connections 0"));
	assert_int_equal(hf_rpc_server_running(f->server), 2);
	answer_held(f, 0);
	assert_int_equal(hf_rpc_server_running(f->server), 1);
	hf_rpc_server_free(f->server);
	f->server = NULL;
	hf_rpc_fail(f->held[1].call, HF_RPC_INTERNAL, "TOO_LATE");
	fixture_free(f);
}

/* Its calls were all taken in before reading stopped; 100 MiB of answers are not kept for it. */
static void test_a_peer_whose_answers_pile_up_is_cut(void **state)
{
	struct hf_rpc_server_options limits = { .output_max = 1 << 16 };
	struct fixture *f = fixture_bare();
	struct raw raw;
	uint8_t body[64];
	size_t len = request_body(body, ECHO_HOLD, 1);

	server_start(f, "127.0.0.1:0", &limits);
	raw_connect(&raw, f, true);
	raw_greet(&raw, HF_RPC_VERSION, HF_RPC_CLIENT, "test.Echo", 60000);
	for (uint32_t i = 0; i < 100; i++)
		raw_send_frame(&raw, HF_RPC_REQUEST, i, METHOD_ECHO, body, len);
	RUN_UNTIL(f, f->held_count == 100);
	for (unsigned i = 0; i < 100; i++)
		echo_answer(f->held[i].closure, f->held[i].call, i, 1 << 20);
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"slow_reader\"} 1"));
	assert_true(metrics_have(f, "holdfast_rpc_connections 0"));
	assert_int_equal(hf_rpc_server_running(f->server), 0);
	raw_close(&raw);
	fixture_free(f);
}

static void test_a_server_out_of_descriptors_refuses_and_recovers(void **state)
{
	enum { LIMIT = 64 };
	struct rlimit old, low;
	struct fixture *f = fixture_bare();
	struct raw refused, taken;
	int fds[LIMIT];
	unsigned count = 0;

	server_start(f, "127.0.0.1:0", NULL);
	raw_connect(&refused, f, false);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (count < LIMIT && (fds[count] = dup(refused.fd)) >= 0)
		count++;
	assert_true(count < LIMIT);
	RUN_UNTIL(f, refused.eof);
	assert_true(metrics_have(f, "holdfast_rpc_refused_total{reason=\"no_descriptor\"} 1"));
	while (count > 0)
		close(fds[--count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	raw_connect_greeted(&taken, f);
	raw_close(&taken);
	raw_close(&refused);
	fixture_free(f);
}

static void invoke_free(ProtobufCService *service, unsigned method, const ProtobufCMessage *input,
			ProtobufCClosure closure, void *call)
{
	struct fixture *f = HF_CONTAINER_OF(service, struct fixture, service);

	hf_rpc_server_free(f->server);
	f->server = NULL;
	echo_answer(closure, call, 1, 0);
}

static void test_a_handler_may_free_its_server(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	struct result result = { 0 };

	f->service.invoke = invoke_free;
	call_echo(f, ECHO_NOW, 1, &result);
	RUN_UNTIL(f, result.count == 1);
	assert_int_equal(result.status, HF_RPC_LOST);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_server_cuts_who_breaks_the_protocol),
		cmocka_unit_test(test_no_length_is_believed_before_its_header_is_whole),
		cmocka_unit_test(test_no_length_is_believed_of_what_a_pause_left),
		cmocka_unit_test(test_frames_may_come_byte_by_byte),
		cmocka_unit_test(test_a_bad_call_is_answered_and_the_link_goes_on),
		cmocka_unit_test(test_a_server_cuts_a_silent_client),
		cmocka_unit_test(test_who_does_not_read_is_not_read),
		cmocka_unit_test(test_who_pings_without_reading_is_not_read),
		cmocka_unit_test(test_a_server_takes_only_so_many_connections),
		cmocka_unit_test(test_a_dead_connection_swallows_its_answers),
		cmocka_unit_test(test_a_peer_whose_answers_pile_up_is_cut),
		cmocka_unit_test(test_a_server_out_of_descriptors_refuses_and_recovers),
		cmocka_unit_test(test_a_handler_may_free_its_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
