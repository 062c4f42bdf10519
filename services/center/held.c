/* services/center/held.c - see held.h. */
#define HF_LOG_MODULE "center"
#include "held.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_log.h"
#include "problem.h"

#define HOLD_MS 1000

struct held_answer {
	TAILQ_ENTRY(held_answer) link;
	struct center *center;
	struct hf_http_exchange *exchange;
	struct hf_timer timer;
	uint32_t app;
	char *wanted; /* the definition we wait for; NULL: none */
	unsigned status;
	json_t *body;
};

static void app_path(uint32_t app, char ret[32])
{
	snprintf(ret, 32, "apps/%u", app);
}

static int keeper_problem(struct problem *ret_problem, int err)
{
	if (err == -ENOENT)
		return problem_set(ret_problem, 404, "APP_UNKNOWN", NULL, NULL, "no such app");
	if (err == -EEXIST)
		return problem_set(ret_problem, 409, "ALREADY_EXISTS", "id", NULL,
				   "there is an app with this id");
	HF_WARN("app not written", "err=%s", strerror(-err));
	return problem_retry(ret_problem, 503, "KEEPER_UNAVAILABLE", 1,
			     "the keeper could not be reached");
}

int held_read(struct call *call, struct hf_app *ret_app, struct problem *ret_problem)
{
	char path[32], error[HF_CONFIG_ERROR_SIZE] = "";
	char *text = NULL;
	size_t len;
	int err;

	app_path(call->app_id, path);
	err = hf_keeper_get(call->center->service->keeper, path, &text, &len);
	if (err < 0)
		return keeper_problem(ret_problem, err);
	err = hf_app_decode(text, len, ret_app, error);
	free(text);
	if (err < 0) {
		HF_ERROR("app unreadable", "app=%u error=%s", call->app_id,
			 hf_log_quote(error, strlen(error)));
		return problem_set(ret_problem, 500, "INTERNAL", NULL, NULL,
				   "the app's definition in the keeper is not readable");
	}
	return 0;
}

static void held_free(struct held_answer *held)
{
	TAILQ_REMOVE(&held->center->held_answers, held, link);
	hf_wheel_disarm(&held->timer);
	json_decref(held->body);
	free(held->wanted);
	free(held);
}

static void answer(struct held_answer *held)
{
	api_respond_json(held->exchange, held->status, json_incref(held->body));
	held_free(held);
}

static bool is_seen(const struct held_answer *held)
{
	const struct hf_app *app = hf_apps_get(held->center->apps, held->app);
	char *text;
	bool same;

	if (app == NULL || held->wanted == NULL)
		return app == NULL && held->wanted == NULL;
	text = hf_app_encode(app);
	same = text != NULL && strcmp(text, held->wanted) == 0;
	free(text);
	return same;
}

void held_on_change(struct center *center)
{
	struct held_answer *held, *next;

	for (held = TAILQ_FIRST(&center->held_answers); held != NULL; held = next) {
		next = TAILQ_NEXT(held, link);
		if (is_seen(held))
			answer(held);
	}
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	answer(ctx); /* it is written; our view will follow */
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	held_free(ctx);
}

/* Takes `wanted` and `body`. */
static void hold(struct call *call, uint32_t app, char *wanted, unsigned status, json_t *body)
{
	struct held_answer *held = calloc(1, sizeof(*held));

	if (held == NULL) {
		free(wanted);
		api_respond_json(call->exchange, status, body);
		return;
	}
	held->center = call->center;
	held->exchange = call->exchange;
	held->app = app;
	held->wanted = wanted;
	held->status = status;
	held->body = body;
	hf_timer_init(&held->timer, on_timer, held);
	hf_loop_arm(call->center->loop, &held->timer, HOLD_MS);
	TAILQ_INSERT_TAIL(&call->center->held_answers, held, link);
	hf_http_exchange_on_abort(call->exchange, on_client_left, held);
	if (is_seen(held))
		answer(held);
}

void held_write(struct call *call, const struct hf_app *app, bool create, unsigned status,
		json_t *body)
{
	struct hf_keeper *keeper = call->center->service->keeper;
	char *text = hf_app_encode(app);
	struct problem problem;
	char path[32];
	int err = -ENOMEM;

	app_path(app->id, path);
	if (text != NULL && body != NULL)
		err = create ? hf_keeper_create(keeper, path, text, strlen(text))
			     : hf_keeper_set(keeper, path, text, strlen(text));
	if (err < 0) {
		keeper_problem(&problem, err);
		api_fail(call, &problem);
		json_decref(body);
		free(text);
		return;
	}
	HF_INFO("app written", "app=%u by=%s request=%s", app->id,
		hf_http_exchange_peer(call->exchange), hf_http_exchange_request_id(call->exchange));
	hold(call, app->id, text, status, body);
}

void held_change(struct call *call, held_edit edit, void *ctx, unsigned status)
{
	json_t *answer = NULL;
	struct problem problem;
	struct hf_app app;

	if (held_read(call, &app, &problem) < 0 || edit(&app, ctx, &answer, &problem) < 0)
		api_fail(call, &problem);
	else
		held_write(call, &app, false, status, answer);
	OPENSSL_cleanse(&app, sizeof(app)); /* it has the secrets of token keys and callbacks */
}

json_t *held_word_deleted(void)
{
	return json_pack("{s:b}", "deleted", 1);
}

void held_remove(struct call *call)
{
	struct problem problem;
	char path[32];
	int err;

	app_path(call->app_id, path);
	err = hf_keeper_remove(call->center->service->keeper, path);
	if (err < 0) {
		keeper_problem(&problem, err);
		api_fail(call, &problem);
		return;
	}
	HF_INFO("app removed", "app=%u by=%s request=%s", call->app_id,
		hf_http_exchange_peer(call->exchange), hf_http_exchange_request_id(call->exchange));
	hold(call, call->app_id, NULL, 200, held_word_deleted());
}

void held_free_all(struct center *center)
{
	while (!TAILQ_EMPTY(&center->held_answers))
		held_free(TAILQ_FIRST(&center->held_answers));
}
