/* What time brings: one tick of 100 ms for the whole room, and no timer for any connection.
 *
 * Each tick looks at a small share of the records, so that all are seen within ten seconds. */
#define HF_LOG_MODULE "room"
#include "hf_log.h"
#include "room.h"
#include "window.h"

#define SWEEP_MS        10000u /* one round over all connections */
#define SWEEP_STEPS_MIN 512u   /* records a tick at least: a small room is seen whole every tick */
#define LINGER_MS       2000u  /* for the client's FIN after our BYE */
#define ANNOUNCE_MS     3000u
#define ANNOUNCE_EACH   100u   /* longer with many rooms: so many ms for each of them */
#define APP_STEPS       10000u /* sessions a tick */

static void expire(struct room *room)
{
	uint32_t tick = room_tick(room);
	uint32_t handshake = room_ticks_of(room->config->limits.handshake_timeout_ms);
	hf_handle handle;

	while ((handle = expiry_pop(&room->handshakes, tick, handshake)) != 0) {
		struct connection *connection = room_connection(room, handle);

		if (connection == NULL || connection->state > CONNECTION_LOGIN)
			continue;
		if (connection->flags & CONNECTION_IN_LOBBY) {
			connection_turn_away(room, connection, REJECT_CROWD, HF_CLOSE_OVERLOADED);
			continue;
		}
		++*room->metrics.rejected[REJECT_HANDSHAKE_TIMEOUT];
		connection_close(room, connection, HF_CLOSE_HANDSHAKE_TIMEOUT, "no LOGIN in time");
	}
	while ((handle = expiry_pop(&room->lingers, tick, room_ticks_of(LINGER_MS))) != 0) {
		struct connection *connection = room_connection(room, handle);

		if (connection != NULL)
			connection_abort(room, connection, CONNECTION_ENDED_EOF);
	}
	linger_expire(room);
}

/* Acked ids need no memory any more once no late push can bring them. */
static bool forget_acked(struct room *room, struct session *session)
{
	const struct window *window = pool_at(&room->pool, session->window);

	if (!(session->flags & SESSION_FRESH_PAGE))
		return true;
	if (window != NULL &&
	    room_tick(room) - window->fresh_since < room_ticks_of(DELIVERY_FRESH_MS))
		return false;
	session->flags &= (uint8_t)~SESSION_FRESH_PAGE;
	if (!(session->flags & SESSION_LOADING)) /* else when the page has come */
		window_forget_acked(&room->pool, &session->window);
	return true;
}

/* A window that stays full means a client that takes and never acks. */
static void check_windows(struct room *room, struct connection *connection)
{
	struct session *session = room_session(room, connection->first_session);
	uint32_t most = room_ticks_of(room->config->limits.ack_timeout_ms);
	bool settled = true;

	for (; session != NULL; session = room_session(room, session->next_of_connection)) {
		const struct window *window;

		settled &= forget_acked(room, session);
		window = pool_at(&room->pool, session->window);
		if (window == NULL || window->count < room->config->limits.unacked)
			continue;
		settled = false;
		if (room_tick(room) - window->full_since > most) {
			connection_close(room, connection, HF_CLOSE_SLOW_CONSUMER,
					 "pushes are not acked");
			return;
		}
	}
	if (settled)
		connection->flags &= (uint8_t)~CONNECTION_CHECK_WINDOWS;
}

static void check(struct room *room, struct connection *connection)
{
	uint64_t silence_ms = (room_tick(room) - connection->last_heard) * (uint64_t)ROOM_TICK_MS;

	if (connection->state != CONNECTION_ACTIVE)
		return;
	if (silence_ms > connection->heartbeat_s * 1500ull + room->config->keepalive.grace_ms) {
		++*room->metrics.keepalive_timeouts;
		connection_timed_out(room, connection);
		return;
	}
	if (connection->flags & CONNECTION_CHECK_WINDOWS)
		check_windows(room, connection);
}

static void sweep(struct room *room)
{
	uint32_t end = hf_slab_end(&room->connections);
	uint32_t left = HF_MAX(end / (SWEEP_MS / ROOM_TICK_MS) + 1, SWEEP_STEPS_MIN);

	while (left > 0) {
		uint32_t from = room->sweep_pos;
		hf_handle handle = hf_slab_next(&room->connections, &room->sweep_pos, left);

		left -= HF_MIN(left, room->sweep_pos - from);
		if (handle != 0)
			check(room, room_connection(room, handle));
		else if (room->sweep_pos < end)
			break; /* the share of this tick is used up */
		if (room->sweep_pos >= end) {
			room->sweep_pos = 0;
			break;
		}
	}
}

/* After a change of the apps: sessions of one that was switched off end, a share of all each tick.
 */
static void check_apps(struct room *room)
{
	uint32_t left = APP_STEPS;

	while (room->apps_changed && left > 0) {
		uint32_t from = room->apps_pos;
		struct session *session =
			room_session(room, hf_slab_next(&room->sessions, &room->apps_pos, left));
		const struct hf_app *app =
			session == NULL ? NULL : hf_apps_get(room->apps, session->app);

		left -= HF_MIN(left, room->apps_pos - from);
		if (app != NULL && !app->enabled)
			session_end(room, session, HF_CLOSE_APP_DISABLED,
				    HF_BYTES_LITERAL("app disabled"));
		if (room->apps_pos >= hf_slab_end(&room->sessions))
			room->apps_changed = false;
	}
}

void sweep_apps(struct hf_apps *apps, void *ctx)
{
	struct room *room = ctx;

	(void)apps;
	room->apps_changed = true;
	room->apps_pos = 0;
}

/* The load goes to the keeper now and then, when it has changed by more than a twentieth. It is for
 * people to look at, and wakes every process that follows the rooms, so all rooms together announce
 * at most ten times a second. */
static void announce_load(struct room *room)
{
	uint64_t load = room_client_count(room), now_ms = hf_loop_now_ms(room->loop);
	uint64_t pause_ms = HF_MAX(ANNOUNCE_MS, hf_peers_count(room->rooms) * ANNOUNCE_EACH);
	uint64_t change = load > room->announced_load ? load - room->announced_load
						      : room->announced_load - load;

	if (now_ms - room->announced_ms < pause_ms || change * 20 <= room->announced_load)
		return;
	room->announced_ms = now_ms;
	room->announced_load = load;
	room->service->instance.load = load;
	hf_service_announce(room->service);
}

static void on_tick(struct hf_timer *timer, void *ctx)
{
	struct room *room = ctx;
	uint64_t now_ms = hf_loop_now_ms(room->loop);

	hf_histogram_record(room->metrics.loop_lag, now_ms - room->tick_due_ms);
	expire(room);
	sweep(room);
	ip_sweep(&room->ips, HF_MAX(hf_slab_end(&room->ips.entries) / 64, 64u), now_ms);
	check_apps(room);
	announce_load(room);
	drain_tick(room);
	lobby_mind(room);
	room->tick_due_ms = now_ms + ROOM_TICK_MS;
	hf_loop_arm(room->loop, timer, ROOM_TICK_MS);
}

void sweep_start(struct room *room)
{
	hf_timer_init(&room->tick_timer, on_tick, room);
	room->tick_due_ms = hf_loop_now_ms(room->loop) + ROOM_TICK_MS;
	hf_loop_arm(room->loop, &room->tick_timer, ROOM_TICK_MS);
}

void sweep_stop(struct room *room)
{
	hf_wheel_disarm(&room->tick_timer);
}
