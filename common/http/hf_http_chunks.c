/* common/http/hf_http_chunks.c - the chunked transfer coding (RFC 9112 7.1); see hf_http_parser.h.
 */
#include "hf_http_parser.h"

#define SIZE_LINE_MAX   256  /* a size and its extensions, which are skipped */
#define TRAILERS_MAX    4096 /* all trailer lines together, which are skipped */
#define SIZE_DIGITS_MAX 8    /* 4 GiB a chunk */

enum state {
	SIZE_FIRST, /* the first hex digit of a size line */
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_FIRST, /* the first byte of a trailer line, or the final CR */
	TRAILER,
	TRAILER_LF,
	FINAL_LF,
	DONE,
};

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_line_text(uint8_t c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

static int on_size(struct hf_http_chunks *chunks, uint8_t c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		if (chunks->line > SIZE_DIGITS_MAX)
			return -400;
		chunks->left = chunks->left * 16 + (uint64_t)digit;
		chunks->state = SIZE;
	} else if (chunks->state == SIZE_FIRST) {
		return -400;
	} else if (c == ';') {
		chunks->state = EXTENSION;
	} else if (c == '\r') {
		chunks->state = SIZE_LF;
	} else {
		return -400; /* white space before the extension among them */
	}
	return 0;
}

/* One byte of framing. 0 or -400. */
static int on_framing(struct hf_http_chunks *chunks, uint8_t c)
{
	switch ((enum state)chunks->state) {
	case SIZE_FIRST:
	case SIZE:
		if (chunks->state == SIZE_FIRST)
			chunks->left = chunks->line = 0;
		if (++chunks->line > SIZE_LINE_MAX)
			return -400;
		return on_size(chunks, c);
	case EXTENSION:
		if (++chunks->line > SIZE_LINE_MAX)
			return -400;
		if (c == '\r')
			chunks->state = SIZE_LF;
		return c == '\r' || is_line_text(c) ? 0 : -400;
	case SIZE_LF:
		chunks->line = 0;
		chunks->state = chunks->left > 0 ? DATA : TRAILER_FIRST;
		return c == '\n' ? 0 : -400;
	case DATA_CR:
		chunks->state = DATA_LF;
		return c == '\r' ? 0 : -400;
	case DATA_LF:
		chunks->state = SIZE_FIRST;
		return c == '\n' ? 0 : -400;
	case TRAILER_FIRST:
		if (c == '\r') {
			chunks->state = FINAL_LF;
			return 0;
		}
		if (c == ' ' || c == '\t' || c == ':')
			return -400;
		chunks->state = TRAILER;
		break;
	case TRAILER:
		break;
	case TRAILER_LF:
		chunks->state = TRAILER_FIRST;
		return c == '\n' ? 0 : -400;
	case FINAL_LF:
		chunks->state = DONE;
		return c == '\n' ? 0 : -400;
	case DATA:
	case DONE:
		return -400;
	}
	if (++chunks->line > TRAILERS_MAX)
		return -400;
	if (c == '\r')
		chunks->state = TRAILER_LF;
	return c == '\r' || is_line_text(c) ? 0 : -400;
}

ssize_t hf_http_chunks_decode(struct hf_http_chunks *chunks, const uint8_t *buf, size_t len,
			      struct hf_bytes *ret_piece, bool *ret_done)
{
	size_t pos = 0;

	*ret_piece = (struct hf_bytes){ NULL, 0 };
	*ret_done = chunks->state == DONE;
	while (pos < len && chunks->state != DONE) {
		if (chunks->state == DATA) {
			size_t n = (size_t)HF_MIN((uint64_t)(len - pos), chunks->left);

			*ret_piece = hf_bytes_of(buf + pos, n);
			chunks->left -= n;
			if (chunks->left == 0)
				chunks->state = DATA_CR;
			return (ssize_t)(pos + n);
		}
		if (on_framing(chunks, buf[pos++]) < 0)
			return -400;
	}
	*ret_done = chunks->state == DONE;
	return (ssize_t)pos;
}
