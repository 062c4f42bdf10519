/* services/center/why.c - GET .../messages/{id}/why and .../registrations/{id}/why: what every
 * process remembers of it (common/why), as one story in the order of time. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "center.pb-c.h"
#include "hf_clock.h"
#include "hf_text.h"
#include "hf_why_rpc.h"
#include "hf_wire.h"
#include "problem.h"
#include "query.h"

#define RECORDS_MAX 20000 /* of all processes together, until the newest are chosen */

struct record {
	uint64_t at_us, message_id, name, detail;
	uint32_t outcome, hop;
	char node[HF_NODE_ID_MAX + 1];
};

struct story {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	uint32_t app;
	uint64_t limit, since_us; /* since: below it some process has forgotten */
	unsigned open;            /* asked and not answered, and 1 while they are asked */
	uint64_t message_id;
	char registration[HF_REGISTRATION_MAX];
	size_t registration_len;
	json_t *silent; /* names of who did not answer */
	struct record *records;
	size_t count, capacity;
	bool truncated;
};

/* One process that was asked. */
struct asked {
	struct story *story;
	char node[HF_NODE_ID_MAX + 1];
};

static const char *const services[] = {
	[HF_WHY_HOP_NONE] = "unknown", [HF_WHY_CENTER] = "center",
	[HF_WHY_SAVER] = "saver",      [HF_WHY_REGISTER] = "register",
	[HF_WHY_ROOM] = "room",        [HF_WHY_COORDINATOR] = "coordinator",
};

static void story_free(struct story *story)
{
	json_decref(story->silent);
	free(story->records);
	free(story);
}

static int by_time(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	if (x->at_us != y->at_us)
		return x->at_us < y->at_us ? -1 : 1;
	return x->hop != y->hop ? (x->hop < y->hop ? -1 : 1) : 0;
}

static json_t *word_time(uint64_t at_us)
{
	char text[HF_CLOCK_TEXT_SIZE + 4];
	size_t len;

	hf_clock_format(at_us / 1000, text);
	len = strlen(text);
	snprintf(text + len - 1, sizeof(text) - len + 1, "%03uZ", (unsigned)(at_us % 1000));
	return json_string(text);
}

static const char *node_name(const struct hf_peers *peers, uint64_t number)
{
	const struct hf_peer *peer =
		number <= UINT32_MAX ? hf_peers_by_number(peers, (uint32_t)number) : NULL;

	return peer != NULL ? peer->instance.id : NULL;
}

/* What happened, in words; of another process by its name, while it lives. */
static json_t *word_text(const struct center *center, const struct record *record)
{
	const struct hf_why_words *words = hf_why_words(record->outcome);
	const struct hf_peers *peers = NULL;
	const char *name, *role = "";
	char text[256];

	if (words == NULL)
		return json_string("something that this version has no words for");
	if (words->detail == HF_WHY_DETAIL_NONE)
		return json_string(words->text);
	if (words->detail == HF_WHY_DETAIL_ROOM) {
		peers = center->rooms;
		role = "room ";
	} else if (words->detail == HF_WHY_DETAIL_SAVER) {
		peers = center->savers;
		role = "saver ";
	}
	if (words->detail == HF_WHY_DETAIL_CLOSE) {
		if (hf_close_is_known((unsigned)record->detail))
			snprintf(text, sizeof(text), "%s %s (%u)", words->text,
				 hf_close_name((unsigned)record->detail), (unsigned)record->detail);
		else
			snprintf(text, sizeof(text), "%s the connection is lost", words->text);
		return json_string(text);
	}
	name = peers != NULL ? node_name(peers, record->detail) : NULL;
	if (name != NULL)
		snprintf(text, sizeof(text), "%s %s", words->text, name);
	else
		snprintf(text, sizeof(text), "%s %s%llu", words->text, role,
			 (unsigned long long)record->detail);
	return json_string(text);
}

static json_t *word_record(const struct story *story, const struct record *record)
{
	const struct hf_why_words *words = hf_why_words(record->outcome);
	char id[HF_ID_TEXT_SIZE] = "", hash[17];
	json_t *registration = json_null();

	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)record->name);
	if (record->message_id != 0)
		hf_id_format(record->message_id, id);
	if (story->registration_len > 0)
		registration = json_stringn(story->registration, story->registration_len);
	return json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s}", "at", word_time(record->at_us),
			 "service",
			 services[record->hop < HF_ARRAY_LEN(services) ? record->hop : 0], "node",
			 record->node, "outcome", words != NULL ? words->name : "unknown", "text",
			 word_text(story->center, record), "message_id",
			 record->message_id != 0 ? json_string(id) : json_null(), "registration_id",
			 registration, "registration_hash", hash);
}

static void answer(struct story *story)
{
	json_t *list = json_array();
	size_t first;

	if (story->exchange != NULL) {
		if (story->count > 0)
			qsort(story->records, story->count, sizeof(story->records[0]), by_time);
		first = story->count > story->limit ? story->count - story->limit : 0;
		for (size_t i = first; i < story->count; i++)
			json_array_append_new(list, word_record(story, &story->records[i]));
		api_respond_json(story->exchange, 200,
				 json_pack("{s:O, s:b, s:O, s:o}", "records", list, "more",
					   first > 0 || story->truncated, "silent", story->silent,
					   "remembered_since",
					   story->since_us > 0 ? word_time(story->since_us)
							       : json_null()));
	}
	json_decref(list);
	story_free(story);
}

static void release(struct story *story)
{
	if (--story->open == 0)
		answer(story);
}

static void take_record(struct story *story, const struct asked *asked, const Hf__WhyRecord *from)
{
	struct record *to;

	if (story->count == RECORDS_MAX) {
		story->truncated = true;
		return;
	}
	if (story->count == story->capacity) {
		size_t capacity = HF_MAX(2 * story->capacity, (size_t)64);
		struct record *grown = realloc(story->records, capacity * sizeof(*grown));

		if (grown == NULL) {
			story->truncated = true;
			return;
		}
		story->records = grown;
		story->capacity = capacity;
	}
	to = &story->records[story->count++];
	*to = (struct record){ .at_us = from->at_us,
			       .message_id = from->message_id,
			       .name = from->name_hash,
			       .detail = from->detail,
			       .outcome = from->outcome,
			       .hop = from->hop };
	memcpy(to->node, asked->node, sizeof(to->node));
}

static void on_records(const Hf__WhyReply *reply, void *ctx)
{
	struct asked *asked = ctx;
	struct story *story = asked->story;

	if (reply == NULL) {
		json_array_append_new(story->silent, json_string(asked->node));
	} else {
		for (size_t i = 0; i < reply->n_records && i < HF_WHY_REPLY_MAX; i++)
			take_record(story, asked, reply->records[i]);
		story->truncated |= reply->n_records >= story->limit;
		story->since_us = HF_MAX(story->since_us, reply->oldest_us);
	}
	free(asked);
	release(story);
}

typedef void (*why_call)(ProtobufCService *service, const Hf__WhyRequest *request,
			 Hf__WhyReply_Closure closure, void *ctx);

static void ask(struct story *story, struct hf_peers *peers, why_call call)
{
	Hf__WhyRequest request = HF__WHY_REQUEST__INIT;

	request.app = story->app;
	request.message_id = story->message_id;
	request.registration.data = (uint8_t *)story->registration;
	request.registration.len = story->registration_len;
	request.max = (uint32_t)story->limit;
	for (struct hf_peer *peer = hf_peers_first(peers); peer != NULL; peer = peer->next) {
		struct asked *asked = malloc(sizeof(*asked));

		if (asked == NULL) {
			json_array_append_new(story->silent, json_string(peer->instance.id));
			continue;
		}
		asked->story = story;
		snprintf(asked->node, sizeof(asked->node), "%s", peer->instance.id);
		story->open++;
		call(hf_peers_call(peers, peer, (uint32_t)story->center->config->query_ms),
		     &request, on_records, asked);
	}
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct story *)ctx)->exchange = NULL;
}

/* Ask all; the registration is copied. */
static void tell(struct call *call, uint64_t message_id, struct hf_bytes registration)
{
	struct center *center = call->center;
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	struct story *story = calloc(1, sizeof(*story));
	struct problem problem;
	int err;

	if (story != NULL)
		story->silent = json_array();
	if (story == NULL || story->silent == NULL) {
		free(story);
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		return;
	}
	story->limit = QUERY_LIMIT;
	err = query_uint(query, "limit", 1, HF_WHY_REPLY_MAX, &story->limit, &problem);
	if (err < 0) {
		story_free(story);
		api_fail(call, &problem);
		return;
	}
	story->center = center;
	story->exchange = call->exchange;
	story->app = call->app_id;
	story->message_id = message_id;
	story->registration_len = registration.len;
	if (registration.len > 0)
		memcpy(story->registration, registration.data, registration.len);
	story->open = 1;
	hf_http_exchange_on_abort(call->exchange, on_client_left, story);
	ask(story, center->centers, hf__center__why);
	ask(story, center->savers, hf__saver__why);
	ask(story, center->registers, hf__register__why);
	ask(story, center->rooms, hf__room__why);
	ask(story, center->coordinators, hf__coordinator__why);
	release(story);
}

void api_why_message(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	char registration[HF_REGISTRATION_MAX + 1];
	struct problem problem;
	size_t len = 0;
	uint64_t id;
	int err = 0;

	if (hf_id_parse(call->arg, call->arg_len, &id) < 0 || id == 0)
		err = problem_set(&problem, 404, "MESSAGE_UNKNOWN", NULL, NULL, "not a message id");
	if (err == 0)
		err = query_id(query, "registration_id", HF_REGISTRATION_MAX, registration, &len,
			       &problem);
	if (err < 0)
		api_fail(call, &problem);
	else
		tell(call, id, hf_bytes_of(registration, len));
}

void api_why_registration(struct call *call)
{
	struct problem problem;

	if (!hf_text_is_id(call->arg, call->arg_len, HF_REGISTRATION_MAX)) {
		problem_set(&problem, 400, "BAD_VALUE", "registration_id", NULL,
			    "registration_id must be a registration id");
		api_fail(call, &problem);
		return;
	}
	tell(call, 0, hf_bytes_of(call->arg, call->arg_len));
}

/* Our own part of a story. */
static void on_why(Hf__Center_Service *rpc, const Hf__WhyRequest *request,
		   Hf__WhyReply_Closure closure, void *call)
{
	hf_why_answer(&HF_CONTAINER_OF(rpc, struct center, rpc)->service->why, request, closure,
		      call);
}

int why_serve(struct center *center)
{
	center->rpc = (Hf__Center_Service){
		.base = { &hf__center__descriptor, protobuf_c_service_invoke_internal, NULL },
		.why = on_why,
	};
	return hf_service_serve_rpc(center->service, &center->rpc.base);
}
