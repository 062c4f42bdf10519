#include "test_base.h"

#include <stdio.h>

#include "room.h"

/* Parse `text` after the one required key; 0 or what the parser and the check say. */
static int parse(const char *text, char error[HF_CONFIG_ERROR_SIZE])
{
	struct room_config config = { 0 };
	char whole[1024];
	int len = snprintf(whole, sizeof(whole), "keeper: {backend: \"dir:/tmp/x\"}\n%s", text);
	int err =
		hf_config_parse(room_options, "test", whole, (size_t)len, NULL, 0, &config, error);

	if (err == 0)
		err = room_config_check(&config, error);
	hf_config_deinit(room_options, &config);
	return err;
}

static void test_the_defaults_are_valid(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE] = "";

	if (parse("", error) < 0)
		fail_msg("%s", error);
}

static void test_what_the_table_can_not_say_is_checked(void **state)
{
	static const char *const bad[][2] = {
		{ "keepalive: {wifi: {initial: 10s, min: 20s}}\n", "keepalive.wifi" },
		{ "keepalive: {cellular: {initial: 600s}}\n", "keepalive.cellular" },
		{ "linger: {time: 999ms}\n", "linger.time" },
		{ "limits: {per_ip_exempt: [\"10.0.0.0/40\"]}\n", "per_ip_exempt" },
		{ "listeners: [{bind: \"127.0.0.1:0\", tls: {certificate: x}}]\n",
		  "listeners[0].tls" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		char error[HF_CONFIG_ERROR_SIZE] = "";

		assert_int_not_equal(parse(bad[i][0], error), 0);
		assert_non_null(strstr(error, bad[i][1]));
	}
}

/* Is the last part of an option's name in `text`, as a key? */
static bool mentions(const char *text, const char *name)
{
	const char *dot = strrchr(name, '.');
	char key[64];

	snprintf(key, sizeof(key), "%s:", dot == NULL ? name : dot + 1);
	return strstr(text, key) != NULL;
}

static void test_the_sample_is_valid_and_mentions_every_option(void **state)
{
	struct room_config config = { 0 };
	char error[HF_CONFIG_ERROR_SIZE] = "", text[16384];
	FILE *file = fopen(SAMPLE, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	if (hf_config_parse(room_options, SAMPLE, text, len, NULL, 0, &config, error) < 0 ||
	    room_config_check(&config, error) < 0)
		fail_msg("%s", error);
	hf_config_deinit(room_options, &config);
	for (const struct hf_option *option = room_options; option->name != NULL; option++) {
		if (!mentions(text, option->name))
			fail_msg("%s does not mention %s", SAMPLE, option->name);
		for (const struct hf_option *item = option->items;
		     item != NULL && item->name != NULL; item++) {
			if (!mentions(text, item->name))
				fail_msg("%s does not mention %s", SAMPLE, item->name);
		}
	}
}

/* Without a network named, what a client may wish is bounded as on a cellular one. */
static void test_heartbeats_are_agreed_within_bounds(void **state)
{
	struct room_config config = {
		.keepalive = { .cellular = { 270000, 60000, 570000 },
			       .wifi = { 300000, 60000, 900000 } },
	};
	struct room room = { .config = &config };

	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_UNKNOWN, 0), 270);
	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_CELLULAR, 5), 60);
	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_CELLULAR, 100000), 570);
	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_WIFI, 0), 300);
	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_ETHERNET, 800), 800);
	assert_int_equal(heartbeat_agree(&room, HF_NETWORK_WIFI, UINT32_MAX), 900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_defaults_are_valid),
		cmocka_unit_test(test_what_the_table_can_not_say_is_checked),
		cmocka_unit_test(test_the_sample_is_valid_and_mentions_every_option),
		cmocka_unit_test(test_heartbeats_are_agreed_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
