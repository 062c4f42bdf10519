/* tools/bench/client.h - one simulated device: connects, logs in, counts and acks what it gets. */
#ifndef CLIENT_H
#define CLIENT_H

#include "engine.h"

struct ssl_st;
struct ssl_ctx_st;

enum client_state { CLIENT_IDLE, CLIENT_CONNECTING, CLIENT_TLS, CLIENT_LOGIN, CLIENT_OPEN };

struct client {
	struct source source;
	struct fleet *fleet;
	int fd;
	uint8_t state;    /* enum client_state */
	bool dropped;     /* by a wave, at least once */
	uint8_t wave;     /* the wave that it comes back from, + 1 */
	uint8_t attempts; /* that failed, or connections that ended, one after the other */
	uint32_t number;  /* counted from --startnumber, over all workers */
	uint32_t heartbeat_s, last_sent_s;
	uint32_t partial_len, partial_size;
	uint8_t *partial; /* a frame that is not complete */
	uint64_t intended_ns, started_ns, connected_ns;
	uint8_t room;     /* where it goes next */
	uint8_t back;     /* enum back */
	bool waiting : 1; /* to be started again: is in `retries` */
	bool left : 1;    /* by --ramp: not to be started again */
	bool slow : 1;    /* reads SLOW_BYTES a second */
	bool churned : 1; /* it was away for --churn the last time */
	bool silent : 1;  /* a PING was sent, and nothing came since */
	struct stream streams[STREAMS];
	struct ssl_st *tls; /* NULL: plain */
};

/* Who is to be started again, the earliest first: a heap, in which each client is at most once. */
struct retries {
	struct retry {
		uint64_t due_ns;
		uint32_t client;
	} * heap;
	size_t count;
};

/* All clients of one worker. */
struct fleet {
	struct engine engine;
	struct client *clients;
	uint64_t count;
	uint8_t *buffer; /* for every read */
	bool in_storm;
	uint64_t acks[512]; /* of the client being read */
	size_t ack_count;
	/* the schedules, clients.c */
	size_t stage;          /* of the shape */
	uint64_t next_arrival; /* clients before it are there, by the shape */
	double churn_credit;   /* clients that are due to lose their connection */
	uint64_t churn_ns;     /* until when it was counted; 0: not yet */
	uint64_t next_back, back_count;
	uint32_t *back; /* clients to reconnect, in order */
	uint64_t back_start_ns;
	unsigned next_wave, current_wave;
	uint64_t drop_pos; /* how far the current wave has come */
	uint64_t end_ns, sweep_pos, sweep_credit;
	struct retries retries;
	struct ticket *tickets;    /* NULL: no --resume */
	struct drops *drops;       /* NULL: no --loss-app */
	struct upstream *upstream; /* NULL: no such command */
	struct ssl_ctx_st *tls;    /* NULL: plain */
};

#define CLIENT_BUFFER (256u * 1024)
#define BURST         32 /* starts, and drops, of a kind between two looks at the sockets */
#define SLOW_BYTES    256

void client_init(struct client *client, struct fleet *fleet, uint32_t number);
void client_start(struct client *client, uint64_t intended_ns);
/* Ends the connection: with BYE, without a word, or by RST. */
enum drop_kind { DROP_BYE, DROP_CUT, DROP_RESET };
void client_drop(struct client *client, enum drop_kind kind);
/* What a slow client reads in a second. */
void client_read_slowly(struct client *client);
void client_ping(struct client *client);
/* An attempt that has taken too long, or a connection that has fallen silent. */
void client_give_up(struct client *client);
/* False: the connection is gone. */
bool client_send(struct client *client, const uint8_t *data, size_t len);

/* retry.c: who comes back after an end that was not ours, and when. */
HF_MUST_CHECK int retry_open(struct fleet *fleet); /* 0 or -ENOMEM */
void retry_close(struct fleet *fleet);
/* `why` is what ended: an attempt, or a connection that was logged in. `code` and `delay_ms` are of
 * its BYE; 0: there was none. */
void retry_plan(struct client *client, enum back why, unsigned code, uint32_t delay_ms);
/* Starts some of those that are due; when the next ones are. */
uint64_t retry_due(struct fleet *fleet);

/* ticket.c: --resume. */
HF_MUST_CHECK int tickets_open(struct fleet *fleet); /* 0 or -ENOMEM */
void tickets_close(struct fleet *fleet);
void ticket_keep(struct client *client, struct hf_bytes data, uint32_t linger_s);
/* A connection that was logged in has ended. Only a cut leaves something to resume. */
void ticket_on_end(struct client *client, bool cut);
/* For LOGIN; empty: there is none that is good. */
struct hf_bytes ticket_show(const struct client *client);

/* mix.c: --churn, --slow, --loss-app. */
HF_MUST_CHECK int mix_open(struct fleet *fleet); /* 0 or -ENOMEM */
void mix_close(struct fleet *fleet);
/* The same answer for the same number, salt and share, and yes for that share of the numbers. */
bool mix_chosen(uint32_t number, unsigned salt, double share);
uint64_t mix_churn_due(struct fleet *fleet);
bool mix_loses(struct client *client, uint64_t message_id);
bool mix_came_again(struct client *client, uint64_t message_id); /* what was lost before */

/* secure.c: TLS. */
HF_MUST_CHECK int secure_open(struct fleet *fleet); /* 0, or -errno after saying why */
void secure_close(struct fleet *fleet);
HF_MUST_CHECK int secure_begin(struct client *client); /* 0 or -ENOMEM */
/* 1: done; 0: wait for `*ret_events` first; -1: failed. */
int secure_handshake(struct client *client, uint32_t *ret_events);
/* As recv() and send(): with errno. Plain ones go straight through. */
ssize_t secure_recv(struct client *client, void *buffer, size_t size);
ssize_t secure_send(struct client *client, const void *data, size_t len);
bool secure_has_more(const struct client *client); /* read, and not handed out yet */
void secure_end(struct client *client);

/* upstream.c: what clients send to their business. */
HF_MUST_CHECK int upstream_open(struct fleet *fleet); /* 0 or -ENOMEM */
void upstream_close(struct fleet *fleet);
uint64_t upstream_send_due(struct fleet *fleet); /* when the next one is */
void upstream_on_ack(struct client *client, struct hf_bytes body);
void upstream_on_answer(struct client *client, uint32_t sequence);

#endif
