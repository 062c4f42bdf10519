/* common/base/hf_histogram.h - a log-linear histogram in the manner of HdrHistogram: 32 linear
 * steps per power of two, so a value is known to about 3 %, from 0 to 2^40, in 9 KiB of counters.
 * Recording is a few instructions. */
#ifndef HF_HISTOGRAM_H
#define HF_HISTOGRAM_H

#include "hf_base.h"

#define HF_HISTOGRAM_SUB_BITS 5
#define HF_HISTOGRAM_MAX_BITS 40
#define HF_HISTOGRAM_BUCKETS \
	((HF_HISTOGRAM_MAX_BITS - HF_HISTOGRAM_SUB_BITS + 1) << HF_HISTOGRAM_SUB_BITS)

struct hf_histogram {
	uint64_t count, sum, max;
	uint64_t buckets[HF_HISTOGRAM_BUCKETS];
};

void hf_histogram_record(struct hf_histogram *histogram, uint64_t value); /* clamped to 2^40 - 1 */
void hf_histogram_merge(struct hf_histogram *into, const struct hf_histogram *from);
/* Upper edge of the bucket that holds the quantile (0..1); 0 when empty. */
uint64_t hf_histogram_quantile(const struct hf_histogram *histogram, double quantile);
/* Number of recorded values in buckets that lie wholly at or below `value`. */
uint64_t hf_histogram_count_at_or_below(const struct hf_histogram *histogram, uint64_t value);

#endif
