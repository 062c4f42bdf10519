/* What hf-bench takes for another machine's time. */
#include "test_base.h"

#include <math.h>

#include "clock.h"

static bool date(const char *text, uint64_t *ret)
{
	size_t len = strlen(text);
	char *exact = exact_copy(text, len);
	bool found = clock_date(exact, len, ret);

	free(exact);
	return found;
}

static void test_a_date_is_read_and_nothing_else(void **state)
{
	uint64_t second = 0;

	assert_true(date("HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
			 &second));
	assert_int_equal(second, 784111777);
	assert_false(date("HTTP/1.1 200 OK\r\n\r\n", &second));
	assert_false(date("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994", &second));
	assert_false(date("HTTP/1.1 200 OK\r\nDate: tomorrow\r\n\r\n", &second));
	assert_false(
		date("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1894 08:49:37 GMT\r\n\r\n", &second));
	assert_false(date("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT and much, much "
			  "more\r\n\r\n",
			  &second));
}

/* A server that is 250.3 ms ahead, 0.4 ms away there and 3 ms back. */
static void test_bounds_hold_whatever_the_ways_take(void **state)
{
	struct clock_bounds bounds = { -INFINITY, INFINITY };
	const double offset = 250300000.0 + 1700000000e9;

	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t asked_ns = 5000000000u + i * 1234567u;
		uint64_t date_s = (uint64_t)(((double)asked_ns + 400000 + offset) / 1e9);

		assert_true(clock_narrow(&bounds, date_s, asked_ns, asked_ns + 3400000));
		assert_true(bounds.low <= offset + 1000 && offset <= bounds.high + 1000);
	}
	assert_true(bounds.high - bounds.low < 5000000);
	/* The clock jumps: the next answer does not fit. */
	assert_false(clock_narrow(&bounds, 1700000000u + 20, 9000000000u, 9003400000u));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_date_is_read_and_nothing_else),
		cmocka_unit_test(test_bounds_hold_whatever_the_ways_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
