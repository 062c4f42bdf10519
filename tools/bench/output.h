/* tools/bench/output.h - what a run came to, and its forms: text, JSON, CSV, histograms, HTML. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>

#include "bench.h"

#define REASONS_MAX 8

/* One second. */
struct row {
	double t;
	int64_t open, opening;
	uint64_t failed, closed, rx_messages, rx_bytes, requests, dropped_arrivals;
	uint64_t p50, p90, p99, p999, max; /* of main_hist(), microseconds, this second alone */
	double cpu_percent, lag_ms;
	uint64_t rss_kib;
};

struct threshold {
	const char *text;
	double value, limit;
	bool failed;
};

struct result {
	const struct options *options;
	struct stats *total;
	double seconds, setup_s;
	uint64_t wall_ms; /* when it began */
	struct row *rows;
	size_t row_count, row_capacity;
	size_t reason_count;
	char reasons[REASONS_MAX][160]; /* why the run is invalid */
	size_t threshold_count;
	struct threshold thresholds[LIST_MAX];
	size_t merged; /* runs that this one is made of; 0: a run */
};

/* The latency that a command is about. */
enum hist main_hist(unsigned command);
uint64_t result_lost(const struct result *result);
void result_invalid(struct result *result, const char *fmt, ...) HF_PRINTF(2, 3);

/* thresholds.c: EXIT_DONE, EXIT_USAGE (said), or EXIT_THRESHOLD. */
int thresholds_check_syntax(const struct options *options);
int thresholds_run(struct result *result);

/* output.c */
FILE *output_create(const char *folder, const char *name); /* NULL: errno */
bool output_finish(FILE *file);                            /* closes it; false: not all is there */
void result_print(FILE *to, const struct result *result);
json_t *result_json(const struct result *result); /* output_json.c */
int result_write(const struct result *result, const char *folder);
json_t *result_run_json(const struct result *result); /* output_json.c */
bool environment_write(const struct result *result, const char *folder);

/* hists.c */
#define HIST_QUANTILES 6
extern const struct hist_quantile {
	const char *name;
	double quantile;
} hist_quantiles[HIST_QUANTILES]; /* p50 to p99999 */
double hist_mean(const struct hf_histogram *hist);
double hist_stddev(const struct hf_histogram *hist);
bool hist_write_hgrm(const char *folder, const char *name, const struct hf_histogram *hist);
bool hist_write_buckets(const char *folder, const char *name, const struct hf_histogram *hist);
/* hist/NAME.buckets into `into`; false: there is none. */
bool hist_read(const char *folder, enum hist hist, struct hf_histogram *into);

/* report.c: the page for a folder, from what lies in it. */
int report_html(FILE *to, const char *folder);

#endif
