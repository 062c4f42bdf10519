/* common/http/hf_http_input.c - what a client sent, made into requests: heads, bodies, streams.
 *
 * Works on what is in `in` already; reading, writing and the end of a connection are the business
 * of hf_http_connection.c. */
#include <assert.h>
#include <errno.h>

#include "hf_http_internal.h"

#define STEPS_A_TURN 64 /* pipelined requests and pieces handled before others get their turn */

static void dispatch(struct hf_http_connection *connection)
{
	struct hf_http_exchange *exchange = connection->exchange;
	struct hf_http_server *server = connection->server;

	if (connection->body.len > 0)
		exchange->body = hf_bytes_of(hf_buffer_data(&connection->in), connection->body.len);
	hf_http_connection_set_state(connection, HF_HTTP_HANDLING);
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
		hf_http_connection_refuse(connection, (unsigned)-n);
		return 1;
	}
	if (n == 0)
		drop_framing(connection);
	hf_http_connection_charge(connection, hf_buffer_len(&connection->in));
	if (*server->buffered > (int64_t)server->options.buffered_max) {
		++*server->over_budget;
		hf_http_connection_refuse(connection, 503);
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
		hf_http_connection_refuse_or_cut(connection, (unsigned)-n);
		return 1;
	}
	hf_http_connection_arm(connection, connection->server->options.body_ms);
	if (piece.len > 0)
		exchange->on_data(exchange, piece, exchange->data_ctx);
	if (connection->exchange != exchange || connection->state != HF_HTTP_STREAM)
		return 1; /* answered from within */
	hf_buffer_drain(&connection->in, connection->body.raw);
	connection->body.raw = 0;
	if (n == 1) {
		hf_http_connection_set_state(connection, HF_HTTP_HANDLING);
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
	hf_http_connection_set_state(connection, has_body ? HF_HTTP_BODY : HF_HTTP_HANDLING);
	stream = server->options.wants_stream != NULL &&
		 server->options.wants_stream(exchange, server->options.ctx);
	if (connection->exchange != exchange)
		return; /* answered */
	if (!stream && request->content_length > exchange->body_max) {
		hf_http_connection_refuse(connection, 413);
		return;
	}
	if (has_body && request->expect_continue && request->minor == 1 &&
	    hf_buffer_len(&connection->in) == 0) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

		if (hf_buffer_append(&connection->out, go_on, sizeof(go_on) - 1) < 0)
			connection->close_after = true;
		hf_http_connection_kick(connection);
	}
	if (stream)
		hf_http_connection_set_state(connection, HF_HTTP_STREAM);
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
		hf_http_connection_refuse(connection, (unsigned)-n);
		return 1;
	}
	if (n == 0)
		return 0;
	connection->fresh = false;
	connection->exchange = hf_http_exchange_new(connection, &request, data, (size_t)n);
	if (connection->exchange == NULL) {
		hf_http_connection_set_state(connection, HF_HTTP_CLOSING);
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
void hf_http_input_process(struct hf_http_connection *connection)
{
	int go_on = 1;

	connection->processing = true;
	for (unsigned i = 0; go_on && hf_http_connection_wants_input(connection); i++) {
		if (i >= STEPS_A_TURN) {
			hf_http_connection_kick(connection);
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
