/* common/base/hf_backoff.h - full-jitter exponential back-off: uniform(0, min(cap, base * 2^n)),
 * the cap applied before the jitter (Brooker, AWS Architecture Blog 2015). */
#ifndef HF_BACKOFF_H
#define HF_BACKOFF_H

#include "hf_base.h"

struct hf_backoff {
	uint32_t base_ms, cap_ms;
	uint32_t attempts; /* since the last reset */
};

uint32_t hf_backoff_next_ms(struct hf_backoff *backoff);
static inline void hf_backoff_reset(struct hf_backoff *backoff)
{
	backoff->attempts = 0;
}

#endif
