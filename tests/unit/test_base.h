/* tests/unit/test_base.h - what the tests of common/base share. */
#ifndef TEST_BASE_H
#define TEST_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A copy of exactly `len` bytes, where the sanitizer sees any overread; the caller frees it. */
static inline void *exact_copy(const void *data, size_t len)
{
	void *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	return len > 0 ? memcpy(copy, data, len) : copy;
}

#endif
