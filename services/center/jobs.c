/* services/center/jobs.c - see jobs.h. */
#include "jobs.h"

#include <errno.h>

#include "hf_backoff.h"
#include "hf_clock.h"
#include "hf_rpc.h"

#define RETRY_BASE_MS 50
#define RETRY_CAP_MS  400

ProtobufCService *jobs_saver(struct center *center, uint32_t app, uint64_t id, uint32_t timeout_ms)
{
	char text[HF_ID_TEXT_SIZE];
	uint16_t slot;

	hf_id_format(id, text);
	slot = hf_service_slot(center->service, app, text, strlen(text));
	return hf_peers_call(center->savers, hf_peers_by_slot(center->savers, slot), timeout_ms);
}

/* ---- put ---- */

static void try_put(struct job_put *put);

static void on_timer(struct hf_timer *timer, void *ctx)
{
	try_put(ctx);
}

static void put_failed(struct job_put *put)
{
	struct center *center = put->center;
	struct hf_backoff backoff = { RETRY_BASE_MS, RETRY_CAP_MS, put->attempts++ };
	uint64_t delay_ms = 1 + hf_backoff_next_ms(&backoff);
	struct problem problem;

	if (strcmp(hf_rpc_last_reason(), "BROADCAST_CONCURRENCY") == 0) {
		problem_retry(&problem, 429, "BROADCAST_CONCURRENCY", 5,
			      "the app has as many broadcasts running as its limit allows");
		put->done(put->ctx, -EINVAL, &problem);
	} else if (strcmp(hf_rpc_last_reason(), "JOBS_FULL") == 0) {
		problem_retry(
			&problem, 429, "TOO_MANY_JOBS", 60,
			"the app has as many open broadcasts and scheduled sends as are kept");
		put->done(put->ctx, -EINVAL, &problem);
	} else if (hf_rpc_last_status() == HF_RPC_INVALID) {
		problem_set(&problem, 500, "INTERNAL", NULL, NULL, "the store refused the job");
		put->done(put->ctx, -EINVAL, &problem);
	} else if (center->stopping ||
		   hf_loop_now_ms(center->loop) + delay_ms >= put->deadline_ms) {
		problem_retry(&problem, 503, "STORE_UNAVAILABLE", 1,
			      "the message could not be stored in time; it may be sent again, best "
			      "with an idempotency key");
		put->done(put->ctx, -EINVAL, &problem);
	} else {
		hf_loop_arm(center->loop, &put->timer, delay_ms);
	}
}

static void on_put(const Hf__PutJobReply *reply, void *ctx)
{
	struct job_put *put = ctx;

	if (reply == NULL)
		put_failed(put);
	else
		put->done(put->ctx, 0, NULL);
}

static void try_put(struct job_put *put)
{
	Hf__PutJobRequest request = HF__PUT_JOB_REQUEST__INIT;

	request.job = (Hf__Job *)put->job;
	request.running_max = put->running_max;
	hf__saver__put_job(jobs_saver(put->center, put->job->app, put->job->id,
				      (uint32_t)put->center->config->store_try_ms),
			   &request, on_put, put);
}

void job_put_start(struct job_put *put, struct center *center, const Hf__Job *job,
		   uint32_t running_max, void (*done)(void *, int, const struct problem *),
		   void *ctx)
{
	*put = (struct job_put){
		.center = center, .job = job, .running_max = running_max, .done = done, .ctx = ctx
	};
	put->deadline_ms = hf_loop_now_ms(center->loop) + center->config->store_total_ms;
	hf_timer_init(&put->timer, on_timer, put);
	try_put(put);
}

void job_put_cancel(struct job_put *put)
{
	if (put->center != NULL)
		hf_wheel_disarm(&put->timer);
}

/* ---- words ---- */

bool job_is_final(const Hf__Job *job)
{
	return job->state >= HF__JOB_STATE__JOB_CANCELLED;
}

bool job_is_scheduled(const Hf__Job *job)
{
	return job->state == HF__JOB_STATE__JOB_SCHEDULED && job->due_ms > job->created_ms;
}

const char *job_state_name(const Hf__Job *job)
{
	switch (job->state) {
	case HF__JOB_STATE__JOB_SCHEDULED:
		return job_is_scheduled(job) ? "scheduled" : "accepted";
	case HF__JOB_STATE__JOB_RUNNING:
		return "sending";
	case HF__JOB_STATE__JOB_PAUSED:
		return "paused";
	case HF__JOB_STATE__JOB_CANCELLED:
		return "cancelled";
	case HF__JOB_STATE__JOB_DONE:
		return "sent";
	case HF__JOB_STATE__JOB_FAILED:
	default:
		break;
	}
	return job->reason.len == 7 && memcmp(job->reason.data, "EXPIRED", 7) == 0 ? "expired"
										   : "failed";
}

static json_t *word_time(uint64_t ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	if (ms == 0)
		return json_null();
	hf_clock_format(ms, text);
	return json_string(text);
}

static json_t *word_text(const ProtobufCBinaryData *text)
{
	json_t *word = text->len > 0 ? json_stringn((const char *)text->data, text->len) : NULL;

	return word != NULL ? word : json_null();
}

static json_t *word_pace(const Hf__Job *job)
{
	if (job->rate_per_second > 0)
		return json_pack("{s:I}", "rate_per_second", (json_int_t)job->rate_per_second);
	if (job->duration_ms > 0)
		return json_pack("{s:f}", "duration_s", (double)job->duration_ms / 1000);
	return json_null();
}

static json_t *word_counters(const Hf__Job *job, int64_t acked)
{
	static const Hf__JobProgress none = HF__JOB_PROGRESS__INIT;
	const Hf__JobProgress *progress = job->progress != NULL ? job->progress : &none;

	return json_pack("{s:I, s:I, s:o, s:I, s:I}", "targets", (json_int_t)progress->targets,
			 "written", (json_int_t)progress->written, "acked",
			 acked >= 0 ? json_integer(acked) : json_null(), "deferred",
			 (json_int_t)progress->deferred, "dropped", (json_int_t)progress->dropped);
}

static json_t *word_rooms(const Hf__Job *job)
{
	size_t count = job->progress != NULL ? job->progress->n_rooms : 0, done = 0;

	for (size_t i = 0; i < count; i++)
		done += job->progress->rooms[i]->done;
	return json_pack("{s:I, s:I}", "rooms", (json_int_t)count, "rooms_done", (json_int_t)done);
}

json_t *job_word(const Hf__Job *job, int64_t acked)
{
	char id[HF_ID_TEXT_SIZE];

	hf_id_format(job->id, id);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "message_id", id, "kind",
			 job->kind == HF__JOB_KIND__JOB_SEND ? "scheduled_send" : "broadcast",
			 "state", job_state_name(job), "label", word_text(&job->label),
			 "created_at", word_time(job->created_ms), "send_at",
			 job->due_ms > job->created_ms ? word_time(job->due_ms) : json_null(),
			 "started_at", word_time(job->started_ms), "finished_at",
			 word_time(job->finished_ms), "reason", word_text(&job->reason), "pace",
			 word_pace(job), "counters", word_counters(job, acked), "progress",
			 word_rooms(job));
}
