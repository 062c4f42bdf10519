#include "body.h"

#include <jansson.h>
#include <stdlib.h>

#include "hf_buffer.h"
#include "hf_id.h"
#include "hf_text.h"

bool body_is_json(struct hf_bytes text)
{
	json_t *value = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL);

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

char *body_of_upstream(const struct upstream_event *event, size_t *ret_len)
{
	char id[HF_ID_TEXT_SIZE], evt[HF_ID_TEXT_SIZE + 4] = "evt_";
	struct hf_buffer out = { 0 };
	char *text = NULL;
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
	if (ok) {
		*ret_len = hf_buffer_len(&out);
		text = malloc(*ret_len + 1);
		if (text != NULL) {
			memcpy(text, hf_buffer_data(&out), *ret_len);
			text[*ret_len] = '\0';
		}
	}
	hf_buffer_deinit(&out);
	return text;
}
