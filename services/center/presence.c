/* services/center/presence.c - GET .../presence/stats: who is connected, counted by the rooms.
 *
 * Each room counts its own sessions; the sums are exact as of their answers, but for a client that
 * moves from one room to another meanwhile. */
#include <stdlib.h>

#include "ask.h"

#define PLATFORMS_MAX 32

struct presence {
	struct ask ask; /* first */
	unsigned open;
	uint64_t sessions, with_user,
		others;  /* others: of platforms that have no line of their own */
	json_t *missing; /* ids of rooms that did not answer */
	json_t *platforms;
};

struct presence_call {
	struct presence *presence;
	char node[HF_NODE_ID_MAX + 1];
};

static void add_platform(struct presence *presence, const Hf__PlatformCount *count)
{
	char name[64];
	json_t *known;

	if (count->platform.len == 0 || count->platform.len >= sizeof(name) ||
	    memchr(count->platform.data, '\0', count->platform.len) != NULL) {
		presence->others += count->sessions;
		return;
	}
	memcpy(name, count->platform.data, count->platform.len);
	name[count->platform.len] = '\0';
	known = json_object_get(presence->platforms, name);
	if (known != NULL)
		json_integer_set(known, json_integer_value(known) + (json_int_t)count->sessions);
	else if (json_object_size(presence->platforms) >= PLATFORMS_MAX ||
		 json_object_set_new(presence->platforms, name,
				     json_integer((json_int_t)count->sessions)) < 0)
		presence->others += count->sessions; /* also when it is no UTF-8 */
}

static void one_less(struct presence *presence)
{
	if (--presence->open > 0)
		return;
	if (presence->others > 0)
		json_object_set_new(presence->platforms, "other",
				    json_integer(
					    json_integer_value(
						    json_object_get(presence->platforms, "other")) +
					    (json_int_t)presence->others));
	ask_answer(&presence->ask,
		   json_pack("{s:I, s:I, s:I, s:O, s:b, s:O}", "online_registrations",
			     (json_int_t)presence->sessions, "online_with_user",
			     (json_int_t)presence->with_user, "connections",
			     (json_int_t)presence->sessions, "by_platform", presence->platforms,
			     "complete", json_array_size(presence->missing) == 0, "missing_nodes",
			     presence->missing));
	json_decref(presence->platforms);
	json_decref(presence->missing);
	free(presence);
}

static void on_counted(const Hf__PresenceReply *reply, void *ctx)
{
	struct presence_call *call = ctx;
	struct presence *presence = call->presence;

	if (reply == NULL) {
		json_array_append_new(presence->missing, json_string(call->node));
	} else {
		presence->sessions += reply->sessions;
		presence->with_user += reply->with_user;
		for (size_t i = 0; i < reply->n_platforms; i++)
			add_platform(presence, reply->platforms[i]);
	}
	free(call);
	one_less(presence);
}

static void ask_room(struct presence *presence, struct hf_peer *room)
{
	struct center *center = presence->ask.center;
	Hf__PresenceRequest request = HF__PRESENCE_REQUEST__INIT;
	struct presence_call *call = calloc(1, sizeof(*call));

	if (call == NULL) {
		json_array_append_new(presence->missing, json_string(room->instance.id));
		return;
	}
	call->presence = presence;
	memcpy(call->node, room->instance.id, sizeof(call->node));
	request.app = presence->ask.app;
	presence->open++;
	hf__room__presence(hf_peers_call(center->rooms, room, (uint32_t)center->config->query_ms),
			   &request, on_counted, call);
}

void api_presence_stats(struct call *call)
{
	struct hf_peers *rooms = call->center->rooms;
	struct presence *presence = ask_new(call, sizeof(*presence));

	if (presence == NULL)
		return;
	presence->missing = json_array();
	presence->platforms = json_object();
	presence->open = 1; /* held while the calls are made */
	for (struct hf_peer *room = hf_peers_first(rooms); room != NULL; room = room->next)
		ask_room(presence, room);
	one_less(presence);
}
