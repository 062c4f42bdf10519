/* services/room/index.h - what register knows of us, and how that is kept true.
 *
 * Sessions that come and go are told by Register.Update, one call for each owner and turn. Whatever
 * goes wrong with that - a call that fails, a slot with a new owner, a register that restarted or
 * asks - marks slots as dirty, and a dirty slot is told whole by Register.Sync, paced. So there is
 * one way to repair and it does not matter what broke. */
#ifndef ROOM_INDEX_H
#define ROOM_INDEX_H

#include "hf_backoff.h"
#include "room.h"

struct update;

/* One register and the calls to it; peer->user. Outlives the peer while calls are open. */
struct index_link {
	struct hf_peer *peer;
	struct update *open; /* gathered in this turn */
	uint32_t calls, syncs;
	bool gone;
};

struct index_state {
	struct room *room;
	struct hf_task update_task, sync_task;
	struct hf_timer sync_timer;
	struct hf_backoff backoff;
	uint32_t calls; /* of all links */
	uint32_t dirty_count;
	bool closing;
	uint64_t dirty[HF_SLOTS / 64];
	uint64_t owners[HF_SLOTS]; /* incarnation; 0: nobody */
};

struct index_link *index_link_of(struct room *room, uint16_t slot); /* NULL: nobody owns it */
void index_call_done(struct room *room, struct index_link *link);

/* sync.c */
void sync_mark(struct room *room, uint16_t slot);
void sync_soon(struct room *room);  /* at the end of the turn */
void sync_later(struct room *room); /* after a failure: with back-off */
void sync_run(void *room);
void sync_on_timer(struct hf_timer *timer, void *room);
void sync_build_session(const struct room *room, const struct session *session, Hf__Session *ret);

#endif
