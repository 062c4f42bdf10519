#include "test_base.h"

#include "hf_slab.h"

struct record {
	uint64_t number;
	uint8_t rest[16];
};

static void test_a_record_is_found_by_its_handle_and_begins_zeroed(void **state)
{
	enum { COUNT = 5000 };
	static hf_handle handles[COUNT];
	struct hf_slab slab;

	hf_slab_init(&slab, sizeof(struct record), COUNT);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct record *record = hf_slab_alloc(&slab, &handles[i]);

		assert_non_null(record);
		assert_int_not_equal(handles[i], 0);
		assert_int_equal(record->number, 0);
		memset(record, 0xff, sizeof(*record));
		record->number = i;
	}
	for (uint64_t i = 0; i < COUNT; i++)
		assert_int_equal(((struct record *)hf_slab_get(&slab, handles[i]))->number, i);
	hf_slab_free(&slab, handles[0]);
	for (int i = 0; i < 1000; i++) { /* reused records are zeroed too */
		struct record *record = hf_slab_alloc(&slab, &handles[0]);

		assert_int_equal(record->number, 0);
		assert_int_equal(record->rest[15], 0);
		memset(record, 0xff, sizeof(*record));
		hf_slab_free(&slab, handles[0]);
	}
	hf_slab_deinit(&slab);
}

static void test_a_stale_handle_finds_nothing(void **state)
{
	struct hf_slab slab;
	hf_handle stale, next;

	hf_slab_init(&slab, sizeof(struct record), 10);
	assert_null(hf_slab_get(&slab, 0));
	assert_null(hf_slab_get(&slab, 0x01000001));
	assert_non_null(hf_slab_alloc(&slab, &stale));
	hf_slab_free(&slab, stale);
	assert_null(hf_slab_get(&slab, stale));

	for (unsigned i = 0; i < 127 * HF_SLAB_DEAD_MIN; i++) {
		assert_non_null(hf_slab_alloc(&slab, &next));
		assert_int_not_equal(next, stale);
		assert_null(hf_slab_get(&slab, stale));
		hf_slab_free(&slab, next);
	}
	hf_slab_deinit(&slab);
}

static void test_handles_that_were_never_given_out_find_nothing(void **state)
{
	struct hf_slab slab;
	hf_handle handle, freed;

	hf_slab_init(&slab, sizeof(struct record), 10);
	assert_non_null(hf_slab_alloc(&slab, &handle));
	assert_non_null(hf_slab_alloc(&slab, &freed));
	hf_slab_free(&slab, freed);
	for (uint32_t generation = 0; generation < 256; generation++)
		for (uint32_t index = 0; index < 2100; index += index < 4 ? 1 : 7) {
			hf_handle guess = generation << 24 | index;

			assert_true(guess == handle || hf_slab_get(&slab, guess) == NULL);
		}
	assert_null(hf_slab_get(&slab, UINT32_MAX));
	hf_slab_deinit(&slab);
}

static void test_no_more_records_live_than_the_limit(void **state)
{
	struct hf_slab slab;
	hf_handle handles[3], more;

	hf_slab_init(&slab, sizeof(struct record), 3);
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 3; i++)
			assert_non_null(hf_slab_alloc(&slab, &handles[i]));
		assert_null(hf_slab_alloc(&slab, &more));
		assert_int_equal(slab.live, 3);
		for (int i = 0; i < 3; i++)
			hf_slab_free(&slab, handles[i]);
	}
	assert_int_equal(slab.page_count, 1); /* and dead ones were used again */
	hf_slab_deinit(&slab);
}

static void test_a_walk_sees_each_live_record_once(void **state)
{
	enum { COUNT = 3000 };
	static hf_handle handles[COUNT];
	struct hf_slab slab;
	hf_handle handle;
	uint32_t pos = 0, seen = 0;

	hf_slab_init(&slab, sizeof(struct record), COUNT);
	assert_int_equal(hf_slab_next(&slab, &pos, 100), 0);
	for (int i = 0; i < COUNT; i++)
		assert_non_null(hf_slab_alloc(&slab, &handles[i]));
	for (int i = 0; i < COUNT; i++)
		if (i % 3 != 0)
			hf_slab_free(&slab, handles[i]);

	pos = 0;
	while ((handle = hf_slab_next(&slab, &pos, UINT32_MAX)) != 0)
		assert_int_equal(handle, handles[3 * seen++]);
	assert_int_equal(seen, COUNT / 3);
	assert_int_equal(pos, hf_slab_end(&slab));
	hf_slab_deinit(&slab);
}

static void test_a_walk_stops_after_so_many_steps(void **state)
{
	struct hf_slab slab;
	hf_handle handles[100];
	uint32_t pos = 0, calls = 1;

	hf_slab_init(&slab, sizeof(struct record), 100);
	for (int i = 0; i < 100; i++)
		assert_non_null(hf_slab_alloc(&slab, &handles[i]));
	for (int i = 0; i < 99; i++)
		hf_slab_free(&slab, handles[i]);

	while (hf_slab_next(&slab, &pos, 10) != handles[99]) {
		assert_int_equal(pos, calls++ * 10);
		assert_true(pos < hf_slab_end(&slab));
	}
	assert_int_equal(calls, 11);
	hf_slab_deinit(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_is_found_by_its_handle_and_begins_zeroed),
		cmocka_unit_test(test_a_stale_handle_finds_nothing),
		cmocka_unit_test(test_handles_that_were_never_given_out_find_nothing),
		cmocka_unit_test(test_no_more_records_live_than_the_limit),
		cmocka_unit_test(test_a_walk_sees_each_live_record_once),
		cmocka_unit_test(test_a_walk_stops_after_so_many_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
