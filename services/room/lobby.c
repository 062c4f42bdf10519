#include "lobby.h"

#include "reader.h"
#include "room.h"

#define SLICE_MS        10u
#define LINE_TIMES      2u  /* limits.logins_in_flight that may stand in line */
#define SERVED_PER_TURN 16u /* as many as are accepted */

/* The rate is kept in slices of time: what was not used of one is lost. */
static bool is_spent(struct room *room)
{
	struct lobby *lobby = &room->lobby;
	uint64_t per_second = room->config->limits.login_rate, slice = room_age_ms(room) / SLICE_MS;

	if (per_second == 0)
		return false;
	if (lobby->slice != slice) {
		lobby->slice = slice;
		lobby->left = HF_MAX(per_second * SLICE_MS / 1000, (uint64_t)1);
	}
	return lobby->left == 0;
}

static bool may_one_log_in(struct room *room)
{
	return !is_spent(room) &&
	       room->lobby.joining + room->loads.waiting + room->loads.in_flight <
		       room->config->limits.logins_in_flight;
}

bool lobby_is_open(struct room *room)
{
	return room->lobby.line.count == 0 && may_one_log_in(room);
}

/* The longest that one stands in line, in ticks. */
static uint32_t patience(const struct room *room)
{
	return room_ticks_of(room->config->limits.handshake_timeout_ms / 2);
}

static bool has_first_stood_for(const struct room *room, uint32_t ticks)
{
	const struct expiry *line = &room->lobby.line;

	return line->count > 0 && room_tick(room) - line->entries[line->head].since >= ticks;
}

bool lobby_is_full(const struct room *room)
{
	return room->lobby.line.count >= LINE_TIMES * room->config->limits.logins_in_flight;
}

bool lobby_is_late(const struct room *room)
{
	return has_first_stood_for(room, patience(room) / 2);
}

void lobby_mind(struct room *room)
{
	if (room->lobby.line.count == 0)
		return;
	if (may_one_log_in(room) || has_first_stood_for(room, patience(room)))
		hf_task_schedule(room->loop, &room->lobby.serve);
	else if (is_spent(room))
		hf_loop_arm(room->loop, &room->lobby.next_slice, SLICE_MS);
}

bool lobby_enter(struct room *room, struct connection *connection)
{
	if (connection->flags & CONNECTION_IN_LOBBY)
		return true;
	if (expiry_push(&room->lobby.line, connection->handle, room_tick(room)) < 0)
		return false;
	if (room->lobby.line.count == 1)
		++*room->metrics.lobby_waits;
	connection->flags |= CONNECTION_IN_LOBBY;
	client_set_watch(room, connection);
	lobby_mind(room);
	return true;
}

static void call(struct room *room, struct connection *connection, bool late)
{
	connection->flags &= (uint8_t)~CONNECTION_IN_LOBBY;
	if (late) {
		connection_turn_away(room, connection, REJECT_CROWD, HF_CLOSE_OVERLOADED);
	} else {
		client_set_watch(room, connection);
		reader_read(room, connection, true);
	}
}

static void serve(void *ctx)
{
	struct room *room = ctx;
	unsigned served = 0;

	while (served < SERVED_PER_TURN && room->lobby.line.count > 0) {
		bool late = has_first_stood_for(room, patience(room));
		struct connection *connection;

		if (!late && !may_one_log_in(room))
			break;
		connection =
			room_connection(room, expiry_pop(&room->lobby.line, room_tick(room), 0));
		if (connection == NULL || connection->state >= CONNECTION_JOINING)
			continue; /* gone since */
		call(room, connection, late);
		served++;
	}
	lobby_mind(room);
}

static void on_next_slice(struct hf_timer *timer, void *room)
{
	lobby_mind(room);
}

void lobby_on_state(struct room *room, enum connection_state before, enum connection_state after)
{
	struct lobby *lobby = &room->lobby;

	if (after == CONNECTION_JOINING) {
		lobby->joining++;
		if (!is_spent(room) && lobby->left > 0)
			lobby->left--;
	} else if (before == CONNECTION_JOINING) {
		lobby->joining--;
		lobby_mind(room);
	}
}

void lobby_open(struct room *room)
{
	hf_timer_init(&room->lobby.next_slice, on_next_slice, room);
	hf_task_init(&room->lobby.serve, serve, room);
}

void lobby_close(struct room *room)
{
	hf_wheel_disarm(&room->lobby.next_slice);
	hf_task_cancel(room->loop, &room->lobby.serve);
	expiry_deinit(&room->lobby.line);
}
