#include "body.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_buffer.h"
#include "hf_event.h"
#include "hf_id.h"
#include "hf_text.h"

#define DEPTH_MAX 64

bool body_is_json(struct hf_bytes text)
{
	json_t *value;

	if (hf_text_json_is_deep(text.data, text.len, DEPTH_MAX))
		return false;
	value = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL);

	json_decref(value);
	return value != NULL;
}

static bool put(struct hf_buffer *out, const void *data, size_t len)
{
	uint8_t *room = hf_buffer_reserve(out, len);

	if (room == NULL)
		return false;
	memcpy(room, data, len);
	hf_buffer_commit(out, len);
	return true;
}

static bool put_text(struct hf_buffer *out, const char *text)
{
	return put(out, text, strlen(text));
}

static bool put_payload(struct hf_buffer *out, struct hf_bytes payload)
{
	uint8_t *room;

	if (payload.len > 0 && body_is_json(payload))
		return put_text(out, ",\"payload\":") && put(out, payload.data, payload.len);
	if (!put_text(out, ",\"payload_b64\":\""))
		return false;
	room = hf_buffer_reserve(out, 4 * (payload.len + 2) / 3 + 2);
	if (room == NULL)
		return false;
	hf_buffer_commit(out, hf_base64_encode(payload.data, payload.len, false, (char *)room));
	return put_text(out, "\"");
}

static json_t *text_or_null(struct hf_bytes text)
{
	json_t *string = text.len > 0 ? json_stringn((const char *)text.data, text.len) : NULL;

	return string != NULL ? string : json_null();
}

/* The part without the payload, up to where it goes: an object without its last brace. */
static bool put_object_open(struct hf_buffer *out, json_t *object)
{
	char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
	bool ok = text != NULL && put(out, text, strlen(text) - 1);

	free(text);
	json_decref(object);
	return ok;
}

/* The text of `out`, which is emptied; NULL: it failed on the way. */
static char *take_text(struct hf_buffer *out, bool ok, size_t *ret_len)
{
	char *text = NULL;

	if (ok && put(out, "", 1)) {
		text = malloc(hf_buffer_len(out));
		if (text != NULL) {
			*ret_len = hf_buffer_len(out) - 1;
			memcpy(text, hf_buffer_data(out), *ret_len + 1);
		}
	}
	hf_buffer_deinit(out);
	return text;
}

/* The event without its data: escaping makes at most six bytes of one. */
static bool put_event(struct hf_buffer *out, const Hf__Event *event)
{
	char head[256 + 6 * HF_USER_ID_MAX], id[HF_ID_TEXT_SIZE];
	struct hf_json_writer w = { head, head + sizeof(head), false };

	hf_json_put_text(&w, "{\"id\":\"evt_");
	hf_id_format(event->id, id);
	hf_json_put_text(&w, id);
	hf_json_put_text(&w, "\",\"type\":\"");
	hf_json_put_text(&w, hf_event_name(event->type));
	hf_json_put_text(&w, "\",\"at_ms\":");
	hf_json_put_uint(&w, event->at_ms);
	hf_json_put_text(&w, ",\"key\":");
	hf_json_put_string(&w, hf_bytes_of(event->key.data, event->key.len));
	hf_json_put_text(&w, ",\"seq\":");
	hf_json_put_uint(&w, event->sequence);
	if (event->epoch != 0) {
		hf_id_format(event->epoch, id);
		hf_json_put_text(&w, ",\"epoch\":\"");
		hf_json_put_text(&w, id);
		hf_json_put_text(&w, "\"");
	}
	hf_json_put_text(&w, ",\"data\":");
	if (w.failed)
		return false;
	return put(out, head, (size_t)(w.pos - head)) &&
	       put(out, event->data.data, event->data.len) && put_text(out, "}");
}

static bool put_envelope(struct hf_buffer *out, uint32_t app, uint64_t sent_at_ms)
{
	return hf_buffer_printf(out, "{\"app_id\":%u,\"sent_at_ms\":%llu,\"events\":[", app,
				(unsigned long long)sent_at_ms) == 0;
}

char *body_of_events(uint32_t app, uint64_t sent_at_ms, Hf__Event *const *events, size_t count,
		     size_t *ret_len)
{
	struct hf_buffer out = { 0 };
	bool ok = put_envelope(&out, app, sent_at_ms), first = true;

	for (size_t i = 0; ok && i < count; i++) {
		if (hf_event_name(events[i]->type) == NULL)
			continue;
		ok = (first || put_text(&out, ",")) && put_event(&out, events[i]);
		first = false;
	}
	return take_text(&out, ok && put_text(&out, "]}"), ret_len);
}

char *body_of_test(uint32_t app, uint64_t at_ms, uint64_t id, const char *webhook,
		   const char *challenge, size_t *ret_len)
{
	struct hf_buffer out = { 0 };
	char data[256];
	int len = snprintf(data, sizeof(data), "{\"challenge\":\"%s\"}", challenge);
	Hf__Event event = HF__EVENT__INIT;
	bool ok = put_envelope(&out, app, at_ms);

	event.type = HF__EVENT_TYPE__WEBHOOK_TEST;
	event.id = id;
	event.at_ms = at_ms;
	event.sequence = at_ms * 1000;
	event.key.data = (uint8_t *)(uintptr_t)webhook;
	event.key.len = strlen(webhook);
	event.data.data = (uint8_t *)data;
	event.data.len = (size_t)HF_MIN(len, (int)sizeof(data) - 1);
	return take_text(&out, ok && put_event(&out, &event) && put_text(&out, "]}"), ret_len);
}

char *body_of_upstream(const struct upstream_event *event, size_t *ret_len)
{
	char id[HF_ID_TEXT_SIZE], evt[HF_ID_TEXT_SIZE + 4] = "evt_";
	struct hf_buffer out = { 0 };
	bool ok;

	hf_id_format(event->id, id);
	memcpy(evt + 4, id, sizeof(id));
	ok = put_object_open(&out, json_pack("{s:I, s:I}", "app_id", (json_int_t)event->app,
					     "sent_at_ms", (json_int_t)event->at_ms));
	ok = ok && put_text(&out, ",\"events\":[");
	ok = ok &&
	     put_object_open(&out, json_pack("{s:s, s:s, s:I, s:o}", "id", evt, "type",
					     "upstream.request", "at_ms", (json_int_t)event->at_ms,
					     "key", text_or_null(event->registration)));
	ok = ok && put_text(&out, ",\"data\":");
	ok = ok && put_object_open(&out, json_pack("{s:o, s:o, s:o, s:I}", "registration_id",
						   text_or_null(event->registration), "user_id",
						   text_or_null(event->user_id), "forward_type",
						   text_or_null(event->forward_type), "sequence",
						   (json_int_t)event->sequence));
	ok = ok && put_payload(&out, event->payload) && put_text(&out, "}}]}");
	return take_text(&out, ok, ret_len);
}
