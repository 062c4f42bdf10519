/* tests/unit/fake_server.h - a server by hand, in the same thread as the client under test: pump()
 * turns both until something has happened. Real sockets, no threads, no sleeps. */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "hf_buffer.h"
#include "hf_wire.h"
#include "holdfast.h"

#define PATIENCE_MS 5000 /* a test that waits longer has failed */

struct server {
	int listener, fd; /* -1: none */
	uint16_t port;
	char address[32];
	unsigned accepted;
	bool closed; /* the client has closed */
	struct hf_buffer in;
	uint8_t held[HF_WIRE_PAYLOAD_MAX + 64]; /* the frame that server_frame() gave last */
};

/* What the client told. */
struct record {
	unsigned states[5]; /* how often each */
	unsigned code;      /* of the last state */
	int64_t retry_in_ms;
	char reason[128], node[64], endpoint[128];
	unsigned messages, lost, token_asked, errors[6];
	char error_detail[128]; /* of the last one */
	uint64_t last_id;
	char payload[256];
	bool redelivered;
	unsigned app_code[16];
	const char *next_token; /* given when one is asked for; NULL: none */
	unsigned results;       /* of sends; the last one: */
	uint32_t result_sequence, answers;
	int result;
	unsigned stop_after; /* stop the client in this message's callback; 0: never */
};

/* One client with one server; most tests need no more. */
struct fixture {
	struct server server;
	struct hf_client *client;
	struct hf_client_config config;
	struct record record;
	const char *address;
};

void server_open(struct server *server);
void server_close(struct server *server);
void server_hang_up(struct server *server);

/* A fixture whose client is configured but not made: short times, the server's address. */
void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);
/* Makes the client with app 7, registration "r7", token "t7", and starts it. */
void fixture_start(struct fixture *f);
/* The same, and answers its LOGIN: attached. */
void fixture_connect(struct fixture *f);
/* Waits for a connection and its LOGIN, and answers that all is attached. */
void server_log_in(struct fixture *f);

/* One turn of the client and of `server`, waiting at most `wait_ms` for either. */
void turn(struct fixture *f, struct server *server, int wait_ms);
#define PUMP_UNTIL(f, server, condition)                                 \
	do {                                                             \
		uint64_t until_ = hf_clock_monotonic_ms() + PATIENCE_MS; \
		while (!(condition)) {                                   \
			assert_true(hf_clock_monotonic_ms() < until_);   \
			turn(f, server, 100);                            \
		}                                                        \
	} while (0)

/* The next frame from the client, which must be of `type`; its body lives until the next call. */
struct hf_wire_frame server_frame(struct fixture *f, struct server *server, unsigned type);
void server_send(struct server *server, const void *data, size_t len);
void server_send_encoded(struct server *server, const uint8_t *frame, ssize_t n);
void server_push(struct server *server, uint64_t id, uint32_t app, const char *payload);
void server_bye(struct server *server, unsigned code, uint32_t delay_ms, const char *endpoint);

#endif
