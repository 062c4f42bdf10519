/* services/saver/deletes.h - rows to delete in the database: a bounded queue, and the statement for
 * its head. What a statement names stays in the queue until it succeeded. Pure: no I/O. */
#ifndef SAVER_DELETES_H
#define SAVER_DELETES_H

#include "hf_buffer.h"
#include "value.h"

struct saver_deletes {
	/* Records one after the other: u32 app | u64 message id | u8 length | registration. */
	struct hf_buffer records;
	size_t count, max;
	size_t taken_count, taken_bytes; /* named by the statement under way */
	uint64_t pushed;                 /* since the start; count of them are not done */
};

void saver_deletes_init(struct saver_deletes *deletes, size_t max);
void saver_deletes_deinit(struct saver_deletes *deletes);
static inline size_t saver_deletes_count(const struct saver_deletes *deletes)
{
	return deletes->count;
}
/* 0, -ENOBUFS (full) or -ENOMEM. */
HF_MUST_CHECK int saver_deletes_push(struct saver_deletes *deletes, const struct saver_name *name,
				     uint64_t message_id);
/* A DELETE for the first `rows_max` into `sql`; only when none is under way and the queue is not
 * empty. */
HF_MUST_CHECK int saver_deletes_statement(struct saver_deletes *deletes, size_t rows_max,
					  struct hf_buffer *sql);
void saver_deletes_done(struct saver_deletes *deletes);   /* its rows leave the queue */
void saver_deletes_failed(struct saver_deletes *deletes); /* they stay */

#endif
