/* env.json: the machine that a run was made on, as far as it bears on the numbers. */
#include <gnu/libc-version.h>
#include <net/if.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commit.h"
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

void environment_machine(struct result *result)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (gethostname(result->host, sizeof(result->host) - 1) < 0)
		result->host[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(result->machine, sizeof(result->machine), file) != NULL)
		result->machine[strcspn(result->machine, "\n")] = '\0';
	fclose(file);
}

static void set_limits(json_t *json)
{
	static const struct {
		const char *name;
		int resource;
	} rows[] = { { "open_files", RLIMIT_NOFILE },
		     { "processes", RLIMIT_NPROC },
		     { "memory_bytes", RLIMIT_AS },
		     { "locked_bytes", RLIMIT_MEMLOCK } };
	json_t *limits = json_object();
	struct rlimit limit;

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		if (getrlimit(rows[i].resource, &limit) == 0)
			json_object_set_new(limits, rows[i].name,
					    limit.rlim_cur == RLIM_INFINITY
						    ? json_string("unlimited")
						    : json_integer((json_int_t)limit.rlim_cur));
	}
	json_object_set_new(json, "ulimits", limits);
}

static void set_sysctls(json_t *json)
{
	static const char *const names[] = { "net/ipv4/tcp_congestion_control",
					     "net/ipv4/ip_local_port_range",
					     "net/ipv4/tcp_mem",
					     "net/ipv4/tcp_rmem",
					     "net/ipv4/tcp_wmem",
					     "net/ipv4/tcp_tw_reuse",
					     "net/ipv4/tcp_fin_timeout",
					     "net/ipv4/tcp_max_syn_backlog",
					     "net/core/somaxconn",
					     "net/core/netdev_max_backlog",
					     "net/core/rmem_max",
					     "net/core/wmem_max",
					     "net/netfilter/nf_conntrack_max",
					     "fs/file-max",
					     "fs/nr_open" };
	json_t *values = json_object();
	char path[128];

	for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", names[i]);
		set_file_line(values, names[i], path);
	}
	json_object_set_new(json, "sysctl", values);
}

/* Links but the loopback: what they say of their speed (Mbit/s) and size of packets. */
static void set_links(json_t *json)
{
	struct if_nameindex *links = if_nameindex();
	json_t *all = json_object();
	char path[128];

	for (struct if_nameindex *link = links; link != NULL && link->if_index != 0; link++) {
		json_t *one;

		if (strcmp(link->if_name, "lo") == 0)
			continue;
		one = json_object();
		snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", link->if_name);
		set_file_line(one, "mtu", path);
		snprintf(path, sizeof(path), "/sys/class/net/%s/speed", link->if_name);
		set_file_line(one, "speed", path);
		json_object_set_new(all, link->if_name, one);
	}
	if_freenameindex(links);
	json_object_set_new(json, "nic", all);
}

bool environment_write(const struct result *result, const char *folder)
{
	json_t *json = json_object();
	struct utsname name;
	FILE *file = output_create(folder, "env.json");
	bool good = file != NULL;

	if (uname(&name) == 0)
		json_object_set_new(json, "kernel",
				    json_sprintf("%s %s %s", name.sysname, name.release,
						 name.machine));
	set_processor(json);
	json_object_set_new(json, "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_set_new(json, "memory_bytes",
			    json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) *
					 sysconf(_SC_PAGESIZE)));
	set_file_line(json, "load_average_at_end", "/proc/loadavg");
	set_links(json);
	set_limits(json);
	set_sysctls(json);
	json_object_set_new(json, "versions",
			    json_pack("{s:s, s:s, s:s, s:s, s:s}", "hf-bench", HOLDFAST_VERSION,
				      "commit", HOLDFAST_COMMIT, "openssl",
				      OpenSSL_version(OPENSSL_VERSION), "jansson",
				      jansson_version_str(), "libc", gnu_get_libc_version()));
	json_object_set_new(json, "run", result_run_json(result));
	good = good && json_dumpf(json, file, JSON_INDENT(2)) == 0;
	json_decref(json);
	return output_finish(file) && good;
}
