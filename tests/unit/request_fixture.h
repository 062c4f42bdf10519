/* tests/unit/request_fixture.h - send requests, checked from exact copies of their text. */
#ifndef REQUEST_FIXTURE_H
#define REQUEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event.pb-c.h"
#include "hf_wire.h"
#include "request.h"

#define PAYLOAD_MAX 4096
#define NOW_MS      1767225600000ull /* 2026-01-01T00:00:00Z */

struct fixture {
	struct hf_arena arena;
	struct request request;
	struct problem problem;
	char *text; /* exact-size copy of what was parsed */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	hf_arena_init(&f->arena, 8u << 20, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_arena_deinit(&f->arena);
	free(f->text);
	free(f);
	return 0;
}

static inline int parse(struct fixture *f, const char *text)
{
	size_t len = strlen(text);

	hf_arena_reset(&f->arena);
	free(f->text);
	f->text = malloc(len > 0 ? len : 1);
	assert_non_null(f->text);
	memcpy(f->text, text, len);
	memset(&f->request, 0xee, sizeof(f->request));
	return request_parse(hf_bytes_of(f->text, len), PAYLOAD_MAX, NOW_MS, &f->arena, &f->request,
			     &f->problem);
}

/* A request to one registration with these members of message and, after it, of the whole. */
static inline int parse_with(struct fixture *f, const char *message, const char *rest)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "{\"audience\":{\"registration_id\":[\"r1\"]},\"message\":{%s}%s}", message, rest);
	return parse(f, text);
}

static inline void assert_refused(struct fixture *f, int result, unsigned code, const char *reason,
				  const char *field)
{
	assert_int_equal(result, -22);
	assert_string_equal(f->problem.reason, reason);
	assert_int_equal(f->problem.code, code);
	assert_string_equal(f->problem.field, field);
}

static inline void assert_payload(struct fixture *f, uint8_t kind, const char *payload)
{
	assert_int_equal(f->request.payload_kind, kind);
	assert_true(hf_bytes_equal(f->request.payload, hf_bytes_of_string(payload)));
}

/* The request with this audience and these options. */
static inline int parse_audience(struct fixture *f, const char *audience, const char *rest)
{
	char text[2048];

	snprintf(text, sizeof(text), "{\"audience\":%s,\"message\":{\"data\":1}%s}", audience,
		 rest);
	return parse(f, text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
