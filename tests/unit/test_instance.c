/* hf_instance: what a process says of itself survives the trip, and nothing malformed is believed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_instance.h"

#define EXAMPLE                                                                               \
	"{\"id\":\"room-1\",\"number\":17,\"state\":\"serving\",\"rpc\":\"127.0.0.1:40001\"," \
	"\"admin\":\"127.0.0.1:40002\",\"weight\":100,\"load\":0,\"zone\":\"default\","       \
	"\"since_ms\":1769860798412,\"incarnation\":\"0123456789ABC\","                       \
	"\"endpoints\":[{\"address\":\"127.0.0.1:7001\",\"transport\":\"tcp\"}]}"

static int decode(const char *text, struct hf_instance *ret)
{
	size_t len = strlen(text);
	char *exact = malloc(len > 0 ? len : 1);
	int err;

	assert_non_null(exact);
	memcpy(exact, text, len);
	err = hf_instance_decode(exact, len, ret);
	free(exact);
	return err;
}

/* EXAMPLE with its `from` made `to`. */
static int decode_with(const char *from, const char *to)
{
	struct hf_instance instance;
	const char *at = strstr(EXAMPLE, from);
	char text[2048];

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - EXAMPLE), EXAMPLE, to,
		 at + strlen(from));
	return decode(text, &instance);
}

static void test_the_documented_example_decodes(void **state)
{
	struct hf_instance instance;

	assert_int_equal(decode(EXAMPLE, &instance), 0);
	assert_string_equal(instance.id, "room-1");
	assert_int_equal(instance.number, 17);
	assert_int_equal(instance.state, HF_INSTANCE_SERVING);
	assert_string_equal(instance.rpc, "127.0.0.1:40001");
	assert_string_equal(instance.admin, "127.0.0.1:40002");
	assert_string_equal(instance.zone, "default");
	assert_int_equal(instance.weight, 100);
	assert_int_equal(instance.load, 0);
	assert_int_equal(instance.since_ms, 1769860798412);
	assert_int_equal(instance.endpoint_count, 1);
	assert_string_equal(instance.endpoints[0].address, "127.0.0.1:7001");
	assert_string_equal(instance.endpoints[0].transport, "tcp");
}

static void test_every_field_survives_the_trip(void **state)
{
	struct hf_instance in = {
		.id = "center-bj1-03",
		.number = 1023,
		.incarnation = 0x123456789abcdef0,
		.state = HF_INSTANCE_DRAINING,
		.rpc = "unix:/run/holdfast/center.sock",
		.admin = "[::1]:9464",
		.zone = "bj1",
		.weight = 0,
		.load = 3000000,
		.since_ms = 1769860798412,
		.endpoint_count = HF_INSTANCE_ENDPOINTS_MAX,
	};
	struct hf_instance out;
	char *text;

	for (size_t i = 0; i < in.endpoint_count; i++) {
		snprintf(in.endpoints[i].address, sizeof(in.endpoints[i].address), "10.0.0.1:%zu",
			 i + 1);
		snprintf(in.endpoints[i].transport, sizeof(in.endpoints[i].transport), "%s",
			 i % 2 ? "tls" : "tcp");
	}
	text = hf_instance_encode(&in);
	assert_non_null(text);
	assert_int_equal(decode(text, &out), 0);
	free(text);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void test_unknown_keys_of_a_newer_version_are_skipped(void **state)
{
	assert_int_equal(decode_with("\"number\":17", "\"number\":17,\"new\":{\"a\":[1]}"), 0);
	assert_int_equal(decode_with(",\"endpoints\":[{\"address\":\"127.0.0.1:7001\","
				     "\"transport\":\"tcp\"}]",
				     ""),
			 0);
}

static void test_what_is_malformed_is_refused(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
		{ "\"id\":\"room-1\",", "" },
		{ "\"room-1\"", "\"\"" },
		{ "\"room-1\"", "7" },
		{ "\"room-1\"", "\"a b\"" },
		{ "\"room-1\"", "\"a\\u0000b\"" },
		{ "\"room-1\"",
		  "\"0123456789012345678901234567890123456789012345678901234567890123\"" },
		{ "17", "1024" },
		{ "17", "-1" },
		{ "17", "1.5" },
		{ "17", "\"17\"" },
		{ "\"serving\"", "\"gone\"" },
		{ "\"serving\"", "1" },
		{ "100", "10001" },
		{ "\"load\":0", "\"load\":-1" },
		{ "\"load\":0", "\"load\":99999999999999999999" },
		{ "\"0123456789ABC\"", "\"0123456789AB\"" },
		{ "\"0123456789ABC\"", "\"0123456789ABU\"" },
		{ "\"number\":17", "\"number\":17,\"number\":18" },
		{ "[{", "{\"a\":{" },
		{ "\"tcp\"", "\"tcptcptcp\"" },
		{ "\"transport\":\"tcp\"", "\"transport\":null" },
		{ "{\"address\":\"127.0.0.1:7001\",\"transport\":\"tcp\"}", "7" },
	};
	struct hf_instance instance;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		assert_int_equal(decode_with(cases[i].from, cases[i].to), -EINVAL);
	assert_int_equal(decode("", &instance), -EINVAL);
	assert_int_equal(decode("null", &instance), -EINVAL);
	assert_int_equal(decode("[]", &instance), -EINVAL);
	assert_int_equal(decode("{}", &instance), -EINVAL);
	assert_int_equal(decode(EXAMPLE "x", &instance), -EINVAL);
}

static void test_more_endpoints_than_fit_are_refused(void **state)
{
	char list[4096] = "\"endpoints\":[";

	for (unsigned i = 0; i <= HF_INSTANCE_ENDPOINTS_MAX; i++)
		strcat(list, "{\"address\":\"a:1\",\"transport\":\"tcp\"},");
	assert_int_equal(decode_with("\"endpoints\":[", list), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_documented_example_decodes),
		cmocka_unit_test(test_every_field_survives_the_trip),
		cmocka_unit_test(test_unknown_keys_of_a_newer_version_are_skipped),
		cmocka_unit_test(test_what_is_malformed_is_refused),
		cmocka_unit_test(test_more_endpoints_than_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
