/* What people ask for: does this callback work, and this dead letter once more. One request each,
 * at once, beside the queues; the answer says what came of it. */
#define HF_LOG_MODULE "callbacks"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "body.h"
#include "events.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_log.h"

#define CHALLENGE_BYTES 16

struct manual {
	struct coordinator_state *state;
	struct targets *targets;
	struct events_metrics metrics;
};

struct request {
	struct parcel parcel;
	struct coordinator_state *state;
	Hf__TestWebhookReply_Closure closure;
	void *call;
	char webhook[HF_WEBHOOK_ID_MAX + 1];
	char challenge[2 * CHALLENGE_BYTES + 1]; /* "": nothing is to be echoed */
	char *body;
};

static void answer(struct request *request, bool delivered, unsigned status, const char *detail)
{
	Hf__TestWebhookReply reply = HF__TEST_WEBHOOK_REPLY__INIT;
	uint64_t now_us = hf_loop_now_us(request->state->service->loop);

	reply.delivered = delivered;
	reply.status = status;
	reply.detail = (char *)(uintptr_t)detail;
	reply.duration_ms = (now_us - request->parcel.submitted_us) / 1000;
	request->closure(&reply, request->call);
	free(request->body);
	free(request);
}

static bool echoes(const struct post_outcome *outcome, const char *challenge)
{
	json_t *json = body_is_json(outcome->body) ? json_loadb((const char *)outcome->body.data,
								outcome->body.len, 0, NULL)
						   : NULL;
	const char *echo = json_string_value(json_object_get(json, "challenge"));
	bool same = echo != NULL && strcmp(echo, challenge) == 0;

	json_decref(json);
	return same;
}

static void on_sent(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct request *request = HF_CONTAINER_OF(parcel, struct request, parcel);
	struct manual *manual = request->state->manual;
	char reason[64];

	if (outcome == NULL) {
		answer(request, false, 0, "it could not be sent");
		return;
	}
	events_count_request(request->state, &manual->metrics, "manual", parcel, request->webhook,
			     outcome);
	verdict_reason(outcome, reason, sizeof(reason));
	if (outcome->result != POST_ANSWERED && outcome->result != POST_TOO_LARGE)
		answer(request, false, 0, reason);
	else if (outcome->status / 100 != 2)
		answer(request, false, outcome->status, reason);
	else if (request->challenge[0] != '\0' && !echoes(outcome, request->challenge))
		answer(request, false, outcome->status, "the challenge was not echoed");
	else
		answer(request, true, outcome->status, "");
}

static const struct hf_webhook *find_webhook(struct coordinator_state *state, uint32_t app_id,
					     const ProtobufCBinaryData *id)
{
	const struct hf_app *app = hf_apps_get(state->apps, app_id);

	for (size_t i = 0; app != NULL && i < app->webhook_count; i++)
		if (hf_bytes_equal(hf_bytes_of_string(app->webhooks[i].id),
				   hf_bytes_of(id->data, id->len)))
			return &app->webhooks[i];
	return NULL;
}

static struct request *request_new(struct coordinator_state *state,
				   Hf__TestWebhookReply_Closure closure, void *call, uint32_t app,
				   const struct hf_webhook *webhook)
{
	struct request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return NULL;
	request->state = state;
	request->closure = closure;
	request->call = call;
	request->parcel.request.app = app;
	request->parcel.request.attempt = 1;
	memcpy(request->webhook, webhook->id, sizeof(request->webhook));
	return request;
}

/* Takes the request, which may be NULL or without a body. */
static void submit(struct coordinator_state *state, struct request *request, void *call,
		   const struct hf_webhook *webhook)
{
	int err = -ENOMEM;

	if (request != NULL && request->body != NULL) {
		request->parcel.request.body = request->body;
		err = targets_submit(state->manual->targets, request->parcel.request.app, webhook,
				     hf_random_u64(), &request->parcel);
	}
	if (err == 0)
		return;
	if (request != NULL)
		free(request->body);
	free(request);
	if (err == -ENOMEM)
		hf_rpc_fail(call, HF_RPC_INTERNAL, "OUT_OF_MEMORY");
	else
		hf_rpc_fail(call, HF_RPC_OVERLOADED, "OVERLOADED");
}

void on_test_webhook(Hf__Coordinator_Service *rpc, const Hf__TestWebhookRequest *test,
		     Hf__TestWebhookReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	struct hf_service *service = state->service;
	const struct hf_webhook *webhook = find_webhook(state, test->app, &test->webhook);
	uint64_t now_ms = hf_loop_wall_ms(service->loop);
	uint8_t random[CHALLENGE_BYTES];
	struct request *request;

	if (webhook == NULL) {
		hf_rpc_fail(call, HF_RPC_NOT_FOUND, "WEBHOOK_UNKNOWN");
		return;
	}
	request = request_new(state, closure, call, test->app, webhook);
	if (request != NULL) {
		hf_random_bytes(random, sizeof(random));
		for (size_t i = 0; i < sizeof(random); i++)
			snprintf(request->challenge + 2 * i, 3, "%02x", random[i]);
		request->parcel.request.id = hf_id_next(&service->ids, now_ms);
		request->body =
			body_of_test(test->app, now_ms, request->parcel.request.id, webhook->id,
				     request->challenge, &request->parcel.request.body_len);
	}
	submit(state, request, call, webhook);
}

static bool letter_is_valid(const Hf__DeadLetter *letter)
{
	if (letter == NULL || letter->n_events == 0 || letter->n_events > HF_WEBHOOK_BATCH_MAX)
		return false;
	for (size_t i = 0; i < letter->n_events; i++) {
		const Hf__Event *event = letter->events[i];

		if (event->key.len > HF_USER_ID_MAX || event->data.len > HF_EVENT_DATA_MAX ||
		    (hf_event_name(event->type) != NULL &&
		     !body_is_json(hf_bytes_of(event->data.data, event->data.len))))
			return false;
	}
	return true;
}

void on_redeliver(Hf__Coordinator_Service *rpc, const Hf__RedeliverRequest *redeliver,
		  Hf__TestWebhookReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	const Hf__DeadLetter *letter = redeliver->letter;
	uint64_t now_ms = hf_loop_wall_ms(state->service->loop);
	struct hf_webhook webhook;
	const struct hf_webhook *found;
	struct request *request;

	if (!letter_is_valid(letter)) {
		++*state->bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_LETTER");
		return;
	}
	found = find_webhook(state, letter->app, &letter->webhook);
	if (found == NULL) {
		hf_rpc_fail(call, HF_RPC_NOT_FOUND, "WEBHOOK_UNKNOWN");
		return;
	}
	webhook = *found;
	webhook.timeout_ms = (uint32_t)state->config->receipt_timeout_ms;
	request = request_new(state, closure, call, letter->app, &webhook);
	if (request != NULL) {
		request->parcel.request.id = letter->id;
		request->parcel.request.attempt = letter->attempts + 1;
		request->body = body_of_events(letter->app, now_ms, letter->events,
					       letter->n_events, &request->parcel.request.body_len);
	}
	submit(state, request, call, &webhook);
}

void manual_configure(struct coordinator_state *state)
{
	struct targets_limits limits;

	coordinator_limits(state, &limits);
	targets_set_limits(state->manual->targets, &limits);
}

int manual_open(struct coordinator_state *state)
{
	struct manual *manual = calloc(1, sizeof(*manual));

	if (manual == NULL)
		return -ENOMEM;
	state->manual = manual;
	manual->state = state;
	manual->targets = targets_new(state->service->loop, on_sent);
	if (manual->targets == NULL)
		return -ENOMEM;
	events_metrics_init(&manual->metrics, state->service->metrics, "manual");
	manual_configure(state);
	return 0;
}

void manual_close(struct coordinator_state *state)
{
	if (state->manual == NULL)
		return;
	targets_free(state->manual->targets);
	free(state->manual);
	state->manual = NULL;
}
