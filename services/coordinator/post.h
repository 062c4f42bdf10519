/* services/coordinator/post.h - signed HTTP POSTs to one callback, by libcurl on the loop.
 *
 * A pool belongs to one callback of one app: no other app may use a connection whose address was
 * allowed for this one. Connections are kept alive. Redirects are not followed and proxies not
 * used; an address that is neither public nor allowed by the callback is refused when libcurl is
 * about to connect to it, so that no second look-up of the name can change what was checked. */
#ifndef COORDINATOR_POST_H
#define COORDINATOR_POST_H

#include "hf_loop.h"
#include "hf_webhook.h"

struct post_pool;
struct post;

enum post_result {
	POST_ANSWERED,  /* `status` and the whole body are there */
	POST_TIMEOUT,   /* the time was over; the request may have been read */
	POST_FAILED,    /* no connection, TLS, a broken or endless answer */
	POST_TOO_LARGE, /* `status` is there, the body is longer than allowed */
	POST_DENIED,    /* every address of the host is in a forbidden network */
};

struct post_outcome {
	enum post_result result;
	unsigned status;
	uint32_t retry_after_s; /* by its Retry-After; 0: none */
	bool is_json;           /* by its Content-Type */
	struct hf_bytes body;   /* borrowed until the callback returns */
	const char *detail;     /* for the log; likewise */
};
typedef void (*post_cb)(const struct post_outcome *outcome, void *ctx);

struct post_limits {
	size_t answer_max;
	uint64_t connect_timeout_ms;
	const char *ca_file; /* "": the system's; borrowed for the pool's life */
};

/* Copies `webhook` and `limits`. 0 or -ENOMEM. */
HF_MUST_CHECK int post_pool_new(struct hf_loop *loop, const struct hf_webhook *webhook,
				const struct post_limits *limits, struct post_pool **ret_pool);
/* Ends what is running; its callbacks do not run. Not from within a callback of its posts. */
void post_pool_free(struct post_pool *pool);

struct post_request {
	uint32_t app;
	uint64_t id; /* becomes webhook-id: the same in every attempt */
	unsigned attempt;
	uint64_t wall_ms;
	const char *body; /* borrowed until `cb` runs */
	size_t body_len;
};

/* `cb` runs once, later, from the loop. 0 or -ENOMEM. */
HF_MUST_CHECK int post_start(struct post_pool *pool, const struct post_request *request, post_cb cb,
			     void *ctx);

#endif
