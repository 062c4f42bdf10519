#include "test_base.h"

#include "hf_hash.h"
#include "hf_histogram.h"

static struct hf_histogram histogram, other;

static int forget(void **state)
{
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
	return 0;
}

static void test_an_empty_histogram_answers_zero(void **state)
{
	assert_int_equal(hf_histogram_quantile(&histogram, 0.99), 0);
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, UINT64_MAX), 0);
}

static void test_a_value_is_known_to_three_percent(void **state)
{
	for (uint64_t value = 0; value < 1ull << 40; value = value * 5 / 4 + 1) {
		uint64_t edge;

		forget(NULL);
		hf_histogram_record(&histogram, value);
		edge = hf_histogram_quantile(&histogram, 0.5);
		assert_in_range(edge, value, value + value / 31);
		if (value < 64)
			assert_int_equal(edge, value); /* these are exact */
		assert_int_equal(histogram.sum, value);
		assert_int_equal(histogram.max, value);
	}
}

static void test_quantiles_of_one_to_a_thousand(void **state)
{
	for (uint64_t value = 1; value <= 1000; value++)
		hf_histogram_record(&histogram, value);
	assert_int_equal(hf_histogram_quantile(&histogram, 0), 1);
	assert_int_equal(hf_histogram_quantile(&histogram, -1), 1);
	assert_in_range(hf_histogram_quantile(&histogram, 0.5), 500, 516);
	assert_in_range(hf_histogram_quantile(&histogram, 0.99), 990, 1023);
	assert_in_range(hf_histogram_quantile(&histogram, 1), 1000, 1032);
	assert_in_range(hf_histogram_quantile(&histogram, 2), 1000, 1032);
	assert_int_equal(histogram.count, 1000);
	assert_int_equal(histogram.sum, 500500);
}

static void test_values_beyond_the_range_count_as_the_largest(void **state)
{
	hf_histogram_record(&histogram, UINT64_MAX);
	hf_histogram_record(&histogram, 1ull << 40);
	assert_int_equal(histogram.max, (1ull << 40) - 1);
	assert_int_equal(hf_histogram_quantile(&histogram, 1), (1ull << 40) - 1);
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, (1ull << 40) - 1), 2);
}

static void test_counts_below_grow_with_the_value_and_miss_none(void **state)
{
	static const uint64_t bounds[] = { 0, 10, 31, 32, 63, 64, 100, 1000, 100000, UINT64_MAX };
	uint64_t before = 0;

	for (int i = 0; i < 10000; i++)
		hf_histogram_record(&histogram, hf_random_below(1ull << hf_random_below(18)));
	for (size_t i = 0; i < HF_ARRAY_LEN(bounds); i++) {
		uint64_t count = hf_histogram_count_at_or_below(&histogram, bounds[i]);

		assert_true(count >= before);
		before = count;
	}
	assert_int_equal(before, 10000);
}

static void test_only_whole_buckets_count_as_below(void **state)
{
	hf_histogram_record(&histogram, 31);
	hf_histogram_record(&histogram, 1000); /* shares a bucket with 992..1007 */
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, 30), 0);
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, 31), 1);
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, 1006), 1);
	assert_int_equal(hf_histogram_count_at_or_below(&histogram, 1007), 2);
}

static void test_merged_histograms_are_as_if_recorded_in_one(void **state)
{
	static struct hf_histogram both;

	for (uint64_t value = 0; value < 5000; value += 3) {
		hf_histogram_record(value % 2 ? &histogram : &other, value);
		hf_histogram_record(&both, value);
	}
	hf_histogram_merge(&histogram, &other);
	assert_memory_equal(&histogram, &both, sizeof(both));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_empty_histogram_answers_zero, forget),
		cmocka_unit_test_setup(test_a_value_is_known_to_three_percent, forget),
		cmocka_unit_test_setup(test_quantiles_of_one_to_a_thousand, forget),
		cmocka_unit_test_setup(test_values_beyond_the_range_count_as_the_largest, forget),
		cmocka_unit_test_setup(test_counts_below_grow_with_the_value_and_miss_none, forget),
		cmocka_unit_test_setup(test_only_whole_buckets_count_as_below, forget),
		cmocka_unit_test_setup(test_merged_histograms_are_as_if_recorded_in_one, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
