/* services/center/bucket.h - a token bucket: `rate` a second, at most `burst` at once. Pure.
 *
 * A cost above the burst passes when the bucket is full and leaves a debt, so that no request is
 * too large to be ever let through, and the rate holds all the same. */
#ifndef CENTER_BUCKET_H
#define CENTER_BUCKET_H

#include "hf_base.h"

struct bucket {
	double tokens;
	uint64_t at_ms;
};

void bucket_init(struct bucket *bucket, uint32_t burst, uint64_t now_ms); /* full */
/* Takes `cost` tokens if they are there. */
HF_MUST_CHECK bool bucket_take(struct bucket *bucket, uint32_t rate, uint32_t burst, uint32_t cost,
			       uint64_t now_ms);
void bucket_refund(struct bucket *bucket, uint32_t burst, uint32_t cost);
uint32_t bucket_left(const struct bucket *bucket); /* whole tokens, as of the last take */
/* Milliseconds until `cost` may be taken. */
uint64_t bucket_wait_ms(const struct bucket *bucket, uint32_t rate, uint32_t burst, uint32_t cost);

#endif
