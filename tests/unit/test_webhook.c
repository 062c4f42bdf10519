/* hf_webhook: an app's callbacks survive the trip through its document, bad ones are refused. */
#include "test_base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_apps.h"
#include "hf_event.h"

/* base64 of 24 bytes */
#define SECRET  "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
#define SECRET2 "whsec_NzY1NDMyMTBmZWRjYmE5ODc2NTQzMjEw"

static int decode(const char *webhooks, struct hf_app *ret)
{
	char error[HF_CONFIG_ERROR_SIZE] = "", text[4096];
	int len = snprintf(text, sizeof(text), "{\"id\":7,\"webhooks\":%s}", webhooks);

	assert_in_range(len, 1, sizeof(text) - 1);
	return hf_app_decode(text, (size_t)len, ret, error);
}

static void test_the_smallest_webhook_gets_the_defaults(void **state)
{
	struct hf_app app;

	assert_int_equal(decode("[{\"id\":\"a\",\"url\":\"https://x.example\","
				"\"secrets\":[\"" SECRET "\"]}]",
				&app),
			 0);
	assert_int_equal(app.webhook_count, 1);
	assert_string_equal(app.webhooks[0].id, "a");
	assert_true(app.webhooks[0].enabled);
	assert_int_equal(app.webhooks[0].type_count, 0);
	assert_int_equal(app.webhooks[0].secret_count, 1);
	assert_int_equal(app.webhooks[0].secrets[0].len, 24);
	assert_int_equal(app.webhooks[0].timeout_ms, 5000);
	assert_int_equal(app.webhooks[0].max_in_flight, 16);
	assert_int_equal(app.webhooks[0].max_per_second, 1000);
	assert_int_equal(app.webhooks[0].event_mask, 0);
	assert_int_equal(app.webhooks[0].batch_events, 100);
	assert_int_equal(app.webhooks[0].batch_wait_ms, 100);
	assert_string_equal(app.webhooks[0].disabled_reason, "");
}

static void test_every_field_survives_the_trip(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE] = "";
	struct hf_app app, again;
	char *text;

	assert_int_equal(decode("[{\"id\":\"a\",\"url\":\"https://x.example/h?k=1\","
				"\"enabled\":false,\"forward_types\":[\"order\",\"*\"],"
				"\"secrets\":[\"" SECRET "\",\"" SECRET2 "\"],"
				"\"allow_cidrs\":[\"10.0.0.0/8\",\"fd00::/8\",\"192.0.2.1\"],"
				"\"timeout\":\"1500ms\",\"max_in_flight\":64,"
				"\"max_per_second\":7,\"events\":[\"message.*\",\"user.online\"],"
				"\"batch\":{\"max_events\":500,\"max_wait\":\"10s\"},"
				"\"disabled_reason\":\"410\"},"
				"{\"id\":\"b\",\"url\":\"http://[::1]:80/\",\"secrets\":[\"" SECRET
				"\"]}]",
				&app),
			 0);
	text = hf_app_encode(&app);
	assert_non_null(text);
	assert_int_equal(hf_app_decode(text, strlen(text), &again, error), 0);
	free(text);
	assert_int_equal(again.webhook_count, 2);
	assert_memory_equal(app.webhooks, again.webhooks, sizeof(app.webhooks));
	assert_int_equal(again.webhooks[0].timeout_ms, 1500);
	assert_int_equal(again.webhooks[0].event_mask,
			 hf_event_mask("message.*") | hf_event_mask("user.online"));
	assert_int_equal(again.webhooks[0].batch_events, 500);
	assert_int_equal(again.webhooks[0].batch_wait_ms, 10000);
	assert_string_equal(again.webhooks[0].disabled_reason, "410");
	assert_int_equal(again.event_mask, 0); /* it is turned off, the other wants none */
}

static void test_bad_webhooks_are_refused(void **state)
{
	static const char *const bad[] = {
		"[{\"url\":\"https://x.example\",\"secrets\":[\"" SECRET "\"]}]",
		"[{\"id\":\"a\",\"secrets\":[\"" SECRET "\"]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\"}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"whsec_AAAA\"]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"x" SECRET "\"]}]",
		"[{\"id\":\"a b\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET "\"]}]",
		"[{\"id\":\"a\",\"url\":\"file:///etc/passwd\",\"secrets\":[\"" SECRET "\"]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"],\"allow_cidrs\":[\"10\"]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"],\"events\":[\"message\"]}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"],\"batch\":{\"max_events\":501}}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"],\"timeout\":\"16s\"}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"],\"max_in_flight\":65}]",
		"[{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET
		"\"]},{\"id\":\"a\",\"url\":\"https://x.example\",\"secrets\":[\"" SECRET "\"]}]",
	};
	struct hf_app app;

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		if (decode(bad[i], &app) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
}

static void test_urls_that_may_mislead_are_refused(void **state)
{
	static const char *const good[] = { "http://x", "https://x.example:8443/a/b?c=d&e=%20",
					    "https://[2001:db8::1]/", "http://[2001:db8::1]:65535/",
					    "http://x:1?y" };
	static const char *const bad[] = { "",
					   "http://",
					   "https:///x",
					   "http://?x",
					   "http://:80/",
					   "HTTP://x",
					   "ftp://x",
					   "http://a@b/",
					   "http://x/#f",
					   "http://x y",
					   "http://x\ny",
					   "http://x\x7f",
					   "//x",
					   "http://x\\@y/",
					   "http://caf\xc3\xa9/",
					   "http://x:0/",
					   "http://x:65536/",
					   "http://x:/",
					   "http://x:8x/",
					   "http://[::1]:99999" };

	for (size_t i = 0; i < HF_ARRAY_LEN(good); i++)
		assert_true(hf_webhook_url_is_valid(good[i]));
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		if (hf_webhook_url_is_valid(bad[i]))
			fail_msg("taken: %s", bad[i]);
}

static const char *taker(const struct hf_app *app, const char *type)
{
	const struct hf_webhook *webhook =
		hf_webhook_for_type(app->webhooks, app->webhook_count, hf_bytes_of_string(type));

	return webhook != NULL ? webhook->id : "";
}

static void test_a_type_goes_where_it_is_named_and_else_to_the_star(void **state)
{
	struct hf_app app = {
		.webhook_count = 3,
		.webhooks = { { .id = "all", .enabled = true, .type_count = 1, .types = { "*" } },
			      { .id = "a",
				.enabled = true,
				.type_count = 2,
				.types = { "x", "y" } },
			      { .id = "off", .type_count = 1, .types = { "z" } } },
	};

	assert_string_equal(taker(&app, "x"), "a");
	assert_string_equal(taker(&app, "y"), "a");
	assert_string_equal(taker(&app, "z"), "all");
	app.webhooks[0].enabled = false;
	assert_string_equal(taker(&app, "z"), "");
	assert_string_equal(taker(&app, "y"), "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_smallest_webhook_gets_the_defaults),
		cmocka_unit_test(test_every_field_survives_the_trip),
		cmocka_unit_test(test_bad_webhooks_are_refused),
		cmocka_unit_test(test_urls_that_may_mislead_are_refused),
		cmocka_unit_test(test_a_type_goes_where_it_is_named_and_else_to_the_star),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
