/* hf_event: names, masks, ids and the JSON of events. */
#include "test_base.h"

#include <errno.h>
#include <jansson.h>

#include "event.pb-c.h"
#include "hf_event.h"

static void test_every_type_has_a_name_that_names_it_alone(void **state)
{
	for (unsigned type = 1; type < HF_EVENT_TYPES; type++) {
		assert_non_null(hf_event_name(type));
		assert_int_equal(hf_event_mask(hf_event_name(type)), 1u << type);
	}
	assert_null(hf_event_name(0));
	assert_null(hf_event_name(HF_EVENT_TYPES));
	/* The numbers are those of the protocol. */
	assert_int_equal(HF_EVENT_TYPES, hf__event_type__descriptor.n_values);
}

static void test_patterns_name_whole_words(void **state)
{
	static const char *const bad[] = { "",           "message",  "message.",
					   "message.a*", "message*", "*.acked",
					   "**",         ".*",       "message.acked ",
					   "nothing.*" };

	assert_int_equal(hf_event_mask("user.*"),
			 1u << HF__EVENT_TYPE__USER_ONLINE | 1u << HF__EVENT_TYPE__USER_OFFLINE);
	assert_int_equal(hf_event_mask("*"),
			 (1u << HF__EVENT_TYPE__WEBHOOK_TEST) - 2); /* all but none and test */
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		assert_int_equal(hf_event_mask(bad[i]), 0);
}

static void test_status_events_are_those_of_connections_and_users(void **state)
{
	uint32_t status = hf_event_mask("connection.*") | hf_event_mask("user.*");

	for (unsigned type = 0; type < HF_EVENT_TYPES; type++)
		assert_int_equal(hf_event_is_status(type), status >> type & 1);
}

static void test_the_same_event_has_the_same_id(void **state)
{
	uint64_t id = hf_event_message_id(5, 9, 77, 7, "ana", 3);

	assert_true(id == hf_event_message_id(5, 9, 77, 7, "ana", 3));
	assert_true(id != hf_event_message_id(5, 10, 77, 7, "ana", 3));
	assert_true(id != hf_event_message_id(5, 9, 78, 7, "ana", 3));
	assert_true(id != hf_event_message_id(5, 9, 77, 8, "ana", 3));
	assert_true(id != hf_event_message_id(5, 9, 77, 7, "anb", 3));
}

static json_t *parse(const struct hf_event_message *message)
{
	char data[HF_EVENT_DATA_MAX];
	ssize_t len = hf_event_message_data(message, data);

	assert_in_range(len, 2, HF_EVENT_DATA_MAX);
	return json_loadb(data, (size_t)len, 0, NULL);
}

static void test_data_of_a_message_is_json_whatever_it_holds(void **state)
{
	char long_params[HF_EVENT_DATA_MAX];
	struct hf_event_message message = {
		.message_id = 1,
		.registration = HF_BYTES_LITERAL("a\"\\\x01\xc3\xa4\xff"),
		.label = HF_BYTES_LITERAL("ship"),
		.params = HF_BYTES_LITERAL("{\"trace\":\"abc\"}"),
		.reason = "cap",
	};
	json_t *json = parse(&message);

	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "registration_id")),
			    "a\"\\\x01\xc3\xa4\xef\xbf\xbd");
	assert_string_equal(json_string_value(json_object_get(json, "message_id")),
			    "0000000000001");
	assert_string_equal(json_string_value(json_object_get(json, "label")), "ship");
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "cap");
	assert_string_equal(json_string_value(
				    json_object_get(json_object_get(json, "params"), "trace")),
			    "abc");
	json_decref(json);

	/* Params that do not fit are left out, and the rest stays whole. */
	memset(long_params, 'x', sizeof(long_params));
	long_params[0] = long_params[sizeof(long_params) - 1] = '"';
	message.params = hf_bytes_of(long_params, sizeof(long_params));
	json = parse(&message);
	assert_non_null(json);
	assert_null(json_object_get(json, "params"));
	json_decref(json);
}

static void test_data_that_does_not_fit_is_refused(void **state)
{
	char data[HF_EVENT_DATA_MAX], text[HF_EVENT_DATA_MAX];
	struct hf_event_message message = { .message_id = 1,
					    .registration = { (uint8_t *)text, sizeof(text) } };

	memset(text, '"', sizeof(text));
	assert_int_equal(hf_event_message_data(&message, data), -EMSGSIZE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_has_a_name_that_names_it_alone),
		cmocka_unit_test(test_patterns_name_whole_words),
		cmocka_unit_test(test_status_events_are_those_of_connections_and_users),
		cmocka_unit_test(test_the_same_event_has_the_same_id),
		cmocka_unit_test(test_data_of_a_message_is_json_whatever_it_holds),
		cmocka_unit_test(test_data_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
