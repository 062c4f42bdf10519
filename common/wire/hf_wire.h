/* common/wire/hf_wire.h - the client protocol as a pure codec (proto/README.md has the authority).
 *
 *	0          1..4                    then
 *	+----------+-----------------------+---------
 *	| type<<3  | body length, varint   | body
 *	| | flags  | of 1 to 4 bytes       |
 *	+----------+-----------------------+---------
 *
 * Control bodies are protobuf messages of proto/client.proto, encoded and decoded here by hand: no
 * allocation, borrowed bytes, bounds on everything. PUSH, ACK and PING bodies are fixed layouts. No
 * I/O, no logging: tests, fuzzers, sdk and tools link this alone. Decoders borrow from the bytes
 * that they are given. */
#ifndef HF_WIRE_H
#define HF_WIRE_H

#include <sys/types.h>

#include "hf_base.h"

#define HF_WIRE_VERSION           1
#define HF_WIRE_SESSIONS_MAX      16 /* apps on one connection */
#define HF_WIRE_TAGS_MAX          32 /* of one session */
#define HF_WIRE_TAG_MAX           40
#define HF_WIRE_TOKEN_MAX         2048
#define HF_WIRE_REASON_MAX        123
#define HF_WIRE_ENDPOINTS_MAX     8
#define HF_WIRE_ENDPOINT_MAX      260 /* "host:port" */
#define HF_WIRE_LABEL_MAX         32  /* platform, sdk_version, forward_type */
#define HF_WIRE_TICKET_MAX        64
#define HF_WIRE_PAYLOAD_MAX       65536 /* of one message */
#define HF_WIRE_HEADER_MAX        5
#define HF_WIRE_PUSH_OVERHEAD     32    /* most bytes of a PUSH frame around its payload */
#define HF_WIRE_UPSTREAM_OVERHEAD 64    /* the same of UPSTREAM */
#define HF_WIRE_ACK_IDS_MAX       512   /* in one ACK frame */
#define HF_WIRE_CONTROL_MAX       4101  /* bytes of any frame but LOGIN, PUSH and UPSTREAM */
#define HF_WIRE_LOGIN_MAX         65536 /* bytes of a LOGIN frame, which may hold many tokens */

enum hf_wire_type {
	HF_WIRE_LOGIN = 1,     /* up; the first frame; body is 'H' 'F' version, then protobuf */
	HF_WIRE_LOGIN_ACK = 2, /* down */
	HF_WIRE_ATTACH = 3,    /* up */
	HF_WIRE_ATTACH_ACK = 4,
	HF_WIRE_DETACH = 5,     /* up */
	HF_WIRE_DETACH_ACK = 6, /* down; unasked when a session was taken over or kicked */
	HF_WIRE_PUSH = 7,       /* down */
	HF_WIRE_ACK = 8,        /* up */
	HF_WIRE_UPSTREAM = 9,   /* up */
	HF_WIRE_UPSTREAM_ACK = 10,
	HF_WIRE_PING = 11, /* either way; empty, or with a proposed interval */
	HF_WIRE_PONG = 12,
	HF_WIRE_COMMAND = 13, /* down */
	HF_WIRE_BYE = 14,     /* either way; the last frame */
	HF_WIRE_TYPE_COUNT
};
const char *hf_wire_type_name(unsigned type); /* "push": metric label; "unknown" */
/* The largest body that the protocol allows; 0 for PONG and for types that do not exist. */
uint32_t hf_wire_body_max(unsigned type);

/* Close codes (INTERFACES B6): the hundreds say what the client does next. */
enum hf_close_code {
	HF_CLOSE_NORMAL = 1000, /* the client said BYE, or the server ends for good */
	/* stop, tell the app */
	HF_CLOSE_BAD_FRAME = 4000,
	HF_CLOSE_VERSION_UNSUPPORTED = 4001,
	HF_CLOSE_APP_UNKNOWN = 4002,
	HF_CLOSE_APP_DISABLED = 4003,
	HF_CLOSE_AUTH_REJECTED = 4004,
	HF_CLOSE_BANNED = 4005,
	HF_CLOSE_REPLACED = 4006,
	HF_CLOSE_KICKED = 4007,
	HF_CLOSE_PROTOCOL_VIOLATION = 4008,
	/* reconnect after back-off */
	HF_CLOSE_OVERLOADED = 4100,
	HF_CLOSE_RATE_LIMITED = 4101,
	HF_CLOSE_SLOW_CONSUMER = 4102,
	HF_CLOSE_INTERNAL_ERROR = 4103,
	HF_CLOSE_CONNECTION_LIMIT = 4104,
	HF_CLOSE_HANDSHAKE_TIMEOUT = 4105,
	/* reconnect now or when told */
	HF_CLOSE_DRAINING = 4200,
	HF_CLOSE_KEEPALIVE_TIMEOUT = 4201,
	HF_CLOSE_REBALANCED = 4202,
	HF_CLOSE_ADMIN_RECONNECT = 4203,
	/* refresh the token, then reconnect */
	HF_CLOSE_TOKEN_EXPIRED = 4300,
	HF_CLOSE_TOKEN_REVOKED = 4301,
	HF_CLOSE_TOKEN_NOT_YET_VALID = 4302,
};
const char *hf_close_name(unsigned code); /* "bad_frame"; "unknown" */
bool hf_close_is_known(unsigned code);
enum hf_close_action { HF_CLOSE_STOP, HF_CLOSE_BACKOFF, HF_CLOSE_MOVE, HF_CLOSE_REFRESH_TOKEN };
/* By the hundreds, so that a code younger than the client works too. 1000: STOP; others: BACKOFF.
 */
enum hf_close_action hf_close_action(unsigned code);

enum hf_network { HF_NETWORK_UNKNOWN, HF_NETWORK_CELLULAR, HF_NETWORK_WIFI, HF_NETWORK_ETHERNET };

struct hf_wire_frame {
	uint8_t type;         /* enum hf_wire_type */
	uint8_t flags;        /* 0..7 */
	struct hf_bytes body; /* borrowed */
};

/* Decode the frame at the start of `buf`. Returns the bytes it takes (> 0), 0 while it is
 * incomplete, -EPROTO (unknown type, flags not 0, length not minimal or over 4 bytes), or -EMSGSIZE
 * (body over `max_body` or over its type's limit; known before one byte of it is awaited).
 * *ret_need, if not NULL, is the frame's whole size as soon as its header is there, else 0. After
 * an error the stream is lost: close it. */
HF_MUST_CHECK ssize_t hf_wire_decode(const uint8_t *buf, size_t len, uint32_t max_body,
				     struct hf_wire_frame *ret_frame, size_t *ret_need);

/* One session to attach, in LOGIN and ATTACH. */
struct hf_wire_session {
	uint32_t app;
	struct hf_bytes registration, token, user_id;
	size_t tag_count;
	struct hf_bytes tags[HF_WIRE_TAGS_MAX];
};

struct hf_wire_login {
	/* As sent. When it is not HF_WIRE_VERSION nothing else was read, and all is 0. */
	uint8_t version;
	struct hf_bytes device, platform, sdk_version;
	uint8_t network;        /* enum hf_network */
	uint32_t heartbeat_s;   /* wished for; 0: the server chooses */
	struct hf_bytes ticket; /* to resume; at most 64 bytes */
	size_t session_count;   /* 1..HF_WIRE_SESSIONS_MAX */
	struct hf_wire_session sessions[HF_WIRE_SESSIONS_MAX];
};

/* Outcome of one session of LOGIN or ATTACH. */
struct hf_wire_attach_result {
	uint32_t app;
	uint32_t code; /* 0: attached, else a close code that says what to do about this session */
	struct hf_bytes reason;
};

struct hf_wire_login_ack {
	uint64_t server_time_ms;
	uint32_t heartbeat_s; /* the client shall beat at least this often */
	uint32_t linger_s;    /* how long a cut session can be resumed; 0: not */
	struct hf_bytes ticket;
	uint32_t window;    /* most unacked pushes per session */
	uint32_t frame_max; /* largest body the server takes from a client */
	bool resumed;
	struct hf_bytes node;
	size_t result_count;
	struct hf_wire_attach_result results[HF_WIRE_SESSIONS_MAX];
};

struct hf_wire_detach {
	uint32_t app;
	uint32_t code; /* in DETACH_ACK: 0 as asked, else why (a close code) */
	struct hf_bytes reason;
};

enum hf_wire_payload_kind {
	HF_WIRE_PAYLOAD_JSON = 0,     /* message.data as JSON text */
	HF_WIRE_PAYLOAD_BYTES = 1,    /* message.data_b64, decoded */
	HF_WIRE_PAYLOAD_ENVELOPE = 2, /* JSON: {"data":, "data_b64":, "notification":{}} */
};

/* PUSH body: u64 message id | varint app | u8 kind | u8 qos | varint upstream sequence | payload */
struct hf_wire_push {
	uint64_t message_id;
	uint32_t app;
	uint8_t kind;               /* enum hf_wire_payload_kind */
	uint8_t qos;                /* 0: not to be acked; 1: ack it */
	uint32_t upstream_sequence; /* 0: not an answer */
	struct hf_bytes payload;
};

struct hf_wire_upstream {
	uint32_t app, sequence;
	struct hf_bytes forward_type; /* 1..32 bytes */
	struct hf_bytes payload;
};
/* Outcomes of UPSTREAM that are no close codes; 41xx may be tried again. */
enum hf_upstream_code {
	HF_UPSTREAM_TIMEOUT = 4150,      /* no answer in time: the business may have it */
	HF_UPSTREAM_FAILED = 4151,       /* not reached, or its answer was an error or broken */
	HF_UPSTREAM_NO_CALLBACK = 4400,  /* nobody takes messages of this type */
	HF_UPSTREAM_REFUSED = 4401,      /* the business said no */
	HF_UPSTREAM_BAD_ANSWER = 4402,   /* taken, but the answer is too large to be sent on */
	HF_UPSTREAM_BAD_CALLBACK = 4403, /* the callback leads where it must not */
};
/* "timeout", or hf_close_name(). */
const char *hf_upstream_name(unsigned code);

struct hf_wire_upstream_ack {
	uint32_t app, sequence;
	uint32_t code; /* 0: accepted; enum hf_upstream_code, or a close code */
	struct hf_bytes reason;
};

enum hf_wire_command_kind {
	HF_WIRE_COMMAND_MOVE = 1,          /* go to other endpoints within delay_ms */
	HF_WIRE_COMMAND_SLOW_DOWN = 2,     /* send less for delay_ms */
	HF_WIRE_COMMAND_HEARTBEAT = 3,     /* heartbeat_s from now on */
	HF_WIRE_COMMAND_MESSAGES_LOST = 4, /* `count` messages of `app` were dropped by the cap */
};
struct hf_wire_command {
	uint8_t kind;
	uint32_t delay_ms, heartbeat_s, app, count;
	size_t endpoint_count;
	struct hf_bytes endpoints[HF_WIRE_ENDPOINTS_MAX]; /* "host:port" */
};

struct hf_wire_bye {
	uint32_t code; /* enum hf_close_code */
	struct hf_bytes reason;
	uint32_t delay_ms; /* do not come back before; 0: as the code says */
	size_t endpoint_count;
	struct hf_bytes endpoints[HF_WIRE_ENDPOINTS_MAX];
};

/* Body decoders: 0, or -EPROTO (malformed, over a limit, required field absent, an id that is not
 * valid UTF-8 or holds control characters). Unknown protobuf fields are skipped. Required: device,
 * at least one session, app, registration, forward_type, code of BYE, kind of COMMAND. After an
 * error *ret is undefined. */
HF_MUST_CHECK int hf_wire_decode_login(struct hf_bytes body, struct hf_wire_login *ret);
HF_MUST_CHECK int hf_wire_decode_login_ack(struct hf_bytes body, struct hf_wire_login_ack *ret);
HF_MUST_CHECK int hf_wire_decode_attach(struct hf_bytes body, struct hf_wire_session *ret);
HF_MUST_CHECK int hf_wire_decode_attach_ack(struct hf_bytes body,
					    struct hf_wire_attach_result *ret);
HF_MUST_CHECK int hf_wire_decode_detach(struct hf_bytes body,
					struct hf_wire_detach *ret); /* and its ack */
HF_MUST_CHECK int hf_wire_decode_push(struct hf_bytes body, struct hf_wire_push *ret);
/* Up to HF_WIRE_ACK_IDS_MAX ids into `ret`, their number in *ret_count. Body: 8 bytes each id. */
HF_MUST_CHECK int hf_wire_decode_ack(struct hf_bytes body, uint64_t *ret, size_t *ret_count);
HF_MUST_CHECK int hf_wire_decode_upstream(struct hf_bytes body, struct hf_wire_upstream *ret);
HF_MUST_CHECK int hf_wire_decode_upstream_ack(struct hf_bytes body,
					      struct hf_wire_upstream_ack *ret);
HF_MUST_CHECK int hf_wire_decode_command(struct hf_bytes body, struct hf_wire_command *ret);
HF_MUST_CHECK int hf_wire_decode_bye(struct hf_bytes body, struct hf_wire_bye *ret);
/* PING body: empty, or a varint of seconds. *ret_heartbeat_s is 0 when empty. */
HF_MUST_CHECK int hf_wire_decode_ping(struct hf_bytes body, uint32_t *ret_heartbeat_s);

/* Encoders write a whole frame, header included, and return its size, or -EMSGSIZE when it does not
 * fit into `size` or the decoder above would refuse it. One exception: a `reason` that is not UTF-8
 * is left out, as the code beside it matters more. */
HF_MUST_CHECK ssize_t hf_wire_encode_login(const struct hf_wire_login *login, uint8_t *ret,
					   size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_login_ack(const struct hf_wire_login_ack *ack, uint8_t *ret,
					       size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_attach(const struct hf_wire_session *session, uint8_t *ret,
					    size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_attach_ack(const struct hf_wire_attach_result *result,
						uint8_t *ret, size_t size);
/* type: HF_WIRE_DETACH or HF_WIRE_DETACH_ACK */
HF_MUST_CHECK ssize_t hf_wire_encode_detach(unsigned type, const struct hf_wire_detach *detach,
					    uint8_t *ret, size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_push(const struct hf_wire_push *push, uint8_t *ret,
					  size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_ack(const uint64_t *ids, size_t count, uint8_t *ret,
					 size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_upstream(const struct hf_wire_upstream *upstream, uint8_t *ret,
					      size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_upstream_ack(const struct hf_wire_upstream_ack *ack,
						  uint8_t *ret, size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_command(const struct hf_wire_command *command, uint8_t *ret,
					     size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_bye(const struct hf_wire_bye *bye, uint8_t *ret, size_t size);
HF_MUST_CHECK ssize_t hf_wire_encode_ping(uint32_t heartbeat_s, uint8_t *ret, size_t size);

/* The two bytes of every empty PING and every PONG. */
extern const uint8_t hf_wire_ping_frame[2], hf_wire_pong_frame[2];

#endif
