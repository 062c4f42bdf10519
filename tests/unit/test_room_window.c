#include "test_base.h"

#include <errno.h>

#include "window.h"

static void test_an_idle_window_costs_nothing(void **state)
{
	struct pool pool;
	pool_ref window = 0;

	pool_init(&pool);
	assert_int_equal(window_count(&pool, window), 0);
	assert_true(window_after(&pool, window) == WINDOW_UP_TO_DATE);
	assert_false(window_has(&pool, window, 1));
	assert_false(window_remove(&pool, &window, 1));

	assert_int_equal(window_add(&pool, &window, 7), 0);
	assert_true(window_remove(&pool, &window, 7));
	assert_int_equal(window, 0);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

static void test_ids_are_known_until_acked_in_any_order(void **state)
{
	struct pool pool;
	pool_ref window = 0;

	pool_init(&pool);
	for (uint64_t id = 1; id <= 100; id++)
		assert_int_equal(window_add(&pool, &window, id), 0);
	assert_int_equal(window_count(&pool, window), 100);
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t id = 1 + i * 37 % 100;

		assert_true(window_has(&pool, window, id));
		assert_true(window_remove(&pool, &window, id));
		assert_false(window_has(&pool, window, id));
		assert_false(window_remove(&pool, &window, id));
	}
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

static void test_the_lowest_mark_wins_and_outlives_the_ids(void **state)
{
	struct pool pool;
	pool_ref window = 0;

	pool_init(&pool);
	assert_int_equal(window_add(&pool, &window, 5), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 90), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 40), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 70), 0);
	for (uint64_t id = 100; id < 120; id++) /* the block grows and keeps it */
		assert_int_equal(window_add(&pool, &window, id), 0);
	assert_true(window_after(&pool, window) == 40);

	for (uint64_t id = 100; id < 120; id++)
		assert_true(window_remove(&pool, &window, id));
	assert_true(window_remove(&pool, &window, 5));
	assert_int_equal(window_count(&pool, window), 0);
	assert_true(window_after(&pool, window) == 40);
	window_catch_up(&pool, &window);
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

static void test_a_window_has_a_bound(void **state)
{
	struct pool pool;
	pool_ref window = 0;

	pool_init(&pool);
	for (uint64_t id = 1; id <= WINDOW_MAX; id++)
		assert_int_equal(window_add(&pool, &window, id), 0);
	assert_int_equal(window_add(&pool, &window, WINDOW_MAX + 1), -ENOSPC);
	window_free(&pool, &window);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_idle_window_costs_nothing),
		cmocka_unit_test(test_ids_are_known_until_acked_in_any_order),
		cmocka_unit_test(test_the_lowest_mark_wins_and_outlives_the_ids),
		cmocka_unit_test(test_a_window_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
