#include "test_base.h"

#include "pool.h"

static void test_blocks_of_all_sizes_are_aligned_and_apart(void **state)
{
	static const size_t sizes[] = { 1, 7, 8, 9, 24, 511, 512, 513, 1024, 1025, 65549, 131072 };
	struct pool pool;
	pool_ref refs[HF_ARRAY_LEN(sizes)];

	pool_init(&pool);
	for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
		uint8_t *block = pool_alloc(&pool, sizes[i], &refs[i]);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % POOL_UNIT, 0);
		assert_ptr_equal(pool_at(&pool, refs[i]), block);
		memset(block, (int)i + 1, sizes[i]);
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
		const uint8_t *block = pool_at(&pool, refs[i]);

		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(block[j], i + 1);
		pool_free(&pool, refs[i], sizes[i]);
	}
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

static void test_a_freed_block_serves_the_next_of_its_class(void **state)
{
	struct pool pool;
	pool_ref first, second;

	pool_init(&pool);
	assert_non_null(pool_alloc(&pool, 20, &first));
	pool_free(&pool, first, 20);
	assert_non_null(pool_alloc(&pool, 17, &second)); /* 24 bytes, both */
	assert_int_equal(first, second);
	assert_int_equal(pool.used, 24);
	pool_deinit(&pool);
}

static void test_reference_zero_is_no_block(void **state)
{
	struct pool pool;

	pool_init(&pool);
	assert_null(pool_at(&pool, 0));
	pool_free(&pool, 0, 100);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

static void test_churn_does_not_take_more_memory(void **state)
{
	struct pool pool;
	pool_ref refs[1000];
	size_t bytes = 0;

	pool_init(&pool);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < HF_ARRAY_LEN(refs); i++)
			assert_non_null(pool_alloc(&pool, 1 + i * 7 % 900, &refs[i]));
		if (round == 0)
			bytes = pool_bytes(&pool);
		for (size_t i = 0; i < HF_ARRAY_LEN(refs); i++)
			pool_free(&pool, refs[i], 1 + i * 7 % 900);
	}
	assert_int_equal(pool_bytes(&pool), bytes);
	assert_int_equal(pool.used, 0);
	pool_deinit(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_of_all_sizes_are_aligned_and_apart),
		cmocka_unit_test(test_a_freed_block_serves_the_next_of_its_class),
		cmocka_unit_test(test_reference_zero_is_no_block),
		cmocka_unit_test(test_churn_does_not_take_more_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
