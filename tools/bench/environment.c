/* env.json: the machine that a run was made on, as far as it bears on the numbers. */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "output.h"

static void set_file_line(json_t *json, const char *name, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (file == NULL)
		return;
	if (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		json_object_set_new(json, name, json_string(line));
	}
	fclose(file);
}

static void set_processor(json_t *json)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[512];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		json_object_set_new(json, "cpu", json_string(colon + 1 + (colon[1] == ' ')));
		break;
	}
	if (file != NULL)
		fclose(file);
}

bool environment_write(const struct result *result, const char *folder)
{
	json_t *json = json_object();
	struct utsname name;
	struct rlimit limit;
	FILE *file = output_create(folder, "env.json");
	bool good = file != NULL;

	if (uname(&name) == 0)
		json_object_set_new(json, "kernel",
				    json_sprintf("%s %s %s", name.sysname, name.release,
						 name.machine));
	set_processor(json);
	json_object_set_new(json, "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		json_object_set_new(json, "descriptors", json_integer((json_int_t)limit.rlim_cur));
	set_file_line(json, "tcp_congestion_control", "/proc/sys/net/ipv4/tcp_congestion_control");
	set_file_line(json, "ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range");
	set_file_line(json, "somaxconn", "/proc/sys/net/core/somaxconn");
	set_file_line(json, "tcp_mem", "/proc/sys/net/ipv4/tcp_mem");
	set_file_line(json, "load_average_at_end", "/proc/loadavg");
	json_object_set_new(json, "version", json_string(HOLDFAST_VERSION));
	json_object_set_new(json, "run", result_run_json(result));
	good = good && json_dumpf(json, file, JSON_INDENT(2)) == 0;
	json_decref(json);
	return output_finish(file) && good;
}
