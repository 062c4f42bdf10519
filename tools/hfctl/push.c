/* push send. */
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

struct words {
	const char *to, *user, *tag, *tag_and, *tag_not, *all, *platform, *percentage, *exclude;
	const char *data, *ttl, *qos, *durable, *label, *priority, *collapse;
	const char *wait, *wait_timeout, *dry, *at, *pace, *replaces, *receipts;
};

static void set_list(json_t *object, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(object, name, list_of(text));
}

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(object, name, json_string(text));
}

static void set_number(json_t *object, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(object, name, number_or_text(text));
}

static json_t *audience_of(const struct words *words)
{
	json_t *audience;

	if (words->all != NULL)
		return json_string("all");
	audience = json_object();
	set_list(audience, "registration_id", words->to);
	set_list(audience, "user_id", words->user);
	set_list(audience, "tag", words->tag);
	set_list(audience, "tag_and", words->tag_and);
	set_list(audience, "tag_not", words->tag_not);
	set_number(audience, "percentage", words->percentage);
	return audience;
}

json_t *pace_of(const char *text)
{
	size_t len = strlen(text);
	char rate[24];

	if (strcmp(text, "none") == 0)
		return json_null();
	if (len > 2 && len < sizeof(rate) && strcmp(text + len - 2, "/s") == 0) {
		memcpy(rate, text, len - 2);
		rate[len - 2] = '\0';
		return json_pack("{s:o}", "rate_per_second", number_or_text(rate));
	}
	return json_pack("{s:o}", "duration", number_or_text(text));
}

/* "acked,expired" is message.acked and message.expired, also when it is spelled out. */
static json_t *receipts_of(const char *text)
{
	static const char prefix[] = "message.";
	json_t *names = list_of(text), *events = json_array(), *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		const char *word = json_string_value(name);

		json_array_append_new(events,
				      json_sprintf("%s%s",
						   strncmp(word, prefix, sizeof(prefix) - 1) == 0
							   ? ""
							   : prefix,
						   word));
	}
	json_decref(names);
	return json_pack("{s:o}", "events", events);
}

static json_t *body_of(const struct words *words, json_t *payload)
{
	json_t *message = json_pack("{s:o}", "data", payload), *options = json_object(), *body;

	set_number(message, "ttl", words->ttl);
	set_number(message, "qos", words->qos);
	set_text(message, "label", words->label);
	set_text(message, "priority", words->priority);
	set_text(message, "collapse_key", words->collapse);
	if (words->durable != NULL)
		json_object_set_new(message, "durable", json_true());
	set_text(options, "wait", words->wait);
	set_number(options, "wait_timeout", words->wait_timeout);
	set_number(options, "send_at", words->at);
	set_text(options, "replaces", words->replaces);
	set_list(options, "exclude_registration_id", words->exclude);
	if (words->pace != NULL)
		json_object_set_new(options, "pace", pace_of(words->pace));
	if (words->receipts != NULL)
		json_object_set_new(options, "receipts", receipts_of(words->receipts));
	if (words->dry != NULL)
		json_object_set_new(options, "validate_only", json_true());
	body = json_pack("{s:o, s:o, s:o}", "audience", audience_of(words), "message", message,
			 "options", options);
	set_list(body, "platform", words->platform);
	return body;
}

static bool names_somebody(const struct words *words)
{
	return words->to != NULL || words->user != NULL || words->tag != NULL ||
	       words->tag_and != NULL || words->tag_not != NULL || words->platform != NULL ||
	       words->percentage != NULL;
}

int command_push_send(struct ctl *ctl, int argc, char **argv)
{
	struct words words = { 0 };
	const struct ctl_option options[] = {
		{ "to", "ID,..", "", &words.to },
		{ "user", "ID,..", "", &words.user },
		{ "tag", "TAG,..", "", &words.tag },
		{ "tag-and", "TAG,..", "", &words.tag_and },
		{ "tag-not", "TAG,..", "", &words.tag_not },
		{ "all", NULL, "", &words.all },
		{ "platform", "NAME,..", "", &words.platform },
		{ "percentage", "N", "", &words.percentage },
		{ "exclude", "ID,..", "", &words.exclude },
		{ "data", "JSON|@FILE", "", &words.data },
		{ "ttl", "TTL", "", &words.ttl },
		{ "qos", "0|1", "", &words.qos },
		{ "durable", NULL, "", &words.durable },
		{ "label", "LABEL", "", &words.label },
		{ "priority", "normal|high", "", &words.priority },
		{ "collapse", "KEY", "", &words.collapse },
		{ "wait", "none|routed|acked", "", &words.wait },
		{ "wait-timeout", "TIME", "", &words.wait_timeout },
		{ "at", "TIME", "", &words.at },
		{ "pace", "TIME|N/s", "", &words.pace },
		{ "replaces", "MESSAGE", "", &words.replaces },
		{ "receipts", "EVENT,..", "", &words.receipts },
		{ "dry-run", NULL, "", &words.dry },
		{ 0 },
	};
	const char *none[1] = { NULL };
	json_t *payload, *answer;
	uint64_t wait_ms = 0;
	const char *app;
	int result;

	if (!ctl_parse(argc, argv, options, none, 0) || (app = ctl_app(ctl)) == NULL)
		return EXIT_USAGE;
	if (words.data == NULL || (words.all == NULL && !names_somebody(&words)))
		return usage_error(
			"push send needs --data, and who it is for: --to, --user, --tag, "
			"--all, ...");
	if (words.all != NULL &&
	    (words.to != NULL || words.user != NULL || words.tag != NULL || words.tag_and != NULL ||
	     words.tag_not != NULL || words.percentage != NULL))
		return usage_error("--all goes with --platform and --exclude only");
	if (words.wait_timeout != NULL &&
	    (hf_text_parse_duration(words.wait_timeout, 1000, &wait_ms) < 0 ||
	     wait_ms > WAIT_MAX_MS))
		return usage_error("--wait-timeout must be a time up to 30s");
	ctl->timeout_ms += (long)wait_ms; /* the answer may take that much longer */
	payload = data_of(words.data);
	if (payload == NULL)
		return EXIT_USAGE;
	result = ctl_request(ctl, "POST", body_of(&words, payload), &answer, "/v1/apps/%s/messages",
			     app);
	if (result == EXIT_OK) {
		show_object(ctl, answer);
		result = outcome_of(answer, words.dry != NULL ? NULL : words.wait);
	}
	json_decref(answer);
	return result;
}
