/* services/center/messages.c - POST .../messages and GET .../messages/{id}. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "hf_clock.h"
#include "hf_rpc.h"
#include "problem.h"
#include "quota.h"
#include "send.h"

/* ---- send one ---- */

struct waiting {
	struct center *center;
	struct hf_http_exchange *exchange;
	struct send *send;
	uint32_t app;
};

static void on_sent(const struct send_answer *answer, void *ctx)
{
	struct waiting *waiting = ctx;
	const struct hf_app *app = hf_apps_get(waiting->center->apps, waiting->app);
	char seconds[16];

	if (app != NULL)
		quota_headers(waiting->center, app, waiting->exchange);
	if (answer->replayed)
		hf_http_add_header(waiting->exchange, "Idempotent-Replayed", "true");
	if (answer->retry_after_s >= 0) {
		snprintf(seconds, sizeof(seconds), "%d", answer->retry_after_s);
		hf_http_add_header(waiting->exchange, "Retry-After", seconds);
	}
	hf_http_respond(waiting->exchange, answer->status, "application/json", answer->text,
			answer->len);
	free(waiting);
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	struct waiting *waiting = ctx;

	send_detach(waiting->send);
	free(waiting);
}

void api_send(struct call *call)
{
	struct waiting *waiting = malloc(sizeof(*waiting));
	struct send_input input = {
		.app = call->app,
		.text = hf_http_exchange_body(call->exchange),
		.key = hf_http_exchange_header(call->exchange, "idempotency-key"),
		.request_id = hf_http_exchange_request_id(call->exchange),
	};
	struct send *send;

	if (waiting == NULL) {
		hf_http_respond_error(call->exchange, 503, NULL, "OVERLOADED", "out of memory",
				      NULL, NULL, 1);
		return;
	}
	*waiting = (struct waiting){ .center = call->center,
				     .exchange = call->exchange,
				     .app = call->app_id };
	send = send_begin(call->center, &input, on_sent, waiting);
	if (send == NULL)
		return; /* answered, and gone */
	waiting->send = send;
	hf_http_exchange_on_abort(call->exchange, on_client_left, waiting);
}

/* ---- the state of one ---- */

struct state_query {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	uint64_t id;
	uint32_t app;
	unsigned open; /* savers asked that have not answered */
	bool known, partial;
	uint32_t stored, acked, expired, dropped;
	uint64_t expires_ms;
	enum request_class class;
};

static const char *const class_names[] = { [REQUEST_TRANSIENT] = "transient",
					   [REQUEST_STORED] = "stored",
					   [REQUEST_DURABLE] = "durable" };

/* FCM's words: accepted, then sent when the first round of pushing is over. */
static const char *state_of(const struct state_query *query, const struct recent_entry *recent)
{
	uint32_t over = query->acked + query->expired + query->dropped;

	if (query->known && query->stored > 0 && over >= query->stored)
		return query->acked > 0 ? "sent" : query->expired > 0 ? "expired" : "failed";
	if (recent == NULL)
		return "accepted";
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

static json_t *word_state(const struct state_query *query, const struct recent_entry *recent)
{
	uint32_t over = query->acked + query->expired + query->dropped;
	uint64_t expires_ms = query->known ? query->expires_ms : recent->expires_ms;
	char id[HF_ID_TEXT_SIZE], created[HF_CLOCK_TEXT_SIZE], expires[HF_CLOCK_TEXT_SIZE];

	hf_id_format(query->id, id);
	hf_clock_format(hf_id_wall_ms(query->id), created);
	hf_clock_format(expires_ms, expires);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o}}",
		"message_id", id, "state", state_of(query, recent), "class",
		class_names[query->known ? query->class : recent->class], "created_at", created,
		"expires_at", expires, "label",
		recent != NULL && recent->label[0] != '\0' ? json_string(recent->label)
							   : json_null(),
		"complete", !query->partial, "counters", "targets",
		recent != NULL ? recent->targets : query->stored, "stored", query->stored, "acked",
		query->acked, "expired", query->expired, "dropped", query->dropped, "owed",
		query->stored > over ? query->stored - over : 0, "written",
		count_or_null(recent != NULL && recent->routed,
			      recent != NULL ? recent->written : 0),
		"offline",
		count_or_null(recent != NULL && recent->routed,
			      recent != NULL ? recent->offline : 0));
}

static void answer_state(struct state_query *query)
{
	const struct recent_entry *recent = recent_find(&query->center->recent, query->id);

	if (recent != NULL && recent->app != query->app)
		recent = NULL;
	if (query->exchange == NULL) {
		free(query);
		return;
	}
	if (query->known || recent != NULL) {
		api_respond_json(query->exchange, 200, word_state(query, recent));
	} else if (query->partial) {
		center_count_refusal(query->center, "STORE_UNAVAILABLE");
		hf_http_respond_error(query->exchange, 503, NULL, "STORE_UNAVAILABLE",
				      "not every saver answered", NULL, NULL, 1);
	} else {
		center_count_refusal(query->center, "MESSAGE_UNKNOWN");
		hf_http_respond_error(query->exchange, 404, NULL, "MESSAGE_UNKNOWN",
				      "no such message, or it is long over", NULL, NULL, -1);
	}
	free(query);
}

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
		query->expires_ms = HF_MAX(query->expires_ms, reply->expires_ms);
		query->class =
			reply->class_ == HF__CLASS__DURABLE ? REQUEST_DURABLE : REQUEST_STORED;
	}
	if (--query->open == 0)
		answer_state(query);
}

static void on_asker_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct state_query *)ctx)->exchange = NULL;
}

void api_message_state(struct call *call)
{
	struct center *center = call->center;
	struct state_query *query = calloc(1, sizeof(*query));
	struct problem problem;
	uint64_t id;

	if (query == NULL || hf_id_parse(call->arg, call->arg_len, &id) < 0) {
		free(query);
		problem_set(&problem, 404, "MESSAGE_UNKNOWN", NULL, NULL, "not a message id");
		api_fail(call, &problem);
		return;
	}
	query->center = center;
	query->exchange = call->exchange;
	query->id = id;
	query->app = call->app_id;
	query->open = 1; /* held while the calls are made */
	query->partial = hf_peers_count(center->savers) == 0;
	for (struct hf_peer *peer = hf_peers_first(center->savers); peer != NULL;
	     peer = peer->next) {
		Hf__MessageStateRequest request = HF__MESSAGE_STATE_REQUEST__INIT;

		request.app = query->app;
		request.message_id = id;
		query->open++;
		hf__saver__message_state(hf_peers_call(center->savers, peer,
						       (uint32_t)center->config->query_ms),
					 &request, on_state, query);
	}
	hf_http_exchange_on_abort(call->exchange, on_asker_left, query);
	if (--query->open == 0)
		answer_state(query);
}
