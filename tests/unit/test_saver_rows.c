#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "rows.h"

struct fixture {
	struct saver_rows rows;
	struct saver_name name;
	struct saver_frame *frame;
};

struct waiter {
	struct saver_row_waiter base;
	int told;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(saver_rows_init(&f->rows, 4, 1000), 0);
	assert_true(saver_name_set(&f->name, 1, 7, "ana", 3));
	f->frame = saver_frame_new((struct hf_bytes){ 0 }, HF_BYTES_LITERAL("0123456789"));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	saver_rows_deinit(&f->rows);
	assert_int_equal(f->frame->refs, 1); /* no row keeps the frame */
	saver_frame_unref(f->frame);
	free(f);
	return 0;
}

static struct saver_row *add(struct fixture *f, uint64_t id, uint64_t now,
			     struct saver_row_waiter *waiter)
{
	return saver_rows_add(&f->rows, &f->name, id, waiter != NULL ? 2 : 1, 1000, f->frame,
			      waiter, now);
}

static void test_a_row_acked_before_its_batch_never_gets_there(void **state)
{
	struct fixture *f = *state;

	assert_non_null(add(f, 1, 100, NULL));
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 1), SAVER_ROW_VANISHED);
	assert_null(saver_rows_take(&f->rows, SAVER_ROW_QUEUED, UINT64_MAX));
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 1), SAVER_ROW_UNKNOWN);
}

static void test_rows_are_taken_in_order_when_they_are_old_enough(void **state)
{
	struct fixture *f = *state;
	struct saver_row *row;

	add(f, 1, 100, NULL);
	add(f, 2, 200, NULL);
	assert_null(saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 99));
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 150);
	assert_int_equal(row->message_id, 1);
	assert_null(saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 150));
	assert_false(saver_rows_written(&f->rows, row));
	assert_int_equal(row->state, SAVER_ROW_KEPT);
	saver_rows_release(&f->rows, row);
	assert_int_equal(f->rows.table.count, 1);
}

static void test_a_row_acked_while_in_flight_is_deleted_once_it_is_written(void **state)
{
	struct fixture *f = *state;
	struct saver_row *row;

	add(f, 1, 100, NULL);
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100);
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 1), SAVER_ROW_MUST_WAIT);
	assert_true(saver_rows_written(&f->rows, row));
	assert_null(saver_rows_find(&f->rows, &f->name, 1));

	/* The same when the outcome of the batch is not known. */
	add(f, 2, 100, NULL);
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100);
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 2), SAVER_ROW_MUST_WAIT);
	assert_true(saver_rows_failed(&f->rows, row));
}

static void test_a_failed_row_is_the_next_one_taken(void **state)
{
	struct fixture *f = *state;
	struct saver_row *row;

	add(f, 1, 100, NULL);
	add(f, 2, 100, NULL);
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100);
	assert_false(saver_rows_failed(&f->rows, row));
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100);
	assert_int_equal(row->message_id, 1);
	assert_false(saver_rows_failed(&f->rows, row));
}

static void test_a_durable_row_goes_ahead_and_keeps_all_its_waiters(void **state)
{
	struct fixture *f = *state;
	struct waiter first = { 0 }, second = { 0 };
	struct saver_row_waiter *waiters;
	struct saver_row *row;

	add(f, 1, 100, NULL);        /* stored, and queued behind... */
	add(f, 1, 100, &first.base); /* ...until somebody wants it committed */
	add(f, 1, 100, &second.base);
	assert_null(saver_rows_take(&f->rows, SAVER_ROW_QUEUED, UINT64_MAX));
	row = saver_rows_take(&f->rows, SAVER_ROW_COMMIT, 0);
	assert_non_null(row);
	waiters = saver_rows_take_waiters(row);
	assert_ptr_equal(waiters, &second.base);
	assert_ptr_equal(waiters->next, &first.base);
	assert_null(waiters->next->next);
	assert_false(saver_rows_written(&f->rows, row));
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 1), SAVER_ROW_WRITTEN);
}

static void test_a_commit_given_up_is_written_behind(void **state)
{
	struct fixture *f = *state;
	struct waiter waiter = { 0 };
	struct saver_row *row = add(f, 1, 100, &waiter.base);

	(void)saver_rows_take_waiters(row);
	assert_false(saver_rows_give_up(&f->rows, row));
	assert_ptr_equal(saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100), row);
	assert_false(saver_rows_failed(&f->rows, row));
}

static void test_a_message_stored_again_while_its_row_is_forgotten_is_owed_again(void **state)
{
	struct fixture *f = *state;
	struct saver_row *row;

	add(f, 1, 100, NULL);
	row = saver_rows_take(&f->rows, SAVER_ROW_QUEUED, 100);
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 1), SAVER_ROW_MUST_WAIT);
	assert_ptr_equal(add(f, 1, 100, NULL), row);
	assert_false(saver_rows_written(&f->rows, row));
}

static void test_rows_and_bytes_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct saver_frame *big = calloc(1, sizeof(*big) + 990);

	big->refs = 1;
	big->len = 990;
	assert_non_null(add(f, 1, 1, NULL));
	assert_non_null(saver_rows_add(&f->rows, &f->name, 2, 1, 1, big, NULL, 1));
	assert_null(add(f, 3, 1, NULL));     /* bytes */
	assert_non_null(add(f, 1, 1, NULL)); /* known already */
	assert_int_equal(saver_rows_forget(&f->rows, &f->name, 2), SAVER_ROW_VANISHED);
	assert_int_equal(big->refs, 1);
	saver_frame_unref(big);
	for (uint64_t id = 3; id <= 5; id++)
		assert_non_null(add(f, id, 1, NULL));
	assert_null(add(f, 6, 1, NULL)); /* rows */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_row_acked_before_its_batch_never_gets_there,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_rows_are_taken_in_order_when_they_are_old_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_row_acked_while_in_flight_is_deleted_once_it_is_written, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_a_failed_row_is_the_next_one_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_durable_row_goes_ahead_and_keeps_all_its_waiters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_commit_given_up_is_written_behind, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_message_stored_again_while_its_row_is_forgotten_is_owed_again, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_rows_and_bytes_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
