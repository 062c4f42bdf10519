#include "hf_text.h"

#include <errno.h>

size_t hf_text_char_len(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;

	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0; /* shorter forms exist */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* shorter forms exist */
	else if (p[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (n > len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool hf_text_is_utf8(const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n;

	for (size_t at = 0; at < len; at += n) {
		uint64_t eight;

		if (len - at >= sizeof(eight)) {
			memcpy(&eight, p + at, sizeof(eight));
			n = sizeof(eight);
			if ((eight & 0x8080808080808080u) == 0)
				continue;
		}
		n = hf_text_char_len(p + at, len - at);
		if (n == 0)
			return false;
	}
	return true;
}

bool hf_text_is_control(const void *data, size_t char_len)
{
	const uint8_t *p = data;

	return char_len == 1 ? p[0] < 0x20 || p[0] == 0x7f : p[0] == 0xc2 && p[1] < 0xa0;
}

bool hf_text_is_id(const void *data, size_t len, size_t max)
{
	const uint8_t *p = data;
	size_t n;

	if (len == 0 || len > max)
		return false;
	for (size_t at = 0; at < len; at += n) {
		n = 1;
		if (p[at] >= 0x20 && p[at] < 0x7f) /* nearly all of nearly all ids */
			continue;
		n = hf_text_char_len(p + at, len - at);
		if (n == 0 || hf_text_is_control(p + at, n))
			return false;
	}
	return true;
}

int hf_text_parse_uint(const char *text, size_t len, uint64_t *ret)
{
	bool too_large = false;
	uint64_t value = 0;

	if (len == 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		too_large |= __builtin_mul_overflow(value, 10u, &value);
		too_large |= __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value);
	}
	if (too_large)
		return -ERANGE;
	*ret = value;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* Digits, then the name of one of `units`. */
static int parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *ret)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t value = 0;
	int err = hf_text_parse_uint(text, digits, &value);

	if (err == -EINVAL)
		return err;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		if (err < 0 || __builtin_mul_overflow(value, units[i].factor, &value))
			return -ERANGE;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

int hf_text_parse_duration(const char *text, uint64_t unit_ms, uint64_t *ret_ms)
{
	const struct unit units[] = { { "", unit_ms }, { "ms", 1 },      { "s", 1000 },
				      { "m", 60000 },  { "h", 3600000 }, { "d", 86400000 } };

	return parse_with_unit(text, units, HF_ARRAY_LEN(units), ret_ms);
}

int hf_text_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 }, { "B", 1 }, { "KiB", 1u << 10 }, { "MiB", 1u << 20 }, { "GiB", 1u << 30 }
	};

	return parse_with_unit(text, units, HF_ARRAY_LEN(units), ret_bytes);
}

bool hf_text_json_is_deep(const void *data, size_t len, size_t most)
{
	const uint8_t *text = data;
	size_t opening = 0, depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) /* most texts have too few to be too deep */
		opening += (text[i] == '{') | (text[i] == '[');
	if (opening <= most)
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > most)
				return true;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

static const char base64_digits[2][65] = {
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* Of each character in each of four places: its digit where it belongs in 24 bits, or a bit above
 * them all. */
#define BASE64_BAD 0xff000000u
static uint32_t base64_values[2][4][256];

static void base64_fill_values(void)
{
	memset(base64_values, 0xff, sizeof(base64_values));
	for (unsigned url = 0; url < 2; url++)
		for (unsigned place = 0; place < 4; place++)
			for (uint32_t digit = 0; digit < 64; digit++)
				base64_values[url][place][(uint8_t)base64_digits[url][digit]] =
					digit << (18 - 6 * place);
}

/* Length of `text` without its padding; -EINVAL if there is more or less of it than allowed. */
static ssize_t base64_unpadded_len(const char *text, size_t len, bool url)
{
	size_t digits = len;

	while (digits > 0 && len - digits < 2 && text[digits - 1] == '=')
		digits--;
	if (digits % 4 == 1)
		return -EINVAL;
	if ((digits < len || !url) && len % 4 != 0)
		return -EINVAL;
	return (ssize_t)digits;
}

ssize_t hf_base64_decode(const char *text, size_t len, bool url, uint8_t *ret)
{
	ssize_t digits = base64_unpadded_len(text, len, url);
	const uint32_t(*values)[256] = base64_values[url];
	const uint8_t *p = (const uint8_t *)text;
	uint32_t bad = 0, last = 0;
	uint8_t *pos = ret;

	if (digits < 0)
		return digits;
	if (values[0]['A'] == values[0]['B']) /* not filled yet */
		base64_fill_values();
	for (; digits >= 4; digits -= 4, p += 4, pos += 3) {
		uint32_t bits =
			values[0][p[0]] | values[1][p[1]] | values[2][p[2]] | values[3][p[3]];

		bad |= bits;
		pos[0] = (uint8_t)(bits >> 16);
		pos[1] = (uint8_t)(bits >> 8);
		pos[2] = (uint8_t)bits;
	}
	for (ssize_t i = 0; i < digits; i++) /* 2 or 3 for the last 1 or 2 bytes */
		last |= values[i][p[i]];
	if (digits >= 2)
		*pos++ = (uint8_t)(last >> 16);
	if (digits == 3)
		*pos++ = (uint8_t)(last >> 8);
	if (((bad | last) & BASE64_BAD) != 0)
		return -EINVAL;
	if ((last & (digits == 2 ? 0xffffu : 0xffu)) != 0)
		return -EINVAL; /* another text would decode to the same bytes */
	return pos - ret;
}

size_t hf_base64_encode(const void *data, size_t len, bool url, char *ret)
{
	const uint8_t *p = data;
	char *pos = ret;

	for (size_t at = 0; at < len; at += 3) {
		size_t n = HF_MIN(len - at, (size_t)3);
		uint32_t bits = (uint32_t)p[at] << 16;

		if (n > 1)
			bits |= (uint32_t)p[at + 1] << 8;
		if (n > 2)
			bits |= p[at + 2];
		for (unsigned i = 0; i < 4; i++) {
			if (i <= n)
				*pos++ = base64_digits[url][bits >> (18 - 6 * i) & 63];
			else if (!url)
				*pos++ = '=';
		}
	}
	*pos = '\0';
	return (size_t)(pos - ret);
}
