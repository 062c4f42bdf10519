/* tests/unit/test_center_json.c - promises of the looks at JSON: the walk (services/center/json.h),
 * and the one pass that finds members (json_read.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json.h"
#include "json_read.h"

enum { UNKNOWN, A, TEXT, INNER, INNER_UNKNOWN, NAME, SLOTS };

static const struct json_member inner_members[] = {
	JSON_MEMBER("name", NAME, .tree = true),
	{ 0 },
};
static const struct json_shape inner_shape = { inner_members, INNER_UNKNOWN };
static const struct json_member members[] = {
	JSON_MEMBER("a", A, .tree = true),
	JSON_MEMBER("text", TEXT),
	JSON_MEMBER("inner", INNER, .inside = &inner_shape),
	{ 0 },
};
static const struct json_shape shape = { members, UNKNOWN };

/* An exact-size copy, for the sanitizer to see any overread. */
static uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

/* {"a":VALUE} */
static size_t around(const char *value, size_t len, uint8_t **ret)
{
	char *text = malloc(len + 8);
	size_t size;

	assert_non_null(text);
	size = (size_t)sprintf(text, "{\"a\":");
	memcpy(text + size, value, len);
	text[size + len] = '}';
	*ret = exact_copy(text, size + len + 1);
	free(text);
	return size + len + 1;
}

struct sample {
	const char *value;
	size_t len;
};
#define SAMPLE(text)                   \
	{                              \
		text, sizeof(text) - 1 \
	}

/* Values that every parser must take. */
static const struct sample good[] = {
	SAMPLE("0"),
	SAMPLE("-0"),
	SAMPLE("-1"),
	SAMPLE("123456789012345678901234567890"),
	SAMPLE("1.5"),
	SAMPLE("-0.25"),
	SAMPLE("1e2"),
	SAMPLE("1E+2"),
	SAMPLE("0e-1"),
	SAMPLE("1.5e300"),
	SAMPLE("true"),
	SAMPLE("false"),
	SAMPLE("null"),
	SAMPLE("\"\""),
	SAMPLE("\"\x7f\""),
	SAMPLE("\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\""),
	SAMPLE("\"\\u00e4\\uD83D\\uDE00\""),
	SAMPLE("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\""),
	SAMPLE("\"{[]},:\""),
	SAMPLE("[]"),
	SAMPLE("[ ]"),
	SAMPLE("{}"),
	SAMPLE("[1,\t2 ,\r\n3]"),
	SAMPLE("[[],{},[{}]]"),
	SAMPLE("{\"\":1,\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]}"),
	SAMPLE("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), /* 31 */
};

/* Values that none may take, and that some do. */
static const struct sample bad[] = {
	SAMPLE(""),
	SAMPLE("01"),
	SAMPLE("-01"),
	SAMPLE("1."),
	SAMPLE(".5"),
	SAMPLE("-"),
	SAMPLE("+1"),
	SAMPLE("1e"),
	SAMPLE("1e+"),
	SAMPLE("1.e2"),
	SAMPLE("0x1f"),
	SAMPLE("1 2"),
	SAMPLE("1e999"),
	SAMPLE("NaN"),
	SAMPLE("Infinity"),
	SAMPLE("-Infinity"),
	SAMPLE("True"),
	SAMPLE("tru"),
	SAMPLE("truee"),
	SAMPLE("nul"),
	SAMPLE("'a'"),
	SAMPLE("\"a"),
	SAMPLE("\"a\\\""),
	SAMPLE("\"\\x\""),
	SAMPLE("\"\\\""),
	SAMPLE("\"\\u12\""),
	SAMPLE("\"\\u12g4\""),
	SAMPLE("\"\\u0000\""),
	SAMPLE("\"\\ud800\""),
	SAMPLE("\"\\udc00\\ud800\""),
	SAMPLE("\"\\ud800\\u0041\""),
	SAMPLE("\"a\nb\""),
	SAMPLE("\"a\tb\""),
	SAMPLE("\"a\0b\""),
	SAMPLE("\"\\\\\x1f\""),
	SAMPLE("\"\xff\""),
	SAMPLE("\"\xc3\""),
	SAMPLE("\"\xc0\xaf\""),
	SAMPLE("\"\xe0\x80\xaf\""),
	SAMPLE("\"\xed\xa0\x80\""),
	SAMPLE("\"\xf4\x90\x80\x80\""),
	SAMPLE("\"\\n\xe9\""),
	SAMPLE("\"\x80\""),
	SAMPLE("["),
	SAMPLE("]"),
	SAMPLE("[1"),
	SAMPLE("[1,]"),
	SAMPLE("[,1]"),
	SAMPLE("[1,,2]"),
	SAMPLE("[1 2]"),
	SAMPLE("[1}"),
	SAMPLE("[\"a\":1]"),
	SAMPLE("{"),
	SAMPLE("{]"),
	SAMPLE("{\"a\"}"),
	SAMPLE("{\"a\":}"),
	SAMPLE("{\"a\" 1}"),
	SAMPLE("{\"a\":1,}"),
	SAMPLE("{,\"a\":1}"),
	SAMPLE("{a:1}"),
	SAMPLE("{1:1}"),
	SAMPLE("{\"a\":1 \"b\":2}"),
	SAMPLE("{\"a\":1,\"a\":2}"),
	SAMPLE("{\"a\":1,\"\\u0061\":2}"),
	SAMPLE("{\"a\\n\":1,\"a\\n\":2}"),
	SAMPLE("[{\"b\":{\"c\":1,\"c\":1}}]"),
	SAMPLE("1//x\n"),
	SAMPLE("/*x*/1"),
	SAMPLE("1\xc2\xa0"),
	SAMPLE("1\x0c"),
	SAMPLE("[1]]"),
	SAMPLE("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), /* 32 */
};

static int read_value(const struct sample *sample, struct json_slot slots[SLOTS],
		      struct problem *ret_problem, uint8_t **ret_text)
{
	size_t len = around(sample->value, sample->len, ret_text);

	return json_read(hf_bytes_of(*ret_text, len), &shape, slots, SLOTS, ret_problem);
}

static void test_what_is_json_is_taken(void **state)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
		struct json_slot slots[SLOTS];
		struct problem problem;
		json_t *value;
		uint8_t *text;

		if (read_value(&good[i], slots, &problem, &text) < 0)
			fail_msg("%s: %s", good[i].value, problem.message);
		assert_true(hf_bytes_equal(slots[A].text, hf_bytes_of(good[i].value, good[i].len)));
		value = json_loadb(good[i].value, good[i].len,
				   JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
		assert_non_null(value);
		assert_true(json_equal(slots[A].value, value));
		json_decref(value);
		json_clear(slots, SLOTS);
		free(text);
	}
}

static void test_what_is_not_json_is_refused(void **state)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		struct json_slot slots[SLOTS];
		struct problem problem;
		uint8_t *text;

		if (read_value(&bad[i], slots, &problem, &text) == 0)
			fail_msg("%s", bad[i].value);
		assert_string_equal(problem.reason, "BAD_JSON");
		assert_int_equal(problem.code, 400);
		free(text);
	}
}

static void test_the_whole_text_is_one_object(void **state)
{
	static const char *const cases[] = {
		"",
		" ",
		"[]",
		"1",
		"\"a\"",
		"{\"a\":1} x",
		"{\"a\":1}}",
		"{\"a\":1}{}",
		"x{\"a\":1}",
		"{\"a\":1},",
		"\xef\xbb\xbf{}",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i]);
		uint8_t *text = exact_copy(cases[i], len);
		struct json_slot slots[SLOTS];
		struct problem problem;

		if (json_read(hf_bytes_of(text, len), &shape, slots, SLOTS, &problem) == 0)
			fail_msg("%s", cases[i]);
		assert_string_equal(problem.reason, "BAD_JSON");
		free(text);
	}
}

/* The pass takes them by itself: what is common never costs a tree. */
static void test_plain_objects_need_no_judge(void **state)
{
	static const char *const cases[] = {
		"{}",
		" {\"a\" : -1.50, \"text\":[{\"x\":\"\\n\\\"\"}],\"z\":\"\xc3\xa4\"} \r\n",
	};
	static const char *const unsure[] = {
		"{\"\\u0061\":1}",
		"{\"z\":\"\\u00e4\"}",
		"{\"z\":1e5}",
	};
	struct json_slot slots[SLOTS] = { 0 };

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		memset(slots, 0, sizeof(slots));
		assert_int_equal(json_read_pass(hf_bytes_of_string(cases[i]), &shape, slots), 0);
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(unsure); i++) {
		memset(slots, 0, sizeof(slots));
		assert_int_equal(json_read_pass(hf_bytes_of_string(unsure[i]), &shape, slots), 1);
	}
}

static void test_members_come_as_they_were_sent(void **state)
{
	static const char text[] = "{\"te\\u0078t\" : [ 1.10, \"\\u00e4\" ] ,\"other\":{\"a\":5},"
				   "\"inner\":{\"name\":\"x\",\"b\":1,\"c\":2}, \"more\":1}";
	struct json_slot slots[SLOTS];
	struct problem problem;

	assert_int_equal(json_read(hf_bytes_of_string(text), &shape, slots, SLOTS, &problem), 0);
	assert_true(hf_bytes_equal(slots[TEXT].text, HF_BYTES_LITERAL("[ 1.10, \"\\u00e4\" ]")));
	assert_null(slots[TEXT].value); /* its shape wants no tree */
	assert_null(slots[A].text.data);
	assert_null(slots[A].value);
	assert_true(hf_bytes_equal(slots[UNKNOWN].text, HF_BYTES_LITERAL("\"other\"")));
	assert_string_equal(json_string_value(slots[NAME].value), "x");
	assert_true(hf_bytes_equal(slots[INNER_UNKNOWN].text, HF_BYTES_LITERAL("\"b\"")));
	json_clear(slots, SLOTS);
}

static void test_members_that_are_twice_are_refused(void **state)
{
	static const char *const cases[] = {
		"{\"text\":1,\"text\":1}",
		"{\"text\":1,\"te\\u0078t\":1}",
		"{\"z\":1,\"z\":1}",
		"{\"inner\":{\"name\":1,\"name\":1}}",
		"{\"inner\":{\"z\":1,\"z\":1}}",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		struct json_slot slots[SLOTS];
		struct problem problem;

		assert_int_equal(json_read(hf_bytes_of_string(cases[i]), &shape, slots, SLOTS,
					   &problem),
				 -22);
		assert_string_equal(problem.reason, "BAD_JSON");
	}
}

/* More keys than the pass remembers: the last of them twice, or not. */
static void test_many_keys_are_looked_at_all_the_same(void **state)
{
	char text[4096];

	for (int twice = 0; twice < 2; twice++) {
		struct json_slot slots[SLOTS];
		struct problem problem;
		size_t len = (size_t)sprintf(text, "{\"a\":{\"k0\":0");

		for (int i = 1; i < 200; i++)
			len += (size_t)sprintf(text + len, ",\"k%d\":0", i);
		len += (size_t)sprintf(text + len, ",\"k%d\":0}}", twice ? 199 : 200);
		assert_int_equal(json_read(hf_bytes_of(text, len), &shape, slots, SLOTS, &problem),
				 twice ? -22 : 0);
		if (!twice)
			json_clear(slots, SLOTS);
	}
}

static void test_every_prefix_is_refused(void **state)
{
	static const char text[] = "{\"a\":[1.5,\"\\n\xc3\xa4\",true],\"inner\":{\"name\":null}}";

	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		uint8_t *exact = exact_copy(text, len);
		struct json_slot slots[SLOTS];
		struct problem problem;

		assert_int_equal(json_read(hf_bytes_of(exact, len), &shape, slots, SLOTS, &problem),
				 -22);
		free(exact);
	}
}

static void test_the_walk_takes_a_batch_apart(void **state)
{
	static const char text[] =
		" {\"messages\" : [ {\"a\":[1,{}]} , \"x,]\" ,-1.5e3], \"p\":true} ";
	struct json_walk walk, items;
	struct hf_bytes key, value;

	assert_int_equal(json_walk_begin(&walk, hf_bytes_of_string(text), '{'), 0);
	assert_int_equal(json_walk_next(&walk, &key, &value), 1);
	assert_true(json_key_is(key, "messages"));
	assert_int_equal(json_walk_begin(&items, value, '['), 0);
	assert_int_equal(json_walk_next(&items, &key, &value), 1);
	assert_true(hf_bytes_equal(value, HF_BYTES_LITERAL("{\"a\":[1,{}]}")));
	assert_int_equal(json_walk_next(&items, &key, &value), 1);
	assert_true(hf_bytes_equal(value, HF_BYTES_LITERAL("\"x,]\"")));
	assert_int_equal(json_walk_next(&items, &key, &value), 1);
	assert_true(hf_bytes_equal(value, HF_BYTES_LITERAL("-1.5e3")));
	assert_int_equal(json_walk_next(&items, &key, &value), 0);
	assert_int_equal(json_walk_next(&walk, &key, &value), 1);
	assert_true(json_key_is(key, "p"));
	assert_int_equal(json_walk_next(&walk, &key, &value), 0);
}

static void test_the_walk_refuses_what_is_not_well_formed(void **state)
{
	static const char *const cases[] = {
		"[1 2]", "[1,,2]",      "[,1]", "[1,]",   "[",   "[\"a]",
		"[{]",   "[{\"a\":[}]", "[1]x", "[\"a\\", "[:]",
	};
	struct hf_bytes key, value;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		struct json_walk walk;
		int n = json_walk_begin(&walk, hf_bytes_of_string(cases[i]), '[');

		while (n >= 0 && (n = json_walk_next(&walk, &key, &value)) == 1)
			continue;
		if (n != -22)
			fail_msg("%s", cases[i]);
	}
}

static void test_a_walk_goes_into_what_it_comes_to(void **state)
{
	static const char text[] = "{\"x\":1,\"list\":[ 2 ,[3]] ,\"y\":4}";
	struct json_walk walk, inner;
	struct hf_bytes key, value;

	assert_int_equal(json_walk_begin(&walk, hf_bytes_of_string(text), '{'), 0);
	assert_int_equal(json_walk_next(&walk, &key, &value), 1);
	assert_int_equal(json_walk_key(&walk, &key), 1);
	assert_true(json_key_is(key, "list"));
	assert_int_equal(json_walk_enter(&walk, '{', &inner), -22);
	assert_int_equal(json_walk_enter(&walk, '[', &inner), 0);
	assert_int_equal(json_walk_next(&inner, &key, &value), 1);
	assert_true(hf_bytes_equal(value, HF_BYTES_LITERAL("2")));
	assert_int_equal(json_walk_next(&inner, &key, &value), 1);
	assert_true(hf_bytes_equal(value, HF_BYTES_LITERAL("[3]")));
	assert_int_equal(json_walk_next(&inner, &key, &value), 0);
	json_walk_leave(&walk, &inner);
	assert_int_equal(json_walk_next(&walk, &key, &value), 1);
	assert_true(json_key_is(key, "y"));
	assert_int_equal(json_walk_next(&walk, &key, &value), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_json_is_taken),
		cmocka_unit_test(test_what_is_not_json_is_refused),
		cmocka_unit_test(test_the_whole_text_is_one_object),
		cmocka_unit_test(test_plain_objects_need_no_judge),
		cmocka_unit_test(test_members_come_as_they_were_sent),
		cmocka_unit_test(test_members_that_are_twice_are_refused),
		cmocka_unit_test(test_many_keys_are_looked_at_all_the_same),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_the_walk_takes_a_batch_apart),
		cmocka_unit_test(test_the_walk_refuses_what_is_not_well_formed),
		cmocka_unit_test(test_a_walk_goes_into_what_it_comes_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
