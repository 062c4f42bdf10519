/* tests/unit/test_center_request.c - promises of the check of send requests
 * (services/center/request.h): the message, when, and how. */
#include "request_fixture.h"

static void test_a_plain_message_gets_the_defaults(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data\":{\"order\":17}", ""), 0);
	assert_int_equal(f->request.target_count, 1);
	assert_true(hf_bytes_equal(f->request.targets[0], HF_BYTES_LITERAL("r1")));
	assert_payload(f, HF_WIRE_PAYLOAD_JSON, "{\"order\":17}");
	assert_int_equal(f->request.class, REQUEST_STORED);
	assert_int_equal(f->request.ttl_ms, 86400000);
	assert_int_equal(f->request.wait, REQUEST_WAIT_NONE);
	assert_int_equal(f->request.wait_ms, 3000);
	assert_false(f->request.validate_only);
	assert_string_equal(f->request.cid, "");
	assert_string_equal(f->request.label, "");
}

static void test_data_travels_exactly_as_it_was_written(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data\" :  [ 1.10, 123456789012345678901, \"\\u00e4\" ] ",
				    ""),
			 0);
	assert_payload(f, HF_WIRE_PAYLOAD_JSON, "[ 1.10, 123456789012345678901, \"\\u00e4\" ]");
	assert_int_equal(parse_with(f, "\"da\\u0074a\":1", ""), 0);
	assert_payload(f, HF_WIRE_PAYLOAD_JSON, "1");
	assert_int_equal(parse_with(f, "\"data\":null", ""), 0);
	assert_payload(f, HF_WIRE_PAYLOAD_JSON, "null");
	assert_int_equal(parse_with(f, "\"data\":{\"message\":{\"data\":2}}", ""), 0);
	assert_payload(f, HF_WIRE_PAYLOAD_JSON, "{\"message\":{\"data\":2}}");
}

static void test_bytes_come_as_base64(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data_b64\":\"aGVsbG8=\"", ""), 0);
	assert_payload(f, HF_WIRE_PAYLOAD_BYTES, "hello");
	assert_int_equal(parse_with(f, "\"data_b64\":\"\"", ""), 0);
	assert_int_equal(f->request.payload.len, 0);
	assert_refused(f, parse_with(f, "\"data_b64\":\"aGVsbG8\"", ""), 400, "BAD_VALUE",
		       "message.data_b64");
	assert_refused(f, parse_with(f, "\"data_b64\":17", ""), 400, "BAD_VALUE",
		       "message.data_b64");
	assert_refused(f, parse_with(f, "\"data\":1,\"data_b64\":\"\"", ""), 400,
		       "CONFLICTING_FIELDS", "message.data_b64");
}

static void test_a_notification_makes_an_envelope(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"notification\":{\"title\":\"Hi\",\"image\":null}", ""),
			 0);
	assert_payload(f, HF_WIRE_PAYLOAD_ENVELOPE,
		       "{\"notification\":{\"title\":\"Hi\",\"image\":null}}");
	assert_int_equal(parse_with(f, "\"notification\":{\"title\":\"Hi\"},\"data\":7", ""), 0);
	assert_payload(f, HF_WIRE_PAYLOAD_ENVELOPE,
		       "{\"data\":7,\"notification\":{\"title\":\"Hi\"}}");
	assert_refused(f, parse_with(f, "\"notification\":{\"titel\":\"Hi\"}", ""), 400,
		       "UNKNOWN_FIELD", "message.notification.titel");
	assert_refused(f, parse_with(f, "\"notification\":{\"title\":1}", ""), 400, "BAD_VALUE",
		       "message.notification");
}

static void test_payloads_are_bounded(void **state)
{
	struct fixture *f = *state;
	char text[PAYLOAD_MAX + 256];
	int head = snprintf(text, sizeof(text),
			    "{\"audience\":{\"registration_id\":[\"r1\"]},"
			    "\"message\":{\"data\":\"");

	memset(text + head, 'x', PAYLOAD_MAX - 2);
	strcpy(text + head + PAYLOAD_MAX - 2, "\"}}");
	assert_int_equal(parse(f, text), 0);
	assert_int_equal(f->request.payload.len, PAYLOAD_MAX);
	memset(text + head, 'x', PAYLOAD_MAX - 1);
	strcpy(text + head + PAYLOAD_MAX - 1, "\"}}");
	assert_refused(f, parse(f, text), 413, "PAYLOAD_TOO_LARGE", "message");
}

static void test_ttl_is_seconds_or_has_a_unit(void **state)
{
	static const struct {
		const char *ttl;
		uint64_t ms;
	} good[] = { { "1", 1000 },         { "2419200", 2419200000 },
		     { "\"15m\"", 900000 }, { "\"28d\"", 2419200000 },
		     { "\"90\"", 90000 },   { "60.0", 60000 },
		     { "null", 86400000 } };
	static const struct {
		const char *ttl, *reason;
	} bad[] = {
		{ "-1", "TTL_OUT_OF_RANGE" },    { "2419201", "TTL_OUT_OF_RANGE" },
		{ "1e300", "TTL_OUT_OF_RANGE" }, { "\"29d\"", "TTL_OUT_OF_RANGE" },
		{ "1.5", "BAD_DURATION" },       { "\"soon\"", "BAD_DURATION" },
		{ "true", "BAD_DURATION" },      { "[1]", "BAD_DURATION" },
		{ "\"-1s\"", "BAD_DURATION" },
	};
	struct fixture *f = *state;
	char message[128];

	for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
		snprintf(message, sizeof(message), "\"data\":1,\"ttl\":%s", good[i].ttl);
		assert_int_equal(parse_with(f, message, ""), 0);
		assert_int_equal(f->request.ttl_ms, good[i].ms);
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		snprintf(message, sizeof(message), "\"data\":1,\"ttl\":%s", bad[i].ttl);
		assert_refused(f, parse_with(f, message, ""), 400, bad[i].reason, "message.ttl");
	}
}

static void test_qos_ttl_and_durable_make_the_class(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data\":1,\"qos\":0", ""), 0);
	assert_int_equal(f->request.class, REQUEST_TRANSIENT);
	assert_int_equal(f->request.ttl_ms, 0);
	assert_int_equal(parse_with(f, "\"data\":1,\"qos\":1,\"ttl\":0", ""), 0);
	assert_int_equal(f->request.class, REQUEST_TRANSIENT);
	assert_int_equal(parse_with(f, "\"data\":1,\"durable\":true", ""), 0);
	assert_int_equal(f->request.class, REQUEST_DURABLE);
	assert_refused(f, parse_with(f, "\"data\":1,\"qos\":0,\"ttl\":60", ""), 400,
		       "CONFLICTING_FIELDS", "message.ttl");
	assert_refused(f, parse_with(f, "\"data\":1,\"durable\":true,\"ttl\":0", ""), 400,
		       "CONFLICTING_FIELDS", "message.durable");
	assert_refused(f, parse_with(f, "\"data\":1,\"qos\":2", ""), 400, "BAD_QOS", "message.qos");
	assert_refused(f, parse_with(f, "\"data\":1,\"durable\":1", ""), 400, "BAD_VALUE",
		       "message.durable");
}

static void test_nothing_is_ignored(void **state)
{
	static const struct {
		const char *message, *rest, *reason, *field;
	} cases[] = {
		{ "\"data\":1,\"sound\":1", "", "UNKNOWN_FIELD", "message.sound" },
		{ "\"data\":1", ",\"foo\":1", "UNKNOWN_FIELD", "foo" },
		{ "\"data\":1", ",\"options\":{\"speed\":1}", "UNKNOWN_FIELD", "options.speed" },
		{ "\"data\":1", ",\"platform\":\"ios\"", "BAD_AUDIENCE", "platform" },
		{ "\"data\":1", ",\"platform\":[]", "EMPTY_AUDIENCE", "platform" },
		{ "\"data\":1,\"collapse_key\":\"\"", "", "BAD_COLLAPSE_KEY",
		  "message.collapse_key" },
		{ "\"data\":1,\"priority\":\"urgent\"", "", "BAD_VALUE", "message.priority" },
		{ "\"data\":1", ",\"options\":{\"replaces\":\"x\"}", "BAD_VALUE",
		  "options.replaces" },
		{ "\"data\":1", ",\"options\":{\"receipts\":{\"event\":[]}}", "UNKNOWN_FIELD",
		  "options.receipts.event" },
		{ "\"data\":1", ",\"options\":{\"receipts\":{\"events\":[\"message.lost\"]}}",
		  "BAD_VALUE", "options.receipts.events" },
		{ "\"data\":1", ",\"options\":{\"receipts\":{\"params\":{}}}", "CONFLICTING_FIELDS",
		  "options.receipts.params" },
		{ "\"data\":1", ",\"options\":{\"exclude_registration_id\":[\"r1\"]}",
		  "EMPTY_AUDIENCE", "options.exclude_registration_id" },
		{ "\"data\":1", ",\"options\":[]", "BAD_VALUE", "options" },
		{ "", "", "MISSING_FIELD", "message.data" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		assert_refused(f, parse_with(f, cases[i].message, cases[i].rest), 400,
			       cases[i].reason, cases[i].field);
	/* What says "not this" is no wish. */
	assert_int_equal(
		parse_with(f, "\"data\":1,\"priority\":\"normal\",\"collapse_key\":null",
			   ",\"platform\":null,\"options\":{\"send_at\":null,\"replaces\":null,"
			   "\"pace\":null,\"receipts\":null,\"exclude_registration_id\":[]}"),
		0);
	assert_true(request_is_plain(&f->request));
}

static void test_times_are_unix_seconds_or_rfc_3339(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 0: now */
	} good[] = {
		{ "1767225601", NOW_MS + 1000 },
		{ "1767225601.5", NOW_MS + 1500 },
		{ "\"2026-01-01T00:00:01Z\"", NOW_MS + 1000 },
		{ "\"2026-01-01T00:00:00.25Z\"", NOW_MS + 250 },
		{ "\"2026-01-01T09:00:00+08:30\"", NOW_MS + 1800000 },
		{ "\"2025-12-31T23:00:01-01:00\"", NOW_MS + 1000 },
		{ "\"2020-02-29T00:00:00Z\"", 0 },
		{ "\"2025-12-31T23:59:60Z\"", 0 }, /* a leap second */
		{ "0", 0 },
	};
	static const char *const bad[] = {
		"\"tomorrow\"",
		"\"2026-01-01\"",
		"\"2026-01-01T00:00:00\"",
		"true",
		"-1",
		"1e300",
		"\"2026-01-01T00:00:00.Z\"",
		"\"2026-01-01T00:00:00+0800\"",
		"\"2026-01-01T00:00:00+24:00\"",
		"\"2026-13-01T00:00:00Z\"",
		"\"2026-02-29T00:00:00Z\"",
		"\"2026-04-31T00:00:00Z\"",
		"\" 2026-01-01T00:00:00Z\"",
		"\"2026-1-1T00:00:00Z\"",
		"\"2026-01-01T 0: 0: 0Z\"",
		"\"2026-01-01T00:00:00+ 1: 0\"",
		"\"\"",
		"[]",
	};
	struct fixture *f = *state;
	char rest[128];

	for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
		snprintf(rest, sizeof(rest), ",\"options\":{\"send_at\":%s}", good[i].text);
		assert_int_equal(parse_with(f, "\"data\":1", rest), 0);
		assert_int_equal(f->request.send_at_ms, good[i].ms);
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		snprintf(rest, sizeof(rest), ",\"options\":{\"send_at\":%s}", bad[i]);
		assert_refused(f, parse_with(f, "\"data\":1", rest), 400, "BAD_VALUE",
			       "options.send_at");
	}
	assert_int_equal(parse_with(f, "\"data\":1", ",\"options\":{\"send_at\":1769817600}"), 0);
	assert_refused(f, parse_with(f, "\"data\":1", ",\"options\":{\"send_at\":1769817601}"), 400,
		       "BAD_SEND_AT", "options.send_at");
}

static void test_options_of_delivery_are_taken_as_they_are(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		parse_with(f, "\"data\":1,\"collapse_key\":\"score\",\"priority\":\"high\"",
			   ",\"options\":{\"replaces\":\"0AKQRJ3EQ2W00\",\"receipts\":{\"events\":"
			   "[\"message.acked\",\"message.expired\"],\"params\":{ \"t\" : 1.10 }}}"),
		0);
	assert_string_equal(f->request.collapse_key, "score");
	assert_true(f->request.high);
	assert_int_not_equal(f->request.replaces, 0);
	assert_int_equal(f->request.receipts, 1u << HF__EVENT_TYPE__MESSAGE_ACKED |
						      1u << HF__EVENT_TYPE__MESSAGE_EXPIRED);
	assert_true(
		hf_bytes_equal(f->request.receipt_params, HF_BYTES_LITERAL("{ \"t\" : 1.10 }")));
}

static void test_waits_are_bounded_and_make_sense(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data\":1",
				    ",\"options\":{\"wait\":\"acked\",\"wait_timeout\":\"30s\"}"),
			 0);
	assert_int_equal(f->request.wait, REQUEST_WAIT_ACKED);
	assert_int_equal(f->request.wait_ms, 30000);
	assert_refused(f, parse_with(f, "\"data\":1", ",\"options\":{\"wait_timeout\":31}"), 400,
		       "BAD_DURATION", "options.wait_timeout");
	assert_refused(f, parse_with(f, "\"data\":1", ",\"options\":{\"wait\":\"seen\"}"), 400,
		       "BAD_VALUE", "options.wait");
	assert_refused(f,
		       parse_with(f, "\"data\":1,\"ttl\":0", ",\"options\":{\"wait\":\"acked\"}"),
		       400, "CONFLICTING_FIELDS", "options.wait");
}

static void test_labels_and_keys_have_their_alphabets(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_with(f, "\"data\":1,\"label\":\"order_ship-1.~%\"",
				    ",\"cid\":\"a/b:c\""),
			 0);
	assert_string_equal(f->request.label, "order_ship-1.~%");
	assert_string_equal(f->request.cid, "a/b:c");
	assert_refused(f, parse_with(f, "\"data\":1,\"label\":\"a b\"", ""), 400, "BAD_LABEL",
		       "message.label");
	assert_refused(f, parse_with(f, "\"data\":1,\"label\":\"\"", ""), 400, "BAD_LABEL",
		       "message.label");
	assert_refused(f, parse_with(f, "\"data\":1,\"label\":7", ""), 400, "BAD_LABEL",
		       "message.label");
	assert_refused(f, parse_with(f, "\"data\":1", ",\"cid\":\"a b\""), 400,
		       "BAD_IDEMPOTENCY_KEY", "cid");
	assert_refused(f, parse_with(f, "\"data\":1", ",\"cid\":\"\""), 400, "BAD_IDEMPOTENCY_KEY",
		       "cid");
}

static void test_broken_json_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"audience\":1,\"audience\":2}",
		"{\"a\":1} x",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\\u0000\"}",
		"{'a':1}",
		"{\"a\":1e999}",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		assert_refused(f, parse(f, cases[i]), 400, "BAD_JSON", "");
}

static void test_nesting_is_bounded_before_it_is_parsed(void **state)
{
	struct fixture *f = *state;
	char data[256];

	for (unsigned depth = 30; depth <= 31; depth++) { /* two levels are around it */
		size_t len = (size_t)sprintf(data, "\"data\":");

		memset(data + len, '[', depth);
		memset(data + len + depth, ']', depth);
		data[len + 2 * depth] = '\0';
		if (depth == 30)
			assert_int_equal(parse_with(f, data, ""), 0);
		else
			assert_refused(f, parse_with(f, data, ""), 400, "BAD_JSON", "");
	}
	assert_int_equal(parse_with(f, "\"data\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\"",
				    ""),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_plain_message_gets_the_defaults),
		TEST(test_data_travels_exactly_as_it_was_written),
		TEST(test_bytes_come_as_base64),
		TEST(test_a_notification_makes_an_envelope),
		TEST(test_payloads_are_bounded),
		TEST(test_ttl_is_seconds_or_has_a_unit),
		TEST(test_qos_ttl_and_durable_make_the_class),
		TEST(test_nothing_is_ignored),
		TEST(test_times_are_unix_seconds_or_rfc_3339),
		TEST(test_options_of_delivery_are_taken_as_they_are),
		TEST(test_waits_are_bounded_and_make_sense),
		TEST(test_labels_and_keys_have_their_alphabets),
		TEST(test_broken_json_is_refused),
		TEST(test_nesting_is_bounded_before_it_is_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
