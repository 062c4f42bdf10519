/* tests/unit/http_fixture.h - an HTTP server with a few routes, and a client by hand, on one
 * loop. */
#ifndef HTTP_FIXTURE_H
#define HTTP_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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
	unsigned requests, aborts, streamed;
	size_t stream_bytes;
	char got[1 << 17];
	size_t got_len;
	bool got_end;
};

static inline void on_abort(struct hf_http_exchange *exchange, void *ctx)
{
	struct fixture *f = ctx;

	f->aborts++;
	f->kept = NULL;
}

static inline bool path_is(const struct hf_http_exchange *exchange, const char *path)
{
	return hf_bytes_equal(hf_http_exchange_request(exchange)->path, hf_bytes_of_string(path));
}

/* /echo gives the body back, /later waits, /error is an error, everything else says its path. */
static inline void on_request(struct hf_http_exchange *exchange, void *ctx)
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

static inline void on_written(struct hf_http_exchange *exchange, void *ctx)
{
	hf_http_stream_resume(exchange);
}

/* Every piece goes back at once; reading pauses until it is written. */
static inline void on_data(struct hf_http_exchange *exchange, struct hf_bytes piece, void *ctx)
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

static inline bool wants_stream(struct hf_http_exchange *exchange, void *ctx)
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

static inline struct hf_http_server_options default_options(struct fixture *f)
{
	return (struct hf_http_server_options){
		.address = "127.0.0.1:0",
		.name = "test",
		.on_request = on_request,
		.wants_stream = wants_stream,
		.ctx = f,
	};
}

static inline void start(struct fixture *f, const struct hf_http_server_options *options)
{
	assert_int_equal(hf_http_server_new(f->loop, f->metrics, options, &f->server), 0);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->loop = hf_loop_new();
	f->metrics = hf_metrics_new();
	assert_non_null(f->loop);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	hf_http_server_free(f->server);
	hf_metrics_free(f->metrics);
	hf_loop_free(f->loop);
	free(f);
	return 0;
}

static inline int connect_to(struct fixture *f)
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
static inline void step(struct fixture *f, int fd)
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

static inline void forget(struct fixture *f)
{
	f->got_len = 0;
	f->got[0] = '\0';
	f->got_end = false;
}

static inline void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline bool has(const struct fixture *f, const char *text)
{
	return strstr(f->got, text) != NULL;
}

static inline unsigned count(const struct fixture *f, const char *text)
{
	unsigned n = 0;

	for (const char *at = f->got; (at = strstr(at, text)) != NULL; at += strlen(text))
		n++;
	return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
