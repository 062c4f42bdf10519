#include "engine.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hf_clock.h"

#define TICK_NS    10000000ull
#define EVENTS_MAX 512

int engine_open(struct engine *engine, struct worker *worker)
{
	engine->worker = worker;
	engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return engine->epoll_fd < 0 ? -errno : 0;
}

void engine_close(struct engine *engine)
{
	if (engine->epoll_fd >= 0)
		close(engine->epoll_fd);
}

int engine_watch(struct engine *engine, int fd, int op, uint32_t events, struct source *source)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(engine->epoll_fd, op, fd, &event) < 0 ? -errno : 0;
}

static void read_clock(struct engine *engine)
{
	engine->now_ns = hf_clock_monotonic_ns();
	engine->wall_ns = engine_wall_of(engine, engine->now_ns);
}

static void tick(struct engine *engine)
{
	struct stats *stats = engine->worker->stats;
	uint64_t late_us = (engine->now_ns - engine->next_tick_ns) / 1000;
	struct rusage usage;

	if (late_us > stats->lag_max_us)
		stats->lag_max_us = late_us;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		stats->cpu_us =
			(uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
			(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	stats->heartbeat_turns++;
	/* Every tick that was missed was late, each by its own time; the work is done once. */
	for (; engine->next_tick_ns <= engine->now_ns; engine->next_tick_ns += TICK_NS)
		hf_histogram_record(&stats->hist[HIST_LAG],
				    (engine->now_ns - engine->next_tick_ns) / 1000);
	engine->on_tick(engine);
}

static int wait_events(struct engine *engine, struct epoll_event *events, uint64_t until_ns)
{
	struct timespec limit = { 0 };

	if (until_ns > engine->now_ns) {
		limit.tv_sec = (time_t)((until_ns - engine->now_ns) / 1000000000u);
		limit.tv_nsec = (long)((until_ns - engine->now_ns) % 1000000000u);
	}
	return epoll_pwait2(engine->epoll_fd, events, EVENTS_MAX, &limit, NULL);
}

void engine_run(struct engine *engine)
{
	struct epoll_event events[EVENTS_MAX];

	read_clock(engine);
	engine->next_tick_ns = engine->now_ns + TICK_NS;
	while (!engine->done && !engine->worker->shared->stop) {
		uint64_t next_ns = engine->on_schedule(engine);
		int count;

		read_clock(engine);
		count = wait_events(engine, events, HF_MIN(next_ns, engine->next_tick_ns));
		read_clock(engine);
		for (int i = 0; i < count; i++) {
			struct source *source = events[i].data.ptr;

			source->on_events(source, events[i].events);
		}
		if (engine->now_ns >= engine->next_tick_ns)
			tick(engine);
	}
}
