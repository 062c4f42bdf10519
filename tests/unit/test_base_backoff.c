#include "test_base.h"

#include "hf_backoff.h"

static void test_delays_stay_below_the_doubling_ceiling_and_the_cap(void **state)
{
	for (int round = 0; round < 200; round++) {
		struct hf_backoff backoff = { .base_ms = 100, .cap_ms = 5000 };
		uint32_t ceiling = 100;

		for (int i = 0; i < 60; i++) {
			assert_true(hf_backoff_next_ms(&backoff) <= HF_MIN(ceiling, 5000u));
			ceiling = HF_MIN(ceiling * 2, 5000u);
		}
	}
}

static void test_delays_are_spread_over_the_whole_range(void **state)
{
	struct hf_backoff backoff = { .base_ms = 1000, .cap_ms = 1000 };
	unsigned low = 0, high = 0;

	for (int i = 0; i < 4000; i++) {
		uint32_t delay = hf_backoff_next_ms(&backoff);

		low += delay < 250;
		high += delay > 750;
	}
	assert_in_range(low, 800, 1200);
	assert_in_range(high, 800, 1200);
}

static void test_a_reset_begins_at_the_base_again(void **state)
{
	struct hf_backoff backoff = { .base_ms = 2, .cap_ms = UINT32_MAX };

	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 100; i++)
			hf_backoff_next_ms(&backoff);
		hf_backoff_reset(&backoff);
		assert_true(hf_backoff_next_ms(&backoff) <= 2);
	}
}

static void test_endless_failure_ends_at_the_cap(void **state)
{
	struct hf_backoff backoff = { .base_ms = UINT32_MAX, .cap_ms = 10, .attempts = UINT32_MAX };

	assert_true(hf_backoff_next_ms(&backoff) <= 10);
	assert_true(backoff.attempts == UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delays_stay_below_the_doubling_ceiling_and_the_cap),
		cmocka_unit_test(test_delays_are_spread_over_the_whole_range),
		cmocka_unit_test(test_a_reset_begins_at_the_base_again),
		cmocka_unit_test(test_endless_failure_ends_at_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
