#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hf_why.h"

#define MAX 100

static struct hf_why_record found[MAX];
static uint64_t oldest_us;

static size_t find(const struct hf_why *why, uint32_t app, uint64_t id, uint64_t name, size_t max)
{
	struct hf_why_query query = { .app = app, .message_id = id, .name = name, .max = max };

	memset(found, 0, sizeof(found));
	return hf_why_find(why, &query, found, &oldest_us);
}

static struct hf_why make(uint64_t records)
{
	struct hf_why why;

	assert_int_equal(hf_why_init(&why, records, 42), 0);
	return why;
}

static void test_what_was_noted_is_found_newest_first(void **state)
{
	struct hf_why why = make(16);
	uint64_t ana = hf_why_name(&why, 7, "ana", 3), bob = hf_why_name(&why, 7, "bob", 3);

	assert_int_equal(find(&why, 7, 1, 0, MAX), 0);
	hf_why_note(&why, HF_WHY_STORED, 7, 1, ana, 0);
	hf_why_note(&why, HF_WHY_STORED, 7, 1, bob, 0);
	hf_why_note(&why, HF_WHY_STORED, 7, 2, ana, 0);
	hf_why_note(&why, HF_WHY_ACKED, 7, 1, ana, 5);
	assert_int_equal(find(&why, 7, 1, 0, MAX), 3);
	assert_int_equal(found[0].outcome, HF_WHY_ACKED);
	assert_int_equal(found[0].detail, 5);
	assert_true(found[1].name == bob);
	assert_true(found[0].at_us >= found[2].at_us && found[2].at_us > 0);
	assert_int_equal(find(&why, 7, 0, ana, MAX), 3);
	assert_int_equal(find(&why, 7, 1, ana, MAX), 2);
	assert_int_equal(find(&why, 7, 1, 0, 2), 2);
	assert_int_equal(found[0].outcome, HF_WHY_ACKED);
	assert_true(oldest_us == 0); /* nothing was overwritten */
	hf_why_deinit(&why);
}

static void test_one_app_does_not_see_another(void **state)
{
	struct hf_why why = make(16);

	hf_why_note_name(&why, HF_WHY_STORED, 7, "ana", 3, 1, 0);
	assert_int_equal(find(&why, 8, 1, 0, MAX), 0);
	assert_int_equal(find(&why, 7, 1, 0, MAX), 1);
	assert_true(hf_why_name(&why, 7, "ana", 3) != hf_why_name(&why, 8, "ana", 3));
	hf_why_deinit(&why);
}

static void test_the_oldest_are_overwritten_and_it_is_told(void **state)
{
	struct hf_why why = make(5); /* rounded up to 8 */

	for (uint64_t id = 1; id <= 8; id++)
		hf_why_note(&why, HF_WHY_STORED, 7, id, 1, id);
	assert_int_equal(find(&why, 7, 0, 1, MAX), 8);
	assert_true(oldest_us == 0);
	for (uint64_t id = 9; id <= 11; id++)
		hf_why_note(&why, HF_WHY_STORED, 7, id, 1, id);
	assert_int_equal(find(&why, 7, 0, 1, MAX), 8);
	assert_int_equal(found[0].message_id, 11);
	assert_int_equal(found[7].message_id, 4);
	assert_true(oldest_us == found[7].at_us);
	assert_int_equal(find(&why, 7, 3, 0, MAX), 0);
	hf_why_deinit(&why);
}

static void test_names_depend_on_the_salt_only_of_the_cluster(void **state)
{
	struct hf_why a = make(1), b = make(1);

	assert_true(hf_why_name(&a, 7, "ana", 3) == hf_why_name(&b, 7, "ana", 3));
	b.salt++;
	assert_true(hf_why_name(&a, 7, "ana", 3) != hf_why_name(&b, 7, "ana", 3));
	hf_why_deinit(&a);
	hf_why_deinit(&b);
}

static void test_a_ring_that_was_never_made_takes_notes_and_finds_none(void **state)
{
	struct hf_why why = { 0 };

	hf_why_note(&why, HF_WHY_STORED, 7, 1, 1, 0);
	hf_why_note_name(&why, HF_WHY_STORED, 7, "ana", 3, 1, 0);
	assert_int_equal(find(&why, 7, 1, 0, MAX), 0);
}

static void test_every_outcome_has_words_of_its_own(void **state)
{
	assert_null(hf_why_words(HF_WHY_NOTHING));
	assert_null(hf_why_words(HF_WHY_OUTCOMES));
	for (uint32_t i = 1; i < HF_WHY_OUTCOMES; i++) {
		const struct hf_why_words *words = hf_why_words(i);

		assert_non_null(words);
		assert_true(words->hop != HF_WHY_HOP_NONE && words->text[0] != '\0');
		for (uint32_t k = 1; k < i; k++)
			assert_string_not_equal(words->name, hf_why_words(k)->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_noted_is_found_newest_first),
		cmocka_unit_test(test_one_app_does_not_see_another),
		cmocka_unit_test(test_the_oldest_are_overwritten_and_it_is_told),
		cmocka_unit_test(test_names_depend_on_the_salt_only_of_the_cluster),
		cmocka_unit_test(test_a_ring_that_was_never_made_takes_notes_and_finds_none),
		cmocka_unit_test(test_every_outcome_has_words_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
