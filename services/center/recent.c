/* services/center/recent.c - see recent.h. */
#include "recent.h"

#include <stdlib.h>

#include "hf_hash.h"

int recent_init(struct recent *recent, size_t limit)
{
	*recent = (struct recent){ .limit = limit };
	TAILQ_INIT(&recent->order);
	return hf_table_init(&recent->table);
}

static struct recent_entry *take_oldest(struct recent *recent)
{
	struct recent_entry *entry = TAILQ_FIRST(&recent->order);

	TAILQ_REMOVE(&recent->order, entry, link);
	hf_table_remove(&recent->table, &entry->node);
	return entry;
}

void recent_deinit(struct recent *recent)
{
	if (recent->limit == 0)
		return;
	while (!TAILQ_EMPTY(&recent->order))
		free(take_oldest(recent));
	hf_table_deinit(&recent->table);
}

struct recent_entry *recent_add(struct recent *recent, uint64_t id, uint32_t app)
{
	bool full = recent->table.count >= recent->limit;
	struct recent_entry *entry = full ? take_oldest(recent) : malloc(sizeof(*entry));

	if (entry == NULL)
		return NULL;
	*entry = (struct recent_entry){ .id = id, .app = app };
	hf_table_insert(&recent->table, &entry->node, hf_hash_u64(id));
	TAILQ_INSERT_TAIL(&recent->order, entry, link);
	return entry;
}

struct recent_entry *recent_find(const struct recent *recent, uint64_t id)
{
	struct hf_table_node *node = hf_table_find(&recent->table, hf_hash_u64(id));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct recent_entry *entry = HF_CONTAINER_OF(node, struct recent_entry, node);

		if (entry->id == id)
			return entry;
	}
	return NULL;
}
