/* services/saver/redis_link.h - one connection to a Redis: commands out, replies in, in order. For
 * redis.c alone; it decides what a lost connection means.
 *
 * Commands are gathered until saver_redis_link_flush(). Replies are hiredis' to parse, but for
 * integers, which nearly all are: these never become an object in memory. */
#ifndef SAVER_REDIS_LINK_H
#define SAVER_REDIS_LINK_H

#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "hf_buffer.h"
#include "redis.h"

#define SAVER_REDIS_MARKS 512u

/* One command on its way. */
struct saver_redis_op {
	STAILQ_ENTRY(saver_redis_op) next;
	saver_redis_cb cb;
	void *ctx;
	uint32_t size; /* as sent */
	uint16_t slot; /* HF_SLOTS: it belongs to none */
	uint8_t kind;  /* enum saver_op */
};
STAILQ_HEAD(saver_redis_ops, saver_redis_op);

struct saver_redis_link;

/* What all links of a process share. */
struct saver_redis_io {
	struct hf_loop *loop;
	uint8_t *input;
	struct hf_histogram *duration; /* NULL: not measured */
	/* Connected. */
	void (*on_up)(struct saver_redis_link *link);
	/* The next reply is that of `op`, which is the callee's now. It may close the link. */
	void (*on_reply)(struct saver_redis_link *link, struct saver_redis_op *op,
			 const redisReply *reply);
	/* The connection is of no use any more: close it. */
	void (*on_broken)(struct saver_redis_link *link, const char *reason);
};

HF_MUST_CHECK int saver_redis_io_init(struct saver_redis_io *io); /* 0 or -ENOMEM */
void saver_redis_io_deinit(struct saver_redis_io *io);

/* Commands that left together: up to sequence `upto`, the first of them queued at `at_ns`. */
struct saver_redis_mark {
	uint64_t upto, at_ns;
};

struct saver_redis_link {
	struct saver_redis_io *io;
	void *owner;
	int fd;    /* -1: closed */
	bool up;   /* connected */
	bool part; /* `reader` holds a part of a reply */
	redisReader *reader;
	struct event readable, writable;
	struct hf_buffer out;
	struct saver_redis_ops ops; /* unanswered, oldest first */
	size_t bytes;               /* of these */
	uint64_t era;               /* counts closes: tells whether a callback closed it */
	uint64_t queued, answered;
	uint64_t unmarked_ns; /* when the first command since the last flush was queued; 0: none */
	struct saver_redis_mark marks[SAVER_REDIS_MARKS];
	unsigned mark_first, mark_count;
};

void saver_redis_link_init(struct saver_redis_link *link, struct saver_redis_io *io, void *owner);
/* Begin to connect: on_up() or on_broken() follows. Or -errno, and it is closed as before. */
HF_MUST_CHECK int saver_redis_link_open(struct saver_redis_link *link,
					const struct sockaddr *address, socklen_t len);
/* What was not answered is moved to the end of `ret_ops`. Fine when closed. */
void saver_redis_link_close(struct saver_redis_link *link, struct saver_redis_ops *ret_ops);

/* Queue a command of `count` words, copied. The link is open. -ENOMEM: nothing was queued, and `op`
 * stays the caller's. */
HF_MUST_CHECK int saver_redis_link_send(struct saver_redis_link *link, struct saver_redis_op *op,
					const struct hf_bytes *words, size_t count);
/* What is queued leaves. May end in on_broken(). */
void saver_redis_link_flush(struct saver_redis_link *link);

/* When the oldest unanswered command that has left was queued; 0: there is none. */
static inline uint64_t saver_redis_link_oldest_ns(const struct saver_redis_link *link)
{
	return link->mark_count > 0 ? link->marks[link->mark_first].at_ns : 0;
}

#endif
