/* services/center/registrations.c - POST .../registrations/query: who of these is connected, and
 * where. */
#include <stdlib.h>

#include "api.h"
#include "fields.h"
#include "ids.h"
#include "lookup.h"
#include "problem.h"

struct query {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
};

static json_t *word_item(struct center *center, const struct lookup_item *item)
{
	const struct hf_peer *room = item->presence == HF__PRESENCE__ONLINE
					     ? hf_peers_by_number(center->rooms, item->room)
					     : NULL;
	json_t *online = item->presence == HF__PRESENCE__NOT_YET_KNOWN
				 ? json_null()
				 : json_boolean(item->presence == HF__PRESENCE__ONLINE);

	return json_pack("{s:s%, s:o, s:o}", "registration_id", item->registration.data,
			 item->registration.len, "online", online, "node",
			 room != NULL ? json_string(room->instance.id) : json_null());
}

static void on_found(struct lookup *lookup, void *ctx)
{
	struct query *query = ctx;
	json_t *list;

	if (query->exchange != NULL) {
		list = json_array();
		for (size_t i = 0; i < lookup->count; i++)
			json_array_append_new(list, word_item(query->center, &lookup->items[i]));
		api_respond_json(query->exchange, 200, json_pack("{s:o}", "registrations", list));
	}
	free(query);
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct query *)ctx)->exchange = NULL;
}

static int check_fields(const json_t *fields, struct problem *ret_problem)
{
	for (size_t i = 0; i < json_array_size(fields); i++) {
		const char *name = json_string_value(json_array_get(fields, i));

		if (name == NULL || strcmp(name, "online") != 0)
			return problem_set(ret_problem, 400, "UNSUPPORTED", "fields", name,
					   "online is the only field in this version");
	}
	if (fields != NULL && !json_is_array(fields) && !json_is_null(fields))
		return problem_set(ret_problem, 400, "BAD_VALUE", "fields", NULL,
				   "fields must be an array");
	return 0;
}

void api_query_registrations(struct call *call)
{
	static const char *const known[] = { "registration_ids", "fields", NULL };
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	struct query *query = NULL;
	struct problem problem;
	json_t *body = api_body(call);
	size_t count = 0;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = check_fields(json_object_get(body, "fields"), &problem);
	if (err == 0)
		err = ids_parse(json_object_get(body, "registration_ids"), "registration_ids", ids,
				&count, &problem);
	if (err == 0) {
		query = malloc(sizeof(*query));
		if (query == NULL)
			err = problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
	}
	if (err == 0) {
		*query = (struct query){ call->center, call->exchange };
		hf_http_exchange_on_abort(call->exchange, on_client_left, query);
		err = lookup_start(call->center, call->app_id, ids, count, on_found, query);
		if (err < 0) {
			free(query);
			problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		}
	}
	if (err < 0)
		api_fail(call, &problem);
	json_decref(body);
}
