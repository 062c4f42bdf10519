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
	assert_false(window_remove(&pool, &window, 1, false));

	assert_int_equal(window_add(&pool, &window, 7), 0);
	assert_true(window_remove(&pool, &window, 7, false));
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
		assert_true(window_remove(&pool, &window, id, false));
		assert_false(window_has(&pool, window, id));
		assert_false(window_remove(&pool, &window, id, false));
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
		assert_true(window_remove(&pool, &window, id, false));
	assert_true(window_remove(&pool, &window, 5, false));
	assert_int_equal(window_count(&pool, window), 0);
	assert_true(window_after(&pool, window) == 40);
	window_catch_up(&pool, &window);
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

/* Against a plain model: which ids are unacked, which were acked and are remembered. */
static void test_acked_ids_are_remembered_until_forgotten(void **state)
{
	enum { NONE, SENT, ACKED } model[200] = { NONE };
	struct pool pool;
	pool_ref window = 0;
	unsigned seed = 7;

	pool_init(&pool);
	for (int step = 0; step < 20000; step++) {
		uint64_t id;

		seed = seed * 1103515245 + 12345;
		id = 1 + (seed >> 16) % 199;
		if (model[id] == SENT) {
			bool remember = seed >> 30 & 1;

			assert_true(window_remove(&pool, &window, id, remember));
			model[id] = remember ? ACKED : NONE;
		} else if (model[id] == NONE) {
			assert_false(window_remove(&pool, &window, id, true));
			assert_int_equal(window_add(&pool, &window, id), 0);
			model[id] = SENT;
		} else if ((seed >> 20) % 500 == 0) {
			window_forget_acked(&pool, &window);
			for (size_t i = 0; i < HF_ARRAY_LEN(model); i++)
				model[i] = model[i] == ACKED ? NONE : model[i];
		}
		assert_int_equal(window_has(&pool, window, id), model[id] == SENT);
		assert_int_equal(window_was_acked(&pool, window, id), model[id] == ACKED);
	}
	for (uint64_t id = 1; id < HF_ARRAY_LEN(model); id++) {
		assert_int_equal(window_has(&pool, window, id), model[id] == SENT);
		assert_int_equal(window_was_acked(&pool, window, id), model[id] == ACKED);
		window_remove(&pool, &window, id, true);
	}
	window_forget_acked(&pool, &window);
	assert_int_equal(window, 0);
	assert_int_equal(pool.used, 0);
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
		cmocka_unit_test(test_acked_ids_are_remembered_until_forgotten),
		cmocka_unit_test(test_a_window_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
