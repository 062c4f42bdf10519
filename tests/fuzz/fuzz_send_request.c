/* tests/fuzz/fuzz_send_request.c - the JSON body of a send, alone and as a batch is walked. */
#include <stdlib.h>

#include "json.h"
#include "request.h"

#define PAYLOAD_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct request *request)
{
	if (request->target_count == 0 || request->target_count > REQUEST_TARGETS_MAX ||
	    request->payload.len > PAYLOAD_MAX || request->ttl_ms > REQUEST_TTL_MAX_S * 1000ull ||
	    request->wait_ms > REQUEST_WAIT_MAX_MS)
		abort();
	for (size_t i = 0; i < request->target_count; i++)
		if (request->targets[i].len == 0 || request->targets[i].len > HF_REGISTRATION_MAX)
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
	if (request_parse(text, PAYLOAD_MAX, &arena, &request, &problem) == 0)
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
