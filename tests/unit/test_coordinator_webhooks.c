/* What a business gets: the body and its signature. */
#include "test_base.h"

#include <jansson.h>
#include <stdlib.h>

#include "body.h"
#include "sign.h"

/* The example of the Standard Webhooks specification's own libraries. */
#define SPEC_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SPEC_ID     "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define SPEC_TIME   1614265330
#define SPEC_BODY   "{\"test\": 2432232314}"
#define SPEC_SIGN   "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void test_the_published_example_signs_as_published(void **state)
{
	struct hf_webhook webhook = { .secret_count = 1 };
	char signature[SIGN_SIZE];

	assert_int_equal(hf_webhook_secret_parse(SPEC_SECRET, &webhook.secrets[0]), 0);
	assert_int_equal(sign(&webhook, SPEC_ID, SPEC_TIME, HF_BYTES_LITERAL(SPEC_BODY), signature),
			 0);
	assert_string_equal(signature, SPEC_SIGN);
}

static void test_two_secrets_sign_both(void **state)
{
	struct hf_webhook webhook = { .secret_count = 2 };
	char signature[SIGN_SIZE];

	webhook.secrets[0] = (struct hf_webhook_secret){ .len = HF_WEBHOOK_SECRET_MAX };
	assert_int_equal(hf_webhook_secret_parse(SPEC_SECRET, &webhook.secrets[1]), 0);
	assert_int_equal(sign(&webhook, SPEC_ID, SPEC_TIME, HF_BYTES_LITERAL(SPEC_BODY), signature),
			 0);
	assert_int_equal(strlen(signature), 2 * strlen(SPEC_SIGN) + 1);
	assert_int_equal(strncmp(signature, "v1,", 3), 0);
	assert_string_equal(signature + strlen(SPEC_SIGN), " " SPEC_SIGN);
}

static json_t *event_with(struct hf_bytes payload, char **ret_text)
{
	struct upstream_event event = {
		.app = 7,
		.sequence = 3,
		.id = 1,
		.at_ms = 1769860798412,
		.registration = HF_BYTES_LITERAL("reg \"1\"\\"),
		.forward_type = HF_BYTES_LITERAL("order"),
		.payload = payload,
	};
	size_t len;
	char *text = body_of_upstream(&event, &len);
	json_t *root, *data;

	assert_non_null(text);
	assert_int_equal(strlen(text), len);
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "app_id")), 7);
	data = json_object_get(json_array_get(json_object_get(root, "events"), 0), "data");
	assert_string_equal(json_string_value(json_object_get(data, "registration_id")),
			    "reg \"1\"\\");
	assert_true(json_is_null(json_object_get(data, "user_id")));
	json_incref(data);
	json_decref(root);
	*ret_text = text;
	return data;
}

static void test_a_json_payload_goes_in_verbatim(void **state)
{
	char *text;
	json_t *data = event_with(HF_BYTES_LITERAL(" {\"a\": 1.50, \"b\": 12345678901234}"), &text);

	assert_true(json_is_object(json_object_get(data, "payload")));
	assert_null(json_object_get(data, "payload_b64"));
	assert_non_null(strstr(text, " {\"a\": 1.50, \"b\": 12345678901234}"));
	json_decref(data);
	free(text);
}

/* Nothing that a client sends can leave its place in the body. */
static void test_any_other_payload_goes_in_as_base64(void **state)
{
	static const struct hf_bytes payloads[] = {
		{ (const uint8_t *)"", 0 },
		HF_BYTES_LITERAL("{\"a\":1}}]}"),
		HF_BYTES_LITERAL("{\"a\":1} x"),
		HF_BYTES_LITERAL("\"\xff\""),
		HF_BYTES_LITERAL("{}\0{}"),
		HF_BYTES_LITERAL("1,\"registration_id\":\"other\""),
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(payloads); i++) {
		char *text;
		json_t *data = event_with(payloads[i], &text);

		assert_null(json_object_get(data, "payload"));
		assert_true(json_is_string(json_object_get(data, "payload_b64")));
		json_decref(data);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_published_example_signs_as_published),
		cmocka_unit_test(test_two_secrets_sign_both),
		cmocka_unit_test(test_a_json_payload_goes_in_verbatim),
		cmocka_unit_test(test_any_other_payload_goes_in_as_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
