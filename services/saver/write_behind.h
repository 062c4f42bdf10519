/* services/saver/write_behind.h - from memory to MySQL, in batches.
 *
 * `stored` messages are written behind: after a delay, hundreds in one statement, which is one
 * commit. One that is acked before never gets there. `durable` ones are committed ahead: what came
 * in one turn, and while the commit before was under way, leaves together, and the caller waits for
 * it. Deletes of written rows leave in batches too, always after the insert of their row.
 *
 * A written row stays in memory until every Redis node has answered a PING that was sent after the
 * commit, on the same connection as before. So whoever refills an emptied Redis reads the database
 * after this commit - or we still hold the row and put it back ourselves: a row is never out of
 * sight of both. */
#ifndef SAVER_WRITE_BEHIND_H
#define SAVER_WRITE_BEHIND_H

#include "database.h"
#include "redis.h"
#include "rows.h"

struct saver_write_behind;

struct saver_write_behind_options {
	uint32_t delay_ms;
	uint32_t batch;    /* rows a statement */
	uint32_t rows_max; /* pending rows; and as many pending deletes */
	size_t bytes_max;
};

HF_MUST_CHECK int saver_write_behind_new(struct hf_loop *loop, struct hf_metrics *metrics,
					 struct saver_redis *redis, struct saver_database *database,
					 const struct saver_write_behind_options *options,
					 struct saver_write_behind **ret_wb);
/* After the database is closed, so that nothing is in flight. NULL is fine. */
void saver_write_behind_free(struct saver_write_behind *wb);

/* A message that Redis has. Without `waiter`: written some time; over the bound it is left to the
 * sweep, which finds it in Redis later. With: SAVER_OK and the waiter is told later, or an error
 * and it is not. */
enum saver_error saver_write_behind_put(struct saver_write_behind *wb,
					const struct saver_name *name, uint64_t message_id,
					uint8_t class, uint64_t expires_ms,
					struct saver_frame *frame, struct saver_row_waiter *waiter);
/* The message left Redis. `was_there`: our command removed it (else whoever did also looks after
 * its row). */
void saver_write_behind_forget(struct saver_write_behind *wb, const struct saver_name *name,
			       uint64_t message_id, bool was_there);

void saver_write_behind_on_database(struct saver_write_behind *wb, bool up);
/* The node serves again, and everything in saver_write_behind_rows() that belongs there is there.
 */
void saver_write_behind_on_serving(struct saver_write_behind *wb, unsigned node);

struct saver_rows *saver_write_behind_rows(struct saver_write_behind *wb);
size_t saver_write_behind_pending(const struct saver_write_behind *wb); /* rows not yet written */
size_t saver_write_behind_deletes(const struct saver_write_behind *wb); /* not yet deleted */
/* Deletes asked for since the start, and those that are done: in order of asking. */
uint64_t saver_write_behind_deletes_asked(const struct saver_write_behind *wb);
uint64_t saver_write_behind_deletes_done(const struct saver_write_behind *wb);
/* Write everything now, as fast as it goes; for a drain. */
void saver_write_behind_hurry(struct saver_write_behind *wb);
/* Were rows left out since this was last asked? Then a sweep must find them. */
bool saver_write_behind_missed(struct saver_write_behind *wb);

#endif
