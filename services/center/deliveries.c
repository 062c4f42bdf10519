/* services/center/deliveries.c - does a callback work, and what became of what it did not take.
 *
 * Deliveries that were given up lie in the store. One that is to be sent again is read there, sent
 * once by a coordinator, and removed when the business has taken it. */
#include <stdlib.h>

#include "ask.h"
#include "hf_clock.h"
#include "hf_event.h"
#include "hf_id.h"
#include "hf_rpc.h"
#include "query.h"

#define CURSOR      'l'
#define CURSOR_SIZE 8
#define LIMIT_MAX   100
#define POST_MS     70000 /* above any timeout of a request */

/* The callback in the path; false: already answered. */
static bool find_webhook(struct call *call)
{
	struct problem problem;

	for (size_t i = 0; i < call->app->webhook_count; i++)
		if (strcmp(call->app->webhooks[i].id, call->arg) == 0)
			return true;
	problem_set(&problem, 404, "WEBHOOK_UNKNOWN", NULL, NULL, "the app has no such webhook");
	api_fail(call, &problem);
	return false;
}

static ProtobufCService *any_saver(struct center *center)
{
	return hf_peers_call(center->savers,
			     hf_peers_pick(center->savers, HF_BALANCE_LEAST_IN_FLIGHT),
			     (uint32_t)center->config->query_ms);
}

static ProtobufCService *any_coordinator(struct center *center)
{
	return hf_peers_call(center->coordinators,
			     hf_peers_pick(center->coordinators, HF_BALANCE_LEAST_IN_FLIGHT),
			     POST_MS);
}

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static json_t *word_outcome(const Hf__TestWebhookReply *reply)
{
	return json_pack("{s:b, s:i, s:s, s:I}", "delivered", (int)reply->delivered, "status",
			 (int)reply->status, "detail", reply->detail, "duration_ms",
			 (json_int_t)reply->duration_ms);
}

/* No coordinator's answer. */
static void fail_no_answer(struct ask *ask)
{
	struct problem problem;

	if (hf_rpc_last_status() == HF_RPC_NOT_FOUND) {
		problem_set(&problem, 404, "WEBHOOK_UNKNOWN", NULL, NULL,
			    "no coordinator has heard of this webhook");
		ask_fail(ask, &problem);
		return;
	}
	ask_unavailable(ask, "COORDINATOR_UNAVAILABLE",
			"no coordinator answered; it may have been sent");
}

static void on_tested(const Hf__TestWebhookReply *reply, void *ctx)
{
	struct ask *ask = ctx;

	if (reply == NULL)
		fail_no_answer(ask);
	else
		ask_answer(ask, word_outcome(reply));
	free(ask);
}

void api_test_webhook(struct call *call)
{
	Hf__TestWebhookRequest request = HF__TEST_WEBHOOK_REQUEST__INIT;
	struct ask *ask;

	if (!find_webhook(call))
		return;
	ask = ask_new(call, sizeof(*ask));
	if (ask == NULL)
		return;
	request.app = call->app_id;
	request.webhook = bytes_of(call->arg);
	hf__coordinator__test_webhook(any_coordinator(call->center), &request, on_tested, ask);
}

static json_t *word_event(const Hf__Event *event)
{
	const char *type = hf_event_name(event->type);
	char id[HF_ID_TEXT_SIZE + 4] = "evt_";
	json_t *data = json_loadb((const char *)event->data.data, event->data.len, 0, NULL);

	hf_id_format(event->id, id + 4);
	return json_pack("{s:s, s:s, s:I, s:s%, s:I, s:o}", "id", id, "type",
			 type != NULL ? type : "unknown", "at_ms", (json_int_t)event->at_ms, "key",
			 event->key.data, event->key.len, "seq", (json_int_t)event->sequence,
			 "data", data != NULL ? data : json_null());
}

static json_t *word_letter(const Hf__DeadLetter *letter)
{
	char id[HF_ID_TEXT_SIZE], failed[HF_CLOCK_TEXT_SIZE];
	json_t *events = json_array();

	hf_id_format(letter->id, id);
	hf_clock_format(letter->failed_ms, failed);
	for (size_t i = 0; i < letter->n_events; i++)
		json_array_append_new(events, word_event(letter->events[i]));
	return json_pack("{s:s, s:s, s:s, s:i, s:s%, s:o}", "id", id, "state", "failed",
			 "failed_at", failed, "attempts", (int)letter->attempts, "reason",
			 letter->reason.data != NULL ? (const char *)letter->reason.data : "",
			 letter->reason.len, "events", events);
}

static void on_listed(const Hf__ListDeadLettersReply *reply, void *ctx)
{
	struct ask *ask = ctx;
	json_t *list, *cursor = NULL;

	if (reply == NULL) {
		ask_no_store(ask);
		free(ask);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < reply->n_letters; i++)
		json_array_append_new(list, word_letter(reply->letters[i]));
	if (reply->more && reply->n_letters > 0)
		cursor = query_next_cursor(CURSOR, &reply->letters[reply->n_letters - 1]->id,
					   CURSOR_SIZE);
	ask_answer(ask, json_pack("{s:o, s:o}", "deliveries", list, "next_cursor",
				  cursor != NULL ? cursor : json_null()));
	free(ask);
}

void api_list_deliveries(struct call *call)
{
	static const char *const states[] = { "failed", NULL };
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	Hf__ListDeadLettersRequest request = HF__LIST_DEAD_LETTERS_REQUEST__INIT;
	struct query_page page;
	struct problem problem;
	struct ask *ask;
	int state = 0;

	if (!find_webhook(call))
		return;
	if (query_choice(query, "state", states, &state, &problem) < 0 ||
	    query_page(query, CURSOR, CURSOR_SIZE, LIMIT_MAX, &page, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	ask = ask_new(call, sizeof(*ask));
	if (ask == NULL)
		return;
	request.app = call->app_id;
	request.webhook = bytes_of(call->arg);
	request.limit = (uint32_t)page.limit;
	if (page.cursor_len == CURSOR_SIZE)
		memcpy(&request.before, page.cursor, CURSOR_SIZE);
	hf__saver__list_dead_letters(any_saver(call->center), &request, on_listed, ask);
}

/* One delivery on its way once more. */
struct retry {
	struct ask ask; /* first */
	uint64_t id;
	char webhook[HF_WEBHOOK_ID_MAX + 1];
	json_t *outcome;
};

static void retry_free(struct retry *retry)
{
	json_decref(retry->outcome);
	free(retry);
}

static void take(struct retry *retry, bool keep, Hf__TakeDeadLetterReply_Closure on_taken)
{
	Hf__TakeDeadLetterRequest request = HF__TAKE_DEAD_LETTER_REQUEST__INIT;

	request.app = retry->ask.app;
	request.webhook = bytes_of(retry->webhook);
	request.id = retry->id;
	request.keep = keep;
	hf__saver__take_dead_letter(any_saver(retry->ask.center), &request, on_taken, retry);
}

/* The business has it: when the store does not answer now, it stays on the list, and that is all.
 */
static void on_removed(const Hf__TakeDeadLetterReply *reply, void *ctx)
{
	struct retry *retry = ctx;

	ask_answer(&retry->ask, json_incref(retry->outcome));
	retry_free(retry);
}

static void on_redelivered(const Hf__TestWebhookReply *reply, void *ctx)
{
	struct retry *retry = ctx;

	if (reply == NULL) {
		fail_no_answer(&retry->ask);
		retry_free(retry);
		return;
	}
	retry->outcome = word_outcome(reply);
	if (reply->delivered && ask_goes_on(&retry->ask)) {
		take(retry, false, on_removed);
		return;
	}
	ask_answer(&retry->ask, json_incref(retry->outcome));
	retry_free(retry);
}

static void on_found(const Hf__TakeDeadLetterReply *reply, void *ctx)
{
	struct retry *retry = ctx;
	Hf__RedeliverRequest request = HF__REDELIVER_REQUEST__INIT;
	struct problem problem;

	if (reply == NULL) {
		ask_no_store(&retry->ask);
		retry_free(retry);
		return;
	}
	if (!reply->known || reply->letter == NULL || !ask_goes_on(&retry->ask)) {
		problem_set(&problem, 404, "DELIVERY_UNKNOWN", NULL, NULL,
			    "the webhook has no such failed delivery");
		ask_fail(&retry->ask, &problem);
		retry_free(retry);
		return;
	}
	request.letter = reply->letter;
	hf__coordinator__redeliver(any_coordinator(retry->ask.center), &request, on_redelivered,
				   retry);
}

void api_retry_delivery(struct call *call)
{
	struct problem problem;
	struct retry *retry;
	uint64_t id;

	if (!find_webhook(call))
		return;
	if (hf_id_parse(call->sub, strlen(call->sub), &id) < 0) {
		problem_set(&problem, 404, "DELIVERY_UNKNOWN", NULL, NULL,
			    "the webhook has no such failed delivery");
		api_fail(call, &problem);
		return;
	}
	retry = ask_new(call, sizeof(*retry));
	if (retry == NULL)
		return;
	retry->id = id;
	memcpy(retry->webhook, call->arg, HF_MIN(call->arg_len, (size_t)HF_WEBHOOK_ID_MAX));
	take(retry, true, on_found);
}
