/* tools/bench/http.h - a small HTTP/1.1 client that pipelines: a pool of connections to one
 * address, each with up to `depth` requests in flight. Answers come in order, so a request needs
 * no more than a place in a ring. */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include "engine.h"
#include "hf_buffer.h"

struct http_ticket {
	uint64_t intended_ns, sent_ns;
	uint32_t messages;
	uint32_t recipients; /* of all of them */
};

struct http_answer {
	int status; /* 0: the connection ended first */
	const char *body;
	size_t body_len;
};

struct http_conn {
	struct source source;
	struct http_pool *pool;
	int fd;
	bool connecting, want_write;
	uint64_t retry_ns;
	struct hf_buffer out, in;
	struct http_ticket *ring;
	uint32_t head, count;
};

struct http_pool {
	struct engine *engine;
	const struct target *to;
	struct http_conn *conns;
	uint32_t conn_count, depth, next;
	int error; /* of the connection that was lost last, as an errno */
	void (*on_answer)(struct http_pool *pool, const struct http_ticket *ticket,
			  const struct http_answer *answer);
	void *ctx;
};

int http_open(struct http_pool *pool); /* after the members above are set */
void http_close(struct http_pool *pool);
/* A connection with room for one more request, or NULL. */
struct http_conn *http_free_place(struct http_pool *pool);
/* Append a whole request; written by http_flush(). 0 or -ENOMEM. */
int http_request(struct http_conn *conn, const struct http_ticket *ticket, const void *head,
		 size_t head_len, const void *body, size_t body_len);
void http_flush(struct http_pool *pool);
uint64_t http_in_flight(const struct http_pool *pool);

#endif
