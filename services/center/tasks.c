/* services/center/tasks.c - see tasks.h. */
#include "tasks.h"

#include <stdlib.h>

#include "hf_rpc.h"

#define TELL_MS 1000

struct telling {
	struct center *center;
	uint32_t revision;
	Hf__TaskState state;
	unsigned open; /* calls, and one while they are made */
	bool all;
	uint64_t written;
	void (*done)(bool all, uint64_t written, void *ctx);
	void *ctx;
};

static void one_less(struct telling *telling)
{
	if (--telling->open > 0)
		return;
	telling->done(telling->all, telling->written, telling->ctx);
	free(telling);
}

static void on_told(const Hf__TaskProgress *reply, void *ctx)
{
	struct telling *telling = ctx;

	/* INVALID: a room that does not know it, so that it has nothing to stop: what begins it
	 * later begins with the new state. */
	if (reply == NULL ? hf_rpc_last_status() != HF_RPC_INVALID
			  : reply->known && reply->revision < telling->revision)
		telling->all = false;
	if (reply != NULL)
		telling->written += reply->written;
	one_less(telling);
}

void tasks_tell(struct center *center, uint32_t app, uint64_t id, uint32_t revision,
		Hf__TaskState state, void (*done)(bool all, uint64_t written, void *ctx), void *ctx)
{
	struct telling *telling = malloc(sizeof(*telling));
	Hf__StartTaskRequest request = HF__START_TASK_REQUEST__INIT;
	Hf__Broadcast broadcast = HF__BROADCAST__INIT;

	if (telling == NULL) {
		done(false, 0, ctx);
		return;
	}
	*telling = (struct telling){ .center = center,
				     .revision = revision,
				     .state = state,
				     .open = 1,
				     .all = true,
				     .done = done,
				     .ctx = ctx };
	broadcast.app = app;
	broadcast.message_id = id;
	request.broadcast = &broadcast; /* known by its id: the frame is not sent again */
	request.state = state;
	request.revision = revision;
	for (struct hf_peer *peer = hf_peers_first(center->rooms); peer != NULL;
	     peer = peer->next) {
		if (peer->instance.state == HF_INSTANCE_STARTING)
			continue;
		telling->open++;
		hf__room__start_task(hf_peers_call(center->rooms, peer, TELL_MS), &request, on_told,
				     telling);
	}
	one_less(telling);
}
