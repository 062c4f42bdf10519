/* The seconds of several runs as those of one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "table.h"

static struct row *row_of(struct result *result, size_t second)
{
	if (second >= result->row_capacity) {
		size_t capacity = HF_MAX(second + 1, 2 * result->row_capacity + 64);
		struct row *grown = reallocarray(result->rows, capacity, sizeof(*grown));

		if (grown == NULL)
			return NULL;
		memset(grown + result->row_capacity, 0,
		       (capacity - result->row_capacity) * sizeof(*grown));
		result->rows = grown;
		result->row_capacity = capacity;
	}
	for (; result->row_count <= second; result->row_count++)
		result->rows[result->row_count].t = (double)result->row_count + 1;
	return &result->rows[second];
}

static uint64_t value_at(const struct table *table, const char *name, size_t row)
{
	double value = table_at(table, name, row);

	return value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

static void enlarge(uint64_t *value, uint64_t other)
{
	*value = HF_MAX(*value, other);
}

static void add(struct row *into, const struct table *from, size_t k, bool with_latency)
{
	into->open += (int64_t)value_at(from, "open", k);
	into->opening += (int64_t)value_at(from, "opening", k);
	into->failed += value_at(from, "failed", k);
	into->closed += value_at(from, "closed", k);
	into->cut += value_at(from, "cut", k);
	into->reconnected += value_at(from, "reconnected", k);
	into->rx_messages += value_at(from, "rx_msgs", k);
	into->rx_bytes += value_at(from, "rx_bytes", k);
	into->requests += value_at(from, "requests", k);
	into->accepted += value_at(from, "accepted", k);
	into->missing += value_at(from, "missing", k);
	into->duplicated += value_at(from, "duplicated", k);
	into->dropped_arrivals += value_at(from, "dropped_arrivals", k);
	into->rss_kib += value_at(from, "rss_kib", k);
	into->cpu_percent += table_at(from, "cpu_percent", k);
	into->lag_ms = HF_MAX(into->lag_ms, table_at(from, "lag_ms", k));
	if (!with_latency)
		return;
	enlarge(&into->p50, value_at(from, "p50_us", k));
	enlarge(&into->p90, value_at(from, "p90_us", k));
	enlarge(&into->p99, value_at(from, "p99_us", k));
	enlarge(&into->p999, value_at(from, "p999_us", k));
	enlarge(&into->max, value_at(from, "max_us", k));
	enlarge(&into->p99_uncorrected, value_at(from, "p99_uncorrected_us", k));
}

void merge_rows(struct result *result, const char *folder, double after_s, bool with_latency)
{
	struct table table = { 0 };
	const double *t;
	size_t k = 0;

	table_read(&table, folder);
	t = table_column(&table, "t");
	if (t == NULL || table.rows == 0 || after_s > ROWS_MAX || t[table.rows - 1] > ROWS_MAX) {
		table_free(&table);
		return;
	}
	/* A row tells of the time since the one before it: the first that is not before the end of
	 * a second has most of that second. */
	for (size_t second = (size_t)after_s; k < table.rows && second < 2 * ROWS_MAX; second++) {
		struct row *row;

		while (k < table.rows && t[k] + after_s < (double)second + 0.5)
			k++;
		row = k < table.rows ? row_of(result, second) : NULL;
		if (row != NULL)
			add(row, &table, k, with_latency);
	}
	table_free(&table);
}
