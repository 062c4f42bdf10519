#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hf_wire.h"

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

FILE *output_create(const char *folder, const char *name)
{
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return NULL;
	return fopen(path, "we");
}

bool output_finish(FILE *file)
{
	bool good = file != NULL && !ferror(file);

	return (file == NULL || fclose(file) == 0) && good;
}

static void print_hist(FILE *to, const char *name, const struct hf_histogram *hist)
{
	if (hist->count == 0)
		return;
	fprintf(to, "  %-20s %9llu", name, (unsigned long long)hist->count);
	for (size_t i = 0; i < 4; i++)
		fprintf(to, " %9.3f",
			(double)hist_quantile(hist, hist_quantiles[i].quantile) / 1e3);
	fprintf(to, " %9.3f %9.3f %9.3f\n", (double)hist->max / 1e3, hist_mean(hist) / 1e3,
		hist_stddev(hist) / 1e3);
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

static void print_codes(FILE *to, const char *what, const uint64_t counts[CLOSE_CODES])
{
	for (unsigned i = 0; i < CLOSE_CODES; i++) {
		unsigned code = close_code(i);

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
	print_parts(to, c, COUNT_RECONNECTED, COUNT_RECONNECTED_CHURN);
	print_codes(to, "refused", result->total->refused);
	print_codes(to, "closed", result->total->closed);
}

/* Whose clocks were compared how, and what the work cost. */
static void print_machines(FILE *to, const struct result *result)
{
	const uint64_t *c = result->total->counters;
	uint64_t messages = HF_MAX(c[COUNT_RX_MESSAGES], c[COUNT_ACCEPTED]);

	if (result->one_way_unknown)
		fprintf(to, "deliver is left out: senders and receivers were on different machines "
			    "whose clocks were not compared (--clock, or push --wait acked)\n");
	else if (result->clock.source != NULL && result->merged > 0)
		fprintf(to, "deliver compares clocks measured against %s: it is within %.3f ms\n",
			result->clock.source, result->clock.error_ms);
	else if (result->clock.source != NULL)
		fprintf(to, "clock: %s is %.3f ms %s this machine, within %.3f ms\n",
			result->clock.source, fabs(result->clock.offset_ms),
			result->clock.offset_ms < 0 ? "behind" : "ahead of",
			result->clock.error_ms);
	/* A few are no wonder: clocks are read once a turn. */
	if (c[COUNT_CLOCK_NEGATIVE] * 100 > c[COUNT_UNIQUE])
		fprintf(to,
			"%llu messages came before they were sent: the clocks of sender and "
			"receiver "
			"differ%s\n",
			(unsigned long long)c[COUNT_CLOCK_NEGATIVE],
			result->clock.source == NULL ? " (--clock)" : "");
	if (result->server_cpu_s >= 0) {
		fprintf(to, "the servers: %.2f s of CPU", result->server_cpu_s);
		if (messages > 0)
			fprintf(to, ", %.1f us a message",
				result->server_cpu_s * 1e6 / (double)messages);
		if (result->server_memory_b >= 0)
			fprintf(to, ", %.0f B of memory a connection", result->server_memory_b);
		fputc('\n', to);
	}
	fprintf(to, "the tool: %.2f s of CPU\n", (double)result->total->cpu_us / 1e6);
}

/* A color on a terminal that may have them, else nothing. */
static const char *paint(FILE *to, const struct result *result, const char *code)
{
	return isatty(fileno(to)) && !result->options->no_color && getenv("NO_COLOR") == NULL ? code
											      : "";
}

static void print_verdict(FILE *to, const struct result *result)
{
	const char *red = paint(to, result, "\033[1;31m"), *green = paint(to, result, "\033[32m");
	const char *off = paint(to, result, "\033[0m");

	for (size_t i = 0; i < result->threshold_count; i++) {
		const struct threshold *threshold = &result->thresholds[i];

		fprintf(to, "%s%s%s --fail-if %s: %g%s\n", threshold->failed ? red : green,
			threshold->failed ? "FAILED" : "passed", off, threshold->text,
			threshold->is_latency ? threshold->value / 1e3 : threshold->value,
			threshold->is_empty     ? " ms, as nobody measured it"
			: threshold->is_latency ? " ms"
						: "");
	}
	for (size_t i = 0; i < result->reason_count; i++)
		fprintf(to, "%sINVALID RUN%s: %s\n", red, off, result->reasons[i]);
}

void result_print(FILE *to, const struct result *result)
{
	const uint64_t *c = result->total->counters;
	unsigned command = result->options->command;
	double load_s = result->merged > 0 ? result->load_s : result->seconds;

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
			load_s > 0 ? (double)c[COUNT_ANSWERED] / load_s : 0,
			(unsigned long long)c[COUNT_HTTP_2XX],
			(unsigned long long)c[COUNT_HTTP_429],
			(unsigned long long)c[COUNT_HTTP_4XX],
			(unsigned long long)c[COUNT_HTTP_5XX],
			(unsigned long long)c[COUNT_HTTP_LOST],
			(unsigned long long)c[COUNT_DROPPED_ARRIVALS]);
	if (result->total->refusal[0] != '\0')
		fprintf(to, "first refusal: %s\n", result->total->refusal);
	fprintf(to, "  %-20s %9s %9s %9s %9s %9s %9s %9s %9s\n", "latency, ms", "count", "p50",
		"p90", "p99", "p999", "max", "mean", "stddev");
	for (int i = 0; i < HISTS; i++)
		print_hist(to, hist_names[i], &result->total->hist[i]);
	print_machines(to, result);
	print_verdict(to, result);
	fflush(to);
}

static bool write_report(const char *folder)
{
	FILE *file = output_create(folder, "report.html");

	return file != NULL && report_html(file, folder) == 0 && output_finish(file);
}

int output_folders(const char *folder)
{
	char hists[4096];

	if (snprintf(hists, sizeof(hists), "%s/hist", folder) >= (int)sizeof(hists))
		return -ENAMETOOLONG;
	if ((mkdir(folder, 0777) < 0 && errno != EEXIST) ||
	    (mkdir(hists, 0777) < 0 && errno != EEXIST) || access(folder, W_OK) < 0 ||
	    access(hists, W_OK) < 0)
		return -errno;
	return 0;
}

int result_write(const struct result *result, const char *folder)
{
	json_t *json = result_json(result);
	FILE *file;
	bool good;
	int err = output_folders(folder);

	if (err < 0) {
		json_decref(json);
		return err;
	}
	file = output_create(folder, "summary.json");
	good = file != NULL && json_dumpf(json, file, JSON_INDENT(2)) == 0;
	good = output_finish(file) && good;
	json_decref(json);
	file = output_create(folder, "summary.txt");
	if (file != NULL)
		result_print(file, result);
	good = output_finish(file) && good;
	for (int i = 0; i < HISTS; i++) {
		const struct hf_histogram *hist = &result->total->hist[i];

		if (hist->count > 0)
			good = hist_write_hgrm(folder, hist_names[i], hist) &&
			       hist_write_buckets(folder, hist_names[i], hist) && good;
	}
	good = rows_write(result, folder) && good;
	good = environment_write(result, folder) && good;
	return write_report(folder) && good ? 0 : -EIO;
}
