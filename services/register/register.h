/* services/register/register.h - the state of a register process.
 *
 * Data: 4096 slot tables (slot_table.h), of which those that rendezvous hashing gives to this
 * instance are in use, and one view of each room: is it alive, which incarnation, which slots has
 * it told us. Rooms own the facts; everything here can be rebuilt from them and is, slot by slot,
 * when slots come to us. A slot is *complete* once every room that lived when we got it has sent
 * its sessions of that slot; until then what is not found is "not yet known". */
#ifndef REGISTER_H
#define REGISTER_H

#include "hf_peers.h"
#include "hf_service.h"
#include "register.pb-c.h"
#include "slot_table.h"
#include "takeovers.h"

#define ROOMS_MAX       (HF_ID_NODE_MAX + 1)
#define BITMAP_BYTES    (HF_SLOTS / 8)
#define LOOKUP_MAX      1000
#define KICK_MAX        1000
#define KICK_REASON_MAX 123

struct register_config {
	struct hf_service_config service;
	uint64_t max_sessions;
	uint64_t resync_ms;
	uint64_t kick_timeout_ms;
	uint64_t takeovers_limit, takeovers_ms;
};

/* What is known of the room with one node number. */
struct room_view {
	uint64_t incarnation; /* of the process we know; sessions of older ones are gone */
	bool live;            /* in the keeper, or not seen there yet but talking to us */
	bool listed;          /* seen in the keeper */
	uint64_t heard_ms;    /* when it last spoke, while it is not listed */
	uint32_t unsynced;    /* owned slots that it has not told us yet */
	uint8_t synced[BITMAP_BYTES];
};

struct register_metrics {
	uint64_t *lookups[3]; /* by Hf__Presence */
	uint64_t *added, *removed, *stale, *not_owner, *refused_full, *throttled, *bad_requests;
	uint64_t *kicks_replaced, *kicks_asked, *kicks_failed;
	uint64_t *slots_synced, *resyncs_asked, *swept;
};

struct register_state {
	struct hf_service *service;
	const struct register_config *config;
	struct hf_peers *rooms, *registers;
	Hf__Register_Service rpc;
	struct slot_table slots[HF_SLOTS];
	uint8_t owned[BITMAP_BYTES];
	uint16_t missing[HF_SLOTS]; /* rooms that have not told us this slot yet */
	uint32_t owned_count, incomplete_count;
	uint64_t sessions, bytes;
	struct room_view *room[ROOMS_MAX]; /* NULL: never heard of */
	struct hf_timer resync_timer, sweep_timer;
	uint32_t sweep_slot;
	struct kick_target *replaced; /* losers of takeovers, told at the end of the turn */
	size_t replaced_count, replaced_capacity;
	struct hf_task replaced_task;
	struct takeovers takeovers;
	struct register_metrics metrics;
};

static inline bool bitmap_get(const uint8_t *bitmap, uint32_t bit)
{
	return bitmap[bit / 8] >> (bit % 8) & 1;
}
static inline void bitmap_set(uint8_t *bitmap, uint32_t bit)
{
	bitmap[bit / 8] |= (uint8_t)(1u << (bit % 8));
}
static inline void bitmap_clear(uint8_t *bitmap, uint32_t bit)
{
	bitmap[bit / 8] &= (uint8_t) ~(1u << (bit % 8));
}

extern const struct hf_service_type register_type;

/* sessions.c: the index itself. All take sessions as they came over RPC. */
enum add_outcome { ADD_OK, ADD_STALE, ADD_NOT_OWNER, ADD_REFUSED, ADD_THROTTLED };
bool session_is_valid(const Hf__Session *session);
/* Is the room process that made this session still there? */
bool session_is_live(const struct register_state *state, uint64_t epoch);
/* `is_new`: from a login, which may be told to stay away; else it is a fact. */
enum add_outcome session_add(struct register_state *state, const Hf__Session *session, bool is_new);
void session_remove(struct register_state *state, const Hf__Session *session);
/* Forget what room `number` has in `slot`. */
void slot_forget_room(struct register_state *state, uint16_t slot, uint32_t number);
void slot_forget_all(struct register_state *state, uint16_t slot);
void sweep_start(struct register_state *state); /* slow removal of dead rooms' sessions */
Hf__Presence session_find(struct register_state *state, uint32_t app, struct hf_bytes registration,
			  struct slot_session *ret);

/* ownership.c: which slots are ours, which rooms have told us theirs. */
int ownership_start(struct register_state *state);
void ownership_stop(struct register_state *state);
bool slot_is_owned(const struct register_state *state, uint16_t slot);
bool slot_is_complete(const struct register_state *state, uint16_t slot);
/* The room's process speaks to us: false when it is an older one than we know. */
bool room_speaks(struct register_state *state, uint32_t number, uint64_t incarnation);
void room_told_slot(struct register_state *state, uint32_t number, uint16_t slot);

/* kick.c: telling rooms to end sessions. */
struct kick_target {
	uint64_t epoch, hash; /* hash: of the registration that was taken over */
	uint32_t session;
	uint32_t result; /* index into the reply of the call that asked, if one did */
};
void kick_replaced(struct register_state *state, uint64_t hash, const struct slot_session *session);
void kick_tick(struct register_state *state); /* tell again who was not reached */
void kick_init(struct register_state *state);
void kick_deinit(struct register_state *state);
void on_kick(Hf__Register_Service *rpc, const Hf__KickRequest *request,
	     Hf__KickReply_Closure closure, void *call);

/* rpc.c: Update, Sync, Lookup, RegisterStats. */
void rpc_init(struct register_state *state);

#endif
