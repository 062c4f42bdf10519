/* common/http/hf_http_server.h - a small, strict HTTP/1.1 server on the loop (RFC 9110, RFC 9112).
 *
 * Keep-alive and pipelining: requests of a connection are handled one after the other, in order.
 * The codec (hf_http_parser.h) refuses ambiguous framing; everything has a bound and a time. */
#ifndef HF_HTTP_SERVER_H
#define HF_HTTP_SERVER_H

#include "hf_base.h"
#include "hf_http_parser.h"
#include "hf_loop.h"
#include "hf_metrics.h"

struct hf_http_server;
struct hf_http_exchange; /* one request and its response */

struct hf_http_server_options {
	const char *address;
	const char *name;         /* metrics label: "api", "admin" */
	size_t body_max;          /* larger: 413; 0: 1 MiB */
	size_t buffered_max;      /* bodies of all connections together; above it 503; 0: 256 MiB */
	uint32_t connections_max; /* 0: 1024; above it the listener pauses */
	uint32_t header_ms;       /* whole head must arrive in; 0: 10 s */
	uint32_t body_ms;         /* whole body must arrive in; streamed: the next piece; 0: 30 s */
	uint32_t idle_ms;         /* keep-alive; 0: 75 s */
	uint32_t write_ms;        /* a client that reads nothing for so long is cut; 0: 30 s */
	/* Head and whole body are there. Answer now or later, exactly once, unless on_abort ran. */
	void (*on_request)(struct hf_http_exchange *exchange, void *ctx);
	/* Optional, runs when the head is there and before any body: true: the body comes in pieces
	 * through hf_http_exchange_stream() callbacks instead of on_request. It may also answer
	 * already (a refusal: the body is then not read and the connection closes), or set route
	 * and body limit. */
	bool (*wants_stream)(struct hf_http_exchange *exchange, void *ctx);
	void *ctx;
};

HF_MUST_CHECK int hf_http_server_new(struct hf_loop *loop, struct hf_metrics *metrics,
				     const struct hf_http_server_options *options,
				     struct hf_http_server **ret_server); /* 0 or -errno */
void hf_http_server_free(struct hf_http_server *server);
/* Stop listening; answered connections close after their response. */
void hf_http_server_drain(struct hf_http_server *server);
uint32_t hf_http_server_open_exchanges(const struct hf_http_server *server);
/* With the real port filled in. */
const char *hf_http_server_address(const struct hf_http_server *server);

/* The request, borrowed until answered. */
const struct hf_http_request *hf_http_exchange_request(const struct hf_http_exchange *exchange);
struct hf_bytes hf_http_exchange_body(const struct hf_http_exchange *exchange);
struct hf_bytes hf_http_exchange_header(const struct hf_http_exchange *exchange, const char *name);
const char *hf_http_exchange_peer(const struct hf_http_exchange *exchange); /* "127.0.0.1:4711" */
/* What the client named in X-Request-Id (1..64 of [A-Za-z0-9_.-]), else made: "req_0H5K...". */
const char *hf_http_exchange_request_id(const struct hf_http_exchange *exchange);
/* The route's template for metrics: "/v1/apps/{app}/messages". A string that lives for ever. */
void hf_http_exchange_set_route(struct hf_http_exchange *exchange, const char *route);
/* Another limit than body_max for this request; in wants_stream only. */
void hf_http_exchange_set_body_max(struct hf_http_exchange *exchange, size_t body_max);
void hf_http_exchange_set_user(struct hf_http_exchange *exchange, void *user);
void *hf_http_exchange_user(const struct hf_http_exchange *exchange);
/* Runs when the client went away before the answer: the exchange is dead after it. */
void hf_http_exchange_on_abort(struct hf_http_exchange *exchange,
			       void (*cb)(struct hf_http_exchange *, void *), void *ctx);

/* A header for the response; before responding. */
void hf_http_add_header(struct hf_http_exchange *exchange, const char *name, const char *value);
/* Respond whole. The body is copied. The exchange is dead after it. content_type NULL: no body. */
void hf_http_respond(struct hf_http_exchange *exchange, unsigned status, const char *content_type,
		     const void *body, size_t len);

/* Streaming: request pieces in (len 0: the end; the piece is borrowed), response pieces out
 * (chunked). hf_http_stream_pause() stops reading, for back-pressure; _resume() goes on. */
void hf_http_exchange_stream(struct hf_http_exchange *exchange,
			     void (*on_data)(struct hf_http_exchange *, struct hf_bytes, void *),
			     void *ctx);
void hf_http_stream_pause(struct hf_http_exchange *exchange);
void hf_http_stream_resume(struct hf_http_exchange *exchange);
void hf_http_stream_begin(struct hf_http_exchange *exchange, unsigned status,
			  const char *content_type);
void hf_http_stream_write(struct hf_http_exchange *exchange, const void *data, size_t len);
void hf_http_stream_end(struct hf_http_exchange *exchange); /* the exchange is dead after it */
size_t hf_http_stream_pending(const struct hf_http_exchange *exchange); /* bytes not yet written */
/* `cb` runs, from the loop, each time what was pending is written. */
void hf_http_stream_on_written(struct hf_http_exchange *exchange,
			       void (*cb)(struct hf_http_exchange *, void *), void *ctx);

/* The one error shape of Holdfast (INTERFACES A3), as a whole response. `field`, `value` NULL:
 * none. retry_after_s < 0: none; else also a Retry-After header. `retryable` says: 408, 429, 500,
 * 503, 504, or a retry_after_s. X-Request-Id is in every response. */
void hf_http_respond_error(struct hf_http_exchange *exchange, unsigned code, const char *status,
			   const char *reason, const char *message, const char *field,
			   const char *value, int retry_after_s);

#endif
