/* The charts of report.html: what happened second by second, and how latencies are spread. */
#include <math.h>
#include <stdlib.h>

#include "report.h"
#include "svg.h"
#include "table.h"

#define BINS_A_DECADE 12
#define BINS          (BINS_A_DECADE * 13) /* up to 2^40 us */
#define QUANTILES     101
#define FAMILY        5 /* latencies that are shown in one chart, at most */

struct charts {
	FILE *to;
	struct table table;
	const double *t;
	double marks[WAVES_MAX];
	size_t mark_count;
};

struct line {
	const char *column, *label;
	bool dashed, area;
};

/* Columns over time; those that the file lacks, and charts in which all is 0, are left out. */
static void draw_lines(struct charts *charts, const char *title, const char *note,
		       const struct line *lines, size_t line_count, bool latency)
{
	struct svg_series series[SVG_SERIES_MAX];
	size_t count = 0;
	bool any = false;

	for (size_t i = 0; i < line_count; i++) {
		const double *values = table_column(&charts->table, lines[i].column);
		bool here = false;

		for (size_t k = 0; values != NULL && k < charts->table.rows; k++)
			here = here || values[k] > 0;
		if (here)
			series[count++] = (struct svg_series){ .name = lines[i].label,
							       .x = charts->t,
							       .y = values,
							       .count = charts->table.rows,
							       .dashed = lines[i].dashed,
							       .area = lines[i].area };
		any = any || here;
	}
	if (!any)
		return;
	svg_draw(charts->to,
		 &(struct svg_chart){ .title = title,
				      .note = note,
				      .x = { .title = "since the start", .text = svg_text_clock },
				      .y = { .text = latency ? svg_text_us : NULL, .log = latency },
				      .series = series,
				      .series_count = count,
				      .marks = charts->marks,
				      .mark_count = charts->mark_count,
				      .strips = true });
}
#define DRAW(charts, title, note, latency, ...)                               \
	draw_lines(charts, title, note, (const struct line[]){ __VA_ARGS__ }, \
		   sizeof((const struct line[]){ __VA_ARGS__ }) / sizeof(struct line), latency)

static void draw_latency_over_time(struct charts *charts, json_t *summary)
{
	const char *name = report_main(summary);
	char title[64];

	if (name == NULL)
		return;
	snprintf(title, sizeof(title), "%s latency, second by second", name);
	DRAW(charts, title,
	     "Dashed: p99 from when a message really left. Where it parts from p99, the sender was "
	     "held up.",
	     true, { "p99_us", "p99", false, false }, { "p50_us", "p50", false, false },
	     { "max_us", "max", false, false },
	     { "p99_uncorrected_us", "p99 uncorrected", true, false });
}

/* ---- how a latency is spread ---- */

/* x is -log10(1 - quantile): 1 is 90 %, 2 is 99 %, and so on. */
static void text_of_nines(double x, char *ret, size_t size)
{
	snprintf(ret, size, "%.*f %%", x > 2 ? (int)ceil(x - 2) : 0, 100 * (1 - pow(10, -x)));
}

struct family {
	const char *title;
	enum hist hists[FAMILY];
	size_t count;
};

static const struct family families[] = {
	{ "deliver",
	  { HIST_DELIVER, HIST_DELIVER_UNCORRECTED, HIST_DELIVER_STORM, HIST_DELIVER_BACK,
	    HIST_DELIVER_SLOW },
	  5 },
	{ "request and ack",
	  { HIST_REQUEST, HIST_REQUEST_UNCORRECTED, HIST_ACK, HIST_ACK_UNCORRECTED },
	  4 },
	{ "upstream", { HIST_UPSTREAM, HIST_UPSTREAM_UNCORRECTED }, 2 },
	{ "login", { HIST_LOGIN, HIST_LOGIN_UNCORRECTED, HIST_CONNECT, HIST_TLS, HIST_AUTH }, 5 },
};

/* "deliver uncorrected" */
static const char *label_of(enum hist hist)
{
	static char labels[HISTS][32];

	snprintf(labels[hist], sizeof(labels[hist]), "%s", hist_names[hist]);
	for (char *at = labels[hist]; *at != '\0'; at++)
		*at = *at == '_' ? ' ' : *at;
	return labels[hist];
}

static bool is_uncorrected(enum hist hist)
{
	return strstr(hist_names[hist], "_uncorrected") != NULL;
}

static void draw_percentiles(FILE *to, const struct family *family,
			     const struct hf_histogram *hists[FAMILY])
{
	static double x[FAMILY][QUANTILES], y[FAMILY][QUANTILES];
	struct svg_series series[FAMILY];
	size_t count = 0;
	char title[64];

	for (size_t i = 0; i < family->count; i++) {
		size_t points = 0;

		for (unsigned k = 1; hists[i] != NULL && k <= QUANTILES; k++) {
			double nines = (double)k / 20;

			/* Beyond this there is less than one measurement. */
			if (k > 1 && (double)hists[i]->count * pow(10, -nines) < 1)
				break;
			x[i][points] = nines;
			y[i][points++] =
				fmax((double)hist_quantile(hists[i], 1 - pow(10, -nines)), 1);
		}
		if (points > 0)
			series[count++] =
				(struct svg_series){ .name = label_of(family->hists[i]),
						     .x = x[i],
						     .y = y[i],
						     .count = points,
						     .dashed = is_uncorrected(family->hists[i]) };
	}
	snprintf(title, sizeof(title), "%s by percentile", family->title);
	svg_draw(to, &(struct svg_chart){
			     .title = title,
			     .x = { .title = "percentile", .text = text_of_nines, .step = 1 },
			     .y = { .text = svg_text_us, .log = true },
			     .series = series,
			     .series_count = count });
}

struct spread {
	double x[2 * BINS], y[2 * BINS];
	size_t points;
};

/* As stairs: the number of values in each of a decade's twelve parts. */
static void spread_make(const struct hf_histogram *hist, struct spread *ret)
{
	double bins[BINS] = { 0 };
	int first = BINS, last = -1;

	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
		double value = fmax((double)hist_edge(i), 1);
		int bin = HF_MIN((int)(log10(value) * BINS_A_DECADE), BINS - 1);

		if (hist->buckets[i] == 0)
			continue;
		bins[bin] += (double)hist->buckets[i];
		first = HF_MIN(first, bin);
		last = HF_MAX(last, bin);
	}
	ret->points = 0;
	for (int bin = first; bin <= last; bin++) {
		for (int end = 0; end < 2; end++) {
			ret->x[ret->points] = pow(10, (double)(bin + end) / BINS_A_DECADE);
			ret->y[ret->points++] = fmax(bins[bin], 0.5);
		}
	}
}

static void draw_spread(FILE *to, const struct family *family,
			const struct hf_histogram *hists[FAMILY])
{
	static struct spread spreads[FAMILY];
	struct svg_series series[FAMILY];
	size_t count = 0;
	char title[64];

	for (size_t i = 0; i < family->count; i++) {
		if (hists[i] == NULL)
			continue;
		spread_make(hists[i], &spreads[i]);
		series[count++] = (struct svg_series){ .name = label_of(family->hists[i]),
						       .x = spreads[i].x,
						       .y = spreads[i].y,
						       .count = spreads[i].points,
						       .dashed = is_uncorrected(family->hists[i]),
						       .area = !is_uncorrected(family->hists[i]) };
	}
	snprintf(title, sizeof(title), "%s, how many took how long", family->title);
	svg_draw(to,
		 &(struct svg_chart){ .title = title,
				      .note = "Both axes are logarithmic: a single straggler "
					      "shows.",
				      .x = { .title = "latency", .text = svg_text_us, .log = true },
				      .y = { .log = true, .low = 0.5 },
				      .series = series,
				      .series_count = count });
}

static void draw_family(FILE *to, const char *folder, const struct family *family)
{
	const struct hf_histogram *found[FAMILY] = { NULL };
	struct hf_histogram *hists = calloc(FAMILY, sizeof(*hists));
	bool any = false;

	for (size_t i = 0; hists != NULL && i < family->count; i++) {
		if (!hist_read(folder, family->hists[i], &hists[i]))
			continue;
		found[i] = &hists[i];
		any = true;
	}
	if (any) {
		draw_percentiles(to, family, found);
		draw_spread(to, family, found);
	}
	free(hists);
}

static void read_marks(struct charts *charts, json_t *summary)
{
	json_t *waves = json_object_get(json_object_get(summary, "connections"), "waves"), *wave;
	size_t i;

	json_array_foreach(waves, i, wave)
	{
		if (charts->mark_count < WAVES_MAX)
			charts->marks[charts->mark_count++] =
				json_number_value(json_object_get(wave, "at_s"));
	}
}

static void draw_all_lines(struct charts *charts, json_t *summary)
{
	draw_latency_over_time(charts, summary);
	DRAW(charts, "Connections",
	     charts->mark_count > 0 ? "Vertical lines: waves, in which clients drop." : NULL, false,
	     { "open", "open", false, true }, { "opening", "opening", false, false },
	     { "failed", "failed so far", false, false },
	     { "closed", "closed or cut so far", true, false });
	DRAW(charts, "Messages a second", NULL, false, { "rx_msgs", "received", false, true },
	     { "accepted", "accepted by the API", false, false },
	     { "requests", "requests answered", true, false });
	DRAW(charts, "What went wrong, so far", NULL, false,
	     { "missing", "missing below the newest", false, true },
	     { "duplicated", "duplicated", false, false },
	     { "dropped_arrivals", "due and never sent", true, false });
}

void report_charts(FILE *to, const char *folder, json_t *summary)
{
	struct charts charts = { .to = to };
	const char *name = report_main(summary);
	size_t first = 0;

	table_read(&charts.table, folder);
	charts.t = table_column(&charts.table, "t");
	read_marks(&charts, summary);
	fputs("<div class=charts>", to);
	if (charts.t != NULL && charts.table.rows > 1)
		draw_all_lines(&charts, summary);
	while (name != NULL && first < HF_ARRAY_LEN(families) &&
	       strncmp(families[first].title, name, strlen(name)) != 0)
		first++;
	for (size_t i = 0; i < HF_ARRAY_LEN(families); i++)
		draw_family(to, folder, &families[(first + i) % HF_ARRAY_LEN(families)]);
	if (charts.t != NULL && charts.table.rows > 1) {
		DRAW(&charts, "The tool itself: CPU",
		     "Percent of one processor, all its processes.", false,
		     { "cpu_percent", "CPU", false, true });
		DRAW(&charts, "The tool itself: lag",
		     "How late its own 10 ms tick ran at worst, ms. It is part of each latency.",
		     false, { "lag_ms", "lag", false, true });
	}
	fputs("</div>", to);
	table_free(&charts.table);
}
