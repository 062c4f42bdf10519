/* services/center/message_control.c - what can be done to a message after it was accepted: take it
 * back, pause it, go on with it, change its pace. */
#include <stdlib.h>

#include "ask.h"
#include "fields.h"
#include "hf_rpc.h"
#include "jobs.h"
#include "recall.h"
#include "request_internal.h"
#include "tasks.h"

struct control {
	struct ask ask;
	uint64_t id;
	bool all;      /* every room has confirmed */
	unsigned open; /* steps that are under way */
};

static struct control *begin(struct call *call)
{
	struct control *control;
	struct problem problem;
	uint64_t id;

	if (hf_id_parse(call->arg, call->arg_len, &id) < 0) {
		problem_set(&problem, 404, "MESSAGE_UNKNOWN", NULL, NULL, "not a message id");
		api_fail(call, &problem);
		return NULL;
	}
	control = ask_new(call, sizeof(*control));
	if (control != NULL)
		control->id = id;
	return control;
}

/* Takes the body. */
static void end(struct control *control, unsigned status, json_t *body)
{
	if (control->ask.exchange != NULL)
		api_respond_json(control->ask.exchange, status, body);
	else
		json_decref(body);
	free(control);
}

static void fail(struct control *control, unsigned code, const char *reason, const char *message)
{
	struct problem problem;

	if (code == 503)
		problem_retry(&problem, code, reason, 1, message);
	else
		problem_set(&problem, code, reason, NULL, NULL, "%s", message);
	ask_fail(&control->ask, &problem);
	free(control);
}

static void end_in_state(struct control *control, unsigned status, const char *state)
{
	char id[HF_ID_TEXT_SIZE];

	hf_id_format(control->id, id);
	end(control, status, json_pack("{s:s, s:s}", "message_id", id, "state", state));
}

/* ---- take it back ---- */

static void on_recalled(const struct recall_result *result, void *ctx)
{
	struct control *control = ctx;
	struct problem problem;
	char id[HF_ID_TEXT_SIZE];

	switch (result->outcome) {
	case RECALL_FINISHED:
		fail(control, 409, "ALREADY_FINISHED",
		     "the message is over: nobody is owed it any more");
		return;
	case RECALL_UNKNOWN:
		fail(control, 404, "MESSAGE_UNKNOWN", "no such message, or it is long over");
		return;
	case RECALL_UNAVAILABLE:
		recall_problem(result, "the store did not answer; asking again is safe", &problem);
		ask_fail(&control->ask, &problem);
		free(control);
		return;
	case RECALL_CANCELLED:
	case RECALL_CANCELLING:
		break;
	}
	hf_id_format(control->id, id);
	end(control, 202,
	    json_pack("{s:s, s:s, s:I}", "message_id", id, "state",
		      result->outcome == RECALL_CANCELLED ? "cancelled" : "cancelling",
		      "already_sent", (json_int_t)result->already_sent));
}

void api_cancel_message(struct call *call)
{
	struct control *control = begin(call);

	if (control != NULL)
		recall_start(call->center, call->app_id, control->id, false, on_recalled, control);
}

/* ---- a job that is changed ---- */

/* The job, or NULL after the answer that there is none to be changed. */
static const Hf__Job *changed_job(struct control *control, const Hf__ChangeJobReply *reply,
				  enum hf_why_outcome outcome)
{
	if (reply == NULL || !ask_goes_on(&control->ask)) {
		fail(control, 503, "STORE_UNAVAILABLE",
		     "the store did not answer; asking again is safe");
		return NULL;
	}
	if (!reply->known || reply->job == NULL) {
		fail(control, 404, "MESSAGE_UNKNOWN",
		     "no such broadcast or scheduled send, or it is long over");
		return NULL;
	}
	if (!reply->allowed) {
		fail(control, 409, "ALREADY_FINISHED", "it is over, and can't be changed");
		return NULL;
	}
	hf_why_note(&control->ask.center->service->why, outcome, control->ask.app, control->id, 0,
		    0);
	runner_job_changed(control->ask.center, reply->job);
	return reply->job;
}

static void change(struct control *control, Hf__ChangeJobRequest *request,
		   Hf__ChangeJobReply_Closure closure)
{
	struct center *center = control->ask.center;

	request->app = control->ask.app;
	request->id = control->id;
	hf__saver__change_job(jobs_saver(center, control->ask.app, control->id,
					 (uint32_t)center->config->query_ms),
			      request, closure, control);
}

/* ---- pause ---- */

static void one_less(struct control *control)
{
	if (--control->open == 0)
		end_in_state(control, control->all ? 200 : 202, "paused");
}

static void on_held(const Hf__LogChangeReply *reply, void *ctx)
{
	struct control *control = ctx;

	control->all = control->all && reply != NULL;
	one_less(control);
}

static void on_told(bool all, uint64_t written, void *ctx)
{
	struct control *control = ctx;

	control->all = control->all && all;
	one_less(control);
}

/* Whoever logs in from now on does not get it, and who is there is passed over. What does not
 * happen here at once, the center that runs it sees to within a second. */
static void hold(struct control *control, const Hf__Job *job)
{
	struct center *center = control->ask.center;
	Hf__LogChangeRequest request = HF__LOG_CHANGE_REQUEST__INIT;

	request.app = control->ask.app;
	request.message_id = control->id;
	request.state = HF__LOG_STATE__HELD;
	control->all = true;
	control->open = 2;
	hf__saver__log_change(hf_peers_call(center->savers,
					    hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
					    (uint32_t)center->config->query_ms),
			      &request, on_held, control);
	tasks_tell(center, control->ask.app, control->id, job->revision, HF__TASK_STATE__TASK_PAUSE,
		   on_told, control);
}

static void on_paused(const Hf__ChangeJobReply *reply, void *ctx)
{
	struct control *control = ctx;
	const Hf__Job *job = changed_job(control, reply, HF_WHY_JOB_PAUSED);

	if (job == NULL)
		return;
	if (job->kind == HF__JOB_KIND__JOB_BROADCAST &&
	    job->due_ms <= hf_loop_wall_ms(control->ask.center->loop))
		hold(control, job);
	else
		end_in_state(control, 200, "paused");
}

void api_pause_message(struct call *call)
{
	struct control *control = begin(call);
	Hf__ChangeJobRequest request = HF__CHANGE_JOB_REQUEST__INIT;

	if (control == NULL)
		return;
	request.set_state = true;
	request.state = HF__JOB_STATE__JOB_PAUSED;
	change(control, &request, on_paused);
}

/* ---- go on, and at which pace ---- */

static void on_resumed(const Hf__ChangeJobReply *reply, void *ctx)
{
	struct control *control = ctx;
	const Hf__Job *job = changed_job(control, reply, HF_WHY_JOB_RESUMED);

	if (job == NULL)
		return;
	runner_kick(control->ask.center); /* if nobody runs it, we do */
	end_in_state(control, 200, job_state_name(job));
}

void api_resume_message(struct call *call)
{
	struct control *control = begin(call);
	Hf__ChangeJobRequest request = HF__CHANGE_JOB_REQUEST__INIT;

	if (control == NULL)
		return;
	request.set_state = true;
	request.state = HF__JOB_STATE__JOB_RUNNING;
	change(control, &request, on_resumed);
}

static void on_pace_changed(const Hf__ChangeJobReply *reply, void *ctx)
{
	struct control *control = ctx;
	const Hf__Job *job = changed_job(control, reply, HF_WHY_JOB_PACED);

	if (job != NULL)
		end(control, 200, job_word(job, -1));
}

static int parse_change(const json_t *body, uint64_t *ret_rate, uint64_t *ret_spread_ms,
			struct problem *ret_problem)
{
	static const char *const known[] = { "pace", NULL };
	int err = fields_known(body, "", known, ret_problem);

	if (err == 0 && json_object_get(body, "pace") == NULL)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "pace", NULL,
				   "pace is required: an object, or null for no limit");
	return err == 0 ? request_parse_pace(json_object_get(body, "pace"), "pace", ret_rate,
					     ret_spread_ms, ret_problem)
			: err;
}

void api_change_message(struct call *call)
{
	Hf__ChangeJobRequest request = HF__CHANGE_JOB_REQUEST__INIT;
	struct control *control;
	struct problem problem;
	json_t *body = api_body(call);
	int err;

	if (body == NULL)
		return;
	err = parse_change(body, &request.rate_per_second, &request.duration_ms, &problem);
	json_decref(body);
	if (err < 0) {
		api_fail(call, &problem);
		return;
	}
	control = begin(call);
	if (control == NULL)
		return;
	request.set_pace = true;
	change(control, &request, on_pace_changed);
}
