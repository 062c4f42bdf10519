/* services/center/registration_change.c - PATCH and DELETE of a registration, and its bar. */
#include <stdlib.h>

#include "ask.h"
#include "change.h"
#include "fields.h"
#include "hf_audience.h"
#include "hf_rpc.h"
#include "hf_wire.h"
#include "ids.h"
#include "records.h"
#include "steer.h"

/* ---- PATCH .../registrations/{id} ---- */

static void on_patched(struct change *change, void *ctx)
{
	struct ask *ask = ctx;
	const struct change_item *item = &change->items[0];
	struct problem problem;
	json_t *word;

	if (steer_change_problem(item, &problem) < 0) {
		ask_fail(ask, &problem);
		free(ask);
		return;
	}
	word = json_pack("{s:s%, s:b, s:s}", "registration_id", item->registration.data,
			 item->registration.len, "changed", (int)item->changed, "session",
			 steer_session_name(item));
	if (word != NULL) {
		json_t *stored = record_word_stored(item->record, RECORD_ALL,
						    hf_loop_wall_ms(ask->center->loop));

		json_object_update(word, stored);
		json_decref(stored);
	}
	ask_answer(ask, word);
	free(ask);
}

struct patch {
	bool set_user_id, set_tags, touches_tags;
	const char *user_id; /* NULL: none */
	struct hf_bytes add[HF_TAGS_MAX], remove[HF_TAGS_MAX];
	size_t add_count, remove_count;
};

static const struct ids_kind tag_kind = { "a tag", HF_TAG_MAX, HF_TAGS_MAX };

static int parse_tags(const json_t *tags, struct patch *ret, struct problem *ret_problem)
{
	static const char *const known[] = { "add", "remove", "set", NULL };
	const json_t *set = json_object_get(tags, "set");
	const struct hf_bytes *shared;
	char text[HF_TAG_MAX + 1] = "";
	int err;

	if (tags == NULL || json_is_null(tags))
		return 0;
	if (!json_is_object(tags) || json_object_size(tags) == 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "tags", NULL,
				   "tags must be an object of add and remove, or of set");
	ret->touches_tags = true;
	ret->set_tags = set != NULL && !json_is_null(set);
	err = fields_known(tags, "tags.", known, ret_problem);
	if (err == 0 && ret->set_tags && json_object_size(tags) > 1)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "tags.set", NULL,
				   "tags.set stands alone, without add and remove");
	if (err == 0 && ret->set_tags)
		return ids_parse_any(set, "tags.set", &tag_kind, ret->add, &ret->add_count,
				     ret_problem);
	if (err == 0)
		err = ids_parse_any(json_object_get(tags, "add"), "tags.add", &tag_kind, ret->add,
				    &ret->add_count, ret_problem);
	if (err == 0)
		err = ids_parse_any(json_object_get(tags, "remove"), "tags.remove", &tag_kind,
				    ret->remove, &ret->remove_count, ret_problem);
	if (err < 0)
		return err;
	shared = ids_shared(ret->add, ret->add_count, ret->remove, ret->remove_count);
	if (shared == NULL)
		return 0;
	memcpy(text, shared->data, shared->len);
	return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "tags", text,
			   "a tag stands in add and in remove");
}

static int parse_patch(const json_t *body, struct patch *ret, struct problem *ret_problem)
{
	static const char *const known[] = { "user_id", "tags", "attributes", NULL };
	const json_t *user_id = json_object_get(body, "user_id");
	int err = fields_known(body, "", known, ret_problem);

	ret->set_user_id = user_id != NULL;
	if (err == 0)
		err = fields_unsupported(json_object_get(body, "attributes"), "attributes",
					 ret_problem);
	if (err == 0)
		err = fields_text(user_id, "user_id", 1, HF_USER_ID_MAX, &ret->user_id,
				  ret_problem);
	if (err == 0)
		err = parse_tags(json_object_get(body, "tags"), ret, ret_problem);
	if (err == 0 && !ret->set_user_id && !ret->touches_tags)
		return problem_set(ret_problem, 400, "MISSING_FIELD", NULL, NULL,
				   "user_id or tags is required");
	return err;
}

static void lend(const struct hf_bytes *names, size_t count, ProtobufCBinaryData *ret)
{
	for (size_t i = 0; i < count; i++)
		ret[i] = (ProtobufCBinaryData){ names[i].len, (uint8_t *)(uintptr_t)names[i].data };
}

static int start_patch(struct ask *ask, struct hf_bytes id, const struct patch *patch)
{
	ProtobufCBinaryData add[HF_TAGS_MAX], remove[HF_TAGS_MAX];
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;

	request.app = ask->app;
	request.set_user_id = patch->set_user_id;
	if (patch->user_id != NULL)
		request.user_id = (ProtobufCBinaryData){ strlen(patch->user_id),
							 (uint8_t *)(uintptr_t)patch->user_id };
	request.set_tags = patch->set_tags;
	lend(patch->add, patch->add_count, add);
	lend(patch->remove, patch->remove_count, remove);
	request.n_tags_add = patch->add_count;
	request.tags_add = add;
	request.n_tags_remove = patch->remove_count;
	request.tags_remove = remove;
	return change_start(ask->center, &request, &id, 1, on_patched, ask);
}

void api_change_registration(struct call *call)
{
	struct patch patch = { .set_user_id = false };
	struct problem problem;
	struct ask *ask = NULL;
	struct hf_bytes id;
	json_t *body;

	if (!steer_registration(call, &id))
		return;
	body = api_body(call);
	if (body == NULL)
		return;
	if (parse_patch(body, &patch, &problem) < 0)
		api_fail(call, &problem);
	else
		ask = ask_new(call, sizeof(*ask));
	if (ask != NULL && start_patch(ask, id, &patch) < 0) {
		ask_unavailable(ask, "OVERLOADED", "out of memory");
		free(ask);
	}
	json_decref(body);
}

/* ---- what also ends the connection ---- */

struct ending {
	struct ask ask; /* first */
	uint32_t code;
	bool barring;
	uint64_t until_ms;
	char reason[HF_WIRE_REASON_MAX + 1];
	char registration[HF_REGISTRATION_MAX + 1];
};

static json_t *word_bar(const struct ending *ending)
{
	Hf__RegistrationRecord record = HF__REGISTRATION_RECORD__INIT;
	json_t *word;

	record.barred_until_ms = ending->until_ms;
	record.bar_reason =
		(ProtobufCBinaryData){ strlen(ending->reason), (uint8_t *)ending->reason };
	word = record_word_stored(&record, RECORD_BAR, 0);
	json_object_set_new(word, "registration_id", json_string(ending->registration));
	return word;
}

static void ending_end(struct ending *ending, Hf__KickResult result)
{
	json_t *word = ending->barring ? word_bar(ending) : json_pack("{s:b}", "deleted", 1);

	json_object_set_new(word, "connection", json_string(steer_kick_name(result)));
	ask_answer(&ending->ask, word);
	free(ending);
}

static void on_ended(const Hf__KickReply *reply, void *ctx)
{
	ending_end(ctx, reply != NULL && reply->n_results == 1 ? reply->results[0]
							       : HF__KICK_RESULT__KICK_FAILED);
}

static void end_connection(struct ending *ending)
{
	struct hf_bytes id = hf_bytes_of_string(ending->registration);

	if (ask_goes_on(&ending->ask))
		steer_disconnect(ending->ask.center, ending->ask.app, &id, 1, ending->code,
				 ending->reason, on_ended, ending);
	else
		ending_end(ending, HF__KICK_RESULT__KICK_FAILED);
}

static struct ending *new_ending(struct call *call, uint32_t code)
{
	struct ending *ending;
	struct hf_bytes id;

	if (!steer_registration(call, &id))
		return NULL;
	ending = ask_new(call, sizeof(*ending));
	if (ending == NULL)
		return NULL;
	ending->code = code;
	memcpy(ending->registration, id.data, id.len);
	return ending;
}

/* ---- DELETE .../registrations/{id} ---- */

static void on_forgotten(const Hf__ForgetRegistrationReply *reply, void *ctx)
{
	struct ending *ending = ctx;
	struct problem problem;

	if (reply != NULL && reply->known) {
		end_connection(ending);
		return;
	}
	if (reply == NULL) {
		ask_no_store(&ending->ask);
	} else {
		problem_set(&problem, 404, "UNREGISTERED", NULL, NULL,
			    "no client ever attached as this registration");
		ask_fail(&ending->ask, &problem);
	}
	free(ending);
}

void api_delete_registration(struct call *call)
{
	Hf__ForgetRegistrationRequest request = HF__FORGET_REGISTRATION_REQUEST__INIT;
	struct ending *ending = new_ending(call, HF_CLOSE_KICKED);
	struct center *center = call->center;
	uint16_t slot;

	if (ending == NULL)
		return;
	slot = hf_service_slot(center->service, call->app_id, call->arg, call->arg_len);
	request.app = call->app_id;
	request.registration = (ProtobufCBinaryData){ call->arg_len, (uint8_t *)call->arg };
	hf__saver__forget_registration(hf_peers_call(center->savers,
						     hf_peers_by_slot(center->savers, slot),
						     (uint32_t)center->config->query_ms),
				       &request, on_forgotten, ending);
}

/* ---- POST and DELETE .../registrations/{id}/bar ---- */

static void on_barred(struct change *change, void *ctx)
{
	struct ending *ending = ctx;
	struct problem problem;

	if (steer_change_problem(&change->items[0], &problem) < 0) {
		ask_fail(&ending->ask, &problem);
		free(ending);
	} else if (ending->until_ms > 0 && change->items[0].session == CHANGE_SESSION_TOLD) {
		ending_end(ending, HF__KICK_RESULT__KICKED); /* by the room, as it heard of it */
	} else if (ending->until_ms > 0) {
		end_connection(ending);
	} else {
		ask_answer(&ending->ask, word_bar(ending));
		free(ending);
	}
}

static void set_bar(struct ending *ending)
{
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	struct hf_bytes id = hf_bytes_of_string(ending->registration);

	request.app = ending->ask.app;
	request.set_bar = true;
	request.barred_until_ms = ending->until_ms;
	request.bar_reason =
		(ProtobufCBinaryData){ strlen(ending->reason), (uint8_t *)ending->reason };
	ending->barring = true;
	if (change_start(ending->ask.center, &request, &id, 1, on_barred, ending) < 0) {
		ask_unavailable(&ending->ask, "OVERLOADED", "out of memory");
		free(ending);
	}
}

void api_bar_registration(struct call *call)
{
	static const char *const known[] = { "seconds", "reason", NULL };
	json_t *body = api_body(call);
	struct ending *ending = NULL;
	const char *reason = "";
	struct problem problem;
	uint64_t seconds = 0;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = steer_parse_bar_seconds(json_object_get(body, "seconds"), "seconds", &seconds,
					      &problem);
	if (err == 0 && seconds == 0)
		err = problem_set(&problem, 400, "MISSING_FIELD", "seconds", NULL,
				  "seconds is required");
	if (err == 0)
		err = fields_text(json_object_get(body, "reason"), "reason", 0, HF_WIRE_REASON_MAX,
				  &reason, &problem);
	if (err < 0)
		api_fail(call, &problem);
	else
		ending = new_ending(call, HF_CLOSE_BANNED);
	if (ending != NULL) {
		ending->until_ms = hf_loop_wall_ms(call->center->loop) + seconds * 1000;
		memcpy(ending->reason, reason, strlen(reason) + 1);
		set_bar(ending);
	}
	json_decref(body);
}

void api_unbar_registration(struct call *call)
{
	struct ending *ending = new_ending(call, 0);

	if (ending != NULL)
		set_bar(ending);
}
