#include "test_base.h"

#include "rate.h"

#define PER_SECOND 10

/* How many events pass at one moment. */
static int burst_at(rate *bucket, uint32_t now)
{
	int passed = 0;

	while (rate_take(bucket, now, rate_cost(1, PER_SECOND), rate_cost(20, PER_SECOND)))
		passed++;
	return passed;
}

static void test_a_burst_passes_and_then_the_rate_holds(void **state)
{
	rate bucket = 0;
	uint32_t now = rate_ticks(5000);

	assert_int_equal(burst_at(&bucket, now), 20);
	assert_int_equal(burst_at(&bucket, now + rate_ticks(99)), 0);
	assert_int_equal(burst_at(&bucket, now + rate_ticks(100)), 1);
	assert_int_equal(burst_at(&bucket, now + rate_ticks(1100)), 10);
	assert_int_equal(burst_at(&bucket, now + rate_ticks(60000)), 20);
}

static void test_time_may_wrap(void **state)
{
	uint32_t now = UINT32_MAX - rate_ticks(500);
	rate bucket = now;

	assert_int_equal(burst_at(&bucket, now), 20);
	assert_int_equal(burst_at(&bucket, now + rate_ticks(1000)), 10); /* on the other side */
	assert_int_equal(burst_at(&bucket, now + rate_ticks(1000)), 0);
}

static void test_a_bucket_long_unused_is_full_again(void **state)
{
	rate bucket = 0;

	assert_int_equal(burst_at(&bucket, 1000), 20);
	assert_int_equal(burst_at(&bucket, 1000 + 0x90000000u), 20);
}

static void test_no_limit_lets_everything_pass(void **state)
{
	rate bucket = 0;

	for (int i = 0; i < 1000; i++)
		assert_true(rate_take(&bucket, 1, rate_cost(1000000, 0), rate_cost(1, 0)));
}

static void test_an_event_above_the_burst_never_passes(void **state)
{
	rate bucket = 0;

	assert_false(rate_take(&bucket, 100, rate_cost(21, PER_SECOND), rate_cost(20, PER_SECOND)));
	assert_true(rate_take(&bucket, 100, rate_cost(20, PER_SECOND), rate_cost(20, PER_SECOND)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_passes_and_then_the_rate_holds),
		cmocka_unit_test(test_time_may_wrap),
		cmocka_unit_test(test_a_bucket_long_unused_is_full_again),
		cmocka_unit_test(test_no_limit_lets_everything_pass),
		cmocka_unit_test(test_an_event_above_the_burst_never_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
