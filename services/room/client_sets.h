/* services/room/client_sets.h - the two epoll sets that clients hang in.
 *
 * Who has not logged in waits in the lobby, and everybody else is among the clients; whose LOGIN is
 * there when it is accepted needs no lobby, unless others stand in line. The lobby is only looked
 * at while fewer than limits.logins_in_flight logins wait for register or for their page from
 * saver, and limits.login_rate allows one more: what comes back after a network has failed stands
 * in line there, unread, and those who are in notice little of it. While the lobby is closed and
 * full nobody is accepted either: the time of a handshake begins with that. Both are plain events
 * of the loop.
 *
 * The clients, unless they speak TLS, are told of once (edge-triggered), and again when more has
 * come: the kernel need not look at a socket a second time only to find that it was read. Who does
 * not read one to its end has to say so, or nobody looks at it until its client sends more. */
#ifndef ROOM_CLIENT_SETS_H
#define ROOM_CLIENT_SETS_H

#include "connection.h"
#include "hf_loop.h"

struct room;

struct client_set {
	int fd; /* -1: none */
	struct event *event;
};

struct client_sets {
	struct client_set lobby, clients;
	uint64_t joining;     /* connections in that state */
	uint64_t waiting;     /* connections before it */
	uint64_t slice, left; /* of login_rate: which one it is, and logins left in it */
	struct hf_timer next_slice;
	bool lobby_closed;
	bool crowd; /* since the lobby was closed nobody has seen all who stand there */
};

/* `on_events` runs when `fd` has something to tell, with `ctx` the room. 0 or -errno. */
HF_MUST_CHECK int client_sets_open(struct room *room,
				   void (*on_events)(evutil_socket_t fd, short what, void *ctx));
void client_sets_close(struct room *room);

/* Into the lobby; 0 or -errno. A descriptor leaves its set when it is closed. */
HF_MUST_CHECK int client_sets_add(struct room *room, struct connection *connection);
/* May one who comes be read before it is in the lobby? Not while others stand in line there. */
bool client_sets_lobby_is_free(const struct room *room);
/* CONNECTION_BLOCKED has changed, or it was not read to its end: it is told of what is ready now.
 */
void client_sets_watch(struct room *room, const struct connection *connection);
/* A connection's state changes: it may leave the lobby, or a login may begin or end. */
void client_sets_on_state(struct room *room, enum connection_state before,
			  enum connection_state after);
/* Open or close the lobby, as the logins in flight and their rate say. */
void client_sets_mind_lobby(struct room *room);
/* Should newcomers wait in the backlog of their listener? */
bool client_sets_lobby_is_full(const struct room *room);
/* Out of the lobby, if it is there still. */
void client_sets_admit(struct room *room, struct connection *connection);
/* Is it the lobby's turn to wait? */
bool client_sets_lobby_waits(const struct room *room, int fd);
/* All that `fd` had to tell has been looked at. */
void client_sets_seen(struct room *room, int fd);

#endif
