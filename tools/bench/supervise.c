/* The first process: starts the workers, prints a line each second, sums, and judges the run. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "hf_clock.h"
#include "hf_hash.h"
#include "output.h"
#include "prom.h"
#include "server.h"

#define START_DELAY_NS 20000000ull
#define BUSY_PERCENT   95.0 /* of one processor: a worker above it has no time to be exact */
#define BUSY_SHARE     0.1  /* of the seconds, may be so */
#define STOP_WAIT_MS   10000

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	interrupted = 1;
}

struct run {
	const struct options *options;
	struct shared *shared;
	struct targets targets;
	struct result result;
	pid_t pids[WORKERS_MAX];
	size_t alive;
	struct stats *before; /* the sum of a second ago */
	uint64_t cpu_before[WORKERS_MAX];
	double seconds_seen, seconds_busy;
	unsigned died;
	struct prom *prom;
	bool has_server;
	struct server_use server_before;
	double clock_offset_ns; /* the measured one, and whose clock it is */
	struct target clock;
	char clock_host[128];
};

void result_invalid(struct result *result, const char *fmt, ...)
{
	va_list args;

	if (result->reason_count == REASONS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(result->reasons[result->reason_count++], sizeof(result->reasons[0]), fmt, args);
	va_end(args);
}

static int worker_main(struct run *run, unsigned index)
{
	struct worker worker = { .options = run->options,
				 .shared = run->shared,
				 .stats = &run->shared->stats[index],
				 .index = index,
				 .count = (unsigned)run->options->processes,
				 .targets = &run->targets };
	int err;

	hf_random_reseed();
	/* The supervisor decides when to stop; and without it nobody would. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	err = run->options->command & COMMANDS_CLIENT ? clients_run(&worker) : load_run(&worker);
	if (err < 0)
		fprintf(stderr, "hf-bench: worker %u: %s\n", index, strerror(-err));
	return err < 0 ? 1 : 0;
}

static int start_workers(struct run *run)
{
	fflush(NULL);
	for (unsigned i = 0; i < run->options->processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return -errno;
		if (pid == 0)
			_exit(worker_main(run, i));
		run->pids[i] = pid;
		run->alive++;
	}
	return 0;
}

static void reap(struct run *run)
{
	int status;
	pid_t pid;

	while (run->alive > 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		run->alive--;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			run->died++;
		for (unsigned i = 0; i < run->options->processes; i++) {
			if (run->pids[i] == pid)
				run->pids[i] = 0;
		}
	}
}

static void sum(const struct run *run, struct stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < run->options->processes; i++)
		stats_add(ret, &run->shared->stats[i]);
}

enum hist main_hist(unsigned command)
{
	if (command & COMMANDS_LOAD)
		return HIST_REQUEST;
	if (command == COMMAND_UPSTREAM)
		return HIST_UPSTREAM;
	return command == COMMAND_CONN ? HIST_LOGIN : HIST_DELIVER;
}

static uint64_t closed_sum(const struct stats *stats)
{
	uint64_t n = stats->counters[COUNT_CUT];

	for (int i = 0; i < CLOSE_CODES; i++)
		n += stats->closed[i];
	return n;
}

static uint64_t rss_kib(const struct run *run)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < run->options->processes; i++) {
		char path[64];
		unsigned long long pages = 0, resident = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/statm", (int)run->pids[i]);
		if (run->pids[i] == 0 || (file = fopen(path, "r")) == NULL)
			continue;
		if (fscanf(file, "%llu %llu", &pages, &resident) == 2)
			total += resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
		fclose(file);
	}
	return total;
}

/* CPU of all workers in this interval; it counts as busy when one of them was. */
static double cpu_percent(struct run *run, double seconds)
{
	double total = 0;
	bool busy = false;

	for (unsigned i = 0; i < run->options->processes; i++) {
		uint64_t now_us = run->shared->stats[i].cpu_us;
		double percent = (double)(now_us - run->cpu_before[i]) / 1e4 / seconds;

		run->cpu_before[i] = now_us;
		total += percent;
		if (percent > BUSY_PERCENT && run->options->rate > 0)
			busy = true;
	}
	run->seconds_seen += seconds;
	run->seconds_busy += busy ? seconds : 0;
	return total;
}

static void second_hist(const struct hf_histogram *now, const struct hf_histogram *before,
			struct hf_histogram *ret)
{
	*ret = (struct hf_histogram){ .count = now->count - before->count,
				      .sum = now->sum - before->sum };
	for (unsigned i = 0; i < HF_HISTOGRAM_BUCKETS; i++) {
		ret->buckets[i] = now->buckets[i] - before->buckets[i];
		/* The quantile is looked for up to the bucket of `max`. */
		if (ret->buckets[i] > 0)
			ret->max = now->max;
	}
}

/* The latency beside `hist` that starts when what was due really left; itself when there is none.
 */
static enum hist uncorrected_hist(enum hist hist)
{
	return hist == HIST_LOGIN      ? HIST_LOGIN_UNCORRECTED
	       : hist == HIST_DELIVER  ? HIST_DELIVER_UNCORRECTED
	       : hist == HIST_REQUEST  ? HIST_REQUEST_UNCORRECTED
	       : hist == HIST_UPSTREAM ? HIST_UPSTREAM_UNCORRECTED
				       : hist;
}

/* Until all clients were logged in at once, in each worker; 0: they never were. */
static double setup_seconds(const struct run *run)
{
	uint64_t newest_ns = 0;

	for (unsigned i = 0; i < run->options->processes; i++) {
		uint64_t full_ns = run->shared->stats[i].full_ns;

		if (full_ns == 0)
			return 0;
		newest_ns = HF_MAX(newest_ns, full_ns);
	}
	return (double)(newest_ns - run->shared->start_ns) / 1e9;
}

static void on_all_there(struct run *run)
{
	struct server_use now;

	if (run->options->command & COMMANDS_CLIENT && run->has_server &&
	    server_use(run->options, &now))
		run->result.server_memory_b =
			(now.memory_b - run->server_before.memory_b) / (double)run->options->count;
}

static void add_row(struct run *run, double t, double seconds)
{
	struct result *result = &run->result;
	struct stats *now = result->total, *before = run->before;
	struct hf_histogram *second = malloc(sizeof(*second));
	enum hist hist = main_hist(run->options->command);
	struct row row = { .t = t };

	sum(run, now);
	if (second == NULL)
		return;
	second_hist(&now->hist[hist], &before->hist[hist], second);
	row.open = now->open;
	row.opening = now->opening;
	row.failed = now->counters[COUNT_FAILED];
	row.closed = closed_sum(now);
	row.cut = now->counters[COUNT_CUT];
	row.reconnected = now->counters[COUNT_RECONNECTED];
	row_take_codes(result, &row);
	row.open_change = (double)(now->open - before->open) / seconds;
#define RATE(counter) \
	(uint64_t)((double)(now->counters[counter] - before->counters[counter]) / seconds + 0.5)
	row.rx_messages = RATE(COUNT_RX_MESSAGES);
	row.rx_bytes = RATE(COUNT_RX_BYTES);
	row.requests = RATE(COUNT_ANSWERED);
	row.accepted = RATE(COUNT_ACCEPTED);
#undef RATE
	row.dropped_arrivals = now->counters[COUNT_DROPPED_ARRIVALS];
	row.p50 = hf_histogram_quantile(second, 0.5);
	row.p90 = hf_histogram_quantile(second, 0.9);
	row.p99 = hf_histogram_quantile(second, 0.99);
	row.p999 = hf_histogram_quantile(second, 0.999);
	row.max = hf_histogram_quantile(second, 1);
	if (uncorrected_hist(hist) != hist) {
		second_hist(&now->hist[uncorrected_hist(hist)],
			    &before->hist[uncorrected_hist(hist)], second);
		row.p99_uncorrected = hf_histogram_quantile(second, 0.99);
	}
	row.missing = now->counters[COUNT_EXPECTED] > now->counters[COUNT_UNIQUE]
			      ? now->counters[COUNT_EXPECTED] - now->counters[COUNT_UNIQUE]
			      : 0;
	row.duplicated = now->counters[COUNT_DUPLICATED];
	row.cpu_percent = cpu_percent(run, seconds);
	row.lag_ms = (double)now->lag_max_us / 1e3;
	row.rss_kib = rss_kib(run);
	for (unsigned i = 0; i < run->options->processes; i++)
		run->shared->stats[i].lag_max_us = 0;
	free(second);
	memcpy(before, now, sizeof(*before));
	if (result->setup_s <= 0 && (result->setup_s = setup_seconds(run)) > 0)
		on_all_there(run);
	if (!run->options->quiet)
		row_print(stderr, &row, run->options);
	if (result->row_count == result->row_capacity) {
		size_t capacity = HF_MAX(64, 2 * result->row_capacity);
		struct row *grown = reallocarray(result->rows, capacity, sizeof(*grown));

		if (grown == NULL)
			return;
		result->rows = grown;
		result->row_capacity = capacity;
	}
	result->rows[result->row_count++] = row;
}

static bool expected_came(const struct run *run)
{
	uint64_t unique = 0;

	for (unsigned i = 0; i < run->options->processes; i++)
		unique += run->shared->stats[i].counters[COUNT_UNIQUE];
	return run->options->expect > 0 && unique >= run->options->expect;
}

static void watch(struct run *run)
{
	uint64_t start_ns = run->shared->start_ns, last_ns = start_ns;
	uint64_t stop_ns = 0;

	while (run->alive > 0) {
		uint64_t now_ns = hf_clock_monotonic_ns();
		uint64_t row_ns = last_ns + run->options->interval_ms * 1000000u;

		if (now_ns >= row_ns) {
			add_row(run, (double)(now_ns - start_ns) / 1e9,
				(double)(now_ns - last_ns) / 1e9);
			last_ns = now_ns;
		}
		if (interrupted || run->died > 0 || expected_came(run))
			run->shared->stop = true;
		if (run->shared->stop && stop_ns == 0)
			stop_ns = now_ns;
		for (unsigned i = 0; stop_ns != 0 && now_ns > stop_ns + STOP_WAIT_MS * 1000000ull &&
				     i < run->options->processes;
		     i++) {
			if (run->pids[i] != 0)
				kill(run->pids[i], SIGKILL);
		}
		prom_turn(run->prom, 20);
		reap(run);
	}
	run->result.seconds = (double)(hf_clock_monotonic_ns() - start_ns) / 1e9;
	sum(run, run->result.total);
	if (run->result.setup_s <= 0)
		run->result.setup_s = setup_seconds(run);
}

static void judge(struct run *run)
{
	struct result *result = &run->result;
	const struct hf_histogram *lag = &result->total->hist[HIST_LAG];
	uint64_t p99_us = hf_histogram_quantile(lag, 0.99);

	if (run->died > 0)
		result_invalid(result, "%u worker processes died", run->died);
	if (p99_us > run->options->lag_limit_ms * 1000)
		result_invalid(result, "the tool's own lag was %.1f ms at p99, above %llu ms",
			       (double)p99_us / 1e3,
			       (unsigned long long)run->options->lag_limit_ms);
	if (run->seconds_busy > BUSY_SHARE * run->seconds_seen && run->seconds_busy > 1.5)
		result_invalid(result,
			       "a worker used more than %.0f%% of a processor in %.0f of %.0f s",
			       BUSY_PERCENT, run->seconds_busy, run->seconds_seen);
}

static void *map_shared(const struct options *options, size_t size)
{
	void *memory = MAP_FAILED;
	int fd;

	if (options->stats_file == NULL)
		return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fd = open(options->stats_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return memory;
}

/* Exact, as the clocks of two runs on one machine are compared through it. */
static int64_t wall_offset_ns(void)
{
	struct timespec now;
	uint64_t before_ns = hf_clock_monotonic_ns(), after_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	after_ns = hf_clock_monotonic_ns();
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec -
	       (int64_t)(before_ns + (after_ns - before_ns) / 2);
}

/* Times of messages are in this clock: the machine's own, or the one that --clock names. */
static int clock_begin(struct run *run)
{
	const char *url = run->options->clock, *path;
	struct clock *clock = &run->result.clock;
	struct clock_bounds bounds;
	int err;

	run->shared->wall_offset = wall_offset_ns();
	if (url == NULL)
		return EXIT_DONE;
	if (url_parse(url, &run->clock, run->clock_host, &path) < 0) {
		fprintf(stderr, "hf-bench: --clock %s: is no http://HOST:PORT\n", url);
		return EXIT_USAGE;
	}
	err = clock_measure(&run->clock, run->clock_host, &bounds);
	if (err < 0) {
		fprintf(stderr, "hf-bench: --clock %s: %s\n", url,
			err == -EAGAIN ? "no answer in time" : strerror(-err));
		return EXIT_UNREACHABLE;
	}
	run->clock_offset_ns = (bounds.low + bounds.high) / 2;
	clock->source = url;
	clock->offset_ms = (run->clock_offset_ns - (double)run->shared->wall_offset) / 1e6;
	clock->error_ms = (bounds.high - bounds.low) / 2e6;
	run->shared->wall_offset = (int64_t)run->clock_offset_ns;
	return EXIT_DONE;
}

/* Clocks drift apart: what was measured before must cover what holds after. */
static void clock_end(struct run *run)
{
	struct clock_bounds bounds;
	double offset_ns = run->clock_offset_ns, error_ns;

	if (run->options->clock == NULL)
		return;
	if (clock_measure(&run->clock, run->clock_host, &bounds) < 0) {
		result_invalid(&run->result, "the clock could not be measured again at the end");
		return;
	}
	error_ns = HF_MAX(bounds.high - offset_ns, offset_ns - bounds.low);
	run->result.clock.error_ms = HF_MAX(run->result.clock.error_ms, error_ns / 1e6);
}

static void server_end(struct run *run)
{
	struct server_use now;

	if (run->has_server && server_use(run->options, &now))
		run->result.server_cpu_s = now.cpu_s - run->server_before.cpu_s;
}

static void collect(void *ctx, struct stats *ret)
{
	sum(ctx, ret);
}

/* What must be there before the first worker starts. */
static int prepare(struct run *run)
{
	const struct options *options = run->options;
	int code, err;

	/* Not after an hour of measuring. */
	if (options->out != NULL && (err = output_folders(options->out)) < 0) {
		fprintf(stderr, "hf-bench: --out %s: %s\n", options->out, strerror(-err));
		return EXIT_USAGE;
	}
	code = clock_begin(run);
	if (code != EXIT_DONE)
		return code;
	run->result.server_memory_b = run->result.server_cpu_s = -1;
	if (options->server_metrics.count > 0) {
		run->has_server = server_use(options, &run->server_before);
		if (!run->has_server)
			return EXIT_UNREACHABLE;
	}
	if (options->prom != NULL &&
	    (err = prom_open(options->prom, collect, run, &run->prom)) < 0) {
		fprintf(stderr, "hf-bench: --prom %s: %s\n", options->prom, strerror(-err));
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

static void run_all(struct run *run)
{
	run->result.wall_ms = hf_clock_wall_ms();
	run->shared->start_ns = hf_clock_monotonic_ns() + START_DELAY_NS;
	run->result.start_ns = run->shared->start_ns;
	run->result.main = main_hist(run->options->command);
	run->shared->run = (uint32_t)(run->result.wall_ms ^ (uint64_t)getpid() << 20) | 1;
	if (start_workers(run) < 0) {
		run->shared->stop = true;
		run->died++;
	}
	watch(run);
	server_end(run);
	clock_end(run);
	judge(run);
}

static int exit_code(const struct run *run, int threshold_code)
{
	const struct stats *total = run->result.total;

	if (run->options->command & COMMANDS_CLIENT && total->counters[COUNT_LOGINS] == 0)
		return EXIT_UNREACHABLE;
	if (run->options->command & COMMANDS_LOAD && total->counters[COUNT_ANSWERED] == 0)
		return EXIT_UNREACHABLE;
	if (threshold_code != EXIT_DONE)
		return threshold_code;
	return run->result.reason_count > 0 ? EXIT_INVALID : EXIT_DONE;
}

int supervise(const struct options *options)
{
	struct run run = { .options = options };
	size_t size = sizeof(struct shared) + options->processes * sizeof(struct stats);
	struct sigaction action = { .sa_handler = on_signal };
	int err = thresholds_check_syntax(options);

	if (err == EXIT_DONE)
		err = targets_open(options, &run.targets);
	if (err != EXIT_DONE) {
		targets_close(&run.targets);
		return err;
	}
	run.shared = map_shared(options, size);
	run.result.options = options;
	environment_machine(&run.result);
	run.result.total = calloc(1, sizeof(struct stats));
	run.before = calloc(1, sizeof(struct stats));
	if (run.shared == MAP_FAILED && options->stats_file != NULL) {
		fprintf(stderr, "hf-bench: --stats-file %s: can't be written\n",
			options->stats_file);
		free(run.result.total);
		free(run.before);
		targets_close(&run.targets);
		return EXIT_USAGE;
	}
	if (run.shared == MAP_FAILED || run.result.total == NULL || run.before == NULL) {
		fprintf(stderr, "hf-bench: no memory for the counters\n");
		return EXIT_INVALID;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = prepare(&run);
	if (err != EXIT_DONE)
		goto out;
	run_all(&run);
	err = thresholds_run(&run.result);
	result_print(stdout, &run.result);
	err = exit_code(&run, err);
	if (options->out != NULL && result_write(&run.result, options->out) < 0) {
		fprintf(stderr, "hf-bench: %s can't be written\n", options->out);
		err = EXIT_USAGE;
	}
out:
	prom_close(run.prom);
	free(run.result.rows);
	free(run.result.total);
	free(run.before);
	munmap(run.shared, size);
	targets_close(&run.targets);
	return err;
}
