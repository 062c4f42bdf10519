/* services/center/send.c - see send.h. */
#include "send.h"

#include <errno.h>
#include <stdlib.h>

#include "quota.h"
#include "send_internal.h"

#define LEASE_MARGIN_MS 10000 /* beyond what storing and waiting may take */

static void send_free(struct send *send)
{
	TAILQ_REMOVE(&send->center->sends, send, link);
	hf_wheel_disarm(&send->timer);
	if (send->message != NULL)
		message_release(send->message);
	if (send->keyed)
		claim_deinit(&send->claim);
	send_free_plan(send);
	hf_buffer_deinit(&send->text);
	free(send);
}

void send_finish(struct send *send)
{
	struct send_answer answer = {
		.status = send->status,
		.text = &send->text,
		.replayed = send->replayed,
		.retry_after_s = send->retry_after_s,
	};

	send->finished = true;
	if (send->done != NULL)
		send->done(&answer, send->ctx);
	if (!send->in_begin)
		send_free(send);
}

void send_refuse(struct send *send, const struct problem *problem)
{
	char *text;

	if (send->answered)
		return;
	send->answered = true;
	quota_refund(send->center, send->app, send->charged);
	center_count_refusal(send->center, problem->reason);
	text = problem_text(problem, send->request_id);
	send->status = problem->code;
	send->retry_after_s = problem->retry_after_s;
	if (text == NULL || hf_buffer_append(&send->text, text, strlen(text)) < 0)
		send->status = 500;
	free(text);
	if (send->claimed)
		claim_give_up(&send->claim);
	send_finish(send);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	send_answer_accepted(ctx);
}

static void on_claim(struct claim *claim, enum claim_result result, unsigned status,
		     struct hf_bytes response)
{
	struct send *send = HF_CONTAINER_OF(claim, struct send, claim);
	struct problem problem;

	if (result == CLAIM_WON) {
		send->claimed = true;
		send_proceed(send);
		return;
	}
	switch (result) {
	case CLAIM_REPLAY:
		quota_refund(send->center, send->app, send->charged);
		send_answer_replay(send, status, response);
		return;
	case CLAIM_IN_PROGRESS:
		problem_retry(&problem, 409, "IDEMPOTENCY_IN_PROGRESS", 1,
			      "a request with this idempotency key is being worked on");
		break;
	case CLAIM_MISMATCH:
		problem_set(&problem, 422, "IDEMPOTENCY_MISMATCH", NULL, NULL,
			    "this idempotency key was used for another request");
		break;
	case CLAIM_UNAVAILABLE:
	case CLAIM_WON:
		problem_retry(&problem, 503, "STORE_UNAVAILABLE", 1,
			      "the store of idempotency keys did not answer in time");
		break;
	}
	send_refuse(send, &problem);
}

/* Recipients that are known now: users count when they are resolved, and a job counts as one, as it
 * has limits of its own. */
static uint32_t cost_of(const struct request *request)
{
	if (request->kind != REQUEST_LIST || request->send_at_ms > 0)
		return 1;
	return request->user_count > 0 ? 0 : (uint32_t)request->target_count;
}

/* What can be said without asking anybody. 0: go on. */
static int check(struct send *send, const struct send_input *input, struct request *request,
		 struct problem *problem)
{
	struct center *center = send->center;
	size_t targets, bytes;

	send->app = input->app->id;
	hf_arena_reset(&center->scratch);
	if (request_parse(input->text, input->app->payload_max, hf_loop_wall_ms(center->loop),
			  &center->scratch, request, problem) < 0)
		return -EINVAL;
	if (input->key.data != NULL &&
	    !request_is_key((const char *)input->key.data, input->key.len))
		return problem_set(problem, 400, "BAD_IDEMPOTENCY_KEY", "Idempotency-Key", NULL,
				   "Idempotency-Key must be 1 to %d printable characters",
				   REQUEST_CID_MAX);
	if (input->key.data != NULL && request->cid[0] != '\0' &&
	    !hf_bytes_equal(input->key, hf_bytes_of_string(request->cid)))
		return problem_set(problem, 400, "CONFLICTING_FIELDS", "cid", request->cid,
				   "cid and Idempotency-Key are not the same");
	send->wait = request->wait;
	send->wait_ms = request->wait_ms;
	if (request->validate_only)
		return 0;
	targets = center->targets_open + request->target_count;
	bytes = center->frame_bytes + request->payload.len;
	if (targets > center->config->targets_max || bytes > center->config->frame_bytes_max)
		return problem_retry(problem, 503, "OVERLOADED", 1,
				     "too many messages are in delivery");
	if (request->wait == REQUEST_WAIT_ACKED &&
	    center->ack_waits + request->target_count > MESSAGE_ACK_WAITS_MAX)
		return problem_retry(problem, 503, "OVERLOADED", 1,
				     "too many calls wait for acks; send it without wait");
	if (quota_take(center, input->app, cost_of(request), problem) < 0)
		return -EINVAL;
	send->charged = cost_of(request);
	return 0;
}

/* Claim the key, if there is one, and go on. */
static void start(struct send *send, const struct send_input *input, const struct request *request)
{
	struct hf_bytes key =
		request->cid[0] != '\0' ? hf_bytes_of_string(request->cid) : input->key;
	uint64_t lease_ms =
		send->center->config->store_total_ms + request->wait_ms + LEASE_MARGIN_MS;
	struct problem problem;
	int err = 0;

	if (send->plan == NULL)
		err = message_new(send->center, input->app, request, 0, &send->message);
	if (err < 0) {
		message_problem(err, &problem);
		send_refuse(send, &problem);
		return;
	}
	if (key.data == NULL) {
		send_proceed(send);
		return;
	}
	send->keyed = true;
	claim_init(&send->claim, send->center, send->app, key, input->text, (uint32_t)lease_ms);
	claim_start(&send->claim, on_claim);
}

struct send *send_begin(struct center *center, const struct send_input *input, send_done done,
			void *ctx)
{
	struct send *send = calloc(1, sizeof(*send));
	struct request request;
	struct problem problem;

	if (send == NULL) {
		struct hf_buffer text = { 0 };
		struct send_answer answer = { .status = 503, .text = &text, .retry_after_s = 1 };

		if (hf_buffer_append(&text, "{}", 2) < 0)
			answer.status = 500;
		done(&answer, ctx);
		hf_buffer_deinit(&text);
		return NULL;
	}
	send->center = center;
	send->done = done;
	send->ctx = ctx;
	send->in_begin = true;
	memcpy(send->request_id, input->request_id,
	       strnlen(input->request_id, REQUEST_ID_TEXT_MAX));
	hf_timer_init(&send->timer, on_timer, send);
	TAILQ_INSERT_TAIL(&center->sends, send, link);

	if (check(send, input, &request, &problem) < 0)
		send_refuse(send, &problem);
	else if (send_needs_plan(&request) && send_make_plan(send, input, &problem) < 0)
		send_refuse(send, &problem);
	else if (request.validate_only && send->plan != NULL)
		send_dry_run(send);
	else if (request.validate_only)
		send_answer_valid(send, &request, request.target_count);
	else
		start(send, input, send->plan != NULL ? &send->plan->request : &request);

	send->in_begin = false;
	if (send->finished) {
		send_free(send);
		return NULL;
	}
	return send;
}

void send_detach(struct send *send)
{
	send->done = NULL;
	if (!send->answered && hf_timer_armed(&send->timer))
		send_answer_accepted(send); /* it only waited on the client's behalf */
}

void send_free_all(struct center *center)
{
	while (!TAILQ_EMPTY(&center->sends))
		send_free(TAILQ_FIRST(&center->sends));
}
