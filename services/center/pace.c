/* services/center/pace.c - see pace.h. */
#include "pace.h"

uint64_t pace_rate_millis(uint64_t rate_per_second, uint64_t spread_ms, uint64_t targets)
{
	uint64_t millis = 0;

	if (rate_per_second > 0)
		millis = rate_per_second * 1000;
	else if (spread_ms > 0)
		millis = HF_MAX(targets * 1000000 / spread_ms, (uint64_t)1);
	return HF_MIN(millis, (uint64_t)UINT32_MAX);
}

/* Each gets what is left of the rate in proportion to what is left of the messages: so the rounding
 * of one is made up for by the next. */
void pace_share_out(uint64_t rate_millis, struct pace_share *shares, size_t count)
{
	uint64_t left = 0, rate = rate_millis;

	for (size_t i = 0; i < count; i++)
		left += HF_MAX(shares[i].left, (uint64_t)1);
	for (size_t i = 0; i < count; i++) {
		uint64_t own = HF_MAX(shares[i].left, (uint64_t)1);
		uint64_t share = (uint64_t)((double)rate * (double)own / (double)left + 0.5);

		share = HF_MIN(share, rate);
		rate -= share;
		left -= own;
		shares[i].rate_millis = rate_millis == 0 ? 0 : (uint32_t)HF_MAX(share, (uint64_t)1);
	}
}
