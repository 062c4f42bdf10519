/* tests/unit/test_config.c - documents into structs: what is accepted, what is refused, and with
 * which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_config.h"

struct listener {
	char *bind;
	uint64_t backlog;
	bool tls;
	char *key;
};

struct sample {
	char *name;
	bool fast;
	uint64_t count, wait_ms, frame_max;
	int level;
	char *bind, *backup, *secret;
	struct hf_strings hosts;
	struct hf_list listeners;
};

#define AT(member)          offsetof(struct sample, member)
#define LISTENER_AT(member) offsetof(struct listener, member)

static const char *const levels[] = { "low", "high", NULL };

static const struct hf_option listener_options[] = {
	{ "bind", HF_OPT_ADDRESS, LISTENER_AT(bind), NULL, 0, 0, "where" },
	{ "backlog", HF_OPT_UINT, LISTENER_AT(backlog), "128", 1, 1000, "waiting" },
	{ "tls.on", HF_OPT_BOOL, LISTENER_AT(tls), "false", 0, 0, "encrypted" },
	{ "tls.key", HF_OPT_SECRET, LISTENER_AT(key), "", 0, 4096, "private key" },
	{ 0 },
};

static const struct hf_option options[] = {
	{ "node.name", HF_OPT_STRING, AT(name), "anon", 1, 8, "name" },
	{ "fast", HF_OPT_BOOL, AT(fast), "false", 0, 0, "speed", .reloadable = true },
	{ "limits.count", HF_OPT_UINT, AT(count), "10", 1, 100, "how many" },
	{ "limits.frame_max", HF_OPT_SIZE, AT(frame_max), "64KiB", 64, 16 << 20, "largest" },
	{ "wait", HF_OPT_MSEC, AT(wait_ms), "30s", 1000, 600000, "how long" },
	{ "log.level", HF_OPT_ENUM, AT(level), "low", 0, 0, "how much", .choices = levels },
	{ "bind", HF_OPT_ADDRESS, AT(bind), "127.0.0.1:0", 0, 0, "where" },
	{ "backup", HF_OPT_ADDRESS, AT(backup), "", 0, 0, "where else" },
	{ "token", HF_OPT_SECRET, AT(secret), "", 0, 32, "secret" },
	{ "hosts", HF_OPT_STRINGS, AT(hosts), "a, b", 0, 3, "hosts" },
	{ "listeners", HF_OPT_LIST, AT(listeners), "", 0, 2, "listeners", .items = listener_options,
	  .item_size = sizeof(struct listener) },
	{ 0 },
};

static const struct hf_option required_options[] = {
	{ "keeper.backend", HF_OPT_STRING, AT(name), NULL, 5, 512, "backend" },
	{ 0 },
};

static int parse_with(const char *text, const struct hf_config_override *overrides, size_t count,
		      struct sample *ret, char error[HF_CONFIG_ERROR_SIZE])
{
	*ret = (struct sample){ 0 };
	return hf_config_parse(options, "t.yaml", text, strlen(text), overrides, count, ret, error);
}

static void good(const char *text, struct sample *ret)
{
	char error[HF_CONFIG_ERROR_SIZE];

	if (parse_with(text, NULL, 0, ret, error) != 0)
		fail_msg("%s", error);
}

static void bad(const char *text, const char *expected)
{
	static const struct sample empty;
	char error[HF_CONFIG_ERROR_SIZE];
	struct sample sample;

	assert_int_equal(parse_with(text, NULL, 0, &sample, error), -EINVAL);
	assert_string_equal(error, expected);
	assert_memory_equal(&sample, &empty, sizeof(sample)); /* nothing is left behind */
}

static void set_good(const char *name, const char *value, struct sample *ret)
{
	struct hf_config_override override = { name, value };
	char error[HF_CONFIG_ERROR_SIZE];

	if (parse_with("node: {name: file}\n", &override, 1, ret, error) != 0)
		fail_msg("%s", error);
}

static void set_bad(const char *name, const char *value, const char *expected)
{
	struct hf_config_override override = { name, value };
	char error[HF_CONFIG_ERROR_SIZE];
	struct sample sample;

	assert_int_equal(parse_with("", &override, 1, &sample, error), -EINVAL);
	assert_string_equal(error, expected);
}

static void done(struct sample *sample)
{
	hf_config_deinit(options, sample);
}

static void test_an_empty_document_gives_the_defaults(void **state)
{
	static const char *const documents[] = { "", "# nothing\n", "---\n", "{}" };
	struct sample s;

	for (size_t i = 0; i < HF_ARRAY_LEN(documents); i++) {
		good(documents[i], &s);
		assert_string_equal(s.name, "anon");
		assert_false(s.fast);
		assert_int_equal(s.count, 10);
		assert_int_equal(s.frame_max, 65536);
		assert_int_equal(s.wait_ms, 30000);
		assert_int_equal(s.level, 0);
		assert_string_equal(s.bind, "127.0.0.1:0");
		assert_string_equal(s.backup, "");
		assert_string_equal(s.secret, "");
		assert_int_equal(s.hosts.count, 2);
		assert_string_equal(s.hosts.values[1], "b");
		assert_int_equal(s.listeners.count, 0);
		done(&s);
	}
}

static void test_every_type_is_read(void **state)
{
	struct sample s;

	good("node: {name: 'n 1'}\nfast: true\nlimits:\n  count: 99\n  frame_max: 1MiB\n"
	     "wait: 5m\nlog: {level: high}\nbind: \"[::1]:443\"\nbackup: unix:/run/x\n"
	     "token: s3cret\nhosts: [x, \"y z\"]\n"
	     "listeners:\n  - bind: h:1\n    tls: {on: true, key: k}\n  - {bind: h:2, backlog: "
	     "7}\n",
	     &s);
	assert_string_equal(s.name, "n 1");
	assert_true(s.fast);
	assert_int_equal(s.count, 99);
	assert_int_equal(s.frame_max, 1 << 20);
	assert_int_equal(s.wait_ms, 300000);
	assert_int_equal(s.level, 1);
	assert_string_equal(s.bind, "[::1]:443");
	assert_string_equal(s.backup, "unix:/run/x");
	assert_string_equal(s.secret, "s3cret");
	assert_int_equal(s.hosts.count, 2);
	assert_string_equal(s.hosts.values[1], "y z");
	assert_int_equal(s.listeners.count, 2);
	const struct listener *listeners = s.listeners.items;
	assert_true(listeners[0].tls);
	assert_string_equal(listeners[0].key, "k");
	assert_int_equal(listeners[0].backlog, 128); /* defaults hold for each entry */
	assert_int_equal(listeners[1].backlog, 7);
	assert_false(listeners[1].tls);
	done(&s);
}

static void test_json_is_read_too(void **state)
{
	struct sample s;

	good("{\"fast\":true,\"limits\":{\"count\":3},\"listeners\":[{\"bind\":\"h:1\"}]}", &s);
	assert_true(s.fast);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.listeners.count, 1);
	done(&s);
}

static void test_a_section_with_nothing_in_it_is_fine(void **state)
{
	struct sample s;

	good("limits:\n  # count: 3\nlog:\n", &s);
	assert_int_equal(s.count, 10);
	done(&s);
}

static void test_values_out_of_range_name_the_range_in_their_unit(void **state)
{
	bad("limits:\n  frame_max: 2GiB\n",
	    "t.yaml:2: limits.frame_max: 2GiB is out of range: 64B to 16MiB");
	bad("limits: {frame_max: 63}",
	    "t.yaml:1: limits.frame_max: 63 is out of range: 64B to 16MiB");
	bad("limits: {count: 0}", "t.yaml:1: limits.count: 0 is out of range: 1 to 100");
	bad("limits: {count: 99999999999999999999}",
	    "t.yaml:1: limits.count: 99999999999999999999 is out of range: 1 to 100");
	bad("wait: 500ms", "t.yaml:1: wait: 500ms is out of range: 1s to 10m");
	bad("\n\nnode:\n  name: 123456789",
	    "t.yaml:4: node.name: is 9 bytes long, allowed are 1 to 8 bytes");
	bad("hosts: [a, b, c, d]", "t.yaml:1: hosts: has 4 entries, allowed are 0 to 3 entries");
}

static void test_the_bounds_themselves_are_in_range(void **state)
{
	struct sample s;

	good("limits: {count: 1, frame_max: 16MiB}\nwait: 10m\nnode: {name: '12345678'}", &s);
	done(&s);
	good("limits: {count: 100, frame_max: 64}\nwait: 1s\nnode: {name: x}", &s);
	done(&s);
}

static void test_wrong_types_are_refused(void **state)
{
	bad("fast: yes", "t.yaml:1: fast: yes is neither true nor false");
	bad("limits: {count: -1}", "t.yaml:1: limits.count: -1 is not a whole number");
	bad("limits: {count: [1]}", "t.yaml:1: limits.count: is not a single value");
	bad("wait: 30", "t.yaml:1: wait: 30 is not a duration such as 500ms, 30s, 5m, 2h or 7d");
	bad("log: {level: loud}", "t.yaml:1: log.level: loud is none of low, high");
	bad("hosts: a", "t.yaml:1: hosts: is not a list");
	bad("hosts: [[a]]", "t.yaml:1: hosts: entry 1 is not a text");
	bad("listeners: [x]", "t.yaml:1: listeners: entry 1 is not a section of keys");
	bad("fast:", "t.yaml:1: fast: has no value (leave the key out for the default)");
	bad("[a]", "t.yaml: is not a list of \"key: value\"");
	bad("limits: 5", "t.yaml:1: limits: is a section: its keys stand below it, as in "
			 "limits.count");
}

static void test_addresses_are_checked(void **state)
{
	static const char *const wrong[] = { "host",       ":80",      "h:",     "h:65536",
					     "h:x",        "::1:80",   "[::1]",  "[]:1",
					     "[zz::1]:80", "unix:rel", "unix:/", "a b:1" };
	struct sample s;

	for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
		char text[64], error[HF_CONFIG_ERROR_SIZE];

		snprintf(text, sizeof(text), "bind: \"%s\"", wrong[i]);
		assert_int_equal(parse_with(text, NULL, 0, &s, error), -EINVAL);
		assert_non_null(strstr(error, "is not an address"));
	}
	good("bind: \"[::]:443\"\nbackup: \"\"", &s);
	done(&s);
}

static void test_unknown_keys_are_refused_with_a_guess(void **state)
{
	bad("fats: true", "t.yaml:1: fats: unknown key, did you mean fast?");
	bad("limits:\n  count: 3\n  fram_max: 1MiB",
	    "t.yaml:3: limits.fram_max: unknown key, did you mean limits.frame_max?");
	bad("zebra: 1", "t.yaml:1: zebra: unknown key");
	bad("limits.count: 3", "t.yaml:1: limits.count: unknown key: a dot is written as nesting");
	bad("listeners: [{bind: h:1, bakclog: 3}]",
	    "t.yaml:1: listeners[0].bakclog: unknown key, did you mean backlog?");
}

static void test_required_keys_are_asked_for(void **state)
{
	struct sample s = { 0 };
	char error[HF_CONFIG_ERROR_SIZE];

	assert_int_equal(hf_config_parse(required_options, "t.yaml", "", 0, NULL, 0, &s, error),
			 -EINVAL);
	assert_string_equal(error, "t.yaml: keeper.backend: is required");
	bad("listeners:\n  - {backlog: 3}\n", "t.yaml:2: listeners[0].bind: is required");
}

static void test_a_key_twice_is_an_error(void **state)
{
	bad("fast: true\nfast: false\n", "t.yaml:2: fast: is given twice, first in line 1");
	bad("limits:\n  count: 1\nwait: 3s\nlimits:\n  count: 2\n",
	    "t.yaml:4: limits: is given twice, first in line 1");
}

static void test_what_makes_yaml_dangerous_is_refused(void **state)
{
	bad("node: &a {name: x}", "t.yaml:1: anchors and tags are not supported");
	bad("fast: *a", "t.yaml:1: aliases are not supported");
	bad("fast: !!bool true", "t.yaml:1: anchors and tags are not supported");
	bad("fast: true\n---\nfast: true\n", "t.yaml:2: a second document starts here");
	bad("hosts: [[[[[[[[[[]]]]]]]]]]", "t.yaml:1: nested more than 8 deep");
	bad("? [a]\n: 1", "t.yaml:1: a key must be a plain word");
	bad("node: {name: \"a\\0b\"}", "t.yaml:1: a value holds a NUL byte");
}

static void test_broken_yaml_names_the_line(void **state)
{
	struct sample s;
	char error[HF_CONFIG_ERROR_SIZE];

	assert_int_equal(parse_with("fast: true\nlimits: {count: 1\n", NULL, 0, &s, error),
			 -EINVAL);
	assert_memory_equal(error, "t.yaml:", 7);
	assert_non_null(strstr(error, "not YAML: "));
}

static void test_documents_are_bounded(void **state)
{
	size_t size = (1u << 20) + 2;
	char *text = malloc(size), error[HF_CONFIG_ERROR_SIZE];
	struct sample s = { 0 };

	assert_non_null(text);
	memset(text, '#', size);
	assert_int_equal(hf_config_parse(options, "t", text, size, NULL, 0, &s, error), -EINVAL);
	assert_non_null(strstr(error, "larger than 1048576 bytes"));

	/* half a million one-byte values would be 50 MiB of tree */
	text[0] = '[';
	for (size_t i = 1; i < (1u << 20); i++)
		text[i] = i % 2 != 0 ? '1' : ',';
	assert_int_equal(hf_config_parse(options, "t", text, 1u << 20, NULL, 0, &s, error),
			 -EINVAL);
	assert_non_null(strstr(error, "the document is too large"));
	free(text);
}

static void test_overrides_win_over_the_file(void **state)
{
	struct sample s;

	set_good("node.name", "set", &s);
	assert_string_equal(s.name, "set");
	done(&s);
	set_good("hosts", "x,y , z", &s);
	assert_int_equal(s.hosts.count, 3);
	assert_string_equal(s.hosts.values[1], "y");
	assert_string_equal(s.hosts.values[2], "z");
	done(&s);
	set_good("hosts", "", &s);
	assert_int_equal(s.hosts.count, 0);
	done(&s);
	set_good("listeners", "[{bind: \"h:9\"}]", &s);
	assert_int_equal(s.listeners.count, 1);
	done(&s);

	set_bad("nope", "1", "--set: nope: unknown key");
	set_bad("limits.count", "0", "--set: limits.count: 0 is out of range: 1 to 100");
	set_bad("wiat", "3s", "--set: wiat: unknown key, did you mean wait?");
}

static void test_the_last_override_wins(void **state)
{
	static const struct hf_config_override both[] = { { "wait", "2s" }, { "wait", "3s" } };
	char error[HF_CONFIG_ERROR_SIZE];
	struct sample s;

	assert_int_equal(parse_with("", both, 2, &s, error), 0);
	assert_int_equal(s.wait_ms, 3000);
	done(&s);
}

static void test_a_secret_can_come_from_the_environment(void **state)
{
	struct sample s;

	assert_int_equal(setenv("HF_TEST_SECRET", "from-env", 1), 0);
	unsetenv("HF_TEST_NOTHING");
	good("token: ${HF_TEST_SECRET}", &s);
	assert_string_equal(s.secret, "from-env");
	done(&s);
	good("token: ${", &s); /* not of that form: itself */
	assert_string_equal(s.secret, "${");
	done(&s);
	good("node: {name: '${X}'}", &s); /* other types are left alone */
	assert_string_equal(s.name, "${X}");
	done(&s);
	bad("token: ${HF_TEST_NOTHING}",
	    "t.yaml:1: token: environment variable HF_TEST_NOTHING is not set");
}

static void with_file(const char *content, size_t len, char path[32])
{
	int fd;

	strcpy(path, "/tmp/hf-config-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, len), len);
	close(fd);
}

static void test_a_secret_can_come_from_a_file(void **state)
{
	char path[32], text[64], error[HF_CONFIG_ERROR_SIZE];
	struct sample s;

	with_file("two words\n", 10, path);
	snprintf(text, sizeof(text), "token_file: %s", path);
	good(text, &s);
	assert_string_equal(s.secret, "two words");
	done(&s);
	set_good("token_file", path, &s);
	assert_string_equal(s.secret, "two words");
	done(&s);
	snprintf(text, sizeof(text), "token_file: %s\ntoken: x", path);
	bad(text, "t.yaml:1: token_file: token is given too: one of the two");
	unlink(path);

	bad("token_file: /nonexistent/x",
	    "t.yaml:1: token_file: /nonexistent/x: No such file or directory");
	bad("token_file: /tmp", "t.yaml:1: token_file: /tmp: not a file");
	bad("fast_file: /tmp", "t.yaml:1: fast_file: unknown key"); /* secrets alone have it */

	with_file("0123456789012345678901234567890123456789", 40, path);
	snprintf(text, sizeof(text), "token_file: %s", path);
	assert_int_equal(parse_with(text, NULL, 0, &s, error), -EINVAL);
	assert_non_null(strstr(error, "is 40 bytes long, allowed are 0 to 32 bytes"));
	unlink(path);
}

static void test_a_secret_is_not_in_the_error_nor_in_the_dump(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE], *text = NULL;
	size_t len = 0;
	struct sample s;
	FILE *out;

	assert_int_equal(parse_with("token: hunter2-hunter2-hunter2-hunter2-hunter2", NULL, 0, &s,
				    error),
			 -EINVAL);
	assert_null(strstr(error, "hunter2"));

	good("token: hunter2\nlisteners: [{bind: h:1, tls: {key: hunter2}}]", &s);
	out = open_memstream(&text, &len);
	hf_config_dump(options, &s, out);
	fclose(out);
	assert_null(strstr(text, "hunter2"));
	assert_non_null(strstr(text, "token: \"********\""));
	free(text);
	done(&s);
}

static char *dump(const struct sample *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	hf_config_dump(options, s, out);
	fclose(out);
	return text;
}

static void test_a_dump_is_read_back_the_same(void **state)
{
	struct sample s, again;
	char *text;

	good("node: {name: \"q\\\"\\\\\\n\"}\nwait: 1500ms\nlimits: {frame_max: 100}\n"
	     "hosts: ['a,b', \"c d\"]\nlisteners: [{bind: h:1}, {bind: h:2, tls: {on: true}}]\n",
	     &s);
	text = dump(&s);
	good(text, &again);
	for (const struct hf_option *option = options; option->name != NULL; option++)
		assert_false(hf_config_differs(option, &s, &again));
	free(text);
	done(&again);
	done(&s);

	text = dump(NULL); /* and so are the defaults */
	good(text, &again);
	good("", &s);
	for (const struct hf_option *option = options; option->name != NULL; option++)
		assert_false(hf_config_differs(option, &s, &again));
	free(text);
	done(&again);
	done(&s);
}

static void test_help_names_every_key_with_range_and_default(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	hf_config_help(options, out);
	fclose(out);
	for (const struct hf_option *option = options; option->name != NULL; option++)
		assert_non_null(strstr(text, option->name));
	assert_non_null(strstr(text, "wait (duration, 1s to 10m, default 30s)"));
	assert_non_null(strstr(text, "log.level (one of low, high, default low)"));
	assert_non_null(strstr(text, "fast (true or false, default false, reloadable)"));
	free(text);
}

static void test_differences_are_found_and_can_be_kept_back(void **state)
{
	struct sample a, b;

	good("listeners: [{bind: h:1}]\nhosts: [x]\nwait: 5s", &a);
	good("listeners: [{bind: h:2}]\nhosts: [y]\nwait: 6s\nfast: true", &b);
	for (const struct hf_option *option = options; option->name != NULL; option++) {
		bool expected = strcmp(option->name, "listeners") == 0 ||
				strcmp(option->name, "hosts") == 0 ||
				strcmp(option->name, "wait") == 0 ||
				strcmp(option->name, "fast") == 0;

		assert_int_equal(hf_config_differs(option, &a, &b), expected);
		if (expected)
			hf_config_swap(option, &a, &b);
	}
	assert_int_equal(a.wait_ms, 6000);
	assert_true(a.fast);
	assert_string_equal(b.hosts.values[0], "x");
	assert_string_equal(((struct listener *)a.listeners.items)->bind, "h:2");
	done(&a);
	done(&b);
}

static void test_a_file_that_cannot_be_read_is_named(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	struct sample s = { 0 };

	assert_int_equal(hf_config_load(options, "/nonexistent.yaml", NULL, 0, &s, error), -ENOENT);
	assert_string_equal(error, "/nonexistent.yaml: No such file or directory");
	assert_int_equal(hf_config_load(options, "/tmp", NULL, 0, &s, error), -EISDIR);
	assert_int_equal(hf_config_load(options, NULL, NULL, 0, &s, error), 0);
	done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_document_gives_the_defaults),
		cmocka_unit_test(test_every_type_is_read),
		cmocka_unit_test(test_json_is_read_too),
		cmocka_unit_test(test_a_section_with_nothing_in_it_is_fine),
		cmocka_unit_test(test_values_out_of_range_name_the_range_in_their_unit),
		cmocka_unit_test(test_the_bounds_themselves_are_in_range),
		cmocka_unit_test(test_wrong_types_are_refused),
		cmocka_unit_test(test_addresses_are_checked),
		cmocka_unit_test(test_unknown_keys_are_refused_with_a_guess),
		cmocka_unit_test(test_required_keys_are_asked_for),
		cmocka_unit_test(test_a_key_twice_is_an_error),
		cmocka_unit_test(test_what_makes_yaml_dangerous_is_refused),
		cmocka_unit_test(test_broken_yaml_names_the_line),
		cmocka_unit_test(test_documents_are_bounded),
		cmocka_unit_test(test_overrides_win_over_the_file),
		cmocka_unit_test(test_the_last_override_wins),
		cmocka_unit_test(test_a_secret_can_come_from_the_environment),
		cmocka_unit_test(test_a_secret_can_come_from_a_file),
		cmocka_unit_test(test_a_secret_is_not_in_the_error_nor_in_the_dump),
		cmocka_unit_test(test_a_dump_is_read_back_the_same),
		cmocka_unit_test(test_help_names_every_key_with_range_and_default),
		cmocka_unit_test(test_differences_are_found_and_can_be_kept_back),
		cmocka_unit_test(test_a_file_that_cannot_be_read_is_named),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
