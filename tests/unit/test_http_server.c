/* tests/unit/test_http_server.c - promises of the HTTP server about requests, their answers and
 * streams, over real sockets on one loop. */
#include "http_fixture.h"

static void test_pipelined_requests_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
		"GET /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_int_equal(count(f, "HTTP/1.1 200 OK\r\n"), 4);
	assert_true(strstr(f->got, "/one") < strstr(f->got, "two"));
	assert_true(strstr(f->got, "two") < strstr(f->got, "three"));
	assert_true(strstr(f->got, "three") < strstr(f->got, "/four"));
	assert_int_equal(count(f, "Connection: close\r\n"), 1);
	assert_false(has(f, "\nSet-Cookie"));
	close(fd);
}

static void test_a_later_answer_holds_back_the_next_request(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, f->kept != NULL);
	for (unsigned i = 0; i < 20; i++)
		hf_loop_turn(f->loop, false);
	assert_int_equal(f->requests, 1);
	assert_int_equal(hf_http_server_open_exchanges(f->server), 1);
	hf_http_respond(f->kept, 202, "text/plain", "late", 4);
	STEP_UNTIL(f, fd, has(f, "/after"));
	assert_true(strstr(f->got, "late") < strstr(f->got, "/after"));
	assert_int_equal(hf_http_server_open_exchanges(f->server), 0);
	close(fd);
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
	static const char request[] =
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: 1\r\n\r\n";
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		hf_loop_turn(f->loop, false);
		hf_loop_turn(f->loop, false);
	}
	STEP_UNTIL(f, fd, has(f, "\r\n\r\nabcdefg"));
	assert_true(has(f, "Content-Length: 7\r\n"));
	close(fd);
}

static void test_expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	options.body_max = 100;
	start(f, &options);
	fd = connect_to(f);
	put(fd,
	    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "HTTP/1.1 100 Continue\r\n\r\n"));
	put(fd, "hello");
	STEP_UNTIL(f, fd, has(f, "\r\n\r\nhello"));
	close(fd);

	forget(f);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\nExpect: "
		"100-continue\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_false(has(f, "100 Continue"));
	assert_true(has(f, "HTTP/1.1 413 "));
	close(fd);
}

static void test_a_head_can_be_refused_before_its_body(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nxxxx");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 401 "));
	assert_true(has(f, "Connection: close\r\n"));
	close(fd);

	forget(f); /* without a body the connection goes on */
	fd = connect_to(f);
	put(fd, "GET /refused HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "/two"));
	close(fd);
}

static void test_ambiguous_requests_are_refused_and_the_rest_ignored(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: "
		"chunked\r\n\r\n"
		"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 400 "));
	assert_int_equal(count(f, "HTTP/1.1 "), 1);
	assert_int_equal(f->requests, 0);
	close(fd);
}

static void test_the_handler_learns_that_the_client_left(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, f->kept != NULL);
	close(fd);
	fd = connect_to(f); /* another one, to have something to wait on */
	STEP_UNTIL(f, fd, f->aborts == 1);
	assert_int_equal(hf_http_server_open_exchanges(f->server), 0);

	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
	for (unsigned i = 0; i < 20; i++)
		hf_loop_turn(f->loop, false);
	assert_int_equal(hf_http_server_open_exchanges(f->server), 1);
	close(fd);
	fd = connect_to(f);
	STEP_UNTIL(f, fd, hf_http_server_open_exchanges(f->server) == 0);
	close(fd);
}

static void test_error_responses_have_the_one_shape(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "GET /error HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-1\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "}}"));
	assert_true(has(f, "HTTP/1.1 400 Bad Request\r\n"));
	assert_true(has(f, "X-Request-Id: my-1\r\n"));
	assert_true(
		has(f,
		    "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\","
		    "\"reason\":\"TTL_OUT_OF_RANGE\",\"message\":\"message.ttl is out of range\","
		    "\"details\":[{\"field\":\"message.ttl\",\"value\":\"-1\"}],"
		    "\"retryable\":false,\"retry_after_s\":null,\"request_id\":\"my-1\"}}"));
	forget(f);
	put(fd, "GET /error HTTP/1.1\r\nHost: a\r\nX-Request-Id: no spaces\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "}}"));
	assert_true(has(f, "X-Request-Id: req_0"));
	close(fd);
}

static void test_head_requests_get_no_body(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "HEAD /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "Content-Length: 4\r\n"));
	assert_false(has(f, "/one"));
	close(fd);
}

static void test_a_stream_flows_both_ways_with_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd,
	    "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	STEP_UNTIL(f, fd, has(f, "5\r\nhello\r\n"));
	put(fd, "6\r\n again\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "6\r\n again\r\n0\r\n\r\n"));
	STEP_UNTIL(f, fd, has(f, "/next"));
	assert_int_equal(f->stream_bytes, 11);
	assert_true(has(f, "Transfer-Encoding: chunked\r\n"));
	assert_false(has(f, "Connection: close"));

	forget(f);
	put(fd, "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
	STEP_UNTIL(f, fd, f->got_end); /* malformed: cut, without a last chunk */
	assert_false(has(f, "0\r\n\r\n"));
	assert_int_equal(f->aborts, 1);
	close(fd);
}

static void test_a_drain_answers_what_is_in_hand_and_ends_the_rest(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int idle, busy;

	start(f, &options);
	idle = connect_to(f);
	busy = connect_to(f);
	put(busy, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, busy, f->kept != NULL);
	hf_http_server_drain(f->server);
	STEP_UNTIL(f, idle, f->got_end);
	forget(f);
	hf_http_respond(f->kept, 200, "text/plain", "done", 4);
	STEP_UNTIL(f, busy, f->got_end);
	assert_true(has(f, "Connection: close\r\n"));
	assert_true(has(f, "done"));
	close(idle);
	close(busy);
}

static void test_requests_are_counted_by_route_and_code(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	struct hf_buffer out = { 0 };
	int fd;

	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
		"BREW /error HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_int_equal(hf_metrics_write(f->metrics, &out), 0);
	assert_int_equal(hf_buffer_append(&out, "", 1), 0);
	assert_non_null(strstr((const char *)hf_buffer_data(&out),
			       "holdfast_http_requests_total{server=\"test\",route=\"/echo\","
			       "method=\"POST\",code=\"200\"} 1\n"));
	assert_non_null(strstr((const char *)hf_buffer_data(&out),
			       "holdfast_http_requests_total{server=\"test\",route=\"other\","
			       "method=\"other\",code=\"400\"} 1\n"));
	hf_buffer_deinit(&out);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pipelined_requests_are_answered_in_order),
		TEST(test_a_later_answer_holds_back_the_next_request),
		TEST(test_a_request_may_come_byte_by_byte),
		TEST(test_expect_continue_is_answered_when_the_body_is_wanted),
		TEST(test_a_head_can_be_refused_before_its_body),
		TEST(test_ambiguous_requests_are_refused_and_the_rest_ignored),
		TEST(test_the_handler_learns_that_the_client_left),
		TEST(test_error_responses_have_the_one_shape),
		TEST(test_head_requests_get_no_body),
		TEST(test_a_stream_flows_both_ways_with_back_pressure),
		TEST(test_a_drain_answers_what_is_in_hand_and_ends_the_rest),
		TEST(test_requests_are_counted_by_route_and_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
