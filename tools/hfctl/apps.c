/* app, key and token-key commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hfctl.h"

int command_app_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
		{ "APP", "id" },
		{ "NAME", "name" },
		{ "ENABLED", "enabled" },
		{ "MESSAGES/S", "limits.messages_per_second" },
		{ "PAYLOAD", "limits.payload" },
		{ "STORED", "limits.stored_per_registration" },
		{ 0 },
	};
	const struct ctl_option options[] = { { 0 } };
	const char *words[1] = { NULL };
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0))
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps?limit=1000");
	if (result == EXIT_OK)
		show_list(ctl, answer, "apps", columns);
	json_decref(answer);
	return result;
}

/* What app create and app set may change, as the options gave it. */
struct app_changes {
	const char *name, *rate, *burst, *payload, *stored, *broadcasts, *requests;
};

/* clang-format off */
#define APP_OPTIONS(changes)                                           \
	{ "name", "TEXT", "", &(changes).name },                       \
	{ "messages-per-second", "N", "", &(changes).rate },           \
	{ "burst", "N", "", &(changes).burst },                        \
	{ "payload", "SIZE", "", &(changes).payload },                 \
	{ "stored", "N", "", &(changes).stored },                      \
	{ "broadcasts", "N", "", &(changes).broadcasts },              \
	{ "requests-per-second", "N", "", &(changes).requests }
/* clang-format on */

static json_t *changes_json(const struct app_changes *changes)
{
	const struct {
		const char *name, *value;
	} numbers[] = {
		{ "messages_per_second", changes->rate },
		{ "burst", changes->burst },
		{ "stored_per_registration", changes->stored },
		{ "broadcasts", changes->broadcasts },
		{ "requests_per_second", changes->requests },
	};
	json_t *body = json_object(), *limits = json_object();

	if (changes->name != NULL)
		json_object_set_new(body, "name", json_string(changes->name));
	if (changes->payload != NULL)
		json_object_set_new(limits, "payload", json_string(changes->payload));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].value != NULL)
			json_object_set_new(limits, numbers[i].name,
					    json_integer(strtoll(numbers[i].value, NULL, 10)));
	if (json_object_size(limits) > 0)
		json_object_set(body, "limits", limits);
	json_decref(limits);
	return body;
}

int command_app_create(struct ctl *ctl, int argc, char **argv)
{
	struct app_changes changes = { 0 };
	const struct ctl_option options[] = { APP_OPTIONS(changes), { 0 } };
	const char *words[2] = { NULL };
	json_t *body, *answer;
	char *end;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1))
		return EXIT_USAGE;
	if (words[0] == NULL || changes.name == NULL)
		return usage_error("app create needs an app id and --name");
	body = changes_json(&changes);
	json_object_set_new(body, "id", json_integer(strtoll(words[0], &end, 10)));
	if (*end != '\0') {
		json_decref(body);
		return usage_error("an app id is a number, not '%s'", words[0]);
	}
	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps");
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

/* One app named by the first word; PATCH when there is a body, else `method`. */
static int app_request(struct ctl *ctl, const char *method, const char *word, json_t *body)
{
	char id[64];
	json_t *answer;
	int result;

	if (word == NULL || !ctl_escape(word, id, sizeof(id))) {
		json_decref(body);
		return usage_error("the command needs an app id");
	}
	result = ctl_request(ctl, method, body, &answer, "/v1/apps/%s", id);
	if (result == EXIT_OK && answer != NULL)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

static int app_simple(struct ctl *ctl, int argc, char **argv, const char *method, json_t *body)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	return app_request(ctl, method, words[0], body);
}

int command_app_show(struct ctl *ctl, int argc, char **argv)
{
	return app_simple(ctl, argc, argv, "GET", NULL);
}

int command_app_enable(struct ctl *ctl, int argc, char **argv)
{
	return app_simple(ctl, argc, argv, "PATCH", json_pack("{s:b}", "enabled", 1));
}

int command_app_disable(struct ctl *ctl, int argc, char **argv)
{
	return app_simple(ctl, argc, argv, "PATCH", json_pack("{s:b}", "enabled", 0));
}

int command_app_delete(struct ctl *ctl, int argc, char **argv)
{
	if (!ctl->yes)
		return usage_error("app delete ends the service of all its clients: say --yes");
	return app_simple(ctl, argc, argv, "DELETE", NULL);
}

int command_app_set(struct ctl *ctl, int argc, char **argv)
{
	struct app_changes changes = { 0 };
	const struct ctl_option options[] = { APP_OPTIONS(changes), { 0 } };
	const char *words[2] = { NULL };

	if (!ctl_parse(argc, argv, options, words, 1))
		return EXIT_USAGE;
	return app_request(ctl, "PATCH", words[0], changes_json(&changes));
}

int command_key_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
		{ "KEY", "id" }, { "ROLE", "role" }, { "EXPIRES", "expires_at" }, { 0 }
	};
	const struct ctl_option options[] = { { 0 } };
	const char *words[1] = { NULL }, *app;
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/keys", app);
	if (result == EXIT_OK)
		show_list(ctl, answer, "keys", columns);
	json_decref(answer);
	return result;
}

int command_key_create(struct ctl *ctl, int argc, char **argv)
{
	const char *role = "sender", *expires = NULL, *requests = NULL, *network = NULL;
	const struct ctl_option options[] = {
		{ "role", "viewer|sender|admin", "", &role },
		{ "expires-at", "TIME", "", &expires },
		{ "requests-per-second", "N", "", &requests },
		{ "from", "NETWORK", "", &network },
		{ 0 },
	};
	const char *words[1] = { NULL }, *app;
	json_t *body, *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	body = json_pack("{s:s}", "role", role);
	if (expires != NULL)
		json_object_set_new(body, "expires_at", json_string(expires));
	if (requests != NULL)
		json_object_set_new(body, "requests_per_second",
				    json_integer(strtoll(requests, NULL, 10)));
	if (network != NULL)
		json_object_set_new(body, "allowed_cidrs", json_pack("[s]", network));
	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps/%s/keys", app);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

/* DELETE /v1/apps/{app}/<kind>/<first word> */
static int revoke(struct ctl *ctl, int argc, char **argv, const char *kind)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL }, *app;
	char id[128];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)))
		return usage_error("the command needs a key id");
	result = ctl_request(ctl, "DELETE", NULL, &answer, "/v1/apps/%s/%s/%s", app, kind, id);
	if (result == EXIT_OK && answer != NULL)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

int command_key_revoke(struct ctl *ctl, int argc, char **argv)
{
	return revoke(ctl, argc, argv, "keys");
}

int command_token_key_create(struct ctl *ctl, int argc, char **argv)
{
	const char *id = NULL;
	const struct ctl_option options[] = { { "id", "ID", "", &id }, { 0 } };
	const char *words[1] = { NULL }, *app;
	json_t *body, *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	body = json_object();
	if (id != NULL)
		json_object_set_new(body, "id", json_string(id));
	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps/%s/token_keys", app);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}

int command_token_key_revoke(struct ctl *ctl, int argc, char **argv)
{
	return revoke(ctl, argc, argv, "token_keys");
}
