/* common/base/hf_base.h - the few macros and the one plain type that everything uses. */
#ifndef HF_BASE_H
#define HF_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HF_MUST_CHECK                    __attribute__((warn_unused_result))
#define HF_PRINTF(fmt, args)             __attribute__((format(printf, fmt, args)))
#define HF_LIKELY(x)                     __builtin_expect(!!(x), 1)
#define HF_UNLIKELY(x)                   __builtin_expect(!!(x), 0)
#define HF_ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define HF_MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define HF_MAX(a, b)                     ((a) > (b) ? (a) : (b))
#define HF_CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Limits of the names that users give; everything that stores or carries one obeys these. */
#define HF_REGISTRATION_MAX 64 /* bytes of a registration id, at least 1 */
#define HF_DEVICE_MAX       64 /* bytes of a device id, at least 1 */
#define HF_USER_ID_MAX      128
#define HF_NODE_ID_MAX      63
#define HF_SLOTS            4096 /* hash slots of (app, registration); see hf_hash.h */

/* A run of bytes that belongs to somebody else. `data` may be NULL when `len` is 0. */
struct hf_bytes {
	const uint8_t *data;
	size_t len;
};

#define HF_BYTES_LITERAL(s) ((struct hf_bytes){ (const uint8_t *)(s), sizeof(s) - 1 })

static inline struct hf_bytes hf_bytes_of(const void *data, size_t len)
{
	return (struct hf_bytes){ data, len };
}

static inline struct hf_bytes hf_bytes_of_string(const char *s)
{
	return (struct hf_bytes){ (const uint8_t *)s, strlen(s) };
}

static inline bool hf_bytes_equal(struct hf_bytes a, struct hf_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
