#include "test_base.h"

#include "spans.h"

static void test_who_came_before_it_could_be_loaded_is_given_it(void **state)
{
	static const struct span spans[] = { { 5, 0 } };

	assert_int_equal(spans_decide(spans, 1, 0), SPANS_GIVE);
	assert_int_equal(spans_decide(spans, 1, 4), SPANS_GIVE);
	assert_int_equal(spans_decide(spans, 1, 5), SPANS_SKIP);
	assert_int_equal(spans_decide(spans, 1, UINT32_MAX), SPANS_SKIP);
}

static void test_without_spans_everybody_is_given_it(void **state)
{
	assert_int_equal(spans_decide(NULL, 0, 0), SPANS_GIVE);
	assert_int_equal(spans_decide(NULL, 0, 99), SPANS_GIVE);
}

static void test_who_came_while_it_was_held_is_asked_for(void **state)
{
	static const struct span spans[] = { { 5, 7 }, { 9, 10 }, { 12, 0 } };
	static const enum spans_verdict expected[] = {
		[4] = SPANS_GIVE,  [5] = SPANS_SKIP,  [6] = SPANS_SKIP, [7] = SPANS_ASK,
		[8] = SPANS_ASK,   [9] = SPANS_SKIP,  [10] = SPANS_ASK, [11] = SPANS_ASK,
		[12] = SPANS_SKIP, [13] = SPANS_SKIP,
	};

	for (uint32_t version = 4; version < HF_ARRAY_LEN(expected); version++)
		assert_int_equal(spans_decide(spans, 3, version), expected[version]);
}

static void test_the_last_gap_is_told_from_older_ones(void **state)
{
	static const struct span spans[] = { { 5, 7 }, { 9, 10 }, { 12, 0 } };

	for (uint32_t version = 0; version < 15; version++)
		assert_int_equal(spans_in_last_gap(spans, 3, version),
				 version == 10 || version == 11);
	assert_false(spans_in_last_gap(spans, 1, 8));
	assert_false(spans_in_last_gap(NULL, 0, 8));
}

static void test_while_it_is_held_nobody_new_has_it(void **state)
{
	static const struct span spans[] = { { 5, 7 } };

	assert_int_equal(spans_decide(spans, 1, 7), SPANS_ASK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_came_before_it_could_be_loaded_is_given_it),
		cmocka_unit_test(test_without_spans_everybody_is_given_it),
		cmocka_unit_test(test_who_came_while_it_was_held_is_asked_for),
		cmocka_unit_test(test_the_last_gap_is_told_from_older_ones),
		cmocka_unit_test(test_while_it_is_held_nobody_new_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
