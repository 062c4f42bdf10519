/* services/center/registrations.c - registrations: one, some by name, pages of all; and a user's.
 *
 * One, some and a user's come from Redis and are as of now; pages come from MySQL, some seconds
 * late. */
#include <stdlib.h>

#include "ask.h"
#include "fields.h"
#include "hf_audience.h"
#include "hf_text.h"
#include "ids.h"
#include "query.h"
#include "records.h"
#include "steer.h"

static json_t *word_items(const struct records *records)
{
	json_t *list = json_array();

	for (size_t i = 0; i < records->count; i++)
		json_array_append_new(list, record_word(records->center, &records->items[i],
							records->fields));
	return list;
}

static bool nothing_read(const struct records *records)
{
	for (size_t i = 0; i < records->count; i++)
		if (records->items[i].read)
			return false;
	return records->count > 0 && records->fields & RECORD_OF_STORE;
}

/* ---- POST .../registrations/query ---- */

static void on_queried(struct records *records, void *ctx)
{
	struct ask *ask = ctx;

	if (nothing_read(records))
		ask_no_store(ask);
	else
		ask_answer(ask, json_pack("{s:o, s:b}", "registrations", word_items(records),
					  "complete", (int)!records->unread));
	free(ask);
}

static void start_query(struct call *call, const struct hf_bytes *ids, size_t count,
			unsigned fields, records_done done)
{
	struct ask *ask = ask_new(call, sizeof(*ask));

	if (ask == NULL)
		return;
	if (records_start(call->center, call->app_id, ids, count, fields, done, ask) < 0) {
		ask_unavailable(ask, "OVERLOADED", "out of memory");
		free(ask);
	}
}

void api_query_registrations(struct call *call)
{
	static const char *const known[] = { "registration_ids", "fields", NULL };
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	struct problem problem;
	json_t *body = api_body(call);
	unsigned fields = 0;
	size_t count = 0;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = records_parse_fields(json_object_get(body, "fields"), &fields, &problem);
	if (err == 0)
		err = ids_parse(json_object_get(body, "registration_ids"), "registration_ids", ids,
				&count, &problem);
	if (err < 0)
		api_fail(call, &problem);
	else
		start_query(call, ids, count, fields, on_queried);
	json_decref(body);
}

/* ---- GET .../registrations/{id} ---- */

static void on_shown(struct records *records, void *ctx)
{
	struct ask *ask = ctx;
	const struct record_item *item = &records->items[0];
	struct problem problem;

	if (!item->read) {
		ask_no_store(ask);
	} else if (!item->known) {
		problem_set(&problem, 404, "UNREGISTERED", NULL, NULL,
			    "no client ever attached as this registration");
		ask_fail(ask, &problem);
	} else {
		ask_answer(ask, record_word(records->center, item, records->fields));
	}
	free(ask);
}

void api_show_registration(struct call *call)
{
	struct hf_bytes id;

	if (steer_registration(call, &id))
		start_query(call, &id, 1, RECORD_ALL, on_shown);
}

/* ---- GET .../users/{id} ---- */

struct user_asking {
	struct ask ask; /* first */
	char user_id[HF_USER_ID_MAX + 1];
};

static void on_user_found(struct records *records, void *ctx)
{
	struct user_asking *asking = ctx;
	json_t *online = json_false();

	for (size_t i = 0; i < records->count; i++) {
		Hf__Presence presence = records->items[i].online;

		if (presence == HF__PRESENCE__ONLINE) {
			online = json_true();
			break;
		}
		if (presence == HF__PRESENCE__NOT_YET_KNOWN)
			online = json_null();
	}
	if (nothing_read(records))
		ask_no_store(&asking->ask);
	else
		ask_answer(&asking->ask,
			   json_pack("{s:s, s:O, s:b, s:o}", "user_id", asking->user_id, "online",
				     online, "complete", (int)!records->unread, "registrations",
				     word_items(records)));
	free(asking);
}

static void on_user(const Hf__ReadUsersReply *reply, void *ctx)
{
	struct user_asking *asking = ctx;
	const Hf__UserRegistrations *user =
		reply != NULL && reply->n_users == 1 ? reply->users[0] : NULL;
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	struct problem problem;
	size_t count;

	if (user == NULL || !ask_goes_on(&asking->ask)) {
		ask_no_store(&asking->ask);
		free(asking);
		return;
	}
	count = HF_MIN(user->n_registrations, (size_t)REQUEST_TARGETS_MAX);
	for (size_t i = 0; i < count; i++)
		ids[i] = hf_bytes_of(user->registrations[i].data, user->registrations[i].len);
	if (count == 0) {
		problem_set(&problem, 404, "USER_UNKNOWN", NULL, NULL,
			    "no registration has this user id");
		ask_fail(&asking->ask, &problem);
	} else if (records_start(asking->ask.center, asking->ask.app, ids, count, RECORD_ALL,
				 on_user_found, asking) == 0) {
		return;
	} else {
		ask_unavailable(&asking->ask, "OVERLOADED", "out of memory");
	}
	free(asking);
}

void api_show_user(struct call *call)
{
	struct hf_bytes id = hf_bytes_of(call->arg, call->arg_len);
	struct user_asking *asking;
	struct problem problem;

	if (!hf_text_is_id(call->arg, call->arg_len, HF_USER_ID_MAX)) {
		problem_set(&problem, 400, "BAD_VALUE", "user_id", NULL,
			    "a user id is text of 1 to %d bytes, without control characters",
			    HF_USER_ID_MAX);
		api_fail(call, &problem);
		return;
	}
	asking = ask_new(call, sizeof(*asking));
	if (asking == NULL)
		return;
	memcpy(asking->user_id, call->arg, call->arg_len);
	steer_read_users(call->center, call->app_id, &id, 1, on_user, asking);
}

/* ---- GET .../registrations ---- */

#define LIST_CURSOR 'r'

enum { ONLINE_FALSE, ONLINE_TRUE, ONLINE_ANY };

struct listing {
	struct ask ask; /* first */
	int online;
	json_t *stored; /* by position: what the store says of each */
	uint8_t last[HF_REGISTRATION_MAX];
	size_t last_len; /* 0: that was the last page */
};

static void listing_free(struct listing *listing)
{
	json_decref(listing->stored);
	free(listing);
}

static void on_listed_found(struct lookup *lookup, void *ctx)
{
	struct listing *listing = ctx;
	json_t *list = json_array();

	for (size_t i = 0; i < lookup->count; i++) {
		const struct lookup_item *found = &lookup->items[i];
		struct record_item item = {
			.registration = found->registration,
			.read = true,
			.known = true,
			.record = json_array_get(listing->stored, i),
			.online = found->presence,
			.room = found->room,
		};

		if (listing->online == ONLINE_ANY ||
		    found->presence == (listing->online == ONLINE_TRUE ? HF__PRESENCE__ONLINE
								       : HF__PRESENCE__OFFLINE))
			json_array_append_new(list, record_word(lookup->center, &item, RECORD_ALL));
	}
	ask_answer(&listing->ask,
		   json_pack("{s:o, s:o}", "registrations", list, "next_cursor",
			     query_next_cursor(LIST_CURSOR, listing->last, listing->last_len)));
	listing_free(listing);
}

static void on_listed(const Hf__ListRegistrationsReply *reply, void *ctx)
{
	struct listing *listing = ctx;
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	uint64_t now_ms;
	size_t count;

	if (reply == NULL || !ask_goes_on(&listing->ask)) {
		ask_no_store(&listing->ask);
		listing_free(listing);
		return;
	}
	now_ms = hf_loop_wall_ms(listing->ask.center->loop);
	listing->stored = json_array();
	count = HF_MIN(reply->n_registrations, (size_t)REQUEST_TARGETS_MAX);
	for (size_t i = 0; i < count; i++) {
		const Hf__ListedRegistration *listed = reply->registrations[i];

		ids[i] = hf_bytes_of(listed->registration.data, listed->registration.len);
		json_array_append_new(listing->stored,
				      listed->record != NULL
					      ? record_word_stored(listed->record, RECORD_ALL,
								   now_ms)
					      : json_object());
	}
	if (count > 0 && reply->more && ids[count - 1].len <= sizeof(listing->last)) {
		listing->last_len = ids[count - 1].len;
		memcpy(listing->last, ids[count - 1].data, listing->last_len);
	}
	if (lookup_start(listing->ask.center, listing->ask.app, ids, count, on_listed_found,
			 listing) < 0) {
		ask_unavailable(&listing->ask, "OVERLOADED", "out of memory");
		listing_free(listing);
	}
}

struct list_query {
	char user_id[HF_USER_ID_MAX + 1], tag[HF_TAG_MAX + 1], platform[HF_PLATFORM_MAX + 1];
	size_t user_id_len, tag_len, platform_len;
	int online;
	struct query_page page;
};

static int parse_list(struct call *call, struct list_query *ret, struct problem *ret_problem)
{
	static const char *const booleans[] = { "false", "true", NULL };
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	int err = query_id(query, "user_id", HF_USER_ID_MAX, ret->user_id, &ret->user_id_len,
			   ret_problem);

	ret->online = ONLINE_ANY;
	if (err == 0)
		err = query_id(query, "tag", HF_TAG_MAX, ret->tag, &ret->tag_len, ret_problem);
	if (err == 0)
		err = query_id(query, "platform", HF_PLATFORM_MAX, ret->platform,
			       &ret->platform_len, ret_problem);
	if (err == 0)
		err = query_choice(query, "online", booleans, &ret->online, ret_problem);
	if (err == 0)
		err = query_page(query, LIST_CURSOR, HF_REGISTRATION_MAX, REQUEST_TARGETS_MAX,
				 &ret->page, ret_problem);
	return err;
}

void api_list_registrations(struct call *call)
{
	Hf__ListRegistrationsRequest request = HF__LIST_REGISTRATIONS_REQUEST__INIT;
	struct center *center = call->center;
	struct list_query query;
	struct listing *listing;
	struct problem problem;

	if (parse_list(call, &query, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	listing = ask_new(call, sizeof(*listing));
	if (listing == NULL)
		return;
	listing->online = query.online;
	request.app = call->app_id;
	request.limit = (uint32_t)query.page.limit;
	request.after = (ProtobufCBinaryData){ query.page.cursor_len, query.page.cursor };
	request.user_id = (ProtobufCBinaryData){ query.user_id_len, (uint8_t *)query.user_id };
	request.tag = (ProtobufCBinaryData){ query.tag_len, (uint8_t *)query.tag };
	request.platform = (ProtobufCBinaryData){ query.platform_len, (uint8_t *)query.platform };
	hf__saver__list_registrations(hf_peers_call(center->savers,
						    hf_peers_pick(center->savers,
								  HF_BALANCE_LEAST_IN_FLIGHT),
						    (uint32_t)center->config->query_ms),
				      &request, on_listed, listing);
}
