/* services/room/listener.h - the doors: accepting in bounded bursts, and refusing by name.
 *
 * Socket options are set once on the listening socket; accepted ones inherit them. Out of
 * descriptors, the one kept spare serves to refuse whoever waits, and the listener pauses. */
#ifndef ROOM_LISTENER_H
#define ROOM_LISTENER_H

#include "hf_base.h"

struct room;
struct ssl_ctx_st;

/* The TLS context of a listener; NULL: plain only. */
struct ssl_ctx_st *listener_tls(const struct room *room, unsigned index);

#endif
