/* services/room/client_set.h - the epoll set that clients hang in, one event of the loop.
 *
 * Who comes is put in once it was read and there was not a whole LOGIN, or when its LOGIN is on its
 * way; until then it stands in the lobby (lobby.h), unread.
 *
 * Plain clients are told of once (edge-triggered), and again when more has come: the kernel need
 * not look at a socket a second time only to find that it was read. Who does not read one to its
 * end has to say so, or nobody looks at it until its client sends more. Of TLS one record is read
 * at a time, and only OpenSSL knows whether the socket is empty then: there the kernel looks. */
#ifndef ROOM_CLIENT_SET_H
#define ROOM_CLIENT_SET_H

#include "connection.h"
#include "hf_loop.h"

struct room;

struct client_set {
	int fd; /* -1: none */
	struct event *event;
};

/* `on_events` runs when the set has something to tell, with `ctx` the room. 0 or -errno. */
HF_MUST_CHECK int client_set_open(struct room *room,
				  void (*on_events)(evutil_socket_t fd, short what, void *ctx));
void client_set_close(struct room *room);

/* Into the set, unless it is there. False: the kernel has no memory. A descriptor leaves the set
 * when it is closed. */
HF_MUST_CHECK bool client_set_add(struct room *room, struct connection *connection);
/* What is wanted of it has changed (CONNECTION_BLOCKED, CONNECTION_IN_LOBBY, a state), or it was
 * not read to its end: it is told of what is ready now. */
void client_set_watch(struct room *room, const struct connection *connection);

#endif
