/* tools/bench/engine.h - a worker's loop: one epoll set, a schedule, and its own lag watched.
 *
 * Every 10 ms a tick is due. How late it runs is the lag: it tells both a loop that is too busy and
 * a process that did not get a processor, and decides whether the run is worth anything. */
#ifndef ENGINE_H
#define ENGINE_H

#include <sys/epoll.h>

#include "bench.h"

/* What epoll carries; the first member of what owns a descriptor. */
struct source {
	void (*on_events)(struct source *source, uint32_t events);
};

struct engine {
	int epoll_fd;
	struct worker *worker;
	uint64_t now_ns, wall_ns; /* monotonic and wall clock, read once a turn */
	uint64_t next_tick_ns;
	bool done;
	/* Makes what is due; returns when it wants to run again (UINT64_MAX: at the next tick). */
	uint64_t (*on_schedule)(struct engine *engine);
	void (*on_tick)(struct engine *engine);
	void *ctx;
};

int engine_open(struct engine *engine, struct worker *worker);
void engine_run(struct engine *engine); /* until `done` or the supervisor says stop */
void engine_close(struct engine *engine);
int engine_watch(struct engine *engine, int fd, int op, uint32_t events, struct source *source);

static inline uint64_t engine_wall_of(const struct engine *engine, uint64_t monotonic_ns)
{
	return monotonic_ns + (uint64_t)engine->worker->shared->wall_offset;
}

#endif
