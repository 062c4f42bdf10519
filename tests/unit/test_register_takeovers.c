#include "test_base.h"

#include "takeovers.h"

#define LIMIT  5u
#define PERIOD 30000u

static struct takeovers table;

static int setup(void **state)
{
	memset(&table, 0, sizeof(table));
	return 0;
}

static bool too_many(uint64_t hash, uint64_t now_ms)
{
	return takeovers_too_many(&table, hash, now_ms, LIMIT, PERIOD);
}

static void note(uint64_t hash, uint64_t now_ms)
{
	takeovers_note(&table, hash, now_ms, LIMIT, PERIOD);
}

static void test_so_many_are_free_and_the_next_is_not(void **state)
{
	for (unsigned i = 0; i < LIMIT; i++) {
		assert_false(too_many(7, 1000 + i));
		note(7, 1000 + i);
	}
	assert_true(too_many(7, 1010));
	assert_false(too_many(8, 1010));
	/* One more for each sixth of a half minute, and all of them after a quiet time. */
	assert_true(too_many(7, 1000 + PERIOD / LIMIT - 1));
	assert_false(too_many(7, 1000 + PERIOD / LIMIT));
	assert_false(too_many(7, 1000 + 10 * PERIOD));
}

static void test_a_slow_change_of_hands_is_never_too_much(void **state)
{
	for (uint64_t now_ms = 1; now_ms < 100 * PERIOD; now_ms += PERIOD / LIMIT) {
		assert_false(too_many(7, now_ms));
		note(7, now_ms);
	}
}

static void test_a_limit_of_0_is_none(void **state)
{
	for (unsigned i = 0; i < 100; i++)
		takeovers_note(&table, 7, 1000, 0, PERIOD);
	assert_false(takeovers_too_many(&table, 7, 1000, 0, PERIOD));
}

/* A set that is full forgets who was quiet for the longest, not who fights. */
static void test_the_quietest_gives_way(void **state)
{
	for (unsigned i = 0; i < LIMIT; i++)
		note(TAKEOVERS_SETS, 1000);
	for (uint64_t i = 2; i < 100; i++)
		note(i * TAKEOVERS_SETS, 1000 + i);
	assert_true(too_many(TAKEOVERS_SETS, 1100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_so_many_are_free_and_the_next_is_not, setup),
		cmocka_unit_test_setup(test_a_slow_change_of_hands_is_never_too_much, setup),
		cmocka_unit_test_setup(test_a_limit_of_0_is_none, setup),
		cmocka_unit_test_setup(test_the_quietest_gives_way, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
