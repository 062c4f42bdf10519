#include "test_base.h"

#include <errno.h>
#include <stdio.h>

#include "hf_text.h"

#define BYTES(s) s, sizeof(s) - 1

static bool is_utf8(const char *data, size_t len)
{
	char *exact = exact_copy(data, len);
	bool ret = hf_text_is_utf8(exact, len);

	free(exact);
	return ret;
}

static void test_well_formed_utf8_is_accepted_at_any_offset(void **state)
{
	static const char text[] = "plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80, \xed\x9f\xbf, "
				   "\xee\x80\x80, \xf4\x8f\xbf\xbf";

	assert_true(is_utf8("", 0));
	assert_true(is_utf8(BYTES(text)));
	for (size_t pad = 0; pad < 20; pad++) {
		char padded[20 + sizeof(text)];

		memset(padded, 'x', pad);
		memcpy(padded + pad, text, sizeof(text));
		assert_true(is_utf8(padded, pad + sizeof(text)));
	}
}

static void test_malformed_utf8_is_refused_at_any_offset(void **state)
{
	static const char *const texts[] = {
		"\x80",
		"\xbf",
		"\xc0\xaf",
		"\xc1\xbf", /* overlong */
		"\xe0\x80\xaf",
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf", /* surrogates */
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xc3",
		"\xe2\x82",
		"\xf0\x9f\x98", /* cut short */
		"\xc3x",
		"\xe2\x82x",
		"\xf0\x9f\x98x",
		"\xc3\xc3",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
		for (size_t pad = 0; pad < 20; pad++) {
			char padded[32];

			memset(padded, 'x', pad);
			strcpy(padded + pad, texts[i]);
			assert_false(is_utf8(padded, strlen(padded)));
		}
	}
}

static void test_an_id_is_short_text_without_controls(void **state)
{
	assert_true(hf_text_is_id(BYTES("a"), 1));
	assert_true(hf_text_is_id(BYTES("J\xc3\xb6rg's phone \xf0\x9f\x98\x80"), 64));
	assert_false(hf_text_is_id("", 0, 64));
	assert_false(hf_text_is_id(BYTES("abc"), 2));
	assert_false(hf_text_is_id(BYTES("a\nb"), 64));
	assert_false(hf_text_is_id(BYTES("a\0b"), 64));
	assert_false(hf_text_is_id(BYTES("a\x7f"), 64));
	assert_false(hf_text_is_id(BYTES("\xc2\x85"), 64)); /* next line, of C1 */
	assert_true(hf_text_is_id(BYTES("\xc2\xa0"), 64));
	assert_false(hf_text_is_id(BYTES("a\xff"), 64));
}

static void test_durations_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows[] = { { "0", 0 },       { "15", 15000 },   { "500ms", 500 },    { "30s", 30000 },
		     { "5m", 300000 }, { "2h", 7200000 }, { "7d", 604800000 }, { "0030s", 30000 } };
	uint64_t ms = 1;

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		assert_int_equal(hf_text_parse_duration(rows[i].text, 1000, &ms), 0);
		assert_int_equal(ms, rows[i].ms);
	}
	assert_int_equal(hf_text_parse_duration("15", 1, &ms), 0);
	assert_int_equal(ms, 15);
}

static void test_what_is_no_duration_is_refused(void **state)
{
	static const char *const texts[] = { "",   "s",    "-5s", "+5s", " 5s",  "5s ",
					     "5x", "1.5s", "5S",  "5 s", "1h30m" };
	uint64_t ms = 77;

	for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++)
		assert_int_equal(hf_text_parse_duration(texts[i], 1, &ms), -EINVAL);
	assert_int_equal(hf_text_parse_duration("213503982335d", 1, &ms), -ERANGE);
	assert_int_equal(hf_text_parse_duration("18446744073709551616", 1, &ms), -ERANGE);
	assert_int_equal(hf_text_parse_duration("18446744073709551616x", 1, &ms), -EINVAL);
	assert_int_equal(ms, 77);
}

static void test_sizes_have_binary_units(void **state)
{
	uint64_t bytes = 77;

	assert_int_equal(hf_text_parse_size("64KB", &bytes), -EINVAL);
	assert_int_equal(hf_text_parse_size("64k", &bytes), -EINVAL);
	assert_int_equal(hf_text_parse_size("17179869184GiB", &bytes), -ERANGE);
	assert_int_equal(bytes, 77);
	assert_int_equal(hf_text_parse_size("4096", &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(hf_text_parse_size("64B", &bytes), 0);
	assert_int_equal(bytes, 64);
	assert_int_equal(hf_text_parse_size("64KiB", &bytes), 0);
	assert_int_equal(bytes, 65536);
	assert_int_equal(hf_text_parse_size("1MiB", &bytes), 0);
	assert_int_equal(bytes, 1048576);
	assert_int_equal(hf_text_parse_size("2GiB", &bytes), 0);
	assert_int_equal(bytes, 2147483648);
}

static int parse_uint(const char *text, uint64_t *ret)
{
	char *exact = exact_copy(text, strlen(text));
	int err = hf_text_parse_uint(exact, strlen(text), ret);

	free(exact);
	return err;
}

static void test_a_number_is_all_digits_and_64_bits(void **state)
{
	uint64_t value = 77;

	assert_int_equal(parse_uint("", &value), -EINVAL);
	assert_int_equal(parse_uint("-1", &value), -EINVAL);
	assert_int_equal(parse_uint("1 ", &value), -EINVAL);
	assert_int_equal(parse_uint("0x10", &value), -EINVAL);
	assert_int_equal(parse_uint("18446744073709551616", &value), -ERANGE);
	assert_int_equal(parse_uint("99999999999999999999999999", &value), -ERANGE);
	assert_true(value == 77);
	assert_int_equal(parse_uint("18446744073709551615", &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(parse_uint("007", &value), 0);
	assert_true(value == 7);
}

static void check_base64(const char *bytes, size_t len, bool url, const char *text)
{
	uint8_t *exact = exact_copy(bytes, len), *decoded = malloc(len + 1);
	char *encoded = malloc(4 * (len + 2) / 3 + 1), *input = exact_copy(text, strlen(text));

	assert_int_equal(hf_base64_encode(exact, len, url, encoded), strlen(text));
	assert_string_equal(encoded, text);
	assert_int_equal(hf_base64_decode(input, strlen(text), url, decoded), len);
	assert_memory_equal(decoded, bytes, len);
	free(exact);
	free(decoded);
	free(encoded);
	free(input);
}

static void test_base64_gives_the_examples_of_rfc_4648(void **state)
{
	check_base64("", 0, false, "");
	check_base64("f", 1, false, "Zg==");
	check_base64("fo", 2, false, "Zm8=");
	check_base64("foo", 3, false, "Zm9v");
	check_base64("foob", 4, false, "Zm9vYg==");
	check_base64("fooba", 5, false, "Zm9vYmE=");
	check_base64("foobar", 6, false, "Zm9vYmFy");
	check_base64("foob", 4, true, "Zm9vYg");
	check_base64("\xfb\xff\xbf", 3, false, "+/+/");
	check_base64("\xfb\xff\xbf", 3, true, "-_-_");
}

static void test_every_byte_survives_base64(void **state)
{
	uint8_t bytes[256], decoded[256 + 3];
	char text[4 * 258 / 3 + 1];

	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= 256; len++) {
		for (int url = 0; url < 2; url++) {
			size_t n = hf_base64_encode(bytes, len, url, text);

			assert_int_equal(hf_base64_decode(text, n, url, decoded), len);
			assert_memory_equal(decoded, bytes, len);
		}
	}
}

static void test_sloppy_base64_is_refused(void **state)
{
	static const struct {
		const char *text;
		bool url;
	} rows[] = {
		{ "Z", false },    { "Zg", false },      { "Zg=", false },    { "Zg===", false },
		{ "=", false },    { "==", true },       { "Zg=g", false },   { "Zh==", false },
		{ "Zm9=", false }, { "Zm9v\n", false },  { "Zm 9v", false },  { "-_-_", false },
		{ "Z", true },     { "Zg=", true },      { "Zh", true },      { "+/+/", true },
		{ "Zm9v=", true }, { "Zm9v====", true }, { "Zm9\xc3", true }, { "====", false },
	};
	uint8_t decoded[16];

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++)
		assert_int_equal(hf_base64_decode(rows[i].text, strlen(rows[i].text), rows[i].url,
						  decoded),
				 -EINVAL);
	assert_int_equal(hf_base64_decode("Zg==", 4, true, decoded), 1); /* padding is optional */
}

static bool deep(const char *text, size_t most)
{
	return hf_text_json_is_deep(text, strlen(text), most);
}

static void test_nesting_is_counted_outside_of_strings(void **state)
{
	assert_false(deep("", 0));
	assert_false(deep("[[1],[2],{\"a\":[3]}]", 3)); /* more brackets than levels */
	assert_true(deep("[[1],[2],{\"a\":[3]}]", 2));
	assert_false(deep("[\"[[[[[\\\"[[[\"]", 1));
	assert_true(deep("[\"\\\\\",[1]]", 1)); /* the backslash is escaped, not the quote */
	assert_false(deep("]]]]]][[]", 2));     /* no JSON, and no harm */
	assert_true(deep("[[[[[[[[", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_well_formed_utf8_is_accepted_at_any_offset),
		cmocka_unit_test(test_malformed_utf8_is_refused_at_any_offset),
		cmocka_unit_test(test_an_id_is_short_text_without_controls),
		cmocka_unit_test(test_durations_have_units),
		cmocka_unit_test(test_what_is_no_duration_is_refused),
		cmocka_unit_test(test_sizes_have_binary_units),
		cmocka_unit_test(test_a_number_is_all_digits_and_64_bits),
		cmocka_unit_test(test_base64_gives_the_examples_of_rfc_4648),
		cmocka_unit_test(test_every_byte_survives_base64),
		cmocka_unit_test(test_sloppy_base64_is_refused),
		cmocka_unit_test(test_nesting_is_counted_outside_of_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
