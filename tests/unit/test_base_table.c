#include "test_base.h"

#include "hf_hash.h"
#include "hf_table.h"

struct record {
	struct hf_table_node node;
	uint64_t key;
};

static struct record *find(const struct hf_table *table, uint64_t key, uint64_t hash)
{
	for (struct hf_table_node *n = hf_table_find(table, hash); n; n = hf_table_find_next(n)) {
		struct record *record = HF_CONTAINER_OF(n, struct record, node);

		if (record->key == key)
			return record;
	}
	return NULL;
}

static void insert_range(struct hf_table *table, struct record *records, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		records[i].key = i;
		hf_table_insert(table, &records[i].node, hf_hash_u64(i));
	}
}

static void test_what_was_inserted_is_found_until_removed(void **state)
{
	enum { COUNT = 20000 };
	struct record *records = calloc(COUNT, sizeof(*records));
	struct hf_table table;

	assert_int_equal(hf_table_init(&table), 0);
	assert_null(hf_table_find(&table, 42));
	insert_range(&table, records, COUNT);
	assert_int_equal(table.count, COUNT);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_ptr_equal(find(&table, i, hf_hash_u64(i)), &records[i]);
	assert_null(find(&table, COUNT, hf_hash_u64(COUNT)));

	for (uint64_t i = 0; i < COUNT; i += 2)
		hf_table_remove(&table, &records[i].node);
	assert_int_equal(table.count, COUNT / 2);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_ptr_equal(find(&table, i, hf_hash_u64(i)), i % 2 ? &records[i] : NULL);
	hf_table_deinit(&table);
	free(records);
}

static void test_keys_of_one_hash_are_told_apart(void **state)
{
	struct record records[3] = { { .key = 1 }, { .key = 2 }, { .key = 3 } };
	struct hf_table table;

	assert_int_equal(hf_table_init(&table), 0);
	for (int i = 0; i < 3; i++)
		hf_table_insert(&table, &records[i].node, 7);
	for (int i = 0; i < 3; i++)
		assert_ptr_equal(find(&table, records[i].key, 7), &records[i]);
	hf_table_remove(&table, &records[1].node);
	assert_null(find(&table, 2, 7));
	assert_ptr_equal(find(&table, 1, 7), &records[0]);
	assert_ptr_equal(find(&table, 3, 7), &records[2]);
	hf_table_deinit(&table);
}

static void test_an_insert_adds_two_buckets_at_most(void **state)
{
	enum { COUNT = 5000 };
	struct record *records = calloc(COUNT, sizeof(*records));
	struct hf_table table;
	size_t buckets = HF_TABLE_SEGMENT;

	assert_int_equal(hf_table_init(&table), 0);
	for (uint64_t i = 0; i < COUNT; i++) {
		size_t now;

		hf_table_insert(&table, &records[i].node, hf_hash_u64(i));
		now = ((size_t)1 << table.level) + table.split;
		assert_in_range(now, buckets, buckets + 2);
		assert_true(now >= table.count || now == HF_TABLE_SEGMENT);
		buckets = now;
	}
	hf_table_deinit(&table);
	free(records);
}

static void test_a_walk_shows_every_node_once(void **state)
{
	enum { COUNT = 3000 };
	struct record *records = calloc(COUNT, sizeof(*records));
	bool *seen = calloc(COUNT, sizeof(*seen));
	struct hf_table_node *head;
	struct hf_table table;
	size_t pos = 0, count = 0;

	assert_int_equal(hf_table_init(&table), 0);
	assert_null(hf_table_walk(&table, &pos));
	insert_range(&table, records, COUNT);
	pos = 0;
	while ((head = hf_table_walk(&table, &pos)) != NULL) {
		for (; head != NULL; head = head->next, count++) {
			struct record *record = HF_CONTAINER_OF(head, struct record, node);

			assert_false(seen[record->key]);
			seen[record->key] = true;
		}
	}
	assert_int_equal(count, COUNT);
	hf_table_deinit(&table);
	free(records);
	free(seen);
}

static void test_a_walk_misses_no_node_while_the_table_grows(void **state)
{
	enum { COUNT = 1000, MORE = 4000 };
	struct record *records = calloc(COUNT + MORE, sizeof(*records));
	bool *seen = calloc(COUNT + MORE, sizeof(*seen));
	struct hf_table_node *head;
	struct hf_table table;
	size_t pos = 0, added = COUNT;

	assert_int_equal(hf_table_init(&table), 0);
	insert_range(&table, records, COUNT);
	while ((head = hf_table_walk(&table, &pos)) != NULL) {
		for (; head != NULL; head = head->next)
			seen[HF_CONTAINER_OF(head, struct record, node)->key] = true;
		for (int i = 0; i < 3 && added < COUNT + MORE; i++, added++) {
			records[added].key = added;
			hf_table_insert(&table, &records[added].node, hf_hash_u64(added));
		}
	}
	for (size_t i = 0; i < COUNT; i++)
		assert_true(seen[i]);
	hf_table_deinit(&table);
	free(records);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_inserted_is_found_until_removed),
		cmocka_unit_test(test_keys_of_one_hash_are_told_apart),
		cmocka_unit_test(test_an_insert_adds_two_buckets_at_most),
		cmocka_unit_test(test_a_walk_shows_every_node_once),
		cmocka_unit_test(test_a_walk_misses_no_node_while_the_table_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
