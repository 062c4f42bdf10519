/* services/center/recall.c - see recall.h. */
#include "recall.h"

#include <stdlib.h>

#include "hf_rpc.h"
#include "jobs.h"
#include "message.h"
#include "request.h"
#include "tasks.h"

#define CLOCKS_APART_MS 60000

struct recall {
	struct center *center;
	uint32_t app, revision;
	uint64_t id;
	bool blindly;
	struct recall_result result;
	void (*done)(const struct recall_result *, void *);
	void *ctx;
	/* what the savers know of a list's message */
	unsigned open;
	bool known, partial;
	uint64_t stored, over, acked, expires_ms;
};

static void end(struct recall *recall, enum recall_outcome outcome)
{
	recall->result.outcome = outcome;
	if (outcome == RECALL_CANCELLED || outcome == RECALL_CANCELLING)
		hf_why_note(&recall->center->service->why, HF_WHY_TAKEN_BACK, recall->app,
			    recall->id, 0, 0);
	recall->done(&recall->result, recall->ctx);
	free(recall);
}

/* No more calls when the process ends: the peers are going. */
static bool goes_on(struct recall *recall)
{
	if (!recall->center->stopping)
		return true;
	end(recall, RECALL_UNAVAILABLE);
	return false;
}

static ProtobufCService *any_saver(struct recall *recall)
{
	struct center *center = recall->center;

	return hf_peers_call(center->savers, hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
			     (uint32_t)center->config->query_ms);
}

/* ---- a message to a list ---- */

static void on_recalled(const Hf__LogAppendReply *reply, void *ctx)
{
	struct recall *recall = ctx;

	if (reply != NULL)
		message_stop(recall->center, recall->app, recall->id);
	recall->result.full = reply == NULL && strcmp(hf_rpc_last_reason(), "LOG_FULL") == 0;
	end(recall, reply != NULL ? RECALL_CANCELLED : RECALL_UNAVAILABLE);
}

static void append_recall(struct recall *recall)
{
	Hf__LogAppendRequest request = HF__LOG_APPEND_REQUEST__INIT;
	uint64_t wall_ms = hf_loop_wall_ms(recall->center->loop);

	request.app = recall->app;
	request.recalled_id = recall->id;
	request.recall_expires_ms = recall->expires_ms > wall_ms
					    ? recall->expires_ms
					    : wall_ms + REQUEST_TTL_MAX_S * 1000ull;
	hf__saver__log_append(any_saver(recall), &request, on_recalled, recall);
}

/* An id says when it was drawn: sent 30 days later at most, and owed for 28 days then. */
static bool may_be_owed(const struct recall *recall)
{
	uint64_t wall_ms = hf_loop_wall_ms(recall->center->loop),
		 drawn_ms = hf_id_wall_ms(recall->id);

	return drawn_ms < wall_ms + CLOCKS_APART_MS &&
	       wall_ms < drawn_ms + REQUEST_SEND_AT_MAX_MS + REQUEST_TTL_MAX_S * 1000ull;
}

static void states_known(struct recall *recall)
{
	if (!goes_on(recall))
		return;
	recall->result.already_sent = recall->acked;
	if (recall->known && recall->stored > recall->over)
		append_recall(recall);
	else if (recall->blindly && !recall->known && may_be_owed(recall))
		append_recall(recall);
	else if (recall->partial)
		end(recall, RECALL_UNAVAILABLE);
	else
		end(recall, recall->known ? RECALL_FINISHED : RECALL_UNKNOWN);
}

static void on_state(const Hf__MessageStateReply *reply, void *ctx)
{
	struct recall *recall = ctx;

	if (reply == NULL) {
		recall->partial = true;
	} else if (reply->known) {
		recall->known = true;
		recall->stored += reply->stored;
		recall->acked += reply->acked;
		recall->over += reply->acked + reply->expired + reply->dropped + reply->recalled;
		recall->expires_ms = HF_MAX(recall->expires_ms, reply->expires_ms);
	}
	if (--recall->open == 0)
		states_known(recall);
}

static void ask_states(struct recall *recall)
{
	struct center *center = recall->center;
	Hf__MessageStateRequest request = HF__MESSAGE_STATE_REQUEST__INIT;

	request.app = recall->app;
	request.message_id = recall->id;
	recall->open = 1;
	for (struct hf_peer *peer = hf_peers_first(center->savers); peer != NULL;
	     peer = peer->next) {
		recall->open++;
		hf__saver__message_state(hf_peers_call(center->savers, peer,
						       (uint32_t)center->config->query_ms),
					 &request, on_state, recall);
	}
	if (--recall->open == 0)
		states_known(recall);
}

/* ---- a broadcast ---- */

static void on_told(bool all, uint64_t written, void *ctx)
{
	struct recall *recall = ctx;

	/* The job's own count is a second old, and rooms that restarted have forgotten theirs. */
	recall->result.already_sent = HF_MAX(recall->result.already_sent, written);
	end(recall, all ? RECALL_CANCELLED : RECALL_CANCELLING);
}

static void on_removed(const Hf__LogChangeReply *reply, void *ctx)
{
	struct recall *recall = ctx;

	if (!goes_on(recall))
		return;
	if (reply == NULL)
		end(recall, RECALL_UNAVAILABLE);
	else
		tasks_tell(recall->center, recall->app, recall->id, recall->revision,
			   HF__TASK_STATE__TASK_CANCEL, on_told, recall);
}

static void remove_from_log(struct recall *recall)
{
	Hf__LogChangeRequest request = HF__LOG_CHANGE_REQUEST__INIT;

	request.app = recall->app;
	request.message_id = recall->id;
	request.state = HF__LOG_STATE__REMOVED;
	hf__saver__log_change(any_saver(recall), &request, on_removed, recall);
}

/* It is over: is it still given to those who come? */
static void on_log(const Hf__LogReadReply *reply, void *ctx)
{
	struct recall *recall = ctx;
	bool live = false;

	if (!goes_on(recall))
		return;
	if (reply == NULL) {
		end(recall, RECALL_UNAVAILABLE);
		return;
	}
	for (size_t i = 0; i < reply->n_spans; i++)
		live = live || reply->spans[i]->until == 0;
	if (reply->known && live)
		remove_from_log(recall);
	else
		end(recall, RECALL_FINISHED);
}

static void read_log(struct recall *recall)
{
	Hf__LogReadRequest request = HF__LOG_READ_REQUEST__INIT;

	request.app = recall->app;
	request.message_id = recall->id;
	hf__saver__log_read(any_saver(recall), &request, on_log, recall);
}

/* ---- the job ---- */

static void on_changed(const Hf__ChangeJobReply *reply, void *ctx)
{
	struct recall *recall = ctx;

	if (!goes_on(recall))
		return;
	if (reply == NULL) {
		end(recall, RECALL_UNAVAILABLE);
		return;
	}
	if (!reply->known || reply->job == NULL) {
		ask_states(recall);
		return;
	}
	if (reply->job->progress != NULL)
		recall->result.already_sent = reply->job->progress->written;
	recall->revision = reply->job->revision;
	/* One that was due may be on its way by now, whatever its record says. */
	if (reply->allowed && reply->job->started_ms == 0 &&
	    reply->job->due_ms > hf_loop_wall_ms(recall->center->loop)) {
		end(recall, RECALL_CANCELLED);
	} else if (reply->job->kind == HF__JOB_KIND__JOB_SEND) {
		recall->blindly = recall->blindly || reply->allowed;
		ask_states(recall);
	} else if (reply->allowed) {
		remove_from_log(recall);
	} else {
		read_log(recall);
	}
}

void recall_start(struct center *center, uint32_t app, uint64_t id, bool blindly,
		  void (*done)(const struct recall_result *result, void *ctx), void *ctx)
{
	struct recall_result failed = { .outcome = RECALL_UNAVAILABLE };
	Hf__ChangeJobRequest request = HF__CHANGE_JOB_REQUEST__INIT;
	struct recall *recall = calloc(1, sizeof(*recall));

	if (recall == NULL) {
		done(&failed, ctx);
		return;
	}
	recall->center = center;
	recall->app = app;
	recall->id = id;
	recall->blindly = blindly;
	recall->done = done;
	recall->ctx = ctx;
	request.app = app;
	request.id = id;
	request.set_state = true;
	request.state = HF__JOB_STATE__JOB_CANCELLED;
	hf__saver__change_job(jobs_saver(center, app, id, (uint32_t)center->config->query_ms),
			      &request, on_changed, recall);
}

void recall_problem(const struct recall_result *result, const char *message,
		    struct problem *ret_problem)
{
	if (result->full)
		problem_retry(ret_problem, 429, "TOO_MANY_RECALLS", 60,
			      "the app has as many recalls as are kept; each leaves when its "
			      "message would have expired");
	else
		problem_retry(ret_problem, 503, "STORE_UNAVAILABLE", 1, message);
}
