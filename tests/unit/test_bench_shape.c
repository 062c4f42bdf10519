#include "test_base.h"

#include <errno.h>

#include "shape.h"

#define SECOND 1000000000ull

static void test_a_line_brings_each_client_at_its_place(void **state)
{
	struct shape shape;

	shape_line(&shape, 1000, 200);
	assert_int_equal(shape.count, 1);
	assert_int_equal(shape_peak(&shape), 1000);
	assert_int_equal(shape_length_ns(&shape), 5 * SECOND);
	assert_true(stage_has(&shape.stages[0], 0) && stage_has(&shape.stages[0], 999));
	assert_false(stage_has(&shape.stages[0], 1000));
	assert_int_equal(stage_due_ns(&shape.stages[0], 0), 0);
	assert_int_equal(stage_due_ns(&shape.stages[0], 500), 5 * SECOND / 2);
	assert_false(shape_falls(&shape));
}

static void test_stages_follow_each_other_up_and_down(void **state)
{
	struct shape shape;

	assert_int_equal(shape_parse(&shape, "0:60s,100:10s,100:1m,40:6s"), 0);
	assert_int_equal(shape.count, 4);
	assert_int_equal(shape_peak(&shape), 100);
	assert_int_equal(shape_length_ns(&shape), 136 * SECOND);
	assert_true(shape_falls(&shape));
	for (uint64_t number = 0; number < 100; number++) {
		assert_false(stage_has(&shape.stages[0], number));
		assert_true(stage_has(&shape.stages[1], number));
		assert_false(stage_has(&shape.stages[2], number));
		assert_int_equal(stage_has(&shape.stages[3], number), number >= 40);
	}
	assert_int_equal(stage_due_ns(&shape.stages[1], 50), 65 * SECOND);
	/* Who came last leaves first. */
	assert_true(stage_due_ns(&shape.stages[3], 99) < stage_due_ns(&shape.stages[3], 41));
	assert_int_equal(stage_due_ns(&shape.stages[3], 70), 133 * SECOND);
	assert_int_equal(stage_due_ns(&shape.stages[3], 40), 136 * SECOND);
}

static void test_a_stage_of_no_length_is_all_at_once(void **state)
{
	struct shape shape;

	assert_int_equal(shape_parse(&shape, "500:0s"), 0);
	assert_int_equal(stage_due_ns(&shape.stages[0], 0), 0);
	assert_int_equal(stage_due_ns(&shape.stages[0], 499), 0);
}

static void test_what_is_no_shape_is_refused(void **state)
{
	static const char *const bad[] = {
		"",        "100",          "100:",  ":5s",       "a:5s",
		"100:5s,", "100:5s,,1:1s", "100:x", ",1:1s",     "-1:5s",
		"1:5s:6s", "100000001:1s", "1:31d", "1:5s 2:6s", "1.5:5s"
	};
	struct shape shape = { .count = 7 };
	char many[STAGES_MAX * 5 + 6] = "";

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		assert_int_equal(shape_parse(&shape, bad[i]), -EINVAL);
	for (int i = 0; i < STAGES_MAX; i++)
		strcat(many, i > 0 ? ",1:1s" : "1:1s");
	assert_int_equal(shape.count, 7);
	assert_int_equal(shape_parse(&shape, many), 0);
	strcat(many, ",1:1s");
	assert_int_equal(shape_parse(&shape, many), -E2BIG);
	assert_int_equal(shape_parse(&shape, "100000000:30d"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_brings_each_client_at_its_place),
		cmocka_unit_test(test_stages_follow_each_other_up_and_down),
		cmocka_unit_test(test_a_stage_of_no_length_is_all_at_once),
		cmocka_unit_test(test_what_is_no_shape_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
