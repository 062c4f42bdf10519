#include "owed.h"

int saver_owed_init(struct saver_owed *owed, uint32_t max, uint64_t delay_ms)
{
	*owed = (struct saver_owed){ .delay_ms = delay_ms };
	hf_slab_init(&owed->slab, sizeof(struct saver_owed_entry), max);
	for (unsigned i = 0; i < SAVER_OWED_LEVELS; i++)
		TAILQ_INIT(&owed->levels[i]);
	return hf_table_init(&owed->table);
}

void saver_owed_deinit(struct saver_owed *owed)
{
	hf_table_deinit(&owed->table);
	hf_slab_deinit(&owed->slab);
}

static struct saver_owed_entry *find(const struct saver_owed *owed, const struct saver_name *name,
				     uint64_t message_id)
{
	struct hf_table_node *node =
		hf_table_find(&owed->table, saver_message_hash(name, message_id));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_owed_entry *entry =
			HF_CONTAINER_OF(node, struct saver_owed_entry, node);

		if (entry->message_id == message_id && saver_name_equal(&entry->name, name))
			return entry;
	}
	return NULL;
}

static struct saver_owed_entry *make(struct saver_owed *owed, const struct saver_name *name,
				     uint64_t message_id)
{
	hf_handle handle;
	struct saver_owed_entry *entry = hf_slab_alloc(&owed->slab, &handle);

	if (entry == NULL)
		return NULL;
	entry->handle = handle;
	entry->message_id = message_id;
	entry->name = *name;
	hf_table_insert(&owed->table, &entry->node, saver_message_hash(name, message_id));
	return entry;
}

static uint64_t level_delay(const struct saver_owed *owed, unsigned level)
{
	return HF_MAX(owed->delay_ms, HF_MIN(owed->delay_ms << level, SAVER_OWED_LONGEST_MS));
}

bool saver_owed_add(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id,
		    uint64_t now_ms)
{
	struct saver_owed_entry *entry;

	if (find(owed, name, message_id) != NULL)
		return true;
	entry = make(owed, name, message_id);
	if (entry == NULL)
		return false;
	entry->due_ms = now_ms + level_delay(owed, 0);
	TAILQ_INSERT_TAIL(&owed->levels[0], entry, link);
	return true;
}

bool saver_owed_add_due(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id,
			uint64_t now_ms)
{
	struct saver_owed_entry *entry;

	if (find(owed, name, message_id) != NULL)
		return true;
	entry = make(owed, name, message_id);
	if (entry == NULL)
		return false;
	entry->due_ms = now_ms;
	TAILQ_INSERT_HEAD(&owed->levels[0], entry, link); /* nothing there falls due before */
	return true;
}

void saver_owed_drop(struct saver_owed *owed, struct saver_owed_entry *entry)
{
	if (!entry->in_hand)
		TAILQ_REMOVE(&owed->levels[entry->level], entry, link);
	hf_table_remove(&owed->table, &entry->node);
	hf_slab_free(&owed->slab, entry->handle);
}

void saver_owed_forget(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id)
{
	struct saver_owed_entry *entry = find(owed, name, message_id);

	if (entry != NULL)
		saver_owed_drop(owed, entry);
}

struct saver_owed_entry *saver_owed_due(struct saver_owed *owed, uint64_t now_ms)
{
	for (unsigned level = 0; level < SAVER_OWED_LEVELS; level++) {
		struct saver_owed_entry *entry = TAILQ_FIRST(&owed->levels[level]);

		if (entry == NULL || entry->due_ms > now_ms)
			continue;
		TAILQ_REMOVE(&owed->levels[level], entry, link);
		entry->in_hand = true;
		return entry;
	}
	return NULL;
}

struct saver_owed_entry *saver_owed_get(const struct saver_owed *owed, hf_handle handle)
{
	return hf_slab_get(&owed->slab, handle);
}

void saver_owed_wait(struct saver_owed *owed, struct saver_owed_entry *entry, uint64_t now_ms)
{
	entry->in_hand = false;
	entry->due_ms = now_ms + level_delay(owed, entry->level);
	TAILQ_INSERT_TAIL(&owed->levels[entry->level], entry, link);
}

bool saver_owed_again(struct saver_owed *owed, struct saver_owed_entry *entry, uint64_t now_ms)
{
	if (entry->level + 1u == SAVER_OWED_LEVELS) {
		saver_owed_drop(owed, entry);
		return false;
	}
	entry->level++;
	saver_owed_wait(owed, entry, now_ms);
	return true;
}
