/* services/room/events.h - what businesses want to hear of: sessions that begin and end, messages
 * that were written. Events wait here for the end of the turn, then for whoever takes them: the
 * coordinator that owns their lane, or saver's spool. Bounded: what there is no room for is counted
 * and gone. */
#ifndef ROOM_EVENTS_H
#define ROOM_EVENTS_H

#include "common.pb-c.h"
#include "hf_base.h"

struct room;
struct session;

HF_MUST_CHECK int events_open(struct room *room); /* 0 or -ENOMEM */
void events_stop(struct room *room);              /* before the calls under way are ended */
void events_close(struct room *room);
bool events_are_settled(const struct room *room); /* nothing waits and nothing is on its way */

/* A session that really began, and one that really ended: once each, in this order. Whoever keeps a
 * session alive without a connection calls them when that is over. */
void events_session_opened(struct room *room, struct session *session);
void events_session_closed(struct room *room, const struct session *session, uint32_t code,
			   struct hf_bytes reason);
/* The session belongs to another user from now on. */
void events_user_changed(struct room *room, const struct session *session, struct hf_bytes old_user,
			 struct hf_bytes new_user);
/* A message was given to the socket. */
void events_message_written(struct room *room, const struct session *session, uint64_t message_id,
			    const Hf__Delivery *delivery);

#endif
