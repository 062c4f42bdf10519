/* services/coordinator/target.h - one callback of one app: its queue, its lanes, its requests.
 *
 * Messages of one registration share a lane, and a lane has one request in flight: that is what
 * keeps their order. A target runs at most `max_in_flight` lanes at once, in turn, so that no
 * registration starves another; what it can't run yet waits in its own bounded queue, so that no
 * app delays another. */
#ifndef COORDINATOR_TARGET_H
#define COORDINATOR_TARGET_H

#include <sys/queue.h>

#include "hf_loop.h"
#include "hf_table.h"
#include "post.h"

#define TARGET_LANES 64 /* not below HF_WEBHOOK_IN_FLIGHT_MAX */

struct targets;
struct target;

/* Embedded in what is to be delivered. */
struct parcel {
	TAILQ_ENTRY(parcel) link; /* while it waits */
	struct target *target;
	uint8_t lane;
	bool running;
	struct hf_timer timer; /* longest time to wait for its turn */
	uint64_t submitted_us, started_us;
	struct post_request request; /* filled in by who submits it */
};

/* `outcome` NULL: it was never sent: the wait was too long, or (`lost`) the process ends, or memory
 * is out. The parcel is the caller's again. */
typedef void (*parcel_cb)(struct parcel *parcel, const struct post_outcome *outcome, bool lost);

struct targets_limits {
	uint64_t queue, queue_bytes; /* waiting, of one target */
	uint64_t in_flight, bytes;   /* of all targets together; bytes: waiting and in flight */
	uint64_t queue_timeout_ms;
	uint64_t idle_ms; /* a target without work is forgotten */
	struct post_limits post;
};

HF_MUST_CHECK struct targets *targets_new(struct hf_loop *loop, parcel_cb done); /* NULL: ENOMEM */
/* Every parcel comes back as lost. NULL is fine. */
void targets_free(struct targets *targets);
void targets_set_limits(struct targets *targets, const struct targets_limits *limits);

/* Takes the parcel until `done` runs, later. 0, or -EAGAIN (the queue is full), -EDQUOT (too many a
 * second), -ENOMEM: then it stays the caller's. A definition that differs from the last one takes
 * effect when all requests under the old one have ended. */
HF_MUST_CHECK int targets_submit(struct targets *targets, uint32_t app,
				 const struct hf_webhook *webhook, uint64_t lane_hash,
				 struct parcel *parcel);

/* No request to this callback for so long: it said that it wants a rest. What is under way goes on.
 */
void targets_rest(struct targets *targets, uint32_t app, const char *webhook, uint64_t delay_ms);

size_t targets_count(const struct targets *targets);
size_t targets_waiting(const struct targets *targets);   /* parcels */
size_t targets_in_flight(const struct targets *targets); /* requests */

#endif
