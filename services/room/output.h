/* services/room/output.h - what waits to be written to one connection: references to shared frames.
 *
 * The first frame hangs in the record itself, as nearly always there is only one and the socket
 * takes it at once; a ring beside it is allocated for more, or to remember how much of the first
 * was written. Pure bookkeeping: writing is the caller's business. */
#ifndef HF_ROOM_OUTPUT_H
#define HF_ROOM_OUTPUT_H

#include <sys/uio.h>

#include "pool.h"

enum frame_kind {
	FRAME_CONTROL, /* nothing passes it, and it passes nothing */
	FRAME_MESSAGE,
	FRAME_HIGH, /* passes FRAME_MESSAGEs that wait */
};

/* Bytes as a client will read them, shared by all who wait for them. */
struct frame {
	uint64_t message_id; /* of messages */
	uint64_t collapse;   /* of app and collapse key; 0: none */
	uint64_t expires_ms; /* of messages, wall clock; 0: never */
	uint32_t refs, len;
	uint32_t kept;  /* references of windows, among `refs`; see linger.c */
	uint8_t kind;   /* enum frame_kind */
	bool transient; /* parked, though nobody acks or stores it */
	uint8_t data[];
};

/* One reference for the caller. `data` NULL: the caller fills frame->data. NULL out of memory. */
HF_MUST_CHECK struct frame *frame_new(const void *data, size_t len);
void frame_unref(struct frame *frame); /* NULL is fine */
static inline struct frame *frame_ref(struct frame *frame)
{
	frame->refs++;
	return frame;
}

struct output_ring {
	uint64_t bytes;                 /* of the frames in the ring */
	uint32_t written;               /* of the first frame, the one in the record */
	uint16_t head, count, capacity; /* the capacity is a power of two */
	struct frame *frames[];
};

struct output {
	struct frame *first;
	pool_ref ring;
};

static inline bool output_empty(const struct output *output)
{
	return output->first == NULL;
}
uint64_t output_bytes(const struct pool *pool, const struct output *output); /* still to write */
/* Takes a reference of its own. 0, -ENOMEM, or -ENOBUFS (more frames than a ring can hold). A
 * frame whose writing has begun keeps its place, and so do the next `pinned` bytes. */
HF_MUST_CHECK int output_push(struct pool *pool, struct output *output, struct frame *frame,
			      size_t pinned);
/* The frame with this `collapse`, if one waits whose writing has not begun: out of the queue, and
 * its reference the caller's. NULL: there is none. */
struct frame *output_take(struct pool *pool, struct output *output, uint64_t collapse,
			  size_t pinned);
/* Up to `max` pieces to write, in order; their number. */
int output_peek(const struct pool *pool, const struct output *output, struct iovec *ret, int max);
/* `n` bytes are written. 0, or -ENOMEM: the place in a half-written frame can't be kept. */
HF_MUST_CHECK int output_advance(struct pool *pool, struct output *output, size_t n);
/* Drop all frames but one that is written in part; how many were dropped. */
uint32_t output_truncate(struct pool *pool, struct output *output);
void output_clear(struct pool *pool, struct output *output);

#endif
