/* common/http/hf_http_parser.h - one HTTP/1.1 request head and body framing, as a pure codec.
 *
 * Strict on purpose (RFC 9112 with every "MAY be lenient" declined): CRLF line ends only, no
 * obs-fold, no space before a colon, one Host, at most one Content-Length, "chunked" the only
 * transfer coding and never together with Content-Length, origin-form targets only. What is not so
 * is refused with the status to answer; the connection closes after it. No I/O, no allocation. */
#ifndef HF_HTTP_PARSER_H
#define HF_HTTP_PARSER_H

#include <sys/types.h>

#include "hf_base.h"

#define HF_HTTP_HEAD_MAX    16384 /* bytes of request line and headers: 431 */
#define HF_HTTP_TARGET_MAX  4096  /* 414 */
#define HF_HTTP_HEADERS_MAX 64    /* 431 */

struct hf_http_header {
	/* Borrowed from the head; the name as it was sent: compare case-insensitively. */
	struct hf_bytes name, value;
};

struct hf_http_request {
	struct hf_bytes method, target;
	struct hf_bytes path, query; /* parts of target, still percent-encoded, query without '?' */
	unsigned minor;              /* HTTP/1.minor */
	bool keep_alive, chunked, has_length, expect_continue;
	uint64_t content_length;
	size_t header_count;
	struct hf_http_header headers[HF_HTTP_HEADERS_MAX];
};

/* Parse the head at the start of `buf`. Returns its length with the final CRLFCRLF (> 0), 0 while
 * it is incomplete, or the negated HTTP status to refuse with (-400, -414, -417, -431, -501, -505).
 */
HF_MUST_CHECK ssize_t hf_http_parse_head(const uint8_t *buf, size_t len,
					 struct hf_http_request *ret);

/* First header of that name, data NULL when there is none. */
struct hf_bytes hf_http_header(const struct hf_http_request *request, const char *name);

/* Chunked body decoder: feed bytes, get pieces. */
struct hf_http_chunks {
	unsigned state;
	uint64_t left;
	uint32_t line; /* bytes seen of the current size line or trailer */
};
/* Consumes from buf; *ret_piece is the part of buf that is body (may be empty). Returns bytes
 * consumed, 0 when more is needed; *ret_done when the last chunk and trailers are through; -400
 * when malformed. */
HF_MUST_CHECK ssize_t hf_http_chunks_decode(struct hf_http_chunks *chunks, const uint8_t *buf,
					    size_t len, struct hf_bytes *ret_piece, bool *ret_done);

/* Percent-decoding of a path segment or query value into `ret` (size at least len + 1,
 * NUL-terminated). Returns the length or -EINVAL (bad escape, or a decoded NUL). plus: '+' is a
 * space. */
HF_MUST_CHECK ssize_t hf_http_unescape(struct hf_bytes text, bool plus, char *ret);
/* Value of `name` in a query string, still encoded; data NULL when absent. */
struct hf_bytes hf_http_query(struct hf_bytes query, const char *name);

const char *hf_http_status_text(unsigned status); /* 404 -> "Not Found" */

#endif
