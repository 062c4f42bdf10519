/* services/center/run_broadcast.c - a broadcast that is run, step by step:
 *
 *	the older one recalled --> in the log --> the log in the job's state --> counted, when its
 *	pace needs it --> tasks in all rooms, until all are done
 *
 * Each step can be done again by another center: that is how a dead one's work is gone on with. */
#include <errno.h>
#include <stdlib.h>

#include "recall.h"
#include "run.h"
#include "tasks.h"

int run_broadcast_open(struct run *run, const Hf__Job *job)
{
	run->broadcast = hf__broadcast__unpack(NULL, run->spec.len, run->spec.data);
	if (run->broadcast == NULL || run->broadcast->message_id != run->id ||
	    run->broadcast->app != run->app)
		return -EINVAL;
	if (job->progress != NULL)
		run_rooms_restore(run, job->progress);
	return 0;
}

void run_broadcast_close(struct run *run)
{
	if (run->broadcast != NULL)
		hf__broadcast__free_unpacked(run->broadcast, NULL);
	free(run->spans);
	free(run->span_list);
	free(run->rooms);
}

static bool is_stored(const struct run *run)
{
	return run->broadcast->class_ != HF__CLASS__TRANSIENT;
}

/* ---- the log ---- */

static void take_spans(struct run *run, size_t count, Hf__LoadableSpan *const *spans)
{
	Hf__LoadableSpan *copy = malloc(HF_MAX(count, (size_t)1) * sizeof(*copy));
	Hf__LoadableSpan **list = malloc(HF_MAX(count, (size_t)1) * sizeof(*list));

	if (copy == NULL || list == NULL) {
		free(copy);
		free(list);
		return; /* asked again in a second, as log_revision stays */
	}
	for (size_t i = 0; i < count; i++) {
		hf__loadable_span__init(&copy[i]);
		copy[i].from = spans[i]->from;
		copy[i].until = spans[i]->until;
		list[i] = &copy[i];
	}
	free(run->spans);
	free(run->span_list);
	run->spans = copy;
	run->span_list = list;
	run->span_count = count;
	run->log_revision = run->revision;
}

static bool is_loadable(size_t count, Hf__LoadableSpan *const *spans)
{
	return count > 0 && spans[count - 1]->until == 0;
}

static void on_log_changed(const Hf__LogChangeReply *reply, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run) || reply == NULL || !reply->known)
		return; /* the next second tries again, or knows better */
	if (is_loadable(reply->n_spans, reply->spans) == (run->state == HF__JOB_STATE__JOB_RUNNING))
		take_spans(run, reply->n_spans, reply->spans);
	run_advance(run);
}

static void change_log(struct run *run)
{
	Hf__LogChangeRequest request = HF__LOG_CHANGE_REQUEST__INIT;

	request.app = run->app;
	request.message_id = run->id;
	request.state = run->state == HF__JOB_STATE__JOB_PAUSED ? HF__LOG_STATE__HELD
								: HF__LOG_STATE__LOADABLE;
	run->busy = true;
	run->calls++;
	hf__saver__log_change(run_any_saver(run), &request, on_log_changed, run);
}

static void on_log_read(const Hf__LogReadReply *reply, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run) || reply == NULL || !reply->known)
		return;
	if (is_loadable(reply->n_spans, reply->spans) ==
	    (run->state == HF__JOB_STATE__JOB_RUNNING)) {
		take_spans(run, reply->n_spans, reply->spans);
		run_advance(run);
	} else {
		change_log(run);
	}
}

/* The log is brought into the state that the job has: usually it is, and only says its spans. */
static void read_log(struct run *run)
{
	Hf__LogReadRequest request = HF__LOG_READ_REQUEST__INIT;

	request.app = run->app;
	request.message_id = run->id;
	run->busy = true;
	run->calls++;
	hf__saver__log_read(run_any_saver(run), &request, on_log_read, run);
}

static void on_appended(const Hf__LogAppendReply *reply, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run))
		return;
	if (reply != NULL) {
		run->appended = true;
		run_advance(run);
	} else if (strcmp(hf_rpc_last_reason(), "LOG_FULL") == 0) {
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "LOG_FULL");
	} else if (hf_rpc_last_status() == HF_RPC_INVALID) {
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "REFUSED");
	}
}

static void append(struct run *run)
{
	Hf__LogAppendRequest request = HF__LOG_APPEND_REQUEST__INIT;

	request.app = run->app;
	request.broadcast = run->broadcast;
	run->busy = true;
	run->calls++;
	hf__saver__log_append(run_any_saver(run), &request, on_appended, run);
}

/* ---- the older message ---- */

static void on_recalled(const struct recall_result *result, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run))
		return;
	run->recalled = result->outcome != RECALL_UNAVAILABLE;
	if (run->recalled)
		run_advance(run);
}

static void recall_older(struct run *run)
{
	run->busy = true;
	run->calls++;
	recall_start(run->center, run->app, run->broadcast->replaces, true, on_recalled, run);
}

/* ---- all of it ---- */

static bool is_paced(const struct run *run)
{
	return run->rate_per_second > 0 || run->spread_ms > 0;
}

/* Only before it begins: what runs is cancelled by those who want that. */
static bool is_disabled(const struct run *run)
{
	const struct hf_app *app = hf_apps_get(run->center->apps, run->app);

	return run->room_count == 0 && (app != NULL ? !app->enabled : run_app_is_gone(run));
}

void run_broadcast_advance(struct run *run)
{
	const Hf__Broadcast *broadcast = run->broadcast;

	if (run->busy)
		return;
	if (!run->appended && is_disabled(run))
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "APP_DISABLED");
	else if (broadcast->expires_ms != 0 &&
		 broadcast->expires_ms <= hf_loop_wall_ms(run->center->loop))
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "EXPIRED");
	else if (broadcast->replaces != 0 && !run->recalled)
		recall_older(run);
	else if (is_stored(run) && !run->appended)
		append(run);
	else if (is_stored(run) && run->log_revision != run->revision)
		read_log(run);
	else if (is_paced(run) && !run->counted)
		run_rooms_count(run);
	else
		run_rooms_tick(run);
}

/* ---- cancelled ---- */

struct stopping {
	struct center *center;
	uint64_t id;
	uint32_t app, revision;
};

static void on_rooms_told(bool all, uint64_t written, void *ctx)
{
	/* A room that was not reached walks on until its task expires or is read no more; the log,
	 * which decides about logins, is settled. */
	free(ctx);
}

static void on_removed(const Hf__LogChangeReply *reply, void *ctx)
{
	struct stopping *stopping = ctx;

	if (stopping->center->stopping)
		free(stopping);
	else
		tasks_tell(stopping->center, stopping->app, stopping->id, stopping->revision,
			   HF__TASK_STATE__TASK_CANCEL, on_rooms_told, stopping);
}

void run_broadcast_stop(struct run *run)
{
	Hf__LogChangeRequest request = HF__LOG_CHANGE_REQUEST__INIT;
	struct stopping *stopping;

	if (run->broadcast == NULL)
		return;
	stopping = malloc(sizeof(*stopping));
	if (stopping == NULL)
		return; /* who cancelled it does the same */
	*stopping = (struct stopping){ run->center, run->id, run->app, run->revision };
	request.app = run->app;
	request.message_id = run->id;
	request.state = HF__LOG_STATE__REMOVED;
	hf__saver__log_change(run_any_saver(run), &request, on_removed, stopping);
}
