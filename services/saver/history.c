#include "history.h"

#include "hf_hash.h"

int saver_history_init(struct saver_history *history, uint32_t max)
{
	*history = (struct saver_history){ 0 };
	hf_slab_init(&history->slab, sizeof(struct saver_history_record), max);
	TAILQ_INIT(&history->list);
	return hf_table_init(&history->table);
}

void saver_history_deinit(struct saver_history *history)
{
	hf_table_deinit(&history->table);
	hf_slab_deinit(&history->slab);
}

static struct saver_history_record *find(const struct saver_history *history, uint32_t app,
					 uint64_t message_id)
{
	struct hf_table_node *node = hf_table_find(&history->table, hf_hash_u64(message_id));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_history_record *record =
			HF_CONTAINER_OF(node, struct saver_history_record, node);

		if (record->message_id == message_id && record->app == app)
			return record;
	}
	return NULL;
}

static struct saver_history_record *make(struct saver_history *history)
{
	struct saver_history_record *oldest = TAILQ_FIRST(&history->list), *record;
	hf_handle handle;

	if (history->slab.live >= history->slab.limit && oldest != NULL) {
		TAILQ_REMOVE(&history->list, oldest, link);
		hf_table_remove(&history->table, &oldest->node);
		hf_slab_free(&history->slab, oldest->handle);
	}
	record = hf_slab_alloc(&history->slab, &handle);
	if (record == NULL)
		return NULL;
	record->handle = handle;
	TAILQ_INSERT_TAIL(&history->list, record, link);
	return record;
}

void saver_history_stored(struct saver_history *history, uint32_t app, uint64_t message_id,
			  uint8_t class, uint64_t expires_ms, bool options)
{
	struct saver_history_record *record = find(history, app, message_id);

	if (record == NULL) {
		record = make(history);
		if (record == NULL)
			return;
		record->app = app;
		record->message_id = message_id;
		record->class = class;
		record->expires_ms = expires_ms;
		hf_table_insert(&history->table, &record->node, hf_hash_u64(message_id));
	}
	record->counts[SAVER_STORED]++;
	record->options |= options;
}

bool saver_history_plain(const struct saver_history *history, uint32_t app, uint64_t message_id)
{
	const struct saver_history_record *record = find(history, app, message_id);

	return record != NULL && !record->options;
}

void saver_history_left(struct saver_history *history, uint32_t app, uint64_t message_id,
			enum saver_fate fate)
{
	struct saver_history_record *record = find(history, app, message_id);

	if (record != NULL)
		record->counts[fate >= SAVER_PURGED ? SAVER_DROPPED : fate]++;
}

const struct saver_history_record *saver_history_find(const struct saver_history *history,
						      uint32_t app, uint64_t message_id)
{
	return find(history, app, message_id);
}
