/* services/center/message.h - a message on its way: stored for each recipient, then pushed.
 *
 *	NEW ---> STORING ---> ROUTING ---> DONE
 *
 * A transient message has no STORING. Each recipient goes its own way through a phase, retried
 *until the phase's deadline; the phase is over when the last of them is. What is not delivered by
 *then is not lost: the store owes it, and the next login loads it. */
#ifndef CENTER_MESSAGE_H
#define CENTER_MESSAGE_H

#include "center.h"
#include "hf_backoff.h"
#include "request.h"

enum message_phase { MESSAGE_NEW, MESSAGE_STORING, MESSAGE_ROUTING, MESSAGE_DONE };

enum target_outcome {
	TARGET_OPEN,
	TARGET_STORED,       /* or transient: on its way */
	TARGET_FAILED,       /* could not be stored */
	TARGET_WRITTEN,      /* the room has it: written, queued, or already in flight */
	TARGET_OFFLINE,      /* not connected: the store owes it */
	TARGET_DROPPED,      /* transient, and the client's queue was full */
	TARGET_UNROUTED,     /* where it is could not be learned in time */
	TARGET_UNREGISTERED, /* it never attached: not stored */
};

struct target {
	struct message *message;
	TAILQ_ENTRY(target) link; /* in a lane's queue or in message->retry */
	const uint8_t *registration;
	uint8_t registration_len;
	uint8_t outcome; /* enum target_outcome */
	bool alone; /* its batch was refused: it goes by itself, so that others are not held up */
	bool looked_again; /* it moved once while we pushed */
	uint16_t slot;
	uint32_t room, session; /* room's node number, its handle */
	uint64_t epoch;
};

enum message_event {
	MESSAGE_STORED, /* every recipient is stored or failed */
	MESSAGE_ROUTED, /* and all that could be pushed are */
	MESSAGE_ACKED,  /* asked for by message_await_acks(): all acked, or the time is over */
};
typedef void (*message_cb)(struct message *message, enum message_event event, void *ctx);

struct message {
	struct center *center;
	TAILQ_ENTRY(message) link; /* in center->messages */
	char label[REQUEST_LABEL_MAX + 1];
	Hf__Delivery *delivery; /* NULL: nothing special; its bytes are in this record */
	Hf__Delivery delivery_of;
	enum message_phase phase;
	enum request_class class;
	uint64_t id, expires_ms, wall_ms;
	uint64_t started_us, deadline_ms; /* monotonic; deadline of the phase */
	uint32_t app, cap;
	uint8_t *frame; /* in this record, as are the names of its targets */
	size_t frame_len;
	message_cb on_event;
	void *ctx;
	bool owned;                /* somebody listens and will call message_release() */
	uint32_t pending;          /* recipients whose phase is not over */
	uint32_t holds;            /* events being told: not to be freed meanwhile */
	struct ack_wait *ack_wait; /* acks.c, while calls are open */
	uint32_t ack_waits;        /* of center->ack_waits, kept for it until the calls are made */
	uint32_t accepted, failed, unregistered, written, offline, dropped, unrouted, acked;
	Hf__Durability durability;
	const char *store_reason; /* why the last attempt failed; a literal */
	struct hf_timer retry_timer;
	struct target_list retry;
	struct hf_backoff backoff;
	uint64_t rate_per_second, spread_ms; /* the pace of pushing: one of them, or neither */
	struct hf_timer pace_timer;
	uint64_t paced_since_ms;
	uint32_t paced_next, paced_count; /* targets before it were looked at; let go */
	uint32_t target_count;
	struct target targets[];
};

/* Draws the id (if `id` is 0) and builds the frame. The caller owns it until message_release().
 * -ENOMEM, or -EMSGSIZE when the frame does not fit. */
HF_MUST_CHECK int message_new(struct center *center, const struct hf_app *app,
			      const struct request *request, uint64_t id,
			      struct message **ret_message);
/* What store and room are told besides; points into `request`. */
void message_fill_delivery(Hf__Delivery *delivery, const struct request *request);
/* What message_new() and message_build_frame() ended with, as a refusal. */
void message_problem(int err, struct problem *ret_problem);
/* The frame that every recipient will read, into room of message_frame_max() bytes. Its length, or
 * -EMSGSIZE. */
size_t message_frame_max(const struct request *request);
HF_MUST_CHECK ssize_t message_build_frame(uint64_t id, uint32_t app, const struct request *request,
					  uint8_t *ret_frame);
/* Begin. Events come later from the loop, but for MESSAGE_STORED of a transient one: at once. */
void message_start(struct message *message, message_cb on_event, void *ctx);
/* No more events; the message goes on by itself. One that was never started is gone. */
void message_release(struct message *message);
/* It was taken back: what is paced and has not been pushed is not pushed. Of this center only. */
void message_stop(struct center *center, uint32_t app, uint64_t id);
/* At the end of the process, when no call can come back any more. */
void message_free_all(struct center *center);

/* Most acks that all messages together may wait for. Each is a call that stays open to a saver for
 * up to 30 s; half of a connection's window (4096) is always left to storing. */
#define MESSAGE_ACK_WAITS_MAX 2048

/* acks.c: ask for MESSAGE_ACKED within `timeout_ms`; once, after MESSAGE_STORED. */
void message_await_acks(struct message *message, uint64_t timeout_ms);

static inline bool message_is_paced(const struct message *message)
{
	return message->rate_per_second > 0 || message->spread_ms > 0;
}

/* For store.c, route.c and acks.c. */
void message_note(const struct target *target, enum hf_why_outcome outcome, uint64_t detail);
void message_target_done(struct target *target, enum target_outcome outcome);
/* Once more after a back-off, or `last` when the phase's time is over. */
void message_target_retry(struct target *target, enum target_outcome last);
/* Tells MESSAGE_ACKED; the message may be gone after it. */
void message_acks_over(struct message *message);
/* acks.c: the calls that are open are of no interest any more. */
void message_forget_acks(struct message *message);

/* store.c, route.c: the lanes of center. */
void store_init(struct center *center);
void route_init(struct center *center);
void store_begin(struct target *target);
void route_begin(struct target *target);

#endif
