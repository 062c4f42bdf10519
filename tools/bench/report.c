/* report.html: one page without anything from elsewhere, made of what lies in a run's folder.
 * Nothing in that folder is trusted: all text is escaped. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "report.h"
#include "svg.h"

static double number_at(json_t *json, const char *a, const char *b)
{
	return json_number_value(json_object_get(json_object_get(json, a), b));
}

static const char *text_at(json_t *json, const char *a, const char *b)
{
	const char *text = json_string_value(json_object_get(json_object_get(json, a), b));

	return text != NULL ? text : "";
}

static json_t *corrected_of(json_t *summary, const char *name)
{
	json_t *row = json_object_get(json_object_get(summary, "latency_us"), name);
	json_t *corrected = json_object_get(row, "corrected");

	return corrected != NULL ? corrected : row;
}

const char *report_main(json_t *summary)
{
	const char *name = text_at(summary, "run", "main");

	return corrected_of(summary, name) != NULL ? name : NULL;
}

/* ---- verdict ---- */

static bool any_failed(json_t *summary)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(summary, "thresholds"), i, item)
	{
		if (json_is_true(json_object_get(item, "failed")))
			return true;
	}
	return false;
}

static void badge(FILE *to, json_t *summary)
{
	if (json_array_size(json_object_get(summary, "invalid_reasons")) > 0)
		fputs("<span class=\"badge warn\">INVALID RUN</span>", to);
	if (any_failed(summary))
		fputs("<span class=\"badge bad\">FAILED</span>", to);
	else if (json_array_size(json_object_get(summary, "thresholds")) > 0)
		fputs("<span class=\"badge good\">PASSED</span>", to);
}

/* A value as it is written in a threshold: of a latency, or a count. */
static void limit_text(json_t *test, const char *name, char ret[32])
{
	const char *unit = json_string_value(json_object_get(test, "unit"));
	double value = json_number_value(json_object_get(test, name));

	(unit != NULL && strcmp(unit, "us") == 0 ? svg_text_us : svg_text_count)(value, ret, 32);
}

static void one_test(FILE *to, json_t *test)
{
	double value = json_number_value(json_object_get(test, "value"));
	double limit = json_number_value(json_object_get(test, "limit"));
	bool failed = json_is_true(json_object_get(test, "failed"));
	double share = limit > 0 ? fmin(value / limit, 1) : value > 0;
	char text[32];

	limit_text(test, "value", text);
	fprintf(to, "<div class=\"test %s\"><b>%s</b><span>fail if ", failed ? "bad" : "good",
		failed ? "\xe2\x9c\x97" : "\xe2\x9c\x93");
	svg_escape(to, json_string_value(json_object_get(test, "fail_if")));
	fprintf(to,
		"</span><span class=bar><i style=\"width:%.1f%%\"></i></span><span>%s</span></div>",
		100 * fmax(share, 0), text);
}

static void verdict(FILE *to, json_t *summary)
{
	json_t *tests = json_object_get(summary, "thresholds"), *item;
	json_t *reasons = json_object_get(summary, "invalid_reasons");
	size_t i;

	if (json_array_size(reasons) > 0) {
		fputs("<div class=\"verdict warn\"><p><b>The tool was the bottleneck, or broke: "
		      "these "
		      "numbers tell about it rather than about the servers.</b></p>",
		      to);
		json_array_foreach(reasons, i, item)
		{
			fputs("<p>", to);
			svg_escape(to, json_string_value(item));
			fputs("</p>", to);
		}
		fputs("</div>", to);
	}
	if (json_array_size(tests) == 0)
		return;
	fprintf(to, "<div class=\"verdict %s\">", any_failed(summary) ? "bad" : "good");
	json_array_foreach(tests, i, item) one_test(to, item);
	fputs("</div>", to);
}

/* ---- the numbers in front ---- */

enum mood { MOOD_NONE, MOOD_ZERO_IS_GOOD };

static void tile(FILE *to, const char *label, double value, void (*text)(double, char *, size_t),
		 enum mood mood)
{
	char number[64];

	text(value, number, sizeof(number));
	fprintf(to, "<div class=\"tile%s\"><b>%s</b><span>",
		mood == MOOD_NONE ? ""
		: value > 0       ? " bad"
				  : " good",
		number);
	svg_escape(to, label);
	fputs("</span></div>", to);
}

static void text_bytes(double value, char *ret, size_t size)
{
	if (value >= 10240)
		snprintf(ret, size, "%.1f KiB", value / 1024);
	else
		snprintf(ret, size, "%.0f B", value);
}

static void text_seconds(double value, char *ret, size_t size)
{
	svg_text_us(value * 1e6, ret, size);
}

static void latency_tiles(FILE *to, json_t *summary)
{
	static const struct {
		const char *key, *word;
	} rows[] = { { "p50", "p50" }, { "p99", "p99" }, { "p999", "p99.9" }, { "max", "max" } };
	const char *name = report_main(summary);
	char label[64];

	for (size_t i = 0; name != NULL && i < HF_ARRAY_LEN(rows); i++) {
		snprintf(label, sizeof(label), "%s %s", name, rows[i].word);
		tile(to, label,
		     json_number_value(json_object_get(corrected_of(summary, name), rows[i].key)),
		     svg_text_us, MOOD_NONE);
	}
}

static void tiles(FILE *to, json_t *summary)
{
	bool clients = number_at(summary, "counters", "started") > 0;
	double messages = fmax(number_at(summary, "counters", "rx_messages"),
			       number_at(summary, "counters", "accepted"));
	double server_cpu_s = number_at(summary, "run", "server_cpu_s");

	fputs("<div class=tiles>", to);
	latency_tiles(to, summary);
	if (clients) {
		tile(to, "logins", number_at(summary, "connections", "opened"), svg_text_count,
		     MOOD_NONE);
		tile(to, "logins failed", number_at(summary, "connections", "failed"),
		     svg_text_count, MOOD_ZERO_IS_GOOD);
	}
	if (number_at(summary, "connections", "setup_s") > 0)
		tile(to, "until all were there", number_at(summary, "connections", "setup_s"),
		     text_seconds, MOOD_NONE);
	if (number_at(summary, "counters", "answered") > 0)
		tile(to, "requests answered", number_at(summary, "counters", "answered"),
		     svg_text_count, MOOD_NONE);
	if (number_at(summary, "messages", "accepted") > 0)
		tile(to, "messages accepted", number_at(summary, "messages", "accepted"),
		     svg_text_count, MOOD_NONE);
	if (number_at(summary, "counters", "dropped_arrivals") > 0)
		tile(to, "due and never sent", number_at(summary, "counters", "dropped_arrivals"),
		     svg_text_count, MOOD_ZERO_IS_GOOD);
	if (clients && number_at(summary, "counters", "rx_messages") > 0) {
		tile(to, "messages received", number_at(summary, "messages", "received"),
		     svg_text_count, MOOD_NONE);
		tile(to, "lost", number_at(summary, "messages", "lost"), svg_text_count,
		     MOOD_ZERO_IS_GOOD);
		tile(to, "duplicated", number_at(summary, "messages", "duplicated"), svg_text_count,
		     MOOD_ZERO_IS_GOOD);
		tile(to, "out of order", number_at(summary, "messages", "reordered"),
		     svg_text_count, MOOD_NONE);
	}
	if (server_cpu_s > 0 && messages > 0)
		tile(to, "of server CPU a message", server_cpu_s * 1e6 / messages, svg_text_us,
		     MOOD_NONE);
	if (number_at(summary, "connections", "mem_per_conn_server_b") > 0)
		tile(to, "of server memory a connection",
		     number_at(summary, "connections", "mem_per_conn_server_b"), text_bytes,
		     MOOD_NONE);
	tile(to, "of CPU for the tool", number_at(summary, "run", "cpu_s"), text_seconds,
	     MOOD_NONE);
	tile(to, "the tool's lag, p99",
	     json_number_value(json_object_get(corrected_of(summary, "lag"), "p99")), svg_text_us,
	     MOOD_NONE);
	fputs("</div>", to);
}

/* ---- tables ---- */

static const char *meaning_of(const char *name)
{
	static const struct {
		const char *name, *meaning;
	} rows[] = {
		{ "login", "from when the connection was due until LOGIN_ACK" },
		{ "deliver", "from when the message was due until the client had it" },
		{ "deliver_storm", "the same at steady clients, while others came back" },
		{ "deliver_back", "the same at clients that had been dropped" },
		{ "deliver_slow", "the same at clients that read slowly on purpose" },
		{ "redeliver", "from when a client lost a message until it came again" },
		{ "auth", "from when the way was open until LOGIN_ACK" },
		{ "request", "from when the request was due until its answer" },
		{ "ack", "from when the message was due until all its clients had acked" },
		{ "upstream", "from when a client was to send until UPSTREAM_ACK" },
		{ "connect", "TCP alone" },
		{ "tls", "the TLS handshake alone" },
		{ "lag", "how late the tool's own tick ran" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].meaning;
	}
	return "";
}

static void latency_row(FILE *to, const char *name, const char *meaning, json_t *row)
{
	static const char *const cells[] = { "p50",   "p90", "p99",  "p999",
					     "p9999", "max", "mean", "stddev" };
	char text[64];

	char label[64];

	snprintf(label, sizeof(label), "%s", name);
	for (char *at = label; *at != '\0'; at++)
		*at = *at == '_' ? ' ' : *at;
	fputs("<tr><td>", to);
	svg_escape(to, label);
	fprintf(to, "<small>%s</small><td>%.0f", meaning,
		json_number_value(json_object_get(row, "count")));
	for (size_t i = 0; i < HF_ARRAY_LEN(cells); i++) {
		svg_text_us(json_number_value(json_object_get(row, cells[i])), text, sizeof(text));
		fprintf(to, "<td>%s", text);
	}
}

static void latency_table(FILE *to, json_t *summary)
{
	const char *name;
	json_t *row;

	fputs("<h2>Latency</h2><div class=card><table><tr><th><th>count<th>p50<th>p90<th>p99<th>"
	      "p99.9<th>p99.99<th>max<th>mean<th>stddev",
	      to);
	json_object_foreach(json_object_get(summary, "latency_us"), name, row)
	{
		json_t *corrected = json_object_get(row, "corrected");
		char label[80];

		latency_row(to, name, meaning_of(name), corrected != NULL ? corrected : row);
		if (corrected == NULL)
			continue;
		snprintf(label, sizeof(label), "%.40s, uncorrected", name);
		latency_row(to, label, "from when it really began",
			    json_object_get(row, "uncorrected"));
	}
	fputs("</table></div>", to);
}

static void waves_table(FILE *to, json_t *summary)
{
	json_t *waves = json_object_get(json_object_get(summary, "connections"), "waves"), *wave;
	char began[32], text[64];
	size_t i;

	if (json_array_size(waves) == 0)
		return;
	fputs("<h2>Waves</h2><div class=card><table><tr><th>began at<th>dropped<th>came "
	      "back<th>the "
	      "last after",
	      to);
	json_array_foreach(waves, i, wave)
	{
		svg_text_clock(json_number_value(json_object_get(wave, "at_s")), began,
			       sizeof(began));
		text_seconds(json_number_value(json_object_get(wave, "recovery_s")), text,
			     sizeof(text));
		fprintf(to, "<tr><td>%s<td>%.0f<td>%.0f<td>%s", began,
			json_number_value(json_object_get(wave, "dropped")),
			json_number_value(json_object_get(wave, "recovered")), text);
	}
	fputs("</table></div>", to);
}

static void value_rows(FILE *to, json_t *object, const char *under)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		char path[256];

		snprintf(path, sizeof(path), "%s%s%s", under, *under != '\0' ? " " : "", name);
		if (json_is_object(value)) {
			if (strlen(path) < 128) /* no deeper than a run's own files go */
				value_rows(to, value, path);
			continue;
		}
		if (json_is_array(value) ||
		    (json_is_integer(value) && json_integer_value(value) == 0))
			continue; /* most counters are of other commands; summary.json has all */
		fputs("<tr><td>", to);
		svg_escape(to, path);
		fputs("<td>", to);
		if (json_is_integer(value))
			fprintf(to, "%lld", (long long)json_integer_value(value));
		else if (json_is_string(value))
			svg_escape(to, json_string_value(value));
		else
			fprintf(to, "%g", json_number_value(value));
	}
}

static void value_table(FILE *to, const char *title, json_t *object)
{
	if (json_object_size(object) == 0)
		return;
	fprintf(to, "<details><summary>%s</summary><table>", title);
	value_rows(to, object, "");
	fputs("</table></details>", to);
}

static void note(FILE *to, const char *kind, const char *before, const char *text)
{
	fprintf(to, "<div class=\"verdict %s\"><p>%s", kind, before);
	svg_escape(to, text);
	fputs("</p></div>", to);
}

/* What a reader must know before believing the numbers. */
static void notes(FILE *to, json_t *summary)
{
	const char *refusal = text_at(summary, "messages", "first_refusal");
	char text[128];

	if (*refusal != '\0')
		note(to, "bad", "The first request that was refused: ", refusal);
	if (json_is_false(json_object_get(summary, "one_way_known")))
		note(to, "warn",
		     "Delivery delays are left out: senders and receivers were on different "
		     "machines "
		     "whose clocks were not compared (--clock).",
		     "");
	if (json_is_object(json_object_get(summary, "clock"))) {
		snprintf(text, sizeof(text), "%.3f ms of the clock of ",
			 number_at(summary, "clock", "error_us") / 1e3);
		fprintf(to, "<p class=sub>Times of messages are within %s", text);
		svg_escape(to, text_at(summary, "clock", "source"));
		fputs("</p>", to);
	}
}

static json_t *load(const char *folder, const char *name)
{
	char path[4096];
	json_error_t error;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return json_load_file(path, 0, &error);
}

static void head(FILE *to, json_t *summary)
{
	json_t *run = json_object_get(summary, "run"), *word;
	const char *host = text_at(summary, "run", "host");
	char seconds[32];
	size_t i;

	text_seconds(number_at(summary, "run", "seconds"), seconds, sizeof(seconds));
	fputs("<main><header><h1>hf-bench ", to);
	svg_escape(to, text_at(summary, "run", "command"));
	fputs("</h1>", to);
	badge(to, summary);
	fputs("</header><p class=sub>", to);
	svg_escape(to, text_at(summary, "run", "began_at"));
	fprintf(to, " \xc2\xb7 %s", seconds);
	if (*host != '\0')
		fputs(" \xc2\xb7 on ", to);
	svg_escape(to, host);
	if (number_at(summary, "run", "merged") > 0)
		fprintf(to, " \xc2\xb7 made of %.0f runs", number_at(summary, "run", "merged"));
	fputs("</p><details><summary>Command line</summary><code>", to);
	json_array_foreach(json_object_get(run, "arguments"), i, word)
	{
		svg_escape(to, json_string_value(word));
		fputc(' ', to);
	}
	fputs("</code></details>", to);
}

int report_html(FILE *to, const char *folder)
{
	json_t *summary = load(folder, "summary.json"), *environment;

	if (summary == NULL) {
		fprintf(stderr, "hf-bench: %s holds no summary.json\n", folder);
		return -ENOENT;
	}
	fputs("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
	      "content=\"width=device-width,initial-scale=1\"><title>hf-bench ",
	      to);
	svg_escape(to, text_at(summary, "run", "command"));
	fputs("</title>", to);
	report_style(to);
	head(to, summary);
	verdict(to, summary);
	notes(to, summary);
	tiles(to, summary);
	report_charts(to, folder, summary);
	latency_table(to, summary);
	waves_table(to, summary);
	fputs("<h2>More</h2>", to);
	json_object_del(json_object_get(summary, "connections"), "waves");
	value_table(to, "Connections", json_object_get(summary, "connections"));
	value_table(to, "Counters", json_object_get(summary, "counters"));
	environment = load(folder, "env.json");
	json_object_del(environment, "run");
	value_table(to, "Where it ran", environment);
	fputs("</main></html>\n", to);
	json_decref(environment);
	json_decref(summary);
	return 0;
}
