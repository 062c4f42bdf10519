/* services/room/loads.h - sessions that want a page from saver, in the line of their saver.
 *
 * A saver is asked for as many pages at once as it can do (flow.h); the others wait here, where
 * they cost nothing. What saver had too much of comes to the end of the line. Logins whose page was
 * not answered count against limits.logins_in_flight, so that newcomers stay in the lobby when
 * saver is slow, and are read no faster than it loads. */
#ifndef ROOM_LOADS_H
#define ROOM_LOADS_H

#include "flow.h"
#include "hf_loop.h"
#include "hf_slab.h"

struct room;
struct session;
struct loads_lane;

struct loads {
	struct loads_lane *lanes; /* one a saver */
	uint32_t waiting, in_flight;
	struct hf_task task;
};

void loads_open(struct room *room);
void loads_close(struct room *room); /* after the last loads_ended() */

/* At the turn's end, or when its time has come, delivery_load() is called for the session, if it is
 * there still. False: out of memory. */
HF_MUST_CHECK bool loads_add(struct room *room, const struct session *session);
/* A page that delivery_load() asked for was answered, or was not. */
void loads_ended(struct room *room, struct loads_lane *lane, enum flow_answer answer);

#endif
