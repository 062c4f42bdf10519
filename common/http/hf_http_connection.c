/* common/http/hf_http_connection.c - one client: bytes in, requests in order, bytes out.
 *
 * Only the event callbacks, the timers and the turn-end task may close a connection; what handlers
 * call changes state, appends output and asks for the task. So a handler never frees what its
 * caller still uses. While a request is handled nothing is read: the body stays where it is, in
 * `in`, and what follows it waits in the kernel.
 *
 * That the client has gone is found meanwhile by `closed`, which is edge-triggered: bytes that wait
 * unread wake it once and no more. It asks for EV_READ as well, as libevent reports a reset only to
 * those who read or write; EV_CLOSED alone would neither hear of it nor let the loop sleep again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_http_internal.h"

#define READ_SIZE      16384
#define READ_BODY_SIZE 131072 /* when so much of a body is still to come */
#define LINGER_MS      2000
#define STEPS_A_TURN   64 /* pipelined requests and pieces handled before others get their turn */

static void schedule(struct hf_http_connection *connection)
{
	hf_task_schedule(connection->server->loop, &connection->task);
}

static void arm(struct hf_http_connection *connection, uint32_t ms)
{
	hf_loop_arm(connection->server->loop, &connection->timer, ms);
}

static void charge(struct hf_http_connection *connection, size_t total)
{
	*connection->server->buffered += (int64_t)total - (int64_t)connection->charged;
	connection->charged = total;
}

/* Ends what is in hand without an answer. */
static void abort_exchange(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange = connection->exchange;

	if (exchange == NULL)
		return;
	connection->exchange = NULL;
	++*connection->server->aborts;
	hf_http_server_count(connection->server, exchange, 499);
	if (exchange->on_abort != NULL)
		exchange->on_abort(exchange, exchange->abort_ctx);
	hf_http_exchange_free(exchange);
}

void hf_http_connection_close(struct hf_http_connection *connection)
{
	struct hf_http_server *server = connection->server;

	LIST_REMOVE(connection, link);
	abort_exchange(connection);
	charge(connection, 0);
	hf_wheel_disarm(&connection->timer);
	hf_wheel_disarm(&connection->write_timer);
	hf_task_cancel(server->loop, &connection->task);
	if (connection->readable != NULL)
		event_free(connection->readable);
	if (connection->writable != NULL)
		event_free(connection->writable);
	if (connection->closed != NULL)
		event_free(connection->closed);
	close(connection->fd);
	hf_buffer_deinit(&connection->in);
	hf_buffer_deinit(&connection->out);
	free(connection);
	hf_http_server_connection_gone(server);
}

/* Is the connection one that wants input now? */
static bool wants_input(const struct hf_http_connection *connection)
{
	switch (connection->state) {
	case HF_HTTP_HEAD:
		return hf_buffer_len(&connection->out) < HF_HTTP_OUT_HIGH;
	case HF_HTTP_BODY:
		return true;
	case HF_HTTP_STREAM:
		return !connection->exchange->paused;
	case HF_HTTP_HANDLING:
		return false;
	case HF_HTTP_CLOSING:
		return true; /* thrown away */
	}
	return false;
}

void hf_http_connection_watch(struct hf_http_connection *connection)
{
	bool input = !connection->eof && wants_input(connection);

	/* These fail for want of memory only: the state's timer then ends the connection. Level and
	 * edge do not mix on one descriptor; a write that waits finds a reset by itself. */
	if (input) {
		event_del(connection->closed);
		(void)event_add(connection->readable, NULL);
	} else {
		event_del(connection->readable);
		if (!connection->eof && !event_pending(connection->writable, EV_WRITE, NULL))
			(void)event_add(connection->closed, NULL);
	}
}

static void set_state(struct hf_http_connection *connection, enum hf_http_state state)
{
	const struct hf_http_server_options *options = &connection->server->options;

	connection->state = state;
	hf_wheel_disarm(&connection->timer);
	switch (state) {
	case HF_HTTP_HEAD:
		arm(connection, hf_buffer_len(&connection->in) > 0 || connection->fresh
					? options->header_ms
					: options->idle_ms);
		break;
	case HF_HTTP_BODY:
	case HF_HTTP_STREAM:
		arm(connection, options->body_ms);
		break;
	case HF_HTTP_HANDLING:
		break;
	case HF_HTTP_CLOSING:
		charge(connection, 0);
		hf_buffer_clear(&connection->in, 0);
		break;
	}
}

/* A response made here, for what never became a request of a handler's. */
static void refuse(struct hf_http_connection *connection, unsigned status)
{
	static const struct hf_http_request none = { 0 };
	const char *reason = status == 408   ? "REQUEST_TIMEOUT"
			     : status == 413 ? "PAYLOAD_TOO_LARGE"
			     : status == 414 ? "URI_TOO_LONG"
			     : status == 417 ? "EXPECTATION_FAILED"
			     : status == 431 ? "HEADERS_TOO_LARGE"
			     : status == 501 ? "TRANSFER_CODING_UNKNOWN"
			     : status == 503 ? "OVERLOADED"
			     : status == 505 ? "HTTP_VERSION_UNKNOWN"
					     : "BAD_HTTP";

	connection->close_after = true;
	if (connection->exchange == NULL)
		connection->exchange = hf_http_exchange_new(connection, &none, NULL, 0);
	if (connection->exchange == NULL) {
		set_state(connection, HF_HTTP_CLOSING);
		return;
	}
	if (connection->exchange->on_abort != NULL) /* its handler is out of it */
		connection->exchange->on_abort(connection->exchange,
					       connection->exchange->abort_ctx);
	hf_http_respond_error(connection->exchange, status, NULL, reason,
			      hf_http_status_text(status), NULL, NULL, status == 503 ? 1 : -1);
}

/* A streamed response that has begun can't turn into an error: the connection just ends, and the
 * missing last chunk tells. */
static void refuse_or_cut(struct hf_http_connection *connection, unsigned status)
{
	if (connection->exchange != NULL && connection->exchange->status != 0) {
		abort_exchange(connection);
		connection->close_after = true;
		set_state(connection, HF_HTTP_CLOSING);
		return;
	}
	refuse(connection, status);
}

void hf_http_connection_answered(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange = connection->exchange;
	bool unread = connection->state == HF_HTTP_BODY || connection->state == HF_HTTP_STREAM;

	connection->exchange = NULL;
	hf_http_exchange_free(exchange);
	if (connection->state == HF_HTTP_CLOSING)
		return;
	if (unread || connection->close_after) {
		/* What is left of the body is not worth reading. */
		connection->close_after = true;
		set_state(connection, HF_HTTP_CLOSING);
	} else {
		hf_buffer_drain(&connection->in, connection->body.raw);
		charge(connection, 0);
		if (hf_buffer_len(&connection->in) == 0)
			hf_buffer_clear(&connection->in, 0);
		set_state(connection, HF_HTTP_HEAD);
	}
	connection->body = (struct hf_http_body){ 0 };
	schedule(connection);
}

static void dispatch(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange = connection->exchange;
	struct hf_http_server *server = connection->server;

	if (connection->body.len > 0)
		exchange->body = hf_bytes_of(hf_buffer_data(&connection->in), connection->body.len);
	set_state(connection, HF_HTTP_HANDLING);
	server->options.on_request(exchange, server->options.ctx);
}

/* Take what `in` holds of the body. 1: it is whole, 0: more must come, or a negated status.
 * `ret_piece` is the part to hand out when streaming; otherwise pieces are gathered at the start of
 * `in`. */
static int take_body(struct hf_http_connection *connection, struct hf_bytes *ret_piece)
{
	struct hf_http_body *body = &connection->body;
	size_t have = hf_buffer_len(&connection->in) - body->raw;
	uint8_t *data = have > 0 ? connection->in.data + connection->in.start : NULL;
	bool done = false;
	ssize_t n;

	*ret_piece = hf_bytes_of(NULL, 0);
	if (have == 0 && (connection->exchange->request.chunked || body->left > 0))
		return 0;

	if (!connection->exchange->request.chunked) {
		n = (ssize_t)HF_MIN((uint64_t)have, body->left);
		if (n > 0)
			*ret_piece = hf_bytes_of(data + body->raw, (size_t)n);
		body->left -= (uint64_t)n;
		done = body->left == 0;
	} else {
		n = hf_http_chunks_decode(&body->chunks, data + body->raw, have, ret_piece, &done);
		if (n < 0)
			return (int)n;
	}
	body->raw += (size_t)n;
	if (connection->state == HF_HTTP_BODY && ret_piece->len > 0) {
		if (ret_piece->len > connection->exchange->body_max - body->len)
			return -413;
		if (ret_piece->data != data + body->len)
			memmove(data + body->len, ret_piece->data, ret_piece->len);
		body->len += ret_piece->len;
	}
	return done ? 1 : n > 0 && have > (size_t)n ? -EAGAIN : 0;
}

/* All of `in` has been looked at: what framed the chunks need not be held until the last. */
static void drop_framing(struct hf_http_connection *connection)
{
	struct hf_http_body *body = &connection->body;

	assert(body->raw == hf_buffer_len(&connection->in));
	connection->in.end -= body->raw - body->len;
	body->raw = body->len;
}

/* 1: go on, 0: wait for more input. */
static int collect_body(struct hf_http_connection *connection)
{
	struct hf_http_server *server = connection->server;
	struct hf_bytes piece;
	int n;

	do {
		n = take_body(connection, &piece);
	} while (n == -EAGAIN);
	if (n < 0) {
		++*server->bad_requests;
		refuse(connection, (unsigned)-n);
		return 1;
	}
	if (n == 0)
		drop_framing(connection);
	charge(connection, hf_buffer_len(&connection->in));
	if (*server->buffered > (int64_t)server->options.buffered_max) {
		++*server->over_budget;
		refuse(connection, 503);
		return 1;
	}
	if (n == 0)
		return 0;
	dispatch(connection);
	return 1;
}

static int stream_body(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange = connection->exchange;
	struct hf_bytes piece;
	int n = take_body(connection, &piece);

	if (n < 0 && n != -EAGAIN) {
		++*connection->server->bad_requests;
		refuse_or_cut(connection, (unsigned)-n);
		return 1;
	}
	arm(connection, connection->server->options.body_ms);
	if (piece.len > 0)
		exchange->on_data(exchange, piece, exchange->data_ctx);
	if (connection->exchange != exchange || connection->state != HF_HTTP_STREAM)
		return 1; /* answered from within */
	hf_buffer_drain(&connection->in, connection->body.raw);
	connection->body.raw = 0;
	if (n == 1) {
		set_state(connection, HF_HTTP_HANDLING);
		exchange->on_data(exchange, hf_bytes_of(NULL, 0), exchange->data_ctx);
		return 1;
	}
	return n == -EAGAIN;
}

/* The head is there: decide on the body. */
static void begin_body(struct hf_http_connection *connection)
{
	struct hf_http_server *server = connection->server;
	struct hf_http_exchange *exchange = connection->exchange;
	const struct hf_http_request *request = &exchange->request;
	bool has_body = request->chunked || request->content_length > 0;
	bool stream;

	connection->body = (struct hf_http_body){ .left = request->content_length };
	/* From here on an answer sees from the state whether a body is left unread. */
	set_state(connection, has_body ? HF_HTTP_BODY : HF_HTTP_HANDLING);
	stream = server->options.wants_stream != NULL &&
		 server->options.wants_stream(exchange, server->options.ctx);
	if (connection->exchange != exchange)
		return; /* answered */
	if (!stream && request->content_length > exchange->body_max) {
		refuse(connection, 413);
		return;
	}
	if (has_body && request->expect_continue && request->minor == 1 &&
	    hf_buffer_len(&connection->in) == 0) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

		if (hf_buffer_append(&connection->out, go_on, sizeof(go_on) - 1) < 0)
			connection->close_after = true;
		schedule(connection);
	}
	if (stream)
		set_state(connection, HF_HTTP_STREAM);
	else if (!has_body)
		dispatch(connection);
}

/* 1: go on, 0: wait for more input. */
static int take_head(struct hf_http_connection *connection)
{
	struct hf_http_request request;
	size_t len = hf_buffer_len(&connection->in);
	const uint8_t *data;
	ssize_t n;

	if (len == 0)
		return 0;
	data = hf_buffer_data(&connection->in);
	n = hf_http_parse_head(data, len, &request);
	if (n < 0) {
		++*connection->server->bad_requests;
		refuse(connection, (unsigned)-n);
		return 1;
	}
	if (n == 0)
		return 0;
	connection->fresh = false;
	connection->exchange = hf_http_exchange_new(connection, &request, data, (size_t)n);
	if (connection->exchange == NULL) {
		set_state(connection, HF_HTTP_CLOSING);
		return 1;
	}
	if (!request.keep_alive || connection->server->draining)
		connection->close_after = true;
	hf_buffer_drain(&connection->in, (size_t)n);
	begin_body(connection);
	return 1;
}

/* Go on with what is in `in` until more must come, a handler is at work, too much output waits, or
 * others need the loop. */
static void process(struct hf_http_connection *connection)
{
	int go_on = 1;

	connection->processing = true;
	for (unsigned i = 0; go_on && wants_input(connection); i++) {
		if (i >= STEPS_A_TURN) {
			schedule(connection);
			break;
		}
		switch (connection->state) {
		case HF_HTTP_HEAD:
			go_on = take_head(connection);
			break;
		case HF_HTTP_BODY:
			go_on = collect_body(connection);
			break;
		case HF_HTTP_STREAM:
			go_on = stream_body(connection);
			break;
		case HF_HTTP_HANDLING:
		case HF_HTTP_CLOSING:
			go_on = 0;
			break;
		}
	}
	connection->processing = false;
}

/* The answer must not be lost to the reset that unread input provokes: close our side only, and
 * read for a while. false: the connection is gone. */
static bool finish(struct hf_http_connection *connection)
{
	if (connection->shut)
		return true;
	if (connection->eof || shutdown(connection->fd, SHUT_WR) < 0) {
		hf_http_connection_close(connection);
		return false;
	}
	connection->shut = true;
	arm(connection, LINGER_MS);
	return true;
}

/* Write what there is. false: the connection is gone. */
static bool flush(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange;
	bool wrote = false;

	while (hf_buffer_len(&connection->out) > 0) {
		ssize_t n = send(connection->fd, hf_buffer_data(&connection->out),
				 hf_buffer_len(&connection->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (wrote || !hf_timer_armed(&connection->write_timer))
				hf_loop_arm(connection->server->loop, &connection->write_timer,
					    connection->server->options.write_ms);
			event_del(connection->closed);
			if (event_add(connection->writable, NULL) == 0)
				return true;
			n = -1;
		}
		if (n < 0) {
			hf_http_connection_close(connection);
			return false;
		}
		hf_buffer_drain(&connection->out, (size_t)n);
		wrote = true;
	}
	hf_wheel_disarm(&connection->write_timer);
	hf_buffer_clear(&connection->out, 0);
	exchange = connection->exchange;
	if (wrote && exchange != NULL && exchange->on_written != NULL)
		exchange->on_written(exchange, exchange->written_ctx);
	if (hf_buffer_len(&connection->out) > 0)
		schedule(connection); /* by on_written */
	else if (connection->state == HF_HTTP_CLOSING)
		return finish(connection);
	return true;
}

/* Everything that moves a connection ends here. */
static void go_on(struct hf_http_connection *connection)
{
	bool held_up;

	process(connection);
	held_up = connection->state == HF_HTTP_HEAD && !wants_input(connection);
	if (!flush(connection))
		return;
	if (held_up && wants_input(connection))
		schedule(connection);
	if (connection->eof) {
		/* Half-closed: what it asked before is answered as far as it was answered by now.
		 */
		if (connection->exchange != NULL || hf_buffer_len(&connection->out) == 0) {
			hf_http_connection_close(connection);
			return;
		}
		set_state(connection, HF_HTTP_CLOSING);
	}
	hf_http_connection_watch(connection);
}

static void on_task(void *ctx)
{
	go_on(ctx);
}

void hf_http_connection_kick(struct hf_http_connection *connection)
{
	schedule(connection);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct hf_http_connection *connection = arg;
	bool first = hf_buffer_len(&connection->in) == 0;
	bool large = connection->state == HF_HTTP_BODY && connection->body.left > READ_BODY_SIZE;
	size_t size = large ? READ_BODY_SIZE : READ_SIZE;
	uint8_t *room = hf_buffer_reserve(&connection->in, size);
	ssize_t n = room != NULL ? recv(fd, room, size, 0) : -1;

	if (n < 0 && room != NULL && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		hf_http_connection_close(connection);
		return;
	}
	if (connection->state == HF_HTTP_CLOSING) {
		connection->eof = n == 0;
		if (n == 0 && connection->shut)
			hf_http_connection_close(connection);
		else if (n == 0)
			hf_http_connection_watch(connection);
		return;
	}
	connection->eof = n == 0;
	hf_buffer_commit(&connection->in, (size_t)n);
	if (connection->state == HF_HTTP_HEAD && first && n > 0)
		arm(connection, connection->server->options.header_ms);
	go_on(connection);
}

/* It has hung up, reset the connection, or just sent more, which is left for later. */
static void on_closed(evutil_socket_t fd, short what, void *arg)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (!(what & EV_CLOSED))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (what & EV_CLOSED || err != 0)
		hf_http_connection_close(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	go_on(arg);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_http_connection *connection = ctx;
	bool asked = connection->state == HF_HTTP_BODY || connection->state == HF_HTTP_STREAM ||
		     hf_buffer_len(&connection->in) > 0;

	if (connection->state == HF_HTTP_CLOSING || !asked) { /* lingered enough, or idle */
		hf_http_connection_close(connection);
		return;
	}
	if ((connection->state == HF_HTTP_STREAM && connection->exchange->paused) ||
	    !wants_input(connection)) { /* it is we who make it wait */
		arm(connection, connection->server->options.body_ms);
		return;
	}
	++*connection->server->timeouts;
	refuse_or_cut(connection, 408);
	go_on(connection);
}

static void on_write_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_http_connection *connection = ctx;

	++*connection->server->timeouts;
	hf_http_connection_close(connection);
}

uint64_t hf_http_connection_waited_ms(const struct hf_http_connection *connection)
{
	const struct hf_http_server_options *options = &connection->server->options;
	uint64_t now_ms = hf_loop_now_ms(connection->server->loop), whole_ms;

	if (connection->processing || hf_buffer_len(&connection->out) > 0)
		return 0;
	if (connection->state == HF_HTTP_BODY)
		whole_ms = options->body_ms;
	else if (connection->state == HF_HTTP_HEAD)
		whole_ms = hf_buffer_len(&connection->in) > 0 || connection->fresh
				   ? options->header_ms
				   : options->idle_ms;
	else
		return 0;
	return now_ms + whole_ms > connection->timer.due_ms
		       ? now_ms + whole_ms - connection->timer.due_ms
		       : 0;
}

void hf_http_connection_drain(struct hf_http_connection *connection)
{
	connection->close_after = true;
	if (connection->state == HF_HTTP_HEAD && hf_buffer_len(&connection->in) == 0 &&
	    hf_buffer_len(&connection->out) == 0 && !connection->processing)
		hf_http_connection_close(connection);
}

void hf_http_connection_new(struct hf_http_server *server, int fd, const char *peer)
{
	struct event_base *base = server->loop->base;
	struct hf_http_connection *connection = calloc(1, sizeof(*connection));

	if (connection == NULL) {
		close(fd);
		hf_http_server_connection_gone(server);
		return;
	}
	connection->server = server;
	connection->fd = fd;
	connection->fresh = true;
	memcpy(connection->peer, peer, sizeof(connection->peer));
	LIST_INSERT_HEAD(&server->connections, connection, link);
	hf_timer_init(&connection->timer, on_timer, connection);
	hf_timer_init(&connection->write_timer, on_write_timer, connection);
	hf_task_init(&connection->task, on_task, connection);
	connection->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, connection);
	connection->writable = event_new(base, fd, EV_WRITE, on_writable, connection);
	connection->closed = event_new(base, fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
				       on_closed, connection);
	if (connection->readable == NULL || connection->writable == NULL ||
	    connection->closed == NULL || event_add(connection->readable, NULL) < 0) {
		hf_http_connection_close(connection);
		return;
	}
	set_state(connection, HF_HTTP_HEAD);
}
