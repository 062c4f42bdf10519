#include "hf_histogram.h"

#include <math.h>

#define LINEAR    (1u << HF_HISTOGRAM_SUB_BITS) /* steps of one power of two */
#define VALUE_MAX ((1ull << HF_HISTOGRAM_MAX_BITS) - 1)

/* Below LINEAR a bucket holds one value. From there on each power of two, [2^e, 2^(e+1)), has
 * LINEAR buckets that are 2^(e - SUB_BITS) wide. */
static unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < LINEAR)
		return (unsigned)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - HF_HISTOGRAM_SUB_BITS;
	return (shift << HF_HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The largest value that bucket_of() puts into `bucket`. */
static uint64_t upper_edge(unsigned bucket)
{
	unsigned shift;

	if (bucket < LINEAR)
		return bucket;
	shift = (bucket >> HF_HISTOGRAM_SUB_BITS) - 1;
	return ((uint64_t)(LINEAR + bucket % LINEAR + 1) << shift) - 1;
}

void hf_histogram_record(struct hf_histogram *histogram, uint64_t value)
{
	if (value > VALUE_MAX)
		value = VALUE_MAX;
	histogram->buckets[bucket_of(value)]++;
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
}

void hf_histogram_merge(struct hf_histogram *into, const struct hf_histogram *from)
{
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	into->sum += from->sum;
	into->max = HF_MAX(into->max, from->max);
}

uint64_t hf_histogram_quantile(const struct hf_histogram *histogram, double quantile)
{
	double rank = ceil(quantile * (double)histogram->count);
	uint64_t seen = 0;
	unsigned bucket = 0;

	if (histogram->count == 0)
		return 0;
	if (!(rank >= 1))
		rank = 1;
	for (; bucket < bucket_of(histogram->max); bucket++) {
		seen += histogram->buckets[bucket];
		if ((double)seen >= rank)
			break;
	}
	return upper_edge(bucket);
}

uint64_t hf_histogram_count_at_or_below(const struct hf_histogram *histogram, uint64_t value)
{
	uint64_t seen = 0;
	unsigned end;

	if (value >= VALUE_MAX)
		return histogram->count;
	end = bucket_of(value);
	for (unsigned bucket = 0; bucket < end; bucket++)
		seen += histogram->buckets[bucket];
	return upper_edge(end) == value ? seen + histogram->buckets[end] : seen;
}
