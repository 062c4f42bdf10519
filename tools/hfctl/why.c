/* why: the story of a message or a registration, one line for each step. */
#include <stdio.h>
#include <string.h>

#include "hfctl.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

/* What clients named must not steer the terminal. */
static void show(const char *text)
{
	for (; *text != '\0'; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

/* "2026-01-31T12:00:01.204123Z" as "12:00:01.204", with the day before the first and where it
 * changes. */
static void show_time(const char *at, char day[11])
{
	if (strlen(at) < 23)
		return;
	if (strncmp(day, at, 10) != 0) {
		memcpy(day, at, 10);
		printf("%s\n", day);
	}
	printf("%.12s  ", at + 11);
}

static void tell(const json_t *answer, bool of_registration)
{
	const json_t *records = json_object_get(answer, "records"), *record, *name;
	char day[11] = "";
	size_t i;

	json_array_foreach(records, i, record)
	{
		const char *message = text_of(record, "message_id");

		show_time(text_of(record, "at"), day);
		show(text_of(record, "node"));
		putchar(' ');
		show(text_of(record, "text"));
		if (of_registration && message[0] != '\0')
			printf("  (%s)", message);
		putchar('\n');
	}
	if (json_array_size(records) == 0)
		puts("no process remembers it");
	if (json_is_true(json_object_get(answer, "more")))
		puts("there is more: --limit N");
	if (json_is_string(json_object_get(answer, "remembered_since")))
		printf("some process has forgotten what was before %s\n",
		       text_of(answer, "remembered_since"));
	json_array_foreach(json_object_get(answer, "silent"), i, name)
		printf("no answer from %s\n", json_string_value(name));
}

int command_why(struct ctl *ctl, int argc, char **argv)
{
	const char *words[2] = { NULL }, *app, *registration = NULL, *limit = "100";
	const struct ctl_option options[] = {
		{ "registration", "ID", "", &registration },
		{ "limit", "N", "", &limit },
		{ 0 },
	};
	char id[256] = "", name[256] = "", count[32];
	json_t *answer;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if ((words[0] == NULL && registration == NULL) ||
	    (words[0] != NULL && !ctl_escape(words[0], id, sizeof(id))) ||
	    (registration != NULL && !ctl_escape(registration, name, sizeof(name))) ||
	    !ctl_escape(limit, count, sizeof(count)))
		return usage_error("why needs a message id, or --registration ID");
	if (words[0] == NULL)
		result = ctl_request(ctl, "GET", NULL, &answer,
				     "/v1/apps/%s/registrations/%s/why?limit=%s", app, name, count);
	else
		result = ctl_request(ctl, "GET", NULL, &answer,
				     "/v1/apps/%s/messages/%s/why?limit=%s%s%s", app, id, count,
				     registration != NULL ? "&registration_id=" : "", name);
	if (result != EXIT_OK)
		return result;
	if (ctl->json)
		show_object(ctl, answer);
	else
		tell(answer, words[0] == NULL);
	if (json_array_size(json_object_get(answer, "silent")) > 0)
		result = EXIT_PARTIAL;
	else if (json_array_size(json_object_get(answer, "records")) == 0)
		result = EXIT_NOT_FOUND;
	json_decref(answer);
	return result;
}
