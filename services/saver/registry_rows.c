#include "registry_rows.h"

#include <assert.h>
#include <stdlib.h>

int saver_registry_rows_init(struct saver_registry_rows *rows, uint32_t rows_max, size_t bytes_max)
{
	*rows = (struct saver_registry_rows){ .bytes_max = bytes_max };
	hf_slab_init(&rows->slab, sizeof(struct saver_registry_row), rows_max);
	for (unsigned i = 0; i < SAVER_REGISTRY_STATES; i++)
		TAILQ_INIT(&rows->lists[i]);
	return hf_table_init(&rows->table);
}

void saver_registry_rows_deinit(struct saver_registry_rows *rows)
{
	struct saver_registry_row *row;

	for (unsigned i = 0; i < SAVER_REGISTRY_STATES; i++) {
		TAILQ_FOREACH (row, &rows->lists[i], link)
			free(row->value);
	}
	hf_table_deinit(&rows->table);
	hf_slab_deinit(&rows->slab);
}

struct saver_registry_row *saver_registry_rows_find(const struct saver_registry_rows *rows,
						    const struct saver_name *name)
{
	struct hf_table_node *node = hf_table_find(&rows->table, name->hash);

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_registry_row *row =
			HF_CONTAINER_OF(node, struct saver_registry_row, node);

		if (saver_name_equal(&row->name, name))
			return row;
	}
	return NULL;
}

static void insert(struct saver_registry_rows *rows, struct saver_registry_row *row,
		   enum saver_registry_row_state state, bool at_head)
{
	row->state = state;
	if (at_head)
		TAILQ_INSERT_HEAD(&rows->lists[state], row, link);
	else
		TAILQ_INSERT_TAIL(&rows->lists[state], row, link);
	rows->counts[state]++;
}

static void set_state(struct saver_registry_rows *rows, struct saver_registry_row *row,
		      enum saver_registry_row_state next, bool at_head)
{
	TAILQ_REMOVE(&rows->lists[row->state], row, link);
	rows->counts[row->state]--;
	insert(rows, row, next, at_head);
}

void saver_registry_rows_drop(struct saver_registry_rows *rows, struct saver_registry_row *row)
{
	TAILQ_REMOVE(&rows->lists[row->state], row, link);
	rows->counts[row->state]--;
	hf_table_remove(&rows->table, &row->node);
	rows->bytes -= row->value_len;
	free(row->value);
	hf_slab_free(&rows->slab, row->handle);
}

static struct saver_registry_row *add(struct saver_registry_rows *rows,
				      const struct saver_name *name)
{
	hf_handle handle;
	struct saver_registry_row *row = hf_slab_alloc(&rows->slab, &handle);

	if (row == NULL)
		return NULL;
	row->handle = handle;
	row->name = *name;
	hf_table_insert(&rows->table, &row->node, name->hash);
	insert(rows, row, SAVER_REGISTRY_QUEUED, false);
	return row;
}

bool saver_registry_rows_put(struct saver_registry_rows *rows, const struct saver_name *name,
			     struct hf_bytes value, struct saver_registry_work work,
			     uint64_t now_ms)
{
	struct saver_registry_row *row = saver_registry_rows_find(rows, name);
	uint8_t *copy = NULL;
	bool is_new = row == NULL;

	if (rows->bytes + value.len - (is_new ? 0 : row->value_len) > rows->bytes_max)
		return false;
	if (value.data != NULL) {
		copy = malloc(value.len);
		if (copy == NULL)
			return false;
		memcpy(copy, value.data, value.len);
	}
	if (is_new)
		row = add(rows, name);
	if (row == NULL) {
		free(copy);
		return false;
	}
	if (is_new || row->state == SAVER_REGISTRY_KEPT)
		row->queued_ms = now_ms;
	if (row->state == SAVER_REGISTRY_KEPT)
		set_state(rows, row, SAVER_REGISTRY_QUEUED, false);
	row->changed = row->state == SAVER_REGISTRY_IN_FLIGHT;
	rows->bytes += value.len - row->value_len;
	free(row->value);
	row->value = copy;
	row->value_len = (uint32_t)value.len;
	row->work.erase |= work.erase;
	row->work.tags |= work.tags;
	return true;
}

struct saver_registry_row *saver_registry_rows_take(struct saver_registry_rows *rows,
						    uint64_t until_ms)
{
	struct saver_registry_row *row = TAILQ_FIRST(&rows->lists[SAVER_REGISTRY_QUEUED]);

	if (row == NULL || row->queued_ms > until_ms)
		return NULL;
	set_state(rows, row, SAVER_REGISTRY_IN_FLIGHT, false);
	row->taken = row->work;
	row->work = (struct saver_registry_work){ 0 };
	row->changed = false;
	return row;
}

void saver_registry_rows_written(struct saver_registry_rows *rows, struct saver_registry_row *row)
{
	assert(row->state == SAVER_REGISTRY_IN_FLIGHT);
	row->asked = false;
	set_state(rows, row, row->changed ? SAVER_REGISTRY_QUEUED : SAVER_REGISTRY_KEPT, false);
}

void saver_registry_rows_failed(struct saver_registry_rows *rows, struct saver_registry_row *row)
{
	assert(row->state == SAVER_REGISTRY_IN_FLIGHT);
	row->work.erase |= row->taken.erase;
	row->work.tags |= row->taken.tags;
	set_state(rows, row, SAVER_REGISTRY_QUEUED, true);
}
