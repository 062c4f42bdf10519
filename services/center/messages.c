/* services/center/messages.c - POST .../messages: one send and its answer. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "problem.h"
#include "quota.h"
#include "send.h"

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
	hf_http_respond(waiting->exchange, answer->status, "application/json",
			hf_buffer_data(answer->text), hf_buffer_len(answer->text));
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
