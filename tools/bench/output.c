#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_wire.h"

static const struct {
	const char *name;
	double quantile;
} quantiles[] = { { "p50", 0.5 },    { "p90", 0.9 },      { "p99", 0.99 },
		  { "p999", 0.999 }, { "p9999", 0.9999 }, { "p99999", 0.99999 } };

uint64_t result_lost(const struct result *result)
{
	const uint64_t *c = result->total->counters;
	uint64_t expected = c[COUNT_EXPECTED];

	if (result->options->expect > 0)
		expected = result->options->expect;
	else if (result->merged > 0 && c[COUNT_DUE] > 0) /* the senders know better */
		expected = c[COUNT_DUE];
	if (c[COUNT_STARTED] == 0) /* nobody was there to receive */
		return 0;
	return expected > c[COUNT_UNIQUE] ? expected - c[COUNT_UNIQUE] : 0;
}

static double mean_of(const struct hf_histogram *hist)
{
	return hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
}

static void print_hist(FILE *to, const char *name, const struct hf_histogram *hist)
{
	if (hist->count == 0)
		return;
	fprintf(to, "  %-20s %9llu", name, (unsigned long long)hist->count);
	for (size_t i = 0; i < 4; i++)
		fprintf(to, " %9.3f",
			(double)hf_histogram_quantile(hist, quantiles[i].quantile) / 1e3);
	fprintf(to, " %9.3f %9.3f\n", (double)hist->max / 1e3, mean_of(hist) / 1e3);
}

static void print_waves(FILE *to, const struct result *result)
{
	for (unsigned i = 0; i < WAVES_MAX; i++) {
		const struct wave *wave = &result->total->waves[i];

		if (wave->begin_ns == 0)
			continue;
		fprintf(to, "wave %u: %llu dropped, %llu back", i + 1,
			(unsigned long long)wave->dropped, (unsigned long long)wave->recovered);
		if (wave->recovered == wave->dropped && wave->dropped > 0)
			fprintf(to, ", the last after %.3f s",
				(double)(wave->done_ns - wave->begin_ns) / 1e9);
		fputc('\n', to);
	}
}

static unsigned code_of(unsigned close_index)
{
	if (close_index < 400)
		return 4000 + close_index;
	return close_index == 400 ? 1000 : 0;
}

static void print_codes(FILE *to, const char *what, const uint64_t counts[CLOSE_CODES])
{
	for (unsigned i = 0; i < CLOSE_CODES; i++) {
		unsigned code = code_of(i);

		if (counts[i] > 0)
			fprintf(to, "%s with %u %s: %llu\n", what, code,
				code == 0 ? "other" : hf_close_name(code),
				(unsigned long long)counts[i]);
	}
}

/* "failed: 3 refused, 1 timeout": the counters after `sum`, whose names begin with its own. */
static void print_parts(FILE *to, const uint64_t *counters, enum counter sum, enum counter last)
{
	const char *separator = ": ";

	if (counters[sum] == 0)
		return;
	fputs(counter_names[sum], to);
	for (enum counter i = sum + 1; i <= last; i++) {
		if (counters[i] == 0)
			continue;
		fprintf(to, "%s%llu %s", separator, (unsigned long long)counters[i],
			counter_names[i] + strlen(counter_names[sum]) + 1);
		separator = ", ";
	}
	fputc('\n', to);
}

static void print_connections(FILE *to, const struct result *result)
{
	const uint64_t *c = result->total->counters;

	if (c[COUNT_STARTED] == 0)
		return;
	fprintf(to,
		"connections: %llu begun, %llu logged in, %llu failed, %llu cut, %llu reconnected",
		(unsigned long long)c[COUNT_STARTED], (unsigned long long)c[COUNT_LOGINS],
		(unsigned long long)c[COUNT_FAILED], (unsigned long long)c[COUNT_CUT],
		(unsigned long long)c[COUNT_RECONNECTED]);
	if (result->setup_s > 0)
		fprintf(to, ", all there after %.1f s", result->setup_s);
	fputc('\n', to);
	print_parts(to, c, COUNT_FAILED, COUNT_FAILED_LOCAL);
	print_parts(to, c, COUNT_RECONNECTED, COUNT_RECONNECTED_WAVE);
	print_codes(to, "refused", result->total->refused);
	print_codes(to, "closed", result->total->closed);
}

void result_print(FILE *to, const struct result *result)
{
	const uint64_t *c = result->total->counters;
	unsigned command = result->options->command;

	fprintf(to, "hf-bench %s, %.1f s", result->options->command_name, result->seconds);
	if (result->merged > 0)
		fprintf(to, ", of %zu runs", result->merged);
	fputc('\n', to);
	print_connections(to, result);
	print_waves(to, result);
	if (c[COUNT_RX_MESSAGES] > 0 || (command & (COMMAND_RECV | COMMAND_STORM)))
		fprintf(to,
			"messages: %llu received, %llu new, %llu lost, %llu duplicated, %llu "
			"reordered, %llu foreign, %llu acked\n",
			(unsigned long long)c[COUNT_RX_MESSAGES],
			(unsigned long long)c[COUNT_UNIQUE],
			(unsigned long long)result_lost(result),
			(unsigned long long)c[COUNT_DUPLICATED],
			(unsigned long long)c[COUNT_REORDERED],
			(unsigned long long)c[COUNT_FOREIGN], (unsigned long long)c[COUNT_ACKS]);
	if (c[COUNT_UPSTREAM_SENT] > 0)
		fprintf(to,
			"upstream: %llu sent, %llu accepted, %llu refused, %llu answered by a "
			"push, "
			"never sent %llu\n",
			(unsigned long long)c[COUNT_UPSTREAM_SENT],
			(unsigned long long)c[COUNT_UPSTREAM_ACCEPTED],
			(unsigned long long)c[COUNT_UPSTREAM_REFUSED],
			(unsigned long long)c[COUNT_UPSTREAM_ANSWERS],
			(unsigned long long)c[COUNT_DROPPED_ARRIVALS]);
	if (c[COUNT_SENT] > 0)
		fprintf(to,
			"requests: %llu sent with %llu messages, %llu answered, %llu messages "
			"accepted, %.1f/s; 2xx %llu, 429 %llu, 4xx %llu, 5xx %llu, lost %llu, "
			"never "
			"sent %llu\n",
			(unsigned long long)c[COUNT_SENT],
			(unsigned long long)c[COUNT_SENT_MESSAGES],
			(unsigned long long)c[COUNT_ANSWERED],
			(unsigned long long)c[COUNT_ACCEPTED],
			result->seconds > 0 ? (double)c[COUNT_ANSWERED] / result->seconds : 0,
			(unsigned long long)c[COUNT_HTTP_2XX],
			(unsigned long long)c[COUNT_HTTP_429],
			(unsigned long long)c[COUNT_HTTP_4XX],
			(unsigned long long)c[COUNT_HTTP_5XX],
			(unsigned long long)c[COUNT_HTTP_LOST],
			(unsigned long long)c[COUNT_DROPPED_ARRIVALS]);
	if (result->total->refusal[0] != '\0')
		fprintf(to, "first refusal: %s\n", result->total->refusal);
	fprintf(to, "  %-20s %9s %9s %9s %9s %9s %9s %9s\n", "latency, ms", "count", "p50", "p90",
		"p99", "p999", "max", "mean");
	for (int i = 0; i < HISTS; i++)
		print_hist(to, hist_names[i], &result->total->hist[i]);
	fprintf(to, "the tool: %.2f s of CPU\n", (double)result->total->cpu_us / 1e6);
	for (size_t i = 0; i < result->threshold_count; i++)
		fprintf(to, "%s --fail-if %s: %g\n",
			result->thresholds[i].failed ? "FAILED" : "passed",
			result->thresholds[i].text, result->thresholds[i].value);
	for (size_t i = 0; i < result->reason_count; i++)
		fprintf(to, "INVALID RUN: %s\n", result->reasons[i]);
	fflush(to);
}

static json_t *hist_json(const struct hf_histogram *hist)
{
	json_t *json = json_object();

	for (size_t i = 0; i < HF_ARRAY_LEN(quantiles); i++)
		json_object_set_new(json, quantiles[i].name,
				    json_integer((json_int_t)hf_histogram_quantile(
					    hist, quantiles[i].quantile)));
	json_object_set_new(json, "max", json_integer((json_int_t)hist->max));
	json_object_set_new(json, "mean", json_real(mean_of(hist)));
	json_object_set_new(json, "count", json_integer((json_int_t)hist->count));
	return json;
}

static json_t *latency_json(const struct stats *total)
{
	static const struct {
		const char *name;
		enum hist corrected, uncorrected;
	} rows[] = { { "login", HIST_LOGIN, HIST_LOGIN_UNCORRECTED },
		     { "deliver", HIST_DELIVER, HIST_DELIVER_UNCORRECTED },
		     { "request", HIST_REQUEST, HIST_REQUEST_UNCORRECTED },
		     { "upstream", HIST_UPSTREAM, HIST_UPSTREAM_UNCORRECTED },
		     { "connect", HIST_CONNECT, HISTS },
		     { "tls", HIST_TLS, HISTS },
		     { "deliver_storm", HIST_DELIVER_STORM, HISTS },
		     { "deliver_back", HIST_DELIVER_BACK, HISTS },
		     { "lag", HIST_LAG, HISTS } };
	json_t *json = json_object();

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		json_t *corrected;

		if (total->hist[rows[i].corrected].count == 0)
			continue;
		corrected = hist_json(&total->hist[rows[i].corrected]);
		json_object_set_new(
			json, rows[i].name,
			rows[i].uncorrected == HISTS
				? corrected
				: json_pack("{s:o, s:o}", "corrected", corrected, "uncorrected",
					    hist_json(&total->hist[rows[i].uncorrected])));
	}
	return json;
}

static json_t *codes_json(const uint64_t counts[CLOSE_CODES])
{
	json_t *json = json_object();
	char code[16];

	for (unsigned i = 0; i < CLOSE_CODES; i++) {
		snprintf(code, sizeof(code), "%u", code_of(i));
		if (counts[i] > 0)
			json_object_set_new(json, code, json_integer((json_int_t)counts[i]));
	}
	return json;
}

/* As print_parts(). */
static json_t *parts_json(const uint64_t *counters, enum counter sum, enum counter last)
{
	json_t *json = json_object();

	for (enum counter i = sum + 1; i <= last; i++) {
		if (counters[i] > 0)
			json_object_set_new(json, counter_names[i] + strlen(counter_names[sum]) + 1,
					    json_integer((json_int_t)counters[i]));
	}
	return json;
}

static json_t *connections_json(const struct result *result)
{
	const struct stats *total = result->total;
	const uint64_t *c = total->counters;
	json_t *waves = json_array();

	for (unsigned i = 0; i < WAVES_MAX; i++) {
		const struct wave *wave = &total->waves[i];

		if (wave->begin_ns != 0)
			json_array_append_new(
				waves,
				json_pack("{s:I, s:I, s:f}", "dropped", (json_int_t)wave->dropped,
					  "recovered", (json_int_t)wave->recovered, "recovery_s",
					  wave->done_ns > wave->begin_ns
						  ? (double)(wave->done_ns - wave->begin_ns) / 1e9
						  : 0.0));
	}
	return json_pack("{s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:o, s:f, s:o}", "target",
			 (json_int_t)(result->options->command & COMMANDS_CLIENT
					      ? result->options->count
					      : 0),
			 "opened", (json_int_t)c[COUNT_LOGINS], "failed",
			 (json_int_t)c[COUNT_FAILED], "failed_by",
			 parts_json(c, COUNT_FAILED, COUNT_FAILED_LOCAL), "refused",
			 codes_json(total->refused), "cut", (json_int_t)c[COUNT_CUT], "closed",
			 codes_json(total->closed), "reconnected", (json_int_t)c[COUNT_RECONNECTED],
			 "reconnected_by", parts_json(c, COUNT_RECONNECTED, COUNT_RECONNECTED_WAVE),
			 "setup_s", result->setup_s, "waves", waves);
}

static json_t *run_json(const struct result *result)
{
	json_t *arguments = json_array();
	char began[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(result->wall_ms, began);
	for (int i = 0; i < result->options->argc; i++)
		json_array_append_new(arguments, json_string(result->options->argv[i]));
	return json_pack("{s:s, s:o, s:s, s:f, s:I, s:f, s:I}", "command",
			 result->options->command_name, "arguments", arguments, "began_at", began,
			 "seconds", result->seconds, "processes",
			 (json_int_t)result->options->processes, "cpu_s",
			 (double)result->total->cpu_us / 1e6, "merged", (json_int_t)result->merged);
}

json_t *result_json(const struct result *result)
{
	const uint64_t *c = result->total->counters;
	json_t *counters = json_object(), *thresholds = json_array(), *reasons = json_array();

	for (int i = 0; i < COUNTERS; i++)
		json_object_set_new(counters, counter_names[i], json_integer((json_int_t)c[i]));
	for (size_t i = 0; i < result->threshold_count; i++)
		json_array_append_new(thresholds, json_pack("{s:s, s:f, s:b}", "fail_if",
							    result->thresholds[i].text, "value",
							    result->thresholds[i].value, "failed",
							    (int)result->thresholds[i].failed));
	for (size_t i = 0; i < result->reason_count; i++)
		json_array_append_new(reasons, json_string(result->reasons[i]));
	return json_pack(
		"{s:i, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:f}, s:o, s:o, s:o, s:b, s:o}",
		"schema", 1, "run", run_json(result), "connections", connections_json(result),
		"messages", "sent", (json_int_t)c[COUNT_SENT_MESSAGES], "received",
		(json_int_t)c[COUNT_UNIQUE], "lost", (json_int_t)result_lost(result), "duplicated",
		(json_int_t)c[COUNT_DUPLICATED], "reordered", (json_int_t)c[COUNT_REORDERED],
		"rate", result->seconds > 0 ? (double)c[COUNT_RX_MESSAGES] / result->seconds : 0.0,
		"counters", counters, "latency_us", latency_json(result->total), "thresholds",
		thresholds, "valid", result->reason_count == 0, "invalid_reasons", reasons);
}

static FILE *create(const char *folder, const char *name)
{
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return NULL;
	return fopen(path, "we");
}

static bool finish(FILE *file)
{
	bool good = file != NULL && !ferror(file);

	return (file == NULL || fclose(file) == 0) && good;
}

/* The upper edge of a bucket, found through the library's own quantiles: the value that a
 * histogram with this one bucket gives back. */
static uint64_t edge_of(unsigned bucket)
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

/* The percentile table of HdrHistogram, in milliseconds, that its plotters read. */
static bool write_hgrm(const char *folder, const char *name, const struct hf_histogram *hist)
{
	char file_name[64];
	FILE *file;
	uint64_t seen = 0;

	snprintf(file_name, sizeof(file_name), "hist/%s.hgrm", name);
	file = create(folder, file_name);
	if (file == NULL)
		return false;
	fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
		"1/(1-Percentile)");
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS && seen < hist->count; i++) {
		double share;

		if (hist->buckets[i] == 0)
			continue;
		seen += hist->buckets[i];
		share = (double)seen / (double)hist->count;
		fprintf(file, "%12.3f %14.12f %10llu ", (double)edge_of(i) / 1e3, share,
			(unsigned long long)seen);
		if (seen < hist->count)
			fprintf(file, "%14.2f\n", 1 / (1 - share));
		else
			fprintf(file, "%14s\n", "inf");
	}
	fprintf(file, "#[Mean    = %12.3f]\n#[Max     = %12.3f, Total count    = %12llu]\n",
		mean_of(hist) / 1e3, (double)hist->max / 1e3, (unsigned long long)hist->count);
	return finish(file);
}

/* For merge: the counters as they are. */
static bool write_buckets(const char *folder, const char *name, const struct hf_histogram *hist)
{
	char file_name[64];
	FILE *file;

	snprintf(file_name, sizeof(file_name), "hist/%s.buckets", name);
	file = create(folder, file_name);
	if (file == NULL)
		return false;
	fprintf(file, "# bucket count; first line: count sum max, microseconds\n%llu %llu %llu\n",
		(unsigned long long)hist->count, (unsigned long long)hist->sum,
		(unsigned long long)hist->max);
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
		if (hist->buckets[i] > 0)
			fprintf(file, "%u %llu\n", i, (unsigned long long)hist->buckets[i]);
	}
	return finish(file);
}

bool hist_read(const char *folder, enum hist hist, struct hf_histogram *into)
{
	char path[4096];
	unsigned long long count, sum, max;
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
	good = fscanf(file, "#%*[^\n]\n%llu %llu %llu", &count, &sum, &max) == 3;
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
	return good && into->count > 0;
}

static bool write_rows(const struct result *result, const char *folder)
{
	FILE *file = create(folder, "timeseries.csv");

	if (file == NULL)
		return false;
	fputs("t,open,opening,failed,closed,rx_msgs,rx_bytes,requests,dropped_arrivals,p50_us,p90_"
	      "us,p99_us,p999_us,max_us,cpu_percent,lag_ms,rss_kib\n",
	      file);
	for (size_t i = 0; i < result->row_count; i++) {
		const struct row *row = &result->rows[i];

		fprintf(file,
			"%.3f,%lld,%lld,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%."
			"1f,"
			"%.2f,%llu\n",
			row->t, (long long)row->open, (long long)row->opening,
			(unsigned long long)row->failed, (unsigned long long)row->closed,
			(unsigned long long)row->rx_messages, (unsigned long long)row->rx_bytes,
			(unsigned long long)row->requests,
			(unsigned long long)row->dropped_arrivals, (unsigned long long)row->p50,
			(unsigned long long)row->p90, (unsigned long long)row->p99,
			(unsigned long long)row->p999, (unsigned long long)row->max,
			row->cpu_percent, row->lag_ms, (unsigned long long)row->rss_kib);
	}
	return finish(file);
}

static void set_file_line(json_t *json, const char *name, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (file == NULL)
		return;
	if (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		json_object_set_new(json, name, json_string(line));
	}
	fclose(file);
}

static void set_processor(json_t *json)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[512];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		json_object_set_new(json, "cpu", json_string(colon + 1 + (colon[1] == ' ')));
		break;
	}
	if (file != NULL)
		fclose(file);
}

static bool write_environment(const struct result *result, const char *folder)
{
	json_t *json = json_object();
	struct utsname name;
	struct rlimit limit;
	FILE *file = create(folder, "env.json");
	bool good = file != NULL;

	if (uname(&name) == 0)
		json_object_set_new(json, "kernel",
				    json_sprintf("%s %s %s", name.sysname, name.release,
						 name.machine));
	set_processor(json);
	json_object_set_new(json, "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		json_object_set_new(json, "descriptors", json_integer((json_int_t)limit.rlim_cur));
	set_file_line(json, "tcp_congestion_control", "/proc/sys/net/ipv4/tcp_congestion_control");
	set_file_line(json, "ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range");
	set_file_line(json, "somaxconn", "/proc/sys/net/core/somaxconn");
	set_file_line(json, "tcp_mem", "/proc/sys/net/ipv4/tcp_mem");
	set_file_line(json, "load_average_at_end", "/proc/loadavg");
	json_object_set_new(json, "version", json_string(HOLDFAST_VERSION));
	json_object_set_new(json, "run", run_json(result));
	good = good && json_dumpf(json, file, JSON_INDENT(2)) == 0;
	json_decref(json);
	return finish(file) && good;
}

static bool write_report(const char *folder)
{
	FILE *file = create(folder, "report.html");

	return file != NULL && report_html(file, folder) == 0 && finish(file);
}

int result_write(const struct result *result, const char *folder)
{
	char hists[4096];
	json_t *json = result_json(result);
	FILE *file;
	bool good;

	snprintf(hists, sizeof(hists), "%s/hist", folder);
	if ((mkdir(folder, 0777) < 0 && errno != EEXIST) ||
	    (mkdir(hists, 0777) < 0 && errno != EEXIST)) {
		json_decref(json);
		return -errno;
	}
	file = create(folder, "summary.json");
	good = file != NULL && json_dumpf(json, file, JSON_INDENT(2)) == 0;
	good = finish(file) && good;
	json_decref(json);
	file = create(folder, "summary.txt");
	if (file != NULL)
		result_print(file, result);
	good = finish(file) && good;
	for (int i = 0; i < HISTS; i++) {
		const struct hf_histogram *hist = &result->total->hist[i];

		if (hist->count > 0)
			good = write_hgrm(folder, hist_names[i], hist) &&
			       write_buckets(folder, hist_names[i], hist) && good;
	}
	good = write_rows(result, folder) && good;
	good = write_environment(result, folder) && good;
	return write_report(folder) && good ? 0 : -EIO;
}
