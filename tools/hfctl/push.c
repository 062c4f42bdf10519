/* push send, push status. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_text.h"
#include "hfctl.h"

#define DATA_MAX    (1u << 20)
#define WAIT_MAX_MS 30000

/* "a,b,c" as a JSON array. */
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

/* JSON text, or @FILE that holds it, or @- for standard input; anything that is not JSON is a
 * string. */
static json_t *data_of(const char *text)
{
	static char buffer[DATA_MAX];
	json_error_t error;
	json_t *data;
	size_t len = strlen(text);

	if (text[0] == '@') {
		FILE *file = strcmp(text, "@-") == 0 ? stdin : fopen(text + 1, "rb");

		bool failed;

		if (file == NULL) {
			usage_error("%s: %s", text + 1, strerror(errno));
			return NULL;
		}
		len = fread(buffer, 1, sizeof(buffer), file);
		failed = ferror(file) != 0;
		if (file != stdin)
			fclose(file);
		if (failed || len == sizeof(buffer)) {
			usage_error("%s: %s", text + 1, failed ? "can't be read" : "too long");
			return NULL;
		}
		text = buffer;
	}
	data = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (data == NULL)
		data = json_stringn(text, len);
	if (data == NULL)
		usage_error("the data is neither JSON nor UTF-8 text");
	return data;
}

/* Digits as a number, anything else ("15m") as a string. */
static json_t *number_or_text(const char *text)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	return *text != '\0' && *end == '\0' ? json_integer(value) : json_string(text);
}

/* Was what we waited for reached? */
static int outcome_of(const json_t *answer, const char *wait)
{
	const char *state = json_string_value(json_object_get(answer, "state"));

	if (json_array_size(json_object_get(answer, "failed")) > 0)
		return EXIT_PARTIAL;
	if (wait == NULL || strcmp(wait, "none") == 0 || state == NULL || strcmp(state, wait) == 0)
		return EXIT_OK;
	fflush(stdout);
	fprintf(stderr, "hfctl: not %s by all in the time given; the message goes on\n", wait);
	return EXIT_TIMEOUT;
}

int command_push_send(struct ctl *ctl, int argc, char **argv)
{
	const char *to = NULL, *data = NULL, *ttl = NULL, *qos = NULL, *label = NULL, *wait = NULL,
		   *wait_timeout = NULL, *dry = NULL, *durable = NULL;
	const struct ctl_option options[] = {
		{ "to", "ID,..", "", &to },
		{ "data", "JSON|@FILE", "", &data },
		{ "ttl", "TTL", "", &ttl },
		{ "qos", "0|1", "", &qos },
		{ "durable", NULL, "", &durable },
		{ "label", "LABEL", "", &label },
		{ "wait", "none|routed|acked", "", &wait },
		{ "wait-timeout", "TIME", "", &wait_timeout },
		{ "dry-run", NULL, "", &dry },
		{ 0 },
	};
	const char *words[1] = { NULL };
	json_t *message, *body, *chosen, *payload, *answer;
	uint64_t wait_ms = 0;
	const char *app;
	int result;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (to == NULL || data == NULL)
		return usage_error("push send needs --to and --data");
	if (wait_timeout != NULL &&
	    (hf_text_parse_duration(wait_timeout, 1000, &wait_ms) < 0 || wait_ms > WAIT_MAX_MS))
		return usage_error("--wait-timeout must be a time up to 30s");
	ctl->timeout_ms += (long)wait_ms; /* the answer may take that much longer */
	payload = data_of(data);
	if (payload == NULL)
		return EXIT_USAGE;

	message = json_pack("{s:o}", "data", payload);
	if (ttl != NULL)
		json_object_set_new(message, "ttl", number_or_text(ttl));
	if (qos != NULL)
		json_object_set_new(message, "qos", number_or_text(qos));
	if (label != NULL)
		json_object_set_new(message, "label", json_string(label));
	if (durable != NULL)
		json_object_set_new(message, "durable", json_true());
	chosen = json_object();
	if (wait != NULL)
		json_object_set_new(chosen, "wait", json_string(wait));
	if (wait_timeout != NULL)
		json_object_set_new(chosen, "wait_timeout", number_or_text(wait_timeout));
	if (dry != NULL)
		json_object_set_new(chosen, "validate_only", json_true());
	body = json_pack("{s:{s:o}, s:o, s:o}", "audience", "registration_id", list_of(to),
			 "message", message, "options", chosen);

	result = ctl_request(ctl, "POST", body, &answer, "/v1/apps/%s/messages", app);
	if (result == EXIT_OK) {
		show_object(ctl, answer);
		result = outcome_of(answer, dry != NULL ? NULL : wait);
	}
	json_decref(answer);
	return result;
}

int command_push_status(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option options[] = { { 0 } };
	const char *words[2] = { NULL };
	char id[128];
	json_t *answer;
	const char *app;
	int result;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words[0] == NULL || !ctl_escape(words[0], id, sizeof(id)))
		return usage_error("push status needs a message id");
	result = ctl_request(ctl, "GET", NULL, &answer, "/v1/apps/%s/messages/%s", app, id);
	if (result == EXIT_OK)
		show_object(ctl, answer);
	json_decref(answer);
	return result;
}
