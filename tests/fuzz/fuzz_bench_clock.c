/* The head of an answer whose Date hf-bench believes, and the head of a message that it times. */
#include <stdlib.h>

#include "clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream streams[STREAMS] = { 0 };
	uint64_t counters[COUNTERS] = { 0 }, second = 0;
	struct payload payload;

	if (clock_date((const char *)data, size, &second) && second == 0)
		abort();
	if (payload_read(hf_bytes_of(data, size), &payload) && size < PAYLOAD_HEAD)
		abort();
	/* Whatever the sequences are, a message is new once. */
	for (size_t at = 0; size - at >= PAYLOAD_HEAD; at += PAYLOAD_HEAD) {
		if (!payload_read(hf_bytes_of(data + at, PAYLOAD_HEAD), &payload))
			break;
		sequence_take(streams, &payload, counters);
		if (sequence_take(streams, &payload, counters))
			abort();
	}
	return 0;
}
