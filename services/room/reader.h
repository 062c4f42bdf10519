/* services/room/reader.h - what clients send, from their sockets to input.c.
 *
 * There is one buffer for all: nobody's bytes stay in it from one read to the next. A client is
 * read once for each event, so that all get their turn; who has not logged in is read when the
 * lobby says so. */
#ifndef ROOM_READER_H
#define ROOM_READER_H

#include <event2/util.h>

#include "connection.h"

#define READER_SIZE 65536u /* of room->read_buffer */

/* For who has not logged in and may be read now. `waited`: since some time, so that it may have
 * given up. */
void reader_read(struct room *room, struct connection *connection, bool waited);
/* The client set has something to tell; `ctx` is the room. */
void reader_on_events(evutil_socket_t fd, short what, void *ctx);

#endif
