/* services/center/connections.c - one registration's connection, and ending connections. */
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "fields.h"
#include "hf_clock.h"
#include "hf_rpc.h"
#include "hf_text.h"
#include "hf_wire.h"
#include "ids.h"
#include "lookup.h"
#include "problem.h"

/* ---- GET .../connections?registration_id= ---- */

struct describe {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	uint32_t room, session;
	char node[HF_NODE_ID_MAX + 1];
	char registration[HF_REGISTRATION_MAX + 1];
};

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct describe *)ctx)->exchange = NULL;
}

static json_t *bytes_json(ProtobufCBinaryData bytes)
{
	json_t *text = bytes.len > 0 ? json_stringn((const char *)bytes.data, bytes.len) : NULL;

	return text != NULL ? text : json_null();
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(wall_ms, text);
	return json_string(text);
}

static void answer_list(struct describe *describe, json_t *connection)
{
	json_t *list = json_array();

	if (connection != NULL)
		json_array_append_new(list, connection);
	if (describe->exchange != NULL)
		api_respond_json(describe->exchange, 200, json_pack("{s:o}", "connections", list));
	else
		json_decref(list);
	free(describe);
}

static void answer_unknown(struct describe *describe)
{
	if (describe->exchange != NULL) {
		center_count_refusal(describe->center, "REGISTER_DEGRADED");
		hf_http_respond_error(describe->exchange, 503, NULL, "REGISTER_DEGRADED",
				      "where this registration is, is not known right now", NULL,
				      NULL, 1);
	}
	free(describe);
}

static void on_described(const Hf__DescribeReply *reply, void *ctx)
{
	struct describe *describe = ctx;
	char id[32], ip[HF_ADDRESS_MAX], *port;

	if (reply == NULL) {
		if (hf_rpc_last_status() == HF_RPC_NOT_FOUND)
			answer_list(describe, NULL); /* gone in between */
		else
			answer_unknown(describe);
		return;
	}
	snprintf(id, sizeof(id), "%u-%08x", describe->room, describe->session);
	snprintf(ip, sizeof(ip), "%s", reply->peer);
	port = strrchr(ip, ':');
	if (port != NULL)
		*port = '\0';
	answer_list(describe,
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:i, "
			      "s:i, s:I}",
			      "connection_id", id, "registration_id", describe->registration,
			      "node", describe->node, "peer_ip", ip, "transport", reply->transport,
			      "platform", reply->platform, "sdk_version", reply->sdk_version,
			      "network", reply->network, "device", bytes_json(reply->device),
			      "user_id", bytes_json(reply->user_id), "connected_at",
			      time_json(reply->connected_ms), "last_rx_at",
			      time_json(reply->last_heard_ms), "keepalive_s",
			      (int)reply->heartbeat_s, "unacked", (int)reply->unacked,
			      "send_queue_bytes", (json_int_t)reply->queued_bytes));
}

static void on_found(struct lookup *lookup, void *ctx)
{
	struct describe *describe = ctx;
	const struct lookup_item *item = &lookup->items[0];
	struct center *center = lookup->center;
	Hf__DescribeRequest request = HF__DESCRIBE_REQUEST__INIT;
	struct hf_peer *room;

	if (item->presence == HF__PRESENCE__OFFLINE) {
		answer_list(describe, NULL);
		return;
	}
	room = item->presence == HF__PRESENCE__ONLINE
		       ? hf_peers_by_number(center->rooms, item->room)
		       : NULL;
	if (room == NULL || center->stopping) {
		answer_unknown(describe);
		return;
	}
	describe->room = item->room;
	describe->session = item->session;
	memcpy(describe->node, room->instance.id, sizeof(describe->node));
	request.session = item->session;
	request.epoch = item->epoch;
	hf__room__describe(hf_peers_call(center->rooms, room, (uint32_t)center->config->query_ms),
			   &request, on_described, describe);
}

void api_list_connections(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	struct hf_bytes value = hf_http_query(query, "registration_id");
	char id[3 * HF_REGISTRATION_MAX + 1] = "";
	struct hf_bytes registration = { NULL, 0 };
	struct describe *describe;
	struct problem problem;
	ssize_t n = -1;

	if (value.data != NULL && value.len < sizeof(id))
		n = hf_http_unescape(value, true, id);
	if (n < 0 || !hf_text_is_id(id, (size_t)n, HF_REGISTRATION_MAX)) {
		problem_set(&problem, 400, value.data == NULL ? "MISSING_FIELD" : "BAD_VALUE",
			    "registration_id", NULL, "connections are listed by ?registration_id=");
		api_fail(call, &problem);
		return;
	}
	registration = hf_bytes_of(id, (size_t)n);
	describe = calloc(1, sizeof(*describe));
	if (describe != NULL) {
		describe->center = call->center;
		describe->exchange = call->exchange;
		memcpy(describe->registration, id, registration.len);
		hf_http_exchange_on_abort(call->exchange, on_client_left, describe);
		if (lookup_start(call->center, call->app_id, &registration, 1, on_found,
				 describe) == 0)
			return;
	}
	free(describe);
	problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
	api_fail(call, &problem);
}

/* ---- POST .../connections/disconnect ---- */

struct disconnect {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
	json_t *ids;                       /* the array of the request */
};

static void on_disconnector_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct disconnect *)ctx)->exchange = NULL;
}

static void answer_disconnect(struct disconnect *disconnect, const Hf__KickReply *reply)
{
	static const char *const names[] = {
		[HF__KICK_RESULT__KICKED] = "kicked",
		[HF__KICK_RESULT__NOT_CONNECTED] = "not_connected",
		[HF__KICK_RESULT__KICK_FAILED] = "failed",
	};
	json_t *results = json_array();
	int kicked = 0;

	for (size_t i = 0; i < reply->n_results; i++) {
		unsigned result = (unsigned)reply->results[i];

		kicked += result == HF__KICK_RESULT__KICKED;
		json_array_append_new(results,
				      json_pack("{s:O, s:s}", "registration_id",
						json_array_get(disconnect->ids, i), "result",
						result < HF_ARRAY_LEN(names) ? names[result]
									     : "failed"));
	}
	api_respond_json(disconnect->exchange, 200,
			 json_pack("{s:i, s:o}", "kicked", kicked, "results", results));
}

static void on_disconnected(const Hf__KickReply *reply, void *ctx)
{
	struct disconnect *disconnect = ctx;

	if (disconnect->exchange != NULL) {
		if (reply != NULL && reply->n_results == json_array_size(disconnect->ids)) {
			answer_disconnect(disconnect, reply);
		} else {
			center_count_refusal(disconnect->center, "COORDINATOR_UNAVAILABLE");
			hf_http_respond_error(disconnect->exchange, 503, NULL,
					      "COORDINATOR_UNAVAILABLE",
					      "no coordinator answered; asking again is safe", NULL,
					      NULL, 1);
		}
	}
	json_decref(disconnect->ids);
	free(disconnect);
}

struct disconnect_request {
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	size_t count;
	uint64_t code;
	const char *reason;
};

static int parse_disconnect(const json_t *body, struct disconnect_request *ret,
			    struct problem *ret_problem)
{
	static const char *const known[] = {
		"registration_id", "user_id", "connection_id", "code", "reason", "keep", NULL
	};
	static const char *const later[] = { "user_id", "connection_id", "keep" };
	int err = fields_known(body, "", known, ret_problem);

	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(later); i++)
		err = fields_unsupported(json_object_get(body, later[i]), later[i], ret_problem);
	if (err == 0)
		err = ids_parse(json_object_get(body, "registration_id"), "registration_id",
				ret->ids, &ret->count, ret_problem);
	ret->code = HF_CLOSE_KICKED;
	ret->reason = "";
	if (err == 0)
		err = fields_uint(json_object_get(body, "code"), "code", 4000, 4399, "BAD_VALUE",
				  &ret->code, ret_problem);
	if (err == 0 && !hf_close_is_known((unsigned)ret->code))
		return problem_set(ret_problem, 400, "BAD_VALUE", "code", NULL,
				   "%u is no close code", (unsigned)ret->code);
	if (err == 0)
		err = fields_text(json_object_get(body, "reason"), "reason", 0, HF_WIRE_REASON_MAX,
				  &ret->reason, ret_problem);
	return err;
}

static void send_disconnect(struct call *call, struct disconnect *disconnect,
			    const struct disconnect_request *asked)
{
	struct center *center = call->center;
	ProtobufCBinaryData registrations[REQUEST_TARGETS_MAX];
	Hf__KickRequest request = HF__KICK_REQUEST__INIT;

	for (size_t i = 0; i < asked->count; i++)
		registrations[i] =
			(ProtobufCBinaryData){ asked->ids[i].len, (uint8_t *)asked->ids[i].data };
	request.app = call->app_id;
	request.n_registrations = asked->count;
	request.registrations = registrations;
	request.code = (uint32_t)asked->code;
	request.reason = (char *)asked->reason;
	hf__coordinator__disconnect(hf_peers_call(center->coordinators,
						  hf_peers_pick(center->coordinators,
								HF_BALANCE_LEAST_IN_FLIGHT),
						  (uint32_t)center->config->disconnect_ms),
				    &request, on_disconnected, disconnect);
}

void api_disconnect(struct call *call)
{
	struct disconnect_request asked = { .count = 0 };
	struct disconnect *disconnect;
	struct problem problem;
	json_t *body = api_body(call);

	if (body == NULL)
		return;
	if (parse_disconnect(body, &asked, &problem) < 0) {
		api_fail(call, &problem);
		json_decref(body);
		return;
	}
	disconnect = malloc(sizeof(*disconnect));
	if (disconnect == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		json_decref(body);
		return;
	}
	*disconnect = (struct disconnect){
		.center = call->center,
		.exchange = call->exchange,
		.ids = json_incref(json_object_get(body, "registration_id")),
	};
	hf_http_exchange_on_abort(call->exchange, on_disconnector_left, disconnect);
	send_disconnect(call, disconnect, &asked);
	json_decref(body);
}
