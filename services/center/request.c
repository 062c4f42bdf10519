/* services/center/request.c - see request.h. */
#include "request.h"

#include <errno.h>
#include <stdlib.h>

#include "event.pb-c.h"
#include "fields.h"
#include "hf_text.h"
#include "hf_wire.h"
#include "json.h"
#include "request_internal.h"

static const struct json_member audience_members[] = {
	JSON_MEMBER("registration_id", SLOT_REGISTRATION_ID),
	JSON_MEMBER("user_id", SLOT_USER_ID),
	JSON_MEMBER("tag", SLOT_TAG),
	JSON_MEMBER("tag_and", SLOT_TAG_AND),
	JSON_MEMBER("tag_not", SLOT_TAG_NOT),
	JSON_MEMBER("sdk_version", SLOT_SDK_VERSION, .tree = true),
	JSON_MEMBER("percentage", SLOT_PERCENTAGE, .tree = true),
	JSON_MEMBER("percentage_seed", SLOT_PERCENTAGE_SEED, .tree = true),
	{ 0 },
};
static const struct json_shape audience_shape = { audience_members, SLOT_AUDIENCE_UNKNOWN };

static const struct json_member message_members[] = {
	JSON_MEMBER("data", SLOT_DATA),
	JSON_MEMBER("data_b64", SLOT_DATA_B64),
	JSON_MEMBER("notification", SLOT_NOTIFICATION, .tree = true),
	JSON_MEMBER("collapse_key", SLOT_COLLAPSE_KEY, .tree = true),
	JSON_MEMBER("ttl", SLOT_TTL, .tree = true),
	JSON_MEMBER("priority", SLOT_PRIORITY, .tree = true),
	JSON_MEMBER("qos", SLOT_QOS, .tree = true),
	JSON_MEMBER("label", SLOT_LABEL, .tree = true),
	JSON_MEMBER("durable", SLOT_DURABLE, .tree = true),
	{ 0 },
};
static const struct json_shape message_shape = { message_members, SLOT_MESSAGE_UNKNOWN };

static const struct json_member options_members[] = {
	JSON_MEMBER("send_at", SLOT_SEND_AT, .tree = true),
	JSON_MEMBER("pace", SLOT_PACE, .tree = true),
	JSON_MEMBER("wait", SLOT_WAIT, .tree = true),
	JSON_MEMBER("wait_timeout", SLOT_WAIT_TIMEOUT, .tree = true),
	JSON_MEMBER("replaces", SLOT_REPLACES, .tree = true),
	JSON_MEMBER("exclude_registration_id", SLOT_EXCLUDE),
	JSON_MEMBER("receipts", SLOT_RECEIPTS, .tree = true),
	JSON_MEMBER("validate_only", SLOT_VALIDATE_ONLY, .tree = true),
	{ 0 },
};
static const struct json_shape options_shape = { options_members, SLOT_OPTIONS_UNKNOWN };

static const struct json_member request_members[] = {
	JSON_MEMBER("audience", SLOT_AUDIENCE, .tree = true, .inside = &audience_shape),
	JSON_MEMBER("platform", SLOT_PLATFORM),
	JSON_MEMBER("message", SLOT_MESSAGE, .inside = &message_shape),
	JSON_MEMBER("options", SLOT_OPTIONS, .inside = &options_shape),
	JSON_MEMBER("cid", SLOT_CID, .tree = true),
	{ 0 },
};
static const struct json_shape request_shape = { request_members, SLOT_UNKNOWN };

bool request_is_key(const char *text, size_t len)
{
	if (len == 0 || len > REQUEST_CID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

int request_known(const struct json_slot *unknown, const char *path, struct problem *ret_problem)
{
	json_t *key;
	int err;

	if (unknown->text.data == NULL)
		return 0;
	if (json_value(unknown->text, &key) < 0)
		return request_out_of_memory(ret_problem);
	err = fields_unknown(path, json_string_value(key), ret_problem);
	json_decref(key);
	return err;
}

/* From the text itself, if nothing in it is escaped. */
static int decode_base64(struct hf_bytes text, struct hf_arena *arena, struct request *ret,
			 struct problem *ret_problem)
{
	uint8_t *room = hf_arena_alloc(arena, text.len / 4 * 3 + 3);
	json_t *value = NULL;
	ssize_t n = -1;

	if (room == NULL)
		return request_out_of_memory(ret_problem);
	if (text.data[0] == '"' && memchr(text.data, '\\', text.len) == NULL) {
		n = hf_base64_decode((const char *)text.data + 1, text.len - 2, false, room);
	} else if (text.data[0] == '"') {
		if (json_value(text, &value) < 0)
			return request_out_of_memory(ret_problem);
		n = hf_base64_decode(json_string_value(value), json_string_length(value), false,
				     room);
		json_decref(value);
	}
	if (n < 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "message.data_b64", NULL,
				   "message.data_b64 must be base64 with padding");
	ret->payload_kind = HF_WIRE_PAYLOAD_BYTES;
	ret->payload = hf_bytes_of(room, (size_t)n);
	return 0;
}

static int check_notification(const json_t *notification, struct problem *ret_problem)
{
	static const char *const known[] = { "title", "body", "image", "click_action", NULL };
	void *at;
	int err;

	if (!json_is_object(notification))
		return problem_set(ret_problem, 400, "BAD_VALUE", "message.notification", NULL,
				   "message.notification must be an object");
	err = fields_known(notification, "message.notification.", known, ret_problem);
	if (err < 0)
		return err;
	for (at = json_object_iter((json_t *)notification); at != NULL;
	     at = json_object_iter_next((json_t *)notification, at)) {
		const json_t *value = json_object_iter_value(at);

		if (!json_is_string(value) && !json_is_null(value))
			return problem_set(ret_problem, 400, "BAD_VALUE", "message.notification",
					   NULL, "message.notification.%s must be text or null",
					   json_object_iter_key(at));
	}
	return 0;
}

/* {"data":...,"notification":{...}}, each part as it was sent. */
static int build_envelope(const struct json_slot *slots, struct hf_arena *arena,
			  struct request *ret, struct problem *ret_problem)
{
	static const struct {
		const char *name;
		enum request_slot slot;
	} parts[] = { { "data", SLOT_DATA },
		      { "data_b64", SLOT_DATA_B64 },
		      { "notification", SLOT_NOTIFICATION } };
	size_t size = slots[SLOT_MESSAGE].text.len + 64, len = 0;
	char *text = hf_arena_alloc(arena, size);

	if (text == NULL)
		return request_out_of_memory(ret_problem);
	for (size_t i = 0; i < HF_ARRAY_LEN(parts); i++) {
		struct hf_bytes value = slots[parts[i].slot].text;
		size_t name_len = strlen(parts[i].name);

		if (!request_has_text(value))
			continue;
		text[len] = len == 0 ? '{' : ',';
		text[len + 1] = '"';
		len += 2;
		memcpy(text + len, parts[i].name, name_len);
		len += name_len;
		memcpy(text + len, "\":", 2);
		len += 2;
		memcpy(text + len, value.data, value.len);
		len += value.len;
	}
	text[len++] = '}';
	ret->payload_kind = HF_WIRE_PAYLOAD_ENVELOPE;
	ret->payload = hf_bytes_of(text, len);
	return 0;
}

static int parse_payload(const struct json_slot *slots, size_t payload_max, struct hf_arena *arena,
			 struct request *ret, struct problem *ret_problem)
{
	struct hf_bytes data = slots[SLOT_DATA].text, data_b64 = slots[SLOT_DATA_B64].text;
	const json_t *notification = slots[SLOT_NOTIFICATION].value;
	int err = 0;

	if (request_has_text(data) && request_has_text(data_b64))
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "message.data_b64", NULL,
				   "a message has data or data_b64, not both");
	if (request_has_text(data_b64))
		err = decode_base64(data_b64, arena, ret, ret_problem);
	if (err == 0 && request_has(notification)) {
		err = check_notification(notification, ret_problem);
		if (err == 0)
			err = build_envelope(slots, arena, ret, ret_problem);
	} else if (err == 0 && data.data != NULL) {
		ret->payload_kind = HF_WIRE_PAYLOAD_JSON;
		ret->payload = data;
	} else if (err == 0 && !request_has_text(data_b64)) {
		return problem_set(ret_problem, 400, "MISSING_FIELD", "message.data", NULL,
				   "a message needs data, data_b64 or notification");
	}
	if (err == 0 && ret->payload.len > payload_max)
		return problem_set(ret_problem, 413, "PAYLOAD_TOO_LARGE", "message", NULL,
				   "the payload has %zu bytes, this app allows %zu",
				   ret->payload.len, payload_max);
	return err;
}

static int parse_label(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	const char *label = json_string_value(value);
	size_t len = json_string_length(value);

	if (!request_has(value))
		return 0;
	for (size_t i = 0; i < len; i++) {
		char c = label[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      strchr("_.~%-", c) != NULL))
			len = 0; /* refused below */
	}
	if (len == 0 || len > REQUEST_LABEL_MAX)
		return problem_set(ret_problem, 400, "BAD_LABEL", "message.label", label,
				   "message.label must match [A-Za-z0-9_.~%%-]{1,50}");
	memcpy(ret->label, label, len);
	return 0;
}

static int parse_collapse_key(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	const char *key;

	if (!request_has(value))
		return 0;
	if (fields_text(value, "message.collapse_key", 1, REQUEST_COLLAPSE_MAX, &key, ret_problem) <
	    0) {
		ret_problem->reason = "BAD_COLLAPSE_KEY";
		return -EINVAL;
	}
	memcpy(ret->collapse_key, key, json_string_length(value));
	return 0;
}

static int parse_priority(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	static const char *const choices[] = { "normal", "high", NULL };
	int priority = 0;
	int err = fields_choice(value, "message.priority", choices, &priority, ret_problem);

	ret->high = priority > 0;
	return err;
}

/* qos, ttl and durable together say what the message promises. */
static int parse_class(const struct json_slot *slots, struct request *ret,
		       struct problem *ret_problem)
{
	uint64_t qos = 1;
	bool durable = false;
	int err = fields_uint(slots[SLOT_QOS].value, "message.qos", 0, 1, "BAD_QOS", &qos,
			      ret_problem);

	ret->ttl_ms = qos > 0 ? REQUEST_TTL_S * 1000ull : 0;
	if (err == 0)
		err = fields_duration(slots[SLOT_TTL].value, "message.ttl",
				      REQUEST_TTL_MAX_S * 1000ull, "TTL_OUT_OF_RANGE", &ret->ttl_ms,
				      ret_problem);
	if (err == 0)
		err = fields_bool(slots[SLOT_DURABLE].value, "message.durable", &durable,
				  ret_problem);
	if (err < 0)
		return err;
	if (qos == 0 && ret->ttl_ms > 0)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "message.ttl", NULL,
				   "qos 0 is never stored: leave ttl out, or 0");
	if (durable && ret->ttl_ms == 0)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "message.durable", NULL,
				   "a durable message needs a ttl above 0");
	ret->class = ret->ttl_ms == 0 ? REQUEST_TRANSIENT
		     : durable        ? REQUEST_DURABLE
				      : REQUEST_STORED;
	return 0;
}

static int parse_message(const struct json_slot *slots, size_t payload_max, struct hf_arena *arena,
			 struct request *ret, struct problem *ret_problem)
{
	struct hf_bytes message = slots[SLOT_MESSAGE].text;
	int err;

	if (!request_has_text(message))
		return problem_set(ret_problem, 400, "MISSING_FIELD", "message", NULL,
				   "message is required");
	if (message.data[0] != '{')
		return problem_set(ret_problem, 400, "BAD_VALUE", "message", NULL,
				   "message must be an object");
	err = request_known(&slots[SLOT_MESSAGE_UNKNOWN], "message.", ret_problem);
	if (err == 0)
		err = parse_collapse_key(slots[SLOT_COLLAPSE_KEY].value, ret, ret_problem);
	if (err == 0)
		err = parse_priority(slots[SLOT_PRIORITY].value, ret, ret_problem);
	if (err == 0)
		err = parse_label(slots[SLOT_LABEL].value, ret, ret_problem);
	if (err == 0)
		err = parse_class(slots, ret, ret_problem);
	if (err == 0)
		err = parse_payload(slots, payload_max, arena, ret, ret_problem);
	return err;
}

static int conflict(struct problem *ret_problem, const char *field, const char *why)
{
	return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", field, NULL, "%s", why);
}

static int check_wait(const struct request *request, struct problem *ret_problem)
{
	if (request->wait == REQUEST_WAIT_NONE)
		return 0;
	if (request->kind != REQUEST_LIST)
		return conflict(ret_problem, "options.wait",
				"only sends to registrations or users can be waited for");
	if (request->send_at_ms > 0)
		return conflict(ret_problem, "options.wait",
				"what is sent later can't be waited for");
	if (request_is_paced(request))
		return conflict(ret_problem, "options.wait", "a paced send can't be waited for");
	if (request->wait != REQUEST_WAIT_ACKED)
		return 0;
	if (request->class == REQUEST_TRANSIENT)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "options.wait", "acked",
				   "only stored messages are acked: qos 1 and a ttl above 0");
	if (request->target_count > REQUEST_ACKED_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", "options.wait", "acked",
				   "acks are awaited of %d registrations at most",
				   REQUEST_ACKED_MAX);
	return 0;
}

/* Fields that are well-formed and can't all be obeyed. */
static int check_together(const struct request *request, struct problem *ret_problem)
{
	int err = check_wait(request, ret_problem);

	if (err < 0)
		return err;
	if (request->class == REQUEST_DURABLE && request->kind != REQUEST_LIST)
		return conflict(ret_problem, "message.durable",
				"the broadcast log is kept in Redis alone: leave durable out");
	if (request->class == REQUEST_DURABLE && request->send_at_ms > 0)
		return conflict(ret_problem, "message.durable",
				"what waits for options.send_at is kept in Redis alone: leave "
				"durable out");
	if (request_is_paced(request) && request_is_plain(request) &&
	    request->target_count < REQUEST_PACED_MIN)
		return conflict(ret_problem, "options.pace",
				"pace is for audiences, users, and more than 100 registrations");
	if (request->kind == REQUEST_LIST &&
	    (request->receipts >> HF__EVENT_TYPE__MESSAGE_COMPLETED & 1) != 0)
		return conflict(ret_problem, "options.receipts",
				"message.completed is told of an audience, not of registrations or "
				"users");
	if (request->class == REQUEST_TRANSIENT &&
	    (request->receipts &
	     (1u << HF__EVENT_TYPE__MESSAGE_ACKED | 1u << HF__EVENT_TYPE__MESSAGE_EXPIRED)) != 0)
		return conflict(
			ret_problem, "options.receipts",
			"only stored messages are acked or expire: qos 1 and a ttl above 0");
	return 0;
}

static int parse_cid(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	if (!request_has(value))
		return 0;
	if (!json_is_string(value) ||
	    !request_is_key(json_string_value(value), json_string_length(value)))
		return problem_set(ret_problem, 400, "BAD_IDEMPOTENCY_KEY", "cid", NULL,
				   "cid must be 1 to %d printable characters without spaces",
				   REQUEST_CID_MAX);
	memcpy(ret->cid, json_string_value(value), json_string_length(value));
	return 0;
}

int request_parse(struct hf_bytes text, size_t payload_max, uint64_t wall_ms,
		  struct hf_arena *arena, struct request *ret, struct problem *ret_problem)
{
	struct json_slot slots[REQUEST_SLOTS];
	int err = json_read(text, &request_shape, slots, REQUEST_SLOTS, ret_problem);

	if (err < 0)
		return err;
	*ret = (struct request){ 0 };
	err = request_known(&slots[SLOT_UNKNOWN], "", ret_problem);
	if (err == 0)
		err = request_parse_audience(slots, arena, ret, ret_problem);
	if (err == 0)
		err = parse_message(slots, payload_max, arena, ret, ret_problem);
	if (err == 0)
		err = request_parse_options(slots, wall_ms, arena, ret, ret_problem);
	if (err == 0)
		err = parse_cid(slots[SLOT_CID].value, ret, ret_problem);
	if (err == 0)
		err = check_together(ret, ret_problem);
	json_clear(slots, REQUEST_SLOTS);
	return err;
}
