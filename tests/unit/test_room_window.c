#include "test_base.h"

#include <errno.h>

#include "window.h"

static void test_an_idle_window_costs_nothing(void **state)
{
	struct pool pool;
	pool_ref window = 0;
	struct frame *frame;

	pool_init(&pool);
	assert_int_equal(window_count(&pool, window), 0);
	assert_true(window_after(&pool, window) == WINDOW_UP_TO_DATE);
	assert_false(window_has(&pool, window, 1));
	assert_false(window_remove(&pool, &window, 1, false, &frame));

	assert_int_equal(window_add(&pool, &window, 7, NULL), 0);
	assert_true(window_remove(&pool, &window, 7, false, &frame));
	assert_int_equal(window, 0);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

static void test_ids_are_known_until_acked_in_any_order(void **state)
{
	struct pool pool;
	pool_ref window = 0;
	struct frame *frame;

	pool_init(&pool);
	for (uint64_t id = 1; id <= 100; id++)
		assert_int_equal(window_add(&pool, &window, id, NULL), 0);
	assert_int_equal(window_count(&pool, window), 100);
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t id = 1 + i * 37 % 100;

		assert_true(window_has(&pool, window, id));
		assert_true(window_remove(&pool, &window, id, false, &frame));
		assert_false(window_has(&pool, window, id));
		assert_false(window_remove(&pool, &window, id, false, &frame));
	}
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

static void test_the_lowest_mark_wins_and_outlives_the_ids(void **state)
{
	struct pool pool;
	pool_ref window = 0;
	struct frame *frame;

	pool_init(&pool);
	assert_int_equal(window_add(&pool, &window, 5, NULL), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 90), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 40), 0);
	assert_int_equal(window_fall_behind(&pool, &window, 70), 0);
	for (uint64_t id = 100; id < 120; id++) /* the block grows and keeps it */
		assert_int_equal(window_add(&pool, &window, id, NULL), 0);
	assert_true(window_after(&pool, window) == 40);

	for (uint64_t id = 100; id < 120; id++)
		assert_true(window_remove(&pool, &window, id, false, &frame));
	assert_true(window_remove(&pool, &window, 5, false, &frame));
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
	struct frame *frame;
	unsigned seed = 7;

	pool_init(&pool);
	for (int step = 0; step < 20000; step++) {
		uint64_t id;

		seed = seed * 1103515245 + 12345;
		id = 1 + (seed >> 16) % 199;
		if (model[id] == SENT) {
			bool remember = seed >> 30 & 1;

			assert_true(window_remove(&pool, &window, id, remember, &frame));
			model[id] = remember ? ACKED : NONE;
		} else if (model[id] == NONE) {
			assert_false(window_remove(&pool, &window, id, true, &frame));
			assert_int_equal(window_add(&pool, &window, id, NULL), 0);
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
		window_remove(&pool, &window, id, true, &frame);
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
		assert_int_equal(window_add(&pool, &window, id, NULL), 0);
	assert_int_equal(window_add(&pool, &window, WINDOW_MAX + 1, NULL), -ENOSPC);
	window_free(&pool, &window);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

/* An ack hands out the frame that carried the message, whatever happened around it. */
static void test_frames_stay_with_their_ids(void **state)
{
	struct pool pool;
	pool_ref window = 0;
	struct frame *frames[40], *frame;

	pool_init(&pool);
	for (uint64_t id = 0; id < 40; id++) {
		frames[id] = id % 3 == 0 ? NULL : frame_new(&id, sizeof(id));
		assert_int_equal(window_add(&pool, &window, id + 1, frames[id]), 0);
	}
	assert_int_equal(window_kept_bytes(&pool, window), 26 * sizeof(uint64_t));
	for (uint64_t i = 0; i < 40; i++) {
		uint64_t id = i * 7 % 40;

		assert_true(window_remove(&pool, &window, id + 1, i % 2, &frame));
		assert_ptr_equal(frame, frames[id]);
		frame_unref(frame);
		assert_int_equal(window_was_acked(&pool, window, id + 1), i % 2);
	}
	assert_int_equal(window_kept_bytes(&pool, window), 0);
	window_forget_acked(&pool, &window);
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

static void test_what_was_sent_is_taken_by_id_and_what_was_parked_as_it_came(void **state)
{
	static const uint64_t sent[] = { 9, 3, 7, 5 }, parked[] = { 20, 12, 16 };
	static const uint64_t order[] = { 3, 7, 9, 20, 12, 16 };
	struct window_entry entries[WINDOW_MAX];
	struct pool pool;
	pool_ref window = 0;
	struct frame *frame;
	uint32_t late;

	pool_init(&pool);
	for (size_t i = 0; i < HF_ARRAY_LEN(sent); i++)
		assert_int_equal(window_add(&pool, &window, sent[i], NULL), 0);
	assert_true(window_remove(&pool, &window, 5, true, &frame));
	for (size_t i = 0; i < HF_ARRAY_LEN(parked); i++)
		assert_int_equal(window_park(&pool, &window, parked[i], NULL), 0);
	assert_true(window_has(&pool, window, 12));

	assert_int_equal(window_take(&pool, &window, entries, &late), HF_ARRAY_LEN(order));
	assert_int_equal(late, HF_ARRAY_LEN(parked));
	for (size_t i = 0; i < HF_ARRAY_LEN(order); i++)
		assert_true(entries[i].id == order[i]);
	assert_int_equal(window_count(&pool, window), 0);
	assert_true(window_was_acked(&pool, window, 5));
	assert_int_equal(window_take(&pool, &window, entries, &late), 0);
	window_forget_acked(&pool, &window);
	assert_int_equal(window, 0);
	pool_deinit(&pool);
}

static void test_a_parked_one_leaves_by_its_collapse_key_and_the_order_stays(void **state)
{
	struct window_entry entries[WINDOW_MAX];
	struct pool pool;
	pool_ref window = 0;
	struct frame *frame;
	uint32_t late, count;

	pool_init(&pool);
	for (uint64_t id = 1; id <= 9; id++) {
		frame = frame_new(&id, sizeof(id));
		frame->collapse = id % 4 + 1;
		if (id <= 3)
			assert_int_equal(window_add(&pool, &window, id, frame), 0);
		else
			assert_int_equal(window_park(&pool, &window, id, frame), 0);
	}
	assert_null(window_unpark(&pool, &window, 77));
	frame = window_unpark(&pool, &window, 2); /* 5 waits; 1 was sent, and stays */
	assert_non_null(frame);
	frame_unref(frame);
	assert_false(window_has(&pool, window, 5));
	assert_true(window_has(&pool, window, 1));
	count = window_take(&pool, &window, entries, &late);
	assert_int_equal(count, 8);
	assert_int_equal(late, 5);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(entries[i].id, i < 4 ? i + 1 : i + 2);
		assert_memory_equal(entries[i].frame->data, &entries[i].id, sizeof(uint64_t));
		frame_unref(entries[i].frame);
	}
	assert_int_equal(window, 0);
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
		cmocka_unit_test(test_frames_stay_with_their_ids),
		cmocka_unit_test(test_a_parked_one_leaves_by_its_collapse_key_and_the_order_stays),
		cmocka_unit_test(test_what_was_sent_is_taken_by_id_and_what_was_parked_as_it_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
