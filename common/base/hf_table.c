#include "hf_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define LEVEL_FIRST 9u /* one whole segment */
#define LEVEL_MAX   30u

static_assert(1u << LEVEL_FIRST == HF_TABLE_SEGMENT, "a table begins with one full segment");

static struct hf_table_node **bucket_at(const struct hf_table *table, size_t index)
{
	return &table->segments[index / HF_TABLE_SEGMENT][index % HF_TABLE_SEGMENT];
}

/* Buckets below `split` have been split in this round: one more bit of the hash tells which half.
 */
static struct hf_table_node **bucket_of(const struct hf_table *table, uint64_t hash)
{
	uint64_t index = hash & ((1ull << table->level) - 1);

	if (index < table->split)
		index = hash & ((2ull << table->level) - 1);
	return bucket_at(table, index);
}

static int add_segment(struct hf_table *table)
{
	struct hf_table_node **segment;

	if (table->segment_count == table->segment_capacity) {
		size_t capacity = table->segment_capacity == 0 ? 4 : table->segment_capacity * 2;
		void *segments = realloc(table->segments, capacity * sizeof(*table->segments));

		if (segments == NULL)
			return -ENOMEM;
		table->segments = segments;
		table->segment_capacity = capacity;
	}
	segment = calloc(HF_TABLE_SEGMENT, sizeof(struct hf_table_node *));
	if (segment == NULL)
		return -ENOMEM;
	table->segments[table->segment_count++] = segment;
	return 0;
}

int hf_table_init(struct hf_table *table)
{
	int err;

	*table = (struct hf_table){ .level = LEVEL_FIRST };
	err = add_segment(table);
	if (err < 0)
		hf_table_deinit(table);
	return err;
}

void hf_table_deinit(struct hf_table *table)
{
	for (size_t i = 0; i < table->segment_count; i++)
		free(table->segments[i]);
	free(table->segments);
	*table = (struct hf_table){ 0 };
}

/* Add one bucket, and move to it what belongs there from the one it splits. Out of memory is no
 * error: chains get longer, and a later insert tries again. */
static void split_one(struct hf_table *table)
{
	size_t added = ((size_t)1 << table->level) + table->split;
	struct hf_table_node **from, **to;

	if (table->level == LEVEL_MAX)
		return;
	if (added / HF_TABLE_SEGMENT == table->segment_count && add_segment(table) < 0)
		return;

	from = bucket_at(table, table->split);
	to = bucket_at(table, added);
	while (*from != NULL) {
		struct hf_table_node *node = *from;

		if (node->hash & 1ull << table->level) {
			*from = node->next;
			*to = node;
			to = &node->next;
		} else {
			from = &node->next;
		}
	}
	*to = NULL;

	if (++table->split == 1u << table->level) {
		table->level++;
		table->split = 0;
	}
}

static size_t bucket_count(const struct hf_table *table)
{
	return ((size_t)1 << table->level) + table->split;
}

void hf_table_insert(struct hf_table *table, struct hf_table_node *node, uint64_t hash)
{
	struct hf_table_node **bucket = bucket_of(table, hash);

	node->hash = hash;
	node->next = *bucket;
	*bucket = node;
	table->count++;

	/* the second catches up after splits that failed */
	for (unsigned i = 0; i < 2 && table->count > bucket_count(table); i++)
		split_one(table);
}

void hf_table_remove(struct hf_table *table, struct hf_table_node *node)
{
	struct hf_table_node **link = bucket_of(table, node->hash);

	while (*link != node) {
		assert(*link != NULL); /* not in this table */
		link = &(*link)->next;
	}
	*link = node->next;
	table->count--;
}

static struct hf_table_node *first_with(struct hf_table_node *node, uint64_t hash)
{
	while (node != NULL && node->hash != hash)
		node = node->next;
	return node;
}

struct hf_table_node *hf_table_find(const struct hf_table *table, uint64_t hash)
{
	return first_with(*bucket_of(table, hash), hash);
}

struct hf_table_node *hf_table_find_next(const struct hf_table_node *node)
{
	return first_with(node->next, node->hash);
}

struct hf_table_node *hf_table_walk(const struct hf_table *table, size_t *pos)
{
	while (*pos < bucket_count(table)) {
		struct hf_table_node *head = *bucket_at(table, (*pos)++);

		if (head != NULL)
			return head;
	}
	return NULL;
}
