/* common/http/hf_http_parser.c - the request head; see hf_http_parser.h. */
#include "hf_http_parser.h"

#include <strings.h>

/* RFC 9110 5.6.2: the characters of a method and of a header name. */
static bool is_token(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr(others, c) != NULL);
}

/* One line up to its CRLF, which is passed over. Returns 1, 0 when the line is incomplete, or -400:
 * a bare CR or LF, a NUL or another control character (a tab is for values only; see below). */
static int take_line(struct hf_bytes *rest, struct hf_bytes *ret_line)
{
	for (size_t i = 0; i < rest->len; i++) {
		uint8_t c = rest->data[i];

		if (c == '\r') {
			if (i + 1 == rest->len)
				return 0;
			if (rest->data[i + 1] != '\n')
				return -400;
			*ret_line = hf_bytes_of(rest->data, i);
			rest->data += i + 2;
			rest->len -= i + 2;
			return 1;
		}
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return -400;
	}
	return 0;
}

/* Bytes up to `separator`, which is passed over; the whole rest when there is none. */
static struct hf_bytes take_until(struct hf_bytes *rest, uint8_t separator)
{
	const uint8_t *at = rest->len > 0 ? memchr(rest->data, separator, rest->len) : NULL;
	struct hf_bytes word = *rest;

	if (at == NULL) {
		rest->data += rest->len;
		rest->len = 0;
		return word;
	}
	word.len = (size_t)(at - rest->data);
	rest->data += word.len + 1;
	rest->len -= word.len + 1;
	return word;
}

static int parse_target(struct hf_http_request *request)
{
	struct hf_bytes rest = request->target;

	if (rest.len == 0)
		return -400;
	if (rest.len > HF_HTTP_TARGET_MAX)
		return -414;
	if (rest.data[0] != '/') /* absolute, authority and asterisk forms are for proxies */
		return -400;
	for (size_t i = 0; i < rest.len; i++)
		if (rest.data[i] <= ' ' || rest.data[i] >= 0x7f || rest.data[i] == '#')
			return -400;
	request->path = take_until(&rest, '?');
	request->query = rest;
	return 0;
}

static int parse_request_line(struct hf_bytes line, struct hf_http_request *request)
{
	static const char http1[] = "HTTP/1.";
	size_t prefix = sizeof(http1) - 1;
	struct hf_bytes version;
	int err;

	request->method = take_until(&line, ' ');
	request->target = take_until(&line, ' ');
	version = line;
	if (request->method.len == 0 || request->method.len > 32)
		return -400;
	for (size_t i = 0; i < request->method.len; i++)
		if (!is_token(request->method.data[i]))
			return -400;
	err = parse_target(request);
	if (err < 0)
		return err;
	if (version.len != prefix + 1 || memcmp(version.data, "HTTP/", 5) != 0)
		return -400;
	if (memcmp(version.data, http1, prefix) != 0)
		return -505;
	if (version.data[prefix] != '0' && version.data[prefix] != '1')
		return -505;
	request->minor = version.data[prefix] - '0';
	request->keep_alive = request->minor == 1;
	return 0;
}

static int parse_header(struct hf_bytes line, struct hf_http_header *ret)
{
	const uint8_t *colon = memchr(line.data, ':', line.len);
	struct hf_bytes value;

	/* A line that starts with white space is a folded one (obs-fold): its first byte is no
	 * token. */
	if (colon == NULL || colon == line.data)
		return -400;
	ret->name = hf_bytes_of(line.data, (size_t)(colon - line.data));
	for (size_t i = 0; i < ret->name.len; i++)
		if (!is_token(ret->name.data[i]))
			return -400;
	value = hf_bytes_of(colon + 1, line.len - ret->name.len - 1);
	while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
		value.data++;
		value.len--;
	}
	while (value.len > 0 &&
	       (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
		value.len--;
	ret->value = value;
	return 0;
}

static bool is_text(struct hf_bytes value, const char *text)
{
	return value.len == strlen(text) &&
	       strncasecmp((const char *)value.data, text, value.len) == 0;
}

/* Is `word` one of a comma-separated list? */
static bool list_has(struct hf_bytes list, const char *word)
{
	while (list.len > 0) {
		struct hf_bytes item = take_until(&list, ',');

		while (item.len > 0 && (item.data[0] == ' ' || item.data[0] == '\t')) {
			item.data++;
			item.len--;
		}
		while (item.len > 0 &&
		       (item.data[item.len - 1] == ' ' || item.data[item.len - 1] == '\t'))
			item.len--;
		if (is_text(item, word))
			return true;
	}
	return false;
}

static int parse_length(struct hf_bytes value, uint64_t *ret)
{
	uint64_t length = 0;

	if (value.len == 0 || value.len > 18) /* 18 digits always fit 64 bits */
		return -400;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return -400;
		length = length * 10 + (value.data[i] - '0');
	}
	*ret = length;
	return 0;
}

/* What one header says about framing and the connection. */
static int apply_header(const struct hf_http_header *header, struct hf_http_request *request,
			unsigned *hosts)
{
	if (is_text(header->name, "content-length")) {
		if (request->has_length) /* twice, be it the same twice */
			return -400;
		request->has_length = true;
		return parse_length(header->value, &request->content_length);
	}
	if (is_text(header->name, "transfer-encoding")) {
		if (request->chunked)
			return -400;
		if (!is_text(header->value, "chunked"))
			return -501;
		request->chunked = true;
	} else if (is_text(header->name, "host")) {
		++*hosts;
	} else if (is_text(header->name, "connection")) {
		if (list_has(header->value, "close"))
			request->keep_alive = false;
	} else if (is_text(header->name, "expect")) {
		if (!is_text(header->value, "100-continue"))
			return -417;
		request->expect_continue = true;
	}
	return 0;
}

static int check_framing(const struct hf_http_request *request, unsigned hosts)
{
	if (hosts > 1 || (hosts == 0 && request->minor == 1))
		return -400;
	if (request->chunked && (request->has_length || request->minor == 0))
		return -400; /* two framings: the next proxy may see another request in it */
	return 0;
}

/* The head is not whole yet: is it already too long to be one? */
static ssize_t incomplete(size_t len, bool in_request_line)
{
	if (in_request_line && len > HF_HTTP_TARGET_MAX + 64)
		return -414;
	return len >= HF_HTTP_HEAD_MAX ? -431 : 0;
}

ssize_t hf_http_parse_head(const uint8_t *buf, size_t len, struct hf_http_request *ret)
{
	struct hf_bytes rest = hf_bytes_of(buf, HF_MIN(len, (size_t)HF_HTTP_HEAD_MAX)), line;
	unsigned hosts = 0;
	int err;

	*ret = (struct hf_http_request){ 0 };
	if (len == 0)
		return 0;
	err = take_line(&rest, &line);
	if (err <= 0)
		return err < 0 ? err : incomplete(len, true);
	err = parse_request_line(line, ret);
	if (err < 0)
		return err;

	for (;;) {
		struct hf_http_header *header;

		err = take_line(&rest, &line);
		if (err <= 0)
			return err < 0 ? err : incomplete(len, false);
		if (line.len == 0)
			break;
		if (ret->header_count == HF_HTTP_HEADERS_MAX)
			return -431;
		header = &ret->headers[ret->header_count++];
		err = parse_header(line, header);
		if (err == 0)
			err = apply_header(header, ret, &hosts);
		if (err < 0)
			return err;
	}
	err = check_framing(ret, hosts);
	return err < 0 ? err : rest.data - buf;
}

struct hf_bytes hf_http_header(const struct hf_http_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (is_text(request->headers[i].name, name))
			return request->headers[i].value;
	return (struct hf_bytes){ NULL, 0 };
}

const char *hf_http_status_text(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} texts[] = {
		{ 100, "Continue" },
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unknown";
}
