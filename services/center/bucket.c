/* services/center/bucket.c - see bucket.h. */
#include "bucket.h"

#include <math.h>

void bucket_init(struct bucket *bucket, uint32_t burst, uint64_t now_ms)
{
	*bucket = (struct bucket){ .tokens = burst, .at_ms = now_ms };
}

bool bucket_take(struct bucket *bucket, uint32_t rate, uint32_t burst, uint32_t cost,
		 uint64_t now_ms)
{
	if (now_ms > bucket->at_ms)
		bucket->tokens += (double)(now_ms - bucket->at_ms) * rate / 1000.0;
	bucket->at_ms = now_ms;
	if (bucket->tokens > burst) /* also when a reload made it smaller */
		bucket->tokens = burst;
	if (bucket->tokens < HF_MIN(cost, burst))
		return false;
	bucket->tokens -= cost;
	return true;
}

void bucket_refund(struct bucket *bucket, uint32_t burst, uint32_t cost)
{
	bucket->tokens += cost;
	if (bucket->tokens > burst)
		bucket->tokens = burst;
}

uint32_t bucket_left(const struct bucket *bucket)
{
	return bucket->tokens > 0 ? (uint32_t)bucket->tokens : 0;
}

uint64_t bucket_wait_ms(const struct bucket *bucket, uint32_t rate, uint32_t burst, uint32_t cost)
{
	double missing = HF_MIN(cost, burst) - bucket->tokens;

	if (missing <= 0)
		return 0;
	return rate > 0 ? (uint64_t)ceil(missing * 1000.0 / rate) : UINT32_MAX;
}
