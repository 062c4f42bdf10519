/* services/center/nodes.c - GET /v1/cluster/nodes: every live process, as the keeper knows it; and
 * POST .../drain of a room. */
#include <stdlib.h>

#include "ask.h"
#include "hf_clock.h"

static json_t *word_node(const char *role, const struct hf_instance *instance)
{
	static const char *const states[] = { [HF_INSTANCE_STARTING] = "starting",
					      [HF_INSTANCE_SERVING] = "serving",
					      [HF_INSTANCE_DRAINING] = "draining" };
	char since[HF_CLOCK_TEXT_SIZE], incarnation[HF_ID_TEXT_SIZE];
	json_t *endpoints = json_array();

	hf_clock_format(instance->since_ms, since);
	hf_id_format(instance->incarnation, incarnation);
	for (size_t i = 0; i < instance->endpoint_count; i++)
		json_array_append_new(endpoints,
				      json_pack("{s:s, s:s}", "address",
						instance->endpoints[i].address, "transport",
						instance->endpoints[i].transport));
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:I, s:s, s:s, s:o}", "id",
			 instance->id, "role", role, "number", (int)instance->number, "state",
			 states[instance->state], "rpc", instance->rpc, "admin", instance->admin,
			 "zone", instance->zone, "weight", (int)instance->weight, "load",
			 (json_int_t)instance->load, "started_at", since, "incarnation",
			 incarnation, "endpoints", endpoints);
}

void api_list_nodes(struct call *call)
{
	struct center *center = call->center;
	const struct {
		const char *role;
		const struct hf_peers *peers;
	} services[] = {
		{ "dispatcher", center->dispatchers }, { "room", center->rooms },
		{ "register", center->registers },     { "coordinator", center->coordinators },
		{ "saver", center->savers },           { "center", center->centers },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < HF_ARRAY_LEN(services); i++)
		for (const struct hf_peer *peer = hf_peers_first(services[i].peers); peer != NULL;
		     peer = peer->next)
			json_array_append_new(list, word_node(services[i].role, &peer->instance));
	api_respond_json(call->exchange, 200, json_pack("{s:o}", "nodes", list));
}

/* ---- POST /v1/cluster/nodes/{id}/drain ---- */

struct draining {
	struct ask ask; /* first */
	char node[HF_NODE_ID_MAX + 1];
};

static void on_draining(const Hf__DrainReply *reply, void *ctx)
{
	struct draining *draining = ctx;

	if (reply != NULL)
		ask_answer(&draining->ask,
			   json_pack("{s:s, s:s, s:b}", "node", draining->node, "state", "draining",
				     "begun", (int)reply->begun));
	else
		ask_unavailable(&draining->ask, "NODE_UNAVAILABLE", "the room did not answer");
	free(draining);
}

void api_drain_node(struct call *call)
{
	struct center *center = call->center;
	struct hf_peer *room = hf_peers_by_id(center->rooms, call->arg);
	Hf__DrainRequest request = HF__DRAIN_REQUEST__INIT;
	struct draining *draining;
	struct problem problem;

	if (room == NULL) {
		problem_set(&problem, 404, "NODE_UNKNOWN", NULL, NULL, "there is no such room");
		api_fail(call, &problem);
		return;
	}
	draining = ask_new(call, sizeof(*draining));
	if (draining == NULL)
		return;
	memcpy(draining->node, room->instance.id, sizeof(draining->node));
	hf__room__drain(hf_peers_call(center->rooms, room, (uint32_t)center->config->query_ms),
			&request, on_draining, draining);
}
