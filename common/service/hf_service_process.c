/* common/service/hf_service_process.c - the numbers that every process shows, under the names that
 * Prometheus' own client libraries use, and its limits. */
#define HF_LOG_MODULE "service"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hf_log.h"
#include "hf_service_internal.h"
#include "hf_version.h"

#define FDS_WALKED_MAX 8192

static double read_cpu_seconds(void *ctx)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double read_resident_bytes(void *ctx)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The size of the descriptor table: at least the number of open ones. */
static double read_fd_table_size(void)
{
	unsigned long size = 0;
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "FDSize: %lu", &size) == 1)
			break;
	}
	fclose(file);
	return (double)size;
}

/* Linux tells the number as the folder's size from 6.2 on. Before, the folder must be walked, which
 * would stop a room with a million connections for a second: past a bound the table's size has to
 * do. */
static double read_open_fds(void *ctx)
{
	unsigned long open_fds = 0;
	struct stat st;
	DIR *dir;

	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
		return (double)st.st_size;
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return 0;
	while (open_fds < FDS_WALKED_MAX && readdir(dir) != NULL)
		open_fds++;
	closedir(dir);
	if (open_fds == FDS_WALKED_MAX)
		return read_fd_table_size();
	return open_fds >= 3 ? (double)(open_fds - 3) : 0; /* ".", ".." and the folder's own */
}

static double read_max_fds(void *ctx)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

static double read_start_seconds(void *ctx)
{
	return (double)((const struct hf_instance *)ctx)->since_ms / 1000;
}

void hf_process_metrics(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;
	struct hf_metrics *m = service->metrics;
	char labels[128];

	snprintf(labels, sizeof(labels), "version=\"" HF_VERSION "\",role=\"%s\"",
		 service->type->name);
	*hf_metrics_gauge(m, "holdfast_build_info", labels, "What runs here; always 1") = 1;
	hf_metrics_counter_fn(m, "process_cpu_seconds_total", NULL, "CPU time, user and system",
			      read_cpu_seconds, NULL);
	hf_metrics_gauge_fn(m, "process_resident_memory_bytes", NULL, "Resident memory",
			    read_resident_bytes, NULL);
	hf_metrics_gauge_fn(m, "process_open_fds", NULL, "Open file descriptors", read_open_fds,
			    NULL);
	hf_metrics_gauge_fn(m, "process_max_fds", NULL, "Most file descriptors allowed",
			    read_max_fds, NULL);
	hf_metrics_gauge_fn(m, "process_start_time_seconds", NULL, "Start, seconds since 1970",
			    read_start_seconds, &service->instance);
	service->loop->turn_us =
		hf_metrics_histogram(m, "holdfast_loop_turn_seconds", NULL,
				     "Busy time of one turn of the event loop", 1000000);

	runtime->reloads_ok = hf_metrics_counter(m, "holdfast_config_reloads_total",
						 "result=\"ok\"", "Reloads by result");
	runtime->reloads_failed = hf_metrics_counter(m, "holdfast_config_reloads_total",
						     "result=\"failed\"", "Reloads by result");
	runtime->reload_successful =
		hf_metrics_gauge(m, "holdfast_config_last_reload_successful", NULL,
				 "1 when the newest configuration that was read is in force");
	runtime->reload_time =
		hf_metrics_gauge(m, "holdfast_config_last_reload_success_timestamp_seconds", NULL,
				 "When the configuration in force was read, seconds since 1970");
	runtime->drain_active =
		hf_metrics_gauge(m, "holdfast_drain_active", NULL, "1 while the process drains");
	*runtime->reload_successful = 1;
	*runtime->reload_time = (int64_t)(hf_loop_wall_ms(service->loop) / 1000);
}

void hf_process_raise_limits(void)
{
	struct rlimit limit;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (before < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		HF_WARN("descriptor limit not raised", "limit=%" PRIu64 " err=%s", (uint64_t)before,
			strerror(errno));
		return;
	}
	HF_INFO("descriptor limit", "limit=%" PRIu64 " was=%" PRIu64, (uint64_t)limit.rlim_cur,
		(uint64_t)before);
}
