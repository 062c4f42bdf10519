/* tests/unit/test_wire_proto.c - holds the hand-written codec against protobuf's own: for messages
 * of random content the bytes of common/wire are the bytes that protobuf-c writes for
 * proto/client.proto, each side reads the other's, and what was read is what was written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client.pb-c.h"
#include "hf_wire.h"

#define ROUNDS 400

static uint8_t ours[HF_WIRE_PAYLOAD_MAX + 4096], again[HF_WIRE_PAYLOAD_MAX + 4096];
static uint8_t theirs[HF_WIRE_PAYLOAD_MAX + 4096];
static uint64_t random_state;

/* A fixed seed: a failure can be looked at again. */
static uint32_t draw(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 11) % bound);
}

static uint32_t draw_u32(void)
{
	return (uint32_t)random_state >> draw(32) | draw(2);
}

/* Mostly short, sometimes empty, sometimes of the largest size. */
static struct hf_bytes draw_text(size_t min, size_t max)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:";
	static uint8_t pool[1 << 20];
	static size_t used;
	size_t len = draw(8) == 0 ? max : min + draw((uint32_t)HF_MIN(max - min, (size_t)20) + 1);
	uint8_t *bytes;

	if (used + len > sizeof(pool))
		used = 0;
	bytes = pool + used;
	used += len;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)alphabet[draw(sizeof(alphabet) - 1)];
	return hf_bytes_of(bytes, len);
}

static char *to_string(struct hf_bytes bytes)
{
	char *s = calloc(1, bytes.len + 1);

	assert_non_null(s);
	if (bytes.len > 0)
		memcpy(s, bytes.data, bytes.len);
	return s;
}

static ProtobufCBinaryData to_binary(struct hf_bytes bytes)
{
	return (ProtobufCBinaryData){ bytes.len, (uint8_t *)to_string(bytes) };
}

static char **to_strings(const struct hf_bytes *items, size_t count)
{
	char **strings = calloc(count > 0 ? count : 1, sizeof(*strings));

	assert_non_null(strings);
	for (size_t i = 0; i < count; i++)
		strings[i] = to_string(items[i]);
	return strings;
}

/* The frame in `ours` has the body that protobuf-c writes for `message`, which it takes. */
static struct hf_bytes expect_same(ProtobufCMessage *message, unsigned type, ssize_t size)
{
	struct hf_wire_frame frame;
	ProtobufCMessage *unpacked;
	size_t skip = type == HF_WIRE_LOGIN ? 3 : 0, len;

	assert_true(size > 0);
	assert_int_equal(hf_wire_decode(ours, (size_t)size, UINT32_MAX, &frame, NULL), size);
	assert_int_equal(frame.type, type);
	len = protobuf_c_message_pack(message, theirs);
	assert_int_equal(frame.body.len, skip + len);
	assert_memory_equal(frame.body.data + skip, theirs, len);
	unpacked =
		protobuf_c_message_unpack(message->descriptor, NULL, len, frame.body.data + skip);
	assert_non_null(unpacked);
	protobuf_c_message_free_unpacked(unpacked, NULL);
	protobuf_c_message_free_unpacked(message, NULL);
	return frame.body;
}

static void expect_again(ssize_t first, ssize_t second)
{
	assert_int_equal(first, second);
	assert_memory_equal(ours, again, (size_t)first);
}

static struct hf_wire_session draw_session(uint32_t app)
{
	struct hf_wire_session session = {
		.app = app,
		.registration = draw_text(1, HF_REGISTRATION_MAX),
		.token = draw_text(0, HF_WIRE_TOKEN_MAX),
		.user_id = draw_text(0, HF_USER_ID_MAX),
		.tag_count = draw(4) == 0 ? draw(HF_WIRE_TAGS_MAX + 1) : 0,
	};

	for (size_t i = 0; i < session.tag_count; i++)
		session.tags[i] = draw_text(1, HF_WIRE_TAG_MAX);
	return session;
}

static Hf__Client__Session *session_to_pb(const struct hf_wire_session *session)
{
	Hf__Client__Session *pb = malloc(sizeof(*pb));

	assert_non_null(pb);
	hf__client__session__init(pb);
	pb->app = session->app;
	pb->registration = to_string(session->registration);
	pb->token = to_string(session->token);
	pb->user_id = to_string(session->user_id);
	pb->n_tags = session->tag_count;
	pb->tags = to_strings(session->tags, session->tag_count);
	return pb;
}

static void test_login(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_login login = {
			.version = HF_WIRE_VERSION,
			.device = draw_text(1, HF_DEVICE_MAX),
			.platform = draw_text(0, HF_WIRE_LABEL_MAX),
			.sdk_version = draw_text(0, HF_WIRE_LABEL_MAX),
			.network = (uint8_t)draw(4),
			.heartbeat_s = draw_u32(),
			.ticket = draw_text(0, HF_WIRE_TICKET_MAX),
			.session_count = 1 + draw(HF_WIRE_SESSIONS_MAX),
		};
		static struct hf_wire_login read;
		Hf__Client__Login *pb = malloc(sizeof(*pb));
		struct hf_bytes body;
		ssize_t size;

		assert_non_null(pb);
		hf__client__login__init(pb);
		pb->device = to_string(login.device);
		pb->platform = to_string(login.platform);
		pb->sdk_version = to_string(login.sdk_version);
		pb->network = (Hf__Client__Network)login.network;
		pb->heartbeat_s = login.heartbeat_s;
		pb->ticket = to_binary(login.ticket);
		pb->n_sessions = login.session_count;
		pb->sessions = calloc(login.session_count, sizeof(*pb->sessions));
		assert_non_null(pb->sessions);
		for (size_t s = 0; s < login.session_count; s++) {
			login.sessions[s] = draw_session((uint32_t)s * 1000 + 1 + draw(1000));
			pb->sessions[s] = session_to_pb(&login.sessions[s]);
		}
		size = hf_wire_encode_login(&login, ours, sizeof(ours));
		body = expect_same(&pb->base, HF_WIRE_LOGIN, size);
		assert_int_equal(hf_wire_decode_login(body, &read), 0);
		expect_again(size, hf_wire_encode_login(&read, again, sizeof(again)));
	}
}

static void test_attach(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_session session = draw_session(draw_u32() | 1), read;
		ssize_t size = hf_wire_encode_attach(&session, ours, HF_WIRE_CONTROL_MAX);
		struct hf_bytes body =
			expect_same(&session_to_pb(&session)->base, HF_WIRE_ATTACH, size);

		assert_int_equal(hf_wire_decode_attach(body, &read), 0);
		expect_again(size, hf_wire_encode_attach(&read, again, sizeof(again)));
	}
}

static struct hf_wire_attach_result draw_result(void)
{
	return (struct hf_wire_attach_result){ draw_u32() | 1, draw_u32(),
					       draw_text(0, HF_WIRE_REASON_MAX) };
}

static Hf__Client__AttachResult *result_to_pb(const struct hf_wire_attach_result *result)
{
	Hf__Client__AttachResult *pb = malloc(sizeof(*pb));

	assert_non_null(pb);
	hf__client__attach_result__init(pb);
	pb->app = result->app;
	pb->code = result->code;
	pb->reason = to_string(result->reason);
	return pb;
}

static void test_attach_ack(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_attach_result result = draw_result(), read;
		ssize_t size = hf_wire_encode_attach_ack(&result, ours, HF_WIRE_CONTROL_MAX);
		struct hf_bytes body =
			expect_same(&result_to_pb(&result)->base, HF_WIRE_ATTACH_ACK, size);

		assert_int_equal(hf_wire_decode_attach_ack(body, &read), 0);
		expect_again(size, hf_wire_encode_attach_ack(&read, again, sizeof(again)));
	}
}

static void test_login_ack(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_login_ack ack = {
			.server_time_ms = (uint64_t)draw_u32() << draw(32),
			.heartbeat_s = draw_u32(),
			.linger_s = draw_u32(),
			.ticket = draw_text(0, HF_WIRE_TICKET_MAX),
			.window = draw_u32(),
			.frame_max = draw_u32(),
			.resumed = draw(2),
			.node = draw_text(0, HF_NODE_ID_MAX),
			.result_count = draw(HF_WIRE_SESSIONS_MAX + 1),
		};
		struct hf_wire_login_ack read;
		Hf__Client__LoginAck *pb = malloc(sizeof(*pb));
		struct hf_bytes body;
		ssize_t size;

		assert_non_null(pb);
		hf__client__login_ack__init(pb);
		pb->server_time_ms = ack.server_time_ms;
		pb->heartbeat_s = ack.heartbeat_s;
		pb->linger_s = ack.linger_s;
		pb->ticket = to_binary(ack.ticket);
		pb->window = ack.window;
		pb->frame_max = ack.frame_max;
		pb->resumed = ack.resumed;
		pb->node = to_string(ack.node);
		pb->n_results = ack.result_count;
		pb->results = calloc(HF_WIRE_SESSIONS_MAX, sizeof(*pb->results));
		assert_non_null(pb->results);
		for (size_t r = 0; r < ack.result_count; r++) {
			ack.results[r] = draw_result();
			pb->results[r] = result_to_pb(&ack.results[r]);
		}
		size = hf_wire_encode_login_ack(&ack, ours, HF_WIRE_CONTROL_MAX);
		body = expect_same(&pb->base, HF_WIRE_LOGIN_ACK, size);
		assert_int_equal(hf_wire_decode_login_ack(body, &read), 0);
		expect_again(size, hf_wire_encode_login_ack(&read, again, sizeof(again)));
	}
}

static void test_detach(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_attach_result fields = draw_result();
		struct hf_wire_detach detach = { fields.app, fields.code, fields.reason }, read;
		unsigned type = draw(2) ? HF_WIRE_DETACH : HF_WIRE_DETACH_ACK;
		Hf__Client__Detach *pb = malloc(sizeof(*pb));
		ssize_t size = hf_wire_encode_detach(type, &detach, ours, HF_WIRE_CONTROL_MAX);
		struct hf_bytes body;

		assert_non_null(pb);
		hf__client__detach__init(pb);
		pb->app = detach.app;
		pb->code = detach.code;
		pb->reason = to_string(detach.reason);
		body = expect_same(&pb->base, type, size);
		assert_int_equal(hf_wire_decode_detach(body, &read), 0);
		expect_again(size, hf_wire_encode_detach(type, &read, again, sizeof(again)));
	}
}

static void test_upstream(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_upstream upstream = {
			.app = draw_u32() | 1,
			.sequence = draw_u32() | 1,
			.forward_type = draw_text(1, HF_WIRE_LABEL_MAX),
			.payload = draw_text(0, HF_WIRE_PAYLOAD_MAX),
		};
		struct hf_wire_upstream read;
		Hf__Client__Upstream *pb = malloc(sizeof(*pb));
		ssize_t size =
			hf_wire_encode_upstream(&upstream, ours,
						HF_WIRE_PAYLOAD_MAX + HF_WIRE_UPSTREAM_OVERHEAD);
		struct hf_bytes body;

		assert_non_null(pb);
		hf__client__upstream__init(pb);
		pb->app = upstream.app;
		pb->sequence = upstream.sequence;
		pb->forward_type = to_string(upstream.forward_type);
		pb->payload = to_binary(upstream.payload);
		body = expect_same(&pb->base, HF_WIRE_UPSTREAM, size);
		assert_int_equal(hf_wire_decode_upstream(body, &read), 0);
		expect_again(size, hf_wire_encode_upstream(&read, again, sizeof(again)));
	}
}

static void test_upstream_ack(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_upstream_ack ack = { draw_u32() | 1, draw_u32() | 1, draw_u32(),
						    draw_text(0, HF_WIRE_REASON_MAX) };
		struct hf_wire_upstream_ack read;
		Hf__Client__UpstreamAck *pb = malloc(sizeof(*pb));
		ssize_t size = hf_wire_encode_upstream_ack(&ack, ours, HF_WIRE_CONTROL_MAX);
		struct hf_bytes body;

		assert_non_null(pb);
		hf__client__upstream_ack__init(pb);
		pb->app = ack.app;
		pb->sequence = ack.sequence;
		pb->code = ack.code;
		pb->reason = to_string(ack.reason);
		body = expect_same(&pb->base, HF_WIRE_UPSTREAM_ACK, size);
		assert_int_equal(hf_wire_decode_upstream_ack(body, &read), 0);
		expect_again(size, hf_wire_encode_upstream_ack(&read, again, sizeof(again)));
	}
}

static void test_command(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_command command = {
			.kind = (uint8_t)(1 + draw(255)),
			.delay_ms = draw_u32(),
			.heartbeat_s = draw_u32(),
			.app = draw_u32(),
			.count = draw_u32(),
			.endpoint_count = draw(HF_WIRE_ENDPOINTS_MAX + 1),
		};
		struct hf_wire_command read;
		Hf__Client__Command *pb = malloc(sizeof(*pb));
		struct hf_bytes body;
		ssize_t size;

		assert_non_null(pb);
		for (size_t e = 0; e < command.endpoint_count; e++)
			command.endpoints[e] = draw_text(1, HF_WIRE_ENDPOINT_MAX);
		hf__client__command__init(pb);
		pb->kind = (Hf__Client__CommandKind)command.kind;
		pb->delay_ms = command.delay_ms;
		pb->heartbeat_s = command.heartbeat_s;
		pb->app = command.app;
		pb->count = command.count;
		pb->n_endpoints = command.endpoint_count;
		pb->endpoints = to_strings(command.endpoints, command.endpoint_count);
		size = hf_wire_encode_command(&command, ours, HF_WIRE_CONTROL_MAX);
		body = expect_same(&pb->base, HF_WIRE_COMMAND, size);
		assert_int_equal(hf_wire_decode_command(body, &read), 0);
		expect_again(size, hf_wire_encode_command(&read, again, sizeof(again)));
	}
}

static void test_bye(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hf_wire_bye bye = {
			.code = draw_u32() | 1,
			.reason = draw_text(0, HF_WIRE_REASON_MAX),
			.delay_ms = draw_u32(),
			.endpoint_count = draw(HF_WIRE_ENDPOINTS_MAX + 1),
		};
		struct hf_wire_bye read;
		Hf__Client__Bye *pb = malloc(sizeof(*pb));
		struct hf_bytes body;
		ssize_t size;

		assert_non_null(pb);
		for (size_t e = 0; e < bye.endpoint_count; e++)
			bye.endpoints[e] = draw_text(1, HF_WIRE_ENDPOINT_MAX);
		hf__client__bye__init(pb);
		pb->code = bye.code;
		pb->reason = to_string(bye.reason);
		pb->delay_ms = bye.delay_ms;
		pb->n_endpoints = bye.endpoint_count;
		pb->endpoints = to_strings(bye.endpoints, bye.endpoint_count);
		size = hf_wire_encode_bye(&bye, ours, HF_WIRE_CONTROL_MAX);
		body = expect_same(&pb->base, HF_WIRE_BYE, size);
		assert_int_equal(hf_wire_decode_bye(body, &read), 0);
		expect_again(size, hf_wire_encode_bye(&read, again, sizeof(again)));
	}
}

static int seed(void **state)
{
	random_state = 0x9e3779b97f4a7c15;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_login, seed),
		cmocka_unit_test_setup(test_login_ack, seed),
		cmocka_unit_test_setup(test_attach, seed),
		cmocka_unit_test_setup(test_attach_ack, seed),
		cmocka_unit_test_setup(test_detach, seed),
		cmocka_unit_test_setup(test_upstream, seed),
		cmocka_unit_test_setup(test_upstream_ack, seed),
		cmocka_unit_test_setup(test_command, seed),
		cmocka_unit_test_setup(test_bye, seed),
	};

	return cmocka_run_group_tests_name("our bytes are protobuf's bytes", tests, NULL, NULL);
}
