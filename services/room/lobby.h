/* services/room/lobby.h - who has not logged in, while more want to than may at once.
 *
 * One who comes is read at once (its LOGIN is mostly there by then) as long as fewer than
 * limits.logins_in_flight logins wait for register or for their page from saver, limits.login_rate
 * allows one more, and nobody else waits. Otherwise it stands in line here, unread, and is read in
 * its turn: what comes back after a network has failed costs little until then, and those who are
 * in notice little of it. Who has said nothing yet does not stand in line; it gets there when bytes
 * come.
 *
 * The line has an end in both senses. While it is full nobody is accepted, the backlog of the
 * listener holds the rest. Who has stood for half of limits.handshake_timeout is sent away (4100,
 * to come back after a back-off), and while the first in line has stood for half of that again,
 * newcomers who find it full are sent away at the door: so those who are served came a moment ago
 * and still wait for an answer, instead of being served after they gave up, which is how a crowd
 * keeps a server busy for nothing. */
#ifndef ROOM_LOBBY_H
#define ROOM_LOBBY_H

#include "connection.h"
#include "expiry.h"
#include "hf_loop.h"

struct room;

struct lobby {
	struct expiry line;
	uint64_t joining;     /* connections in that state */
	uint64_t slice, left; /* of login_rate: which one it is, and logins left in it */
	struct hf_timer next_slice;
	struct hf_task serve;
};

void lobby_open(struct room *room);
void lobby_close(struct room *room);

/* May a connection that has not logged in be read now? */
bool lobby_is_open(struct room *room);
/* It is read in its turn, by reader_read(). False: out of memory. */
HF_MUST_CHECK bool lobby_enter(struct room *room, struct connection *connection);
/* A connection's state changes: a login may begin or end. */
void lobby_on_state(struct room *room, enum connection_state before, enum connection_state after);
/* Something has changed that may let somebody in, or time has passed. */
void lobby_mind(struct room *room);
/* Should newcomers wait in the backlog of their listener? */
bool lobby_is_full(const struct room *room);
/* Should they rather be sent away? */
bool lobby_is_late(const struct room *room);

#endif
