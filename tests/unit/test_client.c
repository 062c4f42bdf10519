/* tests/unit/test_client.c - promises of libholdfast-client while it is connected. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

static bool is(struct hf_bytes bytes, const char *text)
{
	return hf_bytes_equal(bytes, hf_bytes_of_string(text));
}

/* The ids of the next ACK frame; returns their number. */
static size_t acked(uint64_t ids[HF_WIRE_ACK_IDS_MAX])
{
	size_t count = 0;
	struct hf_wire_frame frame = server_frame(&f, &f.server, HF_WIRE_ACK);

	assert_int_equal(hf_wire_decode_ack(frame.body, ids, &count), 0);
	return count;
}

static void test_login_carries_the_device_and_all_apps(void **state)
{
	static struct hf_wire_login login;
	static const char *const tags[] = { "vip", "beijing" };
	const struct hf_client_app app = { .app = 8,
					   .registration = "r8",
					   .token = "t8",
					   .user_id = "ana",
					   .tags = tags,
					   .tag_count = 2 };
	struct hf_wire_frame frame;

	f.config.network = HF_CLIENT_NETWORK_WIFI;
	fixture_start(&f);
	assert_int_equal(hf_client_attach(f.client, &app), 0);
	frame = server_frame(&f, &f.server, HF_WIRE_LOGIN);
	assert_int_equal(hf_wire_decode_login(frame.body, &login), 0);
	assert_int_equal(login.version, HF_WIRE_VERSION);
	assert_true(is(login.device, "d1") && is(login.platform, "linux"));
	assert_int_equal(login.network, HF_NETWORK_WIFI);
	assert_int_equal(login.session_count, 2);
	assert_true(login.sessions[0].app == 7 && is(login.sessions[0].registration, "r7") &&
		    is(login.sessions[0].token, "t7"));
	assert_true(login.sessions[1].app == 8 && is(login.sessions[1].user_id, "ana") &&
		    login.sessions[1].tag_count == 2 && is(login.sessions[1].tags[1], "beijing"));
}

static void test_the_acks_of_one_turn_leave_in_one_frame(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	uint8_t frames[512];
	size_t len = 0;

	fixture_connect(&f);
	assert_string_equal(f.record.node, "n1");
	assert_string_equal(f.record.endpoint, f.server.address);
	for (uint64_t id = 1; id <= 3; id++) {
		const struct hf_wire_push push = { .message_id = id,
						   .app = 7,
						   .qos = 1,
						   .payload = HF_BYTES_LITERAL("{\"n\":1}") };

		len += (size_t)hf_wire_encode_push(&push, frames + len, sizeof(frames) - len);
	}
	server_send(&f.server, frames, len);
	assert_int_equal(acked(ids), 3);
	assert_true(ids[0] == 1 && ids[1] == 2 && ids[2] == 3);
	assert_int_equal(f.record.messages, 3);
	assert_string_equal(f.record.payload, "{\"n\":1}");
}

static void test_a_message_that_comes_twice_is_delivered_once_and_acked_twice(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	struct hf_client_stats stats;

	fixture_connect(&f);
	server_push(&f.server, 5, 7, "a");
	assert_int_equal(acked(ids), 1);
	server_push(&f.server, 5, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_true(ids[0] == 5);

	/* and on the next connection */
	server_hang_up(&f.server);
	server_log_in(&f);
	server_push(&f.server, 5, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_int_equal(f.record.messages, 1);
	hf_client_stats(f.client, &stats);
	assert_int_equal(stats.duplicates, 2);
	assert_int_equal(stats.logins, 2);
	assert_int_equal(stats.lost, 1);
}

static void test_only_the_last_ids_are_remembered(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];

	f.config.dedup_ids = 16;
	fixture_connect(&f);
	for (uint64_t id = 1; id <= 17; id++) {
		server_push(&f.server, id, 7, "a");
		assert_int_equal(acked(ids), 1);
	}
	server_push(&f.server, 2, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_int_equal(f.record.messages, 17);
	server_push(&f.server, 1, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_int_equal(f.record.messages, 18);
}

static void test_without_auto_ack_a_message_comes_until_it_is_acked(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];

	f.config.auto_ack = 0;
	fixture_connect(&f);
	server_push(&f.server, 5, 7, "a");
	PUMP_UNTIL(&f, &f.server, f.record.messages == 1);
	assert_false(f.record.redelivered);
	server_push(&f.server, 5, 7, "a");
	PUMP_UNTIL(&f, &f.server, f.record.messages == 2);
	assert_true(f.record.redelivered);
	assert_int_equal(hf_buffer_len(&f.server.in), 0);

	assert_int_equal(hf_client_ack(f.client, 7, 6), -ENOENT);
	assert_int_equal(hf_client_ack(f.client, 8, 5), -ENOENT);
	assert_int_equal(hf_client_ack(f.client, 7, 5), 0);
	assert_int_equal(hf_client_next_timeout_ms(f.client), 0);
	assert_int_equal(acked(ids), 1);
	server_push(&f.server, 5, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_int_equal(f.record.messages, 2);
}

static void test_a_message_of_qos_0_is_not_acked(void **state)
{
	const struct hf_wire_push push = { .message_id = 9, .app = 7 };
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	uint8_t frame[64];

	fixture_connect(&f);
	server_send_encoded(&f.server, frame, hf_wire_encode_push(&push, frame, sizeof(frame)));
	server_push(&f.server, 10, 7, "a");
	assert_int_equal(acked(ids), 1);
	assert_true(ids[0] == 10);
	assert_int_equal(f.record.messages, 2);
}

static void test_input_may_come_byte_by_byte(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	const struct hf_wire_push push = {
		.message_id = 11, .app = 7, .qos = 1, .payload = HF_BYTES_LITERAL("slow")
	};
	uint8_t frame[64];
	ssize_t n = hf_wire_encode_push(&push, frame, sizeof(frame));

	fixture_connect(&f);
	for (ssize_t i = 0; i < n; i++) {
		assert_int_equal(f.record.messages, 0);
		server_send(&f.server, frame + i, 1);
		turn(&f, &f.server, 1000);
	}
	assert_int_equal(acked(ids), 1);
	assert_string_equal(f.record.payload, "slow");
}

static void test_a_large_message_arrives_whole(void **state)
{
	static uint8_t payload[HF_WIRE_PAYLOAD_MAX];
	static uint8_t frame[HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD];
	const struct hf_wire_push push = { .message_id = 12,
					   .app = 7,
					   .kind = HF_WIRE_PAYLOAD_BYTES,
					   .qos = 1,
					   .payload = { payload, sizeof(payload) } };
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];

	fixture_connect(&f);
	memset(payload, 'x', sizeof(payload));
	server_send_encoded(&f.server, frame, hf_wire_encode_push(&push, frame, sizeof(frame)));
	assert_int_equal(acked(ids), 1);
}

static void test_a_ping_of_the_server_is_answered(void **state)
{
	fixture_connect(&f);
	server_send(&f.server, hf_wire_ping_frame, 2);
	server_frame(&f, &f.server, HF_WIRE_PONG);
}

static void test_silence_after_a_ping_is_the_end_of_the_line(void **state)
{
	f.config.heartbeat_max_s = 1;
	f.config.pong_timeout_ms = 50;
	fixture_connect(&f);
	server_frame(&f, &f.server, HF_WIRE_PING);
	PUMP_UNTIL(&f, &f.server, f.record.errors[HF_CLIENT_ERROR_LOST] == 1);
	server_log_in(&f);
}

static void test_a_pong_keeps_the_line(void **state)
{
	struct hf_client_stats stats;

	f.config.heartbeat_max_s = 1;
	fixture_connect(&f);
	for (unsigned i = 0; i < 2; i++) {
		server_frame(&f, &f.server, HF_WIRE_PING);
		server_send(&f.server, hf_wire_pong_frame, 2);
	}
	PUMP_UNTIL(&f, &f.server, (hf_client_stats(f.client, &stats), stats.pongs == 2));
	assert_int_equal(stats.lost, 0);
}

static void test_a_changed_network_is_probed_at_once(void **state)
{
	fixture_connect(&f);
	hf_client_notify_network(f.client, HF_CLIENT_NETWORK_CELLULAR);
	server_frame(&f, &f.server, HF_WIRE_PING);
}

static void test_apps_come_and_go_on_a_live_connection(void **state)
{
	const struct hf_client_app app = { .app = 8, .registration = "r8", .token = "t8" };
	const struct hf_wire_attach_result result = { .app = 8 };
	struct hf_wire_session session;
	struct hf_wire_detach detach;
	struct hf_wire_frame frame;
	uint8_t out[64];

	fixture_connect(&f);
	f.record.app_code[8] = 1;
	assert_int_equal(hf_client_attach(f.client, &app), 0);
	assert_int_equal(hf_client_attach(f.client, &app), -EEXIST);
	frame = server_frame(&f, &f.server, HF_WIRE_ATTACH);
	assert_int_equal(hf_wire_decode_attach(frame.body, &session), 0);
	assert_true(session.app == 8 && is(session.token, "t8"));
	server_send_encoded(&f.server, out, hf_wire_encode_attach_ack(&result, out, sizeof(out)));
	PUMP_UNTIL(&f, &f.server, f.record.app_code[8] == 0);

	assert_int_equal(hf_client_detach(f.client, 8), 0);
	assert_int_equal(hf_client_detach(f.client, 8), -ENOENT);
	frame = server_frame(&f, &f.server, HF_WIRE_DETACH);
	assert_int_equal(hf_wire_decode_detach(frame.body, &detach), 0);
	assert_int_equal(detach.app, 8);
	server_push(&f.server, 1, 8, "late");
	server_push(&f.server, 2, 7, "mine");
	PUMP_UNTIL(&f, &f.server, f.record.messages == 1);
	assert_string_equal(f.record.payload, "mine");
}

static void test_a_new_token_of_an_attached_app_is_shown_to_the_server(void **state)
{
	struct hf_wire_session session;
	struct hf_wire_frame frame;

	fixture_connect(&f);
	assert_int_equal(hf_client_set_token(f.client, 7, "fresh"), 0);
	frame = server_frame(&f, &f.server, HF_WIRE_ATTACH);
	assert_int_equal(hf_wire_decode_attach(frame.body, &session), 0);
	assert_true(is(session.token, "fresh"));
}

static void test_lost_messages_are_told(void **state)
{
	const struct hf_wire_command command = { .kind = HF_WIRE_COMMAND_MESSAGES_LOST,
						 .app = 7,
						 .count = 12 };
	uint8_t out[64];

	fixture_connect(&f);
	server_send_encoded(&f.server, out, hf_wire_encode_command(&command, out, sizeof(out)));
	PUMP_UNTIL(&f, &f.server, f.record.lost == 12);
}

static void test_unknown_commands_are_ignored(void **state)
{
	const struct hf_wire_command command = { .kind = 99, .app = 7 };
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	uint8_t out[64];

	fixture_connect(&f);
	server_send_encoded(&f.server, out, hf_wire_encode_command(&command, out, sizeof(out)));
	server_push(&f.server, 1, 7, "a");
	assert_int_equal(acked(ids), 1);
}

static void test_stop_in_a_callback_acks_and_says_goodbye(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX];
	struct hf_wire_frame frame;
	struct hf_wire_bye bye;

	f.record.stop_after = 1;
	fixture_connect(&f);
	server_push(&f.server, 3, 7, "last");
	assert_int_equal(acked(ids), 1);
	frame = server_frame(&f, &f.server, HF_WIRE_BYE);
	assert_int_equal(hf_wire_decode_bye(frame.body, &bye), 0);
	assert_int_equal(bye.code, HF_CLOSE_NORMAL);
	PUMP_UNTIL(&f, &f.server, f.server.closed);
	assert_int_equal(hf_client_next_timeout_ms(f.client), -1);
	assert_int_equal(f.server.accepted, 1);

	/* and it can be started again */
	assert_int_equal(hf_client_start(f.client), 0);
	assert_int_equal(hf_client_start(f.client), -EALREADY);
	server_log_in(&f);
}

static void test_bad_settings_are_refused(void **state)
{
	const struct hf_client_app no_app = { .registration = "r" };
	const struct hf_client_app bad_registration = { .app = 1, .registration = "a\nb" };
	const struct hf_client_app minted = { .app = 1, .token = "t" };
	const char *bad[] = { "ftp://h", "http://", "http://h:99999", "http://h/path",
			      "http://h:p" };
	struct hf_client_config config = f.config;
	const char *dispatcher;
	char *diag;

	config.dispatchers = &dispatcher;
	config.dispatcher_count = 1;
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		dispatcher = bad[i];
		assert_int_equal(hf_client_new(&config, &f.client), -EINVAL);
	}
	config = f.config;
	config.device = NULL;
	assert_int_equal(hf_client_new(&config, &f.client), -EINVAL);
	config = f.config;
	config.address_count = 0;
	assert_int_equal(hf_client_new(&config, &f.client), -EINVAL);
	config = f.config;
	config.struct_size--;
	assert_int_equal(hf_client_new(&config, &f.client), -EINVAL);

	assert_int_equal(hf_client_new(&f.config, &f.client), 0);
	assert_int_equal(hf_client_start(f.client), -EINVAL);
	assert_int_equal(hf_client_attach(f.client, &no_app), -EINVAL);
	assert_int_equal(hf_client_attach(f.client, &bad_registration), -EINVAL);
	assert_int_equal(hf_client_attach(f.client, &minted), 0);
	assert_int_equal(strlen(hf_client_registration(f.client, 1)), HF_CLIENT_KEY_SIZE - 1);
	assert_null(hf_client_registration(f.client, 2));
	diag = hf_client_diag_json(f.client);
	assert_non_null(strstr(diag, "\"state\":\"idle\""));
	assert_null(strstr(diag, "\"t\""));
	free(diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login_carries_the_device_and_all_apps),
		cmocka_unit_test(test_the_acks_of_one_turn_leave_in_one_frame),
		cmocka_unit_test(test_a_message_that_comes_twice_is_delivered_once_and_acked_twice),
		cmocka_unit_test(test_only_the_last_ids_are_remembered),
		cmocka_unit_test(test_without_auto_ack_a_message_comes_until_it_is_acked),
		cmocka_unit_test(test_a_message_of_qos_0_is_not_acked),
		cmocka_unit_test(test_input_may_come_byte_by_byte),
		cmocka_unit_test(test_a_large_message_arrives_whole),
		cmocka_unit_test(test_a_ping_of_the_server_is_answered),
		cmocka_unit_test(test_silence_after_a_ping_is_the_end_of_the_line),
		cmocka_unit_test(test_a_pong_keeps_the_line),
		cmocka_unit_test(test_a_changed_network_is_probed_at_once),
		cmocka_unit_test(test_apps_come_and_go_on_a_live_connection),
		cmocka_unit_test(test_a_new_token_of_an_attached_app_is_shown_to_the_server),
		cmocka_unit_test(test_lost_messages_are_told),
		cmocka_unit_test(test_unknown_commands_are_ignored),
		cmocka_unit_test(test_stop_in_a_callback_acks_and_says_goodbye),
		cmocka_unit_test(test_bad_settings_are_refused),
	};
	struct CMUnitTest with_fixture[HF_ARRAY_LEN(tests)];

	for (size_t i = 0; i < HF_ARRAY_LEN(tests); i++) {
		with_fixture[i] = tests[i];
		with_fixture[i].setup_func = setup;
		with_fixture[i].teardown_func = teardown;
	}
	return cmocka_run_group_tests_name("client", with_fixture, NULL, NULL);
}
