/* common/base/hf_table.h - an intrusive hash table that grows one bucket at a time.
 *
 * The node lives in the caller's record; the table owns only its buckets. It grows by linear
 * hashing (Litwin 1980): each insert splits at most two buckets, so that no insert ever pays for a
 * whole rehash. Keys are compared by the caller:
 *
 *	for (struct hf_table_node *n = hf_table_find(&t, hash); n; n = hf_table_find_next(n))
 *		if (same_key(HF_CONTAINER_OF(n, struct record, node), key)) ...
 */
#ifndef HF_TABLE_H
#define HF_TABLE_H

#include "hf_base.h"

struct hf_table_node {
	struct hf_table_node *next;
	uint64_t hash;
};

#define HF_TABLE_SEGMENT 512u

struct hf_table {
	struct hf_table_node ***segments; /* of HF_TABLE_SEGMENT buckets each */
	size_t segment_count, segment_capacity;
	size_t count;          /* nodes in the table */
	uint32_t split, level; /* linear hashing: buckets = 2^level + split */
};

int hf_table_init(struct hf_table *table);    /* 0 or -ENOMEM */
void hf_table_deinit(struct hf_table *table); /* nodes stay the caller's */
void hf_table_insert(struct hf_table *table, struct hf_table_node *node, uint64_t hash);
void hf_table_remove(struct hf_table *table, struct hf_table_node *node);
struct hf_table_node *hf_table_find(const struct hf_table *table, uint64_t hash);
struct hf_table_node *hf_table_find_next(const struct hf_table_node *node); /* same hash */

/* Walk all buckets: call with *pos = 0; each call yields the head of the next bucket that has nodes
 * (follow ->next), NULL at the end. A table that grows during a walk may show a node twice. */
struct hf_table_node *hf_table_walk(const struct hf_table *table, size_t *pos);

#endif
