/* services/center/api.c - routing: which handler, who may, how much body. */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "hf_text.h"
#include "json.h"
#include "problem.h"
#include "query.h"
#include "quota.h"

const struct route api_routes[] = {
	{ "POST", "/v1/apps/{app}/messages", ACCESS_SENDER, BODY_JSON, true, api_send },
	{ "POST", "/v1/apps/{app}/messages/batch", ACCESS_SENDER, BODY_BATCH, true,
	  api_send_batch },
	{ "POST", "/v1/apps/{app}/messages/stream", ACCESS_SENDER, BODY_STREAM, true,
	  api_send_stream },
	{ "GET", "/v1/apps/{app}/messages/{id}", ACCESS_VIEWER, BODY_NONE, false,
	  api_message_state },
	{ "DELETE", "/v1/apps/{app}/messages/{id}", ACCESS_SENDER, BODY_NONE, false,
	  api_cancel_message },
	{ "PATCH", "/v1/apps/{app}/messages/{id}", ACCESS_SENDER, BODY_JSON, false,
	  api_change_message },
	{ "POST", "/v1/apps/{app}/messages/{id}/pause", ACCESS_SENDER, BODY_NONE, false,
	  api_pause_message },
	{ "POST", "/v1/apps/{app}/messages/{id}/resume", ACCESS_SENDER, BODY_NONE, false,
	  api_resume_message },
	{ "GET", "/v1/apps/{app}/broadcasts", ACCESS_VIEWER, BODY_NONE, false, api_list_broadcasts,
	  "limit cursor" },
	{ "GET", "/v1/apps/{app}/messages/{id}/why", ACCESS_VIEWER, BODY_NONE, false,
	  api_why_message, "limit registration_id" },
	{ "GET", "/v1/apps/{app}/registrations/{id}/why", ACCESS_VIEWER, BODY_NONE, false,
	  api_why_registration, "limit" },
	{ "POST", "/v1/apps/{app}/registrations/query", ACCESS_VIEWER, BODY_JSON, false,
	  api_query_registrations },
	{ "GET", "/v1/apps/{app}/registrations", ACCESS_VIEWER, BODY_NONE, false,
	  api_list_registrations, "user_id tag platform online limit cursor" },
	{ "GET", "/v1/apps/{app}/registrations/{id}", ACCESS_VIEWER, BODY_NONE, false,
	  api_show_registration },
	{ "PATCH", "/v1/apps/{app}/registrations/{id}", ACCESS_ADMIN, BODY_JSON, false,
	  api_change_registration },
	{ "DELETE", "/v1/apps/{app}/registrations/{id}", ACCESS_ADMIN, BODY_NONE, false,
	  api_delete_registration },
	{ "POST", "/v1/apps/{app}/registrations/{id}/bar", ACCESS_ADMIN, BODY_JSON, false,
	  api_bar_registration },
	{ "DELETE", "/v1/apps/{app}/registrations/{id}/bar", ACCESS_ADMIN, BODY_NONE, false,
	  api_unbar_registration },
	{ "GET", "/v1/apps/{app}/users/{id}", ACCESS_VIEWER, BODY_NONE, false, api_show_user },
	{ "GET", "/v1/apps/{app}/tags", ACCESS_VIEWER, BODY_NONE, false, api_list_tags,
	  "prefix limit cursor" },
	{ "GET", "/v1/apps/{app}/tags/{id}", ACCESS_VIEWER, BODY_NONE, false, api_show_tag },
	{ "DELETE", "/v1/apps/{app}/tags/{id}", ACCESS_ADMIN, BODY_NONE, false, api_delete_tag,
	  "cursor" },
	{ "POST", "/v1/apps/{app}/tags/{id}/registrations", ACCESS_ADMIN, BODY_JSON, false,
	  api_tag_registrations },
	{ "GET", "/v1/apps/{app}/registrations/{id}/queue", ACCESS_VIEWER, BODY_NONE, false,
	  api_show_queue },
	{ "DELETE", "/v1/apps/{app}/registrations/{id}/queue", ACCESS_ADMIN, BODY_NONE, false,
	  api_purge_queue },
	{ "GET", "/v1/apps/{app}/connections", ACCESS_VIEWER, BODY_NONE, false,
	  api_list_connections, "registration_id user_id node limit cursor" },
	{ "POST", "/v1/apps/{app}/connections/disconnect", ACCESS_ADMIN, BODY_JSON, false,
	  api_disconnect },
	{ "GET", "/v1/apps/{app}/presence/stats", ACCESS_VIEWER, BODY_NONE, false,
	  api_presence_stats },
	{ "GET", "/v1/apps/{app}/reports/registrations", ACCESS_VIEWER, BODY_NONE, false,
	  api_report_registrations, "unit start count" },
	{ "GET", "/v1/apps/{app}/reports/messages", ACCESS_VIEWER, BODY_NONE, false,
	  api_report_messages, "message_ids" },
	{ "GET", "/v1/apps/{app}/reports/labels", ACCESS_VIEWER, BODY_NONE, false,
	  api_report_labels, "label from to" },
	{ "GET", "/v1/apps", ACCESS_OPS, BODY_NONE, false, api_list_apps, "limit cursor" },
	{ "POST", "/v1/apps", ACCESS_OPS, BODY_JSON, false, api_create_app },
	{ "GET", "/v1/apps/{app}", ACCESS_VIEWER, BODY_NONE, false, api_show_app },
	{ "PATCH", "/v1/apps/{app}", ACCESS_OPS, BODY_JSON, false, api_change_app },
	{ "DELETE", "/v1/apps/{app}", ACCESS_OPS, BODY_NONE, false, api_delete_app },
	{ "GET", "/v1/apps/{app}/keys", ACCESS_ADMIN, BODY_NONE, false, api_list_keys },
	{ "POST", "/v1/apps/{app}/keys", ACCESS_ADMIN, BODY_JSON, false, api_create_key },
	{ "DELETE", "/v1/apps/{app}/keys/{id}", ACCESS_ADMIN, BODY_NONE, false, api_delete_key },
	{ "GET", "/v1/apps/{app}/token_keys", ACCESS_ADMIN, BODY_NONE, false, api_list_token_keys },
	{ "POST", "/v1/apps/{app}/token_keys", ACCESS_ADMIN, BODY_JSON, false,
	  api_create_token_key },
	{ "DELETE", "/v1/apps/{app}/token_keys/{id}", ACCESS_ADMIN, BODY_NONE, false,
	  api_delete_token_key },
	{ "GET", "/v1/apps/{app}/webhooks", ACCESS_VIEWER, BODY_NONE, false, api_list_webhooks },
	{ "POST", "/v1/apps/{app}/webhooks", ACCESS_ADMIN, BODY_JSON, false, api_create_webhook },
	{ "GET", "/v1/apps/{app}/webhooks/{id}", ACCESS_VIEWER, BODY_NONE, false,
	  api_show_webhook },
	{ "PATCH", "/v1/apps/{app}/webhooks/{id}", ACCESS_ADMIN, BODY_JSON, false,
	  api_change_webhook },
	{ "DELETE", "/v1/apps/{app}/webhooks/{id}", ACCESS_ADMIN, BODY_NONE, false,
	  api_delete_webhook },
	{ "POST", "/v1/apps/{app}/webhooks/{id}/test", ACCESS_ADMIN, BODY_NONE, false,
	  api_test_webhook },
	{ "GET", "/v1/apps/{app}/webhooks/{id}/deliveries", ACCESS_ADMIN, BODY_NONE, false,
	  api_list_deliveries, "state limit cursor" },
	{ "POST", "/v1/apps/{app}/webhooks/{id}/deliveries/{sub}/retry", ACCESS_ADMIN, BODY_NONE,
	  false, api_retry_delivery },
	{ "GET", "/v1/cluster/nodes", ACCESS_OPS, BODY_NONE, false, api_list_nodes },
	{ "POST", "/v1/cluster/nodes/{id}/drain", ACCESS_OPS, BODY_NONE, false, api_drain_node },
	{ 0 },
};

/* The next segment of a path that begins with '/'; false at the end. */
static bool next_segment(struct hf_bytes *path, struct hf_bytes *ret_segment)
{
	const uint8_t *end;

	if (path->len == 0)
		return false;
	path->data++;
	path->len--;
	end = path->len > 0 ? memchr(path->data, '/', path->len) : NULL;
	*ret_segment =
		hf_bytes_of(path->data, end != NULL ? (size_t)(end - path->data) : path->len);
	path->data += ret_segment->len;
	path->len -= ret_segment->len;
	return true;
}

/* Does the path fit the template? Fills app_id and arg. A number that is no app's id is app 0:
 * unknown. */
static bool match(const char *template, struct hf_bytes path, struct call *call)
{
	struct hf_bytes wanted = hf_bytes_of_string(template), want, have;

	for (;;) {
		bool more = next_segment(&wanted, &want);
		uint64_t number;

		if (more != next_segment(&path, &have))
			return false;
		if (!more)
			return true;
		if (hf_bytes_equal(want, HF_BYTES_LITERAL("{app}"))) {
			if (hf_text_parse_uint((const char *)have.data, have.len, &number) < 0 ||
			    number > INT32_MAX)
				number = 0;
			call->app_id = (uint32_t)number;
		} else if (hf_bytes_equal(want, HF_BYTES_LITERAL("{id}"))) {
			ssize_t n = -1;

			if (have.len > 0 && have.len <= API_ARG_MAX)
				n = hf_http_unescape(have, false, call->arg);
			if (n < 0)
				return false;
			call->arg_len = (size_t)n;
		} else if (hf_bytes_equal(want, HF_BYTES_LITERAL("{sub}"))) {
			if (have.len == 0 || have.len > API_SUB_MAX)
				return false;
			memcpy(call->sub, have.data, have.len);
			call->sub[have.len] = '\0';
		} else if (!hf_bytes_equal(want, have)) {
			return false;
		}
	}
}

static bool has_app(const struct route *route)
{
	return strncmp(route->path, "/v1/apps/{app}", 14) == 0;
}

/* 0, or -EINVAL with a problem 404 or 405. */
static int find_route(struct call *call, struct problem *ret_problem)
{
	const struct hf_http_request *request = hf_http_exchange_request(call->exchange);
	char allow[64] = "";
	size_t len = 0;

	for (const struct route *route = api_routes; route->method != NULL; route++) {
		if (!match(route->path, request->path, call))
			continue;
		if (hf_bytes_equal(request->method, hf_bytes_of_string(route->method))) {
			call->route = route;
			return 0;
		}
		len += (size_t)snprintf(allow + len, sizeof(allow) - len, "%s%s",
					len > 0 ? ", " : "", route->method);
	}
	if (len == 0)
		return problem_set(ret_problem, 404, "NO_ROUTE", NULL, NULL,
				   "there is no such path");
	hf_http_add_header(call->exchange, "Allow", allow);
	return problem_set(ret_problem, 405, "METHOD_NOT_ALLOWED", NULL, NULL,
			   "this path allows %s", allow);
}

static int check_content_type(const struct call *call, struct problem *ret_problem)
{
	struct hf_bytes type = hf_http_exchange_header(call->exchange, "content-type");
	const char *wanted =
		call->route->body == BODY_STREAM ? "application/x-ndjson" : "application/json";
	size_t len = strlen(wanted);

	if (call->route->body == BODY_NONE || type.data == NULL)
		return 0;
	if (type.len >= len && strncasecmp((const char *)type.data, wanted, len) == 0 &&
	    (type.len == len || type.data[len] == ';' || type.data[len] == ' '))
		return 0;
	return problem_set(ret_problem, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type", NULL,
			   "the body must be %s", wanted);
}

static int find_app(struct call *call, struct problem *ret_problem)
{
	if (!has_app(call->route))
		return 0;
	if (!hf_apps_known(call->center->apps))
		return problem_retry(ret_problem, 503, "OVERLOADED", 1,
				     "the apps are not loaded yet");
	call->app = hf_apps_get(call->center->apps, call->app_id);
	return 0;
}

static int check_app(const struct call *call, struct problem *ret_problem)
{
	if (has_app(call->route) && call->app == NULL)
		return problem_set(ret_problem, 404, "APP_UNKNOWN", NULL, NULL, "no such app");
	if (call->route->sends && !call->app->enabled)
		return problem_set(ret_problem, 403, "APP_DISABLED", NULL, NULL,
				   "the app is disabled");
	return 0;
}

void api_fail(struct call *call, const struct problem *problem)
{
	if (problem->code == 503 && call->app != NULL && call->route->sends)
		quota_headers(call->center, call->app, call->exchange);
	center_count_refusal(call->center, problem->reason);
	problem_respond(problem, call->exchange);
}

/* A trace that the caller is in is given back; nobody of ours continues it yet. */
static void echo_trace(struct hf_http_exchange *exchange)
{
	struct hf_bytes trace = hf_http_exchange_header(exchange, "traceparent");
	char text[56];

	if (trace.len != 55)
		return;
	memcpy(text, trace.data, trace.len);
	text[trace.len] = '\0';
	if (strspn(text, "0123456789abcdef-") == trace.len)
		hf_http_add_header(exchange, "traceparent", text);
}

bool api_on_head(struct hf_http_exchange *exchange, void *ctx)
{
	struct call call = { .center = ctx, .exchange = exchange };
	const struct center_config *config = call.center->config;
	const struct hf_api_key *key = NULL;
	struct problem problem;
	int err;

	echo_trace(exchange);
	err = find_route(&call, &problem);
	if (err == 0) {
		hf_http_exchange_set_route(exchange, call.route->path);
		err = find_app(&call, &problem);
	}
	if (err == 0)
		err = auth_check(call.center, exchange, call.app, call.route->access, &key,
				 &problem);
	if (err == 0)
		err = check_app(&call, &problem);
	if (err == 0)
		err = quota_take_request(call.center, call.app, key, call.route->sends, exchange,
					 &problem);
	if (err == 0)
		err = query_check(hf_http_exchange_request(exchange)->query, call.route->query,
				  &problem);
	if (err == 0)
		err = check_content_type(&call, &problem);
	if (err < 0) {
		api_fail(&call, &problem);
		return false;
	}
	hf_http_exchange_set_user(exchange, (void *)(uintptr_t)call.route);
	hf_http_exchange_set_body_max(exchange, call.route->body == BODY_BATCH
							? config->batch_body_max
							: config->body_max);
	if (call.route->body != BODY_STREAM)
		return false;
	call.route->handler(&call);
	return true;
}

/* A body where none is read: what its fields ask for would be ignored. "{}" asks for nothing. */
static int check_no_body(const struct call *call, struct problem *ret_problem)
{
	struct hf_bytes body = hf_http_exchange_body(call->exchange);

	if (call->route->body != BODY_NONE || body.len == 0 ||
	    hf_bytes_equal(body, HF_BYTES_LITERAL("{}")))
		return 0;
	return problem_set(ret_problem, 400, "UNKNOWN_FIELD", NULL, NULL,
			   "this path takes no body, or {}");
}

void api_on_request(struct hf_http_exchange *exchange, void *ctx)
{
	struct call call = { .center = ctx,
			     .exchange = exchange,
			     .route = hf_http_exchange_user(exchange) };
	struct problem problem;

	hf_http_exchange_set_user(exchange, NULL);
	/* The key was checked with the head; the app may be another by now. */
	if (!match(call.route->path, hf_http_exchange_request(exchange)->path, &call) ||
	    find_app(&call, &problem) < 0 || check_app(&call, &problem) < 0 ||
	    check_no_body(&call, &problem) < 0) {
		api_fail(&call, &problem);
		return;
	}
	call.route->handler(&call);
}

void api_respond_json(struct hf_http_exchange *exchange, unsigned status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL)
		hf_http_respond_error(exchange, 500, NULL, "INTERNAL",
				      "the answer could not be written", NULL, NULL, -1);
	else
		hf_http_respond(exchange, status, "application/json", text, strlen(text));
	free(text);
}

json_t *api_body(struct call *call)
{
	struct problem problem;
	json_t *body = json_parse_object(hf_http_exchange_body(call->exchange), &problem);

	if (body == NULL)
		api_fail(call, &problem);
	return body;
}
