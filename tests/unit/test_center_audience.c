/* tests/unit/test_center_audience.c - promises of the check of send requests
 * (services/center/request.h): who it is for, and what does not go together. */
#include "request_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_audiences_are_registrations_each_once),
		TEST(test_bad_audiences_are_refused_by_name),
		TEST(test_a_thousand_registrations_are_the_most),
		TEST(test_kinds_of_audience_come_together),
		TEST(test_a_pace_is_a_duration_or_a_rate),
		TEST(test_what_contradicts_itself_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
