#include "test_base.h"

#include "hf_cursor.h"

static void test_integers_come_back_as_written(void **state)
{
	uint8_t bytes[15];
	struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));
	struct hf_cursor c = hf_cursor_of(bytes, sizeof(bytes));

	hf_writer_u8(&w, 0xfe);
	hf_writer_u16(&w, 0xfedc);
	hf_writer_u32(&w, 0xfedcba98);
	hf_writer_u64(&w, 0xfedcba9876543210);
	assert_false(w.failed);
	assert_int_equal(bytes[1], 0xdc); /* little endian */

	assert_int_equal(hf_cursor_u8(&c), 0xfe);
	assert_int_equal(hf_cursor_u16(&c), 0xfedc);
	assert_int_equal(hf_cursor_u32(&c), 0xfedcba98);
	assert_true(hf_cursor_u64(&c) == 0xfedcba9876543210);
	assert_int_equal(hf_cursor_left(&c), 0);
	assert_false(c.failed);
}

static void test_a_read_past_the_end_fails_and_stays_failed(void **state)
{
	for (size_t len = 0; len < 8; len++) {
		uint8_t *exact = exact_copy("\xff\xff\xff\xff\xff\xff\xff", len);
		struct hf_cursor c = hf_cursor_of(exact, len);

		assert_true(hf_cursor_u64(&c) == 0);
		assert_true(c.failed);
		assert_int_equal(hf_cursor_u8(&c), 0);
		assert_null(hf_cursor_bytes(&c, 0));
		free(exact);
	}
}

static void test_a_write_past_the_end_writes_nothing(void **state)
{
	uint8_t bytes[4] = { 0 };
	struct hf_writer w = hf_writer_of(bytes, 3);

	hf_writer_u32(&w, 0xffffffff);
	hf_writer_u8(&w, 0xff);
	assert_true(w.failed);
	assert_memory_equal(bytes, "\0\0\0\0", 4);
}

static void test_varints_come_back_as_written(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX };

	for (size_t i = 0; i < HF_ARRAY_LEN(values); i++) {
		uint8_t bytes[10];
		struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));
		struct hf_cursor c;
		size_t len;

		hf_writer_varint(&w, values[i]);
		len = (size_t)(w.pos - bytes);
		assert_false(w.failed);
		assert_int_equal(len, hf_varint_size(values[i]));
		c = hf_cursor_of(bytes, len);
		assert_true(hf_cursor_varint(&c, 10) == values[i]);
		assert_false(c.failed);

		c = hf_cursor_of(bytes, len);
		hf_cursor_varint(&c, (unsigned)len - 1);
		assert_true(c.failed); /* longer than allowed */
		c = hf_cursor_of(bytes, len - 1);
		hf_cursor_varint(&c, 10);
		assert_true(c.failed); /* cut short */
	}
}

static void test_a_varint_beyond_64_bits_is_refused(void **state)
{
	struct hf_cursor c = hf_cursor_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);

	assert_true(hf_cursor_varint(&c, 10) == 0);
	assert_true(c.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers_come_back_as_written),
		cmocka_unit_test(test_a_read_past_the_end_fails_and_stays_failed),
		cmocka_unit_test(test_a_write_past_the_end_writes_nothing),
		cmocka_unit_test(test_varints_come_back_as_written),
		cmocka_unit_test(test_a_varint_beyond_64_bits_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
