/* services/room/room.h - the gateway process: its configuration, its state, and what each part of
 *it offers to the others. Everything hangs in one `struct room`; there is one a process.
 *
 *	listener -> connection -> login -> session -> index     (register: who is here)
 *	                 |                    |   `-> delivery  (saver: what is owed)
 *	               output <----------- push (rpc.c)  `-> acks (saver: what was taken)
 */
#ifndef ROOM_H
#define ROOM_H

#include "app_counts.h"
#include "broadcast.h"
#include "client_set.h"
#include "connection.h"
#include "coordinator.pb-c.h"
#include "events.h"
#include "expiry.h"
#include "hf_apps.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "ip_limits.h"
#include "loads.h"
#include "lobby.h"
#include "metrics.h"
#include "pool.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "saver.pb-c.h"
#include "session.h"
#include "ticket.h"

/* A tick is the unit of the room's own coarse clock. */
#define ROOM_TICK_MS 100u

struct room_listener_config {
	char *bind, *advertise, *certificate, *key_file;
	uint64_t backlog;
	bool reuse_port;
};

struct room_keepalive_config {
	uint64_t initial_ms, min_ms, max_ms;
};

struct room_config {
	struct hf_service_config service;
	struct hf_list listeners; /* of struct room_listener_config */
	struct {
		uint64_t connections, accept_rate;
		uint64_t per_ip_connections, per_ip_accept_rate, per_ip_failed_logins;
		uint64_t per_ip_penalty_ms;
		struct hf_strings per_ip_exempt;
		uint64_t frames_per_second, bytes_per_second, login_max, frame_max;
		uint64_t logins_in_flight, login_rate;
		uint64_t unacked, send_queue, ack_backlog, partial_frames;
		uint64_t handshake_timeout_ms, register_timeout_ms, ack_timeout_ms;
		uint64_t upstream_in_flight, upstream_timeout_ms, events;
	} limits;
	struct {
		uint64_t user_timeout_ms, notsent_lowat;
		char *congestion;
	} tcp;
	struct {
		struct room_keepalive_config cellular, wifi;
		uint64_t grace_ms;
	} keepalive;
	struct {
		uint64_t time_ms, share, session_bytes, memory;
	} linger;
	uint64_t drain_rate;
	uint64_t broadcast_tasks, broadcast_rate;
	struct ip_limits ip_limits; /* made of limits.per_ip_* by the check */
};

extern const struct hf_option room_options[];
HF_MUST_CHECK int room_config_check(void *config, char error[HF_CONFIG_ERROR_SIZE]);

struct listener;    /* listener.c */
struct index_state; /* index.c */
struct acks_state;  /* acks.c */
struct drain_state; /* drain.c */

struct room {
	struct hf_service *service;
	struct hf_loop *loop;
	const struct room_config *config;
	struct room_metrics metrics;
	uint64_t start_ms; /* monotonic; ticks count from here */

	struct hf_slab connections, sessions;
	struct app_counts app_counts; /* of the sessions */
	struct pool pool;
	struct ip_table ips;
	hf_handle slot_heads[HF_SLOTS]; /* session lists by slot */
	uint64_t connection_limit;      /* limits.connections, or what descriptors allow */
	uint64_t logged_in;
	struct ticket_key ticket_key;
	uint32_t cut_count;  /* connections whose sessions linger */
	uint64_t kept_bytes; /* of frames that windows keep; see linger.c */

	struct listener *listeners;
	size_t listener_count;
	rate accept_bucket, log_bucket;
	uint32_t accept_credit; /* connections paid for and not yet taken; see listener.c */
	int spare_fd;           /* given up to refuse a connection when descriptors run out */

	struct client_set clients;
	struct lobby lobby;
	uint8_t *read_buffer;
	hf_handle dirty_head;  /* connections with output of this turn */
	hf_handle closed_head; /* connections to be freed at the end of the turn */
	struct hf_turn_hook flush_hook;
	uint64_t queued_bytes;  /* to write, of all connections */
	uint64_t partial_bytes; /* of frames not complete yet, likewise */
	struct frame *pong;     /* one for everybody */

	struct expiry handshakes, lingers, cuts;
	struct hf_timer tick_timer;
	uint64_t tick_due_ms;
	uint32_t sweep_pos;
	uint64_t announced_load, announced_ms;

	struct hf_apps *apps;
	bool apps_changed; /* the sweep looks for sessions of apps that were switched off */
	uint32_t apps_pos;
	struct hf_peers *registers, *savers, *rooms, *coordinators;
	struct hf_table upstream_held; /* see upstream.c */
	struct index_state *index;
	struct acks_state *acks;
	struct room_events *events;
	struct loads loads;
	struct page_load *page_loads; /* asked for, or to be asked for again */
	struct broadcasts broadcasts;
	struct counting *countings; /* of CountSessions, under way */
	struct hf_task count_task;
	struct drain_state *drain; /* NULL: not draining */
	Hf__Room_Service rpc;
};

static inline uint64_t room_age_ms(const struct room *room)
{
	return hf_loop_now_ms(room->loop) - room->start_ms;
}
static inline uint32_t room_tick(const struct room *room)
{
	return (uint32_t)(room_age_ms(room) / ROOM_TICK_MS);
}
static inline uint32_t room_ticks_of(uint64_t ms)
{
	return (uint32_t)((ms + ROOM_TICK_MS - 1) / ROOM_TICK_MS);
}
/* Readers of the records. */
static inline struct connection *room_connection(const struct room *room, hf_handle handle)
{
	return hf_slab_get(&room->connections, handle);
}
static inline struct session *room_session(const struct room *room, hf_handle handle)
{
	return hf_slab_get(&room->sessions, handle);
}
/* Connections with a client at the other end, as far as we know. */
static inline uint32_t room_client_count(const struct room *room)
{
	return room->connections.live - room->cut_count;
}
static inline bool room_is_draining(const struct room *room)
{
	return room->drain != NULL;
}

/* room.c */
extern const struct hf_service_type room_type;

/* listener.c */
HF_MUST_CHECK int listeners_open(struct room *room); /* 0 or -errno, logged */
void listeners_close(struct room *room);             /* no new connections */
void listeners_free(struct room *room);
void listeners_reload(struct room *room); /* certificates */

/* login.c: frames of a client that change who it is. */
void login_on_login(struct room *room, struct connection *connection, struct hf_bytes body);
void login_on_attach(struct room *room, struct connection *connection, struct hf_bytes body);
void login_on_detach(struct room *room, struct connection *connection, struct hf_bytes body);
/* Register has answered for this session, or will not in time: the login may go on. */
void login_session_known(struct room *room, struct session *session);
void login_send_attach_ack(struct room *room, struct connection *connection, uint32_t app,
			   uint32_t code, const char *reason);
/* The tags that the client says are those of the session. 0 or -ENOMEM. */
HF_MUST_CHECK int login_keep_tags(struct room *room, struct session *session,
				  const struct hf_wire_session *wanted);
/* refresh.c: an ATTACH of what is attached, checked; it is answered now or when saver has. */
void refresh_begin(struct room *room, struct session *session, const struct hf_wire_session *wanted,
		   struct hf_bytes user_id);
/* A session ended before its login was answered: LOGIN_ACK will say so. */
void login_session_refused(struct room *room, struct connection *connection, uint32_t app,
			   uint32_t code);
void login_forget(struct room *room, struct connection *connection);

/* heartbeat.c */
uint16_t heartbeat_agree(const struct room *room, unsigned network, uint32_t wish_s);
void heartbeat_on_ping(struct room *room, struct connection *connection, struct hf_bytes body);

/* index.c and sync.c: what register knows of us. */
HF_MUST_CHECK int index_open(struct room *room);
void index_silence(struct room *room); /* register is told nothing more: our end tells all */
void index_close(struct room *room);
/* Tell the slot's owner. False: nobody to tell right now (it will be, by Sync), so don't wait. */
bool index_add(struct room *room, struct session *session);
void index_remove(struct room *room, const struct session *session);
void index_resync(struct room *room, const uint8_t bitmap[HF_SLOTS / 8]);
bool index_is_settled(const struct room *room); /* nothing unsent or unanswered */

/* delivery.c: pages of what saver holds. */
#define DELIVERY_FRESH_MS 10000u /* a push comes within that time of its message's id, or never */
void delivery_login(struct room *room, struct session *session);
/* Load more for this session if it is behind and has room for it. */
void delivery_continue(struct room *room, struct session *session);
/* What saver holds above `after` was not sent yet. False: the session is gone. */
bool delivery_fall_behind(struct room *room, struct session *session, uint64_t after);
void delivery_out_of_memory(struct room *room, const struct session *session); /* ends it */
/* Its turn has come: ask saver for the page that it wants; loads_ended() follows. */
void delivery_load(struct room *room, struct session *session, struct loads_lane *lane);
void delivery_close(struct room *room);

/* push.c: messages from center, acks from clients. */
#define DELIVERY_COLLAPSE_KEY_MAX 64u
/* A message's frame for all sessions of `app` that get it; NULL out of memory. */
HF_MUST_CHECK struct frame *delivery_frame(uint32_t app, uint64_t message_id,
					   const ProtobufCBinaryData *bytes,
					   const Hf__Delivery *delivery);
/* A message with the same collapse key that still waits to be written is not owed any more. */
void delivery_collapse(struct room *room, struct session *session, const struct frame *frame);
/* Are these a whole PUSH frame and a delivery within their limits? */
bool delivery_is_push(const ProtobufCBinaryData *frame, const Hf__Delivery *delivery);
/* The one way of a message to a session, but for pages. GONE: the session is. */
Hf__PushResult delivery_give(struct room *room, struct session *session, bool stored,
			     struct frame *frame);
/* For the story of the message: what `result` means, `written` for a message that was. */
void delivery_note(struct room *room, const struct session *session, Hf__PushResult result,
		   uint64_t message_id, enum hf_why_outcome written);
Hf__PushResult delivery_push(struct room *room, const Hf__PushItem *item, struct frame **frame,
			     hf_handle handle, uint64_t epoch);
void delivery_on_ack(struct room *room, struct connection *connection, struct hf_bytes body);
/* Queue a message. False: not taken, and the connection may be closing or gone. */
bool delivery_write(struct room *room, struct connection *connection, struct frame *frame);
/* Into the window, with the frame while there is memory for it. False: the session is gone. */
bool delivery_remember(struct room *room, struct session *session, struct frame *frame);

/* linger.c: sessions whose connection died a moment ago. */
/* False: not now; the connection is as before. */
HF_MUST_CHECK bool linger_begin(struct room *room, struct connection *connection, uint32_t code);
void linger_expire(struct room *room); /* those whose time is over end */
/* A push for a session that is cut. */
Hf__PushResult linger_park(struct room *room, struct session *session, bool stored,
			   struct frame *frame);
/* The connection that this LOGIN may resume: ticket, device and sessions are its own. NULL: none;
 * counted, if there was a ticket. */
struct connection *linger_find(struct room *room, const struct hf_wire_login *login);
/* The sessions of `old` hang on `connection` now; `old` is gone. */
void linger_take_over(struct room *room, struct connection *connection, struct connection *old);
/* LOGIN_ACK is out: what was not acked, then what was parked, then what saver has. */
void linger_resend(struct room *room, struct session *session);
/* A reference for the window of `session`, or NULL: no more of them. */
HF_MUST_CHECK struct frame *linger_keep(struct room *room, const struct session *session,
					struct frame *frame);
void linger_release(struct room *room, struct frame *frame);    /* NULL is fine */
void linger_forget(struct room *room, struct session *session); /* all of its window */

/* acks.c: batches of acks on their way to saver. */
HF_MUST_CHECK int acks_open(struct room *room);
void acks_close(struct room *room);
void acks_add(struct room *room, const struct session *session, uint64_t message_id);
void acks_flush(struct room *room);
bool acks_are_settled(const struct room *room);

/* upstream.c: messages of clients to their businesses, and the answers. */
HF_MUST_CHECK int upstream_open(struct room *room);
void upstream_close(struct room *room);
/* The login load is answered: what was held goes on. Or it failed: the client may send again. */
void upstream_session_loaded(struct room *room, struct session *session);
void upstream_session_unknown(struct room *room, struct session *session);
void upstream_session_gone(struct room *room, const struct session *session);
void upstream_on_frame(struct room *room, struct connection *connection, struct hf_bytes body);

/* count.c */
void count_on_call(Hf__Room_Service *rpc, const Hf__CountSessionsRequest *request,
		   Hf__CountSessionsReply_Closure closure, void *call);
void count_run(void *room);
void count_close(struct room *room);

/* rpc.c */
void rpc_init(struct room *room);

/* listing.c */
void listing_on_presence(Hf__Room_Service *rpc, const Hf__PresenceRequest *request,
			 Hf__PresenceReply_Closure closure, void *call);
void listing_on_list_sessions(Hf__Room_Service *rpc, const Hf__ListSessionsRequest *request,
			      Hf__ListSessionsReply_Closure closure, void *call);

/* sweep.c */
void sweep_start(struct room *room);
void sweep_stop(struct room *room);
void sweep_apps(struct hf_apps *apps, void *room); /* they have changed */

/* drain.c */
void drain_start(struct room *room);
void drain_tick(struct room *room);
void drain_free(struct room *room);

#endif
