/* Histograms as files, and what they come to. */
#include <math.h>

#include "output.h"

const struct hist_quantile hist_quantiles[HIST_QUANTILES] = {
	{ "p50", 0.5 },    { "p90", 0.9 },      { "p99", 0.99 },
	{ "p999", 0.999 }, { "p9999", 0.9999 }, { "p99999", 0.99999 }
};

uint64_t hist_quantile(const struct hf_histogram *hist, double quantile)
{
	return HF_MIN(hf_histogram_quantile(hist, quantile), hist->max);
}

double hist_mean(const struct hf_histogram *hist)
{
	return hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
}

/* The upper edge of a bucket, found through the library's own quantiles: the value that a
 * histogram with this one bucket gives back. */
uint64_t hist_edge(unsigned bucket)
{
	unsigned shift;

	if (bucket < 1u << HF_HISTOGRAM_SUB_BITS)
		return bucket;
	shift = (bucket >> HF_HISTOGRAM_SUB_BITS) - 1;
	return ((uint64_t)((1u << HF_HISTOGRAM_SUB_BITS) + bucket % (1u << HF_HISTOGRAM_SUB_BITS) +
			   1)
		<< shift) -
	       1;
}

/* To the same 3 % that a bucket is wide. */
double hist_stddev(const struct hf_histogram *hist)
{
	double mean = hist_mean(hist), sum = 0, middle;

	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
		middle = ((double)hist_edge(i) + (i > 0 ? (double)hist_edge(i - 1) + 1 : 0)) / 2;
		sum += (double)hist->buckets[i] * (middle - mean) * (middle - mean);
	}
	return hist->count > 0 ? sqrt(sum / (double)hist->count) : 0;
}

/* The percentile table of HdrHistogram, in milliseconds, that its plotters read. */
bool hist_write_hgrm(const char *folder, const char *name, const struct hf_histogram *hist)
{
	char file_name[64];
	FILE *file;
	uint64_t seen = 0;

	snprintf(file_name, sizeof(file_name), "hist/%s.hgrm", name);
	file = output_create(folder, file_name);
	if (file == NULL)
		return false;
	fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
		"1/(1-Percentile)");
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS && seen < hist->count; i++) {
		double value_ms = (double)HF_MIN(hist_edge(i), hist->max) / 1e3, share;

		if (hist->buckets[i] == 0)
			continue;
		if (seen == 0) /* plots begin here */
			fprintf(file, "%12.3f %14.12f %10llu %14.2f\n", value_ms, 0.0,
				(unsigned long long)hist->buckets[i], 1.0);
		seen += hist->buckets[i];
		share = (double)seen / (double)hist->count;
		fprintf(file, "%12.3f %14.12f %10llu ", value_ms, share, (unsigned long long)seen);
		if (seen < hist->count)
			fprintf(file, "%14.2f\n", 1 / (1 - share));
		else
			fprintf(file, "%14s\n", "inf");
	}
	fprintf(file,
		"#[Mean    = %12.3f, StdDeviation   = %12.3f]\n"
		"#[Max     = %12.3f, Total count    = %12llu]\n"
		"#[Buckets = %12u, SubBuckets     = %12u]\n",
		hist_mean(hist) / 1e3, hist_stddev(hist) / 1e3, (double)hist->max / 1e3,
		(unsigned long long)hist->count, HF_HISTOGRAM_MAX_BITS - HF_HISTOGRAM_SUB_BITS + 1,
		1u << HF_HISTOGRAM_SUB_BITS);
	return output_finish(file);
}

/* For merge: the counters as they are. */
bool hist_write_buckets(const char *folder, const char *name, const struct hf_histogram *hist)
{
	char file_name[64];
	FILE *file;

	snprintf(file_name, sizeof(file_name), "hist/%s.buckets", name);
	file = output_create(folder, file_name);
	if (file == NULL)
		return false;
	fprintf(file, "# bucket count; first line: count sum max, microseconds\n%llu %llu %llu\n",
		(unsigned long long)hist->count, (unsigned long long)hist->sum,
		(unsigned long long)hist->max);
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
		if (hist->buckets[i] > 0)
			fprintf(file, "%u %llu\n", i, (unsigned long long)hist->buckets[i]);
	}
	return output_finish(file);
}

bool hist_read(const char *folder, enum hist hist, struct hf_histogram *into)
{
	char path[4096];
	unsigned long long total, count, sum, max;
	unsigned bucket;
	FILE *file;
	bool good;

	*into = (struct hf_histogram){ 0 };
	if (snprintf(path, sizeof(path), "%s/hist/%s.buckets", folder, hist_names[hist]) >=
	    (int)sizeof(path))
		return false;
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	good = fscanf(file, "#%*[^\n]\n%llu %llu %llu", &total, &sum, &max) == 3;
	while (good && fscanf(file, "%u %llu", &bucket, &count) == 2) {
		if (bucket >= HF_HISTOGRAM_BUCKETS) {
			good = false;
			break;
		}
		into->buckets[bucket] = count;
		into->count += count;
	}
	fclose(file);
	into->sum = sum;
	into->max = max;
	return good && into->count > 0 && into->count == total; /* a file that is cut is none */
}
