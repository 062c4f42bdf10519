/* presence; report registrations, messages and labels. */
#include <stdio.h>
#include <string.h>

#include "hfctl.h"

int command_presence(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[1] = { NULL }, *app;
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/presence/stats", app);
	if (result != EXIT_OK)
		return result;
	show_object(ctl, answer);
	if (!json_is_true(json_object_get(answer, "complete")))
		result = EXIT_PARTIAL;
	json_decref(answer);
	return result;
}

/* A report without words: its path with the query, and the table. */
static int show_report(struct ctl *ctl, const char *name, const char *query, const char *key,
		       const struct ctl_column *columns)
{
	const char *app = ctl_app(ctl);
	json_t *answer;
	int result;

	if (app == NULL)
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/reports/%s%s", app, name,
			     query);
	if (result == EXIT_OK)
		show_list(ctl, answer, key, columns);
	json_decref(answer);
	return result;
}

int command_report_registrations(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
		{ "AT", "at" }, { "NEW", "created" }, { "LAST SEEN", "last_seen" }, { 0 }
	};
	const char *unit = NULL, *start = NULL, *count = NULL, *words[1] = { NULL };
	const struct ctl_option options[] = {
		{ "unit", "hour|day", "", &unit },
		{ "start", "TIME", "", &start },
		{ "count", "N", "", &count },
		{ 0 },
	};
	char query[256];

	if (!ctl_parse(argc, argv, options, words, 0) ||
	    !ctl_query((const struct ctl_parameter[]){ { "unit", unit },
						       { "start", start },
						       { "count", count },
						       { 0 } },
		       query, sizeof(query)))
		return EXIT_USAGE;
	return show_report(ctl, "registrations", query, "points", columns);
}

int command_report_labels(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
		{ "DAY", "day" },           { "MESSAGES", "messages" },
		{ "TARGETS", "targets" },   { "ACKED", "acked" },
		{ "EXPIRED", "expired" },   { "DROPPED", "dropped" },
		{ "RECALLED", "recalled" }, { 0 },
	};
	const char *from = NULL, *to = NULL, *words[2] = { NULL };
	const struct ctl_option options[] = {
		{ "from", "DAY", "", &from },
		{ "to", "DAY", "", &to },
		{ 0 },
	};
	char query[512];

	if (!ctl_parse(argc, argv, options, words, 1) ||
	    !ctl_query((const struct ctl_parameter[]){ { "label", words[0] },
						       { "from", from },
						       { "to", to },
						       { 0 } },
		       query, sizeof(query)))
		return EXIT_USAGE;
	return show_report(ctl, "labels", query, "days", columns);
}

int command_report_messages(struct ctl *ctl, int argc, char **argv)
{
	enum { MAX = 100 };
	static const struct ctl_column columns[] = {
		{ "MESSAGE", "message_id" }, { "STATE", "state" },
		{ "CREATED", "created_at" }, { "LABEL", "label" },
		{ "COUNTERS", "counters" },  { 0 }
	};
	const struct ctl_option options[] = { { 0 } };
	const char *words[MAX + 1] = { NULL };
	char ids[64 * MAX] = "", query[4096];
	size_t len = 0;

	if (!ctl_parse(argc, argv, options, words, MAX))
		return EXIT_USAGE;
	for (size_t i = 0; words[i] != NULL && len < sizeof(ids); i++)
		len += (size_t)snprintf(ids + len, sizeof(ids) - len, "%s%s", i > 0 ? "," : "",
					words[i]);
	if (len == 0)
		return usage_error("report messages needs message ids");
	if (len >= sizeof(ids) ||
	    !ctl_query((const struct ctl_parameter[]){ { "message_ids", ids }, { 0 } }, query,
		       sizeof(query)))
		return usage_error("that is too long");
	return show_report(ctl, "messages", query, "messages", columns);
}
