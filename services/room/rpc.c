/* The room's inside door (proto/room.proto): center pushes, coordinator kicks, register asks. */
#define HF_LOG_MODULE "rpc"
#include <errno.h>
#include <stdio.h>

#include "hf_log.h"
#include "hf_why_rpc.h"
#include "room.h"
#include "window.h"

#define TARGETS_MAX 65536u /* sessions in one call */

static bool is_push(const Hf__PushItem *item)
{
	return item->n_sessions == item->n_epochs && item->message_id != 0 &&
	       delivery_is_push(&item->frame, item->delivery);
}

static void on_push(Hf__Room_Service *rpc, const Hf__PushRequest *request,
		    Hf__PushReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	static Hf__PushResult results[TARGETS_MAX];
	Hf__PushReply reply = HF__PUSH_REPLY__INIT;
	size_t total = 0;

	for (size_t i = 0; i < request->n_items; i++) {
		total += request->items[i]->n_sessions;
		if (!is_push(request->items[i]) || total > TARGETS_MAX) {
			hf_rpc_fail(call, HF_RPC_INVALID, "BAD_PUSH");
			return;
		}
	}
	room->broadcasts.pushed_ms = hf_loop_now_ms(room->loop);
	for (size_t i = 0; i < request->n_items; i++) {
		const Hf__PushItem *item = request->items[i];
		struct frame *frame = NULL; /* made for the first who can have it */

		for (size_t j = 0; j < item->n_sessions; j++) {
			Hf__PushResult result = delivery_push(room, item, &frame, item->sessions[j],
							      item->epochs[j]);

			++*room->metrics.pushes[result];
			results[reply.n_results++] = result;
		}
		frame_unref(frame);
	}
	reply.results = results;
	closure(&reply, call);
}

static void on_kick(Hf__Room_Service *rpc, const Hf__RoomKickRequest *request,
		    Hf__RoomKickReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	static protobuf_c_boolean kicked[TARGETS_MAX];
	Hf__RoomKickReply reply = HF__ROOM_KICK_REPLY__INIT;
	uint32_t code = request->code == 0 ? HF_CLOSE_KICKED : request->code;
	struct hf_bytes reason = hf_bytes_of_string(request->reason);

	if (request->n_sessions != request->n_epochs || request->n_sessions > TARGETS_MAX ||
	    !hf_close_is_known(code) || reason.len > HF_WIRE_REASON_MAX) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_KICK");
		return;
	}
	if (reason.len == 0)
		reason = hf_bytes_of_string(hf_close_name(code));
	for (size_t i = 0; i < request->n_sessions; i++) {
		struct session *session = room_session(room, request->sessions[i]);

		kicked[i] = session != NULL && session->epoch == request->epochs[i] &&
			    (request->app == 0 || request->app == session->app);
		if (!kicked[i])
			continue;
		if (code == HF_CLOSE_REPLACED && session_is_cut(room, session))
			kicked[i] = false; /* it ends, but its client was gone before */
		session_end(room, session, code, reason);
	}
	reply.n_kicked = request->n_sessions;
	reply.kicked = kicked;
	closure(&reply, call);
}

static void on_resync(Hf__Room_Service *rpc, const Hf__ResyncRequest *request,
		      Hf__ResyncReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	Hf__ResyncReply reply = HF__RESYNC_REPLY__INIT;

	if (request->slots.len != HF_SLOTS / 8) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_SLOTS");
		return;
	}
	HF_INFO("resync asked", "register=%u", request->register_);
	index_resync(room, request->slots.data);
	closure(&reply, call);
}

static const char *network_name(unsigned network)
{
	static const char *const names[] = { "unknown", "cellular", "wifi", "ethernet" };

	return network < HF_ARRAY_LEN(names) ? names[network] : names[0];
}

static void copy_text(char *ret, struct hf_bytes text)
{
	if (text.len > 0)
		memcpy(ret, text.data, text.len);
	ret[text.len] = '\0';
}

static void on_describe(Hf__Room_Service *rpc, const Hf__DescribeRequest *request,
			Hf__DescribeReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	struct session *session = room_session(room, request->session), *other;
	struct connection *connection;
	Hf__DescribeReply reply = HF__DESCRIBE_REPLY__INIT;
	char peer[HF_NET_TEXT_SIZE], platform[256], sdk_version[256];
	uint32_t apps[HF_WIRE_SESSIONS_MAX], silent_ticks;
	struct profile profile;
	struct hf_bytes user_id;

	if (session == NULL || session->epoch != request->epoch) {
		hf_rpc_fail(call, HF_RPC_NOT_FOUND, "NO_SUCH_SESSION");
		return;
	}
	connection = room_connection(room, session->connection);
	profile = connection_profile(room, connection);
	user_id = session_user_id(room, session);
	silent_ticks = room_tick(room) - connection->last_heard;
	connection_peer(connection, peer);
	copy_text(platform, profile.platform);
	copy_text(sdk_version, profile.sdk_version);
	reply.peer = peer;
	reply.transport = connection->flags & CONNECTION_OVER_TLS ? "tls" : "tcp";
	reply.device = (ProtobufCBinaryData){ profile.device.len,
					      (uint8_t *)(uintptr_t)profile.device.data };
	reply.platform = platform;
	reply.sdk_version = sdk_version;
	reply.network = (char *)(uintptr_t)network_name(connection->network);
	reply.user_id = (ProtobufCBinaryData){ user_id.len, (uint8_t *)(uintptr_t)user_id.data };
	if (connection->state == CONNECTION_ACTIVE || connection->state == CONNECTION_CUT)
		reply.connected_ms = connection->opened * 1000ull;
	reply.last_heard_ms = hf_loop_wall_ms(room->loop) - silent_ticks * (uint64_t)ROOM_TICK_MS;
	reply.heartbeat_s = connection->heartbeat_s;
	reply.lingering = connection->state == CONNECTION_CUT;
	reply.unacked = window_count(&room->pool, session->window);
	reply.queued_bytes = output_bytes(&room->pool, &connection->output);
	other = room_session(room, connection->first_session);
	for (; other != NULL; other = room_session(room, other->next_of_connection))
		apps[reply.n_apps++] = other->app;
	reply.apps = apps;
	closure(&reply, call);
}

static void on_update_session(Hf__Room_Service *rpc, const Hf__UpdateSessionRequest *request,
			      Hf__UpdateSessionReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	struct session *session = room_session(room, request->session);
	Hf__UpdateSessionReply reply = HF__UPDATE_SESSION_REPLY__INIT;

	if (request->record == NULL) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_RECORD");
		return;
	}
	reply.known = session != NULL && session->epoch == request->epoch;
	if (reply.known)
		session_set_record(room, session, request->record);
	closure(&reply, call);
}

static void on_why(Hf__Room_Service *rpc, const Hf__WhyRequest *request,
		   Hf__WhyReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);

	hf_why_answer(&room->service->why, request, closure, call);
}

static void on_drain(Hf__Room_Service *rpc, const Hf__DrainRequest *request,
		     Hf__DrainReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	Hf__DrainReply reply = HF__DRAIN_REPLY__INIT;

	reply.begun = hf_service_drain(room->service);
	closure(&reply, call);
}

void rpc_init(struct room *room)
{
	room->rpc = (Hf__Room_Service){
		.base = { &hf__room__descriptor, protobuf_c_service_invoke_internal, NULL },
		.why = on_why,
		.push = on_push,
		.kick = on_kick,
		.resync = on_resync,
		.describe = on_describe,
		.drain = on_drain,
		.count_sessions = count_on_call,
		.start_task = broadcast_on_start,
		.read_task = broadcast_on_read,
		.update_session = on_update_session,
		.presence = listing_on_presence,
		.list_sessions = listing_on_list_sessions,
	};
}
