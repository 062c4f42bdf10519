/* services/center/lanes.h - recipients of one turn, gathered by the peer that is asked about them.
 *
 * Whatever many requests of a turn want of one peer leaves in few calls: the cost does not depend
 * on how the callers happened to slice their messages. A batch holds messages of one class only. */
#ifndef CENTER_LANES_H
#define CENTER_LANES_H

#include <sys/queue.h>

#include "hf_loop.h"
#include "hf_peers.h"

struct center;
struct target;
TAILQ_HEAD(target_list, target);

#define LANES_ITEMS_MAX 1000
#define LANES_BYTES_MAX (1u << 20) /* of frames in one call */

/* The recipients of one call; ctx of its closure. */
struct lane_batch {
	struct center *center;
	uint32_t node; /* number of who is asked; 0: nobody is there */
	size_t count;
	struct target *targets[];
};

struct lanes {
	struct center *center;
	struct target_list queue;
	struct hf_task task;
	/* Who is asked about this one; NULL: nobody is there. */
	struct hf_peer *(*owner)(struct center *, const struct target *);
	/* Make the call. Takes the batch. */
	void (*send)(struct center *, struct hf_peer *, struct lane_batch *);
	/* There is no memory for a batch. */
	void (*fail)(struct target *);
};

void lanes_init(struct lanes *lanes, struct center *center,
		struct hf_peer *(*owner)(struct center *, const struct target *),
		void (*send)(struct center *, struct hf_peer *, struct lane_batch *),
		void (*fail)(struct target *));
/* Before the messages whose recipients wait here are freed. */
void lanes_deinit(struct lanes *lanes);
void lanes_add(struct lanes *lanes, struct target *target); /* sent at the end of the turn */

#endif
