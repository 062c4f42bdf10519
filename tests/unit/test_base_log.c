#include "test_base.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HF_LOG_MODULE "test"
#include "hf_log.h"

static char path[] = "/tmp/test_base_log.XXXXXX";
static char content[16384];

static int log_to_file(enum hf_log_format format)
{
	struct hf_log_options options = {
		.level = HF_LOG_INFO, .format = format, .file = path, .node = "room-1"
	};

	assert_int_equal(truncate(path, 0), 0);
	return hf_log_setup(&options);
}

static int as_text(void **state)
{
	return log_to_file(HF_LOG_TEXT);
}

static int as_json(void **state)
{
	return log_to_file(HF_LOG_JSON);
}

/* What was logged since setup, without the time stamp when it is text. */
static const char *logged(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, content, sizeof(content) - 1);

	close(fd);
	assert_true(n >= 0);
	content[n] = '\0';
	return n > 25 && content[0] != '{' ? content + 25 : content;
}

static void test_a_line_is_level_node_module_event_and_pairs(void **state)
{
	HF_INFO("closed", "peer=%s code=%d", "127.0.0.1:4711", 4201);
	assert_string_equal(logged(), "info room-1 test closed peer=127.0.0.1:4711 code=4201\n");
	assert_int_equal(content[23], 'Z');
	as_text(NULL);
	HF_ERROR("out of descriptors", "%s", "");
	assert_string_equal(logged(), "error room-1 test out of descriptors\n");
}

static void test_lines_below_the_level_are_not_written(void **state)
{
	HF_DEBUG("hidden", "n=%d", 1);
	assert_string_equal(logged(), "");
	hf_log_set_level(HF_LOG_DEBUG);
	HF_DEBUG("shown", "n=%d", 1);
	assert_string_equal(logged(), "debug room-1 test shown n=1\n");
	hf_log_set_level(HF_LOG_ERROR);
	assert_false(hf_log_enabled(HF_LOG_WARN));
	assert_true(hf_log_enabled(HF_LOG_ERROR));
}

static void test_a_value_cannot_start_a_line_of_its_own(void **state)
{
	HF_INFO("login", "user=%s", "x\n2026 error forged\x1b[31m");
	assert_string_equal(logged(), "info room-1 test login user=x?2026 error forged?[31m\n");
}

static void test_a_long_line_is_cut_and_still_ends(void **state)
{
	static char value[5000];

	memset(value, 'v', sizeof(value) - 1);
	HF_INFO("long", "value=%s", value);
	assert_int_equal(strlen(logged()), 2048 - 25);
	assert_int_equal(content[2047], '\n');
}

static void test_quoting_shows_what_is_there(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		const char *quoted;
	} rows[] = {
		{ "plain", 5, "plain" },
		{ "", 0, "\"\"" },
		{ "two words", 9, "\"two words\"" },
		{ "a=b", 3, "\"a=b\"" },
		{ "say \"hi\" \\", 10, "\"say \\\"hi\\\" \\\\\"" },
		{ "a\nb\0c", 5, "\"a\\x0ab\\x00c\"" },
		{ "\xc3\xa9\xff", 3, "\"\xc3\xa9\\xff\"" },
		{ "\xc2\x85", 2, "\"\\xc2\\x85\"" },
		{ "\xe2\x82", 2, "\"\\xe2\\x82\"" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		char *exact = exact_copy(rows[i].data, rows[i].len);

		assert_string_equal(hf_log_quote(exact, rows[i].len), rows[i].quoted);
		free(exact);
	}
	assert_string_equal(hf_log_quote(NULL, 0), "\"\"");
}

static void test_a_quoted_value_is_cut_at_96_bytes(void **state)
{
	char *data = malloc(1000), expected[200] = "\"";

	memset(data, 'x', 1000);
	memset(expected + 1, 'x', 96);
	strcpy(expected + 97, "...\"");
	assert_string_equal(hf_log_quote(data, 1000), expected);
	assert_int_equal(strlen(hf_log_quote(data, 96)), 96);
	memcpy(data + 95, "\xc3\xa9", 2); /* a character is not cut in two */
	strcpy(expected + 96, "...\"");
	assert_string_equal(hf_log_quote(data, 1000), expected);
	memset(data, 0, 1000);
	assert_int_equal(strlen(hf_log_quote(data, 1000)), 96 * 4 + 5);
	free(data);
}

static void test_eight_quoted_values_fit_in_one_line(void **state)
{
	const char *quoted[8];

	for (int i = 0; i < 8; i++) {
		char digit = (char)('0' + i);

		quoted[i] = hf_log_quote(&digit, 1);
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(quoted[i][0], '0' + i);
}

static json_t *logged_object(void)
{
	const char *line = logged();
	json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(object);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	return object;
}

static void check_member(const json_t *object, const char *key, const char *expected)
{
	const char *value = json_string_value(json_object_get(object, key));

	assert_non_null(value);
	assert_string_equal(value, expected);
}

static void test_json_has_a_member_for_each_pair(void **state)
{
	json_t *object;

	HF_WARN("refused", "peer=%s err=%s user=%s body=%s n=%d", "10.0.0.1:80",
		"Connection refused by peer", hf_log_quote("J\xc3\xb6 \"x\" a=1", 11),
		hf_log_quote("\n\0\xff", 3), 5);
	object = logged_object();
	check_member(object, "level", "warn");
	check_member(object, "node", "room-1");
	check_member(object, "mod", "test");
	check_member(object, "msg", "refused");
	check_member(object, "peer", "10.0.0.1:80");
	check_member(object, "err", "Connection refused by peer");
	check_member(object, "user", "J\xc3\xb6 \"x\" a=1");
	check_member(object, "body", "\n\\x00\\xff");
	check_member(object, "n", "5");
	assert_int_equal(strlen(json_string_value(json_object_get(object, "ts"))), 24);
	assert_int_equal(json_object_size(object), 10);
	json_decref(object);
}

static void test_json_stays_well_formed_whatever_is_logged(void **state)
{
	static const char *const fields[] = {
		"",
		" ",
		"=",
		"no key at all",
		"text first a=1",
		"a=",
		"a= b=",
		"a=\"",
		"a=\"x",
		"a=\"x\\",
		"a=\"x\\\"",
		"a=\"\\x",
		"a=\"\\x4",
		"a=\"\\xzz\" b=2",
		"a=\\ \" b",
		"a=\"x\"y b=1",
		"a=\"x\"\"y\"",
		"\"quoted without key\"",
		"a=\xff\xfe",
		"a=\x01\x7f\xc2\x85",
		"a=1  b=2 ",
		"ts=1 level=2 node=3 mod=4 msg=5",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(fields); i++) {
		json_t *object;

		as_json(NULL);
		hf_log_write(HF_LOG_INFO, "te\"st", "odd\nevent\xff", "%s", fields[i]);
		object = logged_object();
		check_member(object, "mod", "te\"st");
		check_member(object, "msg", "odd\nevent\\xff");
		check_member(object, "level", "info");
		json_decref(object);
	}
}

static void test_json_gives_text_without_a_key_a_name(void **state)
{
	json_t *object;

	HF_INFO("started", "all is well level=%d", 9);
	object = logged_object();
	check_member(object, "detail", "all is well");
	check_member(object, "level", "info");
	check_member(object, "level_", "9");
	json_decref(object);
}

static void test_a_long_json_line_is_cut_and_says_so(void **state)
{
	static char value[2100];
	json_t *object;

	memset(value, 'v', sizeof(value) - 1);
	for (size_t len = 1850; len < 2050; len++) {
		as_json(NULL);
		HF_INFO("long", "first=%.*s last=%s", (int)len, value, "\"\x01\x02\x03");
		object = logged_object();
		assert_true(strlen(content) <= 2048);
		assert_int_equal(json_object_size(object) == 7 &&
					 json_object_get(object, "last") != NULL,
				 json_object_get(object, "cut") == NULL);
		assert_memory_equal(json_string_value(json_object_get(object, "first")), value,
				    1800);
		json_decref(object);
	}
	as_json(NULL);
	HF_INFO(value, "a=%d", 1);
	object = logged_object();
	check_member(object, "cut", "1");
	json_decref(object);
}

static void test_a_throttle_lets_one_line_through_and_counts_the_rest(void **state)
{
	struct hf_log_throttle throttle = { 0 };
	unsigned passed = 0;

	for (int i = 0; i < 100; i++)
		if (hf_log_throttle_pass(&throttle, 60000)) {
			HF_INFO("refused", "i=%d", i);
			passed++;
		}
	assert_int_equal(passed, 1);
	assert_string_equal(logged(), "info room-1 test refused i=0\n");

	as_text(NULL);
	throttle.next_ms = 0; /* the interval is over */
	assert_true(hf_log_throttle_pass(&throttle, 60000));
	HF_INFO("refused", "i=%d", 100);
	assert_string_equal(logged(), "info room-1 test refused suppressed=99 i=100\n");
	assert_int_equal(throttle.suppressed, 0);
}

static void test_a_count_stays_with_its_own_line(void **state)
{
	struct hf_log_throttle throttle = { .suppressed = 5 };

	if (hf_log_throttle_pass(&throttle, 60000))
		HF_DEBUG("refused", "below the level, i=%d", 1);
	HF_INFO("other", "i=%d", 2);
	assert_string_equal(logged(), "info room-1 test other i=2\n");
}

static void test_reopening_follows_a_rotation(void **state)
{
	char old[sizeof(path) + 4];

	snprintf(old, sizeof(old), "%s.old", path);
	assert_int_equal(rename(path, old), 0);
	HF_INFO("before", "i=%d", 1);
	assert_int_equal(hf_log_reopen(), 0);
	HF_INFO("after", "i=%d", 2);
	assert_string_equal(logged(), "info room-1 test after i=2\n");
	assert_int_equal(unlink(old), 0);
}

static void test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(void **state)
{
	struct hf_log_options options = { .level = HF_LOG_ERROR,
					  .format = HF_LOG_JSON,
					  .file = "/nonexistent/holdfast.log",
					  .node = "other" };
	static char endless[5000];

	assert_int_equal(hf_log_setup(&options), -ENOENT);
	memset(endless, 'x', sizeof(endless) - 1);
	options.file = endless;
	assert_int_equal(hf_log_setup(&options), -ENAMETOOLONG);
	HF_INFO("still", "i=%d", 1);
	assert_string_equal(logged(), "info room-1 test still i=1\n");
}

static void test_a_reader_that_stalls_costs_lines_and_not_time(void **state)
{
	char folder[] = "/tmp/test_base_log_fifo.XXXXXX", fifo[64], text[65536];
	struct hf_log_options options = { .level = HF_LOG_INFO, .file = fifo };
	ssize_t n;
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(fifo, sizeof(fifo), "%s/log", folder);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDONLY | O_NONBLOCK);
	assert_int_equal(hf_log_setup(&options), 0);
	for (int i = 0; i < 2000; i++)
		HF_INFO("much", "text=%0200d", i); /* three times what the pipe holds */
	while (read(fd, text, sizeof(text)) > 0)
		;
	HF_INFO("again", "n=%d", 1);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "again lost=1"));
	assert_non_null(strstr(text, " n=1\n"));
	as_text(NULL);
	close(fd);
	unlink(fifo);
	rmdir(folder);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	struct hf_log_options options = { .level = HF_LOG_INFO };

	return hf_log_setup(&options) < 0 || unlink(path) < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_line_is_level_node_module_event_and_pairs, as_text),
		cmocka_unit_test_setup(test_lines_below_the_level_are_not_written, as_text),
		cmocka_unit_test_setup(test_a_value_cannot_start_a_line_of_its_own, as_text),
		cmocka_unit_test_setup(test_a_long_line_is_cut_and_still_ends, as_text),
		cmocka_unit_test(test_quoting_shows_what_is_there),
		cmocka_unit_test(test_a_quoted_value_is_cut_at_96_bytes),
		cmocka_unit_test(test_eight_quoted_values_fit_in_one_line),
		cmocka_unit_test_setup(test_json_has_a_member_for_each_pair, as_json),
		cmocka_unit_test_setup(test_json_stays_well_formed_whatever_is_logged, as_json),
		cmocka_unit_test_setup(test_json_gives_text_without_a_key_a_name, as_json),
		cmocka_unit_test_setup(test_a_long_json_line_is_cut_and_says_so, as_json),
		cmocka_unit_test_setup(test_a_throttle_lets_one_line_through_and_counts_the_rest,
				       as_text),
		cmocka_unit_test_setup(test_a_count_stays_with_its_own_line, as_text),
		cmocka_unit_test_setup(test_reopening_follows_a_rotation, as_text),
		cmocka_unit_test_setup(test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was,
				       as_text),
		cmocka_unit_test(test_a_reader_that_stalls_costs_lines_and_not_time),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
