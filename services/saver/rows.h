/* services/saver/rows.h - the rows that the database has yet to get. Pure bookkeeping: no I/O.
 *
 *	QUEUED --take--> IN_FLIGHT --written--> KEPT --release--> gone
 *	COMMIT --take-->     |
 *	   ^------failed-----+ (back to QUEUED)
 *
 * A row acked before its batch is taken vanishes and never costs a statement. One that is acked
 * while in flight is deleted from the database once the batch is through. KEPT rows are written,
 * but stay until Redis is known to have been there throughout (write_behind.h says why). */
#ifndef SAVER_ROWS_H
#define SAVER_ROWS_H

#include <sys/queue.h>

#include "hf_slab.h"
#include "hf_table.h"
#include "value.h"

enum saver_row_state { SAVER_ROW_QUEUED, SAVER_ROW_COMMIT, SAVER_ROW_IN_FLIGHT, SAVER_ROW_KEPT };

/* Somebody who waits for the commit of a row; embedded in the caller's record. */
struct saver_row_waiter {
	struct saver_row_waiter *next;
	void (*committed)(struct saver_row_waiter *waiter, bool ok);
};

struct saver_row {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_row) link;
	hf_handle handle;
	enum saver_row_state state;
	uint8_t class;
	bool forgotten; /* acked while in flight */
	uint64_t message_id, expires_ms, queued_ms;
	struct saver_frame *frame;
	struct saver_row_waiter *waiters;
	struct saver_name name;
};
TAILQ_HEAD(saver_row_list, saver_row);

struct saver_rows {
	struct hf_slab slab;
	struct hf_table table;
	struct saver_row_list lists[4]; /* by state */
	size_t bytes, bytes_max;        /* of frames, shared ones counted each time */
	size_t counts[4];
};

HF_MUST_CHECK int saver_rows_init(struct saver_rows *rows, uint32_t rows_max, size_t bytes_max);
void saver_rows_deinit(struct saver_rows *rows); /* waiters are not told */

struct saver_row *saver_rows_find(const struct saver_rows *rows, const struct saver_name *name,
				  uint64_t message_id);
/* The row for this message, new or known. `waiter` (may be NULL) makes it urgent. Shares `frame`.
 * NULL: over a bound. */
struct saver_row *saver_rows_add(struct saver_rows *rows, const struct saver_name *name,
				 uint64_t message_id, uint8_t class, uint64_t expires_ms,
				 struct saver_frame *frame, struct saver_row_waiter *waiter,
				 uint64_t now_ms);

enum saver_row_fate {
	SAVER_ROW_UNKNOWN,   /* not here: if it is in the database, it must be deleted there */
	SAVER_ROW_VANISHED,  /* it never got to the database and never will */
	SAVER_ROW_MUST_WAIT, /* in flight: saver_rows_written() tells when it is to be deleted */
	SAVER_ROW_WRITTEN,   /* gone here; must be deleted in the database */
};
enum saver_row_fate saver_rows_forget(struct saver_rows *rows, const struct saver_name *name,
				      uint64_t message_id);

/* The next row to write, now IN_FLIGHT: from COMMIT, or from QUEUED when queued at or before
 * `until_ms`. NULL: none. Order of arrival. */
struct saver_row *saver_rows_take(struct saver_rows *rows, enum saver_row_state from,
				  uint64_t until_ms);
/* The waiters of a row, taken off it. */
struct saver_row_waiter *saver_rows_take_waiters(struct saver_row *row);
/* After the commit: IN_FLIGHT to KEPT; true, and the row is gone, when it was forgotten meanwhile:
 * delete it in the database. */
HF_MUST_CHECK bool saver_rows_written(struct saver_rows *rows, struct saver_row *row);
/* After an outcome that is not known: back to the head of QUEUED; true as above. */
HF_MUST_CHECK bool saver_rows_failed(struct saver_rows *rows, struct saver_row *row);
/* COMMIT, not taken: nobody waits any more. It is QUEUED, or gone and true as above. */
HF_MUST_CHECK bool saver_rows_give_up(struct saver_rows *rows, struct saver_row *row);
void saver_rows_release(struct saver_rows *rows, struct saver_row *row); /* KEPT: free it */
void saver_rows_drop(struct saver_rows *rows,
		     struct saver_row *row); /* IN_FLIGHT: can't be written, ever */

#endif
