/* Room.CountSessions: a walk through all sessions, in slices, that only looks. */
#include <errno.h>
#include <stdlib.h>

#include "hf_audience.h"
#include "hf_clock.h"
#include "room.h"

#define COUNTINGS_MAX 16u
#define SLICE_VISITS  2048u
#define SLICE_NS      300000u
#define TURN_VISITS   16u /* between two looks at the clock */

struct counting {
	struct counting *next;
	uint32_t app, pos;
	uint64_t matched;
	Hf__Audience *audience;
	Hf__CountSessionsReply_Closure closure;
	void *call;
};

static void counting_free(struct counting *counting)
{
	if (counting->audience != NULL)
		hf__audience__free_unpacked(counting->audience, NULL);
	free(counting);
}

static void reply_to(struct room *room, uint32_t app, uint64_t matched,
		     Hf__CountSessionsReply_Closure closure, void *call)
{
	Hf__CountSessionsReply reply = HF__COUNT_SESSIONS_REPLY__INIT;

	reply.matched = matched;
	reply.sessions = app_counts_sessions(&room->app_counts, app);
	closure(&reply, call);
}

/* At its end when all positions were looked at. */
static void look(struct room *room, struct counting *counting, uint32_t visits)
{
	uint32_t end = HF_MIN(counting->pos + visits, hf_slab_end(&room->sessions));

	while (counting->pos < end) {
		const struct session *session =
			room_session(room, hf_slab_next(&room->sessions, &counting->pos,
							end - counting->pos));
		struct hf_profile profile;

		if (session == NULL || session->app != counting->app)
			continue;
		profile = session_profile(room, session);
		counting->matched += hf_audience_matches(counting->audience, &profile);
	}
}

/* The one at the head goes on for a slice, then it is the next one's turn. */
void count_run(void *ctx)
{
	struct room *room = ctx;
	struct counting *counting = room->countings, **last = &room->countings;
	uint64_t end_ns = hf_clock_monotonic_ns() + SLICE_NS;

	if (counting == NULL)
		return;
	for (uint32_t visits = 0; visits < SLICE_VISITS && hf_clock_monotonic_ns() < end_ns;
	     visits += TURN_VISITS)
		look(room, counting, TURN_VISITS);
	room->countings = counting->next;
	if (counting->pos >= hf_slab_end(&room->sessions)) {
		reply_to(room, counting->app, counting->matched, counting->closure, counting->call);
		counting_free(counting);
	} else {
		while (*last != NULL)
			last = &(*last)->next;
		counting->next = NULL;
		*last = counting;
	}
	if (room->countings != NULL)
		hf_task_schedule(room->loop, &room->count_task);
}

static size_t under_way(const struct room *room)
{
	size_t count = 0;

	for (const struct counting *counting = room->countings; counting != NULL;
	     counting = counting->next)
		count++;
	return count;
}

void count_on_call(Hf__Room_Service *rpc, const Hf__CountSessionsRequest *request,
		   Hf__CountSessionsReply_Closure closure, void *call)
{
	struct room *room = HF_CONTAINER_OF(rpc, struct room, rpc);
	uint32_t sessions = app_counts_sessions(&room->app_counts, request->app);
	struct counting *counting;
	const char *field;

	if (request->audience != NULL && hf_audience_check(request->audience, &field) < 0) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_AUDIENCE");
		return;
	}
	if (sessions == 0 || hf_audience_is_all(request->audience)) {
		reply_to(room, request->app, sessions, closure, call);
		return;
	}
	if (under_way(room) >= COUNTINGS_MAX) {
		hf_rpc_fail(call, HF_RPC_OVERLOADED, "TOO_MANY_COUNTS");
		return;
	}
	counting = calloc(1, sizeof(*counting));
	if (counting != NULL)
		counting->audience = hf_audience_copy(request->audience);
	if (counting == NULL || counting->audience == NULL) {
		free(counting);
		hf_rpc_fail(call, HF_RPC_OVERLOADED, "OUT_OF_MEMORY");
		return;
	}
	counting->app = request->app;
	counting->closure = closure;
	counting->call = call;
	counting->next = room->countings;
	room->countings = counting;
	hf_task_schedule(room->loop, &room->count_task);
}

void count_close(struct room *room)
{
	while (room->countings != NULL) {
		struct counting *counting = room->countings;

		room->countings = counting->next;
		hf_rpc_fail(counting->call, HF_RPC_UNAVAILABLE, "STOPPING");
		counting_free(counting);
	}
	hf_task_cancel(room->loop, &room->count_task);
}
