#include "hf_backoff.h"

#include "hf_hash.h"

uint32_t hf_backoff_next_ms(struct hf_backoff *backoff)
{
	/* base is below 2^32, so 32 doublings pass every cap and the shift can't overflow */
	unsigned doublings = HF_MIN(backoff->attempts, 32u);
	uint64_t ceiling = (uint64_t)backoff->base_ms << doublings;

	if (backoff->attempts < UINT32_MAX)
		backoff->attempts++;
	return (uint32_t)hf_random_below(HF_MIN(ceiling, (uint64_t)backoff->cap_ms) + 1);
}
