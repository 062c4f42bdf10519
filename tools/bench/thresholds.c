/* --fail-if: NAME.STATISTIC>VALUE of a latency, or COUNTER>VALUE. */
#include <ctype.h>
#include <stdlib.h>

#include "hf_text.h"
#include "output.h"

static const struct {
	const char *name;
	double quantile; /* below 0: the mean; 1: the largest */
} statistics[] = { { "p50", 0.5 },        { "p90", 0.9 },    { "p95", 0.95 },
		   { "p99", 0.99 },       { "p999", 0.999 }, { "p9999", 0.9999 },
		   { "p99999", 0.99999 }, { "max", 1 },      { "mean", -1 } };

struct parsed {
	int hist, statistic, counter; /* -1: not that */
	bool lost, above;
	double limit;
};

static int index_of(const char *const *names, int count, const char *name, size_t len)
{
	for (int i = 0; i < count; i++) {
		if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0)
			return i;
	}
	return -1;
}

static bool parse(const char *text, struct parsed *ret)
{
	const char *operator= strpbrk(text, "<>"), *dot = memchr(text, '.', strcspn(text, "<>"));
	uint64_t ms;
	char *end;

	*ret = (struct parsed){ .hist = -1, .statistic = -1, .counter = -1 };
	if (operator== NULL)
		return false;
	ret->above = *operator== '>';
	ret->limit = strtod(operator+ 1, &end);
	if (end == operator+ 1)
		return false;
	if (dot == NULL) {
		size_t len = (size_t)(operator- text);

		ret->lost = len == 4 && strncmp(text, "lost", 4) == 0;
		ret->counter = index_of(counter_names, COUNTERS, text, len);
		return *end == '\0' && (ret->lost || ret->counter >= 0);
	}
	ret->hist = index_of(hist_names, HISTS, text, (size_t)(dot - text));
	for (size_t i = 0; i < HF_ARRAY_LEN(statistics); i++) {
		size_t len = strlen(statistics[i].name);

		if ((size_t)(operator- dot - 1) == len &&
		    strncmp(dot + 1, statistics[i].name, len) == 0)
			ret->statistic = (int)i;
	}
	/* Microseconds inside; "us" is not a unit of the configuration. */
	if (strcmp(end, "us") == 0)
		ret->limit += 0;
	else if (*end != '\0' && hf_text_parse_duration(operator+ 1, 1, &ms) == 0)
		ret->limit = (double)ms * 1000;
	else
		return false;
	return ret->hist >= 0 && ret->statistic >= 0;
}

static void print_names(FILE *to, const char *title, const char *const *names, int count)
{
	int column = fprintf(to, "  %-12s", title);

	for (int i = 0; i < count; i++) {
		if (column + (int)strlen(names[i]) > 98)
			column = fprintf(to, "\n  %-12s", "") - 1;
		column += fprintf(to, " %s", names[i]);
	}
	fputc('\n', to);
}

void thresholds_help(FILE *to)
{
	const char *words[HF_ARRAY_LEN(statistics)];

	for (size_t i = 0; i < HF_ARRAY_LEN(statistics); i++)
		words[i] = statistics[i].name;
	fputs("\nTIME is a number with ms, s, m, h or d; without, of seconds. A TEST is\n"
	      "LATENCY.STATISTIC or COUNTER, > or <, and a limit: a time with its unit (us too), "
	      "or "
	      "a number.\n"
	      "A latency that nobody measured is no pass.\n",
	      to);
	print_names(to, "latencies", hist_names, HISTS);
	print_names(to, "statistics", words, (int)HF_ARRAY_LEN(words));
	print_names(to, "counters", counter_names, COUNTERS);
	fputs("               lost\n", to);
}

int thresholds_check_syntax(const struct options *options)
{
	struct parsed parsed;

	for (size_t i = 0; i < options->fail_if.count; i++) {
		if (parse(options->fail_if.items[i], &parsed))
			continue;
		fprintf(stderr,
			"hf-bench: --fail-if %s: is no test as deliver.p99>200ms or lost>0; --help "
			"has the names\n",
			options->fail_if.items[i]);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

static double value_of(const struct result *result, const struct parsed *parsed)
{
	const struct hf_histogram *hist;

	if (parsed->lost)
		return (double)result_lost(result);
	if (parsed->counter >= 0)
		return (double)result->total->counters[parsed->counter];
	hist = &result->total->hist[parsed->hist];
	if (statistics[parsed->statistic].quantile < 0)
		return hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
	if (statistics[parsed->statistic].quantile >= 1)
		return (double)hist->max;
	return (double)hist_quantile(hist, statistics[parsed->statistic].quantile);
}

int thresholds_run(struct result *result)
{
	const struct list *list = &result->options->fail_if;
	int code = EXIT_DONE;

	for (size_t i = 0; i < list->count; i++) {
		struct threshold *threshold = &result->thresholds[result->threshold_count++];
		struct parsed parsed;

		if (!parse(list->items[i], &parsed))
			return EXIT_USAGE;
		*threshold = (struct threshold){ .text = list->items[i],
						 .value = value_of(result, &parsed),
						 .limit = parsed.limit,
						 .is_latency = parsed.hist >= 0 };
		threshold->failed = parsed.above ? threshold->value > threshold->limit
						 : threshold->value < threshold->limit;
		/* A latency that nobody measured is no pass. */
		if (parsed.hist >= 0 && result->total->hist[parsed.hist].count == 0)
			threshold->failed = threshold->is_empty = true;
		if (threshold->failed)
			code = EXIT_THRESHOLD;
	}
	return code;
}
