/* services/center/apps.c - /v1/apps and /v1/apps/{app}. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "fields.h"
#include "held.h"
#include "hf_text.h"
#include "problem.h"
#include "query.h"

/* What a new app has; the same as in an empty document (hf_apps.h). */
#define MESSAGES_PER_SECOND     10000
#define BURST                   20000
#define PAYLOAD_MAX             4096
#define STORED_PER_REGISTRATION 100
#define BROADCASTS              4
#define REQUESTS_PER_SECOND     1000

#define LIST_CURSOR 'a'

static json_t *word_app(const struct hf_app *app)
{
	return json_pack("{s:I, s:s, s:b, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:i, s:i}", "id",
			 (json_int_t)app->id, "name", app->name, "enabled", (int)app->enabled,
			 "limits", "messages_per_second", (json_int_t)app->messages_per_second,
			 "burst", (json_int_t)app->burst, "payload", (json_int_t)app->payload_max,
			 "stored_per_registration", (json_int_t)app->stored_per_registration,
			 "broadcasts", (json_int_t)app->broadcasts, "requests_per_second",
			 (json_int_t)app->requests_per_second, "key_count", (int)app->api_key_count,
			 "token_key_count", (int)app->token_key_count);
}

void api_list_apps(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	struct hf_apps *apps = call->center->apps;
	json_t *list, *next = json_null();
	const struct hf_app *app;
	struct query_page page;
	struct problem problem;
	uint32_t after = 0;

	if (query_page(query, LIST_CURSOR, sizeof(after), 1000, &page, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	memcpy(&after, page.cursor, HF_MIN(page.cursor_len, sizeof(after)));
	list = json_array();
	while ((app = hf_apps_after(apps, after)) != NULL) {
		if (json_array_size(list) == page.limit) {
			next = query_next_cursor(LIST_CURSOR, &after, sizeof(after));
			break;
		}
		json_array_append_new(list, word_app(app));
		after = app->id;
	}
	api_respond_json(call->exchange, 200,
			 json_pack("{s:o, s:o}", "apps", list, "next_cursor", next));
}

void api_show_app(struct call *call)
{
	api_respond_json(call->exchange, 200, word_app(call->app));
}

/* A size: bytes, or text like "4KiB". */
static int parse_payload(const json_t *value, uint64_t *ret, struct problem *ret_problem)
{
	uint64_t bytes;

	if (!json_is_string(value))
		return fields_uint(value, "limits.payload", 1, 65536, "BAD_VALUE", ret,
				   ret_problem);
	if (hf_text_parse_size(json_string_value(value), &bytes) < 0 || bytes < 1 || bytes > 65536)
		return problem_set(ret_problem, 400, "BAD_VALUE", "limits.payload",
				   json_string_value(value),
				   "limits.payload must be a size of 1 to 65536 bytes");
	*ret = bytes;
	return 0;
}

static int parse_limits(const json_t *limits, struct hf_app *app, struct problem *ret_problem)
{
	static const char *const known[] = {
		"messages_per_second", "burst", "payload", "stored_per_registration", "broadcasts",
		"requests_per_second", NULL
	};
	const struct {
		const char *name, *field;
		uint64_t max;
		uint32_t *value;
	} numbers[] = {
		{ "messages_per_second", "limits.messages_per_second", 10000000,
		  &app->messages_per_second },
		{ "burst", "limits.burst", 100000000, &app->burst },
		{ "stored_per_registration", "limits.stored_per_registration", 1000,
		  &app->stored_per_registration },
		{ "broadcasts", "limits.broadcasts", 100, &app->broadcasts },
		{ "requests_per_second", "limits.requests_per_second", 1000000,
		  &app->requests_per_second },
	};
	uint64_t payload = app->payload_max;
	int err;

	if (limits == NULL || json_is_null(limits))
		return 0;
	if (!json_is_object(limits))
		return problem_set(ret_problem, 400, "BAD_VALUE", "limits", NULL,
				   "limits must be an object");
	err = fields_known(limits, "limits.", known, ret_problem);
	if (err == 0)
		err = parse_payload(json_object_get(limits, "payload"), &payload, ret_problem);
	app->payload_max = (uint32_t)payload;
	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(numbers); i++) {
		uint64_t value = *numbers[i].value;

		err = fields_uint(json_object_get(limits, numbers[i].name), numbers[i].field, 1,
				  numbers[i].max, "BAD_VALUE", &value, ret_problem);
		*numbers[i].value = (uint32_t)value;
	}
	return err;
}

/* Name, enabled and limits into `app`; what is absent stays. */
static int parse_app(const json_t *body, struct hf_app *app, struct problem *ret_problem)
{
	const char *name = NULL;
	int err = fields_text(json_object_get(body, "name"), "name", 1, HF_APP_NAME_MAX, &name,
			      ret_problem);

	if (err == 0 && name != NULL)
		memcpy(app->name, name, strlen(name) + 1);
	if (err == 0)
		err = fields_bool(json_object_get(body, "enabled"), "enabled", &app->enabled,
				  ret_problem);
	if (err == 0)
		err = parse_limits(json_object_get(body, "limits"), app, ret_problem);
	return err;
}

static uint32_t free_id(const struct hf_apps *apps)
{
	const struct hf_app *app;
	uint32_t last = 0;

	while ((app = hf_apps_after(apps, last)) != NULL && app->id == last + 1)
		last = app->id;
	return last + 1;
}

void api_create_app(struct call *call)
{
	static const char *const known[] = { "id", "name", "enabled", "limits", NULL };
	json_t *body = api_body(call);
	struct hf_app app = {
		.enabled = true,
		.messages_per_second = MESSAGES_PER_SECOND,
		.burst = BURST,
		.payload_max = PAYLOAD_MAX,
		.stored_per_registration = STORED_PER_REGISTRATION,
		.broadcasts = BROADCASTS,
		.requests_per_second = REQUESTS_PER_SECOND,
	};
	struct problem problem;
	uint64_t id = 0;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = fields_uint(json_object_get(body, "id"), "id", 1, INT32_MAX, "BAD_VALUE", &id,
				  &problem);
	if (err == 0)
		err = parse_app(body, &app, &problem);
	json_decref(body);
	if (err == 0 && app.name[0] == '\0')
		err = problem_set(&problem, 400, "MISSING_FIELD", "name", NULL, "name is required");
	if (err < 0) {
		api_fail(call, &problem);
		return;
	}
	app.id = id != 0 ? (uint32_t)id : free_id(call->center->apps);
	held_write(call, &app, true, 201, word_app(&app));
}

static int edit_app(struct hf_app *app, void *body, json_t **ret_answer,
		    struct problem *ret_problem)
{
	int err = parse_app(body, app, ret_problem);

	if (err == 0)
		*ret_answer = word_app(app);
	return err;
}

void api_change_app(struct call *call)
{
	static const char *const known[] = { "name", "enabled", "limits", NULL };
	json_t *body = api_body(call);
	struct problem problem;

	if (body == NULL)
		return;
	if (fields_known(body, "", known, &problem) < 0)
		api_fail(call, &problem);
	else
		held_change(call, edit_app, body, 200);
	json_decref(body);
}

void api_delete_app(struct call *call)
{
	held_remove(call);
}
