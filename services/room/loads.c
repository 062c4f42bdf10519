#include "loads.h"

#include <stdlib.h>

#include "room.h"

#define LINE_FIRST 64u

struct loads_lane {
	struct loads_lane *next;
	struct room *room;
	uint32_t number; /* of the saver's instance; 0: for slots that nobody owns */
	struct flow flow;
	struct hf_timer rested;
	hf_handle *line;                /* a ring; the capacity is a power of two */
	uint32_t head, count, capacity; /* sessions in it, gone ones too */
};

static uint32_t saver_of(const struct room *room, const struct session *session)
{
	const struct hf_peer *peer = hf_peers_by_slot(room->savers, session->slot);

	return peer == NULL ? 0 : peer->instance.number;
}

static void on_rested(struct hf_timer *timer, void *ctx)
{
	struct room *room = ctx;

	hf_task_schedule(room->loop, &room->loads.task);
}

/* One of a saver that is gone, with nobody in it, is used again. */
static struct loads_lane *find_unused(struct room *room)
{
	struct loads_lane *lane = room->loads.lanes;

	while (lane != NULL && (lane->count > 0 || lane->flow.in_flight > 0 ||
				hf_peers_by_number(room->savers, lane->number) != NULL))
		lane = lane->next;
	return lane;
}

static struct loads_lane *lane_of(struct room *room, uint32_t number)
{
	struct loads_lane *lane = room->loads.lanes;

	while (lane != NULL && lane->number != number)
		lane = lane->next;
	if (lane != NULL)
		return lane;
	lane = find_unused(room);
	if (lane == NULL) {
		lane = calloc(1, sizeof(*lane));
		if (lane == NULL)
			return NULL;
		lane->room = room;
		hf_timer_init(&lane->rested, on_rested, room);
		lane->next = room->loads.lanes;
		room->loads.lanes = lane;
	}
	lane->number = number;
	flow_init(&lane->flow);
	return lane;
}

static bool push(struct loads_lane *lane, hf_handle handle)
{
	if (lane->count == lane->capacity) {
		uint32_t capacity = HF_MAX(LINE_FIRST, 2 * lane->capacity);
		hf_handle *line = malloc(capacity * sizeof(*line));

		if (line == NULL)
			return false;
		for (uint32_t i = 0; i < lane->count; i++)
			line[i] = lane->line[(lane->head + i) & (lane->capacity - 1)];
		free(lane->line);
		lane->line = line;
		lane->head = 0;
		lane->capacity = capacity;
	}
	lane->line[(lane->head + lane->count++) & (lane->capacity - 1)] = handle;
	lane->room->loads.waiting++;
	return true;
}

static hf_handle pop(struct loads_lane *lane)
{
	hf_handle handle = lane->line[lane->head];

	lane->head = (lane->head + 1) & (lane->capacity - 1);
	lane->count--;
	lane->room->loads.waiting--;
	return handle;
}

bool loads_add(struct room *room, const struct session *session)
{
	struct loads_lane *lane = lane_of(room, saver_of(room, session));

	if (lane == NULL || !push(lane, session->handle))
		return false;
	hf_task_schedule(room->loop, &room->loads.task);
	return true;
}

/* The slot may have got another owner while it stood in line: it is his. */
static void begin(struct room *room, struct loads_lane *lane, hf_handle handle)
{
	struct session *session = room_session(room, handle);
	struct loads_lane *own;

	if (session == NULL || !(session->flags & SESSION_LOADING))
		return;
	own = lane_of(room, saver_of(room, session));
	if (own != lane && own != NULL && push(own, handle)) {
		hf_task_schedule(room->loop, &room->loads.task);
		return;
	}
	flow_began(&lane->flow);
	room->loads.in_flight++;
	delivery_load(room, session, lane);
}

/* Acks go first: what they free must not come again with the page. */
static void run(void *ctx)
{
	struct room *room = ctx;
	uint64_t now_ms = hf_loop_now_ms(room->loop);

	for (struct loads_lane *lane = room->loads.lanes; lane != NULL; lane = lane->next) {
		if (lane->count > 0 && flow_may(&lane->flow, now_ms))
			acks_flush(room);
		while (lane->count > 0 && flow_may(&lane->flow, now_ms))
			begin(room, lane, pop(lane));
		if (lane->count > 0 && flow_rests(&lane->flow, now_ms))
			hf_loop_arm(room->loop, &lane->rested, lane->flow.rest_until_ms - now_ms);
	}
	lobby_mind(room);
}

void loads_ended(struct room *room, struct loads_lane *lane, enum flow_answer answer)
{
	flow_ended(&lane->flow, answer, (uint32_t)room->config->limits.logins_in_flight,
		   hf_loop_now_ms(room->loop));
	room->loads.in_flight--;
	hf_task_schedule(room->loop, &room->loads.task);
}

void loads_open(struct room *room)
{
	hf_task_init(&room->loads.task, run, room);
}

void loads_close(struct room *room)
{
	struct loads_lane *lane;

	hf_task_cancel(room->loop, &room->loads.task);
	while ((lane = room->loads.lanes) != NULL) {
		room->loads.lanes = lane->next;
		hf_wheel_disarm(&lane->rested);
		free(lane->line);
		free(lane);
	}
}
