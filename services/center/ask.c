/* services/center/ask.c - see ask.h. */
#include "ask.h"

#include <stdlib.h>

#include "hf_rpc_client.h"

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct ask *)ctx)->exchange = NULL;
}

void *ask_new(struct call *call, size_t size)
{
	struct ask *ask = calloc(1, size);
	struct problem problem;

	if (ask == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		return NULL;
	}
	ask->center = call->center;
	ask->exchange = call->exchange;
	ask->app = call->app_id;
	hf_http_exchange_on_abort(call->exchange, on_client_left, ask);
	return ask;
}

void ask_answer(struct ask *ask, json_t *body)
{
	if (ask->exchange != NULL)
		api_respond_json(ask->exchange, 200, body);
	else
		json_decref(body);
	ask->exchange = NULL;
}

void ask_fail(struct ask *ask, const struct problem *problem)
{
	if (ask->exchange != NULL) {
		center_count_refusal(ask->center, problem->reason);
		problem_respond(problem, ask->exchange);
	}
	ask->exchange = NULL;
}

void ask_unavailable(struct ask *ask, const char *reason, const char *message)
{
	struct problem problem;

	problem_retry(&problem, 503, reason, 1, message);
	ask_fail(ask, &problem);
}

void ask_no_store(struct ask *ask)
{
	if (strcmp(hf_rpc_last_reason(), "DATABASE_UNAVAILABLE") == 0)
		ask_unavailable(ask, "DATABASE_UNAVAILABLE",
				"the database did not answer; asking again is safe");
	else
		ask_unavailable(ask, "STORE_UNAVAILABLE",
				"the store did not answer; asking again is safe");
}
