#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "deletes.h"
#include "delivery.h"
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

/* Exact heap copies let the sanitizer see any overread. */
static bool decodes(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len == 0 ? 1 : len);
	struct saver_value value;
	bool ok;

	memcpy(exact, bytes, len);
	ok = saver_value_decode(hf_bytes_of(exact, len), &value);
	free(exact);
	return ok;
}

static void test_a_value_comes_back_as_it_was_and_a_cut_one_is_refused(void **state)
{
	static uint8_t bytes[SAVER_VALUE_MAX];
	struct saver_value in = { .class = 2,
				  .expires_ms = 1769860798412,
				  .frame = HF_BYTES_LITERAL("frame") },
			   out;
	size_t plain = saver_value_encode(&in, bytes), len;

	assert_int_equal(plain, 10 + 5);
	assert_int_equal(bytes[0], 1); /* as every version of the store reads it */
	assert_true(saver_value_decode(hf_bytes_of(bytes, plain), &out));
	assert_int_equal(out.class, 2);
	assert_true(out.expires_ms == 1769860798412);
	assert_int_equal(out.delivery.len, 0);
	assert_true(hf_bytes_equal(out.frame, in.frame));
	for (size_t n = 0; n < 10; n++)
		assert_false(decodes(bytes, n));

	in.delivery = HF_BYTES_LITERAL("how");
	len = saver_value_encode(&in, bytes);
	assert_int_equal(len, plain + 2 + 3);
	assert_true(saver_value_decode(hf_bytes_of(bytes, len), &out));
	assert_true(hf_bytes_equal(out.delivery, in.delivery));
	assert_true(hf_bytes_equal(out.frame, in.frame));
	assert_true(out.expires_ms == 1769860798412);
	for (size_t n = 0; n < 15; n++)
		assert_false(decodes(bytes, n));
	bytes[0] = 3; /* a version of the future */
	assert_false(decodes(bytes, len));
}

static void test_a_delivery_is_bounded_and_comes_back(void **state)
{
	Hf__Delivery in = HF__DELIVERY__INIT, *out;
	uint8_t packed[SAVER_DELIVERY_MAX], key[SAVER_COLLAPSE_KEY_MAX + 1] = { 'k' };
	ssize_t len;

	assert_int_equal(saver_delivery_pack(NULL, packed), 0);
	assert_int_equal(saver_delivery_pack(&in, packed), 0);
	assert_null(saver_delivery_unpack((struct hf_bytes){ 0 }));
	in.high = true;
	in.receipts = 1u << 9;
	in.collapse_key = (ProtobufCBinaryData){ SAVER_COLLAPSE_KEY_MAX, key };
	len = saver_delivery_pack(&in, packed);
	assert_true(len > SAVER_COLLAPSE_KEY_MAX);
	out = saver_delivery_unpack(hf_bytes_of(packed, (size_t)len));
	assert_non_null(out);
	assert_true(out->high);
	assert_int_equal(out->receipts, 1u << 9);
	assert_int_equal(out->collapse_key.len, SAVER_COLLAPSE_KEY_MAX);
	saver_delivery_free(out);
	in.collapse_key.len++;
	assert_int_equal(saver_delivery_pack(&in, packed), -EMSGSIZE);
	assert_null(saver_delivery_unpack(HF_BYTES_LITERAL("\xff\xff")));
	saver_delivery_free(NULL);
}

static void test_a_frame_keeps_how_it_is_delivered(void **state)
{
	struct saver_frame *frame =
		saver_frame_new(HF_BYTES_LITERAL("how"), HF_BYTES_LITERAL("what"));

	assert_true(hf_bytes_equal(saver_frame_delivery(frame), HF_BYTES_LITERAL("how")));
	assert_true(hf_bytes_equal(saver_frame_bytes(frame), HF_BYTES_LITERAL("what")));
	assert_int_equal(frame->len, 7);
	saver_frame_unref(saver_frame_ref(frame));
	saver_frame_unref(frame);
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
		cmocka_unit_test(test_a_delivery_is_bounded_and_comes_back),
		cmocka_unit_test(test_a_frame_keeps_how_it_is_delivered),
		cmocka_unit_test(test_deletes_leave_the_queue_only_when_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
