#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "record.h"
#include "registry_rows.h"
#include "registry_sql.h"

static struct saver_registry_rows rows;

static int setup(void **state)
{
	return saver_registry_rows_init(&rows, 1000, 10000);
}

static int teardown(void **state)
{
	saver_registry_rows_deinit(&rows);
	return 0;
}

static struct saver_name named(const char *registration)
{
	struct saver_name name;

	assert_true(saver_name_set(&name, 42, 7, registration, strlen(registration)));
	return name;
}

static bool put(const char *registration, const char *value, bool tags)
{
	struct saver_name name = named(registration);
	struct saver_registry_work work = { .erase = value == NULL, .tags = tags };

	return saver_registry_rows_put(&rows, &name,
				       hf_bytes_of(value, value != NULL ? strlen(value) : 0), work,
				       10);
}

static void test_a_later_change_takes_the_place_of_an_earlier_one(void **state)
{
	struct saver_registry_row *row;

	assert_true(put("a", "one", true));
	assert_true(put("a", "three", false));
	assert_int_equal(rows.bytes, 5);
	assert_null(saver_registry_rows_take(&rows, 9));
	row = saver_registry_rows_take(&rows, 10);
	assert_non_null(row);
	assert_memory_equal(row->value, "three", 5);
	assert_true(row->taken.tags);
	assert_null(saver_registry_rows_take(&rows, 10));
	saver_registry_rows_written(&rows, row);
	assert_int_equal(row->state, SAVER_REGISTRY_KEPT);
	saver_registry_rows_drop(&rows, row);
	assert_int_equal(rows.bytes, 0);
}

static void test_what_changes_while_it_is_written_is_written_again(void **state)
{
	struct saver_registry_row *row;

	assert_true(put("a", "one", true));
	row = saver_registry_rows_take(&rows, 10);
	assert_true(put("a", NULL, false));
	saver_registry_rows_written(&rows, row);
	assert_ptr_equal(saver_registry_rows_take(&rows, 10), row);
	assert_null(row->value);
	assert_true(row->taken.erase);
	assert_false(row->taken.tags);
	saver_registry_rows_written(&rows, row);
	assert_int_equal(row->state, SAVER_REGISTRY_KEPT);
}

static void test_a_failed_batch_forgets_no_work(void **state)
{
	struct saver_registry_row *row;

	assert_true(put("a", "one", true));
	row = saver_registry_rows_take(&rows, 10);
	assert_true(put("a", "two", false));
	saver_registry_rows_failed(&rows, row);
	assert_ptr_equal(saver_registry_rows_take(&rows, 10), row);
	assert_true(row->taken.tags);
	assert_memory_equal(row->value, "two", 3);
}

static void test_a_kept_row_that_changes_is_written_again(void **state)
{
	struct saver_registry_row *row;

	assert_true(put("a", "one", false));
	row = saver_registry_rows_take(&rows, 10);
	saver_registry_rows_written(&rows, row);
	assert_true(put("a", "two", false));
	assert_ptr_equal(saver_registry_rows_take(&rows, 10), row);
}

static void test_over_the_bound_nothing_is_noted_and_nothing_lost(void **state)
{
	char *large = calloc(1, 10001);
	struct saver_name a = named("a");

	assert_non_null(large);
	memset(large, 'x', 10000);
	assert_true(put("a", "one", false));
	assert_false(put("b", large, false));
	assert_false(put("c", large, false));
	assert_memory_equal(saver_registry_rows_find(&rows, &a)->value, "one", 3);
	large[10000 - 3] = '\0';
	assert_true(put("b", large, false));
	free(large);
}

/* The words of a batch, for rows of each kind. */
static void test_a_batch_says_what_each_row_needs(void **state)
{
	struct saver_registry_sql sql = { 0 };
	Hf__RegistrationRecord record = HF__REGISTRATION_RECORD__INIT;
	ProtobufCBinaryData tag = { 3, (uint8_t *)(uintptr_t) "a'b" };
	struct saver_registry_work work = { .tags = true };
	struct saver_name live = named("live"), gone = named("gone");
	uint8_t value[SAVER_RECORD_MAX];
	struct saver_registry_row *row;

	record.tags = &tag;
	record.n_tags = 1;
	record.revision = 5;
	assert_true(saver_registry_rows_put(&rows, &live,
					    hf_bytes_of(value, saver_record_encode(&record, value)),
					    work, 1));
	work = (struct saver_registry_work){ .erase = true };
	assert_true(saver_registry_rows_put(&rows, &gone, hf_bytes_of(NULL, 0), work, 1));
	while ((row = saver_registry_rows_take(&rows, 1)) != NULL)
		assert_int_equal(saver_registry_sql_add(&sql, row), 0);
	assert_int_equal(saver_registry_sql_end(&sql), 0);
	for (unsigned i = 0; i < SAVER_REGISTRY_STEPS; i++) {
		const char *text = (const char *)hf_buffer_data(&sql.steps[i]);
		size_t len = hf_buffer_len(&sql.steps[i]);
		bool erases = i == SAVER_REGISTRY_ERASE || i == SAVER_REGISTRY_ERASE_TAGS;

		assert_true(len > 0);
		assert_int_equal(memmem(text, len, "(7,x'676F6E65')", 15) != NULL, erases);
		assert_null(memmem(text, len, "a'b", 3));
	}
	saver_registry_sql_deinit(&sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_later_change_takes_the_place_of_an_earlier_one, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_changes_while_it_is_written_is_written_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_failed_batch_forgets_no_work, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_kept_row_that_changes_is_written_again,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_over_the_bound_nothing_is_noted_and_nothing_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_batch_says_what_each_row_needs, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
