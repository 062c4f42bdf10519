/* services/center/request.c - see request.h. */
#include "request.h"

#include <errno.h>
#include <stdlib.h>

#include "fields.h"
#include "hf_text.h"
#include "hf_wire.h"
#include "json.h"

static int out_of_memory(struct problem *ret_problem)
{
	return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}

bool request_is_key(const char *text, size_t len)
{
	if (len == 0 || len > REQUEST_CID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

static int compare_targets(const void *a, const void *b)
{
	const struct hf_bytes *left = a, *right = b;
	int order = memcmp(left->data, right->data, HF_MIN(left->len, right->len));

	return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* A registration named twice gets the message once. */
static void drop_duplicates(struct request *request)
{
	size_t kept = 1;

	if (request->target_count < 2)
		return;
	qsort(request->targets, request->target_count, sizeof(*request->targets), compare_targets);
	for (size_t i = 1; i < request->target_count; i++)
		if (!hf_bytes_equal(request->targets[i], request->targets[kept - 1]))
			request->targets[kept++] = request->targets[i];
	request->target_count = kept;
}

static int parse_registrations(const json_t *list, struct hf_arena *arena, struct request *ret,
			       struct problem *ret_problem)
{
	static const char field[] = "audience.registration_id";
	size_t count = json_array_size(list);

	if (!json_is_array(list))
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", field, NULL,
				   "%s must be an array of registration ids", field);
	if (count > REQUEST_TARGETS_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", field, NULL,
				   "%s may name %d registrations at most", field,
				   REQUEST_TARGETS_MAX);
	ret->targets = hf_arena_alloc(arena, HF_MAX(count, (size_t)1) * sizeof(*ret->targets));
	if (ret->targets == NULL)
		return out_of_memory(ret_problem);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);
		size_t len = json_string_length(item);

		if (!json_is_string(item) ||
		    !hf_text_is_id(json_string_value(item), len, HF_REGISTRATION_MAX))
			return problem_set(
				ret_problem, 400, "BAD_AUDIENCE", field, json_string_value(item),
				"a registration id is text of 1 to %d bytes, without control "
				"characters",
				HF_REGISTRATION_MAX);
		ret->targets[i].data = hf_arena_copy(arena, json_string_value(item), len);
		ret->targets[i].len = len;
		if (ret->targets[i].data == NULL)
			return out_of_memory(ret_problem);
	}
	ret->target_count = count;
	drop_duplicates(ret);
	return 0;
}

static int parse_audience(const json_t *audience, struct hf_arena *arena, struct request *ret,
			  struct problem *ret_problem)
{
	static const char *const known[] = { "registration_id", "user_id", "tag",
					     "tag_and",         "tag_not", NULL };
	static const char *const later[] = { "user_id", "tag", "tag_and", "tag_not" };
	static const char *const later_fields[] = { "audience.user_id", "audience.tag",
						    "audience.tag_and", "audience.tag_not" };
	const json_t *list;
	int err;

	if (audience == NULL || json_is_null(audience))
		return problem_set(ret_problem, 400, "MISSING_FIELD", "audience", NULL,
				   "audience is required");
	if (json_is_string(audience) && strcmp(json_string_value(audience), "all") == 0)
		return problem_set(ret_problem, 400, "UNSUPPORTED", "audience", "all",
				   "broadcast is not implemented in this version");
	if (!json_is_object(audience))
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", "audience", NULL,
				   "audience must be an object");
	err = fields_known(audience, "audience.", known, ret_problem);
	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(later); i++)
		err = fields_unsupported(json_object_get(audience, later[i]), later_fields[i],
					 ret_problem);
	if (err < 0)
		return err;
	list = json_object_get(audience, "registration_id");
	if (list != NULL && !json_is_null(list))
		err = parse_registrations(list, arena, ret, ret_problem);
	if (err == 0 && ret->target_count == 0)
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", "audience", NULL,
				   "audience names nobody");
	return err;
}

static int decode_base64(const json_t *value, struct hf_arena *arena, struct request *ret,
			 struct problem *ret_problem)
{
	size_t len = json_string_length(value);
	uint8_t *room = hf_arena_alloc(arena, len / 4 * 3 + 3);
	ssize_t n;

	if (room == NULL)
		return out_of_memory(ret_problem);
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
		return out_of_memory(ret_problem);
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

static bool is_given(const json_t *value)
{
	return value != NULL && !json_is_null(value);
}

static int parse_payload(const json_t *message, struct hf_bytes text, size_t payload_max,
			 struct hf_arena *arena, struct request *ret, struct problem *ret_problem)
{
	const json_t *data = json_object_get(message, "data");
	const json_t *data_b64 = json_object_get(message, "data_b64");
	const json_t *notification = json_object_get(message, "notification");
	int err = 0;

	if (is_given(data) && is_given(data_b64))
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "message.data_b64", NULL,
				   "a message has data or data_b64, not both");
	if (is_given(data_b64))
		err = decode_base64(data_b64, arena, ret, ret_problem);
	if (err == 0 && is_given(notification)) {
		err = check_notification(notification, ret_problem);
		if (err == 0)
			err = build_envelope(text, arena, ret, ret_problem);
	} else if (err == 0 && data != NULL) {
		ret->payload_kind = HF_WIRE_PAYLOAD_JSON;
		ret->payload = json_member(text, "data");
	} else if (err == 0 && !is_given(data_b64)) {
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

	if (!is_given(value))
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

static int check_collapse_key(const json_t *value, struct problem *ret_problem)
{
	const char *key;

	if (!is_given(value))
		return 0;
	if (fields_text(value, "message.collapse_key", 1, 64, &key, ret_problem) < 0) {
		ret_problem->reason = "BAD_COLLAPSE_KEY";
		return -EINVAL;
	}
	return fields_unsupported(value, "message.collapse_key", ret_problem);
}

static int check_priority(const json_t *value, struct problem *ret_problem)
{
	static const char *const choices[] = { "normal", "high", NULL };
	int priority = 0;
	int err = fields_choice(value, "message.priority", choices, &priority, ret_problem);

	if (err < 0 || priority == 0)
		return err;
	return problem_set(ret_problem, 400, "UNSUPPORTED", "message.priority", "high",
			   "priority high has no effect in this version");
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

	if (!is_given(message))
		return problem_set(ret_problem, 400, "MISSING_FIELD", "message", NULL,
				   "message is required");
	if (!json_is_object(message))
		return problem_set(ret_problem, 400, "BAD_VALUE", "message", NULL,
				   "message must be an object");
	err = fields_known(message, "message.", known, ret_problem);
	if (err == 0)
		err = check_collapse_key(json_object_get(message, "collapse_key"), ret_problem);
	if (err == 0)
		err = check_priority(json_object_get(message, "priority"), ret_problem);
	if (err == 0)
		err = parse_label(json_object_get(message, "label"), ret, ret_problem);
	if (err == 0)
		err = parse_class(message, ret, ret_problem);
	if (err == 0)
		err = parse_payload(message, text, payload_max, arena, ret, ret_problem);
	return err;
}

static int check_wait(struct request *ret, struct problem *ret_problem)
{
	if (ret->wait != REQUEST_WAIT_ACKED)
		return 0;
	if (ret->class == REQUEST_TRANSIENT)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "options.wait", "acked",
				   "only stored messages are acked: qos 1 and a ttl above 0");
	if (ret->target_count > REQUEST_ACKED_MAX)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", "options.wait", "acked",
				   "acks are awaited of %d registrations at most",
				   REQUEST_ACKED_MAX);
	return 0;
}

static int parse_options(const json_t *options, struct request *ret, struct problem *ret_problem)
{
	static const char *const known[] = { "send_at",
					     "pace",
					     "wait",
					     "wait_timeout",
					     "exclude_registration_id",
					     "replaces",
					     "validate_only",
					     "receipts",
					     NULL };
	static const char *const later[] = { "send_at", "pace", "exclude_registration_id",
					     "replaces", "receipts" };
	static const char *const later_fields[] = { "options.send_at", "options.pace",
						    "options.exclude_registration_id",
						    "options.replaces", "options.receipts" };
	static const char *const waits[] = { "none", "routed", "acked", NULL };
	int wait = REQUEST_WAIT_NONE, err;

	ret->wait_ms = REQUEST_WAIT_MS;
	if (!is_given(options))
		return 0;
	if (!json_is_object(options))
		return problem_set(ret_problem, 400, "BAD_VALUE", "options", NULL,
				   "options must be an object");
	err = fields_known(options, "options.", known, ret_problem);
	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(later); i++)
		err = fields_unsupported(json_object_get(options, later[i]), later_fields[i],
					 ret_problem);
	if (err == 0)
		err = fields_choice(json_object_get(options, "wait"), "options.wait", waits, &wait,
				    ret_problem);
	if (err == 0)
		err = fields_duration(json_object_get(options, "wait_timeout"),
				      "options.wait_timeout", REQUEST_WAIT_MAX_MS, "BAD_DURATION",
				      &ret->wait_ms, ret_problem);
	if (err == 0)
		err = fields_bool(json_object_get(options, "validate_only"),
				  "options.validate_only", &ret->validate_only, ret_problem);
	ret->wait = (enum request_wait)wait;
	return err;
}

static int parse_cid(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	if (!is_given(value))
		return 0;
	if (!json_is_string(value) ||
	    !request_is_key(json_string_value(value), json_string_length(value)))
		return problem_set(ret_problem, 400, "BAD_IDEMPOTENCY_KEY", "cid", NULL,
				   "cid must be 1 to %d printable characters without spaces",
				   REQUEST_CID_MAX);
	memcpy(ret->cid, json_string_value(value), json_string_length(value));
	return 0;
}

int request_parse(struct hf_bytes text, size_t payload_max, struct hf_arena *arena,
		  struct request *ret, struct problem *ret_problem)
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
		err = fields_unsupported(json_object_get(root, "platform"), "platform",
					 ret_problem);
	if (err == 0)
		err = parse_audience(json_object_get(root, "audience"), arena, ret, ret_problem);
	if (err == 0)
		err = parse_message(json_object_get(root, "message"), json_member(text, "message"),
				    payload_max, arena, ret, ret_problem);
	if (err == 0)
		err = parse_options(json_object_get(root, "options"), ret, ret_problem);
	if (err == 0)
		err = parse_cid(json_object_get(root, "cid"), ret, ret_problem);
	if (err == 0)
		err = check_wait(ret, ret_problem);
	json_decref(root);
	return err;
}
