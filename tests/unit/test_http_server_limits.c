/* tests/unit/test_http_server_limits.c - promises of the HTTP server about clients that are too
 * slow, too large or too many, over real sockets on one loop. */
#include <sys/resource.h>

#include "http_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_slow_head_is_answered_408),
		TEST(test_a_slow_body_is_answered_408),
		TEST(test_silence_ends_without_a_word),
		TEST(test_a_large_body_is_answered_413),
		TEST(test_bodies_of_all_share_one_budget),
		TEST(test_the_framing_of_chunks_is_not_held),
		TEST(test_a_slow_reader_is_not_read_from),
		TEST(test_a_reader_that_stops_is_cut),
		TEST(test_the_listener_pauses_at_the_connection_limit),
		TEST(test_running_out_of_descriptors_pauses_without_spinning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
