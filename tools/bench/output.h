/* tools/bench/output.h - what a run came to, and its forms: text, JSON, CSV, histograms, HTML. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>

#include "bench.h"

#define REASONS_MAX 8
#define ROW_CODES   16 /* that get columns of their own */

/* One --interval. */
struct row {
	double t;
	int64_t open, opening;
	uint64_t failed, closed, rx_messages, rx_bytes, requests, dropped_arrivals;
	uint64_t p50, p90, p99, p999, max; /* of main_hist(), microseconds, this interval alone */
	uint64_t p99_uncorrected, accepted, missing, duplicated;
	double cpu_percent, lag_ms;
	uint64_t rss_kib;
	double open_change; /* a second */
	uint64_t cut, reconnected;
	uint64_t codes[ROW_CODES]; /* so far, of those that result.codes names */
};

struct threshold {
	const char *text;
	double value, limit; /* microseconds, when it is of a latency */
	bool failed, is_latency;
	bool is_empty; /* a latency that nobody measured */
};

struct result {
	const struct options *options;
	struct stats *total;
	double seconds, setup_s;
	double load_s; /* merged: from the first sender's begin to the last one's end */
	uint64_t wall_ms,
		start_ns; /* when it began, and when its schedules did, on the monotonic clock */
	enum hist main;   /* the latency that it is about */
	struct row *rows;
	size_t row_count, row_capacity;
	size_t code_count;
	struct row_code {
		bool refused;   /* of stats.refused, else of stats.closed */
		unsigned index; /* close_index() */
	} codes[ROW_CODES];
	size_t reason_count;
	char reasons[REASONS_MAX][160]; /* why the run is invalid */
	size_t threshold_count;
	struct threshold thresholds[LIST_MAX];
	struct clock {
		const char *source; /* NULL: not measured */
		double offset_ms;   /* its time less this machine's */
		double error_ms;    /* the bound of what that may be wrong by */
	} clock;
	bool one_way_unknown;       /* merged, of machines whose clocks nobody compared */
	double server_memory_b;     /* a connection; below 0: not known */
	double server_cpu_s;        /* likewise */
	char machine[48], host[64]; /* boot id and name; empty: several */
	size_t merged;              /* runs that this one is made of; 0: a run */
};

/* The latency that a command is about. */
enum hist main_hist(unsigned command);
/* Make the folder, and those in it. 0 or -errno. */
int output_folders(const char *folder);
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
void environment_machine(struct result *result);      /* its name and boot id */
bool environment_write(const struct result *result, const char *folder);

/* rows.c */
void row_take_codes(struct result *result, struct row *row);
void row_print(FILE *to, const struct row *row, const struct options *options);
bool rows_write(const struct result *result, const char *folder);

/* hists.c */
#define HIST_QUANTILES 6
extern const struct hist_quantile {
	const char *name;
	double quantile;
} hist_quantiles[HIST_QUANTILES]; /* p50 to p99999 */
/* Never above what was measured, as the edge of a bucket may be. */
uint64_t hist_quantile(const struct hf_histogram *hist, double quantile);
uint64_t hist_edge(unsigned bucket); /* the largest value in it */
double hist_mean(const struct hf_histogram *hist);
double hist_stddev(const struct hf_histogram *hist);
bool hist_write_hgrm(const char *folder, const char *name, const struct hf_histogram *hist);
bool hist_write_buckets(const char *folder, const char *name, const struct hf_histogram *hist);
/* hist/NAME.buckets into `into`; false: there is none. */
bool hist_read(const char *folder, enum hist hist, struct hf_histogram *into);

/* merge_rows.c: add the seconds of a run that began `after_s` after the first one. */
#define ROWS_MAX 1e6
void merge_rows(struct result *result, const char *folder, double after_s, bool with_latency);

/* report.c: the page for a folder, from what lies in it. */
int report_html(FILE *to, const char *folder);

#endif
