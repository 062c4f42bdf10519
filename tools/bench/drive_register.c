/* fill: a million sessions that no room holds. lookup: where are they? */
#include <stdio.h>

#include "drive.h"
#include "hf_hash.h"
#include "register.pb-c.h"

#define SYNC_SESSIONS 8192

struct fill {
	uint32_t *numbers; /* of sessions, ordered by slot */
	uint32_t first[HF_SLOTS + 1];
	uint32_t next_slot;
	struct hf_id_generator epochs; /* epochs are ids of the room's node */
};

static void on_synced(const Hf__SyncReply *reply, void *ctx)
{
	drive_answered(ctx, reply != NULL && reply->n_stale == 0, 1);
}

/* Whole slots, as many as make a call of the size that a room would send. */
static bool issue_fill(struct drive *drive)
{
	static Hf__Session sessions[SYNC_SESSIONS * 2], *session_pointers[SYNC_SESSIONS * 2];
	static Hf__SlotSessions slots[HF_SLOTS], *slot_pointers[HF_SLOTS];
	static char names[SYNC_SESSIONS * 2][HF_REGISTRATION_MAX + 1];
	struct fill *fill = drive->state;
	Hf__SyncRequest request = HF__SYNC_REQUEST__INIT;
	size_t count = 0;

	while (fill->next_slot < HF_SLOTS && count < SYNC_SESSIONS) {
		Hf__SlotSessions *slot = &slots[request.n_slots];
		uint32_t from = fill->first[fill->next_slot], to = fill->first[fill->next_slot + 1];

		if (count + to - from > HF_ARRAY_LEN(sessions))
			break;
		*slot = (Hf__SlotSessions)HF__SLOT_SESSIONS__INIT;
		slot->slot = fill->next_slot++;
		slot->sessions = &session_pointers[count];
		for (uint32_t i = from; i < to; i++, count++) {
			Hf__Session *session = &sessions[count];

			*session = (Hf__Session)HF__SESSION__INIT;
			session->app = (uint32_t)drive->options->app;
			session->registration.len =
				drive_registration(drive, fill->numbers[i], names[count]);
			session->registration.data = (uint8_t *)names[count];
			session->epoch = hf_id_next(&fill->epochs, hf_loop_wall_ms(drive->loop));
			session->session = 1u << 24 | (fill->numbers[i] + 1);
			session_pointers[count] = session;
			slot->n_sessions++;
		}
		slot_pointers[request.n_slots++] = slot;
	}
	if (request.n_slots == 0)
		return false;
	request.room = (uint32_t)drive->options->room;
	request.incarnation = drive->options->incarnation;
	request.slots = slot_pointers;
	hf__register__sync(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_synced, drive);
	return true;
}

int drive_fill(struct drive *drive)
{
	const struct drive_options *options = drive->options;
	struct fill *fill = drive_alloc(drive, 1, sizeof(*fill));
	uint16_t *slots = drive_alloc(drive, options->count, sizeof(*slots));
	uint32_t at[HF_SLOTS];
	char name[HF_REGISTRATION_MAX + 1];

	fill->numbers = drive_alloc(drive, options->count, sizeof(*fill->numbers));
	for (uint32_t i = 0; i < options->count; i++) {
		size_t len = drive_registration(drive, i, name);

		slots[i] = hf_slot(options->salt, (uint32_t)options->app, name, len);
		fill->first[slots[i] + 1]++;
	}
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		fill->first[slot + 1] += fill->first[slot];
		at[slot] = fill->first[slot];
	}
	for (uint32_t i = 0; i < options->count; i++)
		fill->numbers[at[slots[i]]++] = i;
	hf_id_generator_init(&fill->epochs, (uint32_t)options->room);
	drive->state = fill;
	if (drive_connect(drive, options->address, &hf__register__descriptor, &drive->client))
		return 1;
	return drive_run(drive, issue_fill);
}

static void on_found(const Hf__LookupReply *reply, void *ctx)
{
	uint64_t online = 0;

	for (size_t i = 0; reply != NULL && i < reply->n_results; i++)
		online += reply->results[i]->presence == HF__PRESENCE__ONLINE;
	drive_answered(ctx, reply != NULL, online);
}

static bool issue_lookup(struct drive *drive)
{
	static Hf__LookupItem items[1000], *pointers[1000];
	static char names[1000][HF_REGISTRATION_MAX + 1];
	Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;

	for (size_t i = 0; i < drive->options->items; i++) {
		items[i] = (Hf__LookupItem)HF__LOOKUP_ITEM__INIT;
		items[i].app = (uint32_t)drive->options->app;
		items[i].registration.len =
			drive_registration(drive, drive_random(drive) % drive->options->count,
					   names[i]);
		items[i].registration.data = (uint8_t *)names[i];
		pointers[i] = &items[i];
	}
	request.n_items = drive->options->items;
	request.items = pointers;
	hf__register__lookup(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_found, drive);
	return true;
}

int drive_lookup(struct drive *drive)
{
	if (drive_connect(drive, drive->options->address, &hf__register__descriptor,
			  &drive->client))
		return 1;
	return drive_run(drive, issue_lookup);
}
