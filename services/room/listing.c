/* Who of an app is here: counted (Room.Presence), and listed a page at a time (Room.ListSessions).
 */
#include <errno.h>

#include "room.h"

#define LIST_MAX   1000u
#define LIST_STEPS 65536u /* records looked at for one page, so that a call never takes long */

void listing_on_presence(Hf__Room_Service *rpc, const Hf__PresenceRequest *request,
			 Hf__PresenceReply_Closure closure, void *call)
{
	const struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	const struct app_count *count = app_counts_get(&room->app_counts, request->app);
	Hf__PresenceReply reply = HF__PRESENCE_REPLY__INIT;
	Hf__PlatformCount counts[APP_COUNTS_PLATFORMS + 1], *list[APP_COUNTS_PLATFORMS + 1];
	uint64_t rest;

	reply.connections = room->logged_in;
	reply.platforms = list;
	if (count != NULL) {
		reply.sessions = rest = count->sessions;
		reply.with_user = count->with_user;
		for (uint32_t i = 0; i < count->platform_count; i++) {
			const struct app_platform *platform = &count->platforms[i];

			if (platform->sessions == 0)
				continue;
			rest -= platform->sessions;
			list[reply.n_platforms] = &counts[reply.n_platforms];
			hf__platform_count__init(list[reply.n_platforms]);
			list[reply.n_platforms]->sessions = platform->sessions;
			list[reply.n_platforms++]->platform =
				(ProtobufCBinaryData){ platform->len,
						       (uint8_t *)(uintptr_t)platform->name };
		}
		if (rest > 0) {
			list[reply.n_platforms] = &counts[reply.n_platforms];
			hf__platform_count__init(list[reply.n_platforms]);
			list[reply.n_platforms++]->sessions = rest;
		}
	}
	closure(&reply, call);
}

void listing_on_list_sessions(Hf__Room_Service *rpc, const Hf__ListSessionsRequest *request,
			      Hf__ListSessionsReply_Closure closure, void *call)
{
	static Hf__ListedSession sessions[LIST_MAX];
	static Hf__ListedSession *list[LIST_MAX];
	const struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	uint32_t end = hf_slab_end(&room->sessions), pos = request->after;
	uint32_t last = HF_MIN(end, pos + HF_MIN(LIST_STEPS, UINT32_MAX - pos));
	Hf__ListSessionsReply reply = HF__LIST_SESSIONS_REPLY__INIT;

	if (request->limit < 1 || request->limit > LIST_MAX || request->app == 0) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_LIST");
		return;
	}
	while (pos < last && reply.n_sessions < request->limit) {
		hf_handle handle = hf_slab_next(&room->sessions, &pos, last - pos);
		const struct session *session = handle != 0 ? room_session(room, handle) : NULL;
		Hf__ListedSession *listed = &sessions[reply.n_sessions];
		struct hf_bytes registration;

		if (session == NULL || session->app != request->app)
			continue;
		registration = session_registration(room, session);
		hf__listed_session__init(listed);
		listed->registration =
			(ProtobufCBinaryData){ registration.len,
					       (uint8_t *)(uintptr_t)registration.data };
		listed->session = handle;
		listed->epoch = session->epoch;
		list[reply.n_sessions++] = listed;
	}
	reply.sessions = list;
	reply.next = pos < end ? pos : 0;
	closure(&reply, call);
}
