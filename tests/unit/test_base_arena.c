#include "test_base.h"

#include "hf_arena.h"

static void test_what_is_allocated_is_aligned_and_apart(void **state)
{
	struct hf_arena arena;
	uint8_t *before = NULL;

	hf_arena_init(&arena, 0, 0);
	for (size_t size = 0; size < 300; size++) {
		uint8_t *p = hf_arena_alloc(&arena, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_ptr_not_equal(p, before);
		memset(p, 0xaa, size);
		before = p;
	}
	hf_arena_deinit(&arena);
}

static void test_a_round_never_exceeds_its_budget(void **state)
{
	struct hf_arena arena;

	hf_arena_init(&arena, 64, 4096);
	assert_non_null(hf_arena_alloc(&arena, 33)); /* counts as 48 */
	assert_null(hf_arena_alloc(&arena, 17));
	assert_non_null(hf_arena_alloc(&arena, 16));
	assert_null(hf_arena_alloc(&arena, 1));
	assert_null(hf_arena_alloc(&arena, SIZE_MAX));
	assert_null(hf_arena_alloc(&arena, SIZE_MAX - 15));

	hf_arena_reset(&arena);
	assert_non_null(hf_arena_alloc(&arena, 64));
	hf_arena_deinit(&arena);
}

static void allocate_round(struct hf_arena *arena, size_t bytes, void **ret_first)
{
	*ret_first = hf_arena_alloc(arena, 1000);
	for (size_t done = 1000; done < bytes; done += 1000)
		assert_non_null(hf_arena_alloc(arena, 1000));
}

static void test_a_busy_arena_stops_asking_malloc(void **state)
{
	struct hf_arena arena;
	void *first, *again;

	hf_arena_init(&arena, 0, 1 << 20);
	allocate_round(&arena, 100000, &first);
	hf_arena_reset(&arena); /* now it knows how much a round takes */
	for (int round = 0; round < 3; round++) {
		allocate_round(&arena, 100000, &again);
		if (round > 0)
			assert_ptr_equal(again, first);
		first = again;
		hf_arena_reset(&arena);
	}
	hf_arena_deinit(&arena);
}

static void test_one_large_round_leaves_no_more_than_keep_behind(void **state)
{
	struct hf_arena arena;
	void *first, *again;

	hf_arena_init(&arena, 0, 8192);
	allocate_round(&arena, 1000000, &first);
	hf_arena_reset(&arena);
	assert_null(arena.chunks);

	allocate_round(&arena, 2000, &first);
	hf_arena_reset(&arena);
	allocate_round(&arena, 1000000, &again); /* begins where the small one did */
	assert_ptr_equal(again, first);
	hf_arena_reset(&arena);
	assert_int_equal(arena.end - arena.pos, 8192);
	hf_arena_deinit(&arena);
}

static void test_an_arena_that_keeps_nothing_holds_nothing_after_a_reset(void **state)
{
	struct hf_arena arena;

	hf_arena_init(&arena, 0, 0);
	assert_non_null(hf_arena_alloc(&arena, 1));
	hf_arena_reset(&arena);
	assert_null(arena.chunks);
	hf_arena_reset(&arena);
	hf_arena_deinit(&arena);
}

static void test_copies_and_texts_are_what_was_given(void **state)
{
	struct hf_arena arena;
	uint8_t *zeros;

	hf_arena_init(&arena, 200, 4096);
	memset(hf_arena_copy(&arena, "holdfast", 9), 0xff, 9);
	hf_arena_reset(&arena);
	zeros = hf_arena_zalloc(&arena, 9);
	for (int i = 0; i < 9; i++)
		assert_int_equal(zeros[i], 0);
	assert_string_equal(hf_arena_copy(&arena, "holdfast", 9), "holdfast");
	assert_non_null(hf_arena_copy(&arena, NULL, 0));
	assert_string_equal(hf_arena_printf(&arena, "room-%d", 7), "room-7");
	assert_null(hf_arena_printf(&arena, "%0200d", 7));
	hf_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_allocated_is_aligned_and_apart),
		cmocka_unit_test(test_a_round_never_exceeds_its_budget),
		cmocka_unit_test(test_a_busy_arena_stops_asking_malloc),
		cmocka_unit_test(test_one_large_round_leaves_no_more_than_keep_behind),
		cmocka_unit_test(test_an_arena_that_keeps_nothing_holds_nothing_after_a_reset),
		cmocka_unit_test(test_copies_and_texts_are_what_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
