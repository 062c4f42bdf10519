/* services/center/request_options.c - how a send is to be carried out. */
#include <errno.h>
#include <stdio.h>

#include "event.pb-c.h"
#include "fields.h"
#include "hf_id.h"
#include "json.h"
#include "request_internal.h"

static const struct {
	const char *name;
	Hf__EventType type;
} receipt_events[] = {
	{ "message.written", HF__EVENT_TYPE__MESSAGE_WRITTEN },
	{ "message.acked", HF__EVENT_TYPE__MESSAGE_ACKED },
	{ "message.expired", HF__EVENT_TYPE__MESSAGE_EXPIRED },
	{ "message.dropped", HF__EVENT_TYPE__MESSAGE_DROPPED },
	{ "message.recalled", HF__EVENT_TYPE__MESSAGE_RECALLED },
	{ "message.completed", HF__EVENT_TYPE__MESSAGE_COMPLETED },
};

static int parse_event(const json_t *item, uint32_t *ret, struct problem *ret_problem)
{
	for (size_t i = 0; json_is_string(item) && i < HF_ARRAY_LEN(receipt_events); i++) {
		if (strcmp(json_string_value(item), receipt_events[i].name) == 0) {
			*ret |= 1u << receipt_events[i].type;
			return 0;
		}
	}
	return problem_set(ret_problem, 400, "BAD_VALUE", "options.receipts.events",
			   json_string_value(item),
			   "options.receipts.events may have message.written, .acked, .expired, "
			   ".dropped, .recalled and .completed");
}

/* Params go back as they came. */
static int parse_receipts(const struct json_slot *slot, struct hf_arena *arena, struct request *ret,
			  struct problem *ret_problem)
{
	static const char *const known[] = { "events", "params", NULL };
	const json_t *receipts = slot->value;
	const json_t *events = json_object_get(receipts, "events");
	const json_t *params = json_object_get(receipts, "params");
	struct hf_bytes raw;
	int err;

	if (!request_has(receipts))
		return 0;
	if (!json_is_object(receipts))
		return problem_set(ret_problem, 400, "BAD_VALUE", "options.receipts", NULL,
				   "options.receipts must be an object");
	err = fields_known(receipts, "options.receipts.", known, ret_problem);
	if (err < 0)
		return err;
	if (request_has(events) && !json_is_array(events))
		return problem_set(ret_problem, 400, "BAD_VALUE", "options.receipts.events", NULL,
				   "options.receipts.events must be an array");
	for (size_t i = 0; err == 0 && i < json_array_size(events); i++)
		err = parse_event(json_array_get(events, i), &ret->receipts, ret_problem);
	if (err < 0 || !request_has(params))
		return err;
	raw = json_member(slot->text, "params");
	if (!json_is_object(params) || raw.data == NULL || raw.len > REQUEST_PARAMS_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "options.receipts.params", NULL,
				   "options.receipts.params must be an object of at most %d bytes",
				   REQUEST_PARAMS_MAX);
	if (ret->receipts == 0)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS",
				   "options.receipts.params", NULL,
				   "options.receipts.params comes back in events: name some");
	ret->receipt_params = hf_bytes_of(hf_arena_copy(arena, raw.data, raw.len), raw.len);
	return ret->receipt_params.data != NULL ? 0 : request_out_of_memory(ret_problem);
}

int request_parse_pace(const json_t *pace, const char *field, uint64_t *ret_rate,
		       uint64_t *ret_spread_ms, struct problem *ret_problem)
{
	static const char *const known[] = { "duration", "rate_per_second", NULL };
	char path[64], name[80];
	uint64_t rate = 0, spread_ms = 0;
	int err;

	if (!request_has(pace))
		return 0;
	if (!json_is_object(pace))
		return problem_set(ret_problem, 400, "BAD_VALUE", field, NULL,
				   "%s must be an object with duration or rate_per_second", field);
	snprintf(path, sizeof(path), "%s.", field);
	err = fields_known(pace, path, known, ret_problem);
	snprintf(name, sizeof(name), "%s.duration", field);
	if (err == 0)
		err = fields_duration(json_object_get(pace, "duration"), name, REQUEST_PACE_MAX_MS,
				      "BAD_DURATION", &spread_ms, ret_problem);
	if (err == 0 && request_has(json_object_get(pace, "duration")) && spread_ms < 1000)
		return problem_set(ret_problem, 400, "BAD_DURATION", name, NULL,
				   "%s must be between 1 and 86400 seconds", name);
	snprintf(name, sizeof(name), "%s.rate_per_second", field);
	if (err == 0)
		err = fields_uint(json_object_get(pace, "rate_per_second"), name, 1,
				  REQUEST_RATE_MAX, "BAD_VALUE", &rate, ret_problem);
	if (err < 0)
		return err;
	if (rate > 0 && spread_ms > 0)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", field, NULL,
				   "%s has duration or rate_per_second, not both", field);
	*ret_rate = rate;
	*ret_spread_ms = spread_ms;
	return 0;
}

static int parse_send_at(const json_t *value, uint64_t wall_ms, struct request *ret,
			 struct problem *ret_problem)
{
	uint64_t at_ms = 0;
	int err = fields_time(value, "options.send_at", &at_ms, ret_problem);

	if (err < 0)
		return err;
	if (at_ms > wall_ms + REQUEST_SEND_AT_MAX_MS)
		return problem_set(ret_problem, 400, "BAD_SEND_AT", "options.send_at",
				   json_string_value(value),
				   "options.send_at may be 30 days ahead at most");
	ret->send_at_ms = at_ms > wall_ms ? at_ms : 0; /* what is over is now */
	return 0;
}

static int parse_replaces(const json_t *value, struct request *ret, struct problem *ret_problem)
{
	if (!request_has(value))
		return 0;
	if (!json_is_string(value) ||
	    hf_id_parse(json_string_value(value), json_string_length(value), &ret->replaces) < 0 ||
	    ret->replaces == 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "options.replaces",
				   json_string_value(value),
				   "options.replaces must be a message id");
	return 0;
}

static int parse_exclude(struct hf_bytes list, struct hf_arena *arena, struct request *ret,
			 struct problem *ret_problem)
{
	static const char field[] = "options.exclude_registration_id";
	struct hf_bytes *excluded;
	size_t count;
	int err = request_parse_ids(list, field, HF_AUDIENCE_EXCLUDE_MAX, HF_REGISTRATION_MAX,
				    arena, &excluded, &count, ret_problem);

	return err == 0 ? request_exclude(excluded, count, arena, ret, ret_problem) : err;
}

static int parse_wait(const struct json_slot *slots, struct request *ret,
		      struct problem *ret_problem)
{
	static const char *const waits[] = { "none", "routed", "acked", NULL };
	int wait = REQUEST_WAIT_NONE;
	int err = fields_choice(slots[SLOT_WAIT].value, "options.wait", waits, &wait, ret_problem);

	ret->wait = (enum request_wait)wait;
	if (err == 0)
		err = fields_duration(slots[SLOT_WAIT_TIMEOUT].value, "options.wait_timeout",
				      REQUEST_WAIT_MAX_MS, "BAD_DURATION", &ret->wait_ms,
				      ret_problem);
	return err;
}

int request_parse_options(const struct json_slot *slots, uint64_t wall_ms, struct hf_arena *arena,
			  struct request *ret, struct problem *ret_problem)
{
	int err;

	ret->wait_ms = REQUEST_WAIT_MS;
	if (!request_has_text(slots[SLOT_OPTIONS].text))
		return 0;
	if (slots[SLOT_OPTIONS].text.data[0] != '{')
		return problem_set(ret_problem, 400, "BAD_VALUE", "options", NULL,
				   "options must be an object");
	err = request_known(&slots[SLOT_OPTIONS_UNKNOWN], "options.", ret_problem);
	if (err == 0)
		err = parse_wait(slots, ret, ret_problem);
	if (err == 0)
		err = parse_send_at(slots[SLOT_SEND_AT].value, wall_ms, ret, ret_problem);
	if (err == 0)
		err = request_parse_pace(slots[SLOT_PACE].value, "options.pace",
					 &ret->rate_per_second, &ret->spread_ms, ret_problem);
	if (err == 0)
		err = parse_replaces(slots[SLOT_REPLACES].value, ret, ret_problem);
	if (err == 0)
		err = parse_exclude(slots[SLOT_EXCLUDE].text, arena, ret, ret_problem);
	if (err == 0)
		err = parse_receipts(&slots[SLOT_RECEIPTS], arena, ret, ret_problem);
	if (err == 0)
		err = fields_bool(slots[SLOT_VALIDATE_ONLY].value, "options.validate_only",
				  &ret->validate_only, ret_problem);
	return err;
}
