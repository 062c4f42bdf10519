/* hfctl webhook ...: where an app's business is called back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hfctl.h"

/* What add and set can say; NULL: not said. */
struct webhook_options {
	const char *url, *events, *forward_types, *timeout, *max_in_flight, *max_per_second;
	const char *batch, *batch_wait, *allow_cidrs, *enabled;
};

#define WEBHOOK_OPTIONS(w)                                                                       \
	{ "to", "URL", "", &(w).url }, { "events", "LIST", "", &(w).events },                    \
		{ "forward-types", "LIST", "", &(w).forward_types },                             \
		{ "timeout", "TIME", "", &(w).timeout },                                         \
		{ "max-in-flight", "N", "", &(w).max_in_flight },                                \
		{ "max-per-second", "N", "", &(w).max_per_second },                              \
		{ "batch", "N", "", &(w).batch }, { "batch-wait", "TIME", "", &(w).batch_wait }, \
		{ "allow-cidrs", "LIST", "", &(w).allow_cidrs },                                 \
	{                                                                                        \
		"enabled", "yes|no", "", &(w).enabled                                            \
	}

/* "a,b" as an array; "" is an empty one. */
static json_t *list_of(const char *text)
{
	json_t *list = json_array();

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		if (len > 0)
			json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return list;
}

static void set_number(json_t *body, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(body, name, json_integer(strtoll(text, NULL, 10)));
}

static json_t *body_of(const struct webhook_options *w)
{
	json_t *body = json_object(), *batch = json_object();

	if (w->url != NULL)
		json_object_set_new(body, "url", json_string(w->url));
	if (w->events != NULL)
		json_object_set_new(body, "events", list_of(w->events));
	if (w->forward_types != NULL)
		json_object_set_new(body, "forward_types", list_of(w->forward_types));
	if (w->allow_cidrs != NULL)
		json_object_set_new(body, "allow_cidrs", list_of(w->allow_cidrs));
	if (w->timeout != NULL)
		json_object_set_new(body, "timeout", json_string(w->timeout));
	if (w->enabled != NULL)
		json_object_set_new(body, "enabled", json_boolean(strcmp(w->enabled, "yes") == 0));
	set_number(body, "max_in_flight", w->max_in_flight);
	set_number(body, "max_per_second", w->max_per_second);
	set_number(batch, "max_events", w->batch);
	if (w->batch_wait != NULL)
		json_object_set_new(batch, "max_wait", json_string(w->batch_wait));
	if (json_object_size(batch) > 0)
		json_object_set(body, "batch", batch);
	json_decref(batch);
	return body;
}

static bool enabled_is_valid(const struct webhook_options *w)
{
	if (w->enabled == NULL || strcmp(w->enabled, "yes") == 0 || strcmp(w->enabled, "no") == 0)
		return true;
	usage_error("--enabled is yes or no");
	return false;
}

/* One request about one callback; `body` is taken. `tail` goes behind its id. */
static int webhook_request(struct ctl *ctl, const char *method, const char *id, const char *tail,
			   json_t *body)
{
	const char *app = ctl_app(ctl);
	char escaped[256];
	json_t *answer;
	int result;

	if (app == NULL || id == NULL || !ctl_escape(id, escaped, sizeof(escaped))) {
		json_decref(body);
		return app == NULL ? EXIT_USAGE : usage_error("which webhook?");
	}
	result = ctl_request(ctl, method, body, &answer, "/v1/apps/%s/webhooks/%s%s", app, escaped,
			     tail);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	if (result == EXIT_OK && json_is_false(json_object_get(answer, "delivered")))
		result = EXIT_REFUSED;
	json_decref(answer);
	return result;
}

static int webhook_simple(struct ctl *ctl, int argc, char **argv, const char *method,
			  const char *tail, json_t *body)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	return webhook_request(ctl, method, words[0], tail, body);
}

int command_webhook_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "WEBHOOK", "id" },
						     { "URL", "url" },
						     { "ENABLED", "enabled" },
						     { "EVENTS", "events" },
						     { "FORWARDS", "forward_types" },
						     { "DISABLED BECAUSE", "disabled_reason" },
						     { 0 } };
	const struct ctl_option options[] = { { 0 } };
	const char *words[1] = { NULL }, *app;
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/webhooks", app);
	if (result == EXIT_OK)
		show_list(ctl, answer, "webhooks", columns);
	json_decref(answer);
	return result;
}

int command_webhook_add(struct ctl *ctl, int argc, char **argv)
{
	struct webhook_options w = { 0 };
	const struct ctl_option options[] = { WEBHOOK_OPTIONS(w), { 0 } };
	const char *words[2] = { NULL }, *app;
	json_t *body, *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL ||
	    !enabled_is_valid(&w))
		return EXIT_USAGE;
	if (w.url == NULL)
		return usage_error("webhook add needs --to URL");
	body = body_of(&w);
	if (words[0] != NULL)
		json_object_set_new(body, "id", json_string(words[0]));
	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps/%s/webhooks", app);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

int command_webhook_set(struct ctl *ctl, int argc, char **argv)
{
	struct webhook_options w = { 0 };
	const struct ctl_option options[] = { WEBHOOK_OPTIONS(w), { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1) || !enabled_is_valid(&w))
		return EXIT_USAGE;
	return webhook_request(ctl, "PATCH", words[0], "", body_of(&w));
}

int command_webhook_show(struct ctl *ctl, int argc, char **argv)
{
	return webhook_simple(ctl, argc, argv, "GET", "", NULL);
}

int command_webhook_delete(struct ctl *ctl, int argc, char **argv)
{
	if (!ctl->yes)
		return usage_error("webhook delete drops the events that wait for it: say --yes");
	return webhook_simple(ctl, argc, argv, "DELETE", "", NULL);
}

int command_webhook_test(struct ctl *ctl, int argc, char **argv)
{
	return webhook_simple(ctl, argc, argv, "POST", "/test", NULL);
}

int command_webhook_rotate_secret(struct ctl *ctl, int argc, char **argv)
{
	const char *drop = NULL;
	const struct ctl_option options[] = { { "drop-old", NULL, "", &drop }, { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1))
		return EXIT_USAGE;
	return webhook_request(ctl, "PATCH", words[0], "",
			       json_pack("{s:b}", drop ? "drop_old_secret" : "rotate_secret", 1));
}

int command_webhook_failures(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "DELIVERY", "id" },
						     { "FAILED", "failed_at" },
						     { "ATTEMPTS", "attempts" },
						     { "REASON", "reason" },
						     { 0 } };
	const char *limit = "100", *cursor = NULL;
	const struct ctl_option options[] = { { "limit", "N", "", &limit },
					      { "cursor", "CURSOR", "", &cursor },
					      { 0 } };
	const char *words[2] = { NULL }, *app, *next;
	char id[256], number[32], page[512] = "";
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)) ||
	    !ctl_escape(limit, number, sizeof(number)) ||
	    (cursor != NULL && !ctl_escape(cursor, page, sizeof(page))))
		return usage_error("which webhook?");
	result = ctl_request(ctl, "GET", NULL, &answer,
			     "/v1/apps/%s/webhooks/%s/deliveries?state=failed&limit=%s%s%s", app,
			     id, number, cursor != NULL ? "&cursor=" : "", page);
	if (result == EXIT_OK) {
		show_list(ctl, answer, "deliveries", columns);
		next = json_string_value(json_object_get(answer, "next_cursor"));
		if (next != NULL && !ctl->json)
			printf("more: --cursor %s\n", next);
	}
	json_decref(answer);
	return result;
}

int command_webhook_retry(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[3] = { NULL };
	char delivery[128], tail[192] = "/deliveries/";

	if (!ctl_parse(argc, argv, options, words, 2))
		return EXIT_USAGE;
	if (words[1] == NULL || !ctl_escape(words[1], delivery, sizeof(delivery)))
		return usage_error("webhook retry WEBHOOK DELIVERY");
	strcat(tail, delivery);
	strcat(tail, "/retry");
	return webhook_request(ctl, "POST", words[0], tail, NULL);
}
