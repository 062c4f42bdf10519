/* merge: several runs of one test, from several hosts or commands, as one. report: what a folder
 * holds. */
#include <errno.h>
#include <stdlib.h>

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
	result->merged++;
}

int merge_command(const struct options *options)
{
	struct result result = { .options = options };
	int code;

	if (options->arguments.count < 2 || options->out == NULL) {
		fprintf(stderr, "hf-bench: merge needs two folders or more, and --out\n");
		return EXIT_USAGE;
	}
	code = thresholds_check_syntax(options);
	result.total = calloc(1, sizeof(*result.total));
	if (code != EXIT_DONE || result.total == NULL)
		return EXIT_USAGE;
	for (size_t i = 0; i < options->arguments.count; i++) {
		json_t *json = load_summary(options->arguments.items[i]);

		if (json == NULL)
			return EXIT_USAGE;
		add_run(&result, options->arguments.items[i], json);
		json_decref(json);
	}
	code = thresholds_run(&result);
	result_print(stdout, &result);
	if (result_write(&result, options->out) < 0) {
		fprintf(stderr, "hf-bench: %s can't be written\n", options->out);
		return EXIT_USAGE;
	}
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
