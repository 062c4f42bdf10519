#include "client_set.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "listener.h"
#include "room.h"

int client_set_open(struct room *room, void (*on_events)(evutil_socket_t, short, void *))
{
	struct client_set *set = &room->clients;

	set->fd = epoll_create1(EPOLL_CLOEXEC);
	if (set->fd < 0)
		return -errno;
	set->event = event_new(room->loop->base, set->fd, EV_READ | EV_PERSIST, on_events, room);
	return set->event != NULL && event_add(set->event, NULL) == 0 ? 0 : -ENOMEM;
}

void client_set_close(struct room *room)
{
	if (room->clients.event != NULL)
		event_free(room->clients.event);
	if (room->clients.fd >= 0)
		close(room->clients.fd);
}

/* It may still turn out to speak TLS. */
static bool is_edge_triggered(const struct room *room, const struct connection *connection)
{
	return connection->tls == NULL && (connection->state >= CONNECTION_JOINING ||
					   listener_tls(room, connection->listener) == NULL);
}

static struct epoll_event wanted(const struct room *room, const struct connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = connection->handle };

	if (is_edge_triggered(room, connection))
		event.events |= EPOLLET | EPOLLRDHUP | EPOLLPRI;
	else if (connection->flags & CONNECTION_IN_LOBBY && connection->state < CONNECTION_JOINING)
		event.events = 0; /* it would be told of again and again */
	if (connection->flags & CONNECTION_BLOCKED && event.events != 0)
		event.events |= EPOLLOUT;
	return event;
}

bool client_set_add(struct room *room, struct connection *connection)
{
	struct epoll_event event = wanted(room, connection);

	if (connection->flags & CONNECTION_IN_SET)
		return true;
	if (epoll_ctl(room->clients.fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
		return false;
	connection->flags |= CONNECTION_IN_SET;
	return true;
}

void client_set_watch(struct room *room, const struct connection *connection)
{
	struct epoll_event event = wanted(room, connection);

	if (connection->flags & CONNECTION_IN_SET)
		epoll_ctl(room->clients.fd, EPOLL_CTL_MOD, connection->fd, &event);
}
