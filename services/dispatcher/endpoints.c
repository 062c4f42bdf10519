/* GET /v1/endpoints, and on the admin port GET /v1/endpoints/explain. */
#define HF_LOG_MODULE "dispatcher"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "dispatcher.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "hf_text.h"

#define PATH         "/v1/endpoints"
#define EXPLAIN_PATH "/v1/endpoints/explain"
#define VALUE_MAX    256 /* bytes of an encoded query value that we look at */
#define ROOMS_SEEN   1024

/* What a client says of itself, checked. */
struct question {
	uint32_t app; /* 0: not said */
	char registration[HF_REGISTRATION_MAX + 1];
	size_t registration_len;
	char last_node[HF_NODE_ID_MAX + 1];
	enum selection_reason reason;
	bool cellular, text;
};

struct query_error {
	const char *field, *message;
	char value[VALUE_MAX + 1];
};

/* The decoded value of a query parameter into `ret` of VALUE_MAX + 1 bytes. Returns its length, 0
 * when it is absent, -1 when it does not decode or is too long. */
static ssize_t query_value(struct hf_bytes query, const char *name, char *ret)
{
	struct hf_bytes value = hf_http_query(query, name);

	ret[0] = '\0';
	if (value.data == NULL)
		return 0;
	if (value.len > VALUE_MAX)
		return -1;
	if (hf_http_unescape(value, true, ret) >= 0)
		return (ssize_t)strlen(ret);
	ret[0] = '\0'; /* what was decoded so far has no end */
	return -1;
}

/* Index of `value` in the list, -1 when it is none of them. */
static int choice(const char *value, const char *const *choices, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, choices[i]) == 0)
			return (int)i;
	}
	return -1;
}

static bool refuse(struct query_error *error, const char *field, const char *message)
{
	error->field = field;
	error->message = message;
	return false;
}

static bool parse_app(struct hf_bytes query, struct question *ret, struct query_error *error)
{
	ssize_t len = query_value(query, "app_id", error->value);
	uint64_t app;

	if (len == 0)
		return true;
	if (len < 0 || hf_text_parse_uint(error->value, (size_t)len, &app) < 0 || app == 0 ||
	    app > INT32_MAX)
		return refuse(error, "app_id", "app_id must be a number between 1 and 2147483647");
	ret->app = (uint32_t)app;
	return true;
}

/* Unknown parameters are ignored: clients of newer versions ask older dispatchers. */
static bool parse_question(struct hf_bytes query, struct question *ret, struct query_error *error)
{
	static const char *const reasons[] = { "start", "network", "failed", "drain" };
	static const char *const networks[] = { "wifi", "eth", "cell" };
	static const char *const formats[] = { "json", "text" };
	ssize_t len;
	int found;

	*ret = (struct question){ 0 };
	if (!parse_app(query, ret, error))
		return false;

	len = query_value(query, "registration_id", error->value);
	if (len < 0 || (len > 0 && !hf_text_is_id(error->value, (size_t)len, HF_REGISTRATION_MAX)))
		return refuse(error, "registration_id",
			      "registration_id must be 1 to 64 bytes of UTF-8 without controls");
	memcpy(ret->registration, error->value, (size_t)len);
	ret->registration_len = (size_t)len;

	len = query_value(query, "last_node", error->value);
	if (len < 0 || len > HF_NODE_ID_MAX)
		return refuse(error, "last_node", "last_node must be at most 63 bytes");
	memcpy(ret->last_node, error->value, (size_t)len);

	len = query_value(query, "reason", error->value);
	found = len == 0 ? 0 : choice(error->value, reasons, HF_ARRAY_LEN(reasons));
	if (len < 0 || found < 0)
		return refuse(error, "reason", "reason must be start, network, failed or drain");
	ret->reason = (enum selection_reason)found;

	len = query_value(query, "net", error->value);
	found = len == 0 ? 0 : choice(error->value, networks, HF_ARRAY_LEN(networks));
	if (len < 0 || found < 0)
		return refuse(error, "net", "net must be wifi, cell or eth");
	ret->cellular = found == 2;

	len = query_value(query, "format", error->value);
	found = len == 0 ? 0 : choice(error->value, formats, HF_ARRAY_LEN(formats));
	if (len < 0 || found < 0)
		return refuse(error, "format", "format must be json or text");
	ret->text = found == 1;
	return true;
}

static void client_of(const struct dispatcher_state *state, const struct question *question,
		      struct selection_client *ret)
{
	*ret = (struct selection_client){ .zone = state->service->instance.zone,
					  .last_node = question->last_node,
					  .reason = question->reason };
	/* Who names no registration gets any room. */
	ret->key = question->registration_len > 0
			   ? hf_service_slot(state->service, question->app, question->registration,
					     question->registration_len)
			   : hf_random_below(HF_SLOTS);
}

static size_t rooms_of(const struct dispatcher_state *state,
		       const struct hf_instance *ret[ROOMS_SEEN])
{
	size_t count = 0;

	for (struct hf_peer *peer = hf_peers_first(state->rooms); peer && count < ROOMS_SEEN;
	     peer = peer->next)
		ret[count++] = &peer->instance;
	return count;
}

/* "host:port" or "[v6]:port" into its parts. */
static json_t *endpoint_json(const struct selection_endpoint *chosen)
{
	const char *address = chosen->endpoint->address, *colon = strrchr(address, ':');
	size_t host_len = colon == NULL ? strlen(address) : (size_t)(colon - address);

	if (host_len >= 2 && address[0] == '[') {
		address++;
		host_len -= 2;
	}
	return json_pack("{s:s, s:s%, s:i, s:s, s:i}", "id", chosen->room->id, "addr", address,
			 host_len, "port", colon == NULL ? 0 : atoi(colon + 1), "transport",
			 chosen->endpoint->transport, "weight", (int)chosen->room->weight);
}

static json_t *answer_json(const struct dispatcher_state *state, const struct question *question,
			   const char *peer, const struct selection_endpoint *chosen, size_t count)
{
	const struct dispatcher_config *config = state->config;
	const struct keepalive_config *beat =
		question->cellular ? &config->cellular : &config->wifi;
	const char *colon = strrchr(peer, ':');
	json_t *endpoints = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(endpoints, endpoint_json(&chosen[i]));
	return json_pack("{s:I, s:s, s:s%, s:o, s:{s:i, s:i, s:I}, s:{s:I, s:I, s:I, s:I},"
			 " s:{s:I, s:I, s:f, s:s, s:i}}",
			 "ttl_s", (json_int_t)(config->ttl_ms / 1000), "region",
			 state->service->instance.zone, "client_ip", peer,
			 colon == NULL ? strlen(peer) : (size_t)(colon - peer), "endpoints",
			 endpoints, "connect", "stagger_ms", question->cellular ? 1000 : 250,
			 "parallel", 3, "timeout_ms", (json_int_t)config->connect_timeout_ms,
			 "keepalive", "initial_s", (json_int_t)(beat->initial_ms / 1000), "min_s",
			 (json_int_t)(beat->min_ms / 1000), "max_s",
			 (json_int_t)(beat->max_ms / 1000), "step_s",
			 (json_int_t)(beat->step_ms / 1000), "reconnect", "base_ms",
			 (json_int_t)config->backoff_base_ms, "max_ms",
			 (json_int_t)config->backoff_max_ms, "factor", 2.0, "jitter", "full",
			 "not_before_ms", 0);
}

static void respond_text(struct hf_http_exchange *exchange, const struct selection_endpoint *chosen,
			 size_t count)
{
	char text[SELECTION_ENDPOINTS_MAX * (HF_ADDRESS_MAX + 24)];
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %u\n",
					chosen[i].endpoint->address, chosen[i].endpoint->transport,
					chosen[i].room->weight);
	hf_http_respond(exchange, 200, "text/plain; charset=utf-8", text, len);
}

static void respond_json(struct hf_http_exchange *exchange, json_t *document)
{
	char *text = document == NULL ? NULL : json_dumps(document, JSON_COMPACT);

	json_decref(document);
	if (text == NULL) {
		hf_http_respond_error(exchange, 500, "INTERNAL", "INTERNAL", "out of memory", NULL,
				      NULL, -1);
		return;
	}
	hf_http_respond(exchange, 200, "application/json", text, strlen(text));
	free(text);
}

/* A token bucket with one second's worth of burst. */
static bool rate_allows(struct dispatcher_state *state)
{
	uint64_t now = hf_loop_now_ms(state->service->loop);
	double rate = (double)state->config->requests_per_second;

	state->tokens += (double)(now - state->tokens_ms) * rate / 1000;
	state->tokens = HF_MIN(state->tokens, rate);
	state->tokens_ms = now;
	if (state->tokens < 1)
		return false;
	state->tokens -= 1;
	return true;
}

static bool path_is(const struct hf_http_request *request, const char *path)
{
	return hf_bytes_equal(request->path, hf_bytes_of_string(path));
}

static bool method_is_get(struct hf_http_exchange *exchange)
{
	const struct hf_http_request *request = hf_http_exchange_request(exchange);

	if (hf_bytes_equal(request->method, HF_BYTES_LITERAL("GET")))
		return true;
	hf_http_add_header(exchange, "Allow", "GET");
	hf_http_respond_error(exchange, 405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED",
			      "only GET is served here", NULL, NULL, -1);
	return false;
}

/* Is this app one that may connect? Answers when not. */
static bool app_may_connect(struct dispatcher_state *state, struct hf_http_exchange *exchange,
			    uint32_t id)
{
	const struct hf_app *app = id == 0 ? NULL : hf_apps_get(state->apps, id);

	if (id == 0 || (app != NULL && app->enabled))
		return true;
	++*state->refused_app;
	if (app == NULL)
		hf_http_respond_error(exchange, 404, "NOT_FOUND", "APP_UNKNOWN",
				      "app_id is no app of this cluster", "app_id", NULL, -1);
	else
		hf_http_respond_error(exchange, 403, "PERMISSION_DENIED", "APP_DISABLED",
				      "this app is switched off", "app_id", NULL, -1);
	return false;
}

static void answer(struct dispatcher_state *state, struct hf_http_exchange *exchange,
		   const struct question *question)
{
	const struct hf_instance *rooms[ROOMS_SEEN];
	struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];
	struct selection_client client;
	char cache[64];
	size_t count;

	client_of(state, question, &client);
	count = selection_make(&client, rooms, rooms_of(state, rooms), chosen);
	if (count == 0) {
		++*state->refused_no_room;
		hf_http_respond_error(exchange, 503, "UNAVAILABLE", "NO_ROOM",
				      "no room serves at the moment", NULL, NULL, 5);
		return;
	}
	++*state->requests[question->reason];
	snprintf(cache, sizeof(cache), "private, max-age=%llu",
		 (unsigned long long)(state->config->ttl_ms / 1000));
	hf_http_add_header(exchange, "Cache-Control", cache);
	if (question->text)
		respond_text(exchange, chosen, count);
	else
		respond_json(exchange, answer_json(state, question, hf_http_exchange_peer(exchange),
						   chosen, count));
}

void endpoints_request(struct hf_http_exchange *exchange, void *ctx)
{
	struct dispatcher_state *state = ctx;
	const struct hf_http_request *request = hf_http_exchange_request(exchange);
	struct question question;
	struct query_error error;

	if (!path_is(request, PATH)) {
		++*state->refused_bad;
		hf_http_respond_error(exchange, 404, "NOT_FOUND", "NO_ROUTE",
				      "only " PATH " is served here", NULL, NULL, -1);
		return;
	}
	if (!method_is_get(exchange))
		return;
	if (!rate_allows(state)) {
		++*state->refused_rate;
		hf_http_respond_error(exchange, 429, "RESOURCE_EXHAUSTED", "RATE_LIMITED",
				      "too many requests at this moment", NULL, NULL, 1);
		return;
	}
	if (!parse_question(request->query, &question, &error)) {
		++*state->refused_bad;
		hf_http_respond_error(exchange, 400, "INVALID_ARGUMENT", "INVALID_PARAMETER",
				      error.message, error.field, error.value, -1);
		return;
	}
	if (app_may_connect(state, exchange, question.app))
		answer(state, exchange, &question);
}

bool endpoints_explain(struct hf_service *service, struct hf_http_exchange *exchange)
{
	static const char *const states[] = { "starting", "serving", "draining" };
	struct dispatcher_state *state = service->state;
	const struct hf_http_request *request = hf_http_exchange_request(exchange);
	const struct hf_instance *rooms[ROOMS_SEEN];
	struct selection_client client;
	struct question question;
	struct query_error error;
	json_t *list;
	size_t count;

	if (!path_is(request, EXPLAIN_PATH))
		return false;
	if (!method_is_get(exchange))
		return true;
	if (!parse_question(request->query, &question, &error)) {
		hf_http_respond_error(exchange, 400, "INVALID_ARGUMENT", "INVALID_PARAMETER",
				      error.message, error.field, error.value, -1);
		return true;
	}
	client_of(state, &question, &client);
	count = rooms_of(state, rooms);
	list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:I, s:i, s:f}", "id",
						      rooms[i]->id, "zone", rooms[i]->zone, "state",
						      states[rooms[i]->state], "weight",
						      (int)rooms[i]->weight, "load",
						      (json_int_t)rooms[i]->load, "endpoints",
						      (int)rooms[i]->endpoint_count, "score",
						      selection_score(&client, rooms[i])));
	respond_json(exchange, json_pack("{s:i, s:s, s:o}", "slot", (int)client.key, "zone",
					 client.zone, "rooms", list));
	return true;
}
