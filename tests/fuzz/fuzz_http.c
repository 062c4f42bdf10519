/* tests/fuzz/fuzz_http.c - an HTTP request head from outside, and what follows it as chunks. */
#include <stdlib.h>

#include "hf_http_parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct hf_bytes slice, const uint8_t *data, size_t size)
{
	if (slice.len > 0 && (slice.data < data || slice.data + slice.len > data + size))
		abort();
}

static void try_chunks(const uint8_t *data, size_t size)
{
	struct hf_http_chunks chunks = { 0 };
	bool done = false;
	size_t pos = 0;

	while (pos < size && !done) {
		struct hf_bytes piece;
		ssize_t n = hf_http_chunks_decode(&chunks, data + pos, size - pos, &piece, &done);

		if (n < 0)
			return;
		if (n == 0)
			abort(); /* it would wait for ever on bytes that are there */
		check_slice(piece, data + pos, (size_t)n);
		pos += (size_t)n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_http_request request;
	ssize_t n = hf_http_parse_head(data, size, &request);
	char *text;

	if (n <= 0)
		return 0;
	check_slice(request.path, data, (size_t)n);
	check_slice(request.query, data, (size_t)n);
	for (size_t i = 0; i < request.header_count; i++) {
		check_slice(request.headers[i].name, data, (size_t)n);
		check_slice(request.headers[i].value, data, (size_t)n);
	}
	if (request.chunked && request.has_length)
		abort();

	text = malloc(request.target.len + 1);
	if (text != NULL && hf_http_unescape(request.path, false, text) > (ssize_t)request.path.len)
		abort();
	check_slice(hf_http_query(request.query, "a"), data, (size_t)n);
	free(text);
	try_chunks(data + n, size - (size_t)n);
	return 0;
}
