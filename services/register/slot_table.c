#include "slot_table.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"

#define RECORD_HEADER 17u /* epoch, session, app, length */
#define OFFSET_BITS   24u
#define OFFSET_MASK   ((1u << OFFSET_BITS) - 1)
#define HEAP_MAX      OFFSET_MASK
#define INDEX_MIN     8u

/* Every access to the packed bytes: records are not aligned. */
static void record_read(const uint8_t *record, struct slot_session *ret)
{
	memcpy(&ret->epoch, record, 8);
	memcpy(&ret->session, record + 8, 4);
	memcpy(&ret->app, record + 12, 4);
	ret->registration = hf_bytes_of(record + RECORD_HEADER, record[16]);
}

static void record_write(uint8_t *record, const struct slot_session *session)
{
	memcpy(record, &session->epoch, 8);
	memcpy(record + 8, &session->session, 4);
	memcpy(record + 12, &session->app, 4);
	record[16] = (uint8_t)session->registration.len;
	memcpy(record + RECORD_HEADER, session->registration.data, session->registration.len);
}

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 56) << OFFSET_BITS;
}

static uint32_t home_of(const struct slot_table *table, uint64_t hash)
{
	return (uint32_t)hash & (table->index_size - 1);
}

static uint8_t *record_at(const struct slot_table *table, uint32_t word)
{
	return table->heap + (word & OFFSET_MASK) - 1;
}

static uint64_t record_hash(const uint8_t *record)
{
	struct slot_session session;

	record_read(record, &session);
	return hf_hash_registration(session.app, session.registration.data,
				    session.registration.len);
}

void slot_table_deinit(struct slot_table *table)
{
	free(table->heap);
	free(table->index);
	*table = (struct slot_table){ 0 };
}

/* Position in the index of the record for this key, or -1. */
static int64_t find_position(const struct slot_table *table, uint64_t hash, uint32_t app,
			     struct hf_bytes registration)
{
	uint32_t mask = table->index_size - 1, tag = tag_of(hash);

	if (table->count == 0)
		return -1;
	for (uint32_t i = home_of(table, hash); table->index[i] != 0; i = (i + 1) & mask) {
		struct slot_session session;

		if ((table->index[i] & ~OFFSET_MASK) != tag)
			continue;
		record_read(record_at(table, table->index[i]), &session);
		if (session.app == app && hf_bytes_equal(session.registration, registration))
			return i;
	}
	return -1;
}

bool slot_table_find(const struct slot_table *table, uint64_t hash, uint32_t app,
		     struct hf_bytes registration, struct slot_session *ret)
{
	int64_t position = find_position(table, hash, app, registration);

	if (position < 0)
		return false;
	record_read(record_at(table, table->index[position]), ret);
	return true;
}

static void index_insert(struct slot_table *table, uint64_t hash, uint32_t offset)
{
	uint32_t mask = table->index_size - 1, i = home_of(table, hash);

	while (table->index[i] != 0)
		i = (i + 1) & mask;
	table->index[i] = tag_of(hash) | (offset + 1);
}

/* A new heap and index with room for `heap_need` bytes and `count` sessions, holes left behind. */
static int rebuild(struct slot_table *table, uint32_t heap_need, uint32_t count)
{
	uint32_t index_size = INDEX_MIN;
	struct slot_table next = { 0 };

	while (index_size / 8 * 7 < count)
		index_size *= 2;
	/* An eighth of slack: the heap of a slot stays within 12 % of what it holds. */
	next.heap_capacity = HF_MIN(heap_need + heap_need / 8 + 64, HEAP_MAX);
	next.heap = malloc(next.heap_capacity);
	next.index = calloc(index_size, sizeof(*next.index));
	if (next.heap == NULL || next.index == NULL) {
		slot_table_deinit(&next);
		return -ENOMEM;
	}
	next.index_size = index_size;

	for (uint32_t i = 0; i < table->index_size; i++) {
		const uint8_t *record;
		uint32_t size;

		if (table->index[i] == 0)
			continue;
		record = record_at(table, table->index[i]);
		size = RECORD_HEADER + record[16];
		memcpy(next.heap + next.heap_len, record, size);
		index_insert(&next, record_hash(record), next.heap_len);
		next.heap_len += size;
		next.count++;
	}
	slot_table_deinit(table);
	*table = next;
	return 0;
}

int slot_table_put(struct slot_table *table, uint64_t hash, const struct slot_session *session)
{
	uint32_t size = RECORD_HEADER + (uint32_t)session->registration.len;
	int64_t position = find_position(table, hash, session->app, session->registration);

	if (position >= 0) { /* same key, same size: in place */
		record_write(record_at(table, table->index[position]), session);
		return 0;
	}

	if (table->heap_len + size > table->heap_capacity ||
	    table->count + 1 > table->index_size / 8 * 7) {
		uint32_t live = table->heap_len - table->holes;
		int err;

		if (live + size > HEAP_MAX)
			return -ENOMEM;
		err = rebuild(table, live + size, table->count + 1);
		if (err < 0)
			return err;
	}
	record_write(table->heap + table->heap_len, session);
	index_insert(table, hash, table->heap_len);
	table->heap_len += size;
	table->count++;
	return 0;
}

/* Empty one place of the index and move up what probed past it (Knuth 6.4, algorithm R). */
static void index_erase(struct slot_table *table, uint32_t hole)
{
	uint32_t mask = table->index_size - 1;

	for (uint32_t i = (hole + 1) & mask; table->index[i] != 0; i = (i + 1) & mask) {
		uint32_t home = home_of(table, record_hash(record_at(table, table->index[i])));

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			table->index[hole] = table->index[i];
			hole = i;
		}
	}
	table->index[hole] = 0;
}

static void remove_at(struct slot_table *table, uint32_t position)
{
	table->holes += RECORD_HEADER + record_at(table, table->index[position])[16];
	index_erase(table, position);
	table->count--;
}

static void pack_if_holey(struct slot_table *table)
{
	if (table->count == 0)
		slot_table_deinit(table);
	else if (table->holes > 256 && table->holes > table->heap_len / 4)
		(void)rebuild(table, table->heap_len - table->holes, table->count);
	/* When there is no memory to pack into, the holes stay until the next chance. */
}

bool slot_table_remove(struct slot_table *table, uint64_t hash, uint32_t app,
		       struct hf_bytes registration)
{
	int64_t position = find_position(table, hash, app, registration);

	if (position < 0)
		return false;
	remove_at(table, (uint32_t)position);
	pack_if_holey(table);
	return true;
}

uint32_t slot_table_remove_if(struct slot_table *table,
			      bool (*doomed)(const struct slot_session *session, void *ctx),
			      void *ctx)
{
	uint32_t removed = 0, i = 0;

	while (i < table->index_size) {
		struct slot_session session;

		if (table->index[i] == 0) {
			i++;
			continue;
		}
		record_read(record_at(table, table->index[i]), &session);
		if (!doomed(&session, ctx)) {
			i++;
			continue;
		}
		/* The erase may bring another record to this place, or wrap one around to a place
		 * behind us that was looked at before: then it was found not doomed, and looking
		 * again is harmless. */
		remove_at(table, i);
		removed++;
	}
	if (removed > 0)
		pack_if_holey(table);
	return removed;
}

size_t slot_table_bytes(const struct slot_table *table)
{
	return table->heap_capacity + table->index_size * sizeof(*table->index);
}
