/* Jobs as they lie in Redis, and which state may follow which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "job_value.h"

enum { SCHEDULED, RUNNING, PAUSED, CANCELLED, DONE, FAILED };

static void test_a_request_moves_a_job_only_where_it_may_go(void **state)
{
	static const char *const from[SAVER_JOB_STATES] = {
		[SCHEDULED] = "",     [RUNNING] = "012", [PAUSED] = "012",
		[CANCELLED] = "0123", [DONE] = "",       [FAILED] = "",
	};

	for (unsigned to = 0; to < SAVER_JOB_STATES; to++) {
		char found[SAVER_JOB_STATES + 1];

		saver_job_states_from((Hf__JobState)to, saver_job_may_change, found);
		assert_string_equal(found, from[to]);
	}
}

static void test_its_center_ends_what_it_runs_and_nothing_final(void **state)
{
	static const char *const from[SAVER_JOB_STATES] = {
		[SCHEDULED] = "",    [RUNNING] = "", [PAUSED] = "",
		[CANCELLED] = "123", [DONE] = "12",  [FAILED] = "12",
	};

	for (unsigned to = 0; to < SAVER_JOB_STATES; to++) {
		char found[SAVER_JOB_STATES + 1];

		saver_job_states_from((Hf__JobState)to, saver_job_may_finish, found);
		assert_string_equal(found, from[to]);
	}
}

static void test_final_states_are_the_last_three(void **state)
{
	for (unsigned s = 0; s < SAVER_JOB_STATES; s++)
		assert_int_equal(saver_job_is_final((Hf__JobState)s), s >= CANCELLED);
}

static void test_names_are_read_as_they_are_written(void **state)
{
	static const uint64_t ids[] = { 0, 1, 1ull << 62, UINT64_MAX };
	char name[SAVER_JOB_NAME_MAX];
	uint32_t app;
	uint64_t id;

	for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++) {
		saver_job_name_format(UINT32_MAX - (uint32_t)i, ids[i], name);
		assert_true(saver_job_name_parse(hf_bytes_of_string(name), &app, &id));
		assert_int_equal(app, UINT32_MAX - (uint32_t)i);
		assert_true(id == ids[i]);
	}
}

static void test_names_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = { "",
					   "7",
					   "7:",
					   ":0000000000001",
					   "7:short",
					   "4294967296:0000000000001",
					   "7:00000000000001",
					   "x:0000000000001" };
	uint32_t app;
	uint64_t id;

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		size_t len = strlen(bad[i]);
		uint8_t *exact = malloc(len + 1);

		memcpy(exact, bad[i], len);
		assert_false(saver_job_name_parse(hf_bytes_of(exact, len), &app, &id));
		free(exact);
	}
}

static void fill(struct hf_bytes values[SAVER_JOB_FIELDS])
{
	memset(values, 0, SAVER_JOB_FIELDS * sizeof(values[0]));
	values[SAVER_JOB_STATE] = HF_BYTES_LITERAL("2");
	values[SAVER_JOB_DUE] = HF_BYTES_LITERAL("18446744073709551615");
	values[SAVER_JOB_REVISION] = HF_BYTES_LITERAL("3");
	values[SAVER_JOB_LABEL] = HF_BYTES_LITERAL("news");
	values[SAVER_JOB_PROGRESS] = HF_BYTES_LITERAL("\x10\x05"); /* written: 5 */
	values[SAVER_JOB_SPEC] = HF_BYTES_LITERAL("spec");
}

static void test_a_job_is_read_from_its_fields(void **state)
{
	struct hf_bytes values[SAVER_JOB_FIELDS];
	struct saver_job_view view;

	fill(values);
	assert_true(saver_job_view_init(&view, 7, 11, values, SAVER_JOB_FIELDS));
	assert_int_equal(view.job.state, PAUSED);
	assert_true(view.job.due_ms == UINT64_MAX);
	assert_int_equal(view.job.revision, 3);
	assert_int_equal(view.job.progress->written, 5);
	assert_int_equal(view.job.spec.len, 4);
	assert_int_equal(view.job.started_ms, 0); /* was never set */
	saver_job_view_deinit(&view);
	assert_true(saver_job_view_init(&view, 7, 11, values, SAVER_JOB_HEAD));
	assert_int_equal(view.job.spec.len, 0);
	saver_job_view_deinit(&view);
}

static void test_fields_that_are_no_job_are_refused(void **state)
{
	static const struct {
		enum saver_job_field field;
		const char *value;
	} bad[] = {
		{ SAVER_JOB_STATE, "6" },       { SAVER_JOB_STATE, "x" },
		{ SAVER_JOB_KIND, "2" },        { SAVER_JOB_DUE, "18446744073709551616" },
		{ SAVER_JOB_DUE, "-1" },        { SAVER_JOB_REVISION, "4294967296" },
		{ SAVER_JOB_PROGRESS, "\xff" },
	};
	struct hf_bytes values[SAVER_JOB_FIELDS];
	struct saver_job_view view;

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		fill(values);
		values[bad[i].field] = hf_bytes_of_string(bad[i].value);
		assert_false(saver_job_view_init(&view, 7, 11, values, SAVER_JOB_FIELDS));
		saver_job_view_deinit(&view);
	}
	fill(values);
	values[SAVER_JOB_STATE] = (struct hf_bytes){ NULL, 0 };
	assert_false(saver_job_view_init(&view, 7, 11, values, SAVER_JOB_FIELDS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_moves_a_job_only_where_it_may_go),
		cmocka_unit_test(test_its_center_ends_what_it_runs_and_nothing_final),
		cmocka_unit_test(test_final_states_are_the_last_three),
		cmocka_unit_test(test_names_are_read_as_they_are_written),
		cmocka_unit_test(test_names_that_are_none_are_refused),
		cmocka_unit_test(test_a_job_is_read_from_its_fields),
		cmocka_unit_test(test_fields_that_are_no_job_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
