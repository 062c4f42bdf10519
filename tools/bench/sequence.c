/* Sequence numbers start at 1 for each group and run, so what is missing below the highest is lost,
 * or still to come. */
#include "bench.h"

/* The place of a run's messages: the newest ones are in front, and the oldest makes room. */
static struct stream *find(struct stream streams[STREAMS], uint32_t run)
{
	struct stream found = { .run = run };
	unsigned at = 0;

	if (streams[0].run == run)
		return &streams[0];
	while (at < STREAMS - 1 && streams[at].run != run)
		at++;
	if (streams[at].run == run)
		found = streams[at];
	memmove(&streams[1], &streams[0], at * sizeof(*streams));
	streams[0] = found;
	return &streams[0];
}

bool sequence_take(struct stream streams[STREAMS], const struct payload *payload,
		   uint64_t counters[COUNTERS])
{
	struct stream *stream = find(streams, payload->run);
	uint64_t behind;

	if (payload->sequence > stream->highest) {
		uint64_t ahead = payload->sequence - stream->highest;

		stream->seen = ahead >= 64 ? 1 : stream->seen << ahead | 1;
		stream->highest = (uint32_t)payload->sequence;
		counters[COUNT_EXPECTED] += ahead;
		return true;
	}
	behind = stream->highest - payload->sequence;
	if (behind >= 64 || stream->seen >> behind & 1) {
		counters[COUNT_DUPLICATED]++;
		return false;
	}
	stream->seen |= 1ull << behind;
	counters[COUNT_REORDERED]++;
	return true;
}
