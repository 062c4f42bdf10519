/* One --interval of a run: the line that is printed, and its row in timeseries.csv. */
#include <time.h>

#include "output.h"

static void take_code(struct result *result, struct row *row, struct row_code code, uint64_t count)
{
	size_t i = 0;

	while (i < result->code_count &&
	       (result->codes[i].refused != code.refused || result->codes[i].index != code.index))
		i++;
	if (i == ROW_CODES)
		return; /* summary.json has them all */
	if (i == result->code_count)
		result->codes[result->code_count++] = code;
	row->codes[i] = count;
}

/* A code has a column from when it was first seen: few runs see more than one or two. */
void row_take_codes(struct result *result, struct row *row)
{
	for (unsigned i = 0; i < CLOSE_CODES; i++) {
		if (result->total->refused[i] > 0)
			take_code(result, row, (struct row_code){ true, i },
				  result->total->refused[i]);
		if (result->total->closed[i] > 0)
			take_code(result, row, (struct row_code){ false, i },
				  result->total->closed[i]);
	}
}

/* "35.2k" */
static void print_rate(FILE *to, const char *name, uint64_t rate)
{
	if (rate < 10000)
		fprintf(to, "%s=%llu/s ", name, (unsigned long long)rate);
	else
		fprintf(to, "%s=%.1fk/s ", name, (double)rate / 1e3);
}

static void print_if_any(FILE *to, const char *name, uint64_t count)
{
	if (count > 0)
		fprintf(to, "%s=%llu ", name, (unsigned long long)count);
}

void row_print(FILE *to, const struct row *row, const struct options *options)
{
	time_t now = time(NULL);
	struct tm tm;
	char clock[16] = "";

	if (localtime_r(&now, &tm) != NULL)
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(to, "%s ", clock);
	if (options->command & COMMANDS_CLIENT) {
		fprintf(to, "open=%lld (%+.0f/s) ", (long long)row->open, row->open_change);
		print_if_any(to, "opening", (uint64_t)HF_MAX(row->opening, (int64_t)0));
		fprintf(to, "fail=%llu ", (unsigned long long)row->failed);
		print_if_any(to, "closed", row->closed);
		print_if_any(to, "back", row->reconnected);
		print_rate(to, "rx", row->rx_messages);
	} else {
		print_rate(to, "answers", row->requests);
	}
	fprintf(to, "drop=%llu %s ", (unsigned long long)row->dropped_arrivals,
		hist_names[main_hist(options->command)]);
	if (row->max > 0)
		fprintf(to, "p50=%.1fms p99=%.1fms max=%.1fms", (double)row->p50 / 1e3,
			(double)row->p99 / 1e3, (double)row->max / 1e3);
	else
		fputs("none", to);
	fprintf(to, " cpu=%.0f%% lag=%.1fms\n", row->cpu_percent, row->lag_ms);
}

static void write_row(FILE *file, const struct result *result, const struct row *row)
{
	const uint64_t first[] = { row->failed,   row->closed,   row->rx_messages,
				   row->rx_bytes, row->requests, row->dropped_arrivals,
				   row->p50,      row->p90,      row->p99,
				   row->p999,     row->max };
	const uint64_t then[] = { row->rss_kib,    row->p99_uncorrected, row->accepted,
				  row->missing,    row->duplicated,      row->cut,
				  row->reconnected };

	fprintf(file, "%.3f,%lld,%lld", row->t, (long long)row->open, (long long)row->opening);
	for (size_t i = 0; i < HF_ARRAY_LEN(first); i++)
		fprintf(file, ",%llu", (unsigned long long)first[i]);
	fprintf(file, ",%.1f,%.2f", row->cpu_percent, row->lag_ms);
	for (size_t i = 0; i < HF_ARRAY_LEN(then); i++)
		fprintf(file, ",%llu", (unsigned long long)then[i]);
	for (size_t i = 0; i < result->code_count; i++)
		fprintf(file, ",%llu", (unsigned long long)row->codes[i]);
	fputc('\n', file);
}

bool rows_write(const struct result *result, const char *folder)
{
	FILE *file = output_create(folder, "timeseries.csv");

	if (file == NULL)
		return false;
	fputs("t,open,opening,failed,closed,rx_msgs,rx_bytes,requests,dropped_arrivals,p50_us,p90_"
	      "us,p99_us,p999_us,max_us,cpu_percent,lag_ms,rss_kib,p99_uncorrected_us,accepted,"
	      "missing,duplicated,cut,reconnected",
	      file);
	for (size_t i = 0; i < result->code_count; i++)
		fprintf(file, ",%s_%u", result->codes[i].refused ? "refused" : "closed",
			close_code(result->codes[i].index));
	fputc('\n', file);
	for (size_t i = 0; i < result->row_count; i++)
		write_row(file, result, &result->rows[i]);
	return output_finish(file);
}
