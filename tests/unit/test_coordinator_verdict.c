/* What an answer of a callback means, when it is tried again, and the body that it gets. */
#include "test_base.h"

#include <jansson.h>
#include <stdlib.h>

#include "body.h"
#include "hook.h"
#include "verdict.h"

static const struct verdict_schedule schedule = {
	7, { 5000, 30000, 120000, 600000, 3600000, 21600000, 86400000 }
};

static struct verdict of(enum post_result result, unsigned status)
{
	return verdict_of(&(struct post_outcome){ .result = result, .status = status });
}

static void test_any_2xx_takes_the_events_whatever_follows(void **state)
{
	assert_int_equal(of(POST_ANSWERED, 200).kind, VERDICT_DELIVERED);
	assert_int_equal(of(POST_ANSWERED, 299).kind, VERDICT_DELIVERED);
	assert_int_equal(of(POST_TOO_LARGE, 200).kind, VERDICT_DELIVERED);
	assert_int_equal(of(POST_FAILED, 200).kind, VERDICT_FAILED); /* cut in the middle */
	assert_int_equal(of(POST_TIMEOUT, 0).kind, VERDICT_FAILED);
	assert_int_equal(of(POST_DENIED, 0).kind, VERDICT_FAILED);
}

static void test_refusals_end_sooner_and_410_at_once(void **state)
{
	static const unsigned refused[] = { 301, 302, 307, 400, 401, 403, 404, 422 };
	static const unsigned failed[] = { 408, 425, 429, 500, 502, 503, 504, 199 };

	for (size_t i = 0; i < HF_ARRAY_LEN(refused); i++)
		assert_int_equal(of(POST_ANSWERED, refused[i]).kind, VERDICT_REFUSED_BY_BUSINESS);
	for (size_t i = 0; i < HF_ARRAY_LEN(failed); i++)
		assert_int_equal(of(POST_ANSWERED, failed[i]).kind, VERDICT_FAILED);
	assert_int_equal(of(POST_ANSWERED, 410).kind, VERDICT_GONE);
	for (unsigned status = 200; status < 600; status++)
		assert_int_equal(of(POST_ANSWERED, status).throttle,
				 status == 429 || status == 502 || status == 504);
}

static void test_the_delays_are_those_of_the_schedule_within_a_fifth(void **state)
{
	struct verdict failed = of(POST_ANSWERED, 500), refused = of(POST_ANSWERED, 404);

	for (unsigned attempt = 1; attempt <= 7; attempt++) {
		uint64_t wanted = schedule.delays_ms[attempt - 1];

		for (uint64_t random = 0; random < 2000; random += 7) {
			uint64_t delay = verdict_delay(&schedule, &failed, attempt, 0,
						       random * 7919 * 104729);

			assert_true(delay >= wanted - wanted / 5 && delay <= wanted + wanted / 5);
		}
	}
	assert_true(verdict_delay(&schedule, &failed, 8, 0, 1) == UINT64_MAX);
	assert_true(verdict_delay(&schedule, &refused, 2, 0, 1) < UINT64_MAX);
	assert_true(verdict_delay(&schedule, &refused, 3, 0, 1) == UINT64_MAX);
}

static void test_retry_after_is_honoured_within_a_bound(void **state)
{
	struct verdict failed = of(POST_ANSWERED, 503);

	assert_true(verdict_delay(&schedule, &failed, 1, 60, 1) == 60000);
	assert_true(verdict_delay(&schedule, &failed, 1, 86400, 1) == VERDICT_RETRY_AFTER * 1000);
	assert_true(verdict_delay(&schedule, &failed, 5, 60, 1) > 60000);
}

static void test_a_throttled_callback_rests_longer_each_time(void **state)
{
	struct verdict slow_down = of(POST_ANSWERED, 429), good = of(POST_ANSWERED, 200);
	struct hook hook = { 0 };

	assert_false(hook_note(&hook, &slow_down, 0, 10000));
	assert_true(hook.resume_ms == 11000);
	assert_false(hook_note(&hook, &slow_down, 0, 11000));
	assert_true(hook.resume_ms == 13000);
	/* What was under way when it asked does not end the rest; what comes after does. */
	assert_true(hook_note(&hook, &good, 0, 12000));
	assert_true(hook.resume_ms == 13000);
	assert_false(hook_note(&hook, &good, 0, 13000));
	assert_true(hook.resume_ms == 0);
	assert_false(hook_note(&hook, &slow_down, 30, 20000));
	assert_true(hook.resume_ms == 50000);
}

static void test_the_body_is_json_and_leaves_out_what_has_no_name(void **state)
{
	Hf__Event events[3], *list[3];
	size_t len = 0;
	char *text;
	json_t *json, *shown;

	for (size_t i = 0; i < 3; i++) {
		hf__event__init(&events[i]);
		events[i].type = HF__EVENT_TYPE__MESSAGE_ACKED;
		events[i].id = i + 1;
		events[i].sequence = 1700000000000000ull + i;
		events[i].key.data = (uint8_t *)"a\"b";
		events[i].key.len = 3;
		events[i].data.data = (uint8_t *)"{\"n\":1}";
		events[i].data.len = 7;
		list[i] = &events[i];
	}
	events[0].type = 99;
	events[2].epoch = 20;
	text = body_of_events(7, 123, list, 3, &len);
	assert_non_null(text);
	assert_int_equal(strlen(text), len);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_int_equal(json_array_size(json_object_get(json, "events")), 2);
	shown = json_array_get(json_object_get(json, "events"), 1);
	assert_string_equal(json_string_value(json_object_get(shown, "key")), "a\"b");
	assert_string_equal(json_string_value(json_object_get(shown, "type")), "message.acked");
	assert_string_equal(json_string_value(json_object_get(shown, "epoch")), "000000000000M");
	assert_true(json_integer_value(json_object_get(shown, "seq")) == 1700000000000002);
	assert_null(json_object_get(json_array_get(json_object_get(json, "events"), 0), "epoch"));
	json_decref(json);
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_2xx_takes_the_events_whatever_follows),
		cmocka_unit_test(test_refusals_end_sooner_and_410_at_once),
		cmocka_unit_test(test_the_delays_are_those_of_the_schedule_within_a_fifth),
		cmocka_unit_test(test_retry_after_is_honoured_within_a_bound),
		cmocka_unit_test(test_a_throttled_callback_rests_longer_each_time),
		cmocka_unit_test(test_the_body_is_json_and_leaves_out_what_has_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
