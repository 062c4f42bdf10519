/* common/http/hf_http_uri.c - percent-encoding and query strings; see hf_http_parser.h. */
#include <errno.h>

#include "hf_http_parser.h"

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

ssize_t hf_http_unescape(struct hf_bytes text, bool plus, char *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		int c = text.data[i];

		if (c == '%') {
			int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = high << 4 | low;
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c == '\0')
			return -EINVAL;
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return (ssize_t)n;
}

struct hf_bytes hf_http_query(struct hf_bytes query, const char *name)
{
	size_t name_len = strlen(name);

	while (query.len > 0) {
		const uint8_t *end = memchr(query.data, '&', query.len);
		size_t len = end != NULL ? (size_t)(end - query.data) : query.len;
		const uint8_t *equals = len > 0 ? memchr(query.data, '=', len) : NULL;
		size_t key_len = equals != NULL ? (size_t)(equals - query.data) : len;

		if (key_len == name_len && memcmp(query.data, name, name_len) == 0) {
			size_t skip = HF_MIN(key_len + 1, len);

			return hf_bytes_of(query.data + skip, len - skip);
		}
		len += end != NULL;
		query.data += len;
		query.len -= len;
	}
	return (struct hf_bytes){ NULL, 0 };
}
