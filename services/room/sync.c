/* Register.Sync: dirty slots, told whole to their owners. See index.h. */
#define HF_LOG_MODULE "index"
#include <stdlib.h>

#include "hf_log.h"
#include "index.h"

#define SYNCS_IN_FLIGHT   2      /* for each register */
#define SYNC_SESSIONS     4096u  /* about as many in one call; a slot is always whole */
#define SYNC_SESSIONS_MAX 16384u /* register refuses more: such a slot goes alone */
#define SYNC_SLOTS        1024u
#define SYNC_TIMEOUT_MS   10000

struct sync {
	struct room *room;
	struct index_link *link;
	size_t slot_count;
	uint16_t slots[SYNC_SLOTS];
};

static bool is_dirty(const struct index_state *index, unsigned slot)
{
	return index->dirty[slot / 64] >> slot % 64 & 1;
}

void sync_mark(struct room *room, uint16_t slot)
{
	struct index_state *index = room->index;

	if (is_dirty(index, slot))
		return;
	index->dirty[slot / 64] |= 1ull << slot % 64;
	index->dirty_count++;
}

static void clear(struct index_state *index, unsigned slot)
{
	index->dirty[slot / 64] &= ~(1ull << slot % 64);
	index->dirty_count--;
}

void sync_soon(struct room *room)
{
	hf_task_schedule(room->loop, &room->index->sync_task);
}

void sync_later(struct room *room)
{
	struct index_state *index = room->index;

	if (!hf_timer_armed(&index->sync_timer))
		hf_loop_arm(room->loop, &index->sync_timer,
			    20 + hf_backoff_next_ms(&index->backoff));
}

void sync_on_timer(struct hf_timer *timer, void *ctx)
{
	sync_run(ctx);
}

void sync_build_session(const struct room *room, const struct session *session, Hf__Session *ret)
{
	struct hf_bytes registration = session_registration(room, session);

	*ret = (Hf__Session)HF__SESSION__INIT;
	ret->app = session->app;
	/* The stub only reads; the generated type has no const. */
	ret->registration =
		(ProtobufCBinaryData){ registration.len, (uint8_t *)(uintptr_t)registration.data };
	ret->epoch = session->epoch;
	ret->session = session->handle;
}

static void on_synced(const Hf__SyncReply *reply, void *ctx)
{
	static struct hf_log_throttle throttle;
	struct sync *sync = ctx;
	struct room *room = sync->room;

	sync->link->syncs--;
	index_call_done(room, sync->link);
	if (room->index->closing) {
		free(sync);
		return;
	}
	if (reply == NULL) {
		++*room->metrics.syncs_failed;
		if (hf_log_throttle_pass(&throttle, 5000))
			HF_WARN("register sync failed", "status=%s reason=%s",
				hf_rpc_status_name(hf_rpc_last_status()), hf_rpc_last_reason());
		for (size_t i = 0; i < sync->slot_count; i++)
			sync_mark(room, sync->slots[i]);
		sync_later(room);
		free(sync);
		return;
	}
	++*room->metrics.syncs_ok;
	hf_backoff_reset(&room->index->backoff);
	for (size_t i = 0; i < reply->n_stale; i++) {
		struct session *session = room_session(room, reply->stale[i]->session);

		if (session == NULL || session->epoch != reply->stale[i]->epoch)
			continue;
		++*room->metrics.stale_sessions;
		session_end(room, session, HF_CLOSE_REPLACED, HF_BYTES_LITERAL("replaced"));
	}
	if (room->index->dirty_count > 0)
		sync_soon(room);
	free(sync);
}

/* What one call carries while it is built. */
struct building {
	Hf__SlotSessions slots[SYNC_SLOTS], *slot_pointers[SYNC_SLOTS];
	Hf__Session sessions[SYNC_SESSIONS_MAX], *session_pointers[SYNC_SESSIONS_MAX];
	size_t session_count;
};

/* False when the slot does not fit into this call any more. */
static bool add_slot(const struct room *room, struct building *b, struct sync *sync, uint16_t slot)
{
	size_t first = b->session_count;
	hf_handle handle = room->slot_heads[slot];
	Hf__SlotSessions *told = &b->slots[sync->slot_count];

	for (; handle != 0 && b->session_count < SYNC_SESSIONS_MAX; b->session_count++) {
		const struct session *session = room_session(room, handle);

		sync_build_session(room, session, &b->sessions[b->session_count]);
		b->session_pointers[b->session_count] = &b->sessions[b->session_count];
		handle = session->slot_next;
	}
	if (handle != 0 && first > 0) {
		b->session_count = first;
		return false;
	}
	*told = (Hf__SlotSessions)HF__SLOT_SESSIONS__INIT;
	told->slot = slot;
	told->n_sessions = b->session_count - first;
	told->sessions = b->session_pointers + first;
	b->slot_pointers[sync->slot_count] = told;
	sync->slots[sync->slot_count++] = slot;
	return true;
}

/* One call with as many dirty slots of this owner as it takes. False: there are none, or no memory.
 */
static bool send_sync(struct room *room, struct hf_peer *peer)
{
	struct index_link *link = peer->user;
	struct building *b = malloc(sizeof(*b));
	struct sync *sync = malloc(sizeof(*sync));
	Hf__SyncRequest request = HF__SYNC_REQUEST__INIT;

	if (b == NULL || sync == NULL)
		goto nothing;
	b->session_count = 0;
	*sync = (struct sync){ .room = room, .link = link };
	for (unsigned slot = 0;
	     slot < HF_SLOTS && sync->slot_count < SYNC_SLOTS && b->session_count < SYNC_SESSIONS;
	     slot++) {
		if (!is_dirty(room->index, slot) ||
		    hf_peers_by_slot(room->registers, (uint16_t)slot) != peer)
			continue;
		if (!add_slot(room, b, sync, (uint16_t)slot))
			break;
		clear(room->index, slot);
	}
	if (sync->slot_count == 0)
		goto nothing;
	request.room = room->service->instance.number;
	request.incarnation = room->service->instance.incarnation;
	request.n_slots = sync->slot_count;
	request.slots = b->slot_pointers;
	link->syncs++;
	link->calls++;
	room->index->calls++;
	hf__register__sync(hf_peers_call(room->registers, peer, SYNC_TIMEOUT_MS), &request,
			   on_synced, sync);
	free(b);
	return true;

nothing:
	free(b);
	free(sync);
	return false;
}

void sync_run(void *ctx)
{
	struct room *room = ctx;
	struct hf_peer *peer = hf_peers_first(room->registers);

	for (; peer != NULL && room->index->dirty_count > 0; peer = peer->next) {
		struct index_link *link = peer->user;

		/* Not connected: when it is, all its slots are marked and this runs again. */
		if (link == NULL || !hf_rpc_client_connected(peer->client))
			continue;
		while (link->syncs < SYNCS_IN_FLIGHT && send_sync(room, peer))
			;
	}
}
