/* services/center/batch.c - POST .../messages/batch: up to 1000 different messages, a result for
 * each.
 *
 * The body is walked as text and each message parsed alone, some of them a turn, so that a large
 * batch neither multiplies in memory nor holds up the loop. */
#include <errno.h>
#include <stdlib.h>

#include "api.h"
#include "hf_buffer.h"
#include "json.h"
#include "problem.h"
#include "quota.h"
#include "send.h"

#define BATCH_MAX     1000
#define STARTS_A_TURN 64

struct slot {
	struct batch *batch;
	struct hf_bytes request; /* in the body, which lives as long as the exchange */
	struct send *send;       /* under way */
	struct hf_buffer result;
};

struct batch {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	struct hf_task task;
	uint32_t app;
	size_t started, open, count;
	struct slot slots[];
};

static void batch_free(struct batch *batch)
{
	hf_task_cancel(batch->center->loop, &batch->task);
	for (size_t i = 0; i < batch->count; i++)
		hf_buffer_deinit(&batch->slots[i].result);
	free(batch);
}

/* {"results":[...]}. 0 or -ENOMEM, also when there was no memory for one of them. */
static int word_answer(const struct batch *batch, struct hf_buffer *ret)
{
	size_t size = 16;
	int err;

	for (size_t i = 0; i < batch->count; i++)
		size += hf_buffer_len(&batch->slots[i].result) + 1;
	err = hf_buffer_reserve(ret, size) != NULL ? 0 : -ENOMEM;
	for (size_t i = 0; err == 0 && i < batch->count; i++) {
		const struct hf_buffer *result = &batch->slots[i].result;
		const char *before = i == 0 ? "{\"results\":[" : ",";

		err = hf_buffer_append(ret, before, strlen(before));
		if (err == 0)
			err = hf_buffer_len(result) > 0
				      ? hf_buffer_append(ret, hf_buffer_data(result),
							 hf_buffer_len(result))
				      : -ENOMEM;
	}
	return err == 0 ? hf_buffer_append(ret, "]}", 2) : err;
}

static void answer_all(struct batch *batch)
{
	const struct hf_app *app = hf_apps_get(batch->center->apps, batch->app);
	struct hf_buffer text = { 0 };
	int err = word_answer(batch, &text);

	if (app != NULL)
		quota_headers(batch->center, app, batch->exchange);
	if (err == 0)
		hf_http_respond(batch->exchange, 200, "application/json", hf_buffer_data(&text),
				hf_buffer_len(&text));
	else
		hf_http_respond_error(batch->exchange, 500, NULL, "INTERNAL",
				      "the results could not be written", NULL, NULL, -1);
	hf_buffer_deinit(&text);
	batch_free(batch);
}

static void on_sent(const struct send_answer *answer, void *ctx)
{
	struct slot *slot = ctx;
	struct batch *batch = slot->batch;

	slot->send = NULL;
	slot->result = *answer->text;
	hf_buffer_init(answer->text);
	batch->open--;
	if (batch->open == 0 && batch->started == batch->count)
		hf_task_schedule(batch->center->loop, &batch->task); /* answers */
}

static void start_next(struct batch *batch)
{
	struct slot *slot = &batch->slots[batch->started++];
	struct send_input input = {
		.app = hf_apps_get(batch->center->apps, batch->app),
		.text = slot->request,
		.request_id = hf_http_exchange_request_id(batch->exchange),
	};

	batch->open++;
	slot->batch = batch;
	slot->send = send_begin(batch->center, &input, on_sent, slot);
}

static void fail_rest(struct batch *batch, const struct problem *problem)
{
	char *text = problem_text(problem, hf_http_exchange_request_id(batch->exchange));

	for (; batch->started < batch->count; batch->started++) {
		struct hf_buffer *result = &batch->slots[batch->started].result;

		if (text != NULL && hf_buffer_append(result, text, strlen(text)) < 0)
			hf_buffer_deinit(result); /* word_answer() sees that it is missing */
	}
	free(text);
}

static void on_task(void *ctx)
{
	struct batch *batch = ctx;
	struct problem problem;

	for (unsigned i = 0; i < STARTS_A_TURN && batch->started < batch->count; i++) {
		if (hf_apps_get(batch->center->apps, batch->app) == NULL) {
			problem_set(&problem, 404, "APP_UNKNOWN", NULL, NULL, "no such app");
			fail_rest(batch, &problem);
		} else {
			start_next(batch);
		}
	}
	if (batch->started < batch->count)
		hf_task_schedule(batch->center->loop, &batch->task);
	else if (batch->open == 0)
		answer_all(batch);
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	struct batch *batch = ctx;

	for (size_t i = 0; i < batch->started; i++)
		if (batch->slots[i].send != NULL)
			send_detach(batch->slots[i].send);
	batch_free(batch); /* what was not begun is not sent */
}

static int check_parallel(struct hf_bytes value, struct problem *ret_problem)
{
	if (hf_bytes_equal(value, HF_BYTES_LITERAL("true")) ||
	    hf_bytes_equal(value, HF_BYTES_LITERAL("null")))
		return 0;
	if (hf_bytes_equal(value, HF_BYTES_LITERAL("false")))
		return problem_set(ret_problem, 400, "UNSUPPORTED", "parallel", "false",
				   "messages of a batch are always sent in parallel");
	return problem_set(ret_problem, 400, "BAD_VALUE", "parallel", NULL,
			   "parallel must be true");
}

/* The elements of the array that comes next; more than there is room for are counted only. */
static int find_messages(struct json_walk *walk, struct hf_bytes ret[BATCH_MAX], size_t *ret_count)
{
	struct json_walk items;
	struct hf_bytes key, item;
	size_t count = 0;
	int n = json_walk_enter(walk, '[', &items);

	while (n == 0 && (n = json_walk_next(&items, &key, &item)) == 1) {
		if (count < BATCH_MAX)
			ret[count] = item;
		count++;
		n = 0;
	}
	json_walk_leave(walk, &items);
	*ret_count = count;
	return n;
}

/* Find the messages in the body. */
static int open_body(struct hf_bytes body, struct hf_bytes ret_messages[BATCH_MAX],
		     size_t *ret_count, struct problem *ret_problem)
{
	struct json_walk walk;
	struct hf_bytes key, value;
	size_t count = 0;
	bool found = false;
	int n = json_walk_begin(&walk, body, '{');

	while (n == 0 && (n = json_walk_key(&walk, &key)) == 1) {
		if (json_key_is(key, "messages")) {
			n = found ? -EINVAL : find_messages(&walk, ret_messages, &count);
			found = true;
		} else if (json_key_is(key, "parallel")) {
			n = json_walk_value(&walk, &value);
			if (n == 0 && check_parallel(value, ret_problem) < 0)
				return -EINVAL;
		} else if (json_walk_value(&walk, &value) < 0) {
			n = -EINVAL;
		} else {
			return problem_set(ret_problem, 400, "UNKNOWN_FIELD", NULL, NULL,
					   "a batch has messages and parallel, nothing else");
		}
	}
	if (n == 0 && !found)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "messages", NULL,
				   "messages is required");
	if (n < 0)
		return problem_set(ret_problem, 400, "BAD_JSON", NULL, NULL,
				   "the body must be {\"messages\": [...]}");
	if (count > BATCH_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_MESSAGES", "messages", NULL,
				   "a batch has %d messages at most", BATCH_MAX);
	if (count == 0)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "messages", NULL,
				   "messages is empty");
	*ret_count = count;
	return 0;
}

void api_send_batch(struct call *call)
{
	struct hf_bytes messages[BATCH_MAX];
	struct problem problem;
	struct batch *batch;
	size_t count = 0;

	if (hf_http_exchange_header(call->exchange, "idempotency-key").data != NULL) {
		problem_set(&problem, 400, "UNSUPPORTED", "Idempotency-Key", NULL,
			    "in a batch each message has its own cid");
		api_fail(call, &problem);
		return;
	}
	if (open_body(hf_http_exchange_body(call->exchange), messages, &count, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	batch = calloc(1, sizeof(*batch) + count * sizeof(batch->slots[0]));
	if (batch == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		return;
	}
	batch->center = call->center;
	batch->exchange = call->exchange;
	batch->app = call->app_id;
	batch->count = count;
	for (size_t i = 0; i < count; i++)
		batch->slots[i].request = messages[i];
	hf_task_init(&batch->task, on_task, batch);
	hf_task_schedule(call->center->loop, &batch->task);
	hf_http_exchange_on_abort(call->exchange, on_client_left, batch);
}
