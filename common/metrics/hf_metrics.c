/* common/metrics/hf_metrics.c - see hf_metrics.h. A family is what Prometheus calls a metric: one
 * name, one type, one help text, and a cell for each set of labels. Look-ups by name happen at
 * start and when a peer joins, never while counting, so plain lists do. */
#include "hf_metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_GAUGE_FN, KIND_COUNTER_FN, KIND_HISTOGRAM };

struct cell {
	struct cell *next;
	char *labels; /* "" for none */
	union {
		uint64_t counter;
		int64_t gauge;
		struct {
			hf_metrics_read read;
			void *ctx;
		} fn;
		struct hf_histogram *histogram;
	};
};

struct family {
	struct family *next;
	char *name, *help;
	enum kind kind;
	uint64_t unit_per_second; /* histograms */
	struct cell *cells, **cells_tail;
};

struct hf_metrics {
	struct family *families, **families_tail;
};

/* Upper edges of the shown histogram buckets, in seconds. */
static const double edges[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
				0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60 };

/* Metrics are made at start and by the few who join later: a process that can't have 100 bytes then
 * is better dead than blind. */
static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct hf_metrics *hf_metrics_new(void)
{
	struct hf_metrics *metrics = calloc(1, sizeof(*metrics));

	if (metrics != NULL)
		metrics->families_tail = &metrics->families;
	return metrics;
}

static void family_free(struct family *family)
{
	while (family->cells != NULL) {
		struct cell *cell = family->cells;

		family->cells = cell->next;
		if (family->kind == KIND_HISTOGRAM)
			free(cell->histogram);
		free(cell->labels);
		free(cell);
	}
	free(family->name);
	free(family->help);
	free(family);
}

void hf_metrics_free(struct hf_metrics *metrics)
{
	if (metrics == NULL)
		return;
	while (metrics->families != NULL) {
		struct family *family = metrics->families;

		metrics->families = family->next;
		family_free(family);
	}
	free(metrics);
}

static struct family *get_family(struct hf_metrics *metrics, const char *name, const char *help,
				 enum kind kind)
{
	struct family *family;

	for (family = metrics->families; family != NULL; family = family->next) {
		if (strcmp(family->name, name) == 0) {
			assert(family->kind == kind);
			return family;
		}
	}
	family = must(calloc(1, sizeof(*family)));
	family->name = must(strdup(name));
	family->help = must(strdup(help));
	family->kind = kind;
	family->cells_tail = &family->cells;
	*metrics->families_tail = family;
	metrics->families_tail = &family->next;
	return family;
}

static struct cell *get_cell(struct family *family, const char *labels)
{
	struct cell *cell;

	if (labels == NULL)
		labels = "";
	for (cell = family->cells; cell != NULL; cell = cell->next) {
		if (strcmp(cell->labels, labels) == 0)
			return cell;
	}
	cell = must(calloc(1, sizeof(*cell)));
	cell->labels = must(strdup(labels));
	if (family->kind == KIND_HISTOGRAM)
		cell->histogram = must(calloc(1, sizeof(*cell->histogram)));
	*family->cells_tail = cell;
	family->cells_tail = &cell->next;
	return cell;
}

uint64_t *hf_metrics_counter(struct hf_metrics *metrics, const char *name, const char *labels,
			     const char *help)
{
	return &get_cell(get_family(metrics, name, help, KIND_COUNTER), labels)->counter;
}

int64_t *hf_metrics_gauge(struct hf_metrics *metrics, const char *name, const char *labels,
			  const char *help)
{
	return &get_cell(get_family(metrics, name, help, KIND_GAUGE), labels)->gauge;
}

void hf_metrics_gauge_fn(struct hf_metrics *metrics, const char *name, const char *labels,
			 const char *help, hf_metrics_read read, void *ctx)
{
	struct cell *cell = get_cell(get_family(metrics, name, help, KIND_GAUGE_FN), labels);

	cell->fn.read = read;
	cell->fn.ctx = ctx;
}

void hf_metrics_counter_fn(struct hf_metrics *metrics, const char *name, const char *labels,
			   const char *help, hf_metrics_read read, void *ctx)
{
	struct cell *cell = get_cell(get_family(metrics, name, help, KIND_COUNTER_FN), labels);

	cell->fn.read = read;
	cell->fn.ctx = ctx;
}

struct hf_histogram *hf_metrics_histogram(struct hf_metrics *metrics, const char *name,
					  const char *labels, const char *help,
					  uint64_t unit_per_second)
{
	struct family *family = get_family(metrics, name, help, KIND_HISTOGRAM);

	assert(unit_per_second > 0);
	assert(family->unit_per_second == 0 || family->unit_per_second == unit_per_second);
	family->unit_per_second = unit_per_second;
	return get_cell(family, labels)->histogram;
}

static int write_double(struct hf_buffer *out, double value)
{
	if (isnan(value))
		return hf_buffer_printf(out, "NaN\n");
	if (isinf(value))
		return hf_buffer_printf(out, value > 0 ? "+Inf\n" : "-Inf\n");
	return hf_buffer_printf(out, "%.15g\n", value);
}

/* The format wants backslash and line feed of a help text escaped, and nothing else. */
static int write_help(struct hf_buffer *out, const struct family *family)
{
	int err = hf_buffer_printf(out, "# HELP %s ", family->name);

	for (const char *p = family->help; *p != '\0' && err == 0; p++) {
		if (*p == '\\')
			err = hf_buffer_append(out, "\\\\", 2);
		else if (*p == '\n')
			err = hf_buffer_append(out, "\\n", 2);
		else
			err = hf_buffer_append(out, p, 1);
	}
	return err ? err : hf_buffer_append(out, "\n", 1);
}

/* "name_suffix{labels} " */
static int write_name(struct hf_buffer *out, const struct family *family, const char *suffix,
		      const char *labels)
{
	if (labels[0] == '\0')
		return hf_buffer_printf(out, "%s%s ", family->name, suffix);
	return hf_buffer_printf(out, "%s%s{%s} ", family->name, suffix, labels);
}

static int write_histogram(struct hf_buffer *out, const struct family *family,
			   const struct cell *cell)
{
	const struct hf_histogram *histogram = cell->histogram;
	double unit = (double)family->unit_per_second;
	const char *comma = cell->labels[0] != '\0' ? "," : "";
	int err = 0;

	for (size_t i = 0; i < HF_ARRAY_LEN(edges) && err == 0; i++) {
		uint64_t edge = (uint64_t)(edges[i] * unit);

		err = hf_buffer_printf(out, "%s_bucket{%s%sle=\"%.15g\"} %" PRIu64 "\n",
				       family->name, cell->labels, comma, edges[i],
				       hf_histogram_count_at_or_below(histogram, edge));
	}
	if (err == 0)
		err = hf_buffer_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n",
				       family->name, cell->labels, comma, histogram->count);
	if (err == 0)
		err = write_name(out, family, "_sum", cell->labels);
	if (err == 0)
		err = write_double(out, (double)histogram->sum / unit);
	if (err == 0)
		err = write_name(out, family, "_count", cell->labels);
	return err ? err : hf_buffer_printf(out, "%" PRIu64 "\n", histogram->count);
}

static int write_cell(struct hf_buffer *out, const struct family *family, const struct cell *cell)
{
	int err;

	if (family->kind == KIND_HISTOGRAM)
		return write_histogram(out, family, cell);
	err = write_name(out, family, "", cell->labels);
	if (err < 0)
		return err;
	if (family->kind == KIND_COUNTER)
		return hf_buffer_printf(out, "%" PRIu64 "\n", cell->counter);
	if (family->kind == KIND_GAUGE)
		return hf_buffer_printf(out, "%" PRId64 "\n", cell->gauge);
	return write_double(out, cell->fn.read(cell->fn.ctx));
}

int hf_metrics_write(const struct hf_metrics *metrics, struct hf_buffer *out)
{
	static const char *const types[] = {
		[KIND_COUNTER] = "counter",     [KIND_GAUGE] = "gauge",
		[KIND_GAUGE_FN] = "gauge",      [KIND_COUNTER_FN] = "counter",
		[KIND_HISTOGRAM] = "histogram",
	};

	for (const struct family *family = metrics->families; family != NULL;
	     family = family->next) {
		int err = write_help(out, family);

		if (err == 0)
			err = hf_buffer_printf(out, "# TYPE %s %s\n", family->name,
					       types[family->kind]);
		for (const struct cell *cell = family->cells; cell != NULL && err == 0;
		     cell = cell->next)
			err = write_cell(out, family, cell);
		if (err < 0)
			return err;
	}
	return 0;
}
