#include "test_base.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hf_hash.h"

static void test_equal_keys_have_equal_hashes(void **state)
{
	char *one = exact_copy("holdfast", 8), *two = exact_copy("holdfast", 8);

	assert_true(hf_hash(one, 8) == hf_hash(two, 8));
	assert_true(hf_hash(one, 8) != hf_hash(one, 7));
	assert_true(hf_hash_u64(1) != hf_hash_u64(2));
	assert_true(hf_hash(NULL, 0) == hf_hash("", 0));
	free(one);
	free(two);
}

static void test_a_registration_is_told_apart_by_app_and_by_id(void **state)
{
	assert_true(hf_hash_registration(1, "a", 1) == hf_hash_registration(1, "a", 1));
	assert_true(hf_hash_registration(1, "a", 1) != hf_hash_registration(2, "a", 1));
	assert_true(hf_hash_registration(1, "a", 1) != hf_hash_registration(1, "b", 1));
	assert_true(hf_hash_registration(1, "a", 1) != hf_hash_registration(1, "a", 2));
}

/* These numbers are in every stored key: whoever changes one moves everybody's messages. */
static void test_slots_are_the_same_in_every_process_and_release(void **state)
{
	static const struct {
		uint64_t salt;
		uint32_t app;
		const char *registration;
		uint16_t slot;
	} rows[] = {
		{ 0, 1, "a", 1907 },
		{ 0, 2, "a", 3287 },
		{ 42, 1, "a", 3125 },
		{ 0x0123456789abcdef, 1000001, "3f2504e0-4f89-11d3-9a0c-0305e82c3301", 539 },
		{ 7, UINT32_MAX, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  3409 },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		size_t len = strlen(rows[i].registration);
		char *exact = exact_copy(rows[i].registration, len);

		assert_int_equal(hf_slot(rows[i].salt, rows[i].app, exact, len), rows[i].slot);
		free(exact);
	}
}

static void test_slots_are_even(void **state)
{
	static unsigned counts[HF_SLOTS];

	for (uint32_t i = 0; i < 64 * HF_SLOTS; i++)
		counts[hf_slot(99, 1, &i, sizeof(i))]++;
	for (unsigned slot = 0; slot < HF_SLOTS; slot++)
		assert_in_range(counts[slot], 20, 120); /* 64 each, within 5 or more deviations */
}

static unsigned owner_of(uint64_t key, const char *const *nodes, const uint32_t *weights,
			 unsigned count)
{
	unsigned best = 0;

	for (unsigned i = 1; i < count; i++)
		if (hf_rendezvous(key, nodes[i], weights[i]) >
		    hf_rendezvous(key, nodes[best], weights[best]))
			best = i;
	return best;
}

static const char *const nodes[] = { "saver-1", "saver-2", "saver-3", "saver-4" };

static void test_a_node_that_leaves_moves_only_its_own_keys(void **state)
{
	static const uint32_t weights[] = { 1, 1, 1, 1 };
	unsigned moved = 0;

	for (uint64_t key = 0; key < HF_SLOTS; key++) {
		unsigned before = owner_of(key, nodes, weights, 4);
		unsigned after = owner_of(key, nodes, weights, 3);

		if (before == 3)
			moved++;
		else
			assert_int_equal(before, after);
	}
	assert_in_range(moved, HF_SLOTS / 5, HF_SLOTS / 3);
}

static void test_keys_are_shared_in_proportion_to_weight(void **state)
{
	static const uint32_t weights[] = { 100, 300, 0, 400 };
	unsigned counts[4] = { 0 };

	for (uint64_t key = 0; key < 8000; key++)
		counts[owner_of(key, nodes, weights, 4)]++;
	assert_in_range(counts[0], 850, 1150);
	assert_in_range(counts[1], 2800, 3200);
	assert_int_equal(counts[2], 0);
	assert_in_range(counts[3], 3800, 4200);
	for (uint64_t key = 0; key < 1000; key++) {
		assert_true(hf_rendezvous(key, "saver-1", 1) > hf_rendezvous(key, "saver-2", 0));
		assert_true(isfinite(hf_rendezvous(key, "saver-1", UINT32_MAX)));
	}
}

static void test_random_numbers_stay_below_their_bound_and_reach_all_of_it(void **state)
{
	unsigned counts[7] = { 0 };

	assert_int_equal(hf_random_below(1), 0);
	for (int i = 0; i < 7000; i++) {
		uint64_t value = hf_random_below(7);

		assert_true(value < 7);
		counts[value]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(counts[i], 800, 1200);
	for (int i = 0; i < 1000; i++)
		assert_true(hf_random_below(UINT64_MAX / 2 + 2) < UINT64_MAX / 2 + 2);
	assert_true(hf_random_u64() != hf_random_u64());
}

static void test_random_numbers_are_others_after_a_reseed(void **state)
{
	uint64_t here[4], there[4];
	int pipes[2];
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		hf_random_reseed();
		for (int i = 0; i < 4; i++)
			there[i] = hf_random_u64();
		_exit(write(pipes[1], there, sizeof(there)) == sizeof(there) ? 0 : 1);
	}
	for (int i = 0; i < 4; i++)
		here[i] = hf_random_u64();
	assert_int_equal(read(pipes[0], there, sizeof(there)), sizeof(there));
	assert_memory_not_equal(here, there, sizeof(here));
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_random_bytes_fill_all_they_are_given(void **state)
{
	uint8_t *bytes = calloc(1000, 1);
	unsigned zeros = 0;

	hf_random_bytes(bytes, 0);
	assert_int_equal(bytes[0], 0);
	hf_random_bytes(bytes, 1000);
	for (int i = 0; i < 1000; i++)
		zeros += bytes[i] == 0;
	assert_true(zeros < 40);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_keys_have_equal_hashes),
		cmocka_unit_test(test_a_registration_is_told_apart_by_app_and_by_id),
		cmocka_unit_test(test_slots_are_the_same_in_every_process_and_release),
		cmocka_unit_test(test_slots_are_even),
		cmocka_unit_test(test_a_node_that_leaves_moves_only_its_own_keys),
		cmocka_unit_test(test_keys_are_shared_in_proportion_to_weight),
		cmocka_unit_test(test_random_numbers_stay_below_their_bound_and_reach_all_of_it),
		cmocka_unit_test(test_random_numbers_are_others_after_a_reseed),
		cmocka_unit_test(test_random_bytes_fill_all_they_are_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
