/* common/base/hf_text.h - checks and conversions of text from outside. */
#ifndef HF_TEXT_H
#define HF_TEXT_H

#include <sys/types.h>

#include "hf_base.h"

/* A registration, device or user id: 1..max bytes of valid UTF-8 without control characters. */
bool hf_text_is_id(const void *data, size_t len, size_t max);
bool hf_text_is_utf8(const void *data, size_t len);
/* Bytes (1..4) of the well-formed UTF-8 character that `data` begins with, 0 if it doesn't. */
size_t hf_text_char_len(const void *data, size_t len);
/* Is that character of `char_len` bytes a control (C0, DEL or C1)? */
bool hf_text_is_control(const void *data, size_t char_len);

/* "500ms" "30s" "5m" "2h" "7d", or digits alone taken as `unit_ms`. 0, -EINVAL or -ERANGE. */
HF_MUST_CHECK int hf_text_parse_duration(const char *text, uint64_t unit_ms, uint64_t *ret_ms);
/* "4096" "64B" "64KiB" "1MiB" "2GiB". 0, -EINVAL or -ERANGE. */
HF_MUST_CHECK int hf_text_parse_size(const char *text, uint64_t *ret_bytes);
/* Whole string, decimal, no sign. 0, -EINVAL or -ERANGE. */
HF_MUST_CHECK int hf_text_parse_uint(const char *text, size_t len, uint64_t *ret);

/* Is JSON nested deeper than `most` brackets? Parsers recurse: ask before one gets text from
 * outside. What is no JSON may be told either way. */
bool hf_text_json_is_deep(const void *data, size_t len, size_t most);

/* RFC 4648. `ret` has room for the decoded size (at most 3/4 of len + 3). url: the URL-safe
 * alphabet, padding optional; else the standard one, padding required. Strict: no white space, no
 * stray bits. Returns the decoded length or -EINVAL. */
HF_MUST_CHECK ssize_t hf_base64_decode(const char *text, size_t len, bool url, uint8_t *ret);
/* Without padding when url, and ended by a NUL. Returns the characters before the NUL; `ret` has
 * room for 4 * (len + 2) / 3 + 1. */
size_t hf_base64_encode(const void *data, size_t len, bool url, char *ret);

#endif
