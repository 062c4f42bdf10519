/* client list, show and kick; user kick; queue show and purge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hfctl.h"

static const struct ctl_column connection_columns[] = {
	{ "NODE", "node" },
	{ "PEER", "peer_ip" },
	{ "LINGERING", "lingering" },
	{ "TRANSPORT", "transport" },
	{ "DEVICE", "device" },
	{ "PLATFORM", "platform" },
	{ "USER", "user_id" },
	{ "CONNECTED", "connected_at" },
	{ "LAST HEARD", "last_rx_at" },
	{ "HEARTBEAT S", "keepalive_s" },
	{ "UNACKED", "unacked" },
	{ 0 },
};

int command_client_show(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL }, *app;
	char id[256];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)))
		return usage_error("client show needs a registration id");
	result = ctl_request(ctl, "GET", NULL, &answer,
			     "/v1/apps/%s/connections?registration_id=%s", app, id);
	if (result != EXIT_OK)
		return result;
	if (json_array_size(json_object_get(answer, "connections")) == 0) {
		fprintf(stderr, "hfctl: %s is not connected\n", words[0]);
		result = EXIT_NOT_FOUND;
	} else {
		show_list(ctl, answer, "connections", connection_columns);
	}
	json_decref(answer);
	return result;
}

int command_client_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
		{ "REGISTRATION", "registration_id" },
		{ "NODE", "node" },
		{ "PEER", "peer_ip" },
		{ "LINGERING", "lingering" },
		{ "PLATFORM", "platform" },
		{ "USER", "user_id" },
		{ "CONNECTED", "connected_at" },
		{ "CONNECTION", "connection_id" },
		{ 0 },
	};
	const char *node = NULL, *user = NULL, *limit = NULL, *cursor = NULL, *words[1] = { NULL };
	const struct ctl_option options[] = {
		{ "node", "ID", "", &node },
		{ "user", "ID", "", &user },
		{ "limit", "N", "", &limit },
		{ "cursor", "TEXT", "", &cursor },
		{ 0 },
	};
	const char *app;
	char query[1024];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL ||
	    !ctl_query((const struct ctl_parameter[]){ { "node", node },
						       { "user_id", user },
						       { "limit", limit },
						       { "cursor", cursor },
						       { 0 } },
		       query, sizeof(query)))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/connections%s", app, query);
	if (result != EXIT_OK)
		return result;
	show_page(ctl, answer, "connections", columns);
	if (!json_is_true(json_object_get(answer, "complete")))
		result = EXIT_PARTIAL;
	json_decref(answer);
	return result;
}

/* Kick whom `field` names: registrations or users. */
static int kick(struct ctl *ctl, int argc, char **argv, const char *field, const char *what)
{
	enum { MAX = 1000 };
	static const struct ctl_column columns[] = { { "REGISTRATION", "registration_id" },
						     { "RESULT", "result" },
						     { 0 } };
	const char *words[MAX + 1] = { NULL }, *app, *code = NULL, *reason = "kicked by operator";
	const char *bar = NULL;
	const struct ctl_option options[] = {
		{ "code", "N", "", &code },
		{ "reason", "TEXT", "", &reason },
		{ "bar", "SECONDS", "", &bar },
		{ 0 },
	};
	json_t *list = json_array(), *body, *answer, *row;
	size_t i;
	int result;

	if (!ctl_parse(argc, argv, options, words, MAX) || (app = ctl_app(ctl)) == NULL) {
		json_decref(list);
		return EXIT_USAGE;
	}
	for (i = 0; words[i] != NULL; i++)
		json_array_append_new(list, json_string(words[i]));
	if (i == 0) {
		json_decref(list);
		return usage_error("the command needs %s", what);
	}
	body = json_pack("{s:o, s:s}", field, list, "reason", reason);
	if (code != NULL)
		json_object_set_new(body, "code", json_integer(strtoll(code, NULL, 10)));
	if (bar != NULL)
		json_object_set_new(body, "bar_s", json_integer(strtoll(bar, NULL, 10)));
	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps/%s/connections/disconnect", app);
	if (result != EXIT_OK)
		return result;
	show_list(ctl, answer, "results", columns);
	json_array_foreach(json_object_get(answer, "results"), i, row)
	{
		const char *outcome = json_string_value(json_object_get(row, "result"));

		if (outcome == NULL || strcmp(outcome, "kicked") != 0)
			result = EXIT_PARTIAL;
	}
	json_decref(answer);
	return result;
}

int command_client_kick(struct ctl *ctl, int argc, char **argv)
{
	return kick(ctl, argc, argv, "registration_id", "a registration id");
}

int command_user_kick(struct ctl *ctl, int argc, char **argv)
{
	return kick(ctl, argc, argv, "user_id", "a user id");
}

/* GET or DELETE of one registration's queue. */
static int queue_request(struct ctl *ctl, int argc, char **argv, const char *method,
			 json_t **ret_answer)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL }, *app;
	char id[256];

	*ret_answer = NULL;
	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)))
		return usage_error("the command needs a registration id");
	return ctl_request(ctl, method, NULL, ret_answer, "/v1/apps/%s/registrations/%s/queue", app,
			   id);
}

int command_queue_show(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "MESSAGE", "message_id" },
						     { "BYTES", "size" },
						     { "EXPIRES", "expires_at" },
						     { "DELIVERIES", "deliveries" },
						     { 0 } };
	json_t *answer;
	int result = queue_request(ctl, argc, argv, "GET", &answer);

	if (result == EXIT_OK)
		show_list(ctl, answer, "messages", columns);
	json_decref(answer);
	return result;
}

int command_queue_purge(struct ctl *ctl, int argc, char **argv)
{
	json_t *answer;
	int result;

	if (!ctl->yes)
		return usage_error("queue purge forgets messages that are owed: say --yes");
	result = queue_request(ctl, argc, argv, "DELETE", &answer);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}
