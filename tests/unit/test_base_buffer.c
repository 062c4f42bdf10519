#include "test_base.h"

#include "hf_buffer.h"

static void check_content(const struct hf_buffer *buffer, const char *expected)
{
	assert_int_equal(hf_buffer_len(buffer), strlen(expected));
	assert_memory_equal(hf_buffer_data(buffer), expected, strlen(expected));
}

static void test_an_empty_buffer_holds_no_memory(void **state)
{
	struct hf_buffer buffer = { 0 };

	assert_int_equal(hf_buffer_len(&buffer), 0);
	assert_null(hf_buffer_data(&buffer));
	assert_int_equal(hf_buffer_append(&buffer, NULL, 0), 0);
	assert_null(buffer.data);
	hf_buffer_drain(&buffer, 0);
	hf_buffer_deinit(&buffer);
}

static void test_bytes_leave_in_the_order_they_came(void **state)
{
	struct hf_buffer buffer;
	unsigned in = 0, out = 0;

	hf_buffer_init(&buffer);
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < round % 97; i++) {
			uint8_t byte = (uint8_t)(in++ * 7);

			assert_int_equal(hf_buffer_append(&buffer, &byte, 1), 0);
		}
		while (hf_buffer_len(&buffer) > round % 53) {
			assert_int_equal(*hf_buffer_data(&buffer), (uint8_t)(out++ * 7));
			hf_buffer_drain(&buffer, 1);
		}
	}
	assert_int_equal(in - out, hf_buffer_len(&buffer));
	assert_true(buffer.capacity <= 512); /* drained room is used again */
	hf_buffer_deinit(&buffer);
}

static void test_reserved_room_is_kept_only_when_committed(void **state)
{
	struct hf_buffer buffer = { 0 };
	uint8_t *room = hf_buffer_reserve(&buffer, 100000);

	assert_non_null(room);
	memset(room, 'x', 100000);
	assert_int_equal(hf_buffer_len(&buffer), 0);
	hf_buffer_commit(&buffer, 3);
	check_content(&buffer, "xxx");
	assert_non_null(hf_buffer_reserve(&buffer, 0));
	assert_null(hf_buffer_reserve(&buffer, SIZE_MAX));
	assert_null(hf_buffer_reserve(&buffer, SIZE_MAX - 3));
	check_content(&buffer, "xxx");
	hf_buffer_deinit(&buffer);
}

static void test_printed_text_follows_without_a_nul(void **state)
{
	struct hf_buffer buffer = { 0 };

	assert_int_equal(hf_buffer_printf(&buffer, "a=%d", 1), 0);
	assert_int_equal(hf_buffer_printf(&buffer, "%s", ""), 0);
	assert_int_equal(hf_buffer_printf(&buffer, " b=%s", "two"), 0);
	check_content(&buffer, "a=1 b=two");

	for (int len = 200; len < 600; len++) { /* around what is allocated first */
		hf_buffer_clear(&buffer, 0);
		assert_int_equal(hf_buffer_printf(&buffer, "%0*d", len, 5), 0);
		assert_int_equal(hf_buffer_len(&buffer), len);
		assert_int_equal(hf_buffer_data(&buffer)[len - 1], '5');
	}
	hf_buffer_deinit(&buffer);
}

static void test_clear_keeps_a_small_buffer_and_returns_a_large_one(void **state)
{
	struct hf_buffer buffer = { 0 };

	assert_int_equal(hf_buffer_append(&buffer, "holdfast", 8), 0);
	hf_buffer_clear(&buffer, 4096);
	assert_int_equal(hf_buffer_len(&buffer), 0);
	assert_non_null(buffer.data);

	assert_non_null(hf_buffer_reserve(&buffer, 5000));
	hf_buffer_clear(&buffer, 4096);
	assert_null(buffer.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_buffer_holds_no_memory),
		cmocka_unit_test(test_bytes_leave_in_the_order_they_came),
		cmocka_unit_test(test_reserved_room_is_kept_only_when_committed),
		cmocka_unit_test(test_printed_text_follows_without_a_nul),
		cmocka_unit_test(test_clear_keeps_a_small_buffer_and_returns_a_large_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
