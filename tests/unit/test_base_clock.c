#include "test_base.h"

#include <time.h>

#include "hf_clock.h"

static void check_text(uint64_t wall_ms, const char *expected)
{
	char text[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(wall_ms, text);
	assert_string_equal(text, expected);
}

static void test_wall_time_is_shown_as_utc_with_milliseconds(void **state)
{
	check_text(0, "1970-01-01T00:00:00.000Z");
	check_text(951782399999, "2000-02-28T23:59:59.999Z");
	check_text(951782400000, "2000-02-29T00:00:00.000Z");
	check_text(1769860798412, "2026-01-31T11:59:58.412Z");
}

static void test_each_day_of_the_calendar_is_shown(void **state)
{
	for (uint64_t day = 0; day < 2932897; day += 13) { /* until the end of 9999 */
		uint64_t wall_ms = day * 86400000 + day % 86400 * 1000;
		time_t seconds = (time_t)(wall_ms / 1000);
		char text[HF_CLOCK_TEXT_SIZE];
		struct tm tm;

		gmtime_r(&seconds, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		check_text(wall_ms, text);
	}
}

static void test_no_time_is_longer_than_the_text(void **state)
{
	check_text(253402300799999, "9999-12-31T23:59:59.999Z");
	check_text(UINT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void test_monotonic_time_never_steps_back(void **state)
{
	uint64_t before = hf_clock_monotonic_ns();

	for (int i = 0; i < 1000; i++) {
		uint64_t now = hf_clock_monotonic_ns();

		assert_true(now >= before);
		before = now;
	}
	assert_true(hf_clock_monotonic_ms() >= before / 1000000);
	assert_true(hf_clock_wall_ms() > 1704067200000); /* this was written after 2024 began */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wall_time_is_shown_as_utc_with_milliseconds),
		cmocka_unit_test(test_each_day_of_the_calendar_is_shown),
		cmocka_unit_test(test_no_time_is_longer_than_the_text),
		cmocka_unit_test(test_monotonic_time_never_steps_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
