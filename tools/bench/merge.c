/* merge: several runs of one test, from several hosts or commands, as one. report: what a folder
 * holds. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "output.h"

static json_t *load_summary(const char *folder)
{
	char path[4096];
	json_error_t error;
	json_t *json;

	snprintf(path, sizeof(path), "%s/summary.json", folder);
	json = json_load_file(path, 0, &error);
	if (json == NULL)
		fprintf(stderr, "hf-bench: %s: %s\n", path, error.text);
	return json;
}

static void add_codes(uint64_t into[CLOSE_CODES], json_t *codes)
{
	const char *code;
	json_t *count;

	json_object_foreach(codes, code, count)
		into[close_index((uint32_t)strtoul(code, NULL, 10))] +=
		(uint64_t)json_integer_value(count);
}

static void copy_text(char *to, size_t size, json_t *text)
{
	snprintf(to, size, "%s", json_is_string(text) ? json_string_value(text) : "");
}

/* What runs of several machines say of their clocks. */
struct clocks {
	size_t runs;
	bool several, not_compared; /* machines; and a run among them without the others' clock */
	char source[256];
	double largest_ms, second_ms; /* of the bounds: a message has two ends */
};

static void add_clock(struct clocks *clocks, struct result *result, json_t *json)
{
	json_t *run = json_object_get(json, "run"), *clock = json_object_get(json, "clock");
	json_t *source = json_object_get(clock, "source");
	double error_ms = json_number_value(json_object_get(clock, "error_us")) / 1e3;
	char machine[sizeof(result->machine)], text[sizeof(clocks->source)];

	copy_text(machine, sizeof(machine), json_object_get(run, "machine"));
	copy_text(text, sizeof(text), source);
	if (clocks->runs++ == 0) {
		copy_text(result->machine, sizeof(result->machine),
			  json_object_get(run, "machine"));
		copy_text(result->host, sizeof(result->host), json_object_get(run, "host"));
		memcpy(clocks->source, text, sizeof(text));
	} else if (strcmp(machine, result->machine) != 0) {
		result->host[0] = '\0';
		clocks->several = true;
	}
	if (machine[0] == '\0') /* merged of several already */
		clocks->several = true;
	if (text[0] == '\0' || strcmp(text, clocks->source) != 0 ||
	    json_is_false(json_object_get(json, "one_way_known")))
		clocks->not_compared = true;
	if (error_ms > clocks->largest_ms) {
		clocks->second_ms = clocks->largest_ms;
		clocks->largest_ms = error_ms;
	} else if (error_ms > clocks->second_ms) {
		clocks->second_ms = error_ms;
	}
}

/* A delay from one machine to another is worth nothing when their clocks were not compared. */
static void judge_clocks(const struct clocks *clocks, struct result *result)
{
	static const enum hist one_way[] = { HIST_DELIVER, HIST_DELIVER_UNCORRECTED,
					     HIST_DELIVER_STORM, HIST_DELIVER_BACK,
					     HIST_DELIVER_SLOW };

	if (!clocks->not_compared) {
		result->clock.source = clocks->source;
		result->clock.error_ms = clocks->largest_ms + clocks->second_ms;
	}
	if (!clocks->several)
		return;
	result->machine[0] = '\0';
	if (!clocks->not_compared)
		return;
	for (size_t i = 0; i < HF_ARRAY_LEN(one_way); i++) {
		result->one_way_unknown =
			result->one_way_unknown || result->total->hist[one_way[i]].count > 0;
		result->total->hist[one_way[i]] = (struct hf_histogram){ 0 };
	}
}

static void add_server(struct result *result, json_t *json)
{
	json_t *cpu = json_object_get(json_object_get(json, "run"), "server_cpu_s");
	json_t *memory =
		json_object_get(json_object_get(json, "connections"), "mem_per_conn_server_b");

	/* Runs at the same time see the same servers. */
	if (json_is_number(cpu))
		result->server_cpu_s = HF_MAX(result->server_cpu_s, json_number_value(cpu));
	if (json_is_number(memory))
		result->server_memory_b =
			HF_MAX(result->server_memory_b, json_number_value(memory));
}

/* Hosts of one test began their waves about together: wave by wave as one. */
static void add_waves(struct result *result, json_t *json)
{
	json_t *run = json_object_get(json, "run"), *wave;
	double shift_s = json_number_value(json_object_get(run, "began_ms")) / 1e3 -
			 (double)result->wall_ms / 1e3;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(json, "connections"), "waves"), i, wave)
	{
		double at_s = shift_s + json_number_value(json_object_get(wave, "at_s"));
		double recovery_s = json_number_value(json_object_get(wave, "recovery_s"));
		struct wave *to = &result->total->waves[HF_MIN(i, WAVES_MAX - 1)];
		uint64_t begin_ns = (uint64_t)(HF_MAX(at_s, 1e-9) * 1e9);

		to->begin_ns = to->begin_ns == 0 ? begin_ns : HF_MIN(to->begin_ns, begin_ns);
		to->done_ns = HF_MAX(to->done_ns, begin_ns + (uint64_t)(recovery_s * 1e9));
		to->dropped += (uint64_t)json_number_value(json_object_get(wave, "dropped"));
		to->recovered += (uint64_t)json_number_value(json_object_get(wave, "recovered"));
	}
}

static void add_run(struct result *result, const char *folder, json_t *json)
{
	json_t *run = json_object_get(json, "run");
	json_t *connections = json_object_get(json, "connections");
	json_t *counters = json_object_get(json, "counters"), *reason;
	struct hf_histogram *hist = malloc(sizeof(*hist));
	size_t i;

	for (int k = 0; k < COUNTERS; k++)
		result->total->counters[k] +=
			(uint64_t)json_integer_value(json_object_get(counters, counter_names[k]));
	add_codes(result->total->refused, json_object_get(connections, "refused"));
	add_codes(result->total->closed, json_object_get(connections, "closed"));
	for (int k = 0; hist != NULL && k < HISTS; k++) {
		if (hist_read(folder, (enum hist)k, hist))
			hf_histogram_merge(&result->total->hist[k], hist);
	}
	free(hist);
	result->total->cpu_us += (uint64_t)(json_number_value(json_object_get(run, "cpu_s")) * 1e6);
	result->seconds =
		HF_MAX(result->seconds, json_number_value(json_object_get(run, "seconds")));
	result->setup_s =
		HF_MAX(result->setup_s, json_number_value(json_object_get(connections, "setup_s")));
	json_array_foreach(json_object_get(json, "invalid_reasons"), i, reason)
		result_invalid(result, "%s: %s", folder, json_string_value(reason));
	if (result->total->refusal[0] == '\0')
		copy_text(result->total->refusal, REFUSAL_SIZE,
			  json_object_get(json_object_get(json, "messages"), "first_refusal"));
	result->merged++;
}

static enum hist main_of(json_t *json)
{
	json_t *name = json_object_get(json_object_get(json, "run"), "main");

	for (int i = 0; i < HISTS; i++) {
		if (json_is_string(name) && strcmp(json_string_value(name), hist_names[i]) == 0)
			return (enum hist)i;
	}
	return HISTS;
}

static double began_ms(json_t *json)
{
	return json_number_value(json_object_get(json_object_get(json, "run"), "began_ms"));
}

/* When the first one began; and what it is all about: deliveries, where somebody saw some. */
static void find_begin(struct result *result, json_t *const *runs)
{
	double first_ms = began_ms(runs[0]);
	enum hist main = main_of(runs[0]);

	for (size_t i = 0; i < result->options->arguments.count; i++) {
		first_ms = HF_MIN(first_ms, began_ms(runs[i]));
		if (main_of(runs[i]) == HIST_DELIVER)
			main = HIST_DELIVER;
	}
	result->wall_ms = (uint64_t)HF_MAX(first_ms, 0);
	result->main = main < HISTS ? main : HIST_DELIVER;
}

/* A run that counts twice, or is written over, spoils the sum. */
static bool folders_differ(const struct options *options)
{
	const struct list *list = &options->arguments;
	struct stat found[LIST_MAX + 1] = { 0 };

	for (size_t i = 0; i <= list->count; i++) {
		const char *folder = i < list->count ? list->items[i] : options->out;

		if (stat(folder, &found[i]) < 0)
			continue;
		for (size_t k = 0; k < i; k++) {
			if (found[k].st_ino != found[i].st_ino ||
			    found[k].st_dev != found[i].st_dev)
				continue;
			fprintf(stderr, "hf-bench: %s: is named twice\n", folder);
			return false;
		}
	}
	return true;
}

/* From the first sender's begin to the last one's end. */
static double load_seconds(json_t *const *runs, size_t count)
{
	double first_ms = 0, last_ms = 0;

	for (size_t i = 0; i < count; i++) {
		json_t *sent = json_object_get(json_object_get(runs[i], "counters"), "sent");
		json_t *seconds = json_object_get(json_object_get(runs[i], "run"), "seconds");
		double end_ms = began_ms(runs[i]) + json_number_value(seconds) * 1e3;

		if (json_number_value(sent) <= 0)
			continue;
		first_ms = last_ms > 0 ? HF_MIN(first_ms, began_ms(runs[i])) : began_ms(runs[i]);
		last_ms = HF_MAX(last_ms, end_ms);
	}
	return (last_ms - first_ms) / 1e3;
}

int merge_command(const struct options *options)
{
	struct result result = { .options = options, .server_memory_b = -1, .server_cpu_s = -1 };
	struct clocks clocks = { 0 };
	json_t *runs[LIST_MAX];
	int code;

	if (options->arguments.count < 2 || options->out == NULL) {
		fprintf(stderr, "hf-bench: merge needs two folders or more, and --out\n");
		return EXIT_USAGE;
	}
	if (!folders_differ(options))
		return EXIT_USAGE;
	code = thresholds_check_syntax(options);
	result.total = calloc(1, sizeof(*result.total));
	if (code != EXIT_DONE || result.total == NULL)
		return EXIT_USAGE;
	for (size_t i = 0; i < options->arguments.count; i++) {
		runs[i] = load_summary(options->arguments.items[i]);
		if (runs[i] == NULL)
			return EXIT_USAGE;
	}
	find_begin(&result, runs);
	result.load_s = load_seconds(runs, options->arguments.count);
	for (size_t i = 0; i < options->arguments.count; i++) {
		json_t *json = runs[i];

		add_run(&result, options->arguments.items[i], json);
		add_waves(&result, json);
		add_clock(&clocks, &result, json);
		add_server(&result, json);
		merge_rows(&result, options->arguments.items[i],
			   (began_ms(json) - (double)result.wall_ms) / 1e3,
			   main_of(json) == result.main);
		json_decref(json);
	}
	judge_clocks(&clocks, &result);
	code = thresholds_run(&result);
	result_print(stdout, &result);
	if (result_write(&result, options->out) < 0) {
		fprintf(stderr, "hf-bench: %s can't be written\n", options->out);
		return EXIT_USAGE;
	}
	free(result.rows);
	free(result.total);
	if (code != EXIT_DONE)
		return code;
	return result.reason_count > 0 ? EXIT_INVALID : EXIT_DONE;
}

static int print_file(const char *folder, const char *name)
{
	char path[4096], buffer[8192];
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (file == NULL) {
		fprintf(stderr, "hf-bench: %s: %s\n", path, strerror(errno));
		return EXIT_USAGE;
	}
	while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
		fwrite(buffer, 1, n, stdout);
	fclose(file);
	return EXIT_DONE;
}

int report_command(const struct options *options)
{
	const char *format = options->format;

	if (options->arguments.count == 0) {
		fprintf(stderr, "hf-bench: report needs a folder\n");
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < options->arguments.count; i++) {
		const char *folder = options->arguments.items[i];
		int code;

		if (strcmp(format, "text") == 0)
			code = print_file(folder, "summary.txt");
		else if (strcmp(format, "json") == 0)
			code = print_file(folder, "summary.json");
		else if (strcmp(format, "html") == 0)
			code = report_html(stdout, folder) < 0 ? EXIT_USAGE : EXIT_DONE;
		else
			code = EXIT_USAGE;
		if (code != EXIT_DONE)
			return code;
	}
	return EXIT_DONE;
}
