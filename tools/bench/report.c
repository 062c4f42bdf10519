/* report.html: one page without anything from elsewhere, made of what lies in a run's folder. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "output.h"
#include "svg.h"

#define COLUMNS_MAX 32

/* timeseries.csv, column by column. */
struct table {
	size_t columns, rows, capacity;
	char *names[COLUMNS_MAX];
	double *values[COLUMNS_MAX];
};

static const char style[] =
	"<style>:root{--bg:#fff;--fg:#1c2330;--dim:#667085;--line:#e4e7ec;--card:#f7f8fa;"
	"--c0:#2563eb;--c1:#d97706;--c2:#dc2626;--c3:#059669;--c4:#7c3aed;--c5:#0891b2}"
	"@media(prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e6e9ef;--dim:#98a2b3;"
	"--line:#2a313c;--card:#1a2029;--c0:#60a5fa;--c1:#fbbf24;--c2:#f87171;--c3:#34d399;"
	"--c4:#a78bfa;--c5:#22d3ee}}"
	"*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
	"font:15px/1.45 system-ui,sans-serif}main{max-width:1360px;margin:0 auto;padding:28px 20px}"
	"h1{font-size:24px;margin:0}h2{font-size:17px;margin:32px 0 10px}"
	"code{display:block;color:var(--dim);font-size:12.5px;overflow-wrap:anywhere;margin:6px 0 "
	"18px}"
	".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}"
	".tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px "
	"14px}"
	".tile b{display:block;font-size:22px;font-weight:600}.tile "
	"span{color:var(--dim);font-size:13px}"
	".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));"
	"gap:14px;"
	"margin-top:22px}figure{margin:0;background:var(--card);border:1px solid var(--line);"
	"border-radius:8px;padding:12px}figcaption{font-weight:600;margin-bottom:6px}"
	".legend{float:right;font-weight:400;font-size:13px;color:var(--dim)}svg{width:100%;"
	"display:block}"
	".g{stroke:var(--line)}.l{fill:var(--dim);font-size:11px}.s{fill:none;stroke-width:1.8;"
	"stroke-linejoin:round}.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}"
	".c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.k0{color:var(--c0)}"
	".k1{color:var(--c1)}.k2{color:var(--c2)}.k3{color:var(--c3)}.k4{color:var(--c4)}"
	".k5{color:var(--c5)}table{border-collapse:collapse;width:100%}td,th{text-align:right;"
	"padding:5px 10px;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}"
	"td:first-child,th:first-child{text-align:left}th{color:var(--dim);font-weight:500}"
	".scroll{overflow-x:auto}.bad{background:#dc2626;color:#fff;padding:10px "
	"14px;border-radius:8px;"
	"margin:10px 0}.good{color:var(--c3)}.fail{color:var(--c2);font-weight:600}</style>";

static void table_free(struct table *table)
{
	for (size_t i = 0; i < table->columns; i++) {
		free(table->names[i]);
		free(table->values[i]);
	}
}

static void table_add(struct table *table, char *line)
{
	size_t column = 0;
	char *cell;

	if (table->rows == table->capacity) {
		table->capacity = HF_MAX(256, 2 * table->capacity);
		for (size_t i = 0; i < table->columns; i++) {
			double *grown =
				reallocarray(table->values[i], table->capacity, sizeof(*grown));

			if (grown == NULL)
				return;
			table->values[i] = grown;
		}
	}
	for (; column < table->columns && (cell = strsep(&line, ",\n")) != NULL; column++)
		table->values[column][table->rows] = strtod(cell, NULL);
	if (column == table->columns)
		table->rows++;
}

static void table_read(struct table *table, const char *folder)
{
	char path[4096], *line = NULL, *rest, *cell;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/timeseries.csv", folder);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	if (getline(&line, &size, file) > 0) {
		rest = line;
		while (table->columns < COLUMNS_MAX && (cell = strsep(&rest, ",\n")) != NULL) {
			if (*cell != '\0')
				table->names[table->columns++] = strdup(cell);
		}
		while (getline(&line, &size, file) > 0)
			table_add(table, line);
	}
	free(line);
	fclose(file);
}

static const double *column(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->columns; i++) {
		if (strcmp(table->names[i], name) == 0)
			return table->values[i];
	}
	return NULL;
}

/* A chart over time of up to three columns. */
static void draw_columns(FILE *to, const struct table *table, const char *title,
			 const char *const names[3], const char *const labels[3], bool latency)
{
	struct svg_series series[3];
	size_t count = 0;
	bool any = false;

	for (size_t i = 0; i < 3 && names[i] != NULL; i++) {
		const double *values = column(table, names[i]);

		if (values == NULL)
			continue;
		series[count++] =
			(struct svg_series){ labels[i], column(table, "t"), values, table->rows };
		for (size_t k = 0; k < table->rows; k++)
			any = any || values[k] > 0;
	}
	if (!any || column(table, "t") == NULL)
		return;
	svg_draw(to, &(struct svg_chart){ .title = title,
					  .x_title = "seconds",
					  .y_text = latency ? svg_text_us : NULL,
					  .y_log = latency,
					  .series = series,
					  .series_count = count });
}

/* x is -log10(1 - quantile): 1 is 90 %, 2 is 99 %, and so on. */
static void text_of_nines(double x, char *ret, size_t size)
{
	snprintf(ret, size, "%.*f %%", x > 2 ? (int)ceil(x - 2) : 0, 100 * (1 - pow(10, -x)));
}

#define QUANTILES 101

static void draw_quantiles(FILE *to, const char *folder)
{
	static double x[HISTS][QUANTILES], y[HISTS][QUANTILES];
	struct svg_series series[6];
	struct hf_histogram *hist = malloc(sizeof(*hist));
	size_t count = 0;

	for (int i = 0; hist != NULL && i < HIST_LAG && count < 6; i++) {
		size_t points = 0;

		if (!hist_read(folder, (enum hist)i, hist))
			continue;
		for (; points < QUANTILES; points++) {
			double nines = (double)points / 20, quantile = 1 - pow(10, -nines);

			/* Beyond this there is less than one measurement. */
			if (points > 0 && (double)hist->count * pow(10, -nines) < 1)
				break;
			x[i][points] = nines;
			y[i][points] = fmax((double)hist_quantile(hist, quantile), 1);
		}
		series[count++] = (struct svg_series){ hist_names[i], x[i], y[i], points };
	}
	free(hist);
	svg_draw(to, &(struct svg_chart){ .title = "Latency by percentile",
					  .x_title = "percentile",
					  .x_text = text_of_nines,
					  .y_text = svg_text_us,
					  .y_log = true,
					  .series = series,
					  .series_count = count });
}

static void tile(FILE *to, const char *label, double value, void (*text)(double, char *, size_t))
{
	char number[64];

	text(value, number, sizeof(number));
	fprintf(to, "<div class=tile><b>%s</b><span>%s</span></div>", number, label);
}

static double number_at(json_t *json, const char *a, const char *b)
{
	return json_number_value(json_object_get(json_object_get(json, a), b));
}

static json_t *main_latency(json_t *json, const char **ret_name)
{
	static const char *const names[] = { "deliver", "request", "login" };
	json_t *all = json_object_get(json, "latency_us"), *found;

	for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
		found = json_object_get(json_object_get(all, names[i]), "corrected");
		if (found != NULL) {
			*ret_name = names[i];
			return found;
		}
	}
	return NULL;
}

static void tiles(FILE *to, json_t *json)
{
	const char *name = "";
	json_t *latency = main_latency(json, &name);
	char label[64];

	fputs("<div class=tiles>", to);
	tile(to, "seconds", number_at(json, "run", "seconds"), svg_text_count);
	if (number_at(json, "connections", "target") > 0) {
		tile(to, "logged in", number_at(json, "connections", "opened"), svg_text_count);
		tile(to, "failed", number_at(json, "connections", "failed"), svg_text_count);
	}
	if (number_at(json, "counters", "answered") > 0) {
		tile(to, "requests answered", number_at(json, "counters", "answered"),
		     svg_text_count);
		tile(to, "messages accepted", number_at(json, "counters", "accepted"),
		     svg_text_count);
	}
	if (number_at(json, "messages", "received") > 0) {
		tile(to, "messages received", number_at(json, "messages", "received"),
		     svg_text_count);
		tile(to, "lost", number_at(json, "messages", "lost"), svg_text_count);
		tile(to, "duplicated", number_at(json, "messages", "duplicated"), svg_text_count);
	}
	if (latency != NULL) {
		snprintf(label, sizeof(label), "%s p50", name);
		tile(to, label, json_number_value(json_object_get(latency, "p50")), svg_text_us);
		snprintf(label, sizeof(label), "%s p99", name);
		tile(to, label, json_number_value(json_object_get(latency, "p99")), svg_text_us);
	}
	fputs("</div>", to);
}

static void latency_row(FILE *to, const char *name, const char *kind, json_t *row)
{
	static const char *const cells[] = { "p50", "p90", "p99", "p999", "p9999", "max", "mean" };
	char text[64];

	fprintf(to, "<tr><td>%s%s<td>%.0f", name, kind,
		json_number_value(json_object_get(row, "count")));
	for (size_t i = 0; i < HF_ARRAY_LEN(cells); i++) {
		svg_text_us(json_number_value(json_object_get(row, cells[i])), text, sizeof(text));
		fprintf(to, "<td>%s", text);
	}
}

static void latency_table(FILE *to, json_t *json)
{
	const char *name;
	json_t *row;

	fputs("<h2>Latency</h2><div class=scroll><table><tr><th><th>count<th>p50<th>p90<th>p99<th>"
	      "p99.9<th>p99.99<th>max<th>mean",
	      to);
	json_object_foreach(json_object_get(json, "latency_us"), name, row)
	{
		json_t *corrected = json_object_get(row, "corrected");

		if (corrected == NULL) {
			latency_row(to, name, "", row);
			continue;
		}
		latency_row(to, name, ", from the intended time", corrected);
		latency_row(to, name, ", uncorrected", json_object_get(row, "uncorrected"));
	}
	fputs("</table></div>", to);
}

static void flat_table(FILE *to, const char *title, json_t *object)
{
	const char *name;
	json_t *value;

	if (json_object_size(object) == 0)
		return;
	fprintf(to, "<h2>%s</h2><div class=scroll><table>", title);
	json_object_foreach(object, name, value)
	{
		if (json_is_integer(value) && json_integer_value(value) == 0)
			continue; /* most counters are of other commands; summary.json has all */
		fputs("<tr><td>", to);
		svg_escape(to, name);
		fputs("<td>", to);
		if (json_is_integer(value))
			fprintf(to, "%lld", (long long)json_integer_value(value));
		else if (json_is_string(value))
			svg_escape(to, json_string_value(value));
		else
			fprintf(to, "%g", json_number_value(value));
	}
	fputs("</table></div>", to);
}

static void verdicts(FILE *to, json_t *json)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(json, "invalid_reasons"), i, item)
	{
		fputs("<div class=bad>This run is invalid: ", to);
		svg_escape(to, json_string_value(item));
		fputs("</div>", to);
	}
	json_array_foreach(json_object_get(json, "thresholds"), i, item)
	{
		bool failed = json_is_true(json_object_get(item, "failed"));

		fprintf(to, "<div class=%s>%s: fail if ", failed ? "fail" : "good",
			failed ? "failed" : "passed");
		svg_escape(to, json_string_value(json_object_get(item, "fail_if")));
		fprintf(to, " (%g)</div>", json_number_value(json_object_get(item, "value")));
	}
}

static void charts(FILE *to, const char *folder)
{
	struct table table = { 0 };

	table_read(&table, folder);
	fputs("<div class=charts>", to);
	draw_quantiles(to, folder);
	if (table.rows > 1) {
		draw_columns(to, &table, "Latency, second by second",
			     (const char *const[]){ "p50_us", "p99_us", "max_us" },
			     (const char *const[]){ "p50", "p99", "max" }, true);
		draw_columns(to, &table, "Connections",
			     (const char *const[]){ "open", "opening", "failed" },
			     (const char *const[]){ "open", "opening", "failed" }, false);
		draw_columns(to, &table, "Messages received a second",
			     (const char *const[]){ "rx_msgs", NULL, NULL },
			     (const char *const[]){ "messages", NULL, NULL }, false);
		draw_columns(to, &table, "Requests answered a second",
			     (const char *const[]){ "requests", NULL, NULL },
			     (const char *const[]){ "requests", NULL, NULL }, false);
		draw_columns(to, &table, "The tool itself: CPU, % of one processor",
			     (const char *const[]){ "cpu_percent", NULL, NULL },
			     (const char *const[]){ "CPU", NULL, NULL }, false);
		draw_columns(to, &table, "The tool itself: its lag, ms",
			     (const char *const[]){ "lag_ms", NULL, NULL },
			     (const char *const[]){ "lag", NULL, NULL }, false);
	}
	fputs("</div>", to);
	table_free(&table);
}

static json_t *load(const char *folder, const char *name)
{
	char path[4096];
	json_error_t error;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return json_load_file(path, 0, &error);
}

int report_html(FILE *to, const char *folder)
{
	json_t *json = load(folder, "summary.json"), *environment, *run, *word;
	size_t i;

	if (json == NULL) {
		fprintf(stderr, "hf-bench: %s holds no summary.json\n", folder);
		return -ENOENT;
	}
	run = json_object_get(json, "run");
	fputs("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
	      "content=\"width=device-width\"><title>hf-bench</title>",
	      to);
	fputs(style, to);
	fputs("<main><h1>hf-bench ", to);
	svg_escape(to, json_string_value(json_object_get(run, "command")));
	fprintf(to, "</h1><code>%s<br>", json_string_value(json_object_get(run, "began_at")));
	json_array_foreach(json_object_get(run, "arguments"), i, word)
	{
		svg_escape(to, json_string_value(word));
		fputc(' ', to);
	}
	fputs("</code>", to);
	verdicts(to, json);
	tiles(to, json);
	charts(to, folder);
	latency_table(to, json);
	flat_table(to, "Counters", json_object_get(json, "counters"));
	flat_table(to, "Connections closed by the server, by code",
		   json_object_get(json_object_get(json, "connections"), "closed"));
	environment = load(folder, "env.json");
	json_object_del(environment, "run");
	flat_table(to, "Where it ran", environment);
	fputs("</main></html>\n", to);
	json_decref(environment);
	json_decref(json);
	return 0;
}
