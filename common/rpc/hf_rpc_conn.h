/* common/rpc/hf_rpc_conn.h - one RPC connection: socket, frames in, frames out. What the two sides
 * (hf_rpc_client.c, hf_rpc_server.c) have in common; it knows frames, not calls.
 *
 * Reading: one recv() a readiness into a buffer that all connections of the loop share; only the
 * bytes of an incomplete frame are kept beside the connection. Writing: frames are encoded straight
 * into the output buffer, and one send() at the end of the turn takes all of them. */
#ifndef HF_RPC_CONN_H
#define HF_RPC_CONN_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "hf_arena.h"
#include "hf_buffer.h"
#include "hf_loop.h"
#include "hf_rpc_frame.h"

struct hf_rpc_conn;

/* What the connections of one loop share; made by the first that asks, gone with the last. */
struct hf_rpc_io {
	struct hf_rpc_io *next;
	struct hf_loop *loop;
	unsigned refs;
	struct hf_turn_hook hook;       /* writes out what the turn produced */
	struct hf_task kick;            /* keeps the loop from waiting while `dirty` has some */
	LIST_HEAD(, hf_rpc_conn) dirty; /* have output that no send() has seen */
	struct hf_arena arena;          /* the one message that is being handled */
	uint8_t *input;                 /* the shared read buffer */
};

HF_MUST_CHECK int hf_rpc_io_ref(struct hf_loop *loop, struct hf_rpc_io **ret_io); /* 0, -ENOMEM */
void hf_rpc_io_unref(struct hf_rpc_io *io);                                       /* NULL is fine */

/* Reasons for the end of a connection: metric labels, compared by address never. */
#define HF_RPC_CLOSE_BY_PEER   "closed_by_peer"
#define HF_RPC_CLOSE_RESET     "reset"
#define HF_RPC_CLOSE_BAD_FRAME "bad_frame"
#define HF_RPC_CLOSE_TOO_LARGE "frame_too_large"
#define HF_RPC_CLOSE_NO_MEMORY "out_of_memory"

struct hf_rpc_conn_handler {
	/* The connect that hf_rpc_conn_open() was told of is through. */
	void (*on_open)(struct hf_rpc_conn *conn);
	/* The frame is borrowed for the call. NULL, or why to close (then on_closed() follows). */
	const char *(*on_frame)(struct hf_rpc_conn *conn, const struct hf_rpc_frame *frame);
	/* The connection ended by itself; never from within hf_rpc_conn_put(). */
	void (*on_closed)(struct hf_rpc_conn *conn, const char *reason);
	/* Some output left; conn->out is shorter now. May be NULL. */
	void (*on_written)(struct hf_rpc_conn *conn);
	/* After hf_rpc_conn_release(): nobody uses `conn` any more, its memory may go. */
	void (*on_released)(struct hf_rpc_conn *conn);
};

struct hf_rpc_conn {
	struct hf_rpc_io *io;
	const struct hf_rpc_conn_handler *handler;
	int fd; /* -1: closed */
	struct event readable, writable;
	struct hf_buffer partial; /* input kept: an incomplete frame, or all that a pause left */
	size_t expected; /* size of the large frame that `partial` is being filled with, or 0 */
	struct hf_buffer out;
	LIST_ENTRY(hf_rpc_conn) dirty_link;
	const char *broken; /* found while encoding; closes at the end of the turn */
	unsigned busy;      /* calls of ours on the stack that will look at the connection again */
	bool dirty, connecting, blocked /* the socket is full */, paused, released;
	uint64_t heard_ms, sent_ms; /* last progress each way */
};

void hf_rpc_conn_init(struct hf_rpc_conn *conn, struct hf_rpc_io *io,
		      const struct hf_rpc_conn_handler *handler);
/* Start with `fd`, which it takes, also on error. `connecting`: wait for its connect first. 0,
 * -ENOMEM. */
HF_MUST_CHECK int hf_rpc_conn_open(struct hf_rpc_conn *conn, int fd, bool connecting);
/* Safe from anywhere and more than once; on_closed() does not run. */
void hf_rpc_conn_close(struct hf_rpc_conn *conn);
/* The same, then on_released() runs: now, or when the callbacks on the stack have returned. */
void hf_rpc_conn_release(struct hf_rpc_conn *conn);
/* Around code of the owner that may release the connection and looks at it afterwards. */
void hf_rpc_conn_enter(struct hf_rpc_conn *conn);
void hf_rpc_conn_leave(struct hf_rpc_conn *conn);

/* Room for the body of a frame that leaves at the end of this turn: the caller fills all of it at
 * once. NULL: the connection is closed, or out of memory (then it ends with this turn). */
HF_MUST_CHECK uint8_t *hf_rpc_conn_put(struct hf_rpc_conn *conn, enum hf_rpc_kind kind,
				       uint32_t call_id, uint16_t method, size_t body_len);
/* A frame without a body. */
void hf_rpc_conn_put_empty(struct hf_rpc_conn *conn, enum hf_rpc_kind kind, uint32_t call_id);
void hf_rpc_conn_put_hello(struct hf_rpc_conn *conn, const struct hf_rpc_hello *hello);
/* Stop and go on reading, for back-pressure. Frames already here wait as well. */
void hf_rpc_conn_pause(struct hf_rpc_conn *conn);
void hf_rpc_conn_resume(struct hf_rpc_conn *conn);
/* Write out now instead of at the end of the turn: for a last word before a close. */
void hf_rpc_conn_flush(struct hf_rpc_conn *conn);

#endif
