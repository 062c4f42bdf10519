/* services/center/run_send.c - a send that was put off until its time: the request is read again,
 * as it was accepted, and goes the way of every send, under the id that was answered then. */
#include <errno.h>

#include "message.h"
#include "recall.h"
#include "resolve.h"
#include "run.h"

void run_send_close(struct run *run)
{
	if (run->message != NULL)
		message_release(run->message);
	run->message = NULL;
}

/* Whoever it was stored for has it; if that is nobody, the send failed. */
static void over(struct run *run, const char *reason)
{
	if (run->stored)
		run_finish(run, HF__JOB_STATE__JOB_DONE, NULL);
	else
		run_finish(run, HF__JOB_STATE__JOB_FAILED, reason);
}

/* The next try is for those alone that this one could not be stored for: who has it may have acked
 * it by then, and would get it again. */
static void keep_failed(struct run *run, const struct message *message)
{
	size_t count = 0;

	for (size_t i = 0; i < message->target_count; i++)
		if (message->targets[i].outcome == TARGET_FAILED)
			run->request.targets[count++] = run->request.targets[i];
	run->request.target_count = count;
}

static void on_event(struct message *message, enum message_event event, void *ctx)
{
	struct run *run = ctx;

	if (event != MESSAGE_STORED)
		return;
	if (run->targets == 0)
		run->gone.targets = run->targets = message->target_count;
	run->stored = run->stored || message->accepted > 0;
	if (message->failed == 0)
		over(run, "UNREGISTERED");
	else /* a store is away: nobody but us tries once more for them */
		keep_failed(run, message);
}

static void make_message(struct run *run)
{
	const struct hf_app *app = hf_apps_get(run->center->apps, run->app);
	int err;

	if (app == NULL && !run_app_is_gone(run))
		return; /* once more in a second */
	if (app == NULL || !app->enabled) {
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "APP_DISABLED");
		return;
	}
	/* The job's pace is the request's, until somebody changes it. */
	run->request.rate_per_second = run->rate_per_second;
	run->request.spread_ms = run->spread_ms;
	err = message_new(run->center, app, &run->request, run->id, &run->message);
	if (err == -EMSGSIZE)
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "PAYLOAD_TOO_LARGE");
	else if (err == 0)
		message_start(run->message, on_event, run);
}

static void on_recalled(const struct recall_result *result, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run))
		return;
	run->recalled = result->outcome != RECALL_UNAVAILABLE;
	if (run->recalled)
		make_message(run);
}

static void on_resolved(void *ctx, int err, struct hf_bytes *targets, size_t count,
			const struct problem *problem)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run))
		return;
	if (err < 0 && problem->code != 503) {
		run_finish(run, HF__JOB_STATE__JOB_FAILED, problem->reason);
		return;
	}
	if (err < 0)
		return; /* once more in a second */
	run->request.targets = targets;
	run->request.target_count = count;
	run->resolved = true;
	run_advance(run);
}

/* 0, or -EINVAL: what was accepted is accepted no more, as the app's limits were lowered. */
static int parse(struct run *run)
{
	const struct hf_app *app = hf_apps_get(run->center->apps, run->app);
	struct problem problem;

	if (app == NULL) {
		if (run_app_is_gone(run))
			run_finish(run, HF__JOB_STATE__JOB_FAILED, "APP_UNKNOWN");
		return -EAGAIN;
	}
	if (request_parse(run->spec, app->payload_max, run->created_ms, &run->arena, &run->request,
			  &problem) == 0) {
		run->parsed = true;
		return 0;
	}
	run_finish(run, HF__JOB_STATE__JOB_FAILED, problem.reason);
	return -EINVAL;
}

void run_send_advance(struct run *run)
{
	if (run->busy || run->state != HF__JOB_STATE__JOB_RUNNING)
		return;
	if (!run->parsed && parse(run) < 0)
		return;
	if (run->request.class != REQUEST_TRANSIENT &&
	    run->due_ms + run->request.ttl_ms <= hf_loop_wall_ms(run->center->loop)) {
		over(run, "EXPIRED");
	} else if (run->message != NULL) {
		/* Being stored; or it could not be for some, and is tried anew. */
		if (run->message->phase == MESSAGE_DONE) {
			message_release(run->message);
			run->message = NULL;
		}
	} else if (!run->resolved) {
		run->busy = true;
		run->calls++;
		resolve_start(run->center, run->app, &run->request, &run->arena, on_resolved, run);
	} else if (run->request.replaces != 0 && !run->recalled) {
		run->busy = true;
		run->calls++;
		recall_start(run->center, run->app, run->request.replaces, true, on_recalled, run);
	} else {
		make_message(run);
	}
}
