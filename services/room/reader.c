/* What clients send, from their sockets to input.c: who may be read, and how much of it. */
#include "reader.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "listener.h"
#include "room.h"
#include "tls.h"

#define EVENTS_MAX         128
#define TLS_STEPS_PER_TURN 32 /* a handshake step costs as much as dozens of reads */
#define TLS_FIRST_BYTE     0x16

static void tls_step(struct room *room, struct connection *connection)
{
	bool want_write = false;
	int done = tls_handshake(connection->tls, &want_write);

	if (done < 0) {
		connection_turn_away(room, connection, REJECT_TLS_HANDSHAKE,
				     CONNECTION_ENDED_ERROR);
		return;
	}
	if (want_write != !!(connection->flags & CONNECTION_BLOCKED)) {
		connection->flags ^= CONNECTION_BLOCKED;
		client_set_watch(room, connection);
	}
	if (done > 0) {
		uint32_t took_ms = (uint32_t)room_age_ms(room) - connection->opened;

		hf_histogram_record(room->metrics.handshake_tls, took_ms * 1000ull);
		connection_set_state(room, connection, CONNECTION_LOGIN);
	}
}

/* The first byte tells TLS from ours. It is only looked at where TLS is to be had. */
static void first_byte(struct room *room, struct connection *connection)
{
	struct ssl_ctx_st *context = listener_tls(room, connection->listener);
	uint8_t byte = 0;

	if (context != NULL && recv(connection->fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN)
		return;
	if (byte != TLS_FIRST_BYTE) {
		connection_set_state(room, connection, CONNECTION_LOGIN);
		return;
	}
	connection->tls = tls_new(context, connection->fd);
	if (connection->tls == NULL) {
		connection_turn_away(room, connection, REJECT_MEMORY, HF_CLOSE_INTERNAL_ERROR);
		return;
	}
	connection->flags |= CONNECTION_OVER_TLS;
	--*room->metrics.connections[0];
	++*room->metrics.connections[1];
	--*room->metrics.opened[0];
	++*room->metrics.opened[1];
	connection_set_state(room, connection, CONNECTION_TLS);
}

static ssize_t read_some(struct room *room, struct connection *connection)
{
	ssize_t n;

	if (connection->tls != NULL)
		return tls_read(connection->tls, room->read_buffer, READER_SIZE);
	n = recv(connection->fd, room->read_buffer, READER_SIZE, 0);
	return n < 0 ? -errno : n;
}

static void on_bytes(struct room *room, struct connection *connection, size_t len)
{
	uint64_t per_second = room->config->limits.bytes_per_second;
	uint64_t burst = HF_MAX(2 * per_second, 2 * room->config->limits.login_max);

	*room->metrics.bytes_in += len;
	if (connection->state >= CONNECTION_CLOSING)
		return; /* read only to find the client's FIN */
	connection->last_heard = room_tick(room);
	if (!rate_take(&connection->bytes, rate_ticks(room_age_ms(room)),
		       rate_cost(len, per_second), rate_cost(burst, per_second))) {
		connection_close(room, connection, HF_CLOSE_RATE_LIMITED, "too many bytes");
		return;
	}
	input_feed(room, connection, room->read_buffer, len);
}

/* May there be more than was read? A short read empties a socket, but for what shows in the event:
 * the end of the stream, a failure, or urgent data, which nobody needs but which ends a read. */
static bool has_more(ssize_t n, uint32_t events)
{
	return n == READER_SIZE || n == -EINTR ||
	       (n > 0 && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI));
}

static void on_readable(struct room *room, struct connection *connection, uint32_t events)
{
	ssize_t n;

	if (connection->state == CONNECTION_NEW)
		first_byte(room, connection);
	if (connection->state == CONNECTION_TLS)
		tls_step(room, connection);
	if (connection->state < CONNECTION_LOGIN || connection->state >= CONNECTION_CUT)
		return;

	n = read_some(room, connection);
	if (n > 0)
		on_bytes(room, connection, (size_t)n);
	else if (n == 0)
		connection_lost(room, connection, CONNECTION_ENDED_EOF);
	else if (n != -EAGAIN && n != -EINTR)
		connection_lost(room, connection, CONNECTION_ENDED_ERROR);
	if (has_more(n, events) && connection->state < CONNECTION_CUT)
		client_set_watch(room, connection);
}

/* Some have waited here or in the backlog for longer than they wanted to: a login of theirs would
 * be for nobody. */
static bool has_given_up(const struct connection *connection)
{
	struct pollfd line = { .fd = connection->fd, .events = POLLRDHUP };

	return poll(&line, 1, 0) > 0;
}

void reader_read(struct room *room, struct connection *connection, bool waited)
{
	if (waited && has_given_up(connection)) {
		connection_abort(room, connection, CONNECTION_ENDED_EOF);
		return;
	}
	on_readable(room, connection, 0);
	if (connection->state < CONNECTION_CUT && !client_set_add(room, connection))
		connection_turn_away(room, connection, REJECT_MEMORY, HF_CLOSE_OVERLOADED);
}

/* Who has not logged in is read when the lobby says so. False: that is not now. */
static bool may_read(struct room *room, struct connection *connection, uint32_t events)
{
	if (connection->state >= CONNECTION_JOINING)
		return true;
	if (!(connection->flags & CONNECTION_IN_LOBBY) && lobby_is_open(room))
		return true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) /* it has given up */
		connection_abort(room, connection, CONNECTION_ENDED_EOF);
	else if (!lobby_enter(room, connection))
		connection_turn_away(room, connection, REJECT_MEMORY, HF_CLOSE_OVERLOADED);
	return false;
}

void reader_on_events(evutil_socket_t fd, short what, void *ctx)
{
	struct room *room = ctx;
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(fd, events, EVENTS_MAX, 0);
	int tls_steps = 0;

	for (int i = 0; i < count; i++) {
		struct connection *connection = room_connection(room, events[i].data.u32);

		if (connection == NULL || connection->state >= CONNECTION_CUT)
			continue;
		/* Those are told of again, as they are level-triggered. */
		if (connection->state == CONNECTION_TLS && ++tls_steps > TLS_STEPS_PER_TURN)
			continue;
		if (events[i].events & EPOLLOUT && connection->state >= CONNECTION_LOGIN)
			flush_on_writable(room, connection);
		if ((events[i].events & ~(uint32_t)EPOLLOUT ||
		     connection->state == CONNECTION_TLS) &&
		    may_read(room, connection, events[i].events))
			on_readable(room, connection, events[i].events);
	}
}
