/* Which slots are ours, which rooms live, and which of them have told us what they hold there.
 *
 * missing[slot] counts the rooms that still have to tell us an owned slot. It is raised, for all
 * rooms that live at that moment, when the slot becomes ours; a room that joins later has no
 * sessions yet and starts as having told everything. It falls when a room tells (Register.Sync) or
 * dies. */
#define HF_LOG_MODULE "register"
#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "register.h"
#include "room.pb-c.h"

#define RESYNC_TIMEOUT_MS 2000
#define UNLISTED_MAX_MS   10000 /* a room is in the keeper before it speaks, so soon in our list */

bool slot_is_owned(const struct register_state *state, uint16_t slot)
{
	return bitmap_get(state->owned, slot);
}

bool slot_is_complete(const struct register_state *state, uint16_t slot)
{
	return slot_is_owned(state, slot) && state->missing[slot] == 0;
}

void room_told_slot(struct register_state *state, uint32_t number, uint16_t slot)
{
	struct room_view *room = state->room[number];

	if (room == NULL || !slot_is_owned(state, slot) || bitmap_get(room->synced, slot))
		return;
	bitmap_set(room->synced, slot);
	room->unsynced--;
	if (--state->missing[slot] == 0 && --state->incomplete_count == 0)
		HF_INFO("all slots complete", "owned=%u sessions=%llu", state->owned_count,
			(unsigned long long)state->sessions);
}

static void await_slot(struct register_state *state, struct room_view *room, uint16_t slot)
{
	bitmap_clear(room->synced, slot);
	room->unsynced++;
	if (state->missing[slot]++ == 0)
		state->incomplete_count++;
}

/* Its sessions may have been swept meanwhile. */
static void room_owes_all(struct register_state *state, struct room_view *room)
{
	for (uint32_t slot = 0; slot < HF_SLOTS; slot++) {
		if (slot_is_owned(state, (uint16_t)slot) && bitmap_get(room->synced, slot))
			await_slot(state, room, (uint16_t)slot);
	}
}

/* Nothing more is awaited from this room. */
static void room_owes_nothing(struct register_state *state, uint32_t number)
{
	struct room_view *room = state->room[number];

	for (uint32_t slot = 0; slot < HF_SLOTS && room->unsynced > 0; slot++)
		room_told_slot(state, number, (uint16_t)slot);
	memset(room->synced, 0xff, sizeof(room->synced));
	room->unsynced = 0;
}

static struct room_view *room_view_of(struct register_state *state, uint32_t number)
{
	if (state->room[number] == NULL) {
		state->room[number] = calloc(1, sizeof(struct room_view));
		if (state->room[number] != NULL)
			memset(state->room[number]->synced, 0xff, BITMAP_BYTES);
	}
	return state->room[number];
}

bool room_speaks(struct register_state *state, uint32_t number, uint64_t incarnation)
{
	struct room_view *room;

	if (number == 0 || number >= ROOMS_MAX || hf_id_node(incarnation) != number)
		return false;
	room = room_view_of(state, number);
	if (room == NULL || incarnation < room->incarnation)
		return false;
	if (incarnation > room->incarnation) {
		/* A new process under this number: the sessions of the old one are gone with it. */
		room_owes_nothing(state, number);
		room->incarnation = incarnation;
		room->listed = false;
	}
	/* It may speak before the keeper tells of it; but one that the keeper said is gone stays
	 * gone. */
	if (!room->listed) {
		room->live = true;
		room->heard_ms = hf_loop_now_ms(state->service->loop);
	}
	return room->live;
}

static void on_room_join(struct hf_peer *peer, void *ctx)
{
	struct register_state *state = ctx;
	uint32_t number = peer->instance.number;
	struct room_view *room;

	if (number == 0 || number >= ROOMS_MAX)
		return;
	room = room_view_of(state, number);
	if (room == NULL)
		return;
	if (peer->instance.incarnation != room->incarnation)
		room_owes_nothing(state, number);
	else if (!room->live) /* back in the list, the same process as before */
		room_owes_all(state, room);
	/* Its host's clock went back: epochs do not tell the old process' sessions from its own. */
	for (uint32_t slot = 0; peer->instance.incarnation < room->incarnation && slot < HF_SLOTS;
	     slot++)
		slot_forget_room(state, (uint16_t)slot, number);
	room->incarnation = peer->instance.incarnation;
	room->live = true;
	room->listed = true;
}

static void on_room_leave(struct hf_peer *peer, void *ctx)
{
	struct register_state *state = ctx;
	struct room_view *room =
		peer->instance.number < ROOMS_MAX ? state->room[peer->instance.number] : NULL;

	if (room == NULL || room->incarnation != peer->instance.incarnation)
		return;
	room_owes_nothing(state, peer->instance.number);
	room->live = false;
	room->listed = true;
}

static void slot_gain(struct register_state *state, uint16_t slot)
{
	bitmap_set(state->owned, slot);
	state->owned_count++;
	state->missing[slot] = 0;
	for (uint32_t number = 1; number < ROOMS_MAX; number++) {
		struct room_view *room = state->room[number];

		if (room != NULL && room->live)
			await_slot(state, room, slot);
	}
}

static void slot_lose(struct register_state *state, uint16_t slot)
{
	if (state->missing[slot] > 0)
		state->incomplete_count--;
	for (uint32_t number = 1; number < ROOMS_MAX; number++) {
		struct room_view *room = state->room[number];

		if (room == NULL || bitmap_get(room->synced, slot))
			continue;
		bitmap_set(room->synced, slot);
		room->unsynced--;
	}
	state->missing[slot] = 0;
	bitmap_clear(state->owned, slot);
	state->owned_count--;
	slot_forget_all(state, slot);
}

/* The answer is the Sync that follows; a failure is mended by asking again. */
static void on_resync_reply(const Hf__ResyncReply *reply, void *ctx)
{
	(void)reply;
	(void)ctx;
}

static void resync_ask(struct register_state *state)
{
	for (struct hf_peer *peer = hf_peers_first(state->rooms); peer; peer = peer->next) {
		Hf__ResyncRequest request = HF__RESYNC_REQUEST__INIT;
		const struct room_view *room = peer->instance.number < ROOMS_MAX
						       ? state->room[peer->instance.number]
						       : NULL;
		uint8_t wanted[BITMAP_BYTES];

		if (room == NULL || room->unsynced == 0)
			continue;
		for (size_t i = 0; i < sizeof(wanted); i++)
			wanted[i] = (uint8_t)(state->owned[i] & ~room->synced[i]);
		request.register_ = state->service->instance.number;
		request.slots = (ProtobufCBinaryData){ sizeof(wanted), wanted };
		++*state->metrics.resyncs_asked;
		hf__room__resync(hf_peers_call(state->rooms, peer, RESYNC_TIMEOUT_MS), &request,
				 on_resync_reply, NULL);
	}
}

/* Rooms that spoke, but died before the keeper told us of them: nobody will tell us that they left,
 * and what they owe would be awaited for ever. */
static void drop_unlisted(struct register_state *state)
{
	uint64_t now_ms = hf_loop_now_ms(state->service->loop);

	if (!hf_peers_known(state->rooms))
		return;
	for (uint32_t number = 1; number < ROOMS_MAX; number++) {
		struct room_view *room = state->room[number];

		if (room == NULL || !room->live || room->listed ||
		    now_ms - room->heard_ms < UNLISTED_MAX_MS)
			continue;
		HF_WARN("room not in the keeper", "number=%u", number);
		room_owes_nothing(state, number);
		room->live = false;
	}
}

static void on_resync_tick(struct hf_timer *timer, void *ctx)
{
	struct register_state *state = ctx;

	drop_unlisted(state);
	kick_tick(state);
	if (state->incomplete_count > 0)
		resync_ask(state);
	hf_loop_arm(state->service->loop, timer, state->config->resync_ms);
}

/* Our own view of the slots, after any change among registers or rooms. Waits until both
 * lists are known: slots taken before the rooms are would count as complete. */
static void ownership_update(struct register_state *state)
{
	uint32_t gained = 0, lost = 0;
	const char *self = state->service->instance.id;

	if (!hf_peers_known(state->rooms) || !hf_peers_known(state->registers))
		return;
	for (uint32_t slot = 0; slot < HF_SLOTS; slot++) {
		const struct hf_peer *owner = hf_peers_by_slot(state->registers, (uint16_t)slot);
		bool ours = owner != NULL && strcmp(owner->instance.id, self) == 0;

		if (ours && !slot_is_owned(state, (uint16_t)slot)) {
			slot_gain(state, (uint16_t)slot);
			gained++;
		} else if (!ours && slot_is_owned(state, (uint16_t)slot)) {
			slot_lose(state, (uint16_t)slot);
			lost++;
		}
	}
	if (gained + lost > 0) {
		HF_INFO("slots changed", "gained=%u lost=%u owned=%u incomplete=%u", gained, lost,
			state->owned_count, state->incomplete_count);
		if (state->incomplete_count > 0)
			resync_ask(state);
	}
}

static void on_peers_change(struct hf_peers *peers, void *ctx)
{
	(void)peers;
	ownership_update(ctx);
}

int ownership_start(struct register_state *state)
{
	struct hf_service *service = state->service;
	struct hf_peers_options rooms = { .service = "room",
					  .descriptor = &hf__room__descriptor,
					  .on_join = on_room_join,
					  .on_leave = on_room_leave,
					  .on_change = on_peers_change,
					  .ctx = state };
	struct hf_peers_options registers = { .service = "register",
					      .on_change = on_peers_change,
					      .ctx = state };
	int err;

	err = hf_peers_new(service->loop, service->metrics, service->keeper, &rooms, &state->rooms);
	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &registers,
				   &state->registers);
	if (err < 0)
		return err;
	hf_timer_init(&state->resync_timer, on_resync_tick, state);
	hf_loop_arm(service->loop, &state->resync_timer, state->config->resync_ms);
	return 0;
}

void ownership_stop(struct register_state *state)
{
	hf_peers_free(state->registers);
	hf_peers_free(state->rooms);
	state->registers = state->rooms = NULL;
}
