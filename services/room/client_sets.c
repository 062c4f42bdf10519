#include "client_sets.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "room.h"

#define SLICE_MS    10u
#define LOBBY_TIMES 2u /* limits.logins_in_flight that may wait while it is closed */

static int set_open(struct client_set *set, struct room *room,
		    void (*on_events)(evutil_socket_t, short, void *))
{
	set->fd = epoll_create1(EPOLL_CLOEXEC);
	if (set->fd < 0)
		return -errno;
	set->event = event_new(room->loop->base, set->fd, EV_READ | EV_PERSIST, on_events, room);
	return set->event != NULL && event_add(set->event, NULL) == 0 ? 0 : -ENOMEM;
}

static void set_close(struct client_set *set)
{
	if (set->event != NULL)
		event_free(set->event);
	if (set->fd >= 0)
		close(set->fd);
}

void client_sets_close(struct room *room)
{
	hf_wheel_disarm(&room->sets.next_slice);
	set_close(&room->sets.lobby);
	set_close(&room->sets.clients);
}

/* Of TLS one record is read at a time, and only OpenSSL knows whether the socket is empty then:
 * there, as in the lobby, the kernel looks. */
static struct epoll_event wanted(const struct connection *connection, bool admitted)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = connection->handle };

	if (connection->flags & CONNECTION_BLOCKED)
		event.events |= EPOLLOUT;
	if (admitted && connection->tls == NULL)
		event.events |= EPOLLET | EPOLLRDHUP | EPOLLPRI;
	return event;
}

int client_sets_add(struct room *room, struct connection *connection)
{
	struct epoll_event event = wanted(connection, false);

	if (epoll_ctl(room->sets.lobby.fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
		return -errno;
	connection->flags |= CONNECTION_IN_LOBBY;
	return 0;
}

void client_sets_watch(struct room *room, const struct connection *connection)
{
	bool admitted = connection->flags & CONNECTION_ADMITTED;
	struct epoll_event event = wanted(connection, admitted);

	epoll_ctl(admitted ? room->sets.clients.fd : room->sets.lobby.fd, EPOLL_CTL_MOD,
		  connection->fd, &event);
}

void client_sets_admit(struct room *room, struct connection *connection)
{
	struct epoll_event event = wanted(connection, true);

	/* Where it can't be moved it stays: it is served there as well. */
	if (connection->flags & CONNECTION_ADMITTED ||
	    epoll_ctl(room->sets.clients.fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
		return;
	if (connection->flags & CONNECTION_IN_LOBBY)
		epoll_ctl(room->sets.lobby.fd, EPOLL_CTL_DEL, connection->fd, NULL);
	connection->flags &= (uint8_t)~CONNECTION_IN_LOBBY;
	connection->flags |= CONNECTION_ADMITTED;
}

/* The rate is kept in slices of time: what was not used of one is lost. */
static bool is_spent(struct room *room)
{
	struct client_sets *sets = &room->sets;
	uint64_t per_second = room->config->limits.login_rate, slice = room_age_ms(room) / SLICE_MS;

	if (per_second == 0)
		return false;
	if (sets->slice != slice) {
		sets->slice = slice;
		sets->left = HF_MAX(per_second * SLICE_MS / 1000, (uint64_t)1);
	}
	return sets->left == 0;
}

/* As the logins in flight and their rate say. */
static bool lobby_must_wait(struct room *room)
{
	const struct client_sets *sets = &room->sets;
	bool spent = is_spent(room);

	if (spent)
		hf_loop_arm(room->loop, &room->sets.next_slice, SLICE_MS);
	return spent || sets->joining + room->loads.waiting + room->loads.in_flight >=
				room->config->limits.logins_in_flight;
}

static void close_lobby(struct room *room)
{
	struct client_sets *sets = &room->sets;

	if (sets->lobby_closed || !lobby_must_wait(room))
		return;
	event_del(sets->lobby.event);
	sets->lobby_closed = sets->crowd = true;
	++*room->metrics.lobby_closed;
}

void client_sets_mind_lobby(struct room *room)
{
	struct client_sets *sets = &room->sets;

	if (!sets->lobby_closed)
		close_lobby(room);
	else if (!lobby_must_wait(room) && event_add(sets->lobby.event, NULL) == 0)
		sets->lobby_closed = false;
}

static void on_next_slice(struct hf_timer *timer, void *room)
{
	client_sets_mind_lobby(room);
}

void client_sets_on_state(struct room *room, enum connection_state before,
			  enum connection_state after)
{
	struct client_sets *sets = &room->sets;

	if (before < CONNECTION_JOINING && after >= CONNECTION_JOINING)
		sets->waiting--;
	if (after == CONNECTION_JOINING) {
		sets->joining++;
		if (!is_spent(room) && sets->left > 0)
			sets->left--;
		close_lobby(room);
	} else if (before == CONNECTION_JOINING) {
		sets->joining--;
		hf_task_schedule(room->loop, &room->loads.task); /* it may open the lobby */
	}
}

bool client_sets_lobby_is_full(const struct room *room)
{
	return room->sets.lobby_closed &&
	       room->sets.waiting >= LOBBY_TIMES * room->config->limits.logins_in_flight;
}

int client_sets_open(struct room *room, void (*on_events)(evutil_socket_t, short, void *))
{
	int err = set_open(&room->sets.clients, room, on_events);

	hf_timer_init(&room->sets.next_slice, on_next_slice, room);
	return err < 0 ? err : set_open(&room->sets.lobby, room, on_events);
}

bool client_sets_lobby_is_free(const struct room *room)
{
	return !room->sets.lobby_closed && !room->sets.crowd;
}

void client_sets_seen(struct room *room, int fd)
{
	if (fd == room->sets.lobby.fd && !room->sets.lobby_closed)
		room->sets.crowd = false;
}

bool client_sets_lobby_waits(const struct room *room, int fd)
{
	return fd == room->sets.lobby.fd && room->sets.lobby_closed;
}
