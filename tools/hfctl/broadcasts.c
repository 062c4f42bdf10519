/* push status, cancel, pause, resume and pace; broadcast list. */
#include <stdio.h>
#include <string.h>

#include "hfctl.h"

/* One request about the message that the command names, and its answer as an object. */
static int about_message(struct ctl *ctl, const char *id, const char *method, const char *rest,
			 json_t *body)
{
	const char *app = ctl_app(ctl);
	char escaped[128];
	json_t *answer;
	int result;

	if (app == NULL || !ctl_escape(id, escaped, sizeof(escaped))) {
		json_decref(body);
		return app == NULL ? EXIT_USAGE : usage_error("this is no message id");
	}
	result = ctl_request(ctl, method, body, &answer, "/v1/apps/%s/messages/%s%s", app, escaped,
			     rest);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

static int simple(struct ctl *ctl, int argc, char **argv, const char *name, const char *method,
		  const char *rest)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1))
		return EXIT_USAGE;
	if (words[0] == NULL)
		return usage_error("%s needs a message id", name);
	return about_message(ctl, words[0], method, rest, NULL);
}

int command_push_status(struct ctl *ctl, int argc, char **argv)
{
	return simple(ctl, argc, argv, "push status", "GET", "");
}

int command_push_cancel(struct ctl *ctl, int argc, char **argv)
{
	return simple(ctl, argc, argv, "push cancel", "DELETE", "");
}

int command_push_pause(struct ctl *ctl, int argc, char **argv)
{
	return simple(ctl, argc, argv, "push pause", "POST", "/pause");
}

int command_push_resume(struct ctl *ctl, int argc, char **argv)
{
	return simple(ctl, argc, argv, "push resume", "POST", "/resume");
}

int command_push_pace(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[3] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 2))
		return EXIT_USAGE;
	if (words[0] == NULL || words[1] == NULL)
		return usage_error("push pace needs a message id and a pace");
	return about_message(ctl, words[0], "PATCH", "",
			     json_pack("{s:o}", "pace", pace_of(words[1])));
}

int command_broadcast_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "MESSAGE", "message_id" },
						     { "KIND", "kind" },
						     { "STATE", "state" },
						     { "LABEL", "label" },
						     { "SEND AT", "send_at" },
						     { "STARTED", "started_at" },
						     { "FINISHED", "finished_at" },
						     { "TARGETS", "counters.targets" },
						     { "WRITTEN", "counters.written" },
						     { "REASON", "reason" },
						     { 0 } };
	struct ctl_parameter parameters[] = { { "limit", NULL }, { "cursor", NULL }, { 0 } };
	const struct ctl_option options[] = {
		{ "limit", "N", "", &parameters[0].value },
		{ "cursor", "C", "", &parameters[1].value },
		{ 0 },
	};
	const char *words[1] = { NULL }, *app;
	char query[1024];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL ||
	    !ctl_query(parameters, query, sizeof(query)))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/broadcasts%s", app, query);
	if (result == EXIT_OK)
		show_page(ctl, answer, "broadcasts", columns);
	json_decref(answer);
	return result;
}
