/* sdk/c/client.h - the inside of a client, shared by the files of the library.
 *
 *	client.c      states, timers, the turn: everything that decides when
 *	config.c      new, free
 *	apps.c        the apps: tokens, attach and detach, message ids seen
 *	connection.c  one connection to a server: login, frames in, acks out, keepalive
 *	send.c        messages to the businesses, and their results
 *	ending.c      how a connection ends, and what comes next
 *	fetch.c       one question to a dispatcher; answer.c: its answer
 *	selection.c   which server next
 *	transport.c   TCP and TLS
 *	report.c      stats, names
 *
 * All work is done by hf_client_process(). A stop that a callback asks for is done when all
 * callbacks have returned, so that nothing vanishes under the code that called them. */
#ifndef HOLDFAST_CLIENT_H
#define HOLDFAST_CLIENT_H

#include "hf_backoff.h"
#include "hf_buffer.h"
#include "hf_wire.h"
#include "holdfast.h"
#include "selection.h"
#include "transport.h"

#define DISPATCHERS_MAX 8
#define TRIES_PER_ROUND 3 /* servers tried one after another before a back-off */
#define DETAIL_SIZE     512

enum phase {
	PHASE_NONE,    /* no transport */
	PHASE_FETCH,   /* the transport talks to a dispatcher */
	PHASE_CONNECT, /* TCP and TLS to a server */
	PHASE_LOGIN,   /* LOGIN is out */
	PHASE_ACTIVE,
};

enum app_state {
	APP_IDLE,     /* goes into the next LOGIN, or ATTACH once retry_ms has passed */
	APP_ASKED,    /* in a LOGIN or ATTACH that was not answered yet */
	APP_ATTACHED, /* messages flow */
	APP_NO_TOKEN, /* waits for hf_client_set_token() */
	APP_STOPPED,  /* refused for good: `code` */
};

struct seen_id {
	uint64_t id;
	bool acked;
};

struct sent {
	uint32_t app, sequence;
};

struct app {
	uint32_t id;
	enum app_state state;
	unsigned code; /* why it is not attached; 0 */
	char registration[HF_REGISTRATION_MAX + 1];
	char user_id[HF_USER_ID_MAX + 1];
	char *token;       /* owned; NULL: none */
	bool token_is_new; /* the server has not seen it yet */
	char tags[HF_WIRE_TAGS_MAX][HF_WIRE_TAG_MAX + 1];
	size_t tag_count;
	struct hf_backoff backoff; /* of ATTACH on a live connection */
	uint64_t retry_ms;
	struct seen_id *seen; /* owned; a ring of config.dedup_ids */
	size_t seen_count, seen_next;
};

struct hf_client {
	struct hf_client_config config; /* its strings are owned copies */
	enum hf_client_state state;
	enum phase phase;
	bool processing, stop_asked, more_input;
	unsigned stop_flush_ms;
	int epoll_fd;
	struct ssl_ctx_st *tls_context; /* made when it is first needed */
	struct transport transport;
	uint32_t armed; /* events that epoll has for the transport's descriptor; 0: not added */

	struct app *apps[HF_WIRE_SESSIONS_MAX]; /* owned */
	size_t app_count;

	char *dispatchers[DISPATCHERS_MAX];
	size_t dispatcher_count, dispatcher_next;
	const char *fetch_reason; /* of the next question to a dispatcher */
	struct selection selection;
	struct endpoint *attempt; /* in `selection`, while CONNECT or LOGIN */
	unsigned tries, lookups;
	bool fetch_wanted;
	uint64_t not_before_ms; /* by order of a dispatcher */

	struct hf_backoff backoff;
	bool moved; /* the last end was an order to move: the next one waits for a back-off */

	/* of the connection */
	struct hf_buffer in, out;
	uint64_t deadline_ms; /* of the phase; 0: none */
	uint64_t retry_ms;    /* WAITING; 0: not by itself */
	uint64_t connected_ms, last_sent_ms, last_heard_ms;
	uint64_t pong_deadline_ms;       /* 0: none awaited */
	uint64_t move_ms;                /* 0: no order to move */
	uint64_t quiet_until_ms;         /* by COMMAND SLOW_DOWN: no ATTACH, DETACH */
	uint32_t frame_max;              /* largest body that the server takes */
	uint32_t heartbeat_s, learned_s; /* learned: what the line bears; 0: nothing learned */
	unsigned silent_ends, good_beats;
	bool login_answered, resumed;
	uint8_t ticket[HF_WIRE_TICKET_MAX];
	size_t ticket_len;
	uint64_t ticket_until_ms;
	uint32_t linger_s;
	uint64_t acks[HF_WIRE_ACK_IDS_MAX];
	size_t ack_count;
	struct sent sends[HF_CLIENT_SENDS_MAX]; /* without a result, oldest first */
	size_t send_count;
	uint32_t last_sequence;
	char node[HF_NODE_ID_MAX + 1];
	char endpoint[SELECTION_TEXT_SIZE];
	bool endpoint_tls;
	unsigned code;
	char reason[HF_WIRE_REASON_MAX + 1];

	struct hf_client_stats stats;
};

/* client.c */
void client_set_state(struct hf_client *client, enum hf_client_state state);
void client_error(struct hf_client *client, enum hf_client_error error, const char *fmt, ...)
	HF_PRINTF(3, 4);
void client_set_reason(struct hf_client *client, unsigned code, struct hf_bytes reason);
int client_open(struct hf_client *client, const char *host, uint16_t port, bool tls);
void client_close_transport(struct hf_client *client, bool orderly);
void client_begin_attempt(struct hf_client *client, uint64_t now); /* fetch or connect */
void client_begin_round(struct hf_client *client, uint64_t now);   /* over the servers known */
/* A room holds our sessions still, and we have the ticket for them. */
bool client_may_resume(const struct hf_client *client, uint64_t now);
void client_next_server(struct hf_client *client, uint64_t now);
/* Bytes into client->in until the line is empty or a bound is met. `most`: what `in` may hold. 0
 * (nothing more now), or the error that ended the stream. */
HF_MUST_CHECK int client_read(struct hf_client *client, size_t most);
int client_flush(struct hf_client *client, uint64_t now);
/* Waits until all is written and the server has closed, at most so long. */
void client_drain(struct hf_client *client, unsigned flush_ms);

/* apps.c */
struct app *app_find(const struct hf_client *client, uint32_t id);
void app_free(struct app *app);
void app_to_wire(const struct app *app, struct hf_wire_session *ret);
/* What the server said of one app, in LOGIN_ACK, ATTACH_ACK, DETACH_ACK or BYE. */
void app_settled(struct hf_client *client, struct app *app, unsigned code, struct hf_bytes reason,
		 uint64_t now);
/* The same of all that are in `state`, which `code` must end. */
void apps_settle_all(struct hf_client *client, enum app_state state, unsigned code,
		     struct hf_bytes reason, uint64_t now);
size_t apps_count(const struct hf_client *client, enum app_state state);
bool app_is_ready(const struct app *app); /* to be attached: it has a token that was not refused */
bool apps_are_ready(const struct hf_client *client); /* any of them */
/* Ask the program for the tokens that were never given. */
void apps_ask_tokens(struct hf_client *client);
/* ATTACH for the apps whose time has come. */
void apps_attach_due(struct hf_client *client, uint64_t now);
uint64_t apps_next_ms(const struct hf_client *client); /* when the next is due; 0: never */
/* NULL: not seen. */
struct seen_id *app_find_seen(struct app *app, uint64_t id);
struct seen_id *app_add_seen(struct hf_client *client, struct app *app, uint64_t id);

/* connection.c */
void connection_begin(struct hf_client *client, uint64_t now); /* the transport is ready: LOGIN */
void connection_input(struct hf_client *client, uint64_t now);
void connection_timers(struct hf_client *client, uint64_t now);
uint64_t connection_next_ms(const struct hf_client *client); /* 0: never */
void connection_probe(struct hf_client *client, uint64_t now, unsigned timeout_ms);
/* A whole frame into client->out; `n` is an encoder's result. */
void connection_committed(struct hf_client *client, ssize_t n);
HF_MUST_CHECK uint8_t *connection_room(struct hf_client *client, size_t size);
void connection_ack(struct hf_client *client, uint64_t id);
void connection_flush_acks(struct hf_client *client);
void connection_say_bye(struct hf_client *client, unsigned code);

/* send.c */
/* False: not this protocol. */
bool send_on_ack(struct hf_client *client, struct hf_bytes body);
/* The sends of `app` (0: of all) will get no result from the server. */
void send_fail(struct hf_client *client, uint32_t app, int result);
void send_forget(struct hf_client *client, uint32_t app); /* the same without a word */

/* ending.c */
void ending_failed(struct hf_client *client, uint64_t now); /* no login came of this attempt */
void ending_lost(struct hf_client *client, uint64_t now);   /* cut, or fell silent */
void ending_bye(struct hf_client *client, const struct hf_wire_bye *bye, uint64_t now);
void ending_move(struct hf_client *client, uint64_t now);    /* COMMAND MOVE is due */
void ending_no_apps(struct hf_client *client, uint64_t now); /* nothing left to be connected for */
void ending_stop(struct hf_client *client, unsigned flush_ms); /* by hf_client_stop() */
void ending_wait(struct hf_client *client, uint64_t now, uint64_t wait_ms);

/* fetch.c */
bool fetch_url_is_valid(const char *text);
void fetch_begin(struct hf_client *client, uint64_t now);
void fetch_ready(struct hf_client *client, uint64_t now); /* the transport is ready */
void fetch_input(struct hf_client *client, uint64_t now);
void fetch_failed(struct hf_client *client, const char *why, uint64_t now);

#endif
