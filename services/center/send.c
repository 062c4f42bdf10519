/* services/center/send.c - see send.h. */
#include "send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "claim.h"
#include "hf_buffer.h"
#include "hf_clock.h"
#include "message.h"
#include "problem.h"
#include "quota.h"

#define LEASE_MARGIN_MS 10000 /* beyond what storing and waiting may take */
#define REPLAY_FAILED_MAX                                                      \
	200 /* failed registrations that a replay lists: its answer is bounded \
	     */
#define REQUEST_ID_TEXT_MAX 64

struct send {
	struct center *center;
	TAILQ_ENTRY(send) link;
	send_done done; /* NULL: detached */
	void *ctx;
	struct message *message;
	struct claim claim;
	bool keyed;   /* has an idempotency key */
	bool claimed; /* and holds it */
	bool in_begin, answered, finished;
	uint32_t app, requested;
	enum request_wait wait;
	uint64_t wait_ms;
	struct hf_timer timer; /* of the wait */
	struct hf_buffer text; /* the answer */
	unsigned status;
	bool replayed;
	int retry_after_s;
	char request_id[REQUEST_ID_TEXT_MAX + 1];
};

static void send_free(struct send *send)
{
	TAILQ_REMOVE(&send->center->sends, send, link);
	hf_wheel_disarm(&send->timer);
	if (send->message != NULL)
		message_release(send->message);
	if (send->keyed)
		claim_deinit(&send->claim);
	hf_buffer_deinit(&send->text);
	free(send);
}

/* The answer stands: hand it over, and be gone. */
static void finish(struct send *send)
{
	struct send_answer answer = {
		.status = send->status,
		.text = (const char *)hf_buffer_data(&send->text),
		.len = hf_buffer_len(&send->text),
		.replayed = send->replayed,
		.retry_after_s = send->retry_after_s,
	};

	send->finished = true;
	if (send->done != NULL)
		send->done(&answer, send->ctx);
	if (!send->in_begin)
		send_free(send);
}

static void on_complete(struct claim *claim)
{
	finish(HF_CONTAINER_OF(claim, struct send, claim));
}

static void answer_problem(struct send *send, const struct problem *problem)
{
	char *text;

	if (send->answered)
		return;
	send->answered = true;
	center_count_refusal(send->center, problem->reason);
	text = problem_text(problem, send->request_id);
	send->status = problem->code;
	send->retry_after_s = problem->retry_after_s;
	if (text == NULL || hf_buffer_append(&send->text, text, strlen(text)) < 0)
		send->status = 500;
	free(text);
	if (send->claimed)
		claim_give_up(&send->claim);
	finish(send);
}

static const char *durability_name(const struct message *message)
{
	if (message->class == REQUEST_TRANSIENT)
		return "none";
	return message->durability == HF__DURABILITY__COMMITTED ? "committed"
	       : message->durability == HF__DURABILITY__FSYNC   ? "fsync"
								: "memory";
}

static bool is_satisfied(const struct send *send)
{
	const struct message *message = send->message;

	return (send->wait == REQUEST_WAIT_ROUTED && message->written == message->target_count) ||
	       (send->wait == REQUEST_WAIT_ACKED && message->acked == message->target_count);
}

/* How far the message has come for all its recipients. */
static const char *state_name(const struct message *message, enum request_wait wait)
{
	if (wait == REQUEST_WAIT_NONE)
		return "accepted";
	if (message->acked == message->target_count)
		return "acked";
	if (message->written == message->target_count)
		return "routed";
	if (message->class == REQUEST_TRANSIENT && message->phase == MESSAGE_DONE &&
	    message->written == 0)
		return "failed"; /* nobody was there, and nothing is owed */
	return "accepted";
}

static int word_failed(struct send *send, uint32_t max)
{
	const struct message *message = send->message;
	uint32_t listed = 0;
	int err = hf_buffer_printf(&send->text, ",\"failed\":[");

	for (uint32_t i = 0; err == 0 && i < message->target_count && listed < max; i++) {
		const struct target *target = &message->targets[i];
		json_t *item;
		char *text;

		if (target->outcome != TARGET_FAILED)
			continue;
		item = json_pack("{s:s%, s:s}", "registration_id", target->registration,
				 (size_t)target->registration_len, "reason", message->store_reason);
		text = item != NULL ? json_dumps(item, JSON_COMPACT) : NULL;
		err = text != NULL
			      ? hf_buffer_printf(&send->text, "%s%s", listed++ > 0 ? "," : "", text)
			      : -ENOMEM;
		free(text);
		json_decref(item);
	}
	return err == 0 ? hf_buffer_printf(&send->text, "]") : err;
}

/* The body of an accepted message, into send->text. */
static int word_answer(struct send *send, uint32_t failed_max)
{
	const struct message *message = send->message;
	char id[HF_ID_TEXT_SIZE], at[HF_CLOCK_TEXT_SIZE];
	int err;

	hf_buffer_clear(&send->text, SIZE_MAX);
	hf_id_format(message->id, id);
	hf_clock_format(message->wall_ms, at);
	err = hf_buffer_printf(&send->text,
			       "{\"message_id\":\"%s\",\"state\":\"%s\",\"accepted_at\":\"%s\","
			       "\"targets\":{\"kind\":\"%s\",\"requested\":%u,\"accepted\":%u},"
			       "\"durability\":\"%s\",\"replayed\":false",
			       id, state_name(message, send->wait), at,
			       message->target_count == 1 ? "unicast" : "multicast",
			       message->target_count, message->accepted, durability_name(message));
	if (err == 0 && send->wait != REQUEST_WAIT_NONE)
		err = hf_buffer_printf(&send->text,
				       ",\"counters\":{\"written\":%u,\"offline\":%u,"
				       "\"dropped\":%u,\"unrouted\":%u,\"acked\":%u}",
				       message->written, message->offline, message->dropped,
				       message->unrouted, message->acked);
	if (err == 0 && message->failed > 0)
		err = word_failed(send, failed_max);
	return err == 0 ? hf_buffer_printf(&send->text, "}") : err;
}

static void answer_accepted(struct send *send)
{
	bool keep = send->claimed && !send->center->stopping;

	if (send->answered)
		return;
	send->answered = true;
	hf_wheel_disarm(&send->timer);
	send->status = is_satisfied(send) ? 200 : 202;
	send->retry_after_s = -1;
	if (keep && word_answer(send, REPLAY_FAILED_MAX) < 0)
		keep = false;
	if (keep &&
	    claim_complete(&send->claim, send->status,
			   hf_bytes_of(hf_buffer_data(&send->text), hf_buffer_len(&send->text)),
			   on_complete) < 0)
		keep = false;
	if ((!keep || send->message->failed > REPLAY_FAILED_MAX) &&
	    word_answer(send, UINT32_MAX) < 0)
		send->status = 500;
	if (!keep)
		finish(send);
}

static void answer_not_stored(struct send *send)
{
	struct problem problem;

	quota_refund(send->center, send->app, send->requested);
	problem_retry(&problem, 503, send->message->store_reason, 1,
		      "the message could not be stored in time; it may be sent again, best with an "
		      "idempotency key");
	answer_problem(send, &problem);
}

static void on_stored(struct send *send)
{
	struct center *center = send->center;

	if (send->message->accepted == 0) {
		answer_not_stored(send);
		return;
	}
	++*center->counters
		   .accepted[send->message->target_count == 1 ? CENTER_UNICAST : CENTER_MULTICAST];
	if (send->wait == REQUEST_WAIT_NONE || send->done == NULL) {
		answer_accepted(send);
	} else if (send->wait == REQUEST_WAIT_ROUTED) {
		hf_loop_arm(center->loop, &send->timer, send->wait_ms);
	} else {
		hf_loop_arm(center->loop, &send->timer, send->wait_ms);
		message_await_acks(send->message, send->wait_ms);
	}
}

static void on_event(struct message *message, enum message_event event, void *ctx)
{
	struct send *send = ctx;

	if (event == MESSAGE_STORED)
		on_stored(send);
	else if (event == MESSAGE_ROUTED && send->wait == REQUEST_WAIT_ROUTED)
		answer_accepted(send);
	else if (event == MESSAGE_ACKED)
		answer_accepted(send);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	answer_accepted(ctx);
}

/* The first answer again, but for the one word that says so. */
static void answer_replay(struct send *send, unsigned status, struct hf_bytes response)
{
	static const char word[] = "\"replayed\":false";
	const uint8_t *at = response.len > 0
				    ? memmem(response.data, response.len, word, sizeof(word) - 1)
				    : NULL;
	size_t head = at != NULL ? (size_t)(at - response.data) : response.len;
	size_t tail = at != NULL ? head + sizeof(word) - 1 : response.len;
	int err = 0;

	send->answered = true;
	send->replayed = true;
	send->status = status;
	send->retry_after_s = -1;
	++*send->center->counters.replayed;
	if (head > 0)
		err = hf_buffer_append(&send->text, response.data, head);
	if (err == 0 && at != NULL)
		err = hf_buffer_printf(&send->text, "\"replayed\":true%.*s",
				       (int)(response.len - tail),
				       (const char *)response.data + tail);
	if (err < 0)
		send->status = 500;
	finish(send);
}

static void on_claim(struct claim *claim, enum claim_result result, unsigned status,
		     struct hf_bytes response)
{
	struct send *send = HF_CONTAINER_OF(claim, struct send, claim);
	struct problem problem;

	if (result == CLAIM_WON) {
		send->claimed = true;
		message_start(send->message, on_event, send);
		return;
	}
	quota_refund(send->center, send->app, send->requested);
	switch (result) {
	case CLAIM_REPLAY:
		answer_replay(send, status, response);
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
	answer_problem(send, &problem);
}

/* What can be said without asking anybody. 0: go on. */
static int check(struct send *send, const struct send_input *input, struct request *request,
		 struct problem *problem)
{
	struct center *center = send->center;
	size_t targets, bytes;

	hf_arena_reset(&center->scratch);
	if (request_parse(input->text, input->app->payload_max, &center->scratch, request,
			  problem) < 0)
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
	return quota_take(center, input->app, (uint32_t)request->target_count, problem);
}

static void answer_valid(struct send *send, const struct request *request)
{
	send->answered = true;
	send->status = 200;
	send->retry_after_s = -1;
	if (hf_buffer_printf(
		    &send->text,
		    "{\"state\":\"valid\",\"targets\":{\"kind\":\"%s\",\"requested\":%zu}}",
		    request->target_count == 1 ? "unicast" : "multicast",
		    request->target_count) < 0)
		send->status = 500;
	finish(send);
}

static void start(struct send *send, const struct send_input *input, const struct request *request)
{
	struct hf_bytes key =
		request->cid[0] != '\0' ? hf_bytes_of_string(request->cid) : input->key;
	struct problem problem;
	uint64_t lease_ms;
	int err = message_new(send->center, input->app, request, &send->message);

	if (err < 0) {
		quota_refund(send->center, send->app, send->requested);
		if (err == -EMSGSIZE)
			problem_set(&problem, 413, "PAYLOAD_TOO_LARGE", "message", NULL,
				    "the payload is too large");
		else
			problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		answer_problem(send, &problem);
		return;
	}
	if (key.data == NULL) {
		message_start(send->message, on_event, send);
		return;
	}
	lease_ms = send->center->config->store_total_ms + request->wait_ms + LEASE_MARGIN_MS;
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
		struct send_answer answer = {
			.status = 503, .text = "{}", .len = 2, .retry_after_s = 1
		};

		done(&answer, ctx);
		return NULL;
	}
	send->center = center;
	send->done = done;
	send->ctx = ctx;
	send->in_begin = true;
	snprintf(send->request_id, sizeof(send->request_id), "%s", input->request_id);
	hf_timer_init(&send->timer, on_timer, send);
	TAILQ_INSERT_TAIL(&center->sends, send, link);

	if (check(send, input, &request, &problem) < 0) {
		answer_problem(send, &problem);
	} else if (request.validate_only) {
		answer_valid(send, &request);
	} else {
		send->app = input->app->id;
		send->requested = (uint32_t)request.target_count;
		send->wait = request.wait;
		send->wait_ms = request.wait_ms;
		start(send, input, &request);
	}

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
		answer_accepted(send); /* it only waited on the client's behalf */
}

void send_free_all(struct center *center)
{
	while (!TAILQ_EMPTY(&center->sends))
		send_free(TAILQ_FIRST(&center->sends));
}
