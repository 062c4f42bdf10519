/* services/center/jobs.h - jobs, as center asks the savers about them: put, read, changed; and how
 * the API words them. What runs them is runner.c. */
#ifndef CENTER_JOBS_H
#define CENTER_JOBS_H

#include <jansson.h>

#include "center.h"
#include "problem.h"

#define JOB_SPEC_MAX (256u << 10)
/* A final job is remembered this long beyond the life of its message. */
#define JOB_KEEP_MS (7ull * 86400 * 1000)

/* The saver to ask about this job: the owner of the slot of (app, id as text). */
ProtobufCService *jobs_saver(struct center *center, uint32_t app, uint64_t id, uint32_t timeout_ms);

/* Puts a job, again until it is known to be there or store.timeout is over. */
struct job_put {
	struct center *center;
	const Hf__Job *job; /* borrowed until `done` */
	uint32_t running_max;
	uint64_t deadline_ms;
	unsigned attempts;
	struct hf_timer timer;
	/* Once, later. 0, or -EINVAL with a problem. */
	void (*done)(void *ctx, int err, const struct problem *problem);
	void *ctx;
};
void job_put_start(struct job_put *put, struct center *center, const Hf__Job *job,
		   uint32_t running_max, void (*done)(void *, int, const struct problem *),
		   void *ctx);
void job_put_cancel(struct job_put *put); /* no call is open; also of a zeroed one */

/* "scheduled", "sending", "paused", ...: the words of a message's state. */
const char *job_state_name(const Hf__Job *job);
/* A job as the API shows it: a broadcast as a whole, of a scheduled send what is not in the
 * message's own counters. `acked`: registrations, < 0: not known. */
json_t *job_word(const Hf__Job *job, int64_t acked);
bool job_is_final(const Hf__Job *job);
/* Was it put for a time after its creation, and is that to come? */
bool job_is_scheduled(const Hf__Job *job);

#endif
