/* common/rpc/hf_rpc_frame.h - one frame of the RPC between services (README.md has the authority).
 *
 *   0               4               8       10     11      12
 *   +---------------+---------------+-------+------+-------+---------
 *   | body length   | call id       | method| kind | flags | body
 *   +---------------+---------------+-------+------+-------+---------
 *
 * Integers are little endian; flags are 0. No I/O, no logging, no allocation. */
#ifndef HF_RPC_FRAME_H
#define HF_RPC_FRAME_H

#include <sys/types.h>

#include "hf_base.h"
#include "hf_rpc.h"

#define HF_RPC_HEADER_SIZE 12
#define HF_RPC_HELLO_SIZE  16
#define HF_RPC_HELLO_MAX   64          /* later versions may append */
#define HF_RPC_MAGIC       0x50524648u /* "HFRP" on the wire */
#define HF_RPC_VERSION     1

enum hf_rpc_kind {
	HF_RPC_REQUEST =
		1,        /* body: the input message; answered by REPLY or ERROR with its call id */
	HF_RPC_REPLY = 2, /* body: the output message */
	HF_RPC_ERROR = 3, /* body: u8 enum hf_rpc_status, then the reason's text */
	HF_RPC_ONEWAY = 4, /* like REQUEST, never answered */
	HF_RPC_PING = 5,   /* no body; answered by PONG with its call id */
	HF_RPC_PONG = 6,
	HF_RPC_HELLO = 7, /* the first frame of either side, and only that */
};

struct hf_rpc_frame {
	uint32_t call_id;
	uint16_t method;      /* index in the service's descriptor */
	uint8_t kind;         /* enum hf_rpc_kind */
	struct hf_bytes body; /* borrowed: lives as long as the buffer it was decoded from */
};

/* Decode the frame at the start of `buf`. Returns the bytes it takes (> 0), or 0 while it is
 * incomplete, or -EPROTO (not our protocol), or -EMSGSIZE (longer than its kind allows; found from
 * the header alone). After an error the stream is lost: close it. */
HF_MUST_CHECK ssize_t hf_rpc_frame_decode(const uint8_t *buf, size_t len,
					  struct hf_rpc_frame *ret_frame);
/* Bytes that the frame at the start of `buf` will take, body included; 0 while `len` is too short
 * to tell. Only for a buffer that hf_rpc_frame_decode() found incomplete. */
size_t hf_rpc_frame_size(const uint8_t *buf, size_t len);
/* Write the HF_RPC_HEADER_SIZE bytes before a body of `body_len` bytes. */
void hf_rpc_header_encode(uint8_t *ret, enum hf_rpc_kind kind, uint32_t call_id, uint16_t method,
			  uint32_t body_len);

/* Body of an ERROR: `reason` is cut at HF_RPC_REASON_MAX. Returns the bytes written; `ret` has room
 * for 1 + HF_RPC_REASON_MAX. */
size_t hf_rpc_error_encode(uint8_t *ret, enum hf_rpc_status status, const char *reason);
/* 0 or -EPROTO. An unknown status, from a newer peer, becomes INTERNAL; OK is not an error. */
HF_MUST_CHECK int hf_rpc_error_decode(struct hf_bytes body, enum hf_rpc_status *ret_status,
				      char ret_reason[HF_RPC_REASON_MAX + 1]);

/* What the two sides must agree on before the first call. The role tells a server from a client
 * that reached itself, as a TCP connect to a free local port can. */
enum hf_rpc_role { HF_RPC_CLIENT = 1, HF_RPC_SERVER = 2 };
struct hf_rpc_hello {
	uint16_t version;
	uint16_t role;
	uint32_t service; /* hf_rpc_service_hash() */
	uint32_t ping_ms; /* of a client: it sends something at least so often; of a server: 0 */
};
void hf_rpc_hello_encode(const struct hf_rpc_hello *hello, uint8_t ret[HF_RPC_HELLO_SIZE]);
HF_MUST_CHECK int hf_rpc_hello_decode(struct hf_bytes body,
				      struct hf_rpc_hello *ret); /* 0, -EPROTO */
/* FNV-1a, 32 bits, of the full name ("hf.Register"). */
uint32_t hf_rpc_service_hash(const char *name);

#endif
