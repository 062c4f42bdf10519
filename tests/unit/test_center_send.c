/* tests/unit/test_center_send.c - a send as its caller sees it: once per idempotency key, refused
 * at the quota or under load, not stopped by a caller that left. */
#include "center_fixture.h"

/* An answer that no saver keeps would let the next try of its key send the message again. */
static void test_an_answer_is_kept_though_savers_refuse_for_a_while(void **state)
{
	static const char text[] =
		"{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1}}";
	struct fixture *f = *state;

	f->config.store_total_ms = 3000;
	f->complete_fails = 4;
	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 202);
	assert_int_equal(f->completes, 1);
	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 2);
	assert_true(f->replayed);
	assert_int_equal(f->stored_count, 1);
}

static void test_a_key_makes_a_send_happen_once(void **state)
{
	static const char text[] =
		"{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1}}";
	struct fixture *f = *state;
	char first[512];

	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 202);
	assert_false(f->replayed);
	assert_int_equal(f->completes, 1);
	snprintf(first, sizeof(first), "%.*s", 40, f->text);

	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_true(f->replayed);
	assert_true(has(f, "\"replayed\":true"));
	assert_memory_equal(f->text, first, 40);
	assert_int_equal(f->stored_count, 1);
}

static void test_a_key_is_free_again_when_nothing_was_accepted(void **state)
{
	static const char text[] = "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{"
				   "\"data\":1},\"cid\":\"k-2\"}";
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = UINT32_MAX;
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 503);
	TURN_UNTIL(f, f->gave_up == 1);
	f->savers[0].fail_next = f->savers[1].fail_next = 0;
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 1);
}

static void test_two_at_once_with_one_key_conflict(void **state)
{
	static const char text[] = "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{"
				   "\"data\":1},\"cid\":\"k-3\"}";
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = 2; /* the first is held up */
	begin(f, text, NULL);
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 409);
	assert_true(has(f, "IDEMPOTENCY_IN_PROGRESS"));
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 1);
}

static void test_a_client_that_left_does_not_stop_its_message(void **state)
{
	static const char text[] =
		"{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1},"
		"\"options\":{\"wait\":\"acked\"}}";
	struct fixture *f = *state;
	struct send *send = begin(f, text, NULL);

	assert_non_null(send);
	send_detach(send);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, 1);
	assert_int_equal(f->answers, 0);
	assert_true(TAILQ_EMPTY(&f->center->sends));
}

static void test_the_quota_refuses_and_says_when(void **state)
{
	struct fixture *f = *state;

	f->app.messages_per_second = 1;
	f->app.burst = 2;
	send_to(f, 2, "", "");
	assert_int_equal(f->status, 202);
	send_to(f, 1, "", "");
	assert_int_equal(f->status, 429);
	assert_true(has(f, "\"reason\":\"QUOTA_APP\""));
	assert_true(has(f, "\"retry_after_s\":1"));
}

static void test_too_much_in_delivery_is_refused_at_the_door(void **state)
{
	struct fixture *f = *state;

	f->config.targets_max = 5;
	send_to(f, 6, "", "");
	assert_int_equal(f->status, 503);
	assert_true(has(f, "\"reason\":\"OVERLOADED\""));
	assert_int_equal(f->stored_count, 0);
}

static void test_stopping_in_the_middle_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = 1;
	f->savers[0].fail_next = 1;
	for (unsigned i = 0; i < 20; i++)
		begin(f,
		      "{\"audience\":{\"registration_id\":[\"a\",\"b\",\"c\"]},\"message\":{"
		      "\"data\":1},"
		      "\"options\":{\"wait\":\"acked\"}}",
		      i == 0 ? "k" : NULL);
	for (unsigned i = 0; i < 3; i++)
		hf_loop_turn(f->loop, false);
	/* The teardown stops the center; the sanitizer sees what is left. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_answer_is_kept_though_savers_refuse_for_a_while),
		TEST(test_a_key_makes_a_send_happen_once),
		TEST(test_a_key_is_free_again_when_nothing_was_accepted),
		TEST(test_two_at_once_with_one_key_conflict),
		TEST(test_a_client_that_left_does_not_stop_its_message),
		TEST(test_the_quota_refuses_and_says_when),
		TEST(test_too_much_in_delivery_is_refused_at_the_door),
		TEST(test_stopping_in_the_middle_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
