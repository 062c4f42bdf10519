/* holdfast.h - libholdfast-client, the reference client library of Holdfast.
 *
 * A client holds one connection to a Holdfast cluster for up to 16 apps on this device, and hands
 * their messages to the program. It finds a server by itself, logs in, beats, acks, drops what was
 * delivered twice, and comes back after every failure the way that the server asks for.
 *
 *	struct hf_client_config config;
 *	struct hf_client *client;
 *	const char *dispatcher = "http://push.example.com:7080";
 *
 *	hf_client_config_init(&config);
 *	config.device = "phone-7";
 *	config.dispatchers = &dispatcher;
 *	config.dispatcher_count = 1;
 *	config.callbacks.on_message = on_message;
 *	hf_client_new(&config, &client);
 *	hf_client_attach(client, &(struct hf_client_app){ .app = 7, .token = token,
 *							   .registration = "ana-phone" });
 *	hf_client_start(client);
 *	hf_client_run(client, -1);
 *
 * Instead of the last line a program may drive the client from a loop of its own: hf_client_fd(),
 * hf_client_next_timeout_ms() and hf_client_process(), see below.
 *
 * Threads: a client belongs to one thread at a time; there is no lock inside, no thread is started.
 * Different clients are independent. Callbacks run inside hf_client_process() and hf_client_run().
 *
 * Blocking: nothing blocks, except that a server or dispatcher given by name is looked up with
 * getaddrinfo() (give digits to avoid it), and that the cache file is read and written.
 *
 * Memory: what you pass in is copied; what a callback gets is valid until it returns.
 *
 * Results: 0 or a positive number on success, else a negative errno; hf_client_strerror() explains.
 *
 * The library never raises SIGPIPE, writes nothing to stdout or stderr, and has no global state. */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_CLIENT_VERSION   "0.1.0"
#define HF_CLIENT_APPS_MAX  16
#define HF_CLIENT_TAGS_MAX  32 /* of one app */
#define HF_CLIENT_SENDS_MAX 8  /* hf_client_send() without a result yet; as many as rooms allow */
#define HF_CLIENT_ID_SIZE   14 /* a message id as text, with its NUL */
#define HF_CLIENT_KEY_SIZE  27 /* a new random id as text, with its NUL */

struct hf_client;

/* IDLE -> CONNECTING -> CONNECTED -> WAITING -> CONNECTING ..., and STOPPED from anywhere. */
enum hf_client_state {
	HF_CLIENT_IDLE,       /* made, not started */
	HF_CLIENT_CONNECTING, /* asks a dispatcher, connects, or logs in */
	HF_CLIENT_CONNECTED,  /* logged in: messages flow */
	HF_CLIENT_WAITING,    /* for its back-off, or for a token (retry_in_ms is -1 then) */
	HF_CLIENT_STOPPED     /* by hf_client_stop(), or by the server: see code */
};

enum hf_client_network {
	HF_CLIENT_NETWORK_UNKNOWN,
	HF_CLIENT_NETWORK_CELLULAR,
	HF_CLIENT_NETWORK_WIFI,
	HF_CLIENT_NETWORK_ETHERNET
};

/* What went wrong on the way, in on_error. None of these is final: the client goes on by itself. */
enum hf_client_error {
	HF_CLIENT_ERROR_DISPATCHER = 1, /* no usable answer from a dispatcher */
	HF_CLIENT_ERROR_CONNECT,        /* no connection, or no login, within its time */
	HF_CLIENT_ERROR_TLS,      /* handshake failed; a certificate that does not fit is here */
	HF_CLIENT_ERROR_PROTOCOL, /* the server sent what is not this protocol */
	HF_CLIENT_ERROR_LOST      /* the connection was cut, or fell silent */
};

enum hf_client_payload {
	HF_CLIENT_PAYLOAD_JSON = 0,    /* the JSON text that the business sent as `data` */
	HF_CLIENT_PAYLOAD_BYTES = 1,   /* bytes, sent as `data_b64` */
	HF_CLIENT_PAYLOAD_ENVELOPE = 2 /* a JSON object with any of data, data_b64, notification */
};

struct hf_client_message {
	uint64_t id; /* unique in the cluster, grows with time; hf_client_format_id() */
	uint32_t app;
	unsigned kind;   /* enum hf_client_payload */
	int needs_ack;   /* with auto_ack off: call hf_client_ack() when it is safe with you */
	int redelivered; /* came before, and you have not acked it yet (auto_ack off only) */
	const void *payload;
	size_t payload_len;
	uint32_t answers; /* what hf_client_send() returned, when the business answers that; else 0
			   */
};

struct hf_client_status {
	enum hf_client_state state;
	unsigned code;        /* close code behind WAITING or STOPPED; 0: none */
	const char *reason;   /* for people; "" when there is none; until the next hf_client call */
	int64_t retry_in_ms;  /* WAITING: until the next attempt; -1: not by itself */
	const char *endpoint; /* "host:port" in use or used last; "" */
	const char *node;     /* the server's name; "" */
	unsigned heartbeat_s; /* in use; 0 while not connected */
	int resumed;          /* the sessions of the last connection went on */
};

/* Any of these may be NULL. `ctx` is the one of the config. A callback may call everything but
 * hf_client_free(), hf_client_process() and hf_client_run(). */
struct hf_client_callbacks {
	/* The state changed, but for what hf_client_start() and hf_client_stop() do at once. */
	void (*on_state)(struct hf_client *client, const struct hf_client_status *status,
			 void *ctx);
	/* An app was attached (code 0), or refused or ended with a close code. */
	void (*on_app)(struct hf_client *client, uint32_t app, unsigned code, const char *reason,
		       void *ctx);
	/* One message. With auto_ack it is acked when this returns. */
	void (*on_message)(struct hf_client *client, const struct hf_client_message *message,
			   void *ctx);
	/* The server dropped so many messages of an app that waited too long or were too many. */
	void (*on_messages_lost)(struct hf_client *client, uint32_t app, unsigned count, void *ctx);
	/* The token of an app was refused with a 43xx code: get a new one and call
	 * hf_client_set_token(), here or later. Called once for each token that was refused. */
	void (*on_token_needed)(struct hf_client *client, uint32_t app, unsigned code, void *ctx);
	void (*on_error)(struct hf_client *client, enum hf_client_error error, const char *detail,
			 void *ctx);
	/* How it went with what hf_client_send() took, once for each. `result` 0: the business has
	 * it, and its answer, if it gave one, came before by on_message. Above 0: the server's
	 * code, see hf_client_send_name(); 41xx: try again later, others: don't. -ECONNRESET: the
	 * connection or the app's session ended before: the business may have it. */
	void (*on_send_result)(struct hf_client *client, uint32_t app, uint32_t sequence,
			       int result, const char *reason, void *ctx);
};

/* Fill it with hf_client_config_init(), then set what you need. Strings are copied by
 * hf_client_new(). */
struct hf_client_config {
	size_t struct_size; /* set by hf_client_config_init() */
	struct hf_client_callbacks callbacks;
	void *ctx;

	const char *device;   /* required: 1-64 bytes, the same for ever on this device */
	const char *platform; /* "linux" */
	enum hf_client_network network;

	/* Where to go: dispatchers ("http://host:port" or "https://...", at most 8) that name
	 * servers, and servers ("host:port", "[v6]:port", at most 8) as the last resort or instead.
	 */
	const char *const *dispatchers;
	size_t dispatcher_count;
	const char *const *addresses;
	size_t address_count;
	int tls;                /* use TLS wherever it is left open: `addresses`, and plain ports */
	const char *ca_file;    /* PEM file of the authorities to trust; NULL: the system's */
	const char *tls_name;   /* name that certificates must have; NULL: the host as given */
	const char *cache_file; /* keeps servers over restarts; NULL: nowhere */

	int auto_ack;                /* 1: a message is acked when on_message has returned */
	unsigned heartbeat_max_s;    /* 0: what the server says; else never less often than this */
	unsigned dedup_ids;          /* 1024: message ids remembered for each app, 16-8192 */
	unsigned connect_timeout_ms; /* 10000: for TCP and TLS */
	unsigned login_timeout_ms;   /* 10000 */
	unsigned pong_timeout_ms;    /* 10000: silence after a PING that means the line is dead */
	unsigned first_retry_ms;     /* 5000: after a cut, uniform(0, this) */
	unsigned backoff_base_ms;    /* 1000 */
	unsigned backoff_cap_ms;     /* 120000 */
	unsigned stable_ms;          /* 60000: connected for so long resets the back-off */
};

void hf_client_config_init(struct hf_client_config *config);

/* -EINVAL: a setting is missing, malformed or out of its range; -ENOMEM; or what epoll_create1(2)
 * says. */
int hf_client_new(const struct hf_client_config *config, struct hf_client **ret_client);
/* Cuts the connection if there is one (hf_client_stop() ends it in order). No callback runs any
 * more. NULL is fine. Never from a callback. */
void hf_client_free(struct hf_client *client);

/* Begin to connect; also after STOPPED. 0; -EALREADY; -EINVAL: no app is attached. */
int hf_client_start(struct hf_client *client);
/* Say goodbye and close. Waits at most `flush_ms` until the server has read what was sent, so that
 * no ack is lost; 0: does not wait. Makes no callback. From a callback: done when it has returned.
 */
void hf_client_stop(struct hf_client *client, unsigned flush_ms);
void hf_client_status(struct hf_client *client, struct hf_client_status *ret_status);
const char *hf_client_state_name(enum hf_client_state state); /* "connected" */

/* One app on this device. */
struct hf_client_app {
	uint32_t app;             /* 1 or more */
	const char *registration; /* 1-64 bytes: names this installation; NULL: a new random one */
	const char *token;        /* at most 2048 bytes; NULL: on_token_needed asks for it */
	const char *user_id;      /* at most 128 bytes, or NULL */
	const char *const *tags;  /* at most 32, of 1-40 bytes each */
	size_t tag_count;
};

/* Add an app, at any time: when connected it is attached at once. -EINVAL, -EEXIST, -ENOSPC,
 * -ENOMEM. */
int hf_client_attach(struct hf_client *client, const struct hf_client_app *app);
/* Remove it. Messages of it that are under way are not delivered any more. -ENOENT. */
int hf_client_detach(struct hf_client *client, uint32_t app);
/* Its registration id, or NULL when there is no such app; until it is detached. */
const char *hf_client_registration(const struct hf_client *client, uint32_t app);
/* Give a new token, any time. An app that waits for one, or was refused, is attached with it; an
 * app that is attached shows it to the server. -ENOENT, -EINVAL, -ENOMEM. */
int hf_client_set_token(struct hf_client *client, uint32_t app, const char *token);

/* With auto_ack off: message `id` of `app` is safe, never send it again. Acks are gathered and
 * leave at the end of hf_client_process(), or of the next one when called between two. Lost acks do
 * no harm: the message comes again and is acked without you. 0; -ENOENT: no such app, or the
 * message is not one of the last dedup_ids. */
int hf_client_ack(struct hf_client *client, uint32_t app, uint64_t id);

/* Send `len` bytes (at most 65536) to the business of an attached app; `type`, 1-32 bytes, is the
 * forward type that chooses the business's callback. Messages of one app and type arrive in the
 * order of the calls. Returns the sequence that on_send_result() and the answer will name (> 0), or
 * -ENOENT (no such app), -ENOTCONN (not attached right now: nothing is queued for later), -EAGAIN
 * (HF_CLIENT_SENDS_MAX have no result yet, much is unsent, or the server asked to slow down),
 * -EINVAL, -EMSGSIZE (more than the server takes), -ENOMEM. */
int hf_client_send(struct hf_client *client, uint32_t app, const char *type, const void *data,
		   size_t len);

/* The platform's hint that the network has changed: a waiting client tries at once, a connected one
 * checks its line with a PING that is given 5 s. */
void hf_client_notify_network(struct hf_client *client, enum hf_client_network network);

/* The client in a loop of your own:
 *
 *	struct pollfd p = { .fd = hf_client_fd(client), .events = POLLIN };
 *	for (;;) {
 *		poll(&p, 1, hf_client_next_timeout_ms(client));
 *		hf_client_process(client);
 *	}
 *
 * The descriptor stays the same for the client's life. Ask for the timeout after each call of any
 * function of the client, as it may have changed. -1: nothing is to be done but on input. */
int hf_client_fd(const struct hf_client *client);
int hf_client_next_timeout_ms(const struct hf_client *client);
/* Does all that is due and never waits. 0, or -EBUSY when called from a callback. */
int hf_client_process(struct hf_client *client);

/* A loop for simple programs: returns 0 once the client is STOPPED, -ETIMEDOUT after `timeout_ms`
 * (-1: never), -EINTR when a signal came. */
int hf_client_run(struct hf_client *client, int timeout_ms);

struct hf_client_stats {
	uint64_t connects;         /* attempts */
	uint64_t connect_failures; /* of them, without a login */
	uint64_t logins;
	uint64_t resumes;
	uint64_t lost; /* connections that were cut or fell silent after login */
	uint64_t fetches, fetch_failures;
	uint64_t messages;      /* delivered to on_message */
	uint64_t duplicates;    /* dropped, and acked again */
	uint64_t redelivered;   /* delivered again, as they were not acked */
	uint64_t messages_lost; /* as told by the server */
	uint64_t acks, pings, pongs;
	uint64_t sends, sends_failed; /* taken by hf_client_send(); of them, with a result not 0 */
	uint64_t bytes_in, bytes_out;
	int64_t connected_for_ms;  /* -1: not connected */
	int64_t last_heard_ms_ago; /* -1: never */
};
void hf_client_stats(const struct hf_client *client, struct hf_client_stats *ret_stats);
/* State, apps and counters as one JSON object, for a bug report; no token is in it. Free with
 * free(); NULL when memory is short. */
char *hf_client_diag_json(struct hf_client *client);

/* "4101" -> "rate_limited"; "unknown". */
const char *hf_client_code_name(unsigned code);
/* The result in on_send_result: "accepted", "timeout", "no_callback". */
const char *hf_client_send_name(int result);
/* What a negative result means. */
const char *hf_client_strerror(int result);
const char *hf_client_version(void);
/* A message id as the API shows it: 13 characters. */
void hf_client_format_id(uint64_t id, char ret[HF_CLIENT_ID_SIZE]);
/* 130 random bits as 26 characters: a fresh device or registration id. */
void hf_client_random_id(char ret[HF_CLIENT_KEY_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
