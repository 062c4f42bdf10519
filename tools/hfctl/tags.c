/* tag list, show, add, remove and delete. */
#include <stdio.h>

#include "hfctl.h"

#define REGISTRATIONS_MAX 1000

/* The path segment of a tag; false after saying what is wrong. */
static bool escape_tag(const char *tag, char *ret, size_t size)
{
	if (tag != NULL && ctl_escape(tag, ret, size))
		return true;
	usage_error("the command needs a tag");
	return false;
}

int command_tag_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "TAG", "tag" },
						     { "REGISTRATIONS", "registrations" },
						     { 0 } };
	const char *prefix = NULL, *limit = NULL, *cursor = NULL, *words[1] = { NULL }, *app;
	const struct ctl_option options[] = {
		{ "prefix", "TEXT", "", &prefix },
		{ "limit", "N", "", &limit },
		{ "cursor", "TEXT", "", &cursor },
		{ 0 },
	};
	char query[1024];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL ||
	    !ctl_query((const struct ctl_parameter[]){ { "prefix", prefix },
						       { "limit", limit },
						       { "cursor", cursor },
						       { 0 } },
		       query, sizeof(query)))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/tags%s", app, query);
	if (result == EXIT_OK)
		show_page(ctl, answer, "tags", columns);
	json_decref(answer);
	return result;
}

int command_tag_show(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL }, *app;
	char tag[256];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL ||
	    !escape_tag(words[0], tag, sizeof(tag)))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/tags/%s", app, tag);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

static int change(struct ctl *ctl, int argc, char **argv, const char *how)
{
	static const struct ctl_column columns[] = { { "NOT CHANGED", "registration_id" },
						     { "REASON", "reason" },
						     { 0 } };
	const struct ctl_option options[] = { { 0 } };
	const char *words[REGISTRATIONS_MAX + 2] = { NULL }, *app;
	json_t *list, *answer;
	char tag[256];
	int result;

	if (!ctl_parse(argc, argv, options, words, REGISTRATIONS_MAX + 1) ||
	    (app = ctl_app(ctl)) == NULL || !escape_tag(words[0], tag, sizeof(tag)))
		return EXIT_USAGE;
	if (words[1] == NULL)
		return usage_error("the command needs registration ids");
	list = json_array();
	for (size_t i = 1; words[i] != NULL; i++)
		json_array_append_new(list, json_string(words[i]));
	result = ctl_request(ctl, "POST", json_pack("{s:o}", how, list), &answer,
			     "/v1/apps/%s/tags/%s/registrations", app, tag);
	if (result != EXIT_OK)
		return result;
	if (json_array_size(json_object_get(answer, "errors")) > 0) {
		show_list(ctl, answer, "errors", columns);
		result = EXIT_PARTIAL;
	} else {
		show_object(ctl, answer);
	}
	json_decref(answer);
	return result;
}

int command_tag_add(struct ctl *ctl, int argc, char **argv)
{
	return change(ctl, argc, argv, "add");
}

int command_tag_remove(struct ctl *ctl, int argc, char **argv)
{
	return change(ctl, argc, argv, "remove");
}

/* Asked again until the end of the tag's registrations. */
int command_tag_delete(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL }, *app, *cursor = "";
	json_int_t removed = 0, failed = 0;
	json_t *answer = NULL, *sum;
	int result = EXIT_OK;
	char tag[256];

	if (!ctl->yes)
		return usage_error("tag delete takes it off all registrations: say --yes");
	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL ||
	    !escape_tag(words[0], tag, sizeof(tag)))
		return EXIT_USAGE;
	if (ctl->timeout_ms < 30000)
		ctl->timeout_ms = 30000; /* the API works for 10 s before it answers */
	while (cursor != NULL) {
		json_t *next = NULL;

		result = ctl_request(ctl, "DELETE", NULL, &next, "/v1/apps/%s/tags/%s%s%s", app,
				     tag, cursor[0] != '\0' ? "?cursor=" : "", cursor);
		json_decref(answer);
		answer = next;
		if (result != EXIT_OK)
			break;
		removed += json_integer_value(json_object_get(answer, "removed"));
		failed += json_integer_value(json_object_get(answer, "failed"));
		cursor = json_string_value(json_object_get(answer, "next_cursor"));
	}
	json_decref(answer);
	sum = json_pack("{s:s, s:I, s:I}", "tag", words[0], "removed", removed, "failed", failed);
	if (result == EXIT_OK || removed > 0)
		show_object(ctl, sum);
	json_decref(sum);
	return result == EXIT_OK && failed > 0 ? EXIT_PARTIAL : result;
}
