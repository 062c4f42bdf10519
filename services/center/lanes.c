/* services/center/lanes.c - see lanes.h. */
#include "lanes.h"

#include <stdlib.h>

#include "center.h"
#include "message.h"

/* Peers seen while a queue is taken apart: there are few, so they are found by looking. */
struct lane {
	struct hf_peer *peer;
	enum request_class class; /* of all in a batch: what fails for one may work for the other */
	struct lane_batch *batch;
	size_t bytes;
};

#define LANES_OPEN_MAX 64

static void close_lane(struct lanes *lanes, struct lane *lane)
{
	struct lane_batch *batch = lane->batch;

	lane->batch = NULL;
	lane->bytes = 0;
	if (batch == NULL)
		return;
	batch->node = lane->peer != NULL ? lane->peer->instance.number : 0;
	lanes->send(lanes->center, lane->peer, batch);
}

static struct lane *find_lane(struct lanes *lanes, struct lane *open, size_t *count,
			      struct hf_peer *peer, enum request_class class)
{
	for (size_t i = 0; i < *count; i++)
		if (open[i].peer == peer && open[i].class == class)
			return &open[i];
	if (*count == LANES_OPEN_MAX) { /* make room */
		close_lane(lanes, &open[0]);
		open[0] = open[--*count];
	}
	open[*count] = (struct lane){ .peer = peer, .class = class };
	return &open[(*count)++];
}

static struct lane_batch *batch_new(struct lanes *lanes, size_t room)
{
	struct lane_batch *batch = malloc(sizeof(*batch) + room * sizeof(batch->targets[0]));

	if (batch == NULL)
		return NULL;
	batch->center = lanes->center;
	batch->count = 0;
	return batch;
}

static void on_task(void *ctx)
{
	struct lanes *lanes = ctx;
	struct lane open[LANES_OPEN_MAX];
	struct target *target;
	size_t count = 0, waiting = 0;

	TAILQ_FOREACH (target, &lanes->queue, link)
		waiting++;
	while ((target = TAILQ_FIRST(&lanes->queue)) != NULL) {
		struct lane *lane =
			find_lane(lanes, open, &count, lanes->owner(lanes->center, target),
				  target->message->class);
		size_t frame_len = target->message->frame_len;

		TAILQ_REMOVE(&lanes->queue, target, link);
		if (lane->batch != NULL &&
		    (lane->batch->count == LANES_ITEMS_MAX || target->alone ||
		     lane->bytes + frame_len > LANES_BYTES_MAX))
			close_lane(lanes, lane);
		if (lane->batch == NULL)
			lane->batch = batch_new(lanes, HF_MIN(waiting, (size_t)LANES_ITEMS_MAX));
		waiting--;
		if (lane->batch == NULL) {
			lanes->fail(target);
			continue;
		}
		/* A message's frame is in a call once, however many of its recipients are. */
		if (lane->batch->count == 0 ||
		    lane->batch->targets[lane->batch->count - 1]->message != target->message)
			lane->bytes += frame_len;
		lane->batch->targets[lane->batch->count++] = target;
		if (target->alone)
			close_lane(lanes, lane);
	}
	for (size_t i = 0; i < count; i++)
		close_lane(lanes, &open[i]);
}

void lanes_init(struct lanes *lanes, struct center *center,
		struct hf_peer *(*owner)(struct center *, const struct target *),
		void (*send)(struct center *, struct hf_peer *, struct lane_batch *),
		void (*fail)(struct target *))
{
	*lanes = (struct lanes){ .center = center, .owner = owner, .send = send, .fail = fail };
	TAILQ_INIT(&lanes->queue);
	hf_task_init(&lanes->task, on_task, lanes);
}

void lanes_deinit(struct lanes *lanes)
{
	if (lanes->center != NULL)
		hf_task_cancel(lanes->center->loop, &lanes->task);
}

void lanes_add(struct lanes *lanes, struct target *target)
{
	TAILQ_INSERT_TAIL(&lanes->queue, target, link);
	hf_task_schedule(lanes->center->loop, &lanes->task);
}
