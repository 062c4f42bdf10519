#include "test_base.h"

#include "pace.h"

/* Messages in `us`, asked for every `step_us`. */
static uint64_t run(struct pace *pace, uint64_t *now_us, uint64_t us, uint64_t step_us)
{
	uint64_t end_us = *now_us + us, count = 0;

	while (*now_us < end_us) {
		*now_us += step_us;
		pace_refill(pace, *now_us);
		for (; pace_may(pace); count++)
			pace_pay(pace);
	}
	return count;
}

static void test_every_second_has_its_share(void **state)
{
	static const uint64_t rates[] = { 1, 7, 100, 999, 12345, 1000000 };

	for (size_t i = 0; i < HF_ARRAY_LEN(rates); i++) {
		struct pace pace = { 0 };
		uint64_t now_us = 5000000;

		pace_set(&pace, rates[i] * 1000, now_us);
		for (int second = 0; second < 10; second++) {
			uint64_t sent = run(&pace, &now_us, 1000000, 10000);

			assert_true(sent + rates[i] / 100 + 1 >= rates[i]);
			assert_true(sent <= rates[i] + rates[i] / 100 + 1);
		}
	}
}

static void test_the_share_is_spread_over_the_second(void **state)
{
	struct pace pace = { 0 };
	uint64_t now_us = 0;

	pace_set(&pace, 1000000, now_us);
	for (int i = 0; i < 100; i++)
		assert_in_range(run(&pace, &now_us, 10000, 10000), 9, 11);
}

static void test_rates_below_one_a_second_are_exact(void **state)
{
	struct pace pace = { 0 };
	uint64_t now_us = 0;

	pace_set(&pace, 250, now_us); /* one in four seconds */
	assert_int_equal(run(&pace, &now_us, 100000000, 20000), 25);
}

static void test_a_stall_is_made_up_for_within_bounds(void **state)
{
	struct pace pace = { 0 };
	uint64_t now_us = 0;

	pace_set(&pace, 1000000, now_us);
	run(&pace, &now_us, 1000000, 10000);
	assert_in_range(run(&pace, &now_us, 50000, 50000), 49, 51);
	assert_in_range(run(&pace, &now_us, 3600000000ull, 3600000000ull), 99, 101);
}

static void test_a_new_rate_holds_at_once(void **state)
{
	struct pace pace = { 0 };
	uint64_t now_us = 0;

	pace_set(&pace, 100000000, now_us);
	now_us += 1000000; /* saved up: 10,000 */
	pace_set(&pace, 10000, now_us);
	assert_in_range(run(&pace, &now_us, 1000000, 10000), 10, 11);
	pace_set(&pace, 0, now_us);
	assert_true(pace_may(&pace));
	pace_pay(&pace);
	pace_set(&pace, 10000, now_us);
	assert_false(pace_may(&pace));
}

static void test_a_debt_is_paid_before_anything_goes(void **state)
{
	struct pace pace = { 0 };
	uint64_t now_us = 0;

	pace_set(&pace, 10000, now_us);
	for (int i = 0; i < 10; i++)
		pace_pay(&pace);
	assert_int_equal(run(&pace, &now_us, 1000000, 10000), 0);
	assert_in_range(run(&pace, &now_us, 1000000, 10000), 9, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_second_has_its_share),
		cmocka_unit_test(test_the_share_is_spread_over_the_second),
		cmocka_unit_test(test_rates_below_one_a_second_are_exact),
		cmocka_unit_test(test_a_stall_is_made_up_for_within_bounds),
		cmocka_unit_test(test_a_new_rate_holds_at_once),
		cmocka_unit_test(test_a_debt_is_paid_before_anything_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
