/* services/saver/registry_rows.h - records that MySQL has yet to get. Pure bookkeeping: no I/O.
 *
 *	QUEUED --take--> IN_FLIGHT --written--> KEPT --release--> gone
 *	   ^------failed-----+   (changed meanwhile: back to QUEUED)
 *
 * One row a registration: a change that comes while an earlier one waits takes its place. KEPT rows
 * are written, and stay until Redis has taken their name off its list of what is not: until then it
 * may have come back empty, and been filled from MySQL before this write. */
#ifndef SAVER_REGISTRY_ROWS_H
#define SAVER_REGISTRY_ROWS_H

#include <sys/queue.h>

#include "hf_slab.h"
#include "hf_table.h"
#include "value.h"

enum saver_registry_row_state {
	SAVER_REGISTRY_QUEUED,
	SAVER_REGISTRY_IN_FLIGHT,
	SAVER_REGISTRY_KEPT,
	SAVER_REGISTRY_STATES
};

/* What a batch has to write of a row. */
struct saver_registry_work {
	bool erase; /* what is there goes first: it was deleted, and perhaps made anew */
	bool tags;  /* they may differ from what is there */
};

struct saver_registry_row {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_registry_row) link;
	hf_handle handle;
	enum saver_registry_row_state state;
	bool changed; /* while in flight: it has to be written again */
	bool asked;   /* KEPT: Redis is being told */
	struct saver_registry_work work, taken;
	uint32_t value_len;
	uint8_t *value; /* NULL: there is no record any more */
	uint64_t queued_ms;
	struct saver_name name;
};
TAILQ_HEAD(saver_registry_row_list, saver_registry_row);

struct saver_registry_rows {
	struct hf_slab slab;
	struct hf_table table;
	struct saver_registry_row_list lists[SAVER_REGISTRY_STATES];
	size_t counts[SAVER_REGISTRY_STATES];
	size_t bytes, bytes_max; /* of values */
};

HF_MUST_CHECK int saver_registry_rows_init(struct saver_registry_rows *rows, uint32_t rows_max,
					   size_t bytes_max);
void saver_registry_rows_deinit(struct saver_registry_rows *rows);

struct saver_registry_row *saver_registry_rows_find(const struct saver_registry_rows *rows,
						    const struct saver_name *name);
/* The record is now `value`, copied; data NULL: gone. False over a bound: nothing was noted, and
 * an earlier row of it stays as it was. */
HF_MUST_CHECK bool saver_registry_rows_put(struct saver_registry_rows *rows,
					   const struct saver_name *name, struct hf_bytes value,
					   struct saver_registry_work work, uint64_t now_ms);
/* The next row to write, queued at or before `until_ms`; now IN_FLIGHT, its work in row->taken. */
struct saver_registry_row *saver_registry_rows_take(struct saver_registry_rows *rows,
						    uint64_t until_ms);
/* IN_FLIGHT to KEPT, or to QUEUED when it changed meanwhile. */
void saver_registry_rows_written(struct saver_registry_rows *rows, struct saver_registry_row *row);
void saver_registry_rows_failed(struct saver_registry_rows *rows, struct saver_registry_row *row);
void saver_registry_rows_drop(struct saver_registry_rows *rows, struct saver_registry_row *row);

#endif
