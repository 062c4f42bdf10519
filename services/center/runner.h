/* services/center/runner.h - jobs that are run: each center asks for leases each second, and goes
 * on with what it gets until it is over or the lease is lost. */
#ifndef CENTER_RUNNER_H
#define CENTER_RUNNER_H

#include <sys/queue.h>

#include "hf_loop.h"
#include "hf_metrics.h"
#include "saver.pb-c.h"

struct center;

struct runner {
	struct center *center;
	TAILQ_HEAD(, run) runs;
	size_t count;
	uint64_t owner; /* who we are to the savers; drawn at the start */
	struct hf_timer timer;
	bool asking, again; /* a call for leases is open; one more after it */
	bool draining;
	uint64_t *started, *lost, *finished[3]; /* cancelled, done, failed */
	struct hf_histogram *fanout_ms;
};

void runner_init(struct center *center);
void runner_free_all(struct center *center); /* at the end, when no call can come back any more */
void runner_kick(struct center *center);     /* a job was put: do not wait for the second */
/* A job was changed through this center: if we run it, act at once. */
void runner_job_changed(struct center *center, const Hf__Job *job);
/* Take nothing new, and hand over what we have. */
void runner_drain(struct center *center);

#endif
