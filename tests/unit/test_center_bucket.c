/* tests/unit/test_center_bucket.c - promises of the token bucket (services/center/bucket.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bucket.h"

static void test_the_burst_passes_at_once_and_no_more(void **state)
{
	struct bucket bucket;

	bucket_init(&bucket, 10, 1000);
	for (unsigned i = 0; i < 10; i++)
		assert_true(bucket_take(&bucket, 5, 10, 1, 1000));
	assert_false(bucket_take(&bucket, 5, 10, 1, 1000));
	assert_int_equal(bucket_left(&bucket), 0);
	assert_int_equal(bucket_wait_ms(&bucket, 5, 10, 1), 200);
}

static void test_a_client_that_waits_as_told_passes(void **state)
{
	struct bucket bucket;
	uint64_t now_ms = 1000;

	bucket_init(&bucket, 3, now_ms);
	assert_true(bucket_take(&bucket, 7, 3, 3, now_ms));
	for (unsigned i = 0; i < 100; i++) {
		assert_false(bucket_take(&bucket, 7, 3, 1, now_ms));
		now_ms += bucket_wait_ms(&bucket, 7, 3, 1);
		assert_true(bucket_take(&bucket, 7, 3, 1, now_ms));
	}
}

static void test_a_cost_above_the_burst_passes_when_full_and_is_paid_back(void **state)
{
	struct bucket bucket;

	bucket_init(&bucket, 10, 0);
	assert_true(bucket_take(&bucket, 10, 10, 100, 0));
	assert_int_equal(bucket_left(&bucket), 0);
	assert_false(bucket_take(&bucket, 10, 10, 1, 9000));
	assert_true(bucket_take(&bucket, 10, 10, 1, 9100));
	assert_false(bucket_take(&bucket, 10, 10, 100, 9100)); /* not full */
}

static void test_it_never_holds_more_than_the_burst(void **state)
{
	struct bucket bucket;

	bucket_init(&bucket, 4, 0);
	assert_true(bucket_take(&bucket, 1000, 4, 0, 1000000));
	assert_int_equal(bucket_left(&bucket), 4);
	bucket_refund(&bucket, 4, 100);
	assert_int_equal(bucket_left(&bucket), 4);
	assert_true(bucket_take(&bucket, 1000, 2, 0, 1000000)); /* made smaller meanwhile */
	assert_int_equal(bucket_left(&bucket), 2);
}

static void test_a_clock_that_stands_still_gives_nothing(void **state)
{
	struct bucket bucket;

	bucket_init(&bucket, 1, 5000);
	assert_true(bucket_take(&bucket, 1000, 1, 1, 5000));
	assert_false(bucket_take(&bucket, 1000, 1, 1, 5000));
	assert_false(bucket_take(&bucket, 1000, 1, 1, 4000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_burst_passes_at_once_and_no_more),
		cmocka_unit_test(test_a_client_that_waits_as_told_passes),
		cmocka_unit_test(test_a_cost_above_the_burst_passes_when_full_and_is_paid_back),
		cmocka_unit_test(test_it_never_holds_more_than_the_burst),
		cmocka_unit_test(test_a_clock_that_stands_still_gives_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
