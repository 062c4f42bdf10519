#include "hf_event.h"

#include <errno.h>
#include <stdio.h>

#include "event.pb-c.h"
#include "hf_hash.h"
#include "hf_id.h"
#include "hf_text.h"

static const char *const names[HF_EVENT_TYPES] = {
	[HF__EVENT_TYPE__CONNECTION_OPENED] = "connection.opened",
	[HF__EVENT_TYPE__CONNECTION_CLOSED] = "connection.closed",
	[HF__EVENT_TYPE__USER_ONLINE] = "user.online",
	[HF__EVENT_TYPE__USER_OFFLINE] = "user.offline",
	[HF__EVENT_TYPE__REGISTRATION_CREATED] = "registration.created",
	[HF__EVENT_TYPE__REGISTRATION_UPDATED] = "registration.updated",
	[HF__EVENT_TYPE__REGISTRATION_DELETED] = "registration.deleted",
	[HF__EVENT_TYPE__MESSAGE_WRITTEN] = "message.written",
	[HF__EVENT_TYPE__MESSAGE_ACKED] = "message.acked",
	[HF__EVENT_TYPE__MESSAGE_EXPIRED] = "message.expired",
	[HF__EVENT_TYPE__MESSAGE_DROPPED] = "message.dropped",
	[HF__EVENT_TYPE__MESSAGE_RECALLED] = "message.recalled",
	[HF__EVENT_TYPE__MESSAGE_COMPLETED] = "message.completed",
	[HF__EVENT_TYPE__WEBHOOK_TEST] = "webhook.test",
};

const char *hf_event_name(unsigned type)
{
	return type < HF_EVENT_TYPES ? names[type] : NULL;
}

uint32_t hf_event_mask(const char *pattern)
{
	size_t len = strlen(pattern);
	bool prefix = len > 0 && pattern[len - 1] == '*';
	uint32_t mask = 0;

	if (prefix && len > 1 && pattern[len - 2] != '.')
		return 0; /* whole words only: "message.a*" would grow with us */
	for (unsigned type = 1; type < HF_EVENT_TYPES; type++) {
		if (prefix ? strncmp(names[type], pattern, len - 1) == 0 &&
				     type != HF__EVENT_TYPE__WEBHOOK_TEST
			   : strcmp(names[type], pattern) == 0)
			mask |= 1u << type;
	}
	return mask;
}

bool hf_event_is_status(unsigned type)
{
	return type >= HF__EVENT_TYPE__CONNECTION_OPENED && type <= HF__EVENT_TYPE__USER_OFFLINE;
}

uint64_t hf_event_message_id(uint64_t salt, unsigned type, uint64_t message_id, uint32_t app,
			     const void *registration, size_t len)
{
	uint64_t parts[3] = { message_id, hf_hash_shared(salt, registration, len),
			      (uint64_t)app << 8 | type };
	uint64_t id = hf_hash_shared(salt, parts, sizeof(parts));

	return id != 0 ? id : 1;
}

void hf_json_put(struct hf_json_writer *w, const void *data, size_t len)
{
	if (w->failed || len > (size_t)(w->end - w->pos)) {
		w->failed = true;
		return;
	}
	if (len > 0)
		memcpy(w->pos, data, len);
	w->pos += len;
}

void hf_json_put_text(struct hf_json_writer *w, const char *text)
{
	hf_json_put(w, text, strlen(text));
}

void hf_json_put_string(struct hf_json_writer *w, struct hf_bytes text)
{
	hf_json_put_text(w, "\"");
	for (size_t i = 0; i < text.len;) {
		size_t len = hf_text_char_len(text.data + i, text.len - i);
		uint8_t c = text.data[i];
		char escaped[8];

		if (len == 0) {
			hf_json_put_text(w, "\\ufffd");
			len = 1;
		} else if (c == '"' || c == '\\') {
			escaped[0] = '\\';
			escaped[1] = (char)c;
			hf_json_put(w, escaped, 2);
		} else if (c < ' ') {
			snprintf(escaped, sizeof(escaped), "\\u%04x", c);
			hf_json_put(w, escaped, 6);
		} else {
			hf_json_put(w, text.data + i, len);
		}
		i += len;
	}
	hf_json_put_text(w, "\"");
}

void hf_json_put_uint(struct hf_json_writer *w, uint64_t value)
{
	char digits[24];

	hf_json_put(w, digits,
		    (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value));
}

static void put_field(struct hf_json_writer *w, const char *name, struct hf_bytes value)
{
	hf_json_put_text(w, ",\"");
	hf_json_put_text(w, name);
	hf_json_put_text(w, "\":");
	hf_json_put_string(w, value);
}

ssize_t hf_event_message_data(const struct hf_event_message *message, char ret[HF_EVENT_DATA_MAX])
{
	struct hf_json_writer w = { ret, ret + HF_EVENT_DATA_MAX - 1, false }, whole;
	char id[HF_ID_TEXT_SIZE];

	hf_id_format(message->message_id, id);
	hf_json_put_text(&w, "{\"message_id\":\"");
	hf_json_put_text(&w, id);
	hf_json_put_text(&w, "\"");
	if (message->registration.len > 0)
		put_field(&w, "registration_id", message->registration);
	if (message->label.len > 0)
		put_field(&w, "label", message->label);
	if (message->reason != NULL)
		put_field(&w, "reason", hf_bytes_of_string(message->reason));
	if (w.failed)
		return -EMSGSIZE;
	whole = w;
	if (message->params.len > 0) {
		hf_json_put_text(&whole, ",\"params\":");
		hf_json_put(&whole, message->params.data, message->params.len);
	}
	if (!whole.failed)
		w = whole;
	*w.pos++ = '}'; /* its place was kept back */
	return w.pos - ret;
}
