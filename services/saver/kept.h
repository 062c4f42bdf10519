/* services/saver/kept.h - jobs and broadcast logs follow into the database, so that a Redis that
 * comes back empty gets them back.
 *
 *	hf:lk   sorted set of a node: what changed and may not be in the database as it is, by
 *	        hf:ln, which counts changes. "j<app>:<id>": a job (id as text); "b<app>:<id>" and
 *	        "r<app>:<id>": a broadcast, a recall (8 bytes)
 *
 * The scripts that change something note it there in the same step. The owner of a node's first
 *slot reads what is noted as it is now, writes it, and takes the note away if nothing changed
 *since: a kill of whatever process loses no note. */
#ifndef SAVER_KEPT_H
#define SAVER_KEPT_H

#include "hf_buffer.h"
#include "saver.h"

/* Lua: note a change. */
#define SAVER_KEPT_LUA                                                         \
	"local function note(member)\n"                                        \
	"  redis.call('ZADD', 'hf:lk', redis.call('INCR', 'hf:ln'), member)\n" \
	"end\n"

struct saver_kept;

HF_MUST_CHECK int saver_kept_new(struct saver *saver, struct saver_kept **ret_kept);
void saver_kept_free(struct saver_kept *kept); /* after Redis and the database; NULL is fine */

/* For the refill: rows of the table `kept` after (app, kind, id), and one of them back into its
 * node. False: it could not be sent. *ret_sent: `cb` will run; a row of another node is passed
 * over. */
struct saver_kept_row {
	uint32_t app;
	uint8_t kind; /* 'j', 'b' or 'r' */
	uint64_t id, expires_ms;
	struct hf_bytes value, frame; /* borrowed */
};
HF_MUST_CHECK int saver_kept_statement(const struct saver_kept_row *after, uint64_t now_ms,
				       unsigned limit, struct hf_buffer *sql);
HF_MUST_CHECK bool saver_kept_restore(struct saver *saver, unsigned node,
				      const struct saver_kept_row *row, saver_redis_cb cb,
				      void *ctx, bool *ret_sent);

/* jobs.c and log.c: put it back as it was, unless it is there. As saver_redis_send_early(). */
HF_MUST_CHECK enum saver_error saver_job_restore(struct saver *saver, const Hf__Job *job,
						 saver_redis_cb cb, void *ctx);
HF_MUST_CHECK enum saver_error saver_log_restore(struct saver *saver,
						 const struct saver_kept_row *row,
						 saver_redis_cb cb, void *ctx);

#endif
