/* services/center/run_rooms.c - the rooms of a broadcast that is run: each has a task, which is
 * begun, asked about each second, and given its share of the rate.
 *
 * A room's process is known by its incarnation. One that restarts begins anew, and its sessions,
 * which came after the broadcast was in the log, are passed over by its walk: they had it with
 * their login. */
#include <errno.h>
#include <stdlib.h>

#include "pace.h"
#include "run.h"

#define ROOM_CALL_MS  2000
#define COUNT_CALL_MS 4000 /* a room walks through all its sessions, in slices */
#define POLL_MS       (RUN_TICK_MS - 100)

/* One call to a room. */
struct room_call {
	struct run *run;
	uint64_t incarnation;
};

static struct run_room *find_room(const struct run *run, uint64_t incarnation)
{
	for (size_t i = 0; i < run->room_count; i++)
		if (run->rooms[i].incarnation == incarnation)
			return &run->rooms[i];
	return NULL;
}

static struct run_room *add_room(struct run *run, uint32_t number, uint64_t incarnation)
{
	size_t capacity = HF_MAX((size_t)8, 2 * run->room_capacity);
	struct run_room *rooms, *room;

	if (run->room_count == run->room_capacity) {
		rooms = realloc(run->rooms, capacity * sizeof(*rooms));
		if (rooms == NULL)
			return NULL;
		run->rooms = rooms;
		run->room_capacity = capacity;
	}
	room = &run->rooms[run->room_count++];
	*room = (struct run_room){ .number = number, .incarnation = incarnation };
	return room;
}

static void add_counters(struct run_room *sum, const struct run_room *room)
{
	sum->targets += HF_MAX(room->targets, room->matched);
	sum->matched += room->matched;
	sum->written += room->written;
	sum->deferred += room->deferred;
	sum->dropped += room->dropped;
}

/* Room processes as the keeper has them now. What those did that are gone is kept as a sum. */
static void follow_rooms(struct run *run)
{
	struct center *center = run->center;

	for (size_t i = 0; i < run->room_count; i++)
		run->rooms[i].present = false;
	for (struct hf_peer *peer = hf_peers_first(center->rooms); peer != NULL;
	     peer = peer->next) {
		struct run_room *room = find_room(run, peer->instance.incarnation);

		if (room == NULL && peer->instance.state != HF_INSTANCE_STARTING)
			room = add_room(run, peer->instance.number, peer->instance.incarnation);
		if (room != NULL) {
			room->present = true;
			room->number = peer->instance.number;
		}
	}
	for (size_t i = 0; i < run->room_count;) {
		if (run->rooms[i].present || run->rooms[i].asking) {
			i++;
			continue;
		}
		run->rooms[i].targets = run->rooms[i].matched;
		add_counters(&run->gone, &run->rooms[i]);
		run->rooms[i] = run->rooms[--run->room_count];
	}
}

static struct room_call *call_new(struct run *run, struct run_room *room)
{
	struct room_call *call = malloc(sizeof(*call));

	if (call == NULL)
		return NULL;
	*call = (struct room_call){ run, room->incarnation };
	room->asking = true;
	run->calls++;
	return call;
}

/* The room that answered; NULL when nobody wants to know any more. */
static struct run_room *call_ended(struct room_call *call, struct run **ret_run)
{
	struct run *run = call->run;
	uint64_t incarnation = call->incarnation;
	struct run_room *room;

	free(call);
	*ret_run = run;
	if (!run_call_ended(run))
		return NULL;
	room = find_room(run, incarnation);
	if (room != NULL)
		room->asking = false;
	return room;
}

static ProtobufCService *service_of(struct run *run, const struct run_room *room, uint32_t timeout)
{
	struct center *center = run->center;

	return hf_peers_call(center->rooms, hf_peers_by_number(center->rooms, room->number),
			     timeout);
}

/* ---- counting ---- */

static void counting_ended(struct run *run)
{
	struct run_room sum;

	for (size_t i = 0; i < run->room_count; i++)
		if (run->rooms[i].asking)
			return;
	run->counting = false;
	run->counted = true;
	run_rooms_sum(run, &sum);
	run->targets = sum.targets;
	run_advance(run);
}

static void on_counted(const Hf__CountSessionsReply *reply, void *ctx)
{
	struct run *run;
	struct run_room *room = call_ended(ctx, &run);

	if (room == NULL)
		return;
	room->counted = true; /* or not: then it is learned from its walk */
	if (reply != NULL)
		room->targets = reply->matched;
	counting_ended(run);
}

/* Gone on with: it was counted at the start, by whoever started it. */
void run_rooms_count(struct run *run)
{
	Hf__CountSessionsRequest request = HF__COUNT_SESSIONS_REQUEST__INIT;

	if (run->counting || !hf_peers_known(run->center->rooms))
		return;
	follow_rooms(run);
	run->counting = true;
	request.app = run->app;
	request.audience = run->broadcast->audience;
	for (size_t i = 0; i < run->room_count; i++) {
		struct run_room *room = &run->rooms[i];
		struct room_call *call =
			room->counted || run->targets > 0 ? NULL : call_new(run, room);

		if (call != NULL)
			hf__room__count_sessions(service_of(run, room, COUNT_CALL_MS), &request,
						 on_counted, call);
	}
	counting_ended(run);
}

/* ---- tasks ---- */

static void on_progress(const Hf__TaskProgress *reply, void *ctx)
{
	struct run *run;
	struct run_room *room = call_ended(ctx, &run);

	if (room == NULL || reply == NULL)
		return; /* it is asked again, until it answers or is gone */
	if (reply->incarnation != room->incarnation)
		return;
	room->known = reply->known;
	if (reply->known) {
		room->revision = reply->revision;
		room->done = reply->done;
		room->sessions = reply->sessions;
		room->walked = reply->walked;
		room->matched = reply->matched;
		room->written = reply->written;
		room->deferred = reply->deferred;
		room->dropped = reply->dropped;
	}
	if (!room->known || run_rooms_done(run))
		run_advance(run);
}

static void tell(struct run *run, struct run_room *room, uint32_t rate_millis)
{
	struct room_call *call = call_new(run, room);
	Hf__StartTaskRequest request = HF__START_TASK_REQUEST__INIT;
	Hf__Broadcast known = HF__BROADCAST__INIT;

	if (call == NULL)
		return;
	known.app = run->app;
	known.message_id = run->id;
	request.broadcast = room->known ? &known : run->broadcast;
	request.state = run->state == HF__JOB_STATE__JOB_PAUSED ? HF__TASK_STATE__TASK_PAUSE
								: HF__TASK_STATE__TASK_RUN;
	request.revision = run->revision;
	request.rate_millis = rate_millis;
	request.n_spans = run->span_count;
	request.spans = run->span_list;
	room->told_millis = rate_millis;
	hf__room__start_task(service_of(run, room, ROOM_CALL_MS), &request, on_progress, call);
}

static void ask(struct run *run, struct run_room *room)
{
	struct room_call *call = call_new(run, room);
	Hf__ReadTaskRequest request = HF__READ_TASK_REQUEST__INIT;

	if (call == NULL)
		return;
	request.message_id = run->id;
	hf__room__read_task(service_of(run, room, ROOM_CALL_MS), &request, on_progress, call);
}

/* Not worth a call: it changes with every second anyway. */
static bool is_near(uint32_t told, uint32_t share)
{
	uint32_t apart = told > share ? told - share : share - told;

	return (told == 0) == (share == 0) && apart <= share / 100;
}

static uint64_t left_of(const struct run_room *room)
{
	if (room->done)
		return 0;
	if (room->targets > 0)
		return room->targets > room->matched ? room->targets - room->matched : 1;
	return room->sessions > room->walked ? room->sessions - room->walked : 1;
}

/* Shares for those that are not done, into told order: NULL when there is no memory. */
static struct pace_share *share_out(struct run *run)
{
	struct pace_share *shares = calloc(HF_MAX(run->room_count, (size_t)1), sizeof(*shares));
	size_t count = 0;

	if (shares == NULL)
		return NULL;
	for (size_t i = 0; i < run->room_count; i++)
		if (run->rooms[i].present && !run->rooms[i].done)
			shares[count++].left = left_of(&run->rooms[i]);
	pace_share_out(pace_rate_millis(run->rate_per_second, run->spread_ms, run->targets), shares,
		       count);
	return shares;
}

void run_rooms_tick(struct run *run)
{
	uint64_t now_ms = hf_loop_now_ms(run->center->loop);
	bool poll = now_ms - run->polled_ms >= POLL_MS;
	struct pace_share *shares;
	size_t next = 0;

	if (!hf_peers_known(run->center->rooms))
		return;
	follow_rooms(run);
	if (run_rooms_done(run)) {
		run_finish(run, HF__JOB_STATE__JOB_DONE, NULL);
		return;
	}
	shares = share_out(run);
	if (shares == NULL)
		return;
	if (poll)
		run->polled_ms = now_ms;
	for (size_t i = 0; i < run->room_count; i++) {
		struct run_room *room = &run->rooms[i];
		uint32_t share = room->told_millis;

		if (room->present && !room->done)
			share = shares[next++].rate_millis;
		if (!room->present || room->asking)
			continue;
		if (!room->known || room->revision != run->revision ||
		    (poll && !room->done && !is_near(room->told_millis, share)))
			tell(run, room, share);
		else if (poll)
			ask(run, room);
	}
	free(shares);
}

bool run_rooms_done(const struct run *run)
{
	for (size_t i = 0; i < run->room_count; i++) {
		const struct run_room *room = &run->rooms[i];

		if (room->present &&
		    (!room->known || !room->done || room->revision != run->revision))
			return false;
	}
	return run->state == HF__JOB_STATE__JOB_RUNNING;
}

/* ---- progress ---- */

void run_rooms_sum(const struct run *run, struct run_room *ret)
{
	*ret = run->gone;
	for (size_t i = 0; i < run->room_count; i++)
		add_counters(ret, &run->rooms[i]);
}

Hf__JobProgress *run_rooms_progress(const struct run *run, struct hf_arena *arena)
{
	Hf__JobProgress *progress = hf_arena_alloc(arena, sizeof(*progress));
	Hf__RoomProgress *rooms =
		hf_arena_alloc(arena, HF_MAX(run->room_count, (size_t)1) * sizeof(*rooms));
	struct run_room sum;

	if (progress == NULL || rooms == NULL)
		return NULL;
	hf__job_progress__init(progress);
	progress->rooms = hf_arena_alloc(arena, HF_MAX(run->room_count, (size_t)1) *
							sizeof(*progress->rooms));
	if (progress->rooms == NULL)
		return NULL;
	run_rooms_sum(run, &sum);
	progress->targets = HF_MAX(run->targets, sum.matched);
	progress->written = sum.written;
	progress->deferred = sum.deferred;
	progress->dropped = sum.dropped;
	for (size_t i = 0; i < run->room_count; i++) {
		const struct run_room *room = &run->rooms[i];

		hf__room_progress__init(&rooms[i]);
		rooms[i].room = room->number;
		rooms[i].incarnation = room->incarnation;
		rooms[i].targets = HF_MAX(room->targets, room->matched);
		rooms[i].written = room->written;
		rooms[i].deferred = room->deferred;
		rooms[i].dropped = room->dropped;
		rooms[i].done = room->done;
		progress->rooms[progress->n_rooms++] = &rooms[i];
	}
	return progress;
}

/* What the center before us counted. What a room has done by now it says itself. */
void run_rooms_restore(struct run *run, const Hf__JobProgress *progress)
{
	run->targets = progress->targets;
	run->gone.written = progress->written;
	run->gone.deferred = progress->deferred;
	run->gone.dropped = progress->dropped;
	for (size_t i = 0; i < progress->n_rooms; i++) {
		const Hf__RoomProgress *from = progress->rooms[i];
		struct run_room *room = add_room(run, from->room, from->incarnation);

		if (room == NULL)
			return;
		room->counted = true;
		room->targets = from->targets;
		room->written = from->written;
		room->deferred = from->deferred;
		room->dropped = from->dropped;
		run->gone.written -= HF_MIN(run->gone.written, from->written);
		run->gone.deferred -= HF_MIN(run->gone.deferred, from->deferred);
		run->gone.dropped -= HF_MIN(run->gone.dropped, from->dropped);
	}
}
