/* common/http/hf_http_internal.h - what hf_http_server.c (listener), hf_http_connection.c (bytes in
 * and out) and hf_http_exchange.c (one request) share. Not for anybody else. */
#ifndef HF_HTTP_INTERNAL_H
#define HF_HTTP_INTERNAL_H

#include <sys/queue.h>

#include "hf_buffer.h"
#include "hf_http_server.h"
#include "hf_net.h"

#define HF_HTTP_REQUEST_ID_MAX 64
#define HF_HTTP_METHODS        8
#define HF_HTTP_ROUTES_MAX     64
#define HF_HTTP_CODES_MAX      20
#define HF_HTTP_OUT_HIGH       (256u << 10) /* unsent bytes above which no further request is begun */

enum hf_http_state {
	HF_HTTP_HEAD,     /* waiting for a request, or in its head */
	HF_HTTP_BODY,     /* collecting the body */
	HF_HTTP_STREAM,   /* handing out the body as it comes */
	HF_HTTP_HANDLING, /* the request is whole; the answer is not */
	HF_HTTP_CLOSING,  /* the last answer is on its way out; input is thrown away */
};

struct hf_http_exchange {
	struct hf_http_connection *connection;
	struct hf_http_request request; /* its slices point into `head` */
	uint8_t *head;
	struct hf_bytes body;
	const char *route;
	char request_id[HF_HTTP_REQUEST_ID_MAX + 1];
	uint64_t started_ns;
	size_t body_max;
	unsigned status; /* of a streamed response that has begun; else 0 */
	bool answered, paused, chunked_out, no_body_out;
	struct hf_buffer headers; /* extra response headers */
	void *user;
	void (*on_abort)(struct hf_http_exchange *, void *);
	void *abort_ctx;
	void (*on_data)(struct hf_http_exchange *, struct hf_bytes, void *);
	void *data_ctx;
	void (*on_written)(struct hf_http_exchange *, void *);
	void *written_ctx;
};

/* The body being read: in[0..len) is decoded, in[raw..] is as it came (dechunked in place). */
struct hf_http_body {
	size_t len, raw;
	struct hf_http_chunks chunks;
	uint64_t left; /* of a Content-Length */
};

struct hf_http_connection {
	LIST_ENTRY(hf_http_connection) link;
	struct hf_http_server *server;
	int fd;
	enum hf_http_state state;
	struct event *readable, *writable, *closed;
	struct hf_timer timer;       /* of the state: head, body, idle, linger */
	struct hf_timer write_timer; /* while output waits for the socket */
	struct hf_task task;         /* go on and flush, at the end of the turn */
	struct hf_buffer in, out;
	struct hf_http_body body;
	struct hf_http_exchange *exchange; /* of the request in hand, or NULL */
	size_t charged;                    /* of server->buffered */
	bool close_after;                  /* no further request after this answer */
	bool processing;                   /* in hf_http_connection_process(): do not re-enter */
	bool shut;  /* our side is closed; lingering for the client to close its own */
	bool eof;   /* the client sent its last byte */
	bool fresh; /* no request yet */
	char peer[HF_NET_TEXT_SIZE];
};

/* Counters of one route and method, made on first use; bounded. */
struct hf_http_route_stats {
	const char *route;
	unsigned method;
	struct hf_histogram *duration;
	size_t code_count;
	struct {
		unsigned code;
		uint64_t *counter;
	} codes[HF_HTTP_CODES_MAX];
};

struct hf_http_server {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_http_server_options options;
	char name[32], address[HF_NET_TEXT_SIZE];
	int listener, spare; /* spare: given up for a moment when descriptors run out */
	struct event *acceptable;
	struct hf_timer accept_timer;
	bool draining, full;
	uint32_t open_exchanges;
	int64_t *connections_open, *buffered; /* gauges that are read here, too */
	LIST_HEAD(, hf_http_connection) connections;
	uint64_t date_second;
	char date[32]; /* of the Date header */
	size_t stats_count;
	struct hf_http_route_stats *stats[HF_HTTP_ROUTES_MAX];
	uint64_t *accepted, *refused_descriptors, *paused_full, *evicted, *timeouts, *aborts,
		*bad_requests, *over_budget;
};

/* hf_http_server.c */
void hf_http_server_connection_gone(struct hf_http_server *server);
const char *hf_http_server_date(struct hf_http_server *server);
void hf_http_server_count(struct hf_http_server *server, const struct hf_http_exchange *exchange,
			  unsigned code);

/* hf_http_connection.c */
void hf_http_connection_new(struct hf_http_server *server, int fd, const char *peer); /* takes fd */
void hf_http_connection_close(struct hf_http_connection *connection); /* aborts what is in hand */
void hf_http_connection_answered(struct hf_http_connection *connection);
void hf_http_connection_kick(struct hf_http_connection *connection); /* go on at the turn's end */
void hf_http_connection_drain(struct hf_http_connection *connection);
/* For how long it has kept us waiting for its next request, or for the rest of one; 0: it is not we
 * who wait. */
uint64_t hf_http_connection_waited_ms(const struct hf_http_connection *connection);
void hf_http_connection_watch(struct hf_http_connection *connection); /* read or not, as is due */

/* hf_http_exchange.c */
struct hf_http_exchange *hf_http_exchange_new(struct hf_http_connection *connection,
					      const struct hf_http_request *request,
					      const uint8_t *head, size_t head_len);
void hf_http_exchange_free(struct hf_http_exchange *exchange);

#endif
