/* services/center/broadcasts.c - GET .../broadcasts: jobs of an app, the newest first. */
#include <stdlib.h>

#include "ask.h"
#include "jobs.h"
#include "query.h"

#define LIST_LIMIT_MAX 100 /* as many as a saver lists at once */
#define LIST_CURSOR    'j'

static void on_listed(const Hf__ListJobsReply *reply, void *ctx)
{
	struct ask *ask = ctx;
	uint64_t last = 0;
	json_t *list;

	if (reply == NULL) {
		ask_no_store(ask);
		free(ask);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < reply->n_jobs; i++)
		json_array_append_new(list, job_word(reply->jobs[i], -1));
	if (reply->more && reply->n_jobs > 0)
		last = reply->jobs[reply->n_jobs - 1]->id;
	ask_answer(ask,
		   json_pack("{s:o, s:o}", "broadcasts", list, "next_cursor",
			     query_next_cursor(LIST_CURSOR, &last, last != 0 ? sizeof(last) : 0)));
	free(ask);
}

void api_list_broadcasts(struct call *call)
{
	struct center *center = call->center;
	Hf__ListJobsRequest request = HF__LIST_JOBS_REQUEST__INIT;
	struct query_page page;
	struct problem problem;
	struct ask *ask;

	if (query_page(hf_http_exchange_request(call->exchange)->query, LIST_CURSOR,
		       sizeof(request.after), LIST_LIMIT_MAX, &page, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	ask = ask_new(call, sizeof(*ask));
	if (ask == NULL)
		return;
	request.app = call->app_id;
	memcpy(&request.after, page.cursor, HF_MIN(page.cursor_len, sizeof(request.after)));
	request.limit = (uint32_t)page.limit;
	hf__saver__list_jobs(hf_peers_call(center->savers,
					   hf_peers_pick(center->savers, HF_BALANCE_ROUND_ROBIN),
					   (uint32_t)center->config->query_ms),
			     &request, on_listed, ask);
}
