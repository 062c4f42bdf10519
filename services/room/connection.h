/* services/room/connection.h - one client's connection: a fixed record of plain data, found by
 * handle.
 *
 * The clients hang in an epoll set of their own (client_set.h), which is one event of the loop;
 * epoll carries the handle, so an event of a connection that is gone finds nothing. There is one
 * read buffer for all; a connection keeps bytes only of a frame that is not complete. Frames to
 * write are gathered during a turn and leave in one write at its end. */
#ifndef ROOM_CONNECTION_H
#define ROOM_CONNECTION_H

#include "hf_net.h"
#include "hf_slab.h"
#include "hf_wire.h"
#include "ip_limits.h"
#include "metrics.h"
#include "output.h"
#include "pool.h"

struct room;
struct ssl_st;

enum connection_state {
	CONNECTION_NEW,       /* not one byte yet: TLS or ours? */
	CONNECTION_TLS,       /* in the TLS handshake */
	CONNECTION_LOGIN,     /* only a LOGIN frame is welcome */
	CONNECTION_JOINING,   /* LOGIN is valid; register is being told */
	CONNECTION_ACTIVE,    /* LOGIN_ACK is out */
	CONNECTION_CLOSING,   /* BYE is the last frame; output is being flushed */
	CONNECTION_LINGERING, /* our side is shut; the client's FIN is awaited */
	CONNECTION_CUT,    /* no socket any more; its sessions wait for the client, see linger.c */
	CONNECTION_CLOSED, /* freed at the end of the turn, as a caller may still hold it */
};

enum {
	CONNECTION_DIRTY = 1 << 0,         /* in the list of this turn's writers */
	CONNECTION_BLOCKED = 1 << 1,       /* the socket is full; EPOLLOUT is armed */
	CONNECTION_LOAD_WAITS = 1 << 2,    /* a session wants a page when the output is flushed */
	CONNECTION_CHECK_WINDOWS = 1 << 3, /* one is full, or remembers acked ids */
	CONNECTION_OVER_TLS = 1 << 4,
	CONNECTION_IN_SET = 1 << 5,   /* see client_set.h */
	CONNECTION_IN_LOBBY = 1 << 6, /* stands in line to be read: see lobby.h */
};

struct connection {
	int fd;
	uint8_t state; /* enum connection_state; connection_set_state() alone writes it */
	uint8_t flags;
	uint8_t network; /* enum hf_network */
	uint8_t session_count;
	hf_handle handle;
	hf_handle first_session;
	hf_handle next;      /* in the dirty or the closed list */
	hf_handle ip;        /* see ip_limits.h */
	uint32_t last_heard; /* tick */
	uint32_t opened;     /* room_age_ms(); from LOGIN_ACK on: wall clock in seconds */
	uint16_t heartbeat_s;
	uint8_t listener; /* index */
	uint8_t upstream; /* UPSTREAM frames that were not answered yet */
	union {
		rate frames;       /* bucket */
		uint32_t cut_code; /* CUT: why, as connection_abort() has it */
	};
	rate bytes;       /* bucket */
	pool_ref partial; /* struct partial in input.c */
	pool_ref profile; /* what LOGIN told: device, platform, SDK version */
	pool_ref login;   /* struct login in login.c, while JOINING */
	struct output output;
	struct ssl_st *tls;
};
_Static_assert(sizeof(struct connection) <= 96, "a connection is counted in bytes");

HF_MUST_CHECK int connections_open(struct room *room); /* 0 or -errno */
void connections_abort_all(struct room *room, uint32_t code);
void connections_close(struct room *room); /* all, at once, and what held them */

/* Takes `fd`. 0, or -errno: then it is still the caller's. `waited`: it may
 * have given up since. */
HF_MUST_CHECK int connection_new(struct room *room, int fd, hf_handle ip, uint8_t listener,
				 bool waited);
void connection_set_state(struct room *room, struct connection *connection,
			  enum connection_state state);
/* It can't log in: counted, told why where that can be said in plain, and gone. */
void connection_turn_away(struct room *room, struct connection *connection,
			  enum reject_reason reason, uint32_t code);
/* BYE and the end of the stream to who is not let in; the caller closes `fd`. */
void connection_dismiss(int fd, const struct hf_wire_bye *bye);

/* Could a frame of `len` bytes be queued? May write to find out, and find the client gone. */
bool connection_has_room(struct room *room, struct connection *connection, size_t len);
/* Queue a frame for the end of this turn. False: the output is over its limit or memory is out,
 * and the frame was not taken. */
HF_MUST_CHECK bool connection_send(struct room *room, struct connection *connection,
				   struct frame *frame);
/* A message with this `collapse` that waits to be written is dropped: its id, or 0. */
uint64_t connection_collapse(struct room *room, struct connection *connection, uint64_t collapse);
/* A control frame of ours; takes the reference, NULL ends the connection as out of memory. A client
 * that can't take even that is cut as a slow consumer. */
void connection_send_control(struct room *room, struct connection *connection, struct frame *frame);

/* Orderly end: sessions are dropped, BYE says why, output is flushed. `bye` may be NULL. */
void connection_close(struct room *room, struct connection *connection, uint32_t code,
		      const char *reason);
void connection_close_bye(struct room *room, struct connection *connection,
			  const struct hf_wire_bye *bye);
/* Nothing more is written. `code`: for the metric; 0: the client left, 1: the socket failed. */
void connection_abort(struct room *room, struct connection *connection, uint32_t code);
#define CONNECTION_ENDED_EOF   0
#define CONNECTION_ENDED_ERROR 1
/* The line is dead, which is nobody's will: the sessions may linger (linger.c), else the same. */
void connection_lost(struct room *room, struct connection *connection, uint32_t code);
/* Nothing was heard for too long: BYE 4201 if it still gets through, and lost. */
void connection_timed_out(struct room *room, struct connection *connection);
/* The socket and what hung on it go, the record becomes CUT. For linger.c. */
void connection_cut(struct room *room, struct connection *connection, uint32_t code);

/* "198.51.100.7:52011", or "" when it is gone. */
void connection_peer(const struct connection *connection, char ret[HF_NET_TEXT_SIZE]);

/* What LOGIN told of the device. */
struct profile {
	struct hf_bytes device, platform, sdk_version;
};
HF_MUST_CHECK int connection_set_profile(struct room *room, struct connection *connection,
					 const struct profile *profile); /* 0 or -ENOMEM */
struct profile connection_profile(const struct room *room, const struct connection *connection);

/* input.c: bytes that came, and what they mean. */
void input_feed(struct room *room, struct connection *connection, const uint8_t *data, size_t len);
void input_forget(struct room *room, struct connection *connection); /* a partial frame, if any */

/* flush.c: the write side. */
void flush_all(void *room); /* the turn's end */
void flush_connection(struct room *room, struct connection *connection);
void flush_mark_dirty(struct room *room, struct connection *connection);
void flush_on_writable(struct room *room, struct connection *connection);

#endif
