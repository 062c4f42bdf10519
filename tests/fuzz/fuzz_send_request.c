/* tests/fuzz/fuzz_send_request.c - the JSON body of a send, alone and as a batch is walked. */
#include <stdlib.h>

#include "json.h"
#include "request.h"

#define PAYLOAD_MAX 4096
#define NOW_MS      1767225600000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ids(const struct hf_bytes *ids, size_t count, size_t len_max)
{
	if (count > REQUEST_TARGETS_MAX)
		abort();
	for (size_t i = 0; i < count; i++)
		if (ids[i].len == 0 || ids[i].len > len_max)
			abort();
}

static void check(const struct request *request)
{
	bool list = request->target_count + request->user_count > 0;
	const char *field;

	if (list != (request->kind == REQUEST_LIST) || request->payload.len > PAYLOAD_MAX ||
	    request->ttl_ms > REQUEST_TTL_MAX_S * 1000ull ||
	    request->wait_ms > REQUEST_WAIT_MAX_MS ||
	    request->send_at_ms > NOW_MS + REQUEST_SEND_AT_MAX_MS ||
	    request->spread_ms > REQUEST_PACE_MAX_MS ||
	    request->rate_per_second > REQUEST_RATE_MAX ||
	    request->receipt_params.len > REQUEST_PARAMS_MAX ||
	    (request->rate_per_second > 0 && request->spread_ms > 0))
		abort();
	check_ids(request->targets, request->target_count, HF_REGISTRATION_MAX);
	check_ids(request->users, request->user_count, HF_USER_ID_MAX);
	/* What others are told is within the limits that they hold it against. */
	if (request->audience != NULL && hf_audience_check(request->audience, &field) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_bytes text = hf_bytes_of(data, size), key, value;
	struct hf_arena arena;
	struct request request;
	struct problem problem;
	struct json_walk walk;

	hf_arena_init(&arena, 1u << 20, 0);
	if (request_parse(text, PAYLOAD_MAX, NOW_MS, &arena, &request, &problem) == 0)
		check(&request);
	else if (problem.code < 400 || problem.reason == NULL)
		abort();
	hf_arena_deinit(&arena);

	if (json_walk_begin(&walk, text, '{') == 0)
		while (json_walk_next(&walk, &key, &value) == 1)
			if (json_key_is(key, "messages") && value.len == 0)
				abort();
	if (json_walk_begin(&walk, text, '[') == 0)
		while (json_walk_next(&walk, &key, &value) == 1)
			continue;
	return 0;
}
