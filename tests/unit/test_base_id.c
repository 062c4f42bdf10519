#include "test_base.h"

#include <errno.h>

#include "hf_id.h"

#define NOW (HF_ID_EPOCH_MS + 60000000000ull)

static void test_an_id_tells_its_time_and_node(void **state)
{
	struct hf_id_generator generator;
	uint64_t id;

	hf_id_generator_init(&generator, HF_ID_NODE_MAX);
	id = hf_id_next(&generator, NOW);
	assert_true(hf_id_wall_ms(id) == NOW);
	assert_int_equal(hf_id_node(id), HF_ID_NODE_MAX);
	hf_id_generator_init(&generator, 1);
	assert_int_equal(hf_id_node(hf_id_next(&generator, NOW)), 1);
}

static void test_ids_grow_whatever_the_clock_does(void **state)
{
	struct hf_id_generator generator;
	uint64_t before = 0, now = NOW;

	hf_id_generator_init(&generator, 5);
	for (int i = 0; i < 50000; i++) {
		uint64_t id = hf_id_next(&generator, now);

		assert_true(id > before);
		assert_int_equal(hf_id_node(id), 5);
		before = id;
		if (i % 7000 == 6999)
			now -= 3000; /* a clock that steps back */
		else if (i % 1000 == 999)
			now += 1;
	}
	/* 50,000 take 13 ms at 4096 each, the clock went up by 7: not farther ahead than need be */
	assert_in_range(hf_id_wall_ms(before), NOW + 12, NOW + 13 + 7);
	assert_true(hf_id_wall_ms(hf_id_next(&generator, NOW + 100)) == NOW + 100);
}

static void test_a_clock_before_the_epoch_still_gives_ids(void **state)
{
	struct hf_id_generator generator;
	uint64_t one, two;

	hf_id_generator_init(&generator, 1);
	one = hf_id_next(&generator, 0);
	two = hf_id_next(&generator, HF_ID_EPOCH_MS);
	assert_true(one != 0 && two > one);
}

static void test_text_comes_back_as_the_same_id(void **state)
{
	static const uint64_t ids[] = { 0, 1, 31, 32, 0x123456789abcdef0, UINT64_MAX };
	char text[HF_ID_TEXT_SIZE], before[HF_ID_TEXT_SIZE] = "";
	uint64_t parsed;

	for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++) {
		char *exact;

		hf_id_format(ids[i], text);
		assert_int_equal(strlen(text), HF_ID_TEXT_SIZE - 1);
		assert_true(strcmp(text, before) > 0); /* sorts like the number */
		memcpy(before, text, sizeof(text));
		exact = exact_copy(text, HF_ID_TEXT_SIZE - 1);
		assert_int_equal(hf_id_parse(exact, HF_ID_TEXT_SIZE - 1, &parsed), 0);
		assert_true(parsed == ids[i]);
		free(exact);
	}
	assert_string_equal(text, "FZZZZZZZZZZZZ");
	assert_int_equal(hf_id_parse("fzzzzzzzzzzzz", 13, &parsed), 0);
	assert_true(parsed == UINT64_MAX);
}

static void test_text_that_is_no_id_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"0",
		"000000000000",
		"00000000000000",
		"G000000000000",
		"ZZZZZZZZZZZZZ",
		"000000000000U",
		"000000000000I",
		"000000000000L",
		"000000000000O",
		"000000 000000",
		"-000000000001",
		"000000000000i",
		"/000000000000",
		"\377000000000000",
	};
	uint64_t id = 77;

	for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++)
		assert_int_equal(hf_id_parse(texts[i], strlen(texts[i]), &id), -EINVAL);
	assert_int_equal(hf_id_parse("000000000000\0", 13, &id), -EINVAL);
	assert_true(id == 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_id_tells_its_time_and_node),
		cmocka_unit_test(test_ids_grow_whatever_the_clock_does),
		cmocka_unit_test(test_a_clock_before_the_epoch_still_gives_ids),
		cmocka_unit_test(test_text_comes_back_as_the_same_id),
		cmocka_unit_test(test_text_that_is_no_id_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
