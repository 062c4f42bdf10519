/* tests/unit/test_wire_examples.c - replays the worked examples of proto/README.md byte for byte:
 * what the table below says of a block must be what its bytes decode to, and encoding it must give
 * those bytes. A block without a row, and a row without a block, fail. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_wire.h"

#define TEXT(s)                                     \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static const struct hf_wire_login login = {
	.version = 1,
	.device = TEXT("phone-7"),
	.platform = TEXT("linux"),
	.sdk_version = TEXT("c/0.1.0"),
	.network = HF_NETWORK_WIFI,
	.heartbeat_s = 270,
	.session_count = 1,
	.sessions = { { .app = 7,
			.registration = TEXT("ana-phone"),
			.token = TEXT("e30.e30.c2ln"),
			.user_id = TEXT("ana"),
			.tag_count = 2,
			.tags = { TEXT("vip"), TEXT("beijing") } } },
};
static const struct hf_wire_login_ack login_ack = {
	.server_time_ms = 1767225600000,
	.heartbeat_s = 270,
	.linger_s = 30,
	.ticket = TEXT("\1\2\3\4\5\6\7\10"),
	.window = 64,
	.frame_max = 65536,
	.node = TEXT("room-1"),
	.result_count = 2,
	.results = { { .app = 7 }, { .app = 8, .code = 4300, .reason = TEXT("exp") } },
};
static const struct hf_wire_login login_with_ticket = {
	.version = 1,
	.device = TEXT("phone-7"),
	.ticket = TEXT("\1\2\3\4\5\6\7\10"),
	.session_count = 1,
	.sessions = { { .app = 7, .registration = TEXT("r1"), .token = TEXT("eyJ.e30.c2lnXz") } },
};
static const struct hf_wire_login_ack login_ack_resumed = {
	.heartbeat_s = 270,
	.linger_s = 30,
	.ticket = TEXT("\21\22\23\24\25\26\27\30"),
	.window = 32,
	.resumed = true,
	.node = TEXT("r1"),
	.result_count = 1,
	.results = { { .app = 7 } },
};
static const struct hf_wire_session attach = {
	.app = 9,
	.registration = TEXT("r1"),
	.token = TEXT("t"),
};
static const struct hf_wire_attach_result attach_ack = { .app = 9 };
static const struct hf_wire_detach detach = { .app = 9 };
static const struct hf_wire_detach detach_ack = {
	.app = 9,
	.code = HF_CLOSE_KICKED,
	.reason = TEXT("kicked by operator"),
};
static const struct hf_wire_push push = {
	.message_id = 0x0102030405060708,
	.app = 300,
	.kind = HF_WIRE_PAYLOAD_JSON,
	.qos = 1,
	.payload = TEXT("{\"order\":17}"),
};
static const uint64_t ack[] = { 0x0102030405060708, 0x0102030405060709 };
static const struct hf_wire_upstream upstream = {
	.app = 7,
	.sequence = 1,
	.forward_type = TEXT("chat"),
	.payload = TEXT("hi"),
};
static const struct hf_wire_upstream_ack upstream_ack = {
	.app = 7,
	.sequence = 1,
	.code = HF_CLOSE_OVERLOADED,
	.reason = TEXT("queue full"),
};
static const uint32_t no_interval = 0, interval = 300;
static const struct hf_wire_command command_move = {
	.kind = HF_WIRE_COMMAND_MOVE,
	.delay_ms = 5000,
	.endpoint_count = 2,
	.endpoints = { TEXT("192.0.2.1:7100"), TEXT("[2001:db8::7]:7100") },
};
static const struct hf_wire_command command_messages_lost = {
	.kind = HF_WIRE_COMMAND_MESSAGES_LOST,
	.app = 7,
	.count = 12,
};
static const struct hf_wire_bye bye = {
	.code = HF_CLOSE_OVERLOADED,
	.reason = TEXT("room is full"),
	.delay_ms = 3000,
	.endpoint_count = 1,
	.endpoints = { TEXT("192.0.2.2:7100") },
};

static const struct example {
	const char *name;
	unsigned type;
	const void *value;
} examples[] = {
	{ "login", HF_WIRE_LOGIN, &login },
	{ "login_ack", HF_WIRE_LOGIN_ACK, &login_ack },
	{ "login_with_ticket", HF_WIRE_LOGIN, &login_with_ticket },
	{ "login_ack_resumed", HF_WIRE_LOGIN_ACK, &login_ack_resumed },
	{ "attach", HF_WIRE_ATTACH, &attach },
	{ "attach_ack", HF_WIRE_ATTACH_ACK, &attach_ack },
	{ "detach", HF_WIRE_DETACH, &detach },
	{ "detach_ack", HF_WIRE_DETACH_ACK, &detach_ack },
	{ "push", HF_WIRE_PUSH, &push },
	{ "ack", HF_WIRE_ACK, &ack },
	{ "upstream", HF_WIRE_UPSTREAM, &upstream },
	{ "upstream_ack", HF_WIRE_UPSTREAM_ACK, &upstream_ack },
	{ "ping", HF_WIRE_PING, &no_interval },
	{ "ping_proposal", HF_WIRE_PING, &interval },
	{ "pong", HF_WIRE_PONG, NULL },
	{ "command_move", HF_WIRE_COMMAND, &command_move },
	{ "command_messages_lost", HF_WIRE_COMMAND, &command_messages_lost },
	{ "bye", HF_WIRE_BYE, &bye },
};

/* Encodes `value` into `out`. */
static ssize_t encode(unsigned type, const void *value, uint8_t *out, size_t size)
{
	switch (type) {
	case HF_WIRE_LOGIN:
		return hf_wire_encode_login(value, out, size);
	case HF_WIRE_LOGIN_ACK:
		return hf_wire_encode_login_ack(value, out, size);
	case HF_WIRE_ATTACH:
		return hf_wire_encode_attach(value, out, size);
	case HF_WIRE_ATTACH_ACK:
		return hf_wire_encode_attach_ack(value, out, size);
	case HF_WIRE_DETACH:
	case HF_WIRE_DETACH_ACK:
		return hf_wire_encode_detach(type, value, out, size);
	case HF_WIRE_PUSH:
		return hf_wire_encode_push(value, out, size);
	case HF_WIRE_ACK:
		return hf_wire_encode_ack(value, HF_ARRAY_LEN(ack), out, size);
	case HF_WIRE_UPSTREAM:
		return hf_wire_encode_upstream(value, out, size);
	case HF_WIRE_UPSTREAM_ACK:
		return hf_wire_encode_upstream_ack(value, out, size);
	case HF_WIRE_PING:
		return hf_wire_encode_ping(*(const uint32_t *)value, out, size);
	case HF_WIRE_COMMAND:
		return hf_wire_encode_command(value, out, size);
	case HF_WIRE_BYE:
		return hf_wire_encode_bye(value, out, size);
	default:
		memcpy(out, hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
		return sizeof(hf_wire_pong_frame);
	}
}

/* Decodes the body of `frame` and encodes what it read into `out`. As the encoders are compared
 * with the README too, equal bytes mean equal fields. */
static ssize_t decode_and_encode(const struct hf_wire_frame *frame, uint8_t *out, size_t size)
{
	static union {
		struct hf_wire_login login;
		struct hf_wire_login_ack login_ack;
		struct hf_wire_session session;
		struct hf_wire_attach_result result;
		struct hf_wire_detach detach;
		struct hf_wire_push push;
		uint64_t ids[HF_WIRE_ACK_IDS_MAX];
		struct hf_wire_upstream upstream;
		struct hf_wire_upstream_ack upstream_ack;
		uint32_t interval;
		struct hf_wire_command command;
		struct hf_wire_bye bye;
	} read;
	size_t count = 0;
	int err = 0;

	switch (frame->type) {
	case HF_WIRE_LOGIN:
		err = hf_wire_decode_login(frame->body, &read.login);
		break;
	case HF_WIRE_LOGIN_ACK:
		err = hf_wire_decode_login_ack(frame->body, &read.login_ack);
		break;
	case HF_WIRE_ATTACH:
		err = hf_wire_decode_attach(frame->body, &read.session);
		break;
	case HF_WIRE_ATTACH_ACK:
		err = hf_wire_decode_attach_ack(frame->body, &read.result);
		break;
	case HF_WIRE_DETACH:
	case HF_WIRE_DETACH_ACK:
		err = hf_wire_decode_detach(frame->body, &read.detach);
		break;
	case HF_WIRE_PUSH:
		err = hf_wire_decode_push(frame->body, &read.push);
		break;
	case HF_WIRE_ACK:
		err = hf_wire_decode_ack(frame->body, read.ids, &count);
		assert_int_equal(count, HF_ARRAY_LEN(ack));
		break;
	case HF_WIRE_UPSTREAM:
		err = hf_wire_decode_upstream(frame->body, &read.upstream);
		break;
	case HF_WIRE_UPSTREAM_ACK:
		err = hf_wire_decode_upstream_ack(frame->body, &read.upstream_ack);
		break;
	case HF_WIRE_PING:
		err = hf_wire_decode_ping(frame->body, &read.interval);
		break;
	case HF_WIRE_COMMAND:
		err = hf_wire_decode_command(frame->body, &read.command);
		break;
	case HF_WIRE_BYE:
		err = hf_wire_decode_bye(frame->body, &read.bye);
		break;
	}
	assert_int_equal(err, 0);
	return encode(frame->type, &read, out, size);
}

static void replay(const struct example *example, const uint8_t *bytes, size_t len)
{
	uint8_t out[1024];
	struct hf_wire_frame frame;
	ssize_t n = encode(example->type, example->value, out, sizeof(out));

	if (n != (ssize_t)len || memcmp(out, bytes, len) != 0)
		fail_msg("%s: the README's bytes are not the encoder's", example->name);
	assert_int_equal(hf_wire_decode(bytes, len, UINT32_MAX, &frame, NULL), (ssize_t)len);
	assert_int_equal(frame.type, example->type);
	assert_int_equal(decode_and_encode(&frame, out, sizeof(out)), (ssize_t)len);
	assert_memory_equal(out, bytes, len);
}

/* Adds the hex bytes of `line`, up to its comment. */
static void add_hex(const char *line, uint8_t *bytes, size_t size, size_t *len)
{
	while (*line != '\0' && *line != '#' && *line != '\n') {
		char *end;

		if (isspace((unsigned char)*line)) {
			line++;
			continue;
		}
		assert_true(*len < size);
		bytes[(*len)++] = (uint8_t)strtoul(line, &end, 16);
		assert_int_equal(end - line, 2);
		line = end;
	}
}

static const struct example *find_example(const char *name)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(examples); i++) {
		if (strcmp(examples[i].name, name) == 0)
			return &examples[i];
	}
	fail_msg("the README has an example %s that this test does not know", name);
	return NULL;
}

static void test_the_examples_of_the_readme_are_what_the_code_does(void **state)
{
	FILE *file = fopen(PROTO_README, "r");
	const struct example *example = NULL;
	bool seen[HF_ARRAY_LEN(examples)] = { false };
	uint8_t bytes[1024];
	size_t len = 0;
	char line[1024], name[64];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "```wire %63[a-z_]", name) == 1) {
			example = find_example(name);
			assert_false(seen[example - examples]);
			seen[example - examples] = true;
			len = 0;
		} else if (example != NULL && strncmp(line, "```", 3) == 0) {
			replay(example, bytes, len);
			example = NULL;
		} else if (example != NULL) {
			add_hex(line, bytes, sizeof(bytes), &len);
		}
	}
	fclose(file);
	assert_null(example);
	for (size_t i = 0; i < HF_ARRAY_LEN(examples); i++) {
		if (!seen[i])
			fail_msg("the README has no example %s", examples[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_examples_of_the_readme_are_what_the_code_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
