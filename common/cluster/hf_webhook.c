#include "hf_webhook.h"

#include <errno.h>
#include <stdio.h>

#include "hf_event.h"
#include "hf_text.h"

#define AT(field) offsetof(struct hf_webhook_document, field)
const struct hf_option hf_webhook_options[] = {
	{ "id", HF_OPT_STRING, AT(id), NULL, 1, HF_WEBHOOK_ID_MAX, "name of the callback" },
	{ "url", HF_OPT_STRING, AT(url), NULL, 8, HF_WEBHOOK_URL_MAX, "where it is called" },
	{ "enabled", HF_OPT_BOOL, AT(enabled), "true", 0, 0, "false: as if it were not there" },
	{ "forward_types", HF_OPT_STRINGS, AT(forward_types), "", 0, HF_WEBHOOK_TYPES_MAX,
	  "types of upstream messages that go there; \"*\": all others" },
	{ "secrets", HF_OPT_STRINGS, AT(secrets), NULL, 1, HF_WEBHOOK_SECRETS_MAX,
	  "whsec_ and base64 of 24 to 64 bytes; two, so that they can be rotated" },
	{ "allow_cidrs", HF_OPT_STRINGS, AT(allow_cidrs), "", 0, HF_WEBHOOK_NETWORKS_MAX,
	  "private networks that the URL may lead to" },
	{ "timeout", HF_OPT_MSEC, AT(timeout_ms), HF_WEBHOOK_TIMEOUT_DEFAULT, 100,
	  HF_WEBHOOK_TIMEOUT_MAX_MS, "longest wait for an answer" },
	{ "max_in_flight", HF_OPT_UINT, AT(max_in_flight), HF_WEBHOOK_IN_FLIGHT_DEFAULT, 1,
	  HF_WEBHOOK_IN_FLIGHT_MAX, "requests at once, per coordinator" },
	{ "max_per_second", HF_OPT_UINT, AT(max_per_second), HF_WEBHOOK_RATE_DEFAULT, 1,
	  HF_WEBHOOK_PER_SECOND_MAX, "requests a second, per coordinator" },
	{ "events", HF_OPT_STRINGS, AT(events), "", 0, HF_WEBHOOK_PATTERNS_MAX,
	  "events that go there: names, \"message.*\" and the like, or \"*\"" },
	{ "batch.max_events", HF_OPT_UINT, AT(batch_events), HF_WEBHOOK_BATCH_DEFAULT, 1,
	  HF_WEBHOOK_BATCH_MAX, "most events of one request" },
	{ "batch.max_wait", HF_OPT_MSEC, AT(batch_wait_ms), HF_WEBHOOK_WAIT_DEFAULT, 0,
	  HF_WEBHOOK_WAIT_MAX_MS, "longest wait for more events" },
	{ "disabled_reason", HF_OPT_STRING, AT(disabled_reason), "", 0, HF_WEBHOOK_REASON_MAX,
	  "why the cluster turned it off" },
	{ 0 },
};
#undef AT

bool hf_webhook_id_is_valid(const char *id)
{
	size_t len =
		strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return len >= 1 && len <= HF_WEBHOOK_ID_MAX && id[len] == '\0';
}

/* Of "host" or "host:port": is there no port, or one that can be? */
static bool has_good_port(const char *authority, size_t len)
{
	const char *end = authority + len, *bracket = memchr(authority, ']', len);
	const char *from = bracket != NULL ? bracket : authority;
	const char *colon = memchr(from, ':', (size_t)(end - from));
	uint64_t port;

	return colon == NULL ||
	       (hf_text_parse_uint(colon + 1, (size_t)(end - colon - 1), &port) == 0 && port >= 1 &&
		port <= UINT16_MAX);
}

bool hf_webhook_url_is_valid(const char *url)
{
	size_t len = strlen(url), start, authority;

	if (strncmp(url, "https://", 8) == 0)
		start = 8;
	else if (strncmp(url, "http://", 7) == 0)
		start = 7;
	else
		return false;
	if (len > HF_WEBHOOK_URL_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (url[i] <= ' ' || url[i] > '~' || strchr("#\\\"<>^`{|}", url[i]) != NULL)
			return false;
	}
	authority = strcspn(url + start, "/?");
	return authority > 0 && url[start] != ':' && memchr(url + start, '@', authority) == NULL &&
	       has_good_port(url + start, authority);
}

int hf_webhook_secret_parse(const char *text, struct hf_webhook_secret *ret)
{
	size_t prefix = strlen(HF_WEBHOOK_SECRET_PREFIX), len = strlen(text);
	uint8_t key[HF_WEBHOOK_SECRET_TEXT];
	ssize_t n;

	if (len > HF_WEBHOOK_SECRET_TEXT || strncmp(text, HF_WEBHOOK_SECRET_PREFIX, prefix) != 0)
		return -EINVAL;
	n = hf_base64_decode(text + prefix, len - prefix, false, key);
	if (n < HF_WEBHOOK_SECRET_MIN || n > HF_WEBHOOK_SECRET_MAX)
		return -EINVAL;
	*ret = (struct hf_webhook_secret){ .len = (uint8_t)n };
	memcpy(ret->key, key, (size_t)n);
	return 0;
}

void hf_webhook_secret_format(const struct hf_webhook_secret *secret,
			      char ret[HF_WEBHOOK_SECRET_TEXT + 4])
{
	size_t prefix = strlen(HF_WEBHOOK_SECRET_PREFIX);

	memcpy(ret, HF_WEBHOOK_SECRET_PREFIX, prefix);
	hf_base64_encode(secret->key, secret->len, false, ret + prefix);
}

static int fail(char error[HF_CONFIG_ERROR_SIZE], size_t index, const char *what)
{
	snprintf(error, HF_CONFIG_ERROR_SIZE, "webhooks[%zu].%s", index, what);
	return -EINVAL;
}

static int read_lists(const struct hf_webhook_document *from, size_t index, struct hf_webhook *ret,
		      char error[HF_CONFIG_ERROR_SIZE])
{
	for (size_t i = 0; i < from->forward_types.count; i++) {
		const char *type = from->forward_types.values[i];

		if (!hf_text_is_id(type, strlen(type), HF_WEBHOOK_TYPE_MAX))
			return fail(error, index, "forward_types: 1 to 32 bytes each");
		memcpy(ret->types[i], type, strlen(type) + 1);
	}
	ret->type_count = (uint8_t)from->forward_types.count;
	for (size_t i = 0; i < from->secrets.count; i++)
		if (hf_webhook_secret_parse(from->secrets.values[i], &ret->secrets[i]) < 0)
			return fail(error, index,
				    "secrets: whsec_ and base64 of 24 to 64 bytes each");
	ret->secret_count = (uint8_t)from->secrets.count;
	for (size_t i = 0; i < from->allow_cidrs.count; i++)
		if (hf_cidr_parse(from->allow_cidrs.values[i], &ret->networks[i]) < 0)
			return fail(error, index, "allow_cidrs: networks such as 10.0.0.0/8");
	ret->network_count = (uint8_t)from->allow_cidrs.count;
	for (size_t i = 0; i < from->events.count; i++) {
		const char *pattern = from->events.values[i];
		uint32_t mask = hf_event_mask(pattern);

		if (mask == 0 || strlen(pattern) > HF_WEBHOOK_PATTERN_MAX)
			return fail(error, index, "events: names of events, or like message.*");
		memcpy(ret->patterns[i], pattern, strlen(pattern) + 1);
		ret->event_mask |= mask;
	}
	ret->pattern_count = (uint8_t)from->events.count;
	return 0;
}

int hf_webhooks_read(const struct hf_list *list, struct hf_webhook ret[HF_WEBHOOKS_MAX],
		     size_t *ret_count, char error[HF_CONFIG_ERROR_SIZE])
{
	const struct hf_webhook_document *items = list->items;

	for (size_t i = 0; i < list->count; i++) {
		const struct hf_webhook_document *from = &items[i];

		memset(&ret[i], 0, sizeof(ret[i]));
		if (!hf_webhook_id_is_valid(from->id))
			return fail(error, i, "id: 1 to 32 of A-Z a-z 0-9 _ . -");
		for (size_t j = 0; j < i; j++)
			if (strcmp(from->id, ret[j].id) == 0)
				return fail(error, i, "id: used twice");
		if (!hf_webhook_url_is_valid(from->url))
			return fail(error, i, "url: not an http or https URL");
		memcpy(ret[i].id, from->id, strlen(from->id) + 1);
		memcpy(ret[i].url, from->url, strlen(from->url) + 1);
		ret[i].enabled = from->enabled;
		ret[i].timeout_ms = (uint32_t)from->timeout_ms;
		ret[i].max_in_flight = (uint32_t)from->max_in_flight;
		ret[i].max_per_second = (uint32_t)from->max_per_second;
		ret[i].batch_events = (uint32_t)from->batch_events;
		ret[i].batch_wait_ms = (uint32_t)from->batch_wait_ms;
		memcpy(ret[i].disabled_reason, from->disabled_reason,
		       strlen(from->disabled_reason) + 1);
		if (read_lists(from, i, &ret[i], error) < 0)
			return -EINVAL;
	}
	*ret_count = list->count;
	return 0;
}

static json_t *encode(const struct hf_webhook *webhook)
{
	json_t *types = json_array(), *secrets = json_array(), *networks = json_array();
	json_t *events = json_array();
	char timeout[24], wait[24];

	snprintf(wait, sizeof(wait), "%ums", webhook->batch_wait_ms);
	snprintf(timeout, sizeof(timeout), "%ums", webhook->timeout_ms);
	for (size_t i = 0; i < webhook->type_count; i++)
		json_array_append_new(types, json_string(webhook->types[i]));
	for (size_t i = 0; i < webhook->secret_count; i++) {
		char text[HF_WEBHOOK_SECRET_TEXT + 4];

		hf_webhook_secret_format(&webhook->secrets[i], text);
		json_array_append_new(secrets, json_string(text));
	}
	for (size_t i = 0; i < webhook->network_count; i++) {
		char text[HF_CIDR_TEXT_MAX + 1];

		hf_cidr_format(&webhook->networks[i], text);
		json_array_append_new(networks, json_string(text));
	}
	for (size_t i = 0; i < webhook->pattern_count; i++)
		json_array_append_new(events, json_string(webhook->patterns[i]));
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:s, s:I, s:I, s:o, s:{s:I, s:s}, s:s}",
			 "id", webhook->id, "url", webhook->url, "enabled", (int)webhook->enabled,
			 "forward_types", types, "secrets", secrets, "allow_cidrs", networks,
			 "timeout", timeout, "max_in_flight", (json_int_t)webhook->max_in_flight,
			 "max_per_second", (json_int_t)webhook->max_per_second, "events", events,
			 "batch", "max_events", (json_int_t)webhook->batch_events, "max_wait", wait,
			 "disabled_reason", webhook->disabled_reason);
}

json_t *hf_webhooks_encode(const struct hf_webhook *webhooks, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < count; i++) {
		if (json_array_append_new(list, encode(&webhooks[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

uint32_t hf_webhooks_event_mask(const struct hf_webhook *webhooks, size_t count)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < count; i++)
		if (webhooks[i].enabled)
			mask |= webhooks[i].event_mask;
	return mask;
}

const struct hf_webhook *hf_webhook_for_type(const struct hf_webhook *webhooks, size_t count,
					     struct hf_bytes type)
{
	const struct hf_webhook *others = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!webhooks[i].enabled)
			continue;
		for (size_t j = 0; j < webhooks[i].type_count; j++) {
			if (hf_bytes_equal(type, hf_bytes_of_string(webhooks[i].types[j])))
				return &webhooks[i];
			if (others == NULL && strcmp(webhooks[i].types[j], "*") == 0)
				others = &webhooks[i];
		}
	}
	return others;
}
