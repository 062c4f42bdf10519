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

bool request_is_key(const char *text, size_t len)
{
	if (len == 0 || len > REQUEST_CID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

static int decode_base64(const json_t *value, struct hf_arena *arena, struct request *ret,
			 struct problem *ret_problem)
{
	size_t len = json_string_length(value);
	uint8_t *room = hf_arena_alloc(arena, len / 4 * 3 + 3);
	ssize_t n;

	if (room == NULL)
		return request_out_of_memory(ret_problem);
	n = json_is_string(value) ? hf_base64_decode(json_string_value(value), len, false, room)
				  : -1;
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
static int build_envelope(struct hf_bytes message, struct hf_arena *arena, struct request *ret,
			  struct problem *ret_problem)
{
	static const char *const parts[] = { "data", "data_b64", "notification" };
	size_t size = message.len + 64, len = 0;
	char *text = hf_arena_alloc(arena, size);

	if (text == NULL)
		return request_out_of_memory(ret_problem);
	for (size_t i = 0; i < HF_ARRAY_LEN(parts); i++) {
		struct hf_bytes value = json_member(message, parts[i]);
		size_t name_len = strlen(parts[i]);

		if (value.data == NULL || hf_bytes_equal(value, HF_BYTES_LITERAL("null")))
			continue;
		text[len] = len == 0 ? '{' : ',';
		text[len + 1] = '"';
		len += 2;
		memcpy(text + len, parts[i], name_len);
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

static int parse_payload(const json_t *message, struct hf_bytes text, size_t payload_max,
			 struct hf_arena *arena, struct request *ret, struct problem *ret_problem)
{
	const json_t *data = json_object_get(message, "data");
	const json_t *data_b64 = json_object_get(message, "data_b64");
	const json_t *notification = json_object_get(message, "notification");
	int err = 0;

	if (request_has(data) && request_has(data_b64))
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "message.data_b64", NULL,
				   "a message has data or data_b64, not both");
	if (request_has(data_b64))
		err = decode_base64(data_b64, arena, ret, ret_problem);
	if (err == 0 && request_has(notification)) {
		err = check_notification(notification, ret_problem);
		if (err == 0)
			err = build_envelope(text, arena, ret, ret_problem);
	} else if (err == 0 && data != NULL) {
		ret->payload_kind = HF_WIRE_PAYLOAD_JSON;
		ret->payload = json_member(text, "data");
	} else if (err == 0 && !request_has(data_b64)) {
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
static int parse_class(const json_t *message, struct request *ret, struct problem *ret_problem)
{
	const json_t *ttl = json_object_get(message, "ttl");
	uint64_t qos = 1;
	bool durable = false;
	int err = fields_uint(json_object_get(message, "qos"), "message.qos", 0, 1, "BAD_QOS", &qos,
			      ret_problem);

	ret->ttl_ms = qos > 0 ? REQUEST_TTL_S * 1000ull : 0;
	if (err == 0)
		err = fields_duration(ttl, "message.ttl", REQUEST_TTL_MAX_S * 1000ull,
				      "TTL_OUT_OF_RANGE", &ret->ttl_ms, ret_problem);
	if (err == 0)
		err = fields_bool(json_object_get(message, "durable"), "message.durable", &durable,
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

static int parse_message(const json_t *message, struct hf_bytes text, size_t payload_max,
			 struct hf_arena *arena, struct request *ret, struct problem *ret_problem)
{
	static const char *const known[] = { "data",    "data_b64", "notification", "collapse_key",
					     "ttl",     "priority", "qos",          "label",
					     "durable", NULL };
	int err;

	if (!request_has(message))
		return problem_set(ret_problem, 400, "MISSING_FIELD", "message", NULL,
				   "message is required");
	if (!json_is_object(message))
		return problem_set(ret_problem, 400, "BAD_VALUE", "message", NULL,
				   "message must be an object");
	err = fields_known(message, "message.", known, ret_problem);
	if (err == 0)
		err = parse_collapse_key(json_object_get(message, "collapse_key"), ret,
					 ret_problem);
	if (err == 0)
		err = parse_priority(json_object_get(message, "priority"), ret, ret_problem);
	if (err == 0)
		err = parse_label(json_object_get(message, "label"), ret, ret_problem);
	if (err == 0)
		err = parse_class(message, ret, ret_problem);
	if (err == 0)
		err = parse_payload(message, text, payload_max, arena, ret, ret_problem);
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
	static const char *const known[] = { "audience", "platform", "message",
					     "options",  "cid",      NULL };
	json_t *root = json_parse_object(text, ret_problem);
	int err;

	if (root == NULL)
		return -EINVAL;
	*ret = (struct request){ 0 };
	err = fields_known(root, "", known, ret_problem);
	if (err == 0)
		err = request_parse_audience(root, arena, ret, ret_problem);
	if (err == 0)
		err = parse_message(json_object_get(root, "message"), json_member(text, "message"),
				    payload_max, arena, ret, ret_problem);
	if (err == 0)
		err = request_parse_options(json_object_get(root, "options"),
					    json_member(text, "options"), wall_ms, arena, ret,
					    ret_problem);
	if (err == 0)
		err = parse_cid(json_object_get(root, "cid"), ret, ret_problem);
	if (err == 0)
		err = check_together(ret, ret_problem);
	json_decref(root);
	return err;
}
