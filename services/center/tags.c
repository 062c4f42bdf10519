/* services/center/tags.c - an app's tags: listed and counted from MySQL, some seconds late; put on
 * and taken off registrations at once. */
#include <stdlib.h>

#include "ask.h"
#include "change.h"
#include "fields.h"
#include "hf_audience.h"
#include "ids.h"
#include "query.h"
#include "steer.h"

#define LIST_CURSOR   't'
#define DELETE_CURSOR 'd'
#define DELETE_PAGE   500
#define DELETE_MS     10000 /* then the answer says where to go on */

/* The tag in the path; false: already answered. */
static bool tag_of_path(struct call *call, struct hf_bytes *ret)
{
	struct problem problem;

	*ret = hf_bytes_of(call->arg, call->arg_len);
	if (hf_tag_is_valid(*ret))
		return true;
	problem_set(&problem, 400, "BAD_VALUE", "tag", NULL,
		    "a tag is text of 1 to %d bytes, without control characters", HF_TAG_MAX);
	api_fail(call, &problem);
	return false;
}

static ProtobufCService *any_saver(struct center *center)
{
	return hf_peers_call(center->savers,
			     hf_peers_pick(center->savers, HF_BALANCE_LEAST_IN_FLIGHT),
			     (uint32_t)center->config->query_ms);
}

/* ---- GET .../tags ---- */

static void on_tags(const Hf__ListTagsReply *reply, void *ctx)
{
	struct ask *ask = ctx;
	ProtobufCBinaryData last = { 0, NULL };
	json_t *list;

	if (reply == NULL) {
		ask_no_store(ask);
		free(ask);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < reply->n_tags; i++) {
		const Hf__ListedTag *tag = reply->tags[i];

		last = tag->tag;
		json_array_append_new(list,
				      json_pack("{s:s%, s:I}", "tag", tag->tag.data, tag->tag.len,
						"registrations", (json_int_t)tag->registrations));
	}
	ask_answer(ask, json_pack("{s:o, s:o}", "tags", list, "next_cursor",
				  query_next_cursor(LIST_CURSOR, last.data,
						    reply->more ? last.len : 0)));
	free(ask);
}

void api_list_tags(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	Hf__ListTagsRequest request = HF__LIST_TAGS_REQUEST__INIT;
	char prefix[HF_TAG_MAX + 1];
	struct query_page page;
	struct problem problem;
	struct ask *ask;
	size_t prefix_len;

	if (query_id(query, "prefix", HF_TAG_MAX, prefix, &prefix_len, &problem) < 0 ||
	    query_page(query, LIST_CURSOR, HF_TAG_MAX, REQUEST_TARGETS_MAX, &page, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	ask = ask_new(call, sizeof(*ask));
	if (ask == NULL)
		return;
	request.app = call->app_id;
	request.prefix = (ProtobufCBinaryData){ prefix_len, (uint8_t *)prefix };
	request.after = (ProtobufCBinaryData){ page.cursor_len, page.cursor };
	request.limit = (uint32_t)page.limit;
	hf__saver__list_tags(any_saver(call->center), &request, on_tags, ask);
}

/* ---- GET .../tags/{id} ---- */

struct counting {
	struct ask ask; /* first */
	char tag[HF_TAG_MAX + 1];
};

static void on_counted(const Hf__CountRegistrationsReply *reply, void *ctx)
{
	struct counting *counting = ctx;

	if (reply == NULL)
		ask_no_store(&counting->ask);
	else
		ask_answer(&counting->ask, json_pack("{s:s, s:I}", "tag", counting->tag,
						     "registrations", (json_int_t)reply->count));
	free(counting);
}

void api_show_tag(struct call *call)
{
	Hf__CountRegistrationsRequest request = HF__COUNT_REGISTRATIONS_REQUEST__INIT;
	Hf__Audience audience = HF__AUDIENCE__INIT;
	ProtobufCBinaryData wanted;
	struct counting *counting;
	struct hf_bytes tag;

	if (!tag_of_path(call, &tag))
		return;
	counting = ask_new(call, sizeof(*counting));
	if (counting == NULL)
		return;
	memcpy(counting->tag, tag.data, tag.len);
	wanted = (ProtobufCBinaryData){ tag.len, (uint8_t *)(uintptr_t)tag.data };
	audience.n_tag = 1;
	audience.tag = &wanted;
	request.app = call->app_id;
	request.audience = &audience;
	hf__saver__count_registrations(any_saver(call->center), &request, on_counted, counting);
}

/* ---- POST .../tags/{id}/registrations ---- */

static const struct ids_kind registration_kind = { "a registration id", HF_REGISTRATION_MAX,
						   REQUEST_TARGETS_MAX };

struct tagging {
	struct ask ask; /* first */
	char tag[HF_TAG_MAX + 1];
	json_t *remove; /* ids that lose it, after the others have got it */
	json_t *errors;
	int added, removed, failed;
};

static void start_remove(struct tagging *tagging);

static void tagging_end(struct tagging *tagging)
{
	if (tagging->failed > 0 && tagging->added + tagging->removed == 0 &&
	    (size_t)tagging->failed == json_array_size(tagging->errors))
		ask_unavailable(&tagging->ask, "STORE_UNAVAILABLE",
				"the store did not answer; asking again is safe");
	else
		ask_answer(&tagging->ask, json_pack("{s:s, s:i, s:i, s:O}", "tag", tagging->tag,
						    "added", tagging->added, "removed",
						    tagging->removed, "errors", tagging->errors));
	json_decref(tagging->remove);
	json_decref(tagging->errors);
	free(tagging);
}

static void gather(struct tagging *tagging, const struct change *change, int *count)
{
	struct problem problem;

	for (size_t i = 0; i < change->count; i++) {
		const struct change_item *item = &change->items[i];

		if (steer_change_problem(item, &problem) == 0) {
			++*count;
			continue;
		}
		tagging->failed += problem.code == 503;
		json_array_append_new(tagging->errors,
				      json_pack("{s:s%, s:s}", "registration_id",
						item->registration.data, item->registration.len,
						"reason", problem.reason));
	}
}

static void on_added(struct change *change, void *ctx)
{
	struct tagging *tagging = ctx;

	gather(tagging, change, &tagging->added);
	start_remove(tagging);
}

static void on_removed(struct change *change, void *ctx)
{
	struct tagging *tagging = ctx;

	gather(tagging, change, &tagging->removed);
	tagging_end(tagging);
}

static int start_change(struct tagging *tagging, const struct hf_bytes *ids, size_t count, bool add,
			change_done done)
{
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	ProtobufCBinaryData tag = { strlen(tagging->tag), (uint8_t *)tagging->tag };

	request.app = tagging->ask.app;
	request.n_tags_add = add;
	request.tags_add = &tag;
	request.n_tags_remove = !add;
	request.tags_remove = &tag;
	return change_start(tagging->ask.center, &request, ids, count, done, tagging);
}

static void start_remove(struct tagging *tagging)
{
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	struct problem problem;
	size_t count = 0;

	if (ids_parse_any(tagging->remove, "remove", &registration_kind, ids, &count, &problem) <
		    0 ||
	    count == 0 || !ask_goes_on(&tagging->ask) ||
	    start_change(tagging, ids, count, false, on_removed) < 0)
		tagging_end(tagging);
}

static int parse_tagging(const json_t *body, struct hf_bytes *add, size_t *ret_add_count,
			 struct problem *ret_problem)
{
	static const char *const known[] = { "add", "remove", NULL };
	struct hf_bytes remove[REQUEST_TARGETS_MAX];
	const struct hf_bytes *shared;
	char text[HF_REGISTRATION_MAX + 1] = "";
	size_t remove_count = 0;
	int err = fields_known(body, "", known, ret_problem);

	if (err == 0)
		err = ids_parse_any(json_object_get(body, "add"), "add", &registration_kind, add,
				    ret_add_count, ret_problem);
	if (err == 0)
		err = ids_parse_any(json_object_get(body, "remove"), "remove", &registration_kind,
				    remove, &remove_count, ret_problem);
	if (err < 0)
		return err;
	if (*ret_add_count + remove_count == 0)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "add", NULL,
				   "add or remove is required");
	shared = ids_shared(add, *ret_add_count, remove, remove_count);
	if (shared == NULL)
		return 0;
	memcpy(text, shared->data, shared->len);
	return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", "remove", text,
			   "a registration stands in add and in remove");
}

void api_tag_registrations(struct call *call)
{
	struct hf_bytes add[REQUEST_TARGETS_MAX], tag;
	struct tagging *tagging = NULL;
	struct problem problem;
	size_t count = 0;
	json_t *body;

	if (!tag_of_path(call, &tag))
		return;
	body = api_body(call);
	if (body == NULL)
		return;
	if (parse_tagging(body, add, &count, &problem) < 0)
		api_fail(call, &problem);
	else
		tagging = ask_new(call, sizeof(*tagging));
	if (tagging != NULL) {
		memcpy(tagging->tag, tag.data, tag.len);
		tagging->errors = json_array();
		tagging->remove = json_incref(json_object_get(body, "remove"));
		if (count == 0)
			start_remove(tagging);
		else if (start_change(tagging, add, count, true, on_added) < 0)
			tagging_end(tagging);
	}
	json_decref(body);
}

/* ---- DELETE .../tags/{id} ---- */

struct deletion {
	struct ask ask; /* first */
	char tag[HF_TAG_MAX + 1];
	uint8_t after[HF_REGISTRATION_MAX];
	size_t after_len;
	uint64_t deadline_ms;
	bool more;
	json_int_t removed, failed;
};

static void list_page(struct deletion *deletion);

static void deletion_end(struct deletion *deletion)
{
	ask_answer(&deletion->ask,
		   json_pack("{s:s, s:I, s:I, s:o}", "tag", deletion->tag, "removed",
			     deletion->removed, "failed", deletion->failed, "next_cursor",
			     query_next_cursor(DELETE_CURSOR, deletion->after,
					       deletion->more ? deletion->after_len : 0)));
	free(deletion);
}

static void on_page_changed(struct change *change, void *ctx)
{
	struct deletion *deletion = ctx;

	for (size_t i = 0; i < change->count; i++) {
		uint8_t outcome = change->items[i].outcome;

		deletion->removed += outcome == CHANGE_MADE && change->items[i].changed;
		deletion->failed += outcome == CHANGE_OPEN || outcome == CHANGE_FAILED;
	}
	if (deletion->more && ask_goes_on(&deletion->ask) && deletion->ask.exchange != NULL &&
	    hf_loop_now_ms(deletion->ask.center->loop) < deletion->deadline_ms)
		list_page(deletion);
	else
		deletion_end(deletion);
}

static int change_page(struct deletion *deletion, const Hf__ListRegistrationsReply *page)
{
	Hf__ChangeRegistrationRequest request = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	ProtobufCBinaryData tag = { strlen(deletion->tag), (uint8_t *)deletion->tag };
	struct hf_bytes ids[DELETE_PAGE];
	size_t count = HF_MIN(page->n_registrations, (size_t)DELETE_PAGE);

	for (size_t i = 0; i < count; i++)
		ids[i] = hf_bytes_of(page->registrations[i]->registration.data,
				     page->registrations[i]->registration.len);
	if (count > 0 && ids[count - 1].len <= sizeof(deletion->after)) {
		deletion->after_len = ids[count - 1].len;
		memcpy(deletion->after, ids[count - 1].data, deletion->after_len);
	}
	deletion->more = page->more && count > 0;
	request.app = deletion->ask.app;
	request.n_tags_remove = 1;
	request.tags_remove = &tag;
	return change_start(deletion->ask.center, &request, ids, count, on_page_changed, deletion);
}

static void on_page(const Hf__ListRegistrationsReply *reply, void *ctx)
{
	struct deletion *deletion = ctx;

	if (reply != NULL && ask_goes_on(&deletion->ask) && change_page(deletion, reply) == 0)
		return;
	if (deletion->removed > 0) /* what is done is told; the cursor leads on */
		deletion_end(deletion);
	else {
		ask_no_store(&deletion->ask);
		free(deletion);
	}
}

static void list_page(struct deletion *deletion)
{
	Hf__ListRegistrationsRequest request = HF__LIST_REGISTRATIONS_REQUEST__INIT;

	request.app = deletion->ask.app;
	request.limit = DELETE_PAGE;
	request.after = (ProtobufCBinaryData){ deletion->after_len, deletion->after };
	request.tag = (ProtobufCBinaryData){ strlen(deletion->tag), (uint8_t *)deletion->tag };
	hf__saver__list_registrations(any_saver(deletion->ask.center), &request, on_page, deletion);
}

void api_delete_tag(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query, tag;
	struct deletion *deletion;
	struct query_page page;
	struct problem problem;

	if (!tag_of_path(call, &tag))
		return;
	if (query_page(query, DELETE_CURSOR, HF_REGISTRATION_MAX, REQUEST_TARGETS_MAX, &page,
		       &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	deletion = ask_new(call, sizeof(*deletion));
	if (deletion == NULL)
		return;
	memcpy(deletion->tag, tag.data, tag.len);
	deletion->after_len = page.cursor_len;
	memcpy(deletion->after, page.cursor, page.cursor_len);
	deletion->deadline_ms = hf_loop_now_ms(call->center->loop) + DELETE_MS;
	list_page(deletion);
}
