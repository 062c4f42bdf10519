/* services/saver/redis.h - the Redis nodes: some connections each, every command with a deadline.
 *
 * A Redis reads some 16 KiB of a connection, carries them out, flushes its log, answers, and reads
 * on: over one connection 40 messages share a flush, however many wait. So what goes to a node has
 * several, and the next is used only when those before have that much to do.
 *
 * Commands of one turn of the loop leave in one write per connection. Replies of one come in order,
 * so that the oldest unanswered command stands for all: when it is older than the timeout, all
 * connections of the node are cut and every command ends SAVER_STORE_UNAVAILABLE; it may have been
 * carried out or not. The same when one of them breaks. They are tried again with back-off. A node
 * that is connected serves nobody until refill.c has looked at what is in it and calls
 * saver_redis_serve(). */
#ifndef SAVER_REDIS_H
#define SAVER_REDIS_H

#include <hiredis/hiredis.h>

#include "hf_loop.h"
#include "hf_metrics.h"
#include "value.h"

/* Why a call can't be answered. One table in saver.c makes RPC errors of them. */
enum saver_error {
	SAVER_OK,
	SAVER_STORE_UNAVAILABLE, /* Redis does not answer, or refuses */
	SAVER_STORE_FULL,        /* Redis is out of memory or disk */
	SAVER_DATABASE_UNAVAILABLE,
	SAVER_REFILLING,  /* Redis came back empty and is filled from the database */
	SAVER_OVERLOADED, /* too much is waiting for Redis or the database already */
	SAVER_INTERNAL,   /* a reply that makes no sense, or no memory */
	SAVER_LOG_FULL,   /* the app has as many broadcasts, recalls or spans as it may */
	SAVER_BROADCAST_CONCURRENCY, /* as many of the app's broadcasts run as may */
	SAVER_JOBS_FULL,             /* the app has too many jobs that are not final */
	SAVER_ERROR_COUNT
};

/* What commands are for: label `op` of holdfast_saver_operations_total. */
enum saver_op {
	SAVER_OP_STORE,
	SAVER_OP_LOAD,
	SAVER_OP_REMOVE,
	SAVER_OP_INSPECT,
	SAVER_OP_CLAIM,
	SAVER_OP_REDELIVER,
	SAVER_OP_SWEEP,
	SAVER_OP_REFILL,
	SAVER_OP_CHECK,
	SAVER_OP_JOB,
	SAVER_OP_LOG,
	SAVER_OP_BROADCAST, /* what a registration has acked of the log */
	SAVER_OP_SPOOL,
	SAVER_OP_REGISTRY_READ,
	SAVER_OP_REGISTRY_WRITE,
	SAVER_OP_REPORT,
	SAVER_OP_COUNT
};

enum saver_node_state {
	SAVER_NODE_DOWN,     /* not connected */
	SAVER_NODE_CHECKING, /* connected; only saver_redis_send_early() gets through */
	SAVER_NODE_SERVING,
};

struct saver_redis;

struct saver_redis_options {
	const struct hf_strings
		*nodes;       /* "host:port" or "unix:/path"; node i has its share of the slots */
	const char *password; /* "": none */
	uint32_t timeout_ms;
	uint32_t commands_max; /* unanswered ones a node before saver_redis_admit() says no */
	size_t bytes_max;      /* unsent ones, likewise */
	unsigned links;        /* connections to each node, 1 to SAVER_REDIS_LINKS_MAX */
	/* `on_connected` when commands may be sent early, `on_lost` when a connection ended. */
	void (*on_connected)(unsigned node, void *ctx);
	void (*on_lost)(unsigned node, void *ctx);
	void *ctx;
};

#define SAVER_REDIS_NODES_MAX 64
#define SAVER_REDIS_LINKS_MAX 16u

/* 0, -EINVAL (an address), or -ENOMEM. Names are resolved here, once: a loop must not wait for DNS.
 */
HF_MUST_CHECK int saver_redis_new(struct hf_loop *loop, struct hf_metrics *metrics,
				  const struct saver_redis_options *options,
				  struct saver_redis **ret_redis);
void saver_redis_start(struct saver_redis *redis); /* connect: callbacks may run from now on */
/* Cuts all connections: unanswered commands end SAVER_STORE_UNAVAILABLE from within. */
void saver_redis_close(struct saver_redis *redis);
void saver_redis_free(struct saver_redis *redis); /* after close; NULL is fine */

unsigned saver_redis_count(const struct saver_redis *redis);
unsigned saver_redis_node_of(const struct saver_redis *redis, uint16_t slot);
const char *saver_redis_address(const struct saver_redis *redis, unsigned node);
enum saver_node_state saver_redis_state(const struct saver_redis *redis, unsigned node);
void saver_redis_serve(struct saver_redis *redis, unsigned node); /* CHECKING to SERVING */
/* End the connection and begin anew: what is in the node must be looked at again. */
void saver_redis_reset(struct saver_redis *redis, unsigned node, const char *reason);
bool saver_redis_all_serving(const struct saver_redis *redis);

/* May a call that needs this node begin? Asked once per call; sends are not refused for volume. No
 * when too many commands or bytes are unanswered, or the oldest for a quarter of the timeout. */
enum saver_error saver_redis_admit(const struct saver_redis *redis, unsigned node);

/* `reply` is borrowed, and NULL unless `error` is SAVER_OK. */
typedef void (*saver_redis_cb)(const redisReply *reply, enum saver_error error, void *ctx);

/* Queue one command of `count` words, copied. `cb` runs exactly once, later. Not SAVER_OK: nothing
 * was queued and `cb` will not run. Commands of one node are carried out, and their callbacks run,
 * in their order. */
HF_MUST_CHECK enum saver_error saver_redis_send(struct saver_redis *redis, unsigned node,
						enum saver_op op, const struct hf_bytes *words,
						size_t count, saver_redis_cb cb, void *ctx);
HF_MUST_CHECK enum saver_error saver_redis_send_early(struct saver_redis *redis, unsigned node,
						      enum saver_op op,
						      const struct hf_bytes *words, size_t count,
						      saver_redis_cb cb, void *ctx);
/* The same for the node of a slot, on any of its connections: in order among the commands of this
 * slot that are sent by this call, and in none with others. For whatever each message costs. */
HF_MUST_CHECK enum saver_error saver_redis_send_slot(struct saver_redis *redis, uint16_t slot,
						     enum saver_op op, const struct hf_bytes *words,
						     size_t count, saver_redis_cb cb, void *ctx);

/* Is a command of this slot on its way, of those sent by _send_slot()? A callback's own is not. */
bool saver_redis_slot_busy(const struct saver_redis *redis, uint16_t slot);

/* A callback for answers that do not matter. */
void saver_redis_ignore(const redisReply *reply, enum saver_error error, void *ctx);

static inline struct hf_bytes saver_reply_bytes(const redisReply *reply)
{
	return hf_bytes_of(reply->str, reply->len);
}

#endif
