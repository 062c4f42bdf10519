#include "test_base.h"

#include "expiry.h"

static void test_who_entered_first_expires_first_and_not_early(void **state)
{
	struct expiry expiry = { 0 };

	for (hf_handle handle = 1; handle <= 500; handle++)
		assert_int_equal(expiry_push(&expiry, handle, handle / 10), 0);
	assert_int_equal(expiry_pop(&expiry, 79, 80), 0);
	for (hf_handle handle = 1; handle <= 500; handle++) {
		assert_int_equal(expiry_pop(&expiry, handle / 10 + 79, 80), 0);
		assert_int_equal(expiry_pop(&expiry, handle / 10 + 80, 80), handle);
	}
	assert_int_equal(expiry_pop(&expiry, UINT32_MAX, 0), 0);
	expiry_deinit(&expiry);
}

static void test_an_empty_ring_keeps_no_memory(void **state)
{
	struct expiry expiry = { 0 };

	for (unsigned round = 0; round < 3; round++) {
		for (hf_handle handle = 1; handle <= 200; handle++)
			assert_int_equal(expiry_push(&expiry, handle, 1), 0);
		for (hf_handle handle = 1; handle <= 200; handle++)
			assert_int_equal(expiry_pop(&expiry, 2, 1), handle);
		assert_null(expiry.entries);
	}
}

static void test_the_ring_grows_while_it_is_in_use(void **state)
{
	struct expiry expiry = { 0 };
	hf_handle in = 1, out = 1;

	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 3; i++, in++)
			assert_int_equal(expiry_push(&expiry, in, 0), 0);
		for (int i = 0; i < 2; i++, out++)
			assert_int_equal(expiry_pop(&expiry, 1, 1), out);
	}
	assert_int_equal(expiry.count, in - out);
	expiry_deinit(&expiry);
}

static void test_ticks_may_wrap(void **state)
{
	struct expiry expiry = { 0 };

	assert_int_equal(expiry_push(&expiry, 1, UINT32_MAX - 2), 0);
	assert_int_equal(expiry_pop(&expiry, 3, 10), 0);
	assert_int_equal(expiry_pop(&expiry, 7, 10), 1);
	expiry_deinit(&expiry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_entered_first_expires_first_and_not_early),
		cmocka_unit_test(test_an_empty_ring_keeps_no_memory),
		cmocka_unit_test(test_the_ring_grows_while_it_is_in_use),
		cmocka_unit_test(test_ticks_may_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
