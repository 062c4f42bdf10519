/* tests/unit/test_center_request.c - promises of the check of send requests
 * (services/center/request.h), and of the JSON walk under it (json.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event.pb-c.h"
#include "hf_wire.h"
#include "json.h"
#include "request.h"

#define PAYLOAD_MAX 4096
#define NOW_MS      1767225600000ull /* 2026-01-01T00:00:00Z */

struct fixture {
	struct hf_arena arena;
	struct request request;
	struct problem problem;
	char *text; /* exact-size copy of what was parsed */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	hf_arena_init(&f->arena, 8u << 20, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_arena_deinit(&f->arena);
	free(f->text);
	free(f);
	return 0;
}

static int parse(struct fixture *f, const char *text)
{
	size_t len = strlen(text);

	hf_arena_reset(&f->arena);
	free(f->text);
	f->text = malloc(len > 0 ? len : 1);
	assert_non_null(f->text);
	memcpy(f->text, text, len);
	memset(&f->request, 0xee, sizeof(f->request));
	return request_parse(hf_bytes_of(f->text, len), PAYLOAD_MAX, NOW_MS, &f->arena, &f->request,
			     &f->problem);
}

/* A request to one registration with these members of message and, after it, of the whole. */
static int parse_with(struct fixture *f, const char *message, const char *rest)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "{\"audience\":{\"registration_id\":[\"r1\"]},\"message\":{%s}%s}", message, rest);
	return parse(f, text);
}

static void assert_refused(struct fixture *f, int result, unsigned code, const char *reason,
			   const char *field)
{
	assert_int_equal(result, -22);
	assert_string_equal(f->problem.reason, reason);
	assert_int_equal(f->problem.code, code);
	assert_string_equal(f->problem.field, field);
}

static void assert_payload(struct fixture *f, uint8_t kind, const char *payload)
{
	assert_int_equal(f->request.payload_kind, kind);
	assert_true(hf_bytes_equal(f->request.payload, hf_bytes_of_string(payload)));
}

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

static void test_audiences_are_registrations_each_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		parse(f, "{\"audience\":{\"registration_id\":[\"b\",\"a\",\"b\",\"aa\",\"a\"],"
			 "\"tag_not\":[]},\"message\":{\"data\":1}}"),
		0);
	assert_int_equal(f->request.target_count, 3);
	assert_true(hf_bytes_equal(f->request.targets[0], HF_BYTES_LITERAL("a")));
	assert_true(hf_bytes_equal(f->request.targets[1], HF_BYTES_LITERAL("aa")));
	assert_true(hf_bytes_equal(f->request.targets[2], HF_BYTES_LITERAL("b")));
}

static void test_bad_audiences_are_refused_by_name(void **state)
{
	static const struct {
		const char *audience, *reason, *field;
	} cases[] = {
		{ "null", "MISSING_FIELD", "audience" },
		{ "{}", "EMPTY_AUDIENCE", "audience" },
		{ "[]", "BAD_AUDIENCE", "audience" },
		{ "\"some\"", "BAD_AUDIENCE", "audience" },
		{ "\"ALL\"", "BAD_AUDIENCE", "audience" },
		{ "{\"user_id\":null,\"tag\":null,\"tag_not\":[],\"sdk_version\":{}}",
		  "EMPTY_AUDIENCE", "audience" },
		{ "{\"registration_id\":[],\"tag\":[\"a\"]}", "EMPTY_AUDIENCE",
		  "audience.registration_id" },
		{ "{\"registration_id\":[\"r\"],\"user_id\":[]}", "EMPTY_AUDIENCE",
		  "audience.user_id" },
		{ "{\"tag\":[],\"percentage\":5}", "EMPTY_AUDIENCE", "audience.tag" },
		{ "{\"tag_and\":[],\"percentage\":5}", "EMPTY_AUDIENCE", "audience.tag_and" },
		{ "{\"registration_id\":\"r1\"}", "BAD_AUDIENCE", "audience.registration_id" },
		{ "{\"registration_id\":[1]}", "BAD_AUDIENCE", "audience.registration_id" },
		{ "{\"registration_id\":[\"\"]}", "BAD_AUDIENCE", "audience.registration_id" },
		{ "{\"registration_id\":[\"a\\u0001\"]}", "BAD_AUDIENCE",
		  "audience.registration_id" },
		{ "{\"registration_id\":[\"0123456789012345678901234567890123456789"
		  "0123456789012345678901234\"]}",
		  "BAD_AUDIENCE", "audience.registration_id" },
		{ "{\"user_id\":[\"\"]}", "BAD_AUDIENCE", "audience.user_id" },
		{ "{\"user_id\":\"u\"}", "BAD_AUDIENCE", "audience.user_id" },
		{ "{\"tag\":[\"0123456789012345678901234567890123456789x\"]}", "BAD_AUDIENCE",
		  "audience.tag" },
		{ "{\"tag_and\":[7]}", "BAD_AUDIENCE", "audience.tag_and" },
		{ "{\"tag_not\":[\"\"]}", "BAD_AUDIENCE", "audience.tag_not" },
		{ "{\"sdk_version\":\"1.0\"}", "BAD_AUDIENCE", "audience.sdk_version" },
		{ "{\"sdk_version\":{\"min\":\"x\"}}", "BAD_VALUE", "audience.sdk_version.min" },
		{ "{\"sdk_version\":{\"max\":7}}", "BAD_VALUE", "audience.sdk_version.max" },
		{ "{\"sdk_version\":{\"above\":\"1\"}}", "UNKNOWN_FIELD",
		  "audience.sdk_version.above" },
		{ "{\"sdk_version\":{\"min\":\"1.10\",\"max\":\"1.9\"}}", "BAD_AUDIENCE",
		  "audience.sdk_version" },
		{ "{\"percentage\":0}", "BAD_AUDIENCE", "audience.percentage" },
		{ "{\"percentage\":101}", "BAD_AUDIENCE", "audience.percentage" },
		{ "{\"percentage\":1.5}", "BAD_AUDIENCE", "audience.percentage" },
		{ "{\"tag\":[\"a\"],\"percentage_seed\":\"s\"}", "CONFLICTING_FIELDS",
		  "audience.percentage_seed" },
		{ "{\"registration_ids\":[\"r\"]}", "UNKNOWN_FIELD", "audience.registration_ids" },
	};
	struct fixture *f = *state;
	char text[512];

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "{\"audience\":%s,\"message\":{\"data\":1}}",
			 cases[i].audience);
		assert_refused(f, parse(f, text), 400, cases[i].reason, cases[i].field);
	}
}

static void test_a_thousand_registrations_are_the_most(void **state)
{
	struct fixture *f = *state;
	static char text[20000];
	size_t len;

	for (unsigned count = 1000; count <= 1001; count++) {
		len = (size_t)sprintf(text, "{\"message\":{\"data\":1},\"audience\":{"
					    "\"registration_id\":[\"r0\"");
		for (unsigned i = 1; i < count; i++)
			len += (size_t)sprintf(text + len, ",\"r%u\"", i);
		strcpy(text + len, "]}}");
		if (count == 1000) {
			assert_int_equal(parse(f, text), 0);
			assert_int_equal(f->request.target_count, 1000);
		} else {
			assert_refused(f, parse(f, text), 400, "TOO_MANY_TARGETS",
				       "audience.registration_id");
		}
	}
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

/* The request with this audience and these options. */
static int parse_audience(struct fixture *f, const char *audience, const char *rest)
{
	char text[2048];

	snprintf(text, sizeof(text), "{\"audience\":%s,\"message\":{\"data\":1}%s}", audience,
		 rest);
	return parse(f, text);
}

static void test_kinds_of_audience_come_together(void **state)
{
	struct fixture *f = *state;
	const Hf__Audience *audience;

	assert_int_equal(parse_audience(f, "\"all\"", ""), 0);
	assert_int_equal(f->request.kind, REQUEST_BROADCAST);
	assert_null(f->request.audience);
	assert_int_equal(parse_audience(f, "\"all\"", ",\"platform\":[\"ios\",\"ios\"]"), 0);
	assert_int_equal(f->request.kind, REQUEST_BROADCAST);
	assert_int_equal(f->request.audience->n_platform, 1);

	assert_int_equal(parse_audience(f,
					"{\"tag\":[\"b\",\"a\",\"b\"],\"tag_and\":[\"vip\"],"
					"\"tag_not\":[\"out\"],\"sdk_version\":{\"min\":\"1.2\","
					"\"max\":\"1.10\"},\"percentage\":5,"
					"\"percentage_seed\":\"s\"}",
					",\"options\":{\"exclude_registration_id\":[\"x\"]}"),
			 0);
	audience = f->request.audience;
	assert_int_equal(f->request.kind, REQUEST_TAG);
	assert_int_equal(audience->n_tag, 2);
	assert_memory_equal(audience->tag[0].data, "a", 1);
	assert_int_equal(audience->n_tag_and, 1);
	assert_int_equal(audience->n_tag_not, 1);
	assert_int_equal(audience->version_max.len, 4);
	assert_int_equal(audience->percentage, 5);
	assert_int_equal(audience->percentage_seed.len, 1);
	assert_int_equal(audience->n_exclude, 1);

	assert_int_equal(parse_audience(f,
					"{\"user_id\":[\"u2\",\"u1\",\"u2\"],"
					"\"registration_id\":[\"r\"]}",
					""),
			 0);
	assert_int_equal(f->request.kind, REQUEST_LIST);
	assert_int_equal(f->request.user_count, 2);
	assert_int_equal(f->request.target_count, 1);
	assert_null(f->request.audience);
	assert_false(request_is_plain(&f->request));
	/* Leaving somebody out is a reason to look only when users are named. */
	assert_int_equal(parse_audience(f, "{\"registration_id\":[\"b\",\"a\",\"c\"]}",
					",\"options\":{\"exclude_registration_id\":[\"b\"]}"),
			 0);
	assert_true(request_is_plain(&f->request));
	assert_int_equal(f->request.target_count, 2);
	assert_true(hf_bytes_equal(f->request.targets[1], HF_BYTES_LITERAL("c")));
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

static void test_a_pace_is_a_duration_or_a_rate(void **state)
{
	static const struct {
		const char *pace, *reason, *field;
	} bad[] = {
		{ "5", "BAD_VALUE", "options.pace" },
		{ "{\"speed\":5}", "UNKNOWN_FIELD", "options.pace.speed" },
		{ "{\"duration\":\"25h\"}", "BAD_DURATION", "options.pace.duration" },
		{ "{\"duration\":0}", "BAD_DURATION", "options.pace.duration" },
		{ "{\"rate_per_second\":0}", "BAD_VALUE", "options.pace.rate_per_second" },
		{ "{\"rate_per_second\":4000001}", "BAD_VALUE", "options.pace.rate_per_second" },
		{ "{\"rate_per_second\":5,\"duration\":5}", "CONFLICTING_FIELDS", "options.pace" },
	};
	struct fixture *f = *state;
	char rest[128];

	assert_int_equal(parse_audience(f, "\"all\"",
					",\"options\":{\"pace\":{\"duration\":\"15m\"}}"),
			 0);
	assert_int_equal(f->request.spread_ms, 900000);
	assert_int_equal(parse_audience(f, "\"all\"",
					",\"options\":{\"pace\":{\"rate_per_second\":500}}"),
			 0);
	assert_int_equal(f->request.rate_per_second, 500);
	assert_int_equal(parse_audience(f, "{\"user_id\":[\"u\"]}",
					",\"options\":{\"pace\":{\"rate_per_second\":500}}"),
			 0);
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		snprintf(rest, sizeof(rest), ",\"options\":{\"pace\":%s}", bad[i].pace);
		assert_refused(f, parse_audience(f, "\"all\"", rest), 400, bad[i].reason,
			       bad[i].field);
	}
}

static void test_what_contradicts_itself_is_refused(void **state)
{
	static const struct {
		const char *audience, *rest, *field;
	} cases[] = {
		{ "{\"registration_id\":[\"r\"]}",
		  ",\"options\":{\"pace\":{\"rate_per_second\":1}}", "options.pace" },
		{ "\"all\"", ",\"options\":{\"wait\":\"routed\"}", "options.wait" },
		{ "{\"registration_id\":[\"r\"]}",
		  ",\"options\":{\"wait\":\"routed\",\"send_at\":1767225700}", "options.wait" },
		{ "{\"user_id\":[\"u\"]}",
		  ",\"options\":{\"wait\":\"acked\",\"pace\":{\"duration\":60}}", "options.wait" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		assert_refused(f, parse_audience(f, cases[i].audience, cases[i].rest), 400,
			       "CONFLICTING_FIELDS", cases[i].field);
	assert_refused(f,
		       parse(f, "{\"audience\":\"all\",\"message\":{\"data\":1,\"durable\":true}}"),
		       400, "CONFLICTING_FIELDS", "message.durable");
	assert_refused(f,
		       parse_with(f, "\"data\":1,\"durable\":true",
				  ",\"options\":{\"send_at\":1767225700}"),
		       400, "CONFLICTING_FIELDS", "message.durable");
	assert_refused(
		f,
		parse_with(f, "\"data\":1",
			   ",\"options\":{\"receipts\":{\"events\":[\"message.completed\"]}}"),
		400, "CONFLICTING_FIELDS", "options.receipts");
	assert_refused(f,
		       parse_with(f, "\"data\":1,\"qos\":0",
				  ",\"options\":{\"receipts\":{\"events\":[\"message.acked\"]}}"),
		       400, "CONFLICTING_FIELDS", "options.receipts");
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(test_audiences_are_registrations_each_once),
		TEST(test_bad_audiences_are_refused_by_name),
		TEST(test_a_thousand_registrations_are_the_most),
		TEST(test_nothing_is_ignored),
		TEST(test_kinds_of_audience_come_together),
		TEST(test_times_are_unix_seconds_or_rfc_3339),
		TEST(test_a_pace_is_a_duration_or_a_rate),
		TEST(test_what_contradicts_itself_is_refused),
		TEST(test_options_of_delivery_are_taken_as_they_are),
		TEST(test_waits_are_bounded_and_make_sense),
		TEST(test_labels_and_keys_have_their_alphabets),
		TEST(test_broken_json_is_refused),
		TEST(test_nesting_is_bounded_before_it_is_parsed),
		TEST(test_the_walk_takes_a_batch_apart),
		TEST(test_the_walk_refuses_what_is_not_well_formed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
