/* What rooms tell and what center and saver ask. */
#define HF_LOG_MODULE "register"
#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "hf_why_rpc.h"
#include "register.h"

#define UPDATE_MAX 16384 /* sessions in one Update or Sync */

static void note(struct register_state *state, enum hf_why_outcome outcome,
		 const Hf__Session *session, uint32_t room)
{
	hf_why_note_name(&state->service->why, outcome, session->app, session->registration.data,
			 session->registration.len, 0, room);
}

static void on_update(Hf__Register_Service *rpc, const Hf__UpdateRequest *request,
		      Hf__UpdateReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);
	static const Hf__AddResult results[] = { [ADD_OK] = HF__ADD_RESULT__ADDED,
						 [ADD_STALE] = HF__ADD_RESULT__STALE,
						 [ADD_NOT_OWNER] = HF__ADD_RESULT__NOT_OWNER,
						 [ADD_REFUSED] = HF__ADD_RESULT__NOT_OWNER,
						 [ADD_THROTTLED] = HF__ADD_RESULT__THROTTLED };
	static Hf__AddResult added[UPDATE_MAX];
	Hf__UpdateReply reply = HF__UPDATE_REPLY__INIT;

	if (request->n_added > UPDATE_MAX || request->n_removed > UPDATE_MAX ||
	    !room_speaks(state, request->room, request->incarnation)) {
		++*state->metrics.bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_ROOM");
		return;
	}
	for (size_t i = 0; i < request->n_removed; i++) {
		if (!session_is_valid(request->removed[i]))
			continue;
		session_remove(state, request->removed[i]);
		note(state, HF_WHY_SESSION_REMOVED, request->removed[i], request->room);
	}
	for (size_t i = 0; i < request->n_added; i++) {
		const Hf__Session *session = request->added[i];

		if (session_is_valid(session) && hf_id_node(session->epoch) == request->room)
			added[i] = results[session_add(state, session, true)];
		else
			added[i] = HF__ADD_RESULT__STALE;
		if (added[i] != HF__ADD_RESULT__NOT_OWNER)
			note(state,
			     added[i] == HF__ADD_RESULT__ADDED ? HF_WHY_SESSION_ADDED
							       : HF_WHY_SESSION_STALE,
			     session, request->room);
	}
	reply.n_added = request->n_added;
	reply.added = added;
	closure(&reply, call);
}

static size_t sync_slot(struct register_state *state, const Hf__SyncRequest *request,
			const Hf__SlotSessions *told, Hf__Session **ret_stale)
{
	size_t stale = 0;

	slot_forget_room(state, (uint16_t)told->slot, request->room);
	for (size_t i = 0; i < told->n_sessions; i++) {
		Hf__Session *session = told->sessions[i];

		if (!session_is_valid(session) || hf_id_node(session->epoch) != request->room)
			continue;
		if (session_add(state, session, false) == ADD_STALE)
			ret_stale[stale++] = session;
	}
	++*state->metrics.slots_synced;
	room_told_slot(state, request->room, (uint16_t)told->slot);
	return stale;
}

static void on_sync(Hf__Register_Service *rpc, const Hf__SyncRequest *request,
		    Hf__SyncReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);
	Hf__SyncReply reply = HF__SYNC_REPLY__INIT;
	size_t total = 0;

	for (size_t i = 0; i < request->n_slots; i++)
		total += request->slots[i]->n_sessions;
	if (total > UPDATE_MAX || !room_speaks(state, request->room, request->incarnation)) {
		++*state->metrics.bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_ROOM");
		return;
	}
	reply.stale = malloc((total + 1) * sizeof(*reply.stale));
	if (reply.stale == NULL) {
		hf_rpc_fail(call, HF_RPC_INTERNAL, "OUT_OF_MEMORY");
		return;
	}
	for (size_t i = 0; i < request->n_slots; i++) {
		const Hf__SlotSessions *told = request->slots[i];

		/* A slot that is not ours (yet) is asked for again when it comes to us. */
		if (told->slot < HF_SLOTS && slot_is_owned(state, (uint16_t)told->slot))
			reply.n_stale +=
				sync_slot(state, request, told, reply.stale + reply.n_stale);
	}
	closure(&reply, call);
	free(reply.stale);
}

static void on_lookup(Hf__Register_Service *rpc, const Hf__LookupRequest *request,
		      Hf__LookupReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);
	static Hf__LookupResult results[LOOKUP_MAX];
	static Hf__LookupResult *pointers[LOOKUP_MAX];
	Hf__LookupReply reply = HF__LOOKUP_REPLY__INIT;

	if (request->n_items > LOOKUP_MAX) {
		++*state->metrics.bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "TOO_MANY_ITEMS");
		return;
	}
	for (size_t i = 0; i < request->n_items; i++) {
		const Hf__LookupItem *item = request->items[i];
		struct hf_bytes registration =
			hf_bytes_of(item->registration.data, item->registration.len);
		struct slot_session found;

		results[i] = (Hf__LookupResult)HF__LOOKUP_RESULT__INIT;
		/* What can't be a registration is connected nowhere. */
		if (registration.len >= 1 && registration.len <= HF_REGISTRATION_MAX)
			results[i].presence = session_find(state, item->app, registration, &found);
		if (results[i].presence == HF__PRESENCE__ONLINE) {
			results[i].room = hf_id_node(found.epoch);
			results[i].session = found.session;
			results[i].epoch = found.epoch;
		}
		++*state->metrics.lookups[results[i].presence];
		pointers[i] = &results[i];
	}
	reply.n_results = request->n_items;
	reply.results = pointers;
	closure(&reply, call);
}

static void on_register_stats(Hf__Register_Service *rpc, const Hf__RegisterStatsRequest *request,
			      Hf__RegisterStatsReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);
	Hf__RegisterStatsReply reply = HF__REGISTER_STATS_REPLY__INIT;

	(void)request;
	reply.sessions = state->sessions;
	reply.slots_owned = state->owned_count;
	reply.slots_complete = state->owned_count - state->incomplete_count;
	reply.bytes = state->bytes;
	closure(&reply, call);
}

static void on_why(Hf__Register_Service *rpc, const Hf__WhyRequest *request,
		   Hf__WhyReply_Closure closure, void *call)
{
	struct register_state *state = HF_CONTAINER_OF(rpc, struct register_state, rpc);

	hf_why_answer(&state->service->why, request, closure, call);
}

void rpc_init(struct register_state *state)
{
	state->rpc = (Hf__Register_Service){
		.base = { &hf__register__descriptor, protobuf_c_service_invoke_internal, NULL },
		.update = on_update,
		.sync = on_sync,
		.lookup = on_lookup,
		.kick = on_kick,
		.register_stats = on_register_stats,
		.why = on_why,
	};
}
