/* services/center/send_stages.c - what a send with a plan goes through before there is a message or
 * a job:
 *
 *	a list:     users resolved, filtered --> the older message recalled --> message
 *	otherwise:  a job is put: a broadcast, or this request for later
 *
 * A job recalls what it replaces when it starts. */
#include <errno.h>
#include <stdlib.h>

#include "count.h"
#include "hf_clock.h"
#include "quota.h"
#include "recall.h"
#include "resolve.h"
#include "runner.h"
#include "send_internal.h"

#define PLAN_BUDGET (16u << 20)

static bool is_job(const struct request *request)
{
	return request->kind != REQUEST_LIST || request->send_at_ms > 0;
}

bool send_needs_plan(const struct request *request)
{
	return !request_is_plain(request) || is_job(request) ||
	       (request->replaces != 0 && !request->validate_only);
}

/* The request was checked in memory that the next one reuses: here it is parsed again, to stay. */
int send_make_plan(struct send *send, const struct send_input *input, struct problem *ret_problem)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	void *text;

	if (plan == NULL)
		return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
	send->plan = plan;
	hf_arena_init(&plan->arena, PLAN_BUDGET, 0);
	text = hf_arena_copy(&plan->arena, input->text.data, input->text.len);
	if (text == NULL)
		return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
	plan->text = hf_bytes_of(text, input->text.len);
	send->center->frame_bytes += plan->text.len;
	return request_parse(plan->text, input->app->payload_max,
			     hf_loop_wall_ms(send->center->loop), &plan->arena, &plan->request,
			     ret_problem);
}

void send_free_plan(struct send *send)
{
	if (send->plan == NULL)
		return;
	job_put_cancel(&send->plan->put);
	send->center->frame_bytes -= send->plan->text.len;
	hf_arena_deinit(&send->plan->arena);
	free(send->plan);
}

/* ---- the message ---- */

/* Nobody was stored for: is it the store, or them? */
static void refuse_unstored(struct send *send)
{
	const struct message *message = send->message;
	struct problem problem;

	if (message->failed == 0 && message->unregistered > 0)
		problem_set(&problem, 404, "UNREGISTERED", "audience", NULL,
			    message->unregistered == 1
				    ? "this registration never attached"
				    : "none of these registrations ever attached");
	else
		problem_retry(&problem, 503, message->store_reason, 1,
			      "the message could not be stored in time; it may be sent again, best "
			      "with an idempotency key");
	send_refuse(send, &problem);
}

static void on_stored(struct send *send)
{
	struct center *center = send->center;
	struct message *message = send->message;

	if (message->accepted == 0) {
		refuse_unstored(send);
		return;
	}
	++*center->counters
		   .accepted[message->target_count == 1 ? CENTER_UNICAST : CENTER_MULTICAST];
	if (send->wait == REQUEST_WAIT_NONE || send->done == NULL) {
		send_answer_accepted(send);
		return;
	}
	hf_loop_arm(center->loop, &send->timer, send->wait_ms);
	if (send->wait == REQUEST_WAIT_ACKED)
		message_await_acks(message, send->wait_ms);
}

static void on_event(struct message *message, enum message_event event, void *ctx)
{
	struct send *send = ctx;

	if (event == MESSAGE_STORED)
		on_stored(send);
	else if (event == MESSAGE_ROUTED && send->wait == REQUEST_WAIT_ROUTED)
		send_answer_accepted(send);
	else if (event == MESSAGE_ACKED)
		send_answer_accepted(send);
}

static void make_message(struct send *send)
{
	struct center *center = send->center;
	const struct hf_app *app = hf_apps_get(center->apps, send->app);
	struct problem problem;
	int err;

	if (app == NULL) {
		problem_set(&problem, 404, "APP_UNKNOWN", NULL, NULL, "no such app");
		send_refuse(send, &problem);
		return;
	}
	err = message_new(center, app, &send->plan->request, 0, &send->message);
	if (err < 0) {
		message_problem(err, &problem);
		send_refuse(send, &problem);
		return;
	}
	message_start(send->message, on_event, send);
}

static void on_recalled(const struct recall_result *result, void *ctx)
{
	struct send *send = ctx;
	struct problem problem;

	if (send->center->stopping)
		return;
	if (result->outcome != RECALL_UNAVAILABLE) {
		make_message(send);
		return;
	}
	recall_problem(result, "the message to replace could not be recalled in time", &problem);
	send_refuse(send, &problem);
}

/* What users turned out to be is charged now. */
static int charge(struct send *send, size_t count, struct problem *ret_problem)
{
	struct center *center = send->center;
	const struct hf_app *app = hf_apps_get(center->apps, send->app);
	uint32_t more = count > send->charged ? (uint32_t)count - send->charged : 0;

	if (center->targets_open + count > center->config->targets_max)
		return problem_retry(ret_problem, 503, "OVERLOADED", 1,
				     "too many messages are in delivery");
	if (send->wait == REQUEST_WAIT_ACKED && count > REQUEST_ACKED_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", "options.wait", "acked",
				   "acks are awaited of %d registrations at most",
				   REQUEST_ACKED_MAX);
	if (send->wait == REQUEST_WAIT_ACKED && center->ack_waits + count > MESSAGE_ACK_WAITS_MAX)
		return problem_retry(ret_problem, 503, "OVERLOADED", 1,
				     "too many calls wait for acks; send it without wait");
	if (app == NULL || more == 0)
		return 0;
	if (quota_take(center, app, more, ret_problem) < 0)
		return -EINVAL;
	send->charged += more;
	return 0;
}

static void on_resolved(void *ctx, int err, struct hf_bytes *targets, size_t count,
			const struct problem *why)
{
	struct send *send = ctx;
	struct request *request = &send->plan->request;
	struct problem problem;

	if (send->center->stopping)
		return;
	if (err < 0) {
		send_refuse(send, why);
		return;
	}
	if (charge(send, count, &problem) < 0) {
		send_refuse(send, &problem);
		return;
	}
	request->targets = targets;
	request->target_count = count;
	if (request->replaces != 0)
		recall_start(send->center, send->app, request->replaces, true, on_recalled, send);
	else
		make_message(send);
}

/* ---- the job ---- */

static void on_put(void *ctx, int err, const struct problem *problem)
{
	struct send *send = ctx;
	const struct plan *plan = send->plan;

	if (send->center->stopping)
		return;
	if (err < 0) {
		send_refuse(send, problem);
		return;
	}
	hf_why_note(&send->center->service->why, HF_WHY_JOB_ACCEPTED, send->app, plan->job.id, 0,
		    0);
	++*send->center->counters.accepted[plan->request.kind == REQUEST_TAG    ? CENTER_TAG
					   : plan->request.kind == REQUEST_LIST ? CENTER_MULTICAST
										: CENTER_BROADCAST];
	if (!job_is_scheduled(&plan->job))
		runner_kick(send->center);
	send_answer_job(send);
}

/* The broadcast as it will lie in the log, packed into the plan. */
static int pack_broadcast(struct send *send, Hf__Job *job)
{
	struct plan *plan = send->plan;
	const struct request *request = &plan->request;
	Hf__Broadcast broadcast = HF__BROADCAST__INIT;
	Hf__Delivery delivery = HF__DELIVERY__INIT;
	uint8_t *frame = hf_arena_alloc(&plan->arena, message_frame_max(request));
	ssize_t n;

	if (frame == NULL)
		return -ENOMEM;
	n = message_build_frame(job->id, job->app, request, frame);
	if (n < 0)
		return (int)n;
	message_fill_delivery(&delivery, request);
	broadcast.message_id = job->id;
	broadcast.app = job->app;
	broadcast.frame = (ProtobufCBinaryData){ (size_t)n, frame };
	broadcast.class_ = (Hf__Class)request->class;
	/* A transient one lives as long as its pace takes, and a little. */
	broadcast.expires_ms =
		job->due_ms + (request->class != REQUEST_TRANSIENT ? request->ttl_ms
								   : REQUEST_PACE_MAX_MS + 3600000);
	broadcast.audience = request->audience;
	broadcast.delivery = &delivery;
	broadcast.replaces = request->replaces;
	job->spec.len = hf__broadcast__get_packed_size(&broadcast);
	job->spec.data = hf_arena_alloc(&plan->arena, job->spec.len);
	if (job->spec.data != NULL)
		hf__broadcast__pack(&broadcast, job->spec.data);
	job->keep_until_ms = broadcast.expires_ms + JOB_KEEP_MS;
	return job->spec.data == NULL ? -ENOMEM : 0;
}

static int fill_job(struct send *send)
{
	struct center *center = send->center;
	struct plan *plan = send->plan;
	struct request *request = &plan->request;
	Hf__Job *job = &plan->job;

	hf__job__init(job);
	job->created_ms = hf_loop_wall_ms(center->loop);
	job->id = hf_id_next(&center->service->ids, job->created_ms);
	job->app = send->app;
	job->due_ms = HF_MAX(job->created_ms, request->send_at_ms);
	job->rate_per_second = request->rate_per_second;
	job->duration_ms = request->spread_ms;
	job->label = (ProtobufCBinaryData){ strlen(request->label), (uint8_t *)request->label };
	job->revision = 1;
	if (request->kind != REQUEST_LIST) {
		job->kind = HF__JOB_KIND__JOB_BROADCAST;
		return pack_broadcast(send, job);
	}
	job->kind = HF__JOB_KIND__JOB_SEND;
	job->spec = (ProtobufCBinaryData){ plan->text.len, (uint8_t *)plan->text.data };
	job->keep_until_ms = job->due_ms + request->ttl_ms + JOB_KEEP_MS;
	return job->spec.len > JOB_SPEC_MAX ? -EMSGSIZE : 0;
}

static void put_job(struct send *send)
{
	const struct hf_app *app = hf_apps_get(send->center->apps, send->app);
	struct problem problem;
	int err = fill_job(send);

	if (err < 0) {
		message_problem(err, &problem);
		send_refuse(send, &problem);
		return;
	}
	job_put_start(&send->plan->put, send->center, &send->plan->job,
		      app != NULL ? app->broadcasts : 0, on_put, send);
}

void send_proceed(struct send *send)
{
	struct plan *plan = send->plan;

	if (plan == NULL)
		message_start(send->message, on_event, send);
	else if (is_job(&plan->request))
		put_job(send);
	else
		resolve_start(send->center, send->app, &plan->request, &plan->arena, on_resolved,
			      send);
}

/* ---- validate_only ---- */

static void on_counted(const struct count_result *result, void *ctx)
{
	struct send *send = ctx;

	if (!send->center->stopping)
		send_answer_counts(send, result->online, result->registered, result->complete);
}

static void on_dry_resolved(void *ctx, int err, struct hf_bytes *targets, size_t count,
			    const struct problem *problem)
{
	struct send *send = ctx;

	if (send->center->stopping)
		return;
	if (err < 0)
		send_refuse(send, problem);
	else
		send_answer_valid(send, &send->plan->request, count);
}

void send_dry_run(struct send *send)
{
	struct plan *plan = send->plan;

	if (plan->request.kind != REQUEST_LIST)
		count_start(send->center, send->app, plan->request.audience, true, on_counted,
			    send);
	else
		resolve_start(send->center, send->app, &plan->request, &plan->arena,
			      on_dry_resolved, send);
}
