/* services/center/webhooks.c - where an app's business is called back.
 *
 * The secret that signs the requests is made here (or taken from the caller) and shown once. To
 * rotate it is to put a new one before the old one: both sign until `drop_old_secret`. Networks
 * that are private to the cluster's side are opened to an app by an operator alone. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "fields.h"
#include "held.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_text.h"
#include "problem.h"

#define SECRET_BYTES     32
#define SECRET_TEXT_SIZE (HF_WEBHOOK_SECRET_TEXT + 4)
#define TIMEOUT_MS       5000
#define TIMEOUT_MIN_MS   100
#define IN_FLIGHT        16
#define BATCH_EVENTS     100
#define BATCH_WAIT_MS    100
#define PER_SECOND       1000

static json_t *word_webhook(const struct hf_webhook *webhook)
{
	json_t *types = json_array(), *networks = json_array(), *events = json_array();

	for (size_t i = 0; i < webhook->type_count; i++)
		json_array_append_new(types, json_string(webhook->types[i]));
	for (size_t i = 0; i < webhook->pattern_count; i++)
		json_array_append_new(events, json_string(webhook->patterns[i]));
	for (size_t i = 0; i < webhook->network_count; i++) {
		char text[HF_CIDR_TEXT_MAX + 1];

		hf_cidr_format(&webhook->networks[i], text);
		json_array_append_new(networks, json_string(text));
	}
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:i, s:o, s:{s:I, s:I}, s:s?}",
			 "id", webhook->id, "url", webhook->url, "enabled", (int)webhook->enabled,
			 "forward_types", types, "allow_cidrs", networks, "timeout_ms",
			 (json_int_t)webhook->timeout_ms, "max_in_flight",
			 (json_int_t)webhook->max_in_flight, "max_per_second",
			 (json_int_t)webhook->max_per_second, "secret_count",
			 (int)webhook->secret_count, "events", events, "batch", "max_events",
			 (json_int_t)webhook->batch_events, "max_wait_ms",
			 (json_int_t)webhook->batch_wait_ms, "disabled_reason",
			 webhook->disabled_reason[0] != '\0' ? webhook->disabled_reason : NULL);
}

static json_t *word_with_secret(const struct hf_webhook *webhook)
{
	char text[SECRET_TEXT_SIZE];
	json_t *word = word_webhook(webhook);

	hf_webhook_secret_format(&webhook->secrets[0], text);
	json_object_set_new(word, "secret", json_string(text));
	OPENSSL_cleanse(text, sizeof(text));
	return word;
}

void api_list_webhooks(struct call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < call->app->webhook_count; i++)
		json_array_append_new(list, word_webhook(&call->app->webhooks[i]));
	api_respond_json(call->exchange, 200, json_pack("{s:o}", "webhooks", list));
}

static struct hf_webhook *find(struct hf_app *app, const char *id)
{
	for (size_t i = 0; i < app->webhook_count; i++)
		if (strcmp(app->webhooks[i].id, id) == 0)
			return &app->webhooks[i];
	return NULL;
}

static int no_such_webhook(struct problem *ret_problem)
{
	return problem_set(ret_problem, 404, "WEBHOOK_UNKNOWN", NULL, NULL,
			   "the app has no such webhook");
}

void api_show_webhook(struct call *call)
{
	const struct hf_webhook *webhook = find((struct hf_app *)(uintptr_t)call->app, call->arg);
	struct problem problem;

	if (webhook == NULL) {
		no_such_webhook(&problem);
		api_fail(call, &problem);
		return;
	}
	api_respond_json(call->exchange, 200, word_webhook(webhook));
}

static int parse_types(const json_t *list, struct hf_webhook *webhook, struct problem *ret_problem)
{
	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > HF_WEBHOOK_TYPES_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "forward_types", NULL,
				   "forward_types must be an array of at most %d types",
				   HF_WEBHOOK_TYPES_MAX);
	memset(webhook->types, 0, sizeof(webhook->types));
	webhook->type_count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);

		if (!json_is_string(item) ||
		    !hf_text_is_id(json_string_value(item), json_string_length(item),
				   HF_WEBHOOK_TYPE_MAX))
			return problem_set(ret_problem, 400, "BAD_VALUE", "forward_types",
					   json_string_value(item),
					   "a forward type is text of 1 to %d bytes",
					   HF_WEBHOOK_TYPE_MAX);
		memcpy(webhook->types[i], json_string_value(item), json_string_length(item));
		webhook->type_count++;
	}
	return 0;
}

static int parse_networks(struct call *call, const json_t *list, struct hf_webhook *webhook,
			  struct problem *ret_problem)
{
	if (list == NULL || json_is_null(list))
		return 0;
	if (auth_check(call->center, call->exchange, call->app, ACCESS_OPS, NULL, ret_problem) < 0)
		return problem_set(ret_problem, 403, "ROLE_DENIED", "allow_cidrs", NULL,
				   "only an operator may open private networks to callbacks");
	if (!json_is_array(list) || json_array_size(list) > HF_WEBHOOK_NETWORKS_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "allow_cidrs", NULL,
				   "allow_cidrs must be an array of at most %d networks",
				   HF_WEBHOOK_NETWORKS_MAX);
	memset(webhook->networks, 0, sizeof(webhook->networks));
	webhook->network_count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text == NULL || hf_cidr_parse(text, &webhook->networks[i]) < 0)
			return problem_set(ret_problem, 400, "BAD_VALUE", "allow_cidrs", text,
					   "a network is like 10.0.0.0/8");
		webhook->network_count++;
	}
	return 0;
}

static int parse_events(const json_t *list, struct hf_webhook *webhook, struct problem *ret_problem)
{
	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > HF_WEBHOOK_PATTERNS_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "events", NULL,
				   "events must be an array of at most %d names of events",
				   HF_WEBHOOK_PATTERNS_MAX);
	memset(webhook->patterns, 0, sizeof(webhook->patterns));
	webhook->pattern_count = 0;
	webhook->event_mask = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *pattern = json_string_value(json_array_get(list, i));
		uint32_t mask = pattern != NULL ? hf_event_mask(pattern) : 0;

		if (mask == 0 || strlen(pattern) > HF_WEBHOOK_PATTERN_MAX)
			return problem_set(ret_problem, 400, "BAD_VALUE", "events", pattern,
					   "an event is named like message.acked, message.* or *");
		memcpy(webhook->patterns[i], pattern, strlen(pattern));
		webhook->event_mask |= mask;
		webhook->pattern_count++;
	}
	return 0;
}

static int parse_batch(const json_t *batch, struct hf_webhook *webhook, struct problem *ret_problem)
{
	static const char *const known[] = { "max_events", "max_wait", NULL };
	uint64_t events = webhook->batch_events, wait_ms = webhook->batch_wait_ms;
	int err;

	if (batch == NULL || json_is_null(batch))
		return 0;
	if (!json_is_object(batch))
		return problem_set(ret_problem, 400, "BAD_VALUE", "batch", NULL,
				   "batch must be an object");
	err = fields_known(batch, "batch.", known, ret_problem);
	if (err == 0)
		err = fields_uint(json_object_get(batch, "max_events"), "batch.max_events", 1,
				  HF_WEBHOOK_BATCH_MAX, "BAD_VALUE", &events, ret_problem);
	if (err == 0)
		err = fields_duration(json_object_get(batch, "max_wait"), "batch.max_wait",
				      HF_WEBHOOK_WAIT_MAX_MS, "BAD_DURATION", &wait_ms,
				      ret_problem);
	webhook->batch_events = (uint32_t)events;
	webhook->batch_wait_ms = (uint32_t)wait_ms;
	return err;
}

static int parse_numbers(const json_t *body, struct hf_webhook *webhook,
			 struct problem *ret_problem)
{
	uint64_t timeout_ms = webhook->timeout_ms, in_flight = webhook->max_in_flight,
		 per_second = webhook->max_per_second;
	int err = fields_duration(json_object_get(body, "timeout"), "timeout",
				  HF_WEBHOOK_TIMEOUT_MAX_MS, "BAD_DURATION", &timeout_ms,
				  ret_problem);

	if (err == 0 && timeout_ms < TIMEOUT_MIN_MS)
		err = problem_set(ret_problem, 400, "BAD_DURATION", "timeout", NULL,
				  "timeout must be at least %d ms", TIMEOUT_MIN_MS);
	if (err == 0)
		err = fields_uint(json_object_get(body, "max_in_flight"), "max_in_flight", 1,
				  HF_WEBHOOK_IN_FLIGHT_MAX, "BAD_VALUE", &in_flight, ret_problem);
	if (err == 0)
		err = fields_uint(json_object_get(body, "max_per_second"), "max_per_second", 1,
				  HF_WEBHOOK_PER_SECOND_MAX, "BAD_VALUE", &per_second, ret_problem);
	webhook->timeout_ms = (uint32_t)timeout_ms;
	webhook->max_in_flight = (uint32_t)in_flight;
	webhook->max_per_second = (uint32_t)per_second;
	return err;
}

/* All but id and secrets; what is absent stays. */
static int parse_webhook(struct call *call, const json_t *body, struct hf_webhook *webhook,
			 struct problem *ret_problem)
{
	const char *url = NULL;
	int err = fields_text(json_object_get(body, "url"), "url", 1, HF_WEBHOOK_URL_MAX, &url,
			      ret_problem);

	if (err == 0 && url != NULL && !hf_webhook_url_is_valid(url))
		err = problem_set(ret_problem, 400, "BAD_URL", "url", url,
				  "url must be http or https, with a host, without a user or a "
				  "fragment");
	if (err == 0 && url != NULL) {
		memset(webhook->url, 0, sizeof(webhook->url));
		memcpy(webhook->url, url, strlen(url));
	}
	if (err == 0)
		err = fields_bool(json_object_get(body, "enabled"), "enabled", &webhook->enabled,
				  ret_problem);
	if (webhook->enabled)
		memset(webhook->disabled_reason, 0, sizeof(webhook->disabled_reason));
	if (err == 0)
		err = parse_events(json_object_get(body, "events"), webhook, ret_problem);
	if (err == 0)
		err = parse_batch(json_object_get(body, "batch"), webhook, ret_problem);
	if (err == 0)
		err = parse_types(json_object_get(body, "forward_types"), webhook, ret_problem);
	if (err == 0)
		err = parse_networks(call, json_object_get(body, "allow_cidrs"), webhook,
				     ret_problem);
	if (err == 0)
		err = parse_numbers(body, webhook, ret_problem);
	return err;
}

/* The secret of the request, or a new one, goes before the one that is there. */
static int take_secret(const json_t *value, struct hf_webhook *webhook, struct problem *ret_problem)
{
	struct hf_webhook_secret secret = { .len = SECRET_BYTES };

	if (value == NULL || json_is_null(value))
		hf_random_bytes(secret.key, SECRET_BYTES);
	else if (!json_is_string(value) ||
		 hf_webhook_secret_parse(json_string_value(value), &secret) < 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "secret", NULL,
				   "secret must be whsec_ and base64 of %d to %d bytes",
				   HF_WEBHOOK_SECRET_MIN, HF_WEBHOOK_SECRET_MAX);
	if (webhook->secret_count > 0)
		webhook->secrets[1] = webhook->secrets[0];
	webhook->secrets[0] = secret;
	if (webhook->secret_count < HF_WEBHOOK_SECRETS_MAX)
		webhook->secret_count++;
	return 0;
}

static int take_id(struct call *call, const json_t *value, struct hf_webhook *webhook,
		   struct problem *ret_problem)
{
	char text[HF_ID_TEXT_SIZE];
	const char *id = NULL;
	int err = fields_text(value, "id", 1, HF_WEBHOOK_ID_MAX, &id, ret_problem);

	if (err < 0)
		return err;
	if (id == NULL) {
		hf_id_format(hf_id_next(&call->center->service->ids,
					hf_loop_wall_ms(call->center->loop)),
			     text);
		snprintf(webhook->id, sizeof(webhook->id), "wh_%s", text);
		return 0;
	}
	if (!hf_webhook_id_is_valid(id))
		return problem_set(ret_problem, 400, "BAD_VALUE", "id", id,
				   "id must be of A-Z a-z 0-9 _ . -");
	memcpy(webhook->id, id, strlen(id));
	return 0;
}

static int add_webhook(struct hf_app *app, const struct hf_webhook *webhook,
		       struct problem *ret_problem)
{
	if (find(app, webhook->id) != NULL)
		return problem_set(ret_problem, 409, "ALREADY_EXISTS", "id", webhook->id,
				   "the app has a webhook with this id");
	if (app->webhook_count == HF_WEBHOOKS_MAX)
		return problem_set(ret_problem, 409, "TOO_MANY_WEBHOOKS", NULL, NULL,
				   "an app has %d webhooks at most", HF_WEBHOOKS_MAX);
	app->webhooks[app->webhook_count++] = *webhook;
	return 0;
}

void api_create_webhook(struct call *call)
{
	static const char *const known[] = { "id",          "url",           "enabled",
					     "secret",      "timeout",       "forward_types",
					     "allow_cidrs", "max_in_flight", "max_per_second",
					     "events",      "batch",         NULL };
	json_t *body = api_body(call);
	struct hf_webhook webhook;
	struct problem problem;
	struct hf_app app;
	int err;

	if (body == NULL)
		return;
	memset(&webhook, 0, sizeof(webhook));
	webhook.enabled = true;
	webhook.timeout_ms = TIMEOUT_MS;
	webhook.max_in_flight = IN_FLIGHT;
	webhook.batch_events = BATCH_EVENTS;
	webhook.batch_wait_ms = BATCH_WAIT_MS;
	webhook.max_per_second = PER_SECOND;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = take_id(call, json_object_get(body, "id"), &webhook, &problem);
	if (err == 0)
		err = parse_webhook(call, body, &webhook, &problem);
	if (err == 0 && webhook.url[0] == '\0')
		err = problem_set(&problem, 400, "MISSING_FIELD", "url", NULL, "url is required");
	if (err == 0)
		err = take_secret(json_object_get(body, "secret"), &webhook, &problem);
	json_decref(body);
	if (err == 0)
		err = held_read(call, &app, &problem);
	if (err == 0)
		err = add_webhook(&app, &webhook, &problem);
	if (err < 0) {
		api_fail(call, &problem);
		return;
	}
	held_write(call, &app, false, 201, word_with_secret(&webhook));
}

static int change_secrets(const json_t *body, struct hf_webhook *webhook, bool *ret_rotated,
			  struct problem *ret_problem)
{
	bool drop = false;
	int err;

	*ret_rotated = json_object_get(body, "secret") != NULL;
	err = fields_bool(json_object_get(body, "rotate_secret"), "rotate_secret", ret_rotated,
			  ret_problem);
	if (err == 0)
		err = fields_bool(json_object_get(body, "drop_old_secret"), "drop_old_secret",
				  &drop, ret_problem);
	if (err == 0 && *ret_rotated)
		err = take_secret(json_object_get(body, "secret"), webhook, ret_problem);
	if (err == 0 && drop) {
		memset(&webhook->secrets[1], 0, sizeof(webhook->secrets[1]));
		webhook->secret_count = 1;
	}
	return err;
}

void api_change_webhook(struct call *call)
{
	static const char *const known[] = { "url",
					     "enabled",
					     "forward_types",
					     "secret",
					     "timeout",
					     "drop_old_secret",
					     "allow_cidrs",
					     "max_in_flight",
					     "max_per_second",
					     "rotate_secret",
					     "events",
					     "batch",
					     NULL };
	json_t *body = api_body(call);
	struct hf_webhook *webhook = NULL;
	struct problem problem;
	bool rotated = false;
	struct hf_app app;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = held_read(call, &app, &problem);
	if (err == 0 && (webhook = find(&app, call->arg)) == NULL)
		err = no_such_webhook(&problem);
	if (err == 0)
		err = parse_webhook(call, body, webhook, &problem);
	if (err == 0)
		err = change_secrets(body, webhook, &rotated, &problem);
	json_decref(body);
	if (err < 0) {
		api_fail(call, &problem);
		return;
	}
	held_write(call, &app, false, 200,
		   rotated ? word_with_secret(webhook) : word_webhook(webhook));
}

void api_delete_webhook(struct call *call)
{
	struct hf_webhook *webhook = NULL;
	struct problem problem;
	struct hf_app app;
	int err = held_read(call, &app, &problem);

	if (err == 0 && (webhook = find(&app, call->arg)) == NULL)
		err = no_such_webhook(&problem);
	if (err < 0) {
		api_fail(call, &problem);
		return;
	}
	app.webhook_count--;
	memmove(webhook, webhook + 1,
		(size_t)(app.webhooks + app.webhook_count - webhook) * sizeof(*webhook));
	held_write(call, &app, false, 200, json_pack("{s:b}", "deleted", 1));
}
