/* tests/unit/test_center_query.c - promises of query strings, cursors and connection names
 * (services/center/query.h, connection_id.h), and of lists of ids (ids.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "connection_id.h"
#include "ids.h"
#include "query.h"

static struct problem problem;

/* An exact-size copy, so that the sanitizer sees any overread. */
static struct hf_bytes exact(const char *text)
{
	static char *copy;
	size_t len = strlen(text);

	free(copy);
	copy = malloc(len > 0 ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	return hf_bytes_of(copy, len);
}

static void refused(int err, const char *reason, const char *field)
{
	assert_int_equal(err, -EINVAL);
	assert_int_equal(problem.code, 400);
	assert_string_equal(problem.reason, reason);
	assert_string_equal(problem.field, field);
}

static void test_only_what_a_route_knows_passes_and_only_once(void **state)
{
	assert_int_equal(query_check(exact(""), NULL, &problem), 0);
	assert_int_equal(query_check(exact("b=1&a=2"), "a b", &problem), 0);
	assert_int_equal(query_check(exact("a"), "a b", &problem), 0);
	refused(query_check(exact("a=1"), NULL, &problem), "UNKNOWN_FIELD", "a");
	refused(query_check(exact("ab=1"), "a b", &problem), "UNKNOWN_FIELD", "ab");
	refused(query_check(exact("a=1&&b=2"), "a b", &problem), "UNKNOWN_FIELD", "");
	refused(query_check(exact("a=1&b=2&a=1"), "a b", &problem), "CONFLICTING_FIELDS", "a");
	refused(query_check(exact("=1"), "a b", &problem), "UNKNOWN_FIELD", "");
}

static void test_an_id_is_decoded_and_checked(void **state)
{
	char id[9] = "old";
	size_t len = 7;

	assert_int_equal(query_id(exact("b=1"), "a", 8, id, &len, &problem), 0);
	assert_int_equal(len, 0);
	assert_string_equal(id, "old");
	assert_int_equal(query_id(exact("a=x%2Fy+z"), "a", 8, id, &len, &problem), 0);
	assert_int_equal(len, 5);
	assert_string_equal(id, "x/y z");
	assert_int_equal(query_id(exact("a=12345678"), "a", 8, id, &len, &problem), 0);
	refused(query_id(exact("a=123456789"), "a", 8, id, &len, &problem), "BAD_VALUE", "a");
	refused(query_id(exact("a="), "a", 8, id, &len, &problem), "BAD_VALUE", "a");
	refused(query_id(exact("a=%0a"), "a", 8, id, &len, &problem), "BAD_VALUE", "a");
	refused(query_id(exact("a=%ff"), "a", 8, id, &len, &problem), "BAD_VALUE", "a");
	refused(query_id(exact("a=%2"), "a", 8, id, &len, &problem), "BAD_VALUE", "a");
}

static void test_numbers_choices_and_times_have_bounds(void **state)
{
	static const char *const choices[] = { "hour", "day", NULL };
	uint64_t number = 5;
	int choice = 7;

	assert_int_equal(query_uint(exact("n=10"), "n", 1, 10, &number, &problem), 0);
	assert_int_equal(number, 10);
	refused(query_uint(exact("n=11"), "n", 1, 10, &number, &problem), "BAD_VALUE", "n");
	refused(query_uint(exact("n=1x"), "n", 1, 10, &number, &problem), "BAD_VALUE", "n");
	assert_int_equal(number, 10);
	assert_int_equal(query_choice(exact("c=day"), "c", choices, &choice, &problem), 0);
	assert_int_equal(choice, 1);
	refused(query_choice(exact("c=days"), "c", choices, &choice, &problem), "BAD_VALUE", "c");
	assert_int_equal(query_time(exact("t=1769860798"), "t", &number, &problem), 0);
	assert_int_equal(number, 1769860798000);
	assert_int_equal(query_time(exact("t=2026-01-31T11:59:58Z"), "t", &number, &problem), 0);
	assert_int_equal(number, 1769860798000);
	assert_int_equal(query_time(exact("t=2026-01-31"), "t", &number, &problem), 0);
	assert_int_equal(number, 1769817600000);
	refused(query_time(exact("t=2026-01-31x"), "t", &number, &problem), "BAD_VALUE", "t");
	refused(query_time(exact("t=2026-02-30"), "t", &number, &problem), "BAD_VALUE", "t");
	refused(query_time(exact("t=2026-2-3"), "t", &number, &problem), "BAD_VALUE", "t");
	refused(query_time(exact("t="), "t", &number, &problem), "BAD_VALUE", "t");
	refused(query_time(exact("t=0"), "t", &number, &problem), "BAD_VALUE", "t");
	refused(query_time(exact("t=99999999999999999999"), "t", &number, &problem), "BAD_VALUE",
		"t");
}

static int page_of(const char *cursor, char kind, size_t cursor_max, struct query_page *ret)
{
	char text[400];

	snprintf(text, sizeof(text), "limit=7&cursor=%s", cursor);
	return query_page(exact(text), kind, cursor_max, 1000, ret, &problem);
}

static void test_a_cursor_leads_back_to_where_it_was_made_and_nowhere_else(void **state)
{
	uint8_t position[QUERY_CURSOR_MAX];
	struct query_page page;
	json_t *cursor;

	for (size_t i = 0; i < sizeof(position); i++)
		position[i] = (uint8_t)(i * 37);
	for (size_t len = 1; len <= sizeof(position); len++) {
		cursor = query_next_cursor('r', position, len);
		assert_int_equal(page_of(json_string_value(cursor), 'r', len, &page), 0);
		assert_int_equal(page.limit, 7);
		assert_int_equal(page.cursor_len, len);
		assert_memory_equal(page.cursor, position, len);
		refused(page_of(json_string_value(cursor), 't', len, &page), "BAD_VALUE", "cursor");
		refused(page_of(json_string_value(cursor), 'r', len - 1, &page), "BAD_VALUE",
			"cursor");
		json_decref(cursor);
	}
	cursor = query_next_cursor('r', position, 0);
	assert_true(json_is_null(cursor));
	assert_int_equal(query_page(exact(""), 'r', 64, 1000, &page, &problem), 0);
	assert_int_equal(page.limit, QUERY_LIMIT);
	assert_int_equal(page.cursor_len, 0);
	refused(page_of("", 'r', 64, &page), "BAD_VALUE", "cursor");
	refused(page_of("%00", 'r', 64, &page), "BAD_VALUE", "cursor");
	refused(page_of("cg", 'r', 64, &page), "BAD_VALUE", "cursor"); /* a kind and no position */
}

static void test_a_connection_has_one_name(void **state)
{
	static const char *const bad[] = {
		"",
		"-",
		"1",
		"1-01000001",
		"1-01000001-",
		"1-01000001-0AKQRJ3EQ2W0",
		"1-01000001-0AKQRJ3EQ2W000",
		"1-0100001-0AKQRJ3EQ2W00",
		"1-0100000A-0AKQRJ3EQ2W00",
		"-1-01000001-0AKQRJ3EQ2W00",
		"4294967296-01000001-0AKQRJ3EQ2W00",
		"1_01000001-0AKQRJ3EQ2W00",
		"1-01000001_0AKQRJ3EQ2W00",
		"1-01000001-0AKQRJ3EQ2W0U",
	};
	const struct connection_id most = { UINT32_MAX, UINT32_MAX, UINT64_MAX };
	struct connection_id id;
	char text[CONNECTION_ID_SIZE];

	connection_id_format(&most, text);
	assert_int_equal(strlen(text), CONNECTION_ID_SIZE - 1);
	assert_int_equal(connection_id_parse(text, &id), 0);
	assert_true(connection_id_equal(&id, &most));
	id.epoch--;
	assert_false(connection_id_equal(&id, &most));
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		assert_int_equal(connection_id_parse(bad[i], &id), -EINVAL);
}

static void test_a_name_in_two_lists_is_found(void **state)
{
	const struct hf_bytes a[] = { HF_BYTES_LITERAL("c"), HF_BYTES_LITERAL("ab"),
				      HF_BYTES_LITERAL("a") };
	const struct hf_bytes b[] = { HF_BYTES_LITERAL("b"), HF_BYTES_LITERAL("abc"),
				      HF_BYTES_LITERAL("ab") };

	assert_ptr_equal(ids_shared(a, 3, b, 3), &b[2]);
	assert_null(ids_shared(a, 3, b, 2));
	assert_null(ids_shared(a, 0, b, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_a_route_knows_passes_and_only_once),
		cmocka_unit_test(test_an_id_is_decoded_and_checked),
		cmocka_unit_test(test_numbers_choices_and_times_have_bounds),
		cmocka_unit_test(test_a_cursor_leads_back_to_where_it_was_made_and_nowhere_else),
		cmocka_unit_test(test_a_connection_has_one_name),
		cmocka_unit_test(test_a_name_in_two_lists_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
