/* tests/unit/test_center_delivery.c - what center does with a message when savers, registers and
 * rooms answer, err or are silent. */
#include "center_fixture.h"

static void test_a_message_is_stored_then_pushed(void **state)
{
	struct fixture *f = *state;

	send_to(f, 1, "", "");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"accepted\""));
	assert_true(has(f, "\"targets\":{\"kind\":\"unicast\",\"requested\":1,\"resolved\":1,"
			   "\"accepted\":1}"));
	assert_true(has(f, "\"durability\":\"fsync\""));
	assert_int_equal(f->stored_count, 1);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, 1);
	assert_int_equal(f->stored_at_push, 1);
}

static void test_many_recipients_share_few_calls(void **state)
{
	struct fixture *f = *state;

	send_to(f, 1000, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_true(has(f, "\"state\":\"routed\""));
	assert_int_equal(f->stored_count, 1000);
	assert_int_equal(f->savers[0].items + f->savers[1].items, 1000);
	assert_true(f->savers[0].items > 0 && f->savers[1].items > 0);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, SAVERS);
	assert_true(f->lookup_calls <= SAVERS && f->push_calls <= SAVERS);
	assert_int_equal(f->pushes, 1000);
}

static void test_messages_of_one_turn_share_a_call(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 50; i++)
		begin(f, "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1}}",
		      NULL);
	TURN_UNTIL(f, f->answers == 50 && f->center->messages_open == 0);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, 1);
	assert_int_equal(f->stored_count, 50);
	assert_int_equal(f->pushes, 50);
}

static void test_a_store_is_repeated_with_the_same_id(void **state)
{
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = 2;
	send_to(f, 1, "", "");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, 3);
	assert_int_equal(f->stored_count, 1);
}

static void test_nothing_stored_is_503_with_the_reason(void **state)
{
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = UINT32_MAX;
	f->savers[0].fail_reason = f->savers[1].fail_reason = "STORE_FULL";
	send_to(f, 3, "", "");
	assert_int_equal(f->status, 503);
	assert_true(has(f, "\"reason\":\"STORE_FULL\""));
	assert_true(has(f, "\"retry_after_s\":1"));
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->lookups, 0);
	assert_int_equal(f->center->targets_open, 0);
}

static void test_what_could_be_stored_goes_on_without_the_rest(void **state)
{
	struct fixture *f = *state;
	unsigned listed = 0;

	f->savers[1].fail_next = UINT32_MAX;
	send_to(f, 100, "", "");
	assert_int_equal(f->status, 202);
	for (const char *at = f->text;
	     (at = strstr(at, "\"reason\":\"STORE_UNAVAILABLE\"")) != NULL; at++)
		listed++;
	assert_true(listed > 0 && listed < 100);
	assert_int_equal(listed, 100 - f->stored_count);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, f->stored_count);
}

static void test_one_bad_recipient_does_not_hold_up_the_others(void **state)
{
	struct fixture *f = *state;

	f->poison = "a5";
	send_to(f, 20, "", "");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 19);
	assert_true(has(f, "\"failed\":[{\"registration_id\":\"a5\""));
}

static void test_a_register_that_does_not_know_yet_is_asked_again(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = 2;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_int_equal(f->lookups, 3);
	assert_int_equal(f->pushes, 1);
}

static void test_a_register_that_never_knows_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = UINT32_MAX;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"unrouted\":1"));
	assert_int_equal(f->pushes, 0);
	assert_int_equal(f->stored_count, 1); /* owed: its next login loads it */
}

static void test_a_session_that_moved_is_looked_for_once(void **state)
{
	struct fixture *f = *state;

	f->gone = 1;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_int_equal(f->lookups, 2);
	assert_int_equal(f->pushes, 2);

	f->gone = 2;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"written\":0,\"offline\":1"));
	assert_int_equal(f->pushes, 4);
}

static void test_who_never_attached_is_404_and_is_not_pushed(void **state)
{
	struct fixture *f = *state;

	f->offline = true;
	f->unregistered = 1;
	send_to(f, 1, "", "");
	assert_int_equal(f->status, 404);
	assert_true(has(f, "\"reason\":\"UNREGISTERED\""));
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, 0);
}

static void test_some_who_never_attached_are_named(void **state)
{
	struct fixture *f = *state;

	f->offline = true;
	f->unregistered = 1;
	send_to(f, 3, "", "");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"requested\":3,\"resolved\":2,\"accepted\":2}"));
	assert_true(has(f, "\"unregistered\":[\"a"));
	assert_false(has(f, "\"failed\""));
}

/* Register knows of a session before the store does. */
static void test_who_is_attaching_is_waited_for(void **state)
{
	struct fixture *f = *state;

	f->unregistered = 2;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, 3);
	assert_int_equal(f->stored_count, 1);
	assert_int_equal(f->pushes, 1);
}

static void test_who_is_offline_is_owed_it(void **state)
{
	struct fixture *f = *state;

	f->offline = true;
	send_to(f, 2, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"accepted\""));
	assert_true(has(f, "\"offline\":2"));
}

static void test_a_transient_message_is_not_stored(void **state)
{
	struct fixture *f = *state;

	send_to(f, 2, ",\"qos\":0", "");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"durability\":\"none\""));
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->stored_count, 0);
	assert_int_equal(f->pushes, 2);

	f->offline = true;
	send_to(f, 1, ",\"ttl\":0", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"failed\""));
}

/* The room may have written it or not: "at least once" pushes again, "at most once" must not. */
static void test_only_what_is_stored_is_pushed_again_when_unsure(void **state)
{
	struct fixture *f = *state;

	f->room_silent = true;
	send_to(f, 1, ",\"qos\":0", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->pushes, 1);
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(f->pushes > 2);
}

static void test_acks_are_awaited(void **state)
{
	struct fixture *f = *state;

	send_to(f, 3, "", "\"wait\":\"acked\"");
	assert_int_equal(f->status, 200);
	assert_true(has(f, "\"state\":\"acked\""));
	assert_true(has(f, "\"acked\":3"));
	f->never_acked = true;
	send_to(f, 1, "", "\"wait\":\"acked\",\"wait_timeout\":\"1s\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"acked\":0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_message_is_stored_then_pushed),
		TEST(test_many_recipients_share_few_calls),
		TEST(test_messages_of_one_turn_share_a_call),
		TEST(test_a_store_is_repeated_with_the_same_id),
		TEST(test_nothing_stored_is_503_with_the_reason),
		TEST(test_what_could_be_stored_goes_on_without_the_rest),
		TEST(test_one_bad_recipient_does_not_hold_up_the_others),
		TEST(test_a_register_that_does_not_know_yet_is_asked_again),
		TEST(test_a_register_that_never_knows_is_given_up),
		TEST(test_a_session_that_moved_is_looked_for_once),
		TEST(test_who_never_attached_is_404_and_is_not_pushed),
		TEST(test_some_who_never_attached_are_named),
		TEST(test_who_is_attaching_is_waited_for),
		TEST(test_who_is_offline_is_owed_it),
		TEST(test_a_transient_message_is_not_stored),
		TEST(test_only_what_is_stored_is_pushed_again_when_unsure),
		TEST(test_acks_are_awaited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
