#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "deletes.h"
#include "value.h"

static struct saver_name named(uint32_t app, const char *registration)
{
	struct saver_name name;

	assert_true(saver_name_set(&name, 42, app, registration, strlen(registration)));
	return name;
}

static void test_a_queue_key_says_whose_it_is(void **state)
{
	static const char longest[] = /* 64 bytes */
		"0123456789012345678901234567890123456789012345678901234567890123";
	static const char *const names[] = { "a", "ana", "with:colon", "bytes\x01\xff", longest };
	static const uint32_t apps[] = { 1, 7, 65536, 2147483647, UINT32_MAX };

	for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
		for (size_t k = 0; k < HF_ARRAY_LEN(apps); k++) {
			struct saver_name name = named(apps[k], names[i]);
			uint8_t key[SAVER_KEY_MAX];
			size_t len = saver_queue_key_encode(&name, key);
			struct hf_bytes registration;
			uint32_t app;

			assert_true(len <= sizeof(key));
			assert_true(
				saver_queue_key_decode(hf_bytes_of(key, len), &app, &registration));
			assert_int_equal(app, apps[k]);
			assert_true(hf_bytes_equal(registration, hf_bytes_of_string(names[i])));
		}
	}
}

static void test_a_key_of_somebody_else_is_not_taken(void **state)
{
	static const char *const keys[] = { "",         "hf:q:",     "hf:q:7",
					    "hf:q:7:",  "hf:q::x",   "hf:i:7:x",
					    "hf:q:x:y", "hf:q:-1:y", "hf:q:4294967296:y" };
	struct hf_bytes registration;
	uint32_t app;

	for (size_t i = 0; i < HF_ARRAY_LEN(keys); i++)
		assert_false(
			saver_queue_key_decode(hf_bytes_of_string(keys[i]), &app, &registration));
}

static void test_a_registration_has_1_to_64_bytes(void **state)
{
	char long_one[HF_REGISTRATION_MAX + 1] = { 0 };
	struct saver_name name;

	assert_false(saver_name_set(&name, 1, 7, "", 0));
	assert_true(saver_name_set(&name, 1, 7, long_one, HF_REGISTRATION_MAX));
	assert_false(saver_name_set(&name, 1, 7, long_one, HF_REGISTRATION_MAX + 1));
}

static void test_fields_sort_like_ids_and_other_fields_are_no_ids(void **state)
{
	static const uint64_t ids[] = { 1, 255, 256, 0x0102030405060708, UINT64_MAX };
	uint8_t before[SAVER_FIELD_SIZE] = { 0 }, field[SAVER_FIELD_SIZE];
	uint64_t id;

	for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++) {
		saver_field_encode(ids[i], field);
		assert_true(memcmp(before, field, sizeof(field)) < 0);
		assert_true(saver_field_decode(hf_bytes_of(field, sizeof(field)), &id));
		assert_true(id == ids[i]);
		memcpy(before, field, sizeof(field));
	}
	assert_false(saver_field_decode(HF_BYTES_LITERAL(SAVER_LOST_FIELD), &id));
	assert_false(saver_field_decode(HF_BYTES_LITERAL("123456789"), &id));
}

static void test_a_value_comes_back_as_it_was_and_a_cut_one_is_refused(void **state)
{
	uint8_t bytes[SAVER_VALUE_HEADER + 5];
	struct saver_value value;

	saver_value_header_encode(2, 1769860798412, bytes);
	memcpy(bytes + SAVER_VALUE_HEADER, "frame", 5);
	assert_true(saver_value_decode(hf_bytes_of(bytes, sizeof(bytes)), &value));
	assert_int_equal(value.class, 2);
	assert_true(value.expires_ms == 1769860798412);
	assert_true(hf_bytes_equal(value.frame, HF_BYTES_LITERAL("frame")));

	for (size_t len = 0; len < SAVER_VALUE_HEADER; len++) {
		uint8_t *exact = malloc(len + 1);

		memcpy(exact, bytes, len);
		exact = realloc(exact, len == 0 ? 1 : len);
		assert_false(saver_value_decode(hf_bytes_of(exact, len), &value));
		free(exact);
	}
	bytes[0] = 2; /* a version of the future */
	assert_false(saver_value_decode(hf_bytes_of(bytes, sizeof(bytes)), &value));
}

static void test_deletes_leave_the_queue_only_when_done(void **state)
{
	struct saver_deletes deletes;
	struct saver_name ana = named(7, "ana"), bob = named(8, "b'b");
	struct hf_buffer sql = { 0 };

	saver_deletes_init(&deletes, 3);
	assert_int_equal(saver_deletes_push(&deletes, &ana, 1), 0);
	assert_int_equal(saver_deletes_push(&deletes, &bob, 2), 0);
	assert_int_equal(saver_deletes_push(&deletes, &ana, 3), 0);
	assert_int_equal(saver_deletes_push(&deletes, &ana, 4), -ENOBUFS);

	assert_int_equal(saver_deletes_statement(&deletes, 2, &sql), 0);
	assert_int_equal(hf_buffer_append(&sql, "", 1), 0);
	assert_string_equal((const char *)hf_buffer_data(&sql),
			    "DELETE FROM messages WHERE (app,registration,message_id) IN "
			    "((7,x'616E61',1),(8,x'622762',2))");
	saver_deletes_failed(&deletes);
	assert_int_equal(saver_deletes_count(&deletes), 3);

	hf_buffer_clear(&sql, 0);
	assert_int_equal(saver_deletes_statement(&deletes, 2, &sql), 0);
	saver_deletes_done(&deletes);
	assert_int_equal(saver_deletes_count(&deletes), 1);

	hf_buffer_clear(&sql, 0);
	assert_int_equal(saver_deletes_statement(&deletes, 2, &sql), 0);
	assert_int_equal(hf_buffer_append(&sql, "", 1), 0);
	assert_non_null(strstr((const char *)hf_buffer_data(&sql), "((7,x'616E61',3))"));
	saver_deletes_done(&deletes);
	assert_int_equal(saver_deletes_count(&deletes), 0);

	hf_buffer_deinit(&sql);
	saver_deletes_deinit(&deletes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_queue_key_says_whose_it_is),
		cmocka_unit_test(test_a_key_of_somebody_else_is_not_taken),
		cmocka_unit_test(test_a_registration_has_1_to_64_bytes),
		cmocka_unit_test(test_fields_sort_like_ids_and_other_fields_are_no_ids),
		cmocka_unit_test(test_a_value_comes_back_as_it_was_and_a_cut_one_is_refused),
		cmocka_unit_test(test_deletes_leave_the_queue_only_when_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
