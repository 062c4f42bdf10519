/* services/center/count.c - see count.h. */
#include "count.h"

#include <stdlib.h>

#define COUNT_MS 5000 /* rooms walk through all their sessions for it, in slices */

struct count {
	struct count_result result;
	unsigned open; /* calls, and one while they are made */
	void (*done)(const struct count_result *, void *);
	void *ctx;
};

static void one_less(struct count *count)
{
	if (--count->open > 0)
		return;
	count->done(&count->result, count->ctx);
	free(count);
}

static void on_sessions(const Hf__CountSessionsReply *reply, void *ctx)
{
	struct count *count = ctx;

	if (reply == NULL)
		count->result.complete = false;
	else
		count->result.online += reply->matched;
	one_less(count);
}

static void on_registrations(const Hf__CountRegistrationsReply *reply, void *ctx)
{
	struct count *count = ctx;

	if (reply != NULL)
		count->result.registered = (int64_t)reply->count;
	one_less(count);
}

static void ask_rooms(struct count *count, struct center *center, uint32_t app,
		      const Hf__Audience *audience)
{
	Hf__CountSessionsRequest request = HF__COUNT_SESSIONS_REQUEST__INIT;

	request.app = app;
	request.audience = (Hf__Audience *)audience;
	for (struct hf_peer *peer = hf_peers_first(center->rooms); peer != NULL;
	     peer = peer->next) {
		if (peer->instance.state == HF_INSTANCE_STARTING)
			continue;
		count->open++;
		hf__room__count_sessions(hf_peers_call(center->rooms, peer, COUNT_MS), &request,
					 on_sessions, count);
	}
}

void count_start(struct center *center, uint32_t app, const Hf__Audience *audience, bool registered,
		 void (*done)(const struct count_result *result, void *ctx), void *ctx)
{
	struct count_result failed = { .registered = -1 };
	Hf__CountRegistrationsRequest request = HF__COUNT_REGISTRATIONS_REQUEST__INIT;
	struct count *count = calloc(1, sizeof(*count));

	if (count == NULL) {
		done(&failed, ctx);
		return;
	}
	count->result = (struct count_result){ .complete = true, .registered = -1 };
	count->done = done;
	count->ctx = ctx;
	count->open = 1;
	ask_rooms(count, center, app, audience);
	if (registered) {
		request.app = app;
		request.audience = (Hf__Audience *)audience;
		count->open++;
		hf__saver__count_registrations(hf_peers_call(center->savers,
							     hf_peers_pick(center->savers,
									   HF_BALANCE_ROUND_ROBIN),
							     COUNT_MS),
					       &request, on_registrations, count);
	}
	one_less(count);
}
