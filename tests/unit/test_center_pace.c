/* tests/unit/test_center_pace.c - promises of the pace that is shared out (services/center/pace.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pace.h"

static uint64_t sum_of(const struct pace_share *shares, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += shares[i].rate_millis;
	return sum;
}

static void test_shares_follow_what_is_left_and_add_up(void **state)
{
	struct pace_share shares[] = { { .left = 100 }, { .left = 300 }, { .left = 600 } };
	struct pace_share odd[] = { { .left = 1 }, { .left = 1 }, { .left = 1 } };

	pace_share_out(100000, shares, 3);
	assert_int_equal(shares[0].rate_millis, 10000);
	assert_int_equal(shares[1].rate_millis, 30000);
	assert_int_equal(shares[2].rate_millis, 60000);
	pace_share_out(100000, odd, 3);
	assert_int_equal(sum_of(odd, 3), 100000);
}

static void test_nobody_starves_and_no_limit_stays_none(void **state)
{
	struct pace_share shares[] = { { .left = 1000000000 }, { .left = 0 }, { .left = 1 } };

	pace_share_out(1000, shares, 3);
	assert_true(shares[0].rate_millis >= 998);
	assert_int_equal(shares[1].rate_millis, 1);
	assert_int_equal(shares[2].rate_millis, 1);
	pace_share_out(0, shares, 3);
	assert_int_equal(sum_of(shares, 3), 0);
	pace_share_out(1000, shares, 0);
}

static void test_the_largest_numbers_do_not_overflow(void **state)
{
	struct pace_share shares[1000];
	uint64_t rate = pace_rate_millis(4000000, 0, 0);

	for (size_t i = 0; i < 1000; i++)
		shares[i].left = 4000000;
	pace_share_out(rate, shares, 1000);
	assert_int_equal(rate, 4000000000);
	assert_int_equal(sum_of(shares, 1000), rate);
}

static void test_a_duration_is_a_rate_of_its_targets(void **state)
{
	assert_int_equal(pace_rate_millis(0, 900000, 9000), 10000);
	assert_int_equal(pace_rate_millis(0, 86400000, 100), 1);
	assert_int_equal(pace_rate_millis(0, 86400000, 0), 1);
	assert_int_equal(pace_rate_millis(7, 0, 0), 7000);
	assert_int_equal(pace_rate_millis(0, 0, 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_follow_what_is_left_and_add_up),
		cmocka_unit_test(test_nobody_starves_and_no_limit_stays_none),
		cmocka_unit_test(test_the_largest_numbers_do_not_overflow),
		cmocka_unit_test(test_a_duration_is_a_rate_of_its_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
