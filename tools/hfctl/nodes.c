/* status, node list, version. */
#include <stdio.h>
#include <string.h>

#include "hfctl.h"

static const struct ctl_column node_columns[] = {
	{ "NODE", "id" },
	{ "ROLE", "role" },
	{ "STATE", "state" },
	{ "ZONE", "zone" },
	{ "WEIGHT", "weight" },
	{ "LOAD", "load" },
	{ "SINCE", "started_at" },
	{ "RPC", "rpc" },
	{ "ADMIN", "admin" },
	{ "ENDPOINTS", "endpoints" },
	{ 0 },
};

static int nodes_request(struct ctl *ctl, int argc, char **argv, json_t **ret_answer)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[1] = { NULL };

	*ret_answer = NULL;
	if (!ctl_parse(argc, argv, options, words, 0))
		return EXIT_USAGE;
	return ctl_request(ctl, "GET", NULL, ret_answer, "/v1/cluster/nodes");
}

int command_node_list(struct ctl *ctl, int argc, char **argv)
{
	json_t *answer;
	int result = nodes_request(ctl, argc, argv, &answer);

	if (result == EXIT_OK)
		show_list(ctl, answer, "nodes", node_columns);
	json_decref(answer);
	return result;
}

/* One line a role: how many serve, how many drain, and what they carry. */
static json_t *summary_of(const json_t *nodes)
{
	static const char *const roles[] = { "dispatcher", "room",        "register",
					     "saver",      "coordinator", "center" };
	json_t *list = json_array(), *node;
	size_t n;

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		int serving = 0, other = 0;
		json_int_t load = 0;

		json_array_foreach(nodes, n, node)
		{
			const char *role = json_string_value(json_object_get(node, "role"));
			const char *state = json_string_value(json_object_get(node, "state"));

			if (role == NULL || strcmp(role, roles[i]) != 0)
				continue;
			if (state != NULL && strcmp(state, "serving") == 0)
				serving++;
			else
				other++;
			load += json_integer_value(json_object_get(node, "load"));
		}
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:i, s:o}", "role", roles[i], "serving",
						serving, "other", other, "connections",
						strcmp(roles[i], "room") == 0 ? json_integer(load)
									      : json_null()));
	}
	return json_pack("{s:o}", "roles", list);
}

int command_status(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = { { "ROLE", "role" },
						     { "SERVING", "serving" },
						     { "STARTING OR DRAINING", "other" },
						     { "CONNECTIONS", "connections" },
						     { 0 } };
	json_t *answer, *summary, *row;
	int result = nodes_request(ctl, argc, argv, &answer);
	size_t i;

	if (result != EXIT_OK)
		return result;
	summary = summary_of(json_object_get(answer, "nodes"));
	show_list(ctl, summary, "roles", columns);
	json_array_foreach(json_object_get(summary, "roles"), i, row)
	{
		if (json_integer_value(json_object_get(row, "serving")) == 0) {
			fprintf(stderr, "hfctl: no %s serves\n",
				json_string_value(json_object_get(row, "role")));
			result = EXIT_PARTIAL;
		}
	}
	json_decref(summary);
	json_decref(answer);
	return result;
}

int command_node_drain(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL };
	char id[256];
	json_t *answer;
	int result;

	if (!ctl->yes)
		return usage_error("node drain ends the room's process: say --yes");
	if (!ctl_parse(argc, argv, options, words, 1))
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)))
		return usage_error("node drain needs the id of a room");
	result = ctl_request(ctl, "POST", NULL, &answer, "/v1/cluster/nodes/%s/drain", id);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

int command_version(struct ctl *ctl, int argc, char **argv)
{
	printf(ctl->json ? "{\"version\": \"%s\"}\n" : "hfctl %s\n", HOLDFAST_VERSION);
	return EXIT_OK;
}
