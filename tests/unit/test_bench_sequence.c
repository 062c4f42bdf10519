/* What hf-bench says was lost, and who is in which group. */
#include "test_base.h"

#include "bench.h"

static uint64_t counters[COUNTERS];

static bool take(struct stream *streams, uint32_t run, uint64_t sequence)
{
	struct payload payload = { .run = run, .sequence = sequence };

	return sequence_take(streams, &payload, counters);
}

static uint64_t missing(uint64_t unique)
{
	return counters[COUNT_EXPECTED] - unique;
}

static void test_a_gap_is_missing_until_it_comes(void **state)
{
	struct stream streams[STREAMS] = { 0 };

	memset(counters, 0, sizeof(counters));
	assert_true(take(streams, 7, 1));
	assert_true(take(streams, 7, 4));
	assert_int_equal(missing(2), 2);
	assert_true(take(streams, 7, 2));
	assert_int_equal(missing(3), 1);
	assert_int_equal(counters[COUNT_REORDERED], 1);
	assert_false(take(streams, 7, 2));
	assert_false(take(streams, 7, 4));
	assert_int_equal(counters[COUNT_DUPLICATED], 2);
}

static void test_senders_of_several_kinds_are_told_apart(void **state)
{
	struct stream streams[STREAMS] = { 0 };

	memset(counters, 0, sizeof(counters));
	for (uint64_t sequence = 1; sequence <= 100; sequence++) {
		for (uint32_t run = 1; run <= STREAMS; run++)
			assert_true(
				take(streams, (run + (uint32_t)sequence) % STREAMS + 1, sequence));
	}
	assert_int_equal(missing(100 * STREAMS), 0);
	assert_int_equal(counters[COUNT_DUPLICATED] + counters[COUNT_REORDERED], 0);
}

static void test_every_client_is_in_one_group(void **state)
{
	char prefix[] = "p-", name[GROUP_NAME_SIZE];
	struct options options = { .prefix = prefix, .tags = 7, .users = 1 };

	for (options.count = 1; options.count < 30; options.count++) {
		uint64_t of_tags = 0;

		options.start_number = options.count * 3;
		for (uint64_t tag = 0; tag < 7; tag++) {
			uint64_t members = 0;

			for (uint64_t i = 0; i < options.count; i++)
				members += groups_of(&options, KIND_TAG, i) == tag;
			assert_int_equal(groups_members(&options, KIND_TAG, tag), members);
			of_tags += members;
		}
		assert_int_equal(of_tags, options.count);
		assert_int_equal(groups_members(&options, KIND_USER, 0), options.count);
		assert_int_equal(groups_members(&options, KIND_BROADCAST, 0), options.count);
	}
	options.start_number = 40;
	assert_int_equal(groups_name(&options, KIND_UNICAST, 2, name), 4);
	assert_string_equal(name, "p-42");
	groups_name(&options, KIND_TAG, 3, name);
	assert_string_equal(name, "p-tag-3");
	assert_int_equal(kind_of("user"), KIND_USER);
	assert_int_equal(kind_of("users"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_gap_is_missing_until_it_comes),
		cmocka_unit_test(test_senders_of_several_kinds_are_told_apart),
		cmocka_unit_test(test_every_client_is_in_one_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
