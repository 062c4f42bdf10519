/* tests/unit/test_wire_bodies.c - what the decoders of control bodies let pass and what they
 * refuse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_cursor.h"
#include "hf_wire.h"

#define BODY(s) hf_bytes_of(s, sizeof(s) - 1)

static struct hf_wire_login login;

static uint8_t *exact_copy(struct hf_bytes bytes)
{
	uint8_t *copy = malloc(bytes.len > 0 ? bytes.len : 1);

	assert_non_null(copy);
	if (bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	return copy;
}

static int decode_login(struct hf_bytes body)
{
	uint8_t *exact = exact_copy(body);
	int result = hf_wire_decode_login(hf_bytes_of(exact, body.len), &login);

	free(exact);
	return result;
}

static int decode_attach(struct hf_bytes body)
{
	uint8_t *exact = exact_copy(body);
	struct hf_wire_session session;
	int result = hf_wire_decode_attach(hf_bytes_of(exact, body.len), &session);

	free(exact);
	return result;
}

static void put_field(struct hf_writer *w, unsigned number, char fill, size_t len)
{
	hf_writer_varint(w, number << 3 | 2);
	hf_writer_varint(w, len);
	for (size_t i = 0; i < len; i++)
		hf_writer_u8(w, (uint8_t)fill);
}

static void test_a_login_needs_magic_device_and_session(void **state)
{
	/* device "d", session { app 1, registration "r" } */
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x3a\5\x08\1\x12\1r")), 0);
	assert_int_equal(login.session_count, 1);
	assert_int_equal(decode_login(BODY("hf\1\x0a\1d\x3a\5\x08\1\x12\1r")), -EPROTO);
	assert_int_equal(decode_login(BODY("HF\0\x0a\1d\x3a\5\x08\1\x12\1r")), -EPROTO);
	assert_int_equal(decode_login(BODY("HF\1\x3a\5\x08\1\x12\1r")), -EPROTO);
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d")), -EPROTO);
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x3a\3\x12\1r")), -EPROTO); /* no app */
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x3a\2\x08\1")),
			 -EPROTO); /* no registration */
	assert_int_equal(decode_login(BODY("HF\1")), -EPROTO);
	assert_int_equal(decode_login(BODY("HF")), -EPROTO);
	assert_int_equal(decode_login(hf_bytes_of(NULL, 0)), -EPROTO);
}

static void test_another_version_is_reported_and_nothing_else_is_read(void **state)
{
	assert_int_equal(decode_login(BODY("HF\2\xff\xff\xff")), 0);
	assert_int_equal(login.version, 2);
	assert_int_equal(login.session_count, 0);
	assert_int_equal(login.device.len, 0);
}

static void test_an_app_comes_only_once_in_a_login(void **state)
{
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x3a\5\x08\1\x12\1r\x3a\5\x08\2\x12\1r")),
			 0);
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x3a\5\x08\1\x12\1r\x3a\5\x08\1\x12\1q")),
			 -EPROTO);
}

static void test_sixteen_sessions_pass_and_seventeen_do_not(void **state)
{
	for (unsigned count = 16; count <= 17; count++) {
		uint8_t bytes[256];
		struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));

		hf_writer_bytes(&w, "HF\1\x0a\1d", 6);
		for (unsigned i = 1; i <= count; i++) {
			hf_writer_bytes(&w, "\x3a\5\x08", 3);
			hf_writer_u8(&w, (uint8_t)i);
			hf_writer_bytes(&w, "\x12\1r", 3);
		}
		assert_int_equal(decode_login(hf_bytes_of(bytes, (size_t)(w.pos - bytes))),
				 count == 16 ? 0 : -EPROTO);
	}
}

static void test_each_text_has_its_limit(void **state)
{
	static const struct {
		unsigned number;
		size_t max;
	} fields[] = { { 2, 64 }, { 3, 2048 }, { 4, 128 }, { 5, 40 } };

	for (size_t i = 0; i < HF_ARRAY_LEN(fields); i++) {
		for (size_t over = 0; over < 2; over++) {
			uint8_t bytes[4096];
			struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));

			hf_writer_bytes(&w, "\x08\1\x12\1r", 5);
			put_field(&w, fields[i].number, 'x', fields[i].max + over);
			assert_int_equal(decode_attach(hf_bytes_of(bytes, (size_t)(w.pos - bytes))),
					 over ? -EPROTO : 0);
		}
	}
}

static void test_tags_are_limited_in_number_and_never_empty(void **state)
{
	for (unsigned count = 32; count <= 33; count++) {
		uint8_t bytes[512];
		struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));

		hf_writer_bytes(&w, "\x08\1\x12\1r", 5);
		for (unsigned i = 0; i < count; i++)
			put_field(&w, 5, 'x', 3);
		assert_int_equal(decode_attach(hf_bytes_of(bytes, (size_t)(w.pos - bytes))),
				 count == 32 ? 0 : -EPROTO);
	}
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\x2a\0")), -EPROTO);
}

static void test_ids_are_utf8_without_control_characters(void **state)
{
	assert_int_equal(decode_attach(BODY("\x08\1\x12\3\xe2\x82\xac")), 0);
	assert_int_equal(decode_attach(BODY("\x08\1\x12\2\xe2\x82")), -EPROTO);     /* cut */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\2\xc0\x80")), -EPROTO);     /* overlong */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\3\xed\xa0\x80")), -EPROTO); /* surrogate */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1\xff")), -EPROTO);
	assert_int_equal(decode_attach(BODY("\x08\1\x12\2r\0")), -EPROTO);
	assert_int_equal(decode_attach(BODY("\x08\1\x12\2r\n")), -EPROTO);
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\x1a\2t\0")), -EPROTO);  /* token */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\x22\2u\t")), -EPROTO);  /* user id */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\x2a\1\x7f")), -EPROTO); /* tag */
}

static void test_unknown_fields_are_skipped(void **state)
{
	/* one of each wire type: varint 100, fixed64 101, bytes 102, fixed32 103 */
	static const char extra[] = "\x08\1\xa0\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
				    "\xa9\x06"
				    "12345678\xb2\x06\3abc\xbd\x06"
				    "1234\x12\1r";

	assert_int_equal(decode_attach(BODY(extra)), 0);
	for (size_t len = 0; len < sizeof(extra) - 1; len++)
		assert_int_equal(decode_attach(hf_bytes_of(extra, len)), -EPROTO);
}

static void test_malformed_fields_are_refused(void **state)
{
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\x00\0")), -EPROTO); /* field 0 */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\xa3\x06\xa4\x06")), -EPROTO); /* group */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\xa6\x06")), -EPROTO); /* wire type 6 */
	assert_int_equal(decode_attach(BODY("\x0a\1x\x12\1r")), -EPROTO);        /* app as bytes */
	assert_int_equal(decode_attach(BODY("\x08\1\x10\1")), -EPROTO); /* registration as varint */
	assert_int_equal(decode_attach(BODY("\x08\x80\x80\x80\x80\x10\x12\1r")),
			 -EPROTO); /* 2^32 */
	assert_int_equal(decode_attach(BODY("\x08\1\x12\xff\xff\xff\xff\x0fr")), -EPROTO);
	assert_int_equal(decode_attach(BODY("\x08\1\x12\1r\xff\xff\xff\xff\xff\xff\x01")), -EPROTO);
	assert_int_equal(decode_attach(BODY("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x12\1r")),
			 -EPROTO);
}

static void test_the_last_of_a_repeated_single_field_counts(void **state)
{
	struct hf_wire_session session;

	assert_int_equal(hf_wire_decode_attach(BODY("\x08\1\x12\1r\x08\2\x12\1s"), &session), 0);
	assert_int_equal(session.app, 2);
	assert_true(hf_bytes_equal(session.registration, BODY("s")));
	/* varints of protobuf need not be minimal */
	assert_int_equal(hf_wire_decode_attach(BODY("\x08\x81\0\x12\1r"), &session), 0);
	assert_int_equal(session.app, 1);
}

static void test_an_unknown_network_counts_as_not_told(void **state)
{
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x20\3\x3a\5\x08\1\x12\1r")), 0);
	assert_int_equal(login.network, HF_NETWORK_ETHERNET);
	assert_int_equal(decode_login(BODY("HF\1\x0a\1d\x20\4\x3a\5\x08\1\x12\1r")), 0);
	assert_int_equal(login.network, HF_NETWORK_UNKNOWN);
}

static void test_endpoints_are_limited(void **state)
{
	struct hf_wire_bye bye;

	for (unsigned count = 8; count <= 9; count++) {
		uint8_t bytes[4096];
		struct hf_writer w = hf_writer_of(bytes, sizeof(bytes));

		hf_writer_bytes(&w, "\x08\1", 2);
		for (unsigned i = 0; i < count; i++)
			put_field(&w, 4, 'x', 260);
		assert_int_equal(hf_wire_decode_bye(hf_bytes_of(bytes, (size_t)(w.pos - bytes)),
						    &bye),
				 count == 8 ? 0 : -EPROTO);
	}
	assert_int_equal(hf_wire_decode_bye(BODY("\x08\1\x22\0"), &bye), -EPROTO);
	assert_int_equal(hf_wire_decode_bye(BODY(""), &bye), -EPROTO); /* no code */
}

static void test_encoders_refuse_what_decoders_would(void **state)
{
	uint8_t out[HF_WIRE_CONTROL_MAX];
	struct hf_wire_session session = { .app = 1, .registration = BODY("r") };
	struct hf_wire_bye bye = { .code = 4100, .reason = BODY("why") };
	struct hf_wire_command command = { .kind = 0 };
	char reason[124];

	assert_true(hf_wire_encode_attach(&session, out, sizeof(out)) > 0);
	session.registration = BODY("r\n");
	assert_int_equal(hf_wire_encode_attach(&session, out, sizeof(out)), -EMSGSIZE);
	session.registration = BODY("");
	assert_int_equal(hf_wire_encode_attach(&session, out, sizeof(out)), -EMSGSIZE);
	session.registration = BODY("r");
	session.app = 0;
	assert_int_equal(hf_wire_encode_attach(&session, out, sizeof(out)), -EMSGSIZE);
	assert_int_equal(hf_wire_encode_command(&command, out, sizeof(out)), -EMSGSIZE);

	memset(reason, 'x', sizeof(reason));
	bye.reason = hf_bytes_of(reason, sizeof(reason));
	assert_int_equal(hf_wire_encode_bye(&bye, out, sizeof(out)), -EMSGSIZE);
	bye.reason.len--;
	assert_true(hf_wire_encode_bye(&bye, out, sizeof(out)) > 0);
}

static void test_a_reason_that_is_not_utf8_is_left_out(void **state)
{
	uint8_t out[64];
	struct hf_wire_bye bye = { .code = 4100, .reason = BODY("\xff") };
	struct hf_wire_frame frame;
	ssize_t n = hf_wire_encode_bye(&bye, out, sizeof(out));

	assert_int_equal(n, 5);
	assert_int_equal(hf_wire_decode(out, (size_t)n, UINT32_MAX, &frame, NULL), n);
	assert_int_equal(hf_wire_decode_bye(frame.body, &bye), 0);
	assert_int_equal(bye.code, 4100);
	assert_int_equal(bye.reason.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_login_needs_magic_device_and_session),
		cmocka_unit_test(test_another_version_is_reported_and_nothing_else_is_read),
		cmocka_unit_test(test_an_app_comes_only_once_in_a_login),
		cmocka_unit_test(test_sixteen_sessions_pass_and_seventeen_do_not),
		cmocka_unit_test(test_each_text_has_its_limit),
		cmocka_unit_test(test_tags_are_limited_in_number_and_never_empty),
		cmocka_unit_test(test_ids_are_utf8_without_control_characters),
		cmocka_unit_test(test_unknown_fields_are_skipped),
		cmocka_unit_test(test_malformed_fields_are_refused),
		cmocka_unit_test(test_the_last_of_a_repeated_single_field_counts),
		cmocka_unit_test(test_an_unknown_network_counts_as_not_told),
		cmocka_unit_test(test_endpoints_are_limited),
		cmocka_unit_test(test_encoders_refuse_what_decoders_would),
		cmocka_unit_test(test_a_reason_that_is_not_utf8_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
