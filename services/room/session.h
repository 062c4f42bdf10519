/* services/room/session.h - one registration attached on one connection, in 48 bytes and its names.
 *
 * Register knows a session by its handle and epoch; both must fit, so a stale name finds nothing.
 * Sessions hang in two lists: of their connection, and of their slot (for Register.Sync). */
#ifndef ROOM_SESSION_H
#define ROOM_SESSION_H

#include "hf_audience.h"
#include "hf_slab.h"
#include "hf_why.h"
#include "hf_wire.h"
#include "pool.h"

struct room;
struct connection;

enum {
	SESSION_JOINING = 1 << 0, /* register has not answered yet */
	SESSION_LOADING = 1 << 1, /* a Saver.Load is wanted, running, or waits for its next try */
	SESSION_LOGIN_LOAD = 1 << 2, /* the next load is the first one */
	SESSION_ATTACHING = 1 << 3,  /* ATTACH_ACK is due when register has answered */
	SESSION_FRESH_PAGE = 1 << 4, /* a page held what center may be pushing still */
	SESSION_LOADED = 1 << 5,     /* the login load was answered */
	SESSION_HAS_TAGS = 1 << 6,   /* at the end of its names */
	SESSION_REFRESHING = 1 << 7, /* ATTACH_ACK is due when saver has answered; refresh.c */
};

#define SESSION_LOAD_ATTEMPTS_MAX 127 /* counted */

struct session {
	uint64_t epoch;
	hf_handle handle, connection;
	hf_handle next_of_connection;
	hf_handle slot_next, slot_prev;
	uint32_t app;
	pool_ref names;       /* registration, user id, tags; see session.c */
	pool_ref window;      /* unacked; see window.h */
	uint32_t log_version; /* of the app's broadcast log at the login load */
	uint16_t slot;
	uint8_t flags;
	uint8_t load_attempts : 7;
	uint8_t began : 1; /* its business may have heard of it (events.h) */
};
_Static_assert(sizeof(struct session) <= 48, "a session is counted in bytes");

/* A session of `connection`, in both lists, not yet known to register. NULL: no room for it. */
HF_MUST_CHECK struct session *session_new(struct room *room, struct connection *connection,
					  uint32_t app, struct hf_bytes registration,
					  struct hf_bytes user_id);
struct session *session_of_app(const struct room *room, const struct connection *connection,
			       uint32_t app);
struct hf_bytes session_registration(const struct room *room, const struct session *session);
struct hf_bytes session_user_id(const struct room *room, const struct session *session);
/* Packed as hf_audience.h has it: until the login load is answered what the client said, then what
 * its record says. */
struct hf_bytes session_tags(const struct room *room, const struct session *session);
HF_MUST_CHECK int session_set_user_id(struct room *room, struct session *session,
				      struct hf_bytes user_id); /* 0 or -ENOMEM */
HF_MUST_CHECK int session_set_tags(struct room *room, struct session *session,
				   struct hf_bytes packed); /* 0 or -ENOMEM */
/* What saver says of the registration, unless a newer revision is known. A session that is barred
 * by it ends, as one does for which there is no memory. False: the session is gone. */
bool session_set_record(struct room *room, struct session *session,
			const Hf__RegistrationRecord *record);
struct hf_profile session_profile(const struct room *room, const struct session *session);

/* For the story of the registration, and of a message (0: none). */
void session_note(struct room *room, const struct session *session, enum hf_why_outcome outcome,
		  uint64_t message_id, uint64_t detail);

/* Its client is gone; it lingers. */
bool session_is_cut(const struct room *room, const struct session *session);

/* The session is over: register is told, the record is gone. Nothing is said to the client. */
void session_drop(struct room *room, struct session *session);
/* The same with DETACH_ACK to the client, and BYE when it was the connection's last one. */
void session_end(struct room *room, struct session *session, uint32_t code, struct hf_bytes reason);

#endif
