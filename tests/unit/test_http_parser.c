/* tests/unit/test_http_parser.c - promises of the HTTP codec (common/http/hf_http_parser.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf_http_parser.h"

static ssize_t parse_bytes(const char *text, size_t len, struct hf_http_request *ret)
{
	static uint8_t *exact; /* lives until the next call, as `ret` points into it */

	free(exact);
	exact = malloc(len > 0 ? len : 1);
	assert_non_null(exact);
	memcpy(exact, text, len);
	return hf_http_parse_head(exact, len, ret);
}

static ssize_t parse(const char *text, struct hf_http_request *ret)
{
	return parse_bytes(text, strlen(text), ret);
}

static void assert_text(struct hf_bytes bytes, const char *text)
{
	assert_true(hf_bytes_equal(bytes, hf_bytes_of_string(text)));
}

static void test_a_plain_request_is_taken_apart(void **state)
{
	static const char text[] = "POST /v1/apps/7/messages?dry=1&x HTTP/1.1\r\nHost: push\r\n"
				   "content-LENGTH: 12\r\nX-Empty:\r\nX-Tab: \t a b \t\r\n\r\n";
	struct hf_http_request request;

	assert_int_equal(parse(text, &request), sizeof(text) - 1);
	assert_text(request.method, "POST");
	assert_text(request.path, "/v1/apps/7/messages");
	assert_text(request.query, "dry=1&x");
	assert_text(hf_http_header(&request, "X-TAB"), "a b");
	assert_text(hf_http_header(&request, "x-empty"), "");
	assert_non_null(hf_http_header(&request, "x-empty").data);
	assert_null(hf_http_header(&request, "x-none").data);
	assert_true(request.has_length && request.keep_alive && !request.chunked);
	assert_int_equal(request.content_length, 12);
}

static void test_every_prefix_of_a_head_is_incomplete(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
	struct hf_http_request request;

	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(parse_bytes(text, len, &request), 0);
	assert_int_equal(parse(text, &request), sizeof(text) - 1);
}

static void test_what_follows_a_head_is_left_alone(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\1\2 body";
	struct hf_http_request request;

	assert_int_equal(parse_bytes(text, sizeof(text) - 1, &request), 27);
}

static void test_connection_lasts_as_the_version_and_header_say(void **state)
{
	struct hf_http_request request;

	assert_true(parse("GET / HTTP/1.0\r\n\r\n", &request) > 0);
	assert_false(request.keep_alive);
	assert_true(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", &request) >
		    0);
	assert_false(request.keep_alive);
	assert_true(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", &request) >
		    0);
	assert_true(request.keep_alive);
}

/* Each of these is read in two ways by some pair of servers: that is how requests are smuggled. */
static void test_ambiguous_framing_is_refused(void **state)
{
	static const struct {
		const char *what, *text;
		int status;
	} cases[] = {
		{ "length and chunked",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
		  "chunked\r\n\r\n",
		  -400 },
		{ "chunked and length",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
		  "5\r\n\r\n",
		  -400 },
		{ "two lengths",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		  -400 },
		{ "two equal lengths",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		  -400 },
		{ "a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
		  -400 },
		{ "signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
		  -400 },
		{ "hex length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", -400 },
		{ "empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", -400 },
		{ "length beyond 64 bits",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n",
		  -400 },
		{ "two transfer codings",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
		  "Transfer-Encoding: chunked\r\n\r\n",
		  -400 },
		{ "coding beside chunked",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", -501 },
		{ "coding that looks like chunked",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", -501 },
		{ "quoted coding",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", -501 },
		{ "chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		  -400 },
		{ "space before the colon",
		  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", -400 },
		{ "tab before the colon",
		  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", -400 },
		{ "folded header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", -400 },
		{ "header that starts with white space",
		  "GET / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\n", -400 },
		{ "bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", -400 },
		{ "bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", -400 },
		{ "bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", -400 },
		{ "bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", -400 },
		{ "no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", -400 },
		{ "no colon", "GET / HTTP/1.1\r\nHost: a\r\nhello\r\n\r\n", -400 },
		{ "name with a slash", "GET / HTTP/1.1\r\nHost: a\r\nA/B: b\r\n\r\n", -400 },
		{ "two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", -400 },
		{ "no host", "GET / HTTP/1.1\r\n\r\n", -400 },
	};
	struct hf_http_request request;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		if (parse(cases[i].text, &request) != cases[i].status)
			fail_msg("%s", cases[i].what);
}

static void test_nul_and_control_bytes_are_refused(void **state)
{
	static const char nul_value[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
	static const char nul_name[] = "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n";
	static const char nul_path[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char escape[] = "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n";
	struct hf_http_request request;

	assert_int_equal(parse_bytes(nul_value, sizeof(nul_value) - 1, &request), -400);
	assert_int_equal(parse_bytes(nul_name, sizeof(nul_name) - 1, &request), -400);
	assert_int_equal(parse_bytes(nul_path, sizeof(nul_path) - 1, &request), -400);
	assert_int_equal(parse_bytes(escape, sizeof(escape) - 1, &request), -400);
}

static void test_odd_request_lines_are_refused(void **state)
{
	static const struct {
		const char *line;
		int status;
	} cases[] = {
		{ "", -400 },
		{ "GET", -400 },
		{ "GET /", -400 },
		{ "GET  / HTTP/1.1", -400 },
		{ " GET / HTTP/1.1", -400 },
		{ "GET / HTTP/1.1 ", -400 },
		{ "GET / HTTP/1.1 x", -400 },
		{ "GET\t/ HTTP/1.1", -400 },
		{ "GE(T / HTTP/1.1", -400 },
		{ "GET http://a/ HTTP/1.1", -400 },
		{ "CONNECT a:443 HTTP/1.1", -400 },
		{ "OPTIONS * HTTP/1.1", -400 },
		{ "GET /a#b HTTP/1.1", -400 },
		{ "GET /\xc3\xa4 HTTP/1.1", -400 },
		{ "GET / HTTP/2.0", -505 },
		{ "GET / HTTP/1.2", -505 },
		{ "GET / http/1.1", -400 },
		{ "GET / HTTP/1.10", -400 },
	};
	struct hf_http_request request;
	char text[128];

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "%s\r\nHost: a\r\n\r\n", cases[i].line);
		if (parse(text, &request) != cases[i].status)
			fail_msg("'%s'", cases[i].line);
	}
}

static void test_sizes_are_bounded(void **state)
{
	static char text[HF_HTTP_HEAD_MAX + 1024];
	struct hf_http_request request;
	size_t len;

	len = (size_t)sprintf(text, "GET /");
	memset(text + len, 'a', HF_HTTP_TARGET_MAX);
	strcpy(text + len + HF_HTTP_TARGET_MAX, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(parse(text, &request), -414);
	memset(text, 'a', sizeof(text)); /* a request line without an end */
	assert_int_equal(parse_bytes(text, HF_HTTP_TARGET_MAX + 65, &request), -414);

	len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	memset(text + len, 'a', HF_HTTP_HEAD_MAX);
	assert_int_equal(parse_bytes(text, HF_HTTP_HEAD_MAX - 1, &request), 0);
	assert_int_equal(parse_bytes(text, HF_HTTP_HEAD_MAX, &request), -431);
	strcpy(text + HF_HTTP_HEAD_MAX, "\r\n\r\n");
	assert_int_equal(parse(text, &request), -431);

	len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (unsigned i = 0; i < HF_HTTP_HEADERS_MAX; i++)
		len += (size_t)sprintf(text + len, "X%u: 1\r\n", i);
	strcpy(text + len, "\r\n");
	assert_int_equal(parse(text, &request), -431);
}

static void test_only_one_expectation_is_known(void **state)
{
	struct hf_http_request request;

	assert_true(parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", &request) >
		    0);
	assert_true(request.expect_continue);
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: beer\r\n\r\n", &request),
			 -417);
}

/* Decode `wire` in steps of `step` bytes; the body into `ret`, its length returned, or -400, or -1
 * when it did not end. */
static int decode_chunks(const char *wire, size_t len, size_t step, char *ret)
{
	struct hf_http_chunks chunks = { 0 };
	size_t pos = 0, body = 0;
	bool done = false;

	while (!done && pos < len) {
		size_t n = HF_MIN(step, len - pos), used = 0;
		uint8_t *exact = malloc(n);

		assert_non_null(exact);
		memcpy(exact, wire + pos, n);
		while (used < n && !done) {
			struct hf_bytes piece;
			ssize_t got = hf_http_chunks_decode(&chunks, exact + used, n - used, &piece,
							    &done);

			if (got < 0) {
				free(exact);
				return (int)got;
			}
			assert_true(got > 0);
			if (piece.len > 0)
				memcpy(ret + body, piece.data, piece.len);
			body += piece.len;
			used += (size_t)got;
		}
		free(exact);
		pos += used;
	}
	return done && pos == len ? (int)body : -1;
}

static void test_chunks_are_joined_in_any_slicing(void **state)
{
	static const char wire[] =
		"5\r\nhello\r\n1;a=\"b c\"\r\n \r\n00005\r\nworld\r\n0\r\nT: 1\r\n\r\n";
	char body[64];

	for (size_t step = 1; step < sizeof(wire); step++) {
		assert_int_equal(decode_chunks(wire, sizeof(wire) - 1, step, body), 11);
		assert_memory_equal(body, "hello world", 11);
	}
}

static void test_malformed_chunks_are_refused(void **state)
{
	static const char *const cases[] = {
		"\r\n",
		"g\r\n",
		"-1\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n",
		" 5\r\nhello\r\n0\r\n\r\n",
		"5 \r\nhello\r\n0\r\n\r\n",
		"5\nhello\r\n0\r\n\r\n",
		"5\r\nhello\n0\r\n\r\n",
		"5\r\nhello!\r\n0\r\n\r\n",
		"123456789\r\n",
		"ffffffffffffffff\r\n",
		"5;\x01\r\nhello\r\n0\r\n\r\n",
		"0\r\n folded\r\n\r\n",
		"0\r\n: x\r\n\r\n",
		"0\r\nT: 1\n\r\n",
		"0\r\n\r\r",
	};
	char body[64];

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		if (decode_chunks(cases[i], strlen(cases[i]), 1, body) != -400)
			fail_msg("case %zu", i);
	assert_int_equal(decode_chunks("5\r\nhello\r\n0\r\n", 13, 13, body), -1);
}

static void test_size_lines_and_trailers_are_bounded(void **state)
{
	static char wire[8192];
	char body[64];
	size_t len = (size_t)sprintf(wire, "1;");

	memset(wire + len, 'a', 1000);
	assert_int_equal(decode_chunks(wire, 1000, 1000, body), -400);
	len = (size_t)sprintf(wire, "0\r\n");
	while (len < 6000)
		len += (size_t)sprintf(wire + len, "T: 1\r\n");
	assert_int_equal(decode_chunks(wire, len, len, body), -400);
}

static void test_unescape_decodes_and_refuses_nul(void **state)
{
	char text[64];

	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("a%2fb+%E4%bd%A0"), false, text), 7);
	assert_string_equal(text, "a/b+\xe4\xbd\xa0");
	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("a+b"), true, text), 3);
	assert_string_equal(text, "a b");
	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("a%0"), false, text), -EINVAL);
	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("a%"), false, text), -EINVAL);
	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("%zz"), false, text), -EINVAL);
	assert_int_equal(hf_http_unescape(HF_BYTES_LITERAL("a%00"), false, text), -EINVAL);
}

static void test_query_values_are_found_by_whole_name(void **state)
{
	struct hf_bytes query = HF_BYTES_LITERAL("ab=1&a=2&flag&empty=&a=3");

	assert_text(hf_http_query(query, "a"), "2");
	assert_text(hf_http_query(query, "flag"), "");
	assert_non_null(hf_http_query(query, "flag").data);
	assert_text(hf_http_query(query, "empty"), "");
	assert_null(hf_http_query(query, "b").data);
	assert_null(hf_http_query((struct hf_bytes){ NULL, 0 }, "a").data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plain_request_is_taken_apart),
		cmocka_unit_test(test_every_prefix_of_a_head_is_incomplete),
		cmocka_unit_test(test_what_follows_a_head_is_left_alone),
		cmocka_unit_test(test_connection_lasts_as_the_version_and_header_say),
		cmocka_unit_test(test_ambiguous_framing_is_refused),
		cmocka_unit_test(test_nul_and_control_bytes_are_refused),
		cmocka_unit_test(test_odd_request_lines_are_refused),
		cmocka_unit_test(test_sizes_are_bounded),
		cmocka_unit_test(test_only_one_expectation_is_known),
		cmocka_unit_test(test_chunks_are_joined_in_any_slicing),
		cmocka_unit_test(test_malformed_chunks_are_refused),
		cmocka_unit_test(test_size_lines_and_trailers_are_bounded),
		cmocka_unit_test(test_unescape_decodes_and_refuses_nul),
		cmocka_unit_test(test_query_values_are_found_by_whole_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
