/* tests/unit/test_wire.c - promises of common/wire: frames, limits and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_cursor.h"
#include "hf_wire.h"

#define NO_LIMIT UINT32_MAX

static uint8_t frame_bytes[HF_WIRE_PAYLOAD_MAX + 4096];

static uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static struct hf_bytes text(const char *s)
{
	return hf_bytes_of_string(s);
}

static struct hf_bytes repeated(char c, size_t len)
{
	static char bytes[HF_WIRE_PAYLOAD_MAX + 1];

	memset(bytes, c, len);
	return hf_bytes_of(bytes, len);
}

/* One frame of each type, in frame_bytes. */
static ssize_t encode_one(unsigned type)
{
	static const uint64_t ids[3] = { 1, UINT64_MAX, 0x0102030405060708 };
	const struct hf_wire_attach_result result = { 7, 4300, text("old") };
	uint8_t *out = frame_bytes;
	size_t size = sizeof(frame_bytes);

	switch (type) {
	case HF_WIRE_LOGIN:
		return hf_wire_encode_login(
			&(struct hf_wire_login){
				.version = HF_WIRE_VERSION,
				.device = text("d"),
				.platform = text("linux"),
				.network = HF_NETWORK_CELLULAR,
				.ticket = text("ticket"),
				.session_count = 2,
				.sessions = { { .app = 1,
						.registration = text("r1"),
						.token = text("t1"),
						.tag_count = 1,
						.tags = { text("vip") } },
					      { .app = UINT32_MAX, .registration = text("r2") } } },
			out, size);
	case HF_WIRE_LOGIN_ACK:
		return hf_wire_encode_login_ack(
			&(struct hf_wire_login_ack){ .server_time_ms = 1,
						     .resumed = true,
						     .node = text("n"),
						     .result_count = 1,
						     .results = { result } },
			out, size);
	case HF_WIRE_ATTACH:
		return hf_wire_encode_attach(&(struct hf_wire_session){ .app = 3,
									.registration = text("r") },
					     out, size);
	case HF_WIRE_ATTACH_ACK:
		return hf_wire_encode_attach_ack(&result, out, size);
	case HF_WIRE_DETACH:
	case HF_WIRE_DETACH_ACK:
		return hf_wire_encode_detach(type, &(struct hf_wire_detach){ .app = 3 }, out, size);
	case HF_WIRE_PUSH:
		return hf_wire_encode_push(&(struct hf_wire_push){ .message_id = 1,
								   .app = 300,
								   .qos = 1,
								   .payload = repeated('x', 200) },
					   out, size);
	case HF_WIRE_ACK:
		return hf_wire_encode_ack(ids, HF_ARRAY_LEN(ids), out, size);
	case HF_WIRE_UPSTREAM:
		return hf_wire_encode_upstream(&(struct hf_wire_upstream){ .app = 1,
									   .sequence = 2,
									   .forward_type =
										   text("f"),
									   .payload = text("p") },
					       out, size);
	case HF_WIRE_UPSTREAM_ACK:
		return hf_wire_encode_upstream_ack(&(struct hf_wire_upstream_ack){ .app = 1,
										   .sequence = 2,
										   .code = 4100 },
						   out, size);
	case HF_WIRE_PING:
		return hf_wire_encode_ping(300, out, size);
	case HF_WIRE_PONG:
		memcpy(out, hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
		return sizeof(hf_wire_pong_frame);
	case HF_WIRE_COMMAND:
		return hf_wire_encode_command(
			&(struct hf_wire_command){ .kind = HF_WIRE_COMMAND_MOVE,
						   .delay_ms = 1,
						   .endpoint_count = 1,
						   .endpoints = { text("a:1") } },
			out, size);
	default:
		return hf_wire_encode_bye(&(struct hf_wire_bye){ .code = 4100,
								 .endpoint_count = 1,
								 .endpoints = { text("a:1") } },
					  out, size);
	}
}

static void test_every_prefix_of_every_frame_is_incomplete(void **state)
{
	for (unsigned type = 1; type < HF_WIRE_TYPE_COUNT; type++) {
		ssize_t size = encode_one(type);

		assert_true(size >= 2);
		for (size_t len = 0; len <= (size_t)size; len++) {
			uint8_t *exact = exact_copy(frame_bytes, len);
			size_t header = size > 129 ? 3 : 2, need = 99;
			struct hf_wire_frame frame;
			ssize_t n = hf_wire_decode(exact, len, NO_LIMIT, &frame, &need);

			assert_int_equal(n, len < (size_t)size ? 0 : size);
			assert_int_equal(need, len < header ? 0 : (size_t)size);
			if (n > 0) {
				assert_int_equal(frame.type, type);
				assert_int_equal(frame.flags, 0);
				assert_ptr_equal(frame.body.data, exact + header);
				assert_int_equal(frame.body.len, (size_t)size - header);
			}
			free(exact);
		}
	}
}

static void test_an_encoder_writes_nothing_past_its_room(void **state)
{
	const struct hf_wire_push push = { .app = 1, .payload = text("xyz") };
	const struct hf_wire_detach detach = { .app = 1 };
	const uint64_t id = 1;

	for (size_t size = 0; size <= 17; size++) {
		uint8_t *room = malloc(size > 0 ? size : 1);

		assert_non_null(room);
		assert_int_equal(hf_wire_encode_push(&push, room, size),
				 size < 17 ? -EMSGSIZE : 17);
		assert_int_equal(hf_wire_encode_ack(&id, 1, room, size),
				 size < 10 ? -EMSGSIZE : 10);
		assert_int_equal(hf_wire_encode_detach(HF_WIRE_DETACH, &detach, room, size),
				 size < 4 ? -EMSGSIZE : 4);
		assert_int_equal(hf_wire_encode_ping(300, room, size), size < 4 ? -EMSGSIZE : 4);
		free(room);
	}
}

static void test_types_and_flags_that_do_not_exist_are_refused_at_the_first_byte(void **state)
{
	struct hf_wire_frame frame;

	for (unsigned first = 0; first < 256; first++) {
		uint8_t byte = (uint8_t)first;
		bool exists = (first & 7) == 0 && first >> 3 > 0 && first >> 3 < HF_WIRE_TYPE_COUNT;

		assert_int_equal(hf_wire_decode(&byte, 1, NO_LIMIT, &frame, NULL),
				 exists ? 0 : -EPROTO);
	}
	assert_int_equal(HF_WIRE_LOGIN << 3, 0x08); /* neither TLS (0x16) nor HTTP ('G') */
}

static void test_a_length_is_minimal_and_at_most_four_bytes(void **state)
{
	static const struct {
		uint8_t bytes[6];
		size_t len;
		ssize_t result;
	} cases[] = {
		{ { 0x38, 0x80, 0x00 }, 3, -EPROTO },
		{ { 0x38, 0x81, 0x80, 0x00 }, 4, -EPROTO },
		{ { 0x38, 0x81, 0x80, 0x80, 0x00 }, 5, -EPROTO },
		{ { 0x38, 0x80, 0x80, 0x80, 0x80 }, 5, -EPROTO },
		{ { 0x38, 0xff, 0xff, 0xff, 0x7f }, 5, -EMSGSIZE },
		{ { 0x38, 0x80 }, 2, 0 },
		{ { 0x38, 0x80, 0x80, 0x80 }, 4, 0 },
		{ { 0x38, 0x80, 0x01 }, 3, 0 },
	};
	struct hf_wire_frame frame;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		uint8_t *exact = exact_copy(cases[i].bytes, cases[i].len);

		assert_int_equal(hf_wire_decode(exact, cases[i].len, NO_LIMIT, &frame, NULL),
				 cases[i].result);
		free(exact);
	}
}

static void test_a_body_over_its_limit_is_refused_before_it_is_awaited(void **state)
{
	struct hf_wire_frame frame;

	for (unsigned type = 1; type < HF_WIRE_TYPE_COUNT; type++) {
		for (unsigned over = 0; over < 2; over++) {
			struct hf_writer w = hf_writer_of(frame_bytes, 8);
			ssize_t expected = over ? -EMSGSIZE : 0;

			hf_writer_u8(&w, (uint8_t)(type << 3));
			hf_writer_varint(&w, hf_wire_body_max(type) + over);
			if (!over && hf_wire_body_max(type) == 0)
				expected = 2;
			assert_int_equal(hf_wire_decode(frame_bytes, (size_t)(w.pos - frame_bytes),
							NO_LIMIT, &frame, NULL),
					 expected);
		}
	}
	assert_int_equal(hf_wire_decode((const uint8_t *)"\x38\x11", 2, 16, &frame, NULL),
			 -EMSGSIZE);
	assert_int_equal(hf_wire_decode((const uint8_t *)"\x38\x10", 2, 16, &frame, NULL), 0);
	assert_int_equal(hf_wire_body_max(0), 0);
	assert_int_equal(hf_wire_body_max(HF_WIRE_TYPE_COUNT), 0);
	assert_int_equal(hf_wire_body_max(1000), 0);
}

static void test_the_largest_push_fits_into_its_overhead(void **state)
{
	struct hf_wire_push push = { .message_id = UINT64_MAX,
				     .app = UINT32_MAX,
				     .kind = HF_WIRE_PAYLOAD_ENVELOPE,
				     .qos = 1,
				     .upstream_sequence = UINT32_MAX,
				     .payload = repeated('p', HF_WIRE_PAYLOAD_MAX) };
	size_t size = HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD;
	struct hf_wire_push decoded;
	struct hf_wire_frame frame;
	ssize_t n = hf_wire_encode_push(&push, frame_bytes, size);

	assert_true(n > 0);
	assert_int_equal(hf_wire_decode(frame_bytes, (size_t)n, NO_LIMIT, &frame, NULL), n);
	assert_int_equal(hf_wire_decode_push(frame.body, &decoded), 0);
	assert_true(decoded.message_id == push.message_id && decoded.app == push.app &&
		    decoded.kind == push.kind && decoded.qos == 1 &&
		    decoded.upstream_sequence == push.upstream_sequence);
	assert_true(hf_bytes_equal(decoded.payload, push.payload));

	push.payload.len++;
	assert_int_equal(hf_wire_encode_push(&push, frame_bytes, sizeof(frame_bytes)), -EMSGSIZE);
}

static void test_a_malformed_push_is_refused(void **state)
{
	/* after eight bytes of id: app, kind, qos, sequence, payload */
	static const struct {
		uint8_t tail[12];
		size_t len;
		int result;
	} cases[] = {
		{ { 1, 0, 1, 0 }, 4, 0 },
		{ { 1, 0, 1, 0, 'x' }, 5, 0 },
		{ { 1, 0, 1 }, 3, -EPROTO },
		{ { 0, 0, 1, 0 }, 4, -EPROTO },                              /* app 0 */
		{ { 1, 3, 1, 0 }, 4, -EPROTO },                              /* kind */
		{ { 1, 0, 2, 0 }, 4, -EPROTO },                              /* qos */
		{ { 0x81, 0x00, 0, 1, 0 }, 5, -EPROTO },                     /* not minimal */
		{ { 1, 0, 1, 0x80, 0x00 }, 5, -EPROTO },                     /* not minimal */
		{ { 1, 0, 1, 0x80 }, 4, -EPROTO },                           /* cut */
		{ { 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1, 0 }, 8, 0 },         /* 32 bits */
		{ { 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 1, 0 }, 8, -EPROTO },   /* 33 bits */
		{ { 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 0 }, 9, -EPROTO } /* six bytes */
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		uint8_t bytes[20] = { 1, 2, 3, 4, 5, 6, 7, 8 };
		struct hf_wire_push push;
		uint8_t *exact;

		memcpy(bytes + 8, cases[i].tail, sizeof(cases[i].tail));
		exact = exact_copy(bytes, 8 + cases[i].len);
		assert_int_equal(hf_wire_decode_push(hf_bytes_of(exact, 8 + cases[i].len), &push),
				 cases[i].result);
		for (size_t len = 0; len < 12; len++) {
			uint8_t *shorter = exact_copy(bytes, len);

			assert_int_equal(hf_wire_decode_push(hf_bytes_of(shorter, len), &push),
					 -EPROTO);
			free(shorter);
		}
		free(exact);
	}
}

static void test_an_ack_holds_whole_ids_up_to_its_limit(void **state)
{
	uint64_t ids[HF_WIRE_ACK_IDS_MAX + 1], decoded[HF_WIRE_ACK_IDS_MAX];
	size_t count = 0;
	struct hf_wire_frame frame;
	ssize_t n;

	for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++)
		ids[i] = i * 0x9e3779b97f4a7c15;
	n = hf_wire_encode_ack(ids, HF_WIRE_ACK_IDS_MAX, frame_bytes, HF_WIRE_CONTROL_MAX);
	assert_true(n > 0);
	assert_int_equal(hf_wire_decode(frame_bytes, (size_t)n, NO_LIMIT, &frame, NULL), n);
	assert_int_equal(hf_wire_decode_ack(frame.body, decoded, &count), 0);
	assert_int_equal(count, HF_WIRE_ACK_IDS_MAX);
	assert_memory_equal(decoded, ids, sizeof(decoded));

	assert_int_equal(hf_wire_encode_ack(ids, HF_WIRE_ACK_IDS_MAX + 1, frame_bytes, 8192),
			 -EMSGSIZE);
	assert_int_equal(hf_wire_encode_ack(ids, 0, frame_bytes, 8192), -EMSGSIZE);
	assert_int_equal(hf_wire_decode_ack(hf_bytes_of(ids, sizeof(ids)), decoded, &count),
			 -EPROTO);
	assert_int_equal(hf_wire_decode_ack(hf_bytes_of(ids, 7), decoded, &count), -EPROTO);
	assert_int_equal(hf_wire_decode_ack(hf_bytes_of(NULL, 0), decoded, &count), -EPROTO);
}

static void test_a_ping_is_empty_or_proposes_an_interval(void **state)
{
	static const uint32_t intervals[] = { 1, 127, 128, 300, UINT32_MAX };
	struct hf_wire_frame frame;
	uint32_t heartbeat_s = 9;

	assert_int_equal(hf_wire_encode_ping(0, frame_bytes, 2), 2);
	assert_memory_equal(frame_bytes, hf_wire_ping_frame, 2);
	assert_int_equal(hf_wire_decode_ping(hf_bytes_of(NULL, 0), &heartbeat_s), 0);
	assert_int_equal(heartbeat_s, 0);
	for (size_t i = 0; i < HF_ARRAY_LEN(intervals); i++) {
		ssize_t n = hf_wire_encode_ping(intervals[i], frame_bytes, sizeof(frame_bytes));

		assert_int_equal(hf_wire_decode(frame_bytes, (size_t)n, NO_LIMIT, &frame, NULL), n);
		assert_int_equal(hf_wire_decode_ping(frame.body, &heartbeat_s), 0);
		assert_int_equal(heartbeat_s, intervals[i]);
	}
	assert_int_equal(hf_wire_decode_ping(text("\x81\x00"), &heartbeat_s), -EPROTO);
	assert_int_equal(hf_wire_decode_ping(hf_bytes_of("\0", 1), &heartbeat_s), -EPROTO);
	assert_int_equal(hf_wire_decode_ping(hf_bytes_of("\x81\0", 2), &heartbeat_s), -EPROTO);
	assert_int_equal(hf_wire_decode_ping(hf_bytes_of("\x01\x01", 2), &heartbeat_s), -EPROTO);
}

static void test_a_close_code_tells_what_to_do_next(void **state)
{
	assert_string_equal(hf_close_name(HF_CLOSE_BAD_FRAME), "bad_frame");
	assert_string_equal(hf_close_name(HF_CLOSE_TOKEN_NOT_YET_VALID), "token_not_yet_valid");
	assert_string_equal(hf_close_name(4099), "unknown");
	assert_true(hf_close_is_known(4203));
	assert_false(hf_close_is_known(4204));
	assert_int_equal(hf_close_action(HF_CLOSE_NORMAL), HF_CLOSE_STOP);
	assert_int_equal(hf_close_action(HF_CLOSE_KICKED), HF_CLOSE_STOP);
	assert_int_equal(hf_close_action(HF_CLOSE_OVERLOADED), HF_CLOSE_BACKOFF);
	assert_int_equal(hf_close_action(HF_CLOSE_DRAINING), HF_CLOSE_MOVE);
	assert_int_equal(hf_close_action(HF_CLOSE_TOKEN_EXPIRED), HF_CLOSE_REFRESH_TOKEN);
	assert_int_equal(hf_close_action(4399), HF_CLOSE_REFRESH_TOKEN);
	assert_int_equal(hf_close_action(1006), HF_CLOSE_BACKOFF);
	assert_int_equal(hf_close_action(4400), HF_CLOSE_BACKOFF);
	assert_int_equal(hf_close_action(0), HF_CLOSE_BACKOFF);
}

static void test_every_type_has_a_name(void **state)
{
	for (unsigned type = 1; type < HF_WIRE_TYPE_COUNT; type++)
		assert_string_not_equal(hf_wire_type_name(type), "unknown");
	assert_string_equal(hf_wire_type_name(HF_WIRE_PUSH), "push");
	assert_string_equal(hf_wire_type_name(0), "unknown");
	assert_string_equal(hf_wire_type_name(HF_WIRE_TYPE_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_prefix_of_every_frame_is_incomplete),
		cmocka_unit_test(test_an_encoder_writes_nothing_past_its_room),
		cmocka_unit_test(
			test_types_and_flags_that_do_not_exist_are_refused_at_the_first_byte),
		cmocka_unit_test(test_a_length_is_minimal_and_at_most_four_bytes),
		cmocka_unit_test(test_a_body_over_its_limit_is_refused_before_it_is_awaited),
		cmocka_unit_test(test_the_largest_push_fits_into_its_overhead),
		cmocka_unit_test(test_a_malformed_push_is_refused),
		cmocka_unit_test(test_an_ack_holds_whole_ids_up_to_its_limit),
		cmocka_unit_test(test_a_ping_is_empty_or_proposes_an_interval),
		cmocka_unit_test(test_a_close_code_tells_what_to_do_next),
		cmocka_unit_test(test_every_type_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
