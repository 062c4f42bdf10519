#include "server.h"

#include <stdlib.h>

#include "fetch.h"

#define PAGE_MAX (4u << 20)

/* The value of a sample without labels, in Prometheus text. */
static bool sample(const char *page, const char *name, double *ret)
{
	size_t len = strlen(name);

	for (const char *line = page; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) != 0 || line[len] != ' ')
			continue;
		*ret = strtod(line + len, NULL);
		return true;
	}
	return false;
}

static bool add(const char *url, struct server_use *sum, char why[FETCH_WHY])
{
	struct target to;
	const char *path;
	char host[128], *page = NULL;
	double memory_b, cpu_s;
	bool found = false;

	snprintf(why, FETCH_WHY, "is no http://HOST:PORT of a known host");
	if (url_parse(url, &to, host, &path) == 0)
		page = fetch_get(&to, host, path, PAGE_MAX, why);
	if (page != NULL && sample(page, "process_resident_memory_bytes", &memory_b) &&
	    sample(page, "process_cpu_seconds_total", &cpu_s)) {
		sum->memory_b += memory_b;
		sum->cpu_s += cpu_s;
		found = true;
	}
	if (page != NULL && !found)
		snprintf(why, FETCH_WHY,
			 "lacks process_resident_memory_bytes and process_cpu_seconds_total");
	free(page);
	return found;
}

bool server_use(const struct options *options, struct server_use *ret)
{
	struct server_use sum = { 0 };
	char why[FETCH_WHY];

	for (size_t i = 0; i < options->server_metrics.count; i++) {
		if (add(options->server_metrics.items[i], &sum, why))
			continue;
		fprintf(stderr, "hf-bench: --server-metrics %s: %s\n",
			options->server_metrics.items[i], why);
		return false;
	}
	*ret = sum;
	return options->server_metrics.count > 0;
}
