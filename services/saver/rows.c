#include "rows.h"

#include <assert.h>
#include <errno.h>

int saver_rows_init(struct saver_rows *rows, uint32_t rows_max, size_t bytes_max)
{
	*rows = (struct saver_rows){ .bytes_max = bytes_max };
	hf_slab_init(&rows->slab, sizeof(struct saver_row), rows_max);
	for (unsigned i = 0; i < HF_ARRAY_LEN(rows->lists); i++)
		TAILQ_INIT(&rows->lists[i]);
	return hf_table_init(&rows->table);
}

void saver_rows_deinit(struct saver_rows *rows)
{
	struct saver_row *row;

	for (unsigned i = 0; i < HF_ARRAY_LEN(rows->lists); i++) {
		TAILQ_FOREACH (row, &rows->lists[i], link)
			saver_frame_unref(row->frame);
	}
	hf_table_deinit(&rows->table);
	hf_slab_deinit(&rows->slab);
}

/* The only writer of row->state: lists[X] holds exactly the rows in state X. */
static void set_state(struct saver_rows *rows, struct saver_row *row, enum saver_row_state next,
		      bool at_head)
{
	TAILQ_REMOVE(&rows->lists[row->state], row, link);
	rows->counts[row->state]--;
	row->state = next;
	if (at_head)
		TAILQ_INSERT_HEAD(&rows->lists[next], row, link);
	else
		TAILQ_INSERT_TAIL(&rows->lists[next], row, link);
	rows->counts[next]++;
}

static void row_free(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->waiters == NULL);
	TAILQ_REMOVE(&rows->lists[row->state], row, link);
	rows->counts[row->state]--;
	hf_table_remove(&rows->table, &row->node);
	rows->bytes -= row->frame->len;
	saver_frame_unref(row->frame);
	hf_slab_free(&rows->slab, row->handle);
}

struct saver_row *saver_rows_find(const struct saver_rows *rows, const struct saver_name *name,
				  uint64_t message_id)
{
	struct hf_table_node *node =
		hf_table_find(&rows->table, saver_message_hash(name, message_id));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_row *row = HF_CONTAINER_OF(node, struct saver_row, node);

		if (row->message_id == message_id && saver_name_equal(&row->name, name))
			return row;
	}
	return NULL;
}

struct saver_row *saver_rows_add(struct saver_rows *rows, const struct saver_name *name,
				 uint64_t message_id, uint8_t class, uint64_t expires_ms,
				 struct saver_frame *frame, struct saver_row_waiter *waiter,
				 uint64_t now_ms)
{
	struct saver_row *row = saver_rows_find(rows, name, message_id);
	hf_handle handle;

	if (row == NULL) {
		if (rows->bytes + frame->len > rows->bytes_max)
			return NULL;
		row = hf_slab_alloc(&rows->slab, &handle);
		if (row == NULL)
			return NULL;
		row->handle = handle;
		row->class = class;
		row->message_id = message_id;
		row->expires_ms = expires_ms;
		row->queued_ms = now_ms;
		row->frame = saver_frame_ref(frame);
		row->name = *name;
		row->state = SAVER_ROW_QUEUED;
		rows->bytes += frame->len;
		hf_table_insert(&rows->table, &row->node, saver_message_hash(name, message_id));
		TAILQ_INSERT_TAIL(&rows->lists[SAVER_ROW_QUEUED], row, link);
		rows->counts[SAVER_ROW_QUEUED]++;
	}
	row->forgotten = false; /* stored again: owed again */
	if (waiter != NULL) {
		waiter->next = row->waiters;
		row->waiters = waiter;
		if (row->state == SAVER_ROW_QUEUED || row->state == SAVER_ROW_KEPT)
			set_state(rows, row, SAVER_ROW_COMMIT, false);
	}
	return row;
}

enum saver_row_fate saver_rows_forget(struct saver_rows *rows, const struct saver_name *name,
				      uint64_t message_id)
{
	struct saver_row *row = saver_rows_find(rows, name, message_id);

	if (row == NULL)
		return SAVER_ROW_UNKNOWN;
	switch (row->state) {
	case SAVER_ROW_QUEUED:
		row_free(rows, row);
		return SAVER_ROW_VANISHED;
	case SAVER_ROW_KEPT:
		row_free(rows, row);
		return SAVER_ROW_WRITTEN;
	case SAVER_ROW_COMMIT: /* somebody waits: let it be written, then deleted */
	case SAVER_ROW_IN_FLIGHT:
		row->forgotten = true;
		return SAVER_ROW_MUST_WAIT;
	}
	return SAVER_ROW_UNKNOWN;
}

struct saver_row *saver_rows_take(struct saver_rows *rows, enum saver_row_state from,
				  uint64_t until_ms)
{
	struct saver_row *row = TAILQ_FIRST(&rows->lists[from]);

	assert(from == SAVER_ROW_QUEUED || from == SAVER_ROW_COMMIT);
	if (row == NULL || (from == SAVER_ROW_QUEUED && row->queued_ms > until_ms))
		return NULL;
	set_state(rows, row, SAVER_ROW_IN_FLIGHT, false);
	return row;
}

struct saver_row_waiter *saver_rows_take_waiters(struct saver_row *row)
{
	struct saver_row_waiter *waiters = row->waiters;

	row->waiters = NULL;
	return waiters;
}

bool saver_rows_written(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->state == SAVER_ROW_IN_FLIGHT);
	if (row->forgotten) {
		row_free(rows, row);
		return true;
	}
	set_state(rows, row, SAVER_ROW_KEPT, false);
	return false;
}

bool saver_rows_failed(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->state == SAVER_ROW_IN_FLIGHT);
	if (row->forgotten) { /* perhaps it was written: to be deleted to make sure */
		row_free(rows, row);
		return true;
	}
	set_state(rows, row, SAVER_ROW_QUEUED, true);
	return false;
}

bool saver_rows_give_up(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->state == SAVER_ROW_COMMIT);
	if (row->forgotten) {
		row_free(rows, row);
		return true;
	}
	set_state(rows, row, SAVER_ROW_QUEUED, false);
	return false;
}

void saver_rows_release(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->state == SAVER_ROW_KEPT);
	row_free(rows, row);
}

void saver_rows_drop(struct saver_rows *rows, struct saver_row *row)
{
	assert(row->state == SAVER_ROW_IN_FLIGHT);
	row_free(rows, row);
}
