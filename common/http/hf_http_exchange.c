/* common/http/hf_http_exchange.c - one request and its response, for handlers; see
 * hf_http_server.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_clock.h"
#include "hf_hash.h"
#include "hf_http_internal.h"
#include "hf_id.h"

static bool is_request_id(struct hf_bytes id)
{
	if (id.len == 0 || id.len > HF_HTTP_REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		uint8_t c = id.data[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '_' || c == '.' || c == '-'))
			return false;
	}
	return true;
}

static void choose_request_id(struct hf_http_exchange *exchange, struct hf_loop *loop)
{
	struct hf_bytes given = hf_http_header(&exchange->request, "x-request-id");
	char text[HF_ID_TEXT_SIZE];

	if (is_request_id(given)) {
		memcpy(exchange->request_id, given.data, given.len);
		return; /* the record was zeroed */
	}
	hf_id_format((hf_loop_wall_ms(loop) - HF_ID_EPOCH_MS) << 22 | hf_random_below(1u << 22),
		     text);
	snprintf(exchange->request_id, sizeof(exchange->request_id), "req_%s", text);
}

static struct hf_bytes moved(struct hf_bytes slice, const uint8_t *from, const uint8_t *to)
{
	return slice.data != NULL ? hf_bytes_of(to + (slice.data - from), slice.len) : slice;
}

/* Copies the head, as the input buffer moves while the body arrives. */
static int copy_head(struct hf_http_exchange *exchange, const uint8_t *head, size_t len)
{
	struct hf_http_request *request = &exchange->request;

	exchange->head = malloc(len);
	if (exchange->head == NULL)
		return -1;
	memcpy(exchange->head, head, len);
	request->method = moved(request->method, head, exchange->head);
	request->target = moved(request->target, head, exchange->head);
	request->path = moved(request->path, head, exchange->head);
	request->query = moved(request->query, head, exchange->head);
	for (size_t i = 0; i < request->header_count; i++) {
		struct hf_http_header *header = &request->headers[i];

		header->name = moved(header->name, head, exchange->head);
		header->value = moved(header->value, head, exchange->head);
	}
	return 0;
}

struct hf_http_exchange *hf_http_exchange_new(struct hf_http_connection *connection,
					      const struct hf_http_request *request,
					      const uint8_t *head, size_t head_len)
{
	struct hf_http_exchange *exchange = calloc(1, sizeof(*exchange));

	if (exchange == NULL)
		return NULL;
	exchange->request = *request;
	if (head_len > 0 && copy_head(exchange, head, head_len) < 0) {
		free(exchange);
		return NULL;
	}
	exchange->connection = connection;
	exchange->route = "other";
	exchange->started_ns = hf_clock_monotonic_ns();
	exchange->body_max = connection->server->options.body_max;
	choose_request_id(exchange, connection->server->loop);
	connection->server->open_exchanges++;
	return exchange;
}

void hf_http_exchange_free(struct hf_http_exchange *exchange)
{
	exchange->connection->server->open_exchanges--;
	hf_buffer_deinit(&exchange->headers);
	free(exchange->head);
	free(exchange);
}

const struct hf_http_request *hf_http_exchange_request(const struct hf_http_exchange *exchange)
{
	return &exchange->request;
}

struct hf_bytes hf_http_exchange_body(const struct hf_http_exchange *exchange)
{
	return exchange->body;
}

struct hf_bytes hf_http_exchange_header(const struct hf_http_exchange *exchange, const char *name)
{
	return hf_http_header(&exchange->request, name);
}

const char *hf_http_exchange_peer(const struct hf_http_exchange *exchange)
{
	return exchange->connection->peer;
}

const char *hf_http_exchange_request_id(const struct hf_http_exchange *exchange)
{
	return exchange->request_id;
}

void hf_http_exchange_set_route(struct hf_http_exchange *exchange, const char *route)
{
	exchange->route = route;
}

void hf_http_exchange_set_body_max(struct hf_http_exchange *exchange, size_t body_max)
{
	exchange->body_max = body_max;
}

void hf_http_exchange_set_user(struct hf_http_exchange *exchange, void *user)
{
	exchange->user = user;
}

void *hf_http_exchange_user(const struct hf_http_exchange *exchange)
{
	return exchange->user;
}

void hf_http_exchange_on_abort(struct hf_http_exchange *exchange,
			       void (*cb)(struct hf_http_exchange *, void *), void *ctx)
{
	exchange->on_abort = cb;
	exchange->abort_ctx = ctx;
}

/* A value may hold bytes of the request: nothing of it may end the line. */
void hf_http_add_header(struct hf_http_exchange *exchange, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);
	uint8_t *line = hf_buffer_reserve(&exchange->headers, name_len + value_len + 4);

	if (line == NULL) {
		exchange->connection->close_after = true;
		return;
	}
	memcpy(line, name, name_len);
	memcpy(line + name_len, ": ", 2);
	line += name_len + 2;
	for (size_t i = 0; i < value_len; i++)
		line[i] = (uint8_t)value[i] < ' ' || value[i] == 0x7f ? ' ' : (uint8_t)value[i];
	memcpy(line + value_len, "\r\n", 2);
	hf_buffer_commit(&exchange->headers, name_len + value_len + 4);
}

static int append_head(struct hf_http_exchange *exchange, unsigned status, const char *content_type,
		       bool close)
{
	struct hf_http_connection *connection = exchange->connection;
	struct hf_buffer *out = &connection->out;
	const struct hf_http_request *request = &exchange->request;
	int err = hf_buffer_printf(out, "HTTP/1.1 %u %s\r\nDate: %s\r\nX-Request-Id: %s\r\n",
				   status, hf_http_status_text(status),
				   hf_http_server_date(connection->server), exchange->request_id);

	if (err == 0 && content_type != NULL)
		err = hf_buffer_printf(out, "Content-Type: %s\r\n", content_type);
	if (err == 0 && close)
		err = hf_buffer_printf(out, "Connection: close\r\n");
	if (err == 0 && hf_buffer_len(&exchange->headers) > 0)
		err = hf_buffer_append(out, hf_buffer_data(&exchange->headers),
				       hf_buffer_len(&exchange->headers));
	exchange->no_body_out = hf_bytes_equal(request->method, HF_BYTES_LITERAL("HEAD")) ||
				status == 204 || status == 304;
	return err;
}

/* Without memory for an answer the connection just ends. */
static void finish(struct hf_http_exchange *exchange, unsigned status, int err)
{
	struct hf_http_connection *connection = exchange->connection;

	if (err < 0)
		connection->close_after = true;
	hf_http_server_count(connection->server, exchange, status);
	hf_http_connection_answered(connection);
}

void hf_http_respond(struct hf_http_exchange *exchange, unsigned status, const char *content_type,
		     const void *body, size_t len)
{
	struct hf_http_connection *connection = exchange->connection;
	struct hf_buffer *out = &connection->out;
	bool unread = connection->state == HF_HTTP_BODY || connection->state == HF_HTTP_STREAM;
	int err;

	assert(exchange->status == 0); /* no streamed response has begun */
	err = append_head(exchange, status, content_type, connection->close_after || unread);
	if (err == 0 && status != 204 && status != 304)
		err = hf_buffer_printf(out, "Content-Length: %zu\r\n", len);
	if (err == 0)
		err = hf_buffer_append(out, "\r\n", 2);
	if (err == 0 && len > 0 && !exchange->no_body_out)
		err = hf_buffer_append(out, body, len);
	finish(exchange, status, err);
}

void hf_http_exchange_stream(struct hf_http_exchange *exchange,
			     void (*on_data)(struct hf_http_exchange *, struct hf_bytes, void *),
			     void *ctx)
{
	exchange->on_data = on_data;
	exchange->data_ctx = ctx;
}

void hf_http_stream_pause(struct hf_http_exchange *exchange)
{
	exchange->paused = true;
}

void hf_http_stream_resume(struct hf_http_exchange *exchange)
{
	exchange->paused = false;
	hf_http_connection_kick(exchange->connection);
}

void hf_http_stream_begin(struct hf_http_exchange *exchange, unsigned status,
			  const char *content_type)
{
	struct hf_http_connection *connection = exchange->connection;
	int err;

	/* Without chunks the end of the connection is the end of the body. */
	exchange->chunked_out = exchange->request.minor == 1;
	if (!exchange->chunked_out)
		connection->close_after = true;
	/* What is left of the request may be read before this ends: no word of a close. */
	err = append_head(exchange, status, content_type, connection->close_after);
	exchange->status = status;
	if (err == 0)
		err = hf_buffer_printf(&connection->out, "%s\r\n",
				       exchange->chunked_out ? "Transfer-Encoding: chunked\r\n"
							     : "");
	if (err < 0)
		connection->close_after = true;
	hf_http_connection_kick(connection);
}

void hf_http_stream_write(struct hf_http_exchange *exchange, const void *data, size_t len)
{
	struct hf_buffer *out = &exchange->connection->out;
	int err = 0;

	if (len == 0 || exchange->no_body_out) /* an empty chunk would be the last */
		return;
	if (exchange->chunked_out)
		err = hf_buffer_printf(out, "%zx\r\n", len);
	if (err == 0)
		err = hf_buffer_append(out, data, len);
	if (err == 0 && exchange->chunked_out)
		err = hf_buffer_append(out, "\r\n", 2);
	if (err < 0)
		exchange->connection->close_after = true;
	hf_http_connection_kick(exchange->connection);
}

void hf_http_stream_end(struct hf_http_exchange *exchange)
{
	int err = 0;

	if (exchange->chunked_out && !exchange->no_body_out)
		err = hf_buffer_append(&exchange->connection->out, "0\r\n\r\n", 5);
	finish(exchange, exchange->status, err);
}

size_t hf_http_stream_pending(const struct hf_http_exchange *exchange)
{
	return hf_buffer_len(&exchange->connection->out);
}

void hf_http_stream_on_written(struct hf_http_exchange *exchange,
			       void (*cb)(struct hf_http_exchange *, void *), void *ctx)
{
	exchange->on_written = cb;
	exchange->written_ctx = ctx;
}
