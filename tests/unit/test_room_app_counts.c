#include "test_base.h"

#include <stdio.h>

#include "app_counts.h"

static int setup(void **state)
{
	static struct app_counts counts;

	*state = &counts;
	return app_counts_init(&counts);
}

static int teardown(void **state)
{
	app_counts_deinit(*state);
	return 0;
}

static struct hf_bytes text(const char *s)
{
	return hf_bytes_of_string(s);
}

static void add(struct app_counts *counts, uint32_t app, const char *platform, bool has_user)
{
	assert_int_equal(app_counts_add(counts, app, text(platform), has_user), 0);
}

static uint32_t on_platform(const struct app_count *count, const char *name)
{
	for (uint32_t i = 0; i < count->platform_count; i++) {
		if (hf_bytes_equal(hf_bytes_of(count->platforms[i].name, count->platforms[i].len),
				   text(name)))
			return count->platforms[i].sessions;
	}
	return 0;
}

static void test_each_app_is_counted_for_itself(void **state)
{
	struct app_counts *counts = *state;

	add(counts, 7, "ios", true);
	add(counts, 7, "ios", false);
	add(counts, 7, "web", false);
	add(counts, 8, "ios", false);
	assert_int_equal(app_counts_sessions(counts, 7), 3);
	assert_int_equal(app_counts_get(counts, 7)->with_user, 1);
	assert_int_equal(on_platform(app_counts_get(counts, 7), "ios"), 2);
	assert_int_equal(on_platform(app_counts_get(counts, 7), "web"), 1);
	assert_int_equal(app_counts_sessions(counts, 8), 1);

	app_counts_change_user(counts, 7, false, true);
	app_counts_remove(counts, 7, text("ios"), true);
	assert_int_equal(app_counts_get(counts, 7)->with_user, 1);
	assert_int_equal(on_platform(app_counts_get(counts, 7), "ios"), 1);
}

static void test_an_app_without_sessions_takes_no_memory(void **state)
{
	struct app_counts *counts = *state;

	for (uint32_t app = 1; app <= 1000; app++)
		add(counts, app, "ios", false);
	for (uint32_t app = 1; app <= 1000; app++)
		app_counts_remove(counts, app, text("ios"), false);
	assert_null(app_counts_get(counts, 7));
	assert_int_equal(app_counts_sessions(counts, 7), 0);
	assert_int_equal(counts->table.count, 0);
}

static void test_platforms_beyond_the_rows_count_in_the_whole(void **state)
{
	struct app_counts *counts = *state;
	char name[16];

	for (unsigned i = 0; i < APP_COUNTS_PLATFORMS + 5; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		add(counts, 7, name, false);
	}
	add(counts, 7, "", false);
	assert_int_equal(app_counts_get(counts, 7)->platform_count, APP_COUNTS_PLATFORMS);
	/* Who has no row leaves without one, though another's has become free. */
	app_counts_remove(counts, 7, text("p0"), false);
	app_counts_remove(counts, 7, text("p20"), false);
	add(counts, 7, "p20", false);
	app_counts_remove(counts, 7, text("p20"), false);
	app_counts_remove(counts, 7, text(""), false);
	assert_int_equal(app_counts_sessions(counts, 7), APP_COUNTS_PLATFORMS + 3);
	assert_int_equal(on_platform(app_counts_get(counts, 7), "p1"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_app_is_counted_for_itself, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_app_without_sessions_takes_no_memory, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_platforms_beyond_the_rows_count_in_the_whole,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
