/* tests/unit/test_http_server.c - promises of the HTTP server, over real sockets on one loop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_clock.h"
#include "hf_http_server.h"
#include "hf_net.h"

#define PATIENCE_MS 10000

struct fixture {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_http_server *server;
	struct hf_http_exchange *kept; /* a request of /later, unanswered */
	struct hf_timer refill;
	unsigned requests, aborts, streamed;
	size_t stream_bytes;
	char got[1 << 17];
	size_t got_len;
	bool got_end;
};

static void on_abort(struct hf_http_exchange *exchange, void *ctx)
{
	struct fixture *f = ctx;

	f->aborts++;
	f->kept = NULL;
}

static bool path_is(const struct hf_http_exchange *exchange, const char *path)
{
	return hf_bytes_equal(hf_http_exchange_request(exchange)->path, hf_bytes_of_string(path));
}

/* /echo gives the body back, /later waits, /error is an error, everything else says its path. */
static void on_request(struct hf_http_exchange *exchange, void *ctx)
{
	struct fixture *f = ctx;
	struct hf_bytes body = hf_http_exchange_body(exchange);
	struct hf_bytes path = hf_http_exchange_request(exchange)->path;

	f->requests++;
	if (path_is(exchange, "/echo")) {
		hf_http_exchange_set_route(exchange, "/echo");
		hf_http_respond(exchange, 200, "application/octet-stream", body.data, body.len);
	} else if (path_is(exchange, "/later")) {
		f->kept = exchange;
		hf_http_exchange_on_abort(exchange, on_abort, f);
	} else if (path_is(exchange, "/error")) {
		hf_http_respond_error(exchange, 400, "INVALID_ARGUMENT", "TTL_OUT_OF_RANGE",
				      "message.ttl is out of range", "message.ttl", "-1", -1);
	} else {
		hf_http_add_header(exchange, "X-Odd", "a\r\nSet-Cookie: b");
		hf_http_respond(exchange, 200, "text/plain", path.data, path.len);
	}
}

static void on_written(struct hf_http_exchange *exchange, void *ctx)
{
	hf_http_stream_resume(exchange);
}

/* Every piece goes back at once; reading pauses until it is written. */
static void on_data(struct hf_http_exchange *exchange, struct hf_bytes piece, void *ctx)
{
	struct fixture *f = ctx;

	if (piece.len == 0) {
		hf_http_stream_end(exchange);
		return;
	}
	f->stream_bytes += piece.len;
	hf_http_stream_write(exchange, piece.data, piece.len);
	hf_http_stream_pause(exchange);
}

static bool wants_stream(struct hf_http_exchange *exchange, void *ctx)
{
	struct fixture *f = ctx;

	if (path_is(exchange, "/refused")) {
		hf_http_respond_error(exchange, 401, NULL, "KEY_UNKNOWN", "no such key", NULL, NULL,
				      -1);
		return false;
	}
	if (path_is(exchange, "/small"))
		hf_http_exchange_set_body_max(exchange, 4);
	if (!path_is(exchange, "/stream"))
		return false;
	f->streamed++;
	hf_http_exchange_on_abort(exchange, on_abort, f);
	hf_http_exchange_stream(exchange, on_data, f);
	hf_http_stream_on_written(exchange, on_written, f);
	hf_http_stream_begin(exchange, 200, "application/x-ndjson");
	return true;
}

static struct hf_http_server_options default_options(struct fixture *f)
{
	return (struct hf_http_server_options){
		.address = "127.0.0.1:0",
		.name = "test",
		.on_request = on_request,
		.wants_stream = wants_stream,
		.ctx = f,
	};
}

static void start(struct fixture *f, const struct hf_http_server_options *options)
{
	assert_int_equal(hf_http_server_new(f->loop, f->metrics, options, &f->server), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->loop = hf_loop_new();
	f->metrics = hf_metrics_new();
	assert_non_null(f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_http_server_free(f->server);
	hf_metrics_free(f->metrics);
	hf_loop_free(f->loop);
	free(f);
	return 0;
}

static int connect_to(struct fixture *f)
{
	struct sockaddr_storage address;
	socklen_t len;
	int fd;

	assert_int_equal(hf_net_parse(hf_http_server_address(f->server), &address, &len), 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* One turn, then whatever the client can read into `got`. Waits a millisecond for the socket at
 * most. */
static void step(struct fixture *f, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	hf_loop_turn(f->loop, false);
	if (poll(&poll_fd, 1, 1) <= 0)
		return;
	n = recv(fd, f->got + f->got_len, sizeof(f->got) - 1 - f->got_len, 0);
	if (n > 0)
		f->got_len += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		f->got_end = true;
	f->got[f->got_len] = '\0';
}

#define STEP_UNTIL(f, fd, condition)                                                      \
	do {                                                                              \
		uint64_t until = hf_clock_monotonic_ms() + PATIENCE_MS;                   \
		while (!(condition)) {                                                    \
			if (hf_clock_monotonic_ms() > until)                              \
				fail_msg("waited for %s; got: %s", #condition, (f)->got); \
			step(f, fd);                                                      \
		}                                                                         \
	} while (0)

static void forget(struct fixture *f)
{
	f->got_len = 0;
	f->got[0] = '\0';
	f->got_end = false;
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool has(const struct fixture *f, const char *text)
{
	return strstr(f->got, text) != NULL;
}

static unsigned count(const struct fixture *f, const char *text)
{
	unsigned n = 0;

	for (const char *at = f->got; (at = strstr(at, text)) != NULL; at += strlen(text))
		n++;
	return n;
}

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

static void test_a_slow_head_is_answered_408(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	options.header_ms = 30;
	start(f, &options);
	fd = connect_to(f);
	put(fd, "GET /one HTTP/1.1\r\nHo");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 408 "));
	assert_true(has(f, "\"reason\":\"REQUEST_TIMEOUT\""));
	close(fd);
}

static void test_a_slow_body_is_answered_408(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	options.body_ms = 30;
	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 408 "));
	assert_int_equal(f->requests, 0);
	close(fd);
}

static void test_silence_ends_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	options.header_ms = 30; /* of a connection that never asked */
	options.idle_ms = 30;   /* of one that did */
	start(f, &options);
	fd = connect_to(f);
	STEP_UNTIL(f, fd, f->got_end);
	assert_int_equal(f->got_len, 0);
	close(fd);

	forget(f);
	fd = connect_to(f);
	put(fd, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_int_equal(count(f, "HTTP/1.1"), 1);
	close(fd);
}

static void test_a_large_body_is_answered_413(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int fd;

	options.body_max = 8;
	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 413 "));
	assert_true(has(f, "\"reason\":\"PAYLOAD_TOO_LARGE\""));
	close(fd);

	forget(f); /* its length only shows as it comes */
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 413 "));
	close(fd);

	forget(f); /* a route's own limit */
	fd = connect_to(f);
	put(fd, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
	STEP_UNTIL(f, fd, f->got_end);
	assert_true(has(f, "HTTP/1.1 413 "));
	assert_int_equal(f->requests, 0);
	close(fd);
}

static void test_bodies_of_all_share_one_budget(void **state)
{
	static char half[60001];
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int a, b;

	memset(half, 'x', sizeof(half) - 1);
	options.buffered_max = 100000;
	start(f, &options);
	a = connect_to(f);
	put(a, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 80000\r\n\r\n");
	put(a, half);
	for (unsigned i = 0; i < 50; i++)
		hf_loop_turn(f->loop, false);
	b = connect_to(f);
	put(b, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 80000\r\n\r\n");
	put(b, half);
	STEP_UNTIL(f, b, f->got_end);
	assert_true(has(f, "HTTP/1.1 503 "));
	assert_true(has(f, "Retry-After: 1\r\n"));
	forget(f);
	half[20000] = '\0';
	put(a, half);
	STEP_UNTIL(f, a, f->got_len > 80000);
	assert_true(has(f, "HTTP/1.1 200 "));
	close(a);
	close(b);
}

static void test_the_framing_of_chunks_is_not_held(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	char chunk[256];
	int fd;

	options.buffered_max = 32768;
	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	snprintf(chunk, sizeof(chunk), "1;%0200d\r\nx\r\n", 0);
	for (unsigned i = 0; i < 1000; i++) {
		put(fd, chunk);
		hf_loop_turn(f->loop, false);
	}
	put(fd, "0\r\n\r\n");
	STEP_UNTIL(f, fd, has(f, "xxxx"));
	assert_true(has(f, "HTTP/1.1 200 "));
	assert_true(has(f, "Content-Length: 1000\r\n"));
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

static void test_a_slow_reader_is_not_read_from(void **state)
{
	enum { FLOOD = 16 << 20 };
	static char zeros[65536];
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	char head[128];
	size_t sent = 0;
	unsigned stuck = 0;
	int fd;

	start(f, &options);
	fd = connect_to(f);
	snprintf(head, sizeof(head),
		 "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", FLOOD);
	put(fd, head);
	/* Send without ever reading the echo: what comes back fills up, so reading must stop. */
	while (stuck < 200 && sent < FLOOD) {
		ssize_t n = send(fd, zeros, HF_MIN(sizeof(zeros), FLOOD - sent), MSG_NOSIGNAL);

		stuck = n > 0 ? 0 : stuck + 1;
		sent += n > 0 ? (size_t)n : 0;
		hf_loop_turn(f->loop, false);
	}
	assert_true(sent < FLOOD);
	assert_true(f->stream_bytes < FLOOD);
	close(fd);
	fd = connect_to(f);
	STEP_UNTIL(f, fd, f->aborts == 1);
	close(fd);
}

static void test_a_reader_that_stops_is_cut(void **state)
{
	static char zeros[65536];
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	unsigned stuck = 0;
	int fd;

	options.write_ms = 30;
	start(f, &options);
	fd = connect_to(f);
	put(fd, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
	while (f->aborts == 0 && stuck < 100000000) {
		ssize_t n = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);

		stuck = n > 0 ? 0 : stuck + 1;
		hf_loop_turn(f->loop, false);
	}
	assert_int_equal(f->aborts, 1);
	close(fd);
}

static void test_the_listener_pauses_at_the_connection_limit(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	int a, b, c;

	options.connections_max = 2;
	start(f, &options);
	a = connect_to(f);
	b = connect_to(f);
	c = connect_to(f); /* waits in the kernel's queue */
	put(c, "GET /third HTTP/1.1\r\nHost: a\r\n\r\n");
	put(a, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, a, has(f, "/first"));
	for (unsigned i = 0; i < 20; i++)
		step(f, c);
	assert_false(has(f, "/third"));
	close(b);
	STEP_UNTIL(f, c, has(f, "/third"));
	close(a);
	close(c);
}

static void test_running_out_of_descriptors_pauses_without_spinning(void **state)
{
	struct fixture *f = *state;
	struct hf_http_server_options options = default_options(f);
	struct rlimit old, few;
	int fds[64], count_fds = 0, a, b;
	char text[32768];
	struct hf_buffer out = { 0 };

	start(f, &options);
	a = connect_to(f);
	put(a, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, a, has(f, "/first"));
	b = connect_to(f); /* in the queue, not yet accepted */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)b + 8;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count_fds < 64 && (fds[count_fds] = dup(a)) >= 0)
		count_fds++;

	STEP_UNTIL(f, b, f->got_end); /* taken with the spare, and closed */
	for (unsigned i = 0; i < 50; i++)
		hf_loop_turn(f->loop, false);
	assert_int_equal(hf_metrics_write(f->metrics, &out), 0);
	snprintf(text, sizeof(text), "%.*s", (int)hf_buffer_len(&out),
		 (const char *)hf_buffer_data(&out));
	assert_non_null(strstr(text, "reason=\"descriptors\"} 1\n"));
	hf_buffer_deinit(&out);

	while (count_fds > 0)
		close(fds[--count_fds]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(b);
	forget(f);
	b = connect_to(f); /* served as soon as the pause is over */
	put(b, "GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
	STEP_UNTIL(f, b, has(f, "/second"));
	close(a);
	close(b);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pipelined_requests_are_answered_in_order),
		TEST(test_a_later_answer_holds_back_the_next_request),
		TEST(test_a_request_may_come_byte_by_byte),
		TEST(test_a_slow_head_is_answered_408),
		TEST(test_a_slow_body_is_answered_408),
		TEST(test_silence_ends_without_a_word),
		TEST(test_a_large_body_is_answered_413),
		TEST(test_bodies_of_all_share_one_budget),
		TEST(test_the_framing_of_chunks_is_not_held),
		TEST(test_expect_continue_is_answered_when_the_body_is_wanted),
		TEST(test_a_head_can_be_refused_before_its_body),
		TEST(test_ambiguous_requests_are_refused_and_the_rest_ignored),
		TEST(test_the_handler_learns_that_the_client_left),
		TEST(test_error_responses_have_the_one_shape),
		TEST(test_head_requests_get_no_body),
		TEST(test_a_stream_flows_both_ways_with_back_pressure),
		TEST(test_a_slow_reader_is_not_read_from),
		TEST(test_a_reader_that_stops_is_cut),
		TEST(test_the_listener_pauses_at_the_connection_limit),
		TEST(test_running_out_of_descriptors_pauses_without_spinning),
		TEST(test_a_drain_answers_what_is_in_hand_and_ends_the_rest),
		TEST(test_requests_are_counted_by_route_and_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
