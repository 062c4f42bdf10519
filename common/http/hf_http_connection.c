/* common/http/hf_http_connection.c - one client: events, states, timers, bytes out.
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
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_http_internal.h"

#define READ_SIZE      16384
#define READ_BODY_SIZE 131072 /* when so much of a body is still to come */
#define LINGER_MS      2000

void hf_http_connection_kick(struct hf_http_connection *connection)
{
	hf_task_schedule(connection->server->loop, &connection->task);
}

void hf_http_connection_arm(struct hf_http_connection *connection, uint32_t ms)
{
	hf_loop_arm(connection->server->loop, &connection->timer, ms);
}

void hf_http_connection_charge(struct hf_http_connection *connection, size_t total)
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
	hf_http_connection_charge(connection, 0);
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
bool hf_http_connection_wants_input(const struct hf_http_connection *connection)
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
	bool input = !connection->eof && hf_http_connection_wants_input(connection);

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

void hf_http_connection_set_state(struct hf_http_connection *connection, enum hf_http_state state)
{
	const struct hf_http_server_options *options = &connection->server->options;

	connection->state = state;
	hf_wheel_disarm(&connection->timer);
	switch (state) {
	case HF_HTTP_HEAD:
		hf_http_connection_arm(connection,
				       hf_buffer_len(&connection->in) > 0 || connection->fresh
					       ? options->header_ms
					       : options->idle_ms);
		break;
	case HF_HTTP_BODY:
	case HF_HTTP_STREAM:
		hf_http_connection_arm(connection, options->body_ms);
		break;
	case HF_HTTP_HANDLING:
		break;
	case HF_HTTP_CLOSING:
		hf_http_connection_charge(connection, 0);
		hf_buffer_clear(&connection->in, 0);
		break;
	}
}

/* A response made here, for what never became a request of a handler's. */
void hf_http_connection_refuse(struct hf_http_connection *connection, unsigned status)
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
		hf_http_connection_set_state(connection, HF_HTTP_CLOSING);
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
void hf_http_connection_refuse_or_cut(struct hf_http_connection *connection, unsigned status)
{
	if (connection->exchange != NULL && connection->exchange->status != 0) {
		abort_exchange(connection);
		connection->close_after = true;
		hf_http_connection_set_state(connection, HF_HTTP_CLOSING);
		return;
	}
	hf_http_connection_refuse(connection, status);
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
		hf_http_connection_set_state(connection, HF_HTTP_CLOSING);
	} else {
		hf_buffer_drain(&connection->in, connection->body.raw);
		hf_http_connection_charge(connection, 0);
		if (hf_buffer_len(&connection->in) == 0)
			hf_buffer_clear(&connection->in, 0);
		hf_http_connection_set_state(connection, HF_HTTP_HEAD);
	}
	connection->body = (struct hf_http_body){ 0 };
	hf_http_connection_kick(connection);
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
	hf_http_connection_arm(connection, LINGER_MS);
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
		hf_http_connection_kick(connection); /* by on_written */
	else if (connection->state == HF_HTTP_CLOSING)
		return finish(connection);
	return true;
}

/* Everything that moves a connection ends here. */
static void go_on(struct hf_http_connection *connection)
{
	bool held_up;

	hf_http_input_process(connection);
	held_up = connection->state == HF_HTTP_HEAD && !hf_http_connection_wants_input(connection);
	if (!flush(connection))
		return;
	if (held_up && hf_http_connection_wants_input(connection))
		hf_http_connection_kick(connection);
	if (connection->eof) {
		/* Half-closed: what it asked before is answered as far as it was answered by now.
		 */
		if (connection->exchange != NULL || hf_buffer_len(&connection->out) == 0) {
			hf_http_connection_close(connection);
			return;
		}
		hf_http_connection_set_state(connection, HF_HTTP_CLOSING);
	}
	hf_http_connection_watch(connection);
}

static void on_task(void *ctx)
{
	go_on(ctx);
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
		hf_http_connection_arm(connection, connection->server->options.header_ms);
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
	    !hf_http_connection_wants_input(connection)) { /* it is we who make it wait */
		hf_http_connection_arm(connection, connection->server->options.body_ms);
		return;
	}
	++*connection->server->timeouts;
	hf_http_connection_refuse_or_cut(connection, 408);
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
	hf_http_connection_set_state(connection, HF_HTTP_HEAD);
}
