/* client info, set, forget, bar and unbar; user show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hfctl.h"

/* The path segment of the one word that the command takes; false after saying what is wrong. */
static bool take_id(struct ctl *ctl, int argc, char **argv, const struct ctl_option *options,
		    const char **ret_app, char *ret, size_t size)
{
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1) || (*ret_app = ctl_app(ctl)) == NULL)
		return false;
	if (words[0] == NULL || !ctl_escape(words[0], ret, size)) {
		usage_error("the command needs an id");
		return false;
	}
	return true;
}

/* One request about a registration, its answer shown as an object. `body` is taken. */
static int show_request(struct ctl *ctl, const char *method, json_t *body, const char *app,
			const char *id, const char *rest)
{
	json_t *answer;
	int result = ctl_request(ctl, method, body, &answer, "/v1/apps/%s/registrations/%s%s", app,
				 id, rest);

	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

int command_client_info(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *app;
	char id[256];

	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	return show_request(ctl, "GET", NULL, app, id, "");
}

/* "a,b" as an array; an empty text is an empty one. */
static json_t *split(const char *text)
{
	json_t *list = json_array();

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return list;
}

int command_client_set(struct ctl *ctl, int argc, char **argv)
{
	const char *user = NULL, *no_user = NULL, *add = NULL, *removed = NULL, *set = NULL, *app;
	const struct ctl_option options[] = {
		{ "user", "ID", "", &user },      { "no-user", NULL, "", &no_user },
		{ "add-tags", "T,..", "", &add }, { "remove-tags", "T,..", "", &removed },
		{ "tags", "T,..", "", &set },     { 0 },
	};
	json_t *body, *tags;
	char id[256];

	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	body = json_object();
	tags = json_object();
	if (user != NULL)
		json_object_set_new(body, "user_id", json_string(user));
	if (no_user != NULL)
		json_object_set_new(body, "user_id", json_null());
	if (add != NULL)
		json_object_set_new(tags, "add", split(add));
	if (removed != NULL)
		json_object_set_new(tags, "remove", split(removed));
	if (set != NULL)
		json_object_set_new(tags, "set", split(set));
	if (json_object_size(tags) > 0)
		json_object_set(body, "tags", tags);
	json_decref(tags);
	return show_request(ctl, "PATCH", body, app, id, "");
}

int command_client_forget(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *app;
	char id[256];

	if (!ctl->yes)
		return usage_error("client forget removes what is owed, too: say --yes");
	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	return show_request(ctl, "DELETE", NULL, app, id, "");
}

int command_client_bar(struct ctl *ctl, int argc, char **argv)
{
	const char *seconds = NULL, *reason = NULL, *app;
	const struct ctl_option options[] = {
		{ "seconds", "N", "", &seconds },
		{ "reason", "TEXT", "", &reason },
		{ 0 },
	};
	json_t *body;
	char id[256];

	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	if (seconds == NULL)
		return usage_error("client bar needs --seconds N");
	body = json_pack("{s:I}", "seconds", (json_int_t)strtoll(seconds, NULL, 10));
	if (reason != NULL)
		json_object_set_new(body, "reason", json_string(reason));
	return show_request(ctl, "POST", body, app, id, "/bar");
}

int command_client_unbar(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *app;
	char id[256];

	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	return show_request(ctl, "DELETE", NULL, app, id, "/bar");
}

int command_user_show(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "REGISTRATION", "registration_id" },
						     { "ONLINE", "online" },
						     { "NODE", "node" },
						     { "PLATFORM", "platform" },
						     { "TAGS", "tags" },
						     { "LAST SEEN", "last_seen_at" },
						     { 0 } };
	const struct ctl_option options[] = { { 0 } };
	const char *app;
	json_t *answer;
	char id[512];
	int result;

	if (!take_id(ctl, argc, argv, options, &app, id, sizeof(id)))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/users/%s", app, id);
	if (result == EXIT_OK)
		show_list(ctl, answer, "registrations", columns);
	json_decref(answer);
	return result;
}
