/* services/center/message_state.c - see message_state.h; and GET .../messages/{id}. */
#include "message_state.h"

#include <errno.h>
#include <stdlib.h>

#include "ask.h"
#include "hf_clock.h"
#include "hf_rpc.h"
#include "jobs.h"
#include "message.h"

struct state_query {
	struct center *center;
	uint32_t app;
	message_state_done done;
	void *ctx;
	uint64_t id;
	unsigned open; /* savers asked that have not answered */
	bool known, partial;
	uint32_t stored, acked, expired, dropped, recalled;
	uint64_t expires_ms;
	enum request_class class;
	/* of a scheduled send: what its job knows */
	bool scheduled;
	uint64_t started_ms, finished_ms;
	char label[REQUEST_LABEL_MAX + 1];
	json_t *job; /* a broadcast, or a send that has not started: all there is to say */
};

static const char *const class_names[] = { [REQUEST_TRANSIENT] = "transient",
					   [REQUEST_STORED] = "stored",
					   [REQUEST_DURABLE] = "durable" };

static uint32_t over_of(const struct state_query *query)
{
	return query->acked + query->expired + query->dropped + query->recalled;
}

/* FCM's words: accepted, then sent when the first round of pushing is over. */
static const char *state_of(const struct state_query *query, const struct recent_entry *recent)
{
	if (query->known && query->stored > 0 && over_of(query) >= query->stored)
		return query->acked > 0      ? "sent"
		       : query->recalled > 0 ? "cancelled"
		       : query->expired > 0  ? "expired"
					     : "failed";
	if (recent == NULL)
		return query->scheduled ? "sent" : "accepted";
	if (!recent->stored)
		return "accepted";
	if (recent->accepted == 0)
		return "failed";
	if (!recent->routed)
		return "sending";
	if (recent->written > 0)
		return "sent";
	return recent->class == REQUEST_TRANSIENT ? "failed" : "accepted";
}

static json_t *count_or_null(bool known, uint32_t count)
{
	return known ? json_integer(count) : json_null();
}

static json_t *time_or_null(uint64_t ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	if (ms == 0)
		return json_null();
	hf_clock_format(ms, text);
	return json_string(text);
}

static json_t *word_counters(const struct state_query *query, const struct recent_entry *recent)
{
	uint32_t over = over_of(query);

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "targets",
			 (json_int_t)(recent != NULL ? recent->targets : query->stored), "stored",
			 (json_int_t)query->stored, "acked", (json_int_t)query->acked, "expired",
			 (json_int_t)query->expired, "dropped", (json_int_t)query->dropped,
			 "recalled", (json_int_t)query->recalled, "owed",
			 (json_int_t)(query->stored > over ? query->stored - over : 0), "written",
			 count_or_null(recent != NULL && recent->routed,
				       recent != NULL ? recent->written : 0),
			 "offline",
			 count_or_null(recent != NULL && recent->routed,
				       recent != NULL ? recent->offline : 0));
}

static json_t *word_state(const struct state_query *query, const struct recent_entry *recent)
{
	const char *label =
		recent != NULL && recent->label[0] != '\0' ? recent->label : query->label;
	char id[HF_ID_TEXT_SIZE], created[HF_CLOCK_TEXT_SIZE];
	json_t *state;

	hf_id_format(query->id, id);
	hf_clock_format(hf_id_wall_ms(query->id), created);
	state = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "message_id", id, "kind",
			  query->scheduled ? "scheduled_send" : "send", "state",
			  state_of(query, recent), "class",
			  class_names[query->known ? query->class : recent->class], "created_at",
			  created, "expires_at",
			  time_or_null(query->known ? query->expires_ms : recent->expires_ms),
			  "label", label[0] != '\0' ? json_string(label) : json_null(), "complete",
			  !query->partial, "counters", word_counters(query, recent));
	if (state != NULL && query->scheduled) {
		json_object_set_new(state, "started_at", time_or_null(query->started_ms));
		json_object_set_new(state, "finished_at", time_or_null(query->finished_ms));
	}
	return state;
}

/* `state` is taken; NULL: `problem` says why there is none. */
static void end(struct state_query *query, json_t *state, const struct problem *problem)
{
	struct problem no_memory;

	if (state == NULL && problem == NULL) {
		problem_retry(&no_memory, 503, "OVERLOADED", 1, "out of memory");
		problem = &no_memory;
	}
	query->done(state, problem, query->ctx);
	free(query);
}

static void answer_state(struct state_query *query)
{
	const struct recent_entry *recent = recent_find(&query->center->recent, query->id);
	struct problem problem;

	if (recent != NULL && recent->app != query->app)
		recent = NULL;
	if (query->known || recent != NULL) {
		json_decref(query->job);
		end(query, word_state(query, recent), NULL);
	} else if (query->job != NULL) {
		end(query, query->job, NULL);
	} else if (query->partial) {
		problem_retry(&problem, 503, "STORE_UNAVAILABLE", 1, "not every saver answered");
		end(query, NULL, &problem);
	} else {
		problem_set(&problem, 404, "MESSAGE_UNKNOWN", NULL, NULL,
			    "no such message, or it is long over");
		end(query, NULL, &problem);
	}
}

/* ---- a message to a list ---- */

static void on_state(const Hf__MessageStateReply *reply, void *ctx)
{
	struct state_query *query = ctx;

	if (reply == NULL) {
		query->partial = true;
	} else if (reply->known) {
		query->known = true;
		query->stored += reply->stored;
		query->acked += reply->acked;
		query->expired += reply->expired;
		query->dropped += reply->dropped;
		query->recalled += reply->recalled;
		query->expires_ms = HF_MAX(query->expires_ms, reply->expires_ms);
		query->class =
			reply->class_ == HF__CLASS__DURABLE ? REQUEST_DURABLE : REQUEST_STORED;
	}
	if (--query->open == 0)
		answer_state(query);
}

static void ask_states(struct state_query *query)
{
	struct center *center = query->center;

	query->open = 1; /* held while the calls are made */
	query->partial = query->partial || hf_peers_count(center->savers) == 0;
	for (struct hf_peer *peer = hf_peers_first(center->savers); peer != NULL;
	     peer = peer->next) {
		Hf__MessageStateRequest request = HF__MESSAGE_STATE_REQUEST__INIT;

		request.app = query->app;
		request.message_id = query->id;
		query->open++;
		hf__saver__message_state(hf_peers_call(center->savers, peer,
						       (uint32_t)center->config->query_ms),
					 &request, on_state, query);
	}
	if (--query->open == 0)
		answer_state(query);
}

/* ---- a job ---- */

static void on_log(const Hf__LogReadReply *reply, void *ctx)
{
	struct state_query *query = ctx;
	json_t *counters = json_object_get(query->job, "counters");

	if (reply != NULL && reply->known)
		json_object_set_new(counters, "acked", json_integer((json_int_t)reply->acked));
	json_object_set_new(query->job, "complete", json_boolean(reply != NULL));
	end(query, query->job, NULL);
}

static void read_log(struct state_query *query)
{
	struct center *center = query->center;
	Hf__LogReadRequest request = HF__LOG_READ_REQUEST__INIT;

	request.app = query->app;
	request.message_id = query->id;
	hf__saver__log_read(hf_peers_call(center->savers,
					  hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
					  (uint32_t)center->config->query_ms),
			    &request, on_log, query);
}

static void on_job(const Hf__ReadJobReply *reply, void *ctx)
{
	struct state_query *query = ctx;
	const Hf__Job *job = reply != NULL && reply->known ? reply->job : NULL;
	struct problem problem;

	if (query->center->stopping) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "this center is going");
		end(query, NULL, &problem);
		return;
	}
	query->partial = reply == NULL;
	if (job == NULL) {
		ask_states(query);
		return;
	}
	query->job = job_word(job, -1);
	if (query->job == NULL) {
		end(query, NULL, NULL);
	} else if (job->kind == HF__JOB_KIND__JOB_BROADCAST) {
		read_log(query);
	} else {
		query->scheduled = true;
		query->started_ms = job->started_ms;
		query->finished_ms = job->finished_ms;
		if (job->label.len > 0)
			memcpy(query->label, job->label.data,
			       HF_MIN(job->label.len, (size_t)REQUEST_LABEL_MAX));
		ask_states(query);
	}
}

int message_state_read(struct center *center, uint32_t app, uint64_t id, message_state_done done,
		       void *ctx)
{
	Hf__ReadJobRequest request = HF__READ_JOB_REQUEST__INIT;
	struct state_query *query = calloc(1, sizeof(*query));

	if (query == NULL)
		return -ENOMEM;
	query->center = center;
	query->app = app;
	query->id = id;
	query->done = done;
	query->ctx = ctx;
	request.app = app;
	request.id = id;
	hf__saver__read_job(jobs_saver(center, app, id, (uint32_t)center->config->query_ms),
			    &request, on_job, query);
	return 0;
}

/* ---- GET .../messages/{id} ---- */

static void on_read(json_t *state, const struct problem *problem, void *ctx)
{
	struct ask *ask = ctx;

	if (state != NULL)
		ask_answer(ask, state);
	else
		ask_fail(ask, problem);
	free(ask);
}

void api_message_state(struct call *call)
{
	struct problem problem;
	struct ask *ask;
	uint64_t id;

	if (hf_id_parse(call->arg, call->arg_len, &id) < 0) {
		problem_set(&problem, 404, "MESSAGE_UNKNOWN", NULL, NULL, "not a message id");
		api_fail(call, &problem);
		return;
	}
	ask = ask_new(call, sizeof(*ask));
	if (ask != NULL && message_state_read(call->center, call->app_id, id, on_read, ask) < 0) {
		ask_unavailable(ask, "OVERLOADED", "out of memory");
		free(ask);
	}
}
