/* services/center/runner.c - see runner.h and run.h. */
#define HF_LOG_MODULE "runner"
#include "runner.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "run.h"

#define LEASES_MAX           16
#define RUNS_MAX             256
#define SPEC_BUDGET          (24u << 20)
#define LEASE_HANDED_OVER_MS 1000 /* the shortest: another center takes it then */

/* ---- life ---- */

static void run_free(struct run *run)
{
	struct runner *runner = &run->center->runner;

	TAILQ_REMOVE(&runner->runs, run, link);
	runner->count--;
	hf_wheel_disarm(&run->timer);
	run_send_close(run);
	run_broadcast_close(run);
	hf_arena_deinit(&run->arena);
	free(run);
}

static void free_if_over(struct run *run)
{
	if (run->dropped && run->calls == 0)
		run_free(run);
}

static void drop(struct run *run)
{
	run->dropped = true;
	hf_wheel_disarm(&run->timer);
}

bool run_call_ended(struct run *run)
{
	run->calls--;
	if (!run->dropped && !run->center->stopping)
		return true;
	if (!run->center->stopping)
		free_if_over(run);
	return false;
}

ProtobufCService *run_any_saver(struct run *run)
{
	struct center *center = run->center;

	return hf_peers_call(center->savers, hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
			     (uint32_t)center->config->store_try_ms);
}

bool run_app_is_gone(const struct run *run)
{
	const struct hf_apps *apps = run->center->apps;

	return hf_apps_known(apps) && !hf_apps_has(apps, run->app);
}

void run_finish(struct run *run, Hf__JobState state, const char *reason)
{
	if (run->finishing)
		return;
	run->finishing = true;
	run->final_state = state;
	run->reason = reason;
	if (run_completed_wanted(run))
		run_completed_tell(run);
	else
		run_renew(run);
}

void run_advance(struct run *run)
{
	if (run->dropped || run->finishing || !run->claimed || run->center->stopping)
		return;
	if (run->kind == HF__JOB_KIND__JOB_BROADCAST)
		run_broadcast_advance(run);
	else
		run_send_advance(run);
}

/* ---- the lease ---- */

static void take_changes(struct run *run, const Hf__Job *job)
{
	run->state = job->state;
	run->revision = job->revision;
	run->rate_per_second = job->rate_per_second;
	run->spread_ms = job->duration_ms;
}

/* Another has the lease, or the job is final. A cancelled one is cleaned up after: whoever
 * cancelled it may have died before all was told. */
static void lost(struct run *run, const Hf__Job *job)
{
	if (job != NULL && job->state == HF__JOB_STATE__JOB_CANCELLED) {
		run->revision = job->revision;
		run_broadcast_stop(run);
	} else {
		++*run->center->runner.lost;
	}
	drop(run);
}

static void finished(struct run *run)
{
	struct runner *runner = &run->center->runner;
	uint64_t wall_ms = hf_loop_wall_ms(run->center->loop);
	char id[HF_ID_TEXT_SIZE];

	hf_id_format(run->id, id);
	hf_why_note(&run->center->service->why, HF_WHY_JOB_OVER, run->app, run->id, 0, 0);
	HF_INFO("job finished", "id=%s app=%u state=%d reason=%s", id, run->app, run->final_state,
		run->reason != NULL ? run->reason : "");
	++*runner->finished[run->final_state - HF__JOB_STATE__JOB_CANCELLED];
	if (run->kind == HF__JOB_KIND__JOB_BROADCAST && wall_ms > run->started_ms)
		hf_histogram_record(runner->fanout_ms, wall_ms - run->started_ms);
	drop(run);
}

static void on_renewed(const Hf__RenewJobReply *reply, void *ctx)
{
	struct run *run = ctx;

	run->renewing = false;
	if (!run_call_ended(run))
		return;
	if (reply != NULL && (!reply->held || reply->job == NULL)) {
		lost(run, reply->job);
	} else if (reply != NULL && job_is_final(reply->job)) {
		finished(run);
	} else if (reply != NULL) {
		run->claimed = true;
		run->leased_ms = run->asked_ms;
		take_changes(run, reply->job);
		if (run->finishing && !run->finish_sent && !run_completed_wanted(run))
			run_renew(run);
		run_advance(run);
	} else if (hf_loop_now_ms(run->center->loop) - run->leased_ms > RUN_LEASE_MS) {
		lost(run, NULL);
	}
	free_if_over(run);
}

static void send_renewal(struct run *run, uint32_t lease_ms)
{
	struct center *center = run->center;
	Hf__RenewJobRequest request = HF__RENEW_JOB_REQUEST__INIT;
	Hf__Job job = HF__JOB__INIT;
	bool finish = run->finishing && !run_completed_wanted(run);

	hf_arena_reset(&center->call);
	job.id = run->id;
	job.app = run->app;
	job.kind = run->kind;
	job.state = finish ? run->final_state : run->state;
	job.started_ms = run->started_ms;
	job.progress = run_rooms_progress(run, &center->call);
	if (finish) {
		job.finished_ms = hf_loop_wall_ms(center->loop);
		if (run->reason != NULL)
			job.reason = (ProtobufCBinaryData){ strlen(run->reason),
							    (uint8_t *)run->reason };
	}
	request.owner = center->runner.owner;
	request.lease_ms = lease_ms;
	request.finish = finish;
	request.job = &job;
	run->renewing = true;
	run->finish_sent = finish;
	run->asked_ms = hf_loop_now_ms(center->loop);
	run->calls++;
	hf__saver__renew_job(jobs_saver(center, run->app, run->id,
					(uint32_t)center->config->store_try_ms),
			     &request, on_renewed, run);
}

void run_renew(struct run *run)
{
	if (run->renewing || run->dropped || run->center->stopping)
		return;
	send_renewal(run, RUN_LEASE_MS);
}

/* When the lease was got counts from when it was asked for: the store's clock started later. */
static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct run *run = ctx;
	struct hf_loop *loop = run->center->loop;

	hf_loop_arm(loop, &run->timer, RUN_TICK_MS);
	if (hf_loop_now_ms(loop) - run->leased_ms > RUN_LEASE_MS) {
		lost(run, NULL);
		free_if_over(run);
		return;
	}
	run_renew(run);
	if (run->finishing && run_completed_wanted(run))
		run_completed_tell(run);
	else
		run_advance(run);
}

/* ---- what we get ---- */

static struct run *find_run(struct runner *runner, uint32_t app, uint64_t id)
{
	struct run *run;

	TAILQ_FOREACH (run, &runner->runs, link)
		if (run->id == id && run->app == app && !run->dropped)
			return run;
	return NULL;
}

static void begin(struct center *center, const Hf__Job *job, uint64_t asked_ms)
{
	struct runner *runner = &center->runner;
	struct run *run = calloc(1, sizeof(*run));
	char id[HF_ID_TEXT_SIZE];

	if (run == NULL)
		return; /* its lease lapses, and it is offered again */
	run->center = center;
	run->id = job->id;
	run->app = job->app;
	run->kind = job->kind;
	run->due_ms = job->due_ms;
	run->created_ms = job->created_ms;
	run->started_ms = job->started_ms > 0 ? job->started_ms : hf_loop_wall_ms(center->loop);
	run->leased_ms = asked_ms;
	hf_timer_init(&run->timer, on_timer, run);
	hf_arena_init(&run->arena, SPEC_BUDGET, 0);
	take_changes(run, job);
	if (job->label.len > 0)
		memcpy(run->label, job->label.data,
		       HF_MIN(job->label.len, (size_t)REQUEST_LABEL_MAX));
	run->spec = hf_bytes_of(hf_arena_copy(&run->arena, job->spec.data, job->spec.len),
				job->spec.len);
	TAILQ_INSERT_TAIL(&runner->runs, run, link);
	runner->count++;
	++*runner->started;
	hf_id_format(run->id, id);
	hf_why_note(&center->service->why, HF_WHY_JOB_LEASED, run->app, run->id, 0, 0);
	HF_INFO("job leased", "id=%s app=%u kind=%d state=%d resumed=%d", id, run->app, run->kind,
		run->state, job->started_ms > 0);
	hf_loop_arm(center->loop, &run->timer, RUN_TICK_MS);
	if (run->spec.data == NULL ||
	    (run->kind == HF__JOB_KIND__JOB_BROADCAST && run_broadcast_open(run, job) < 0))
		run_finish(run, HF__JOB_STATE__JOB_FAILED, "BAD_SPEC");
	else
		run_renew(run);
}

struct asking {
	struct center *center;
	size_t max;
	uint64_t asked_ms;
};

static void on_leased(const Hf__LeaseJobsReply *reply, void *ctx)
{
	struct asking *asking = ctx;
	struct center *center = asking->center;
	struct runner *runner = &center->runner;
	struct run *run;

	runner->asking = false;
	/* As many as were asked for: there are more, perhaps of other apps. */
	runner->again = runner->again || (reply != NULL && reply->n_jobs >= asking->max);
	for (size_t i = 0; reply != NULL && !center->stopping && i < reply->n_jobs; i++) {
		const Hf__Job *job = reply->jobs[i];

		run = find_run(runner, job->app, job->id);
		if (run != NULL)
			run->leased_ms = asking->asked_ms; /* it had lapsed, and is ours again */
		else if (!runner->draining)
			begin(center, job, asking->asked_ms);
	}
	free(asking);
	if (runner->again && !center->stopping)
		runner_kick(center);
}

void runner_kick(struct center *center)
{
	struct runner *runner = &center->runner;
	Hf__LeaseJobsRequest request = HF__LEASE_JOBS_REQUEST__INIT;
	struct asking *asking;

	runner->again = runner->asking;
	if (runner->asking || runner->draining || runner->count >= RUNS_MAX ||
	    hf_peers_count(center->savers) == 0)
		return;
	asking = malloc(sizeof(*asking));
	if (asking == NULL)
		return;
	*asking = (struct asking){ center, HF_MIN((size_t)LEASES_MAX, RUNS_MAX - runner->count),
				   hf_loop_now_ms(center->loop) };
	runner->asking = true;
	request.owner = runner->owner;
	request.lease_ms = RUN_LEASE_MS;
	request.max = (uint32_t)asking->max;
	hf__saver__lease_jobs(hf_peers_call(center->savers,
					    hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
					    (uint32_t)center->config->store_try_ms),
			      &request, on_leased, asking);
}

static void on_second(struct hf_timer *timer, void *ctx)
{
	struct center *center = ctx;

	hf_loop_arm(center->loop, &center->runner.timer, RUN_TICK_MS);
	runner_kick(center);
}

void runner_job_changed(struct center *center, const Hf__Job *job)
{
	struct run *run = find_run(&center->runner, job->app, job->id);

	if (run == NULL || job->revision < run->revision)
		return;
	if (job_is_final(job)) {
		run_renew(run); /* which tells us that it is not ours any more */
		return;
	}
	take_changes(run, job);
	run_advance(run);
}

/* ---- the process ---- */

static double read_runs(void *ctx)
{
	return (double)((struct center *)ctx)->runner.count;
}

static void make_metrics(struct runner *runner, struct hf_metrics *metrics)
{
	static const char name[] = "holdfast_center_jobs_finished_total";

	hf_metrics_gauge_fn(metrics, "holdfast_center_jobs_running", NULL,
			    "jobs that this center has the lease of", read_runs, runner->center);
	runner->started = hf_metrics_counter(metrics, "holdfast_center_jobs_leased_total", NULL,
					     "jobs that this center began or went on with");
	runner->lost = hf_metrics_counter(metrics, "holdfast_center_jobs_lost_total", NULL,
					  "leases that were lost to another center, or lapsed");
	runner->fanout_ms =
		hf_metrics_histogram(metrics, "holdfast_fanout_duration_seconds", NULL,
				     "from a broadcast's start until all rooms are done", 1000);
	runner->finished[0] = hf_metrics_counter(metrics, name, "state=\"cancelled\"",
						 "jobs that this center finished");
	runner->finished[1] = hf_metrics_counter(metrics, name, "state=\"done\"", NULL);
	runner->finished[2] = hf_metrics_counter(metrics, name, "state=\"failed\"", NULL);
}

void runner_init(struct center *center)
{
	struct runner *runner = &center->runner;

	runner->center = center;
	runner->owner = hf_id_next(&center->service->ids, hf_loop_wall_ms(center->loop));
	TAILQ_INIT(&runner->runs);
	hf_timer_init(&runner->timer, on_second, center);
	make_metrics(runner, center->service->metrics);
	hf_loop_arm(center->loop, &runner->timer, RUN_TICK_MS);
}

void runner_drain(struct center *center)
{
	struct runner *runner = &center->runner;
	struct run *run;

	runner->draining = true;
	TAILQ_FOREACH (run, &runner->runs, link) {
		if (run->dropped)
			continue;
		if (!run->renewing)
			send_renewal(run, LEASE_HANDED_OVER_MS);
		drop(run);
	}
}

void runner_free_all(struct center *center)
{
	struct runner *runner = &center->runner;

	if (runner->center == NULL)
		return;
	hf_wheel_disarm(&runner->timer);
	while (!TAILQ_EMPTY(&runner->runs))
		run_free(TAILQ_FIRST(&runner->runs));
}
