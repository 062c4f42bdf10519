/* The client library: messages to the businesses, and their results. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_server.h"
#include "hf_clock.h"

static struct fixture f;

static int setup(void **state)
{
	fixture_init(&f);
	return 0;
}

static int teardown(void **state)
{
	fixture_deinit(&f);
	return 0;
}

static void ack(uint32_t sequence, uint32_t code)
{
	uint8_t wire[256];

	server_send_encoded(&f.server, wire,
			    hf_wire_encode_upstream_ack(
				    &(struct hf_wire_upstream_ack){
					    .app = 7,
					    .sequence = sequence,
					    .code = code,
					    .reason = HF_BYTES_LITERAL("because") },
				    wire, sizeof(wire)));
}

static void test_a_send_travels_and_its_answer_and_result_come_back(void **state)
{
	struct hf_wire_upstream upstream;
	struct hf_wire_frame frame;
	uint8_t wire[256];
	int sequence;

	fixture_connect(&f);
	sequence = hf_client_send(f.client, 7, "order", "{}", 2);
	assert_true(sequence > 0);
	assert_int_equal(hf_client_next_timeout_ms(f.client), 0);
	frame = server_frame(&f, &f.server, HF_WIRE_UPSTREAM);
	assert_int_equal(hf_wire_decode_upstream(frame.body, &upstream), 0);
	assert_int_equal(upstream.app, 7);
	assert_int_equal(upstream.sequence, sequence);
	assert_true(hf_bytes_equal(upstream.forward_type, HF_BYTES_LITERAL("order")));
	assert_true(hf_bytes_equal(upstream.payload, HF_BYTES_LITERAL("{}")));

	server_send_encoded(
		&f.server, wire,
		hf_wire_encode_push(&(struct hf_wire_push){ .message_id = 9,
							    .app = 7,
							    .upstream_sequence = upstream.sequence,
							    .payload = HF_BYTES_LITERAL("yes") },
				    wire, sizeof(wire)));
	ack(upstream.sequence, 0);
	PUMP_UNTIL(&f, &f.server, f.record.results == 1);
	assert_int_equal(f.record.answers, sequence);
	assert_string_equal(f.record.payload, "yes");
	assert_int_equal(f.record.result_sequence, sequence);
	assert_int_equal(f.record.result, 0);
}

static void test_a_refusal_is_a_result_and_ends_nothing(void **state)
{
	struct hf_client_stats stats;
	int sequence;

	fixture_connect(&f);
	sequence = hf_client_send(f.client, 7, "order", NULL, 0);
	ack((uint32_t)sequence, HF_UPSTREAM_NO_CALLBACK);
	PUMP_UNTIL(&f, &f.server, f.record.results == 1);
	assert_int_equal(f.record.result, HF_UPSTREAM_NO_CALLBACK);
	assert_string_equal(hf_client_send_name(f.record.result), "no_callback");
	hf_client_stats(f.client, &stats);
	assert_int_equal(stats.sends, 1);
	assert_int_equal(stats.sends_failed, 1);
	assert_int_equal(stats.lost, 0);
}

static void test_a_result_that_nobody_waits_for_is_dropped(void **state)
{
	int sequence;

	fixture_connect(&f);
	sequence = hf_client_send(f.client, 7, "order", "x", 1);
	ack((uint32_t)sequence + 1, 0);
	ack((uint32_t)sequence, 0);
	ack((uint32_t)sequence, 4100);
	server_push(&f.server, 5, 7, "after");
	PUMP_UNTIL(&f, &f.server, f.record.messages == 1);
	assert_int_equal(f.record.results, 1);
	assert_int_equal(f.record.result, 0);
}

static void test_what_has_no_result_when_the_line_is_cut_is_lost(void **state)
{
	fixture_connect(&f);
	assert_true(hf_client_send(f.client, 7, "order", "a", 1) > 0);
	assert_true(hf_client_send(f.client, 7, "order", "b", 1) > 0);
	server_frame(&f, &f.server, HF_WIRE_UPSTREAM);
	server_hang_up(&f.server);
	PUMP_UNTIL(&f, &f.server, f.record.results == 2);
	assert_int_equal(f.record.result, -ECONNRESET);
	assert_string_equal(hf_client_send_name(f.record.result), "lost");
	server_log_in(&f);
	assert_true(hf_client_send(f.client, 7, "order", "c", 1) > 0);
}

static void test_what_can_not_be_sent_now_is_refused(void **state)
{
	static char large[HF_WIRE_PAYLOAD_MAX + 1];

	fixture_start(&f);
	assert_int_equal(hf_client_send(f.client, 7, "order", "x", 1), -ENOTCONN);
	server_log_in(&f);
	PUMP_UNTIL(&f, &f.server, f.record.states[HF_CLIENT_CONNECTED] == 1);
	assert_int_equal(hf_client_send(f.client, 8, "order", "x", 1), -ENOENT);
	assert_int_equal(hf_client_send(f.client, 7, "", "x", 1), -EINVAL);
	assert_int_equal(hf_client_send(f.client, 7, NULL, "x", 1), -EINVAL);
	assert_int_equal(hf_client_send(f.client, 7, "a\n", "x", 1), -EINVAL);
	assert_int_equal(hf_client_send(f.client, 7, "order", NULL, 1), -EINVAL);
	assert_int_equal(hf_client_send(f.client, 7, "order", large, sizeof(large)), -EMSGSIZE);
	for (unsigned i = 0; i < HF_CLIENT_SENDS_MAX; i++)
		assert_true(hf_client_send(f.client, 7, "order", "x", 1) > 0);
	assert_int_equal(hf_client_send(f.client, 7, "order", "x", 1), -EAGAIN);
}

static void test_a_stop_and_a_detach_make_no_results(void **state)
{
	fixture_connect(&f);
	assert_true(hf_client_send(f.client, 7, "order", "x", 1) > 0);
	hf_client_stop(f.client, 0);
	assert_int_equal(f.record.results, 0);
	assert_int_equal(hf_client_detach(f.client, 7), 0);
	assert_int_equal(hf_client_send(f.client, 7, "order", "x", 1), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_send_travels_and_its_answer_and_result_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refusal_is_a_result_and_ends_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_result_that_nobody_waits_for_is_dropped,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_has_no_result_when_the_line_is_cut_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_can_not_be_sent_now_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_stop_and_a_detach_make_no_results, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
