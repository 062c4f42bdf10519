/* tests/unit/test_coordinator_targets.c - whose turn it is when all callbacks together are busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "hf_net.h"
#include "target.h"

#define PATIENCE_MS 20000

struct letter {
	struct parcel parcel;
	bool back, was_sent;
};

static void on_done(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct letter *letter = HF_CONTAINER_OF(parcel, struct letter, parcel);

	letter->back = true;
	letter->was_sent = outcome != NULL;
}

static void on_timeout(struct hf_timer *timer, void *ctx)
{
	fail_msg("waited too long");
}

static void run_until(struct hf_loop *loop, const bool *done)
{
	struct hf_timer guard;

	hf_timer_init(&guard, on_timeout, NULL);
	hf_loop_arm(loop, &guard, PATIENCE_MS);
	while (!*done)
		hf_loop_turn(loop, true);
	hf_wheel_disarm(&guard);
}

/* A server that takes connections and never says a word. */
static struct hf_webhook silent_webhook(int *ret_listener)
{
	struct hf_webhook webhook = {
		.id = "w",
		.enabled = true,
		.secret_count = 1,
		.network_count = 1,
		.timeout_ms = 1500,
		.max_in_flight = 4,
		.max_per_second = 1000,
	};
	char address[HF_NET_TEXT_SIZE];

	*ret_listener = hf_net_listen("127.0.0.1:0", 8);
	assert_true(*ret_listener >= 0);
	assert_int_equal(hf_net_local(*ret_listener, address), 0);
	snprintf(webhook.url, sizeof(webhook.url), "http://%s/", address);
	webhook.secrets[0].len = HF_WEBHOOK_SECRET_MIN;
	assert_int_equal(hf_cidr_parse("127.0.0.0/8", &webhook.networks[0]), 0);
	return webhook;
}

static void submit(struct targets *targets, uint32_t app, const struct hf_webhook *webhook,
		   struct letter *letter)
{
	*letter = (struct letter){ .parcel.request = {
					   .app = app, .id = app, .body = "{}", .body_len = 2 } };
	assert_int_equal(targets_submit(targets, app, webhook, 0, &letter->parcel), 0);
}

static void test_a_turn_that_nobody_takes_goes_to_the_next(void **state)
{
	struct targets_limits limits = {
		.queue = 10,
		.queue_bytes = 1000,
		.in_flight = 1,
		.bytes = 1000,
		.queue_timeout_ms = 60000,
		.idle_ms = 1000,
		.post = { .answer_max = 100, .connect_timeout_ms = 1000, .ca_file = "" },
	};
	struct hf_loop *loop = hf_loop_new();
	struct targets *targets;
	struct letter first, second, third;
	int listener;
	struct hf_webhook webhook = silent_webhook(&listener);

	assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), CURLE_OK);
	targets = targets_new(loop, on_done);
	assert_non_null(targets);
	targets_set_limits(targets, &limits);
	submit(targets, 1, &webhook, &first);
	hf_loop_turn(loop, false);
	assert_int_equal(targets_in_flight(targets), 1);

	limits.queue_timeout_ms = 20;
	targets_set_limits(targets, &limits);
	submit(targets, 2, &webhook, &second);
	hf_loop_turn(loop, false);
	limits.queue_timeout_ms = 60000;
	targets_set_limits(targets, &limits);
	submit(targets, 3, &webhook, &third);
	hf_loop_turn(loop, false);

	run_until(loop, &second.back); /* it gave up before its turn came */
	assert_false(second.was_sent);
	run_until(loop, &first.back);
	run_until(loop, &third.back);
	assert_true(third.was_sent);
	targets_free(targets);
	close(listener);
	hf_loop_free(loop);
	curl_global_cleanup();
}

static void test_every_parcel_comes_back_from_a_free(void **state)
{
	struct targets_limits limits = {
		.queue = 10,
		.queue_bytes = 1000,
		.in_flight = 2,
		.bytes = 1000,
		.queue_timeout_ms = 60000,
		.idle_ms = 1000,
		.post = { .answer_max = 100, .connect_timeout_ms = 1000, .ca_file = "" },
	};
	struct hf_loop *loop = hf_loop_new();
	struct targets *targets;
	struct letter letters[6];
	int listener;
	struct hf_webhook webhook = silent_webhook(&listener);

	assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), CURLE_OK);
	targets = targets_new(loop, on_done);
	assert_non_null(targets);
	targets_set_limits(targets, &limits);
	for (uint32_t i = 0; i < 6; i++)
		submit(targets, 1 + i / 2, &webhook, &letters[i]);
	for (unsigned i = 0; i < 10; i++)
		hf_loop_turn(loop, false);
	assert_int_equal(targets_in_flight(targets), 2);
	assert_int_equal(targets_waiting(targets), 4);
	targets_free(targets);
	for (uint32_t i = 0; i < 6; i++)
		assert_true(letters[i].back && !letters[i].was_sent);
	for (unsigned i = 0; i < 5; i++)
		hf_loop_turn(loop, false);
	close(listener);
	hf_loop_free(loop);
	curl_global_cleanup();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_turn_that_nobody_takes_goes_to_the_next),
		cmocka_unit_test(test_every_parcel_comes_back_from_a_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
