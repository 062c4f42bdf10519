/* services/room/broadcast.h - this room's share of the broadcasts: who of its sessions gets one,
 * from whom, and at which pace.
 *
 * A walk goes once through the slab of sessions, by position, in slices. It gives the broadcast to
 * sessions that logged in before it could be loaded from the store; whoever came later got it at
 * login (spans.h decides). A session whose login load is still open when the walk comes by is
 * settled when its answer is here. After a pause a second walk finds those that logged in
 * meanwhile: for them the store is asked, as it alone knows what they acked before. Who is behind
 * loads pages all the time: one that brings the broadcast before the walk comes by is remembered,
 * and one that covers its id and lacks it (it was held just then): for that session the store is
 * asked as well. So nobody is given it twice, and nobody is left out.
 *
 * What is done is remembered for a while, as calls may come late or from another center. */
#ifndef ROOM_BROADCAST_H
#define ROOM_BROADCAST_H

#include "audience.pb-c.h"
#include "hf_loop.h"
#include "hf_slab.h"
#include "marks.h"
#include "output.h"
#include "pace.h"
#include "room.pb-c.h"
#include "saver.pb-c.h"
#include "spans.h"

struct room;
struct session;

struct cursor {
	uint32_t pos; /* in the slab of sessions */
	bool active;
};

struct broadcast {
	uint64_t id, expires_ms, start_epoch;
	uint32_t app, revision;
	Hf__TaskState state;
	bool stored;
	struct frame *frame;    /* NULL when it can't be needed any more */
	Hf__Audience *audience; /* NULL: everybody */
	struct pace pace;
	struct cursor first, again; /* the walk, and the one after a pause */
	struct span *spans;
	size_t span_count;
	/* By position, of sessions whose page lacked it, or brought it. A bit that a predecessor
	 * left is harmless: who logs in later is never given it unasked. */
	struct marks missed, brought;
	uint64_t walked, matched, written, deferred, dropped;
	uint64_t done_ms, asked_ms; /* monotonic; done_ms 0: not done */
};

struct broadcasts {
	struct broadcast **list; /* in the order of their start */
	size_t count, capacity, active;
	size_t next;        /* whose turn it is */
	struct pace pace;   /* of all together */
	struct pace asks;   /* loads after a pause, as saver has to answer them */
	uint64_t pushed_ms; /* monotonic; the last push of another message. 0: none yet */
	uint64_t slice_ns;  /* when this turn's slice began; 0: it need not go on at once */
	struct hf_task slice;
	struct hf_timer tick, maintenance;
	struct hf_turn_hook hook;
};

HF_MUST_CHECK int broadcasts_open(struct room *room); /* 0 or -errno */
void broadcasts_close(struct room *room);
void broadcasts_reload(struct room *room);

void broadcast_on_start(Hf__Room_Service *rpc, const Hf__StartTaskRequest *request,
			Hf__TaskProgress_Closure closure, void *call);
void broadcast_on_read(Hf__Room_Service *rpc, const Hf__ReadTaskRequest *request,
		       Hf__TaskProgress_Closure closure, void *call);
/* A page has come for this session, and is with the client as far as it goes. */
void broadcasts_on_page(struct room *room, hf_handle session, bool login, uint64_t after,
			const Hf__LoadReply *reply);

/* Between broadcast.c and walk.c. */
static inline bool broadcast_is_done(const struct broadcast *broadcast)
{
	return broadcast->done_ms != 0;
}
static inline bool broadcast_runs(const struct broadcast *broadcast)
{
	return broadcast->state == HF__TASK_STATE__TASK_RUN && !broadcast_is_done(broadcast);
}
void broadcast_finish(struct room *room, struct broadcast *broadcast);
/* Give it, or have the store asked. False: nothing went out, so there is nothing to pay. */
bool broadcast_give(struct room *room, struct broadcast *broadcast, struct session *session);
bool broadcast_ask(struct room *room, struct broadcast *broadcast, struct session *session);
bool broadcast_matches(const struct room *room, const struct broadcast *broadcast,
		       const struct session *session);
void walk_wake(struct room *room); /* there may be something to do */
void walk_run(void *room);
void walk_on_turn_end(void *room); /* after what the turn made is written */

#endif
