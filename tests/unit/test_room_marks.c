#include "test_base.h"

#include "marks.h"

#define HANDLE(pos) (1u << 24 | (pos))

static void test_marks_are_kept_by_position(void **state)
{
	static const uint32_t positions[] = { 1, 7, 8, 511, 512, 513, 100000, HF_SLAB_LIMIT_MAX };
	struct marks marks = { 0 };

	for (size_t i = 0; i < HF_ARRAY_LEN(positions); i++) {
		assert_false(marks_has(&marks, HANDLE(positions[i])));
		marks_clear(&marks, HANDLE(positions[i]));
		marks_set(&marks, HANDLE(positions[i]));
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(positions); i++) {
		assert_true(marks_has(&marks, HANDLE(positions[i])));
		assert_true(marks_has(&marks, 7u << 24 | positions[i])); /* another generation */
		marks_clear(&marks, HANDLE(positions[i]));
		assert_false(marks_has(&marks, HANDLE(positions[i])));
	}
	assert_false(marks_has(&marks, HANDLE(2)));
	marks_free(&marks);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_marks_are_kept_by_position) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
