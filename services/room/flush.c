/* The write side: what a turn made for a connection leaves in one write at the turn's end. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "room.h"
#include "tls.h"

#define PIECES_MAX 64

void flush_mark_dirty(struct room *room, struct connection *connection)
{
	if (connection->flags & (CONNECTION_DIRTY | CONNECTION_BLOCKED))
		return;
	connection->flags |= CONNECTION_DIRTY;
	connection->next = room->dirty_head;
	room->dirty_head = connection->handle;
}

static ssize_t write_pieces(struct connection *connection, struct iovec *pieces, int count)
{
	struct msghdr message = { .msg_iov = pieces, .msg_iovlen = (size_t)count };
	ssize_t n;

	if (connection->tls != NULL)
		return tls_writev(connection->tls, pieces, count);
	if (count == 1)
		n = send(connection->fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
	else
		n = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static void on_flushed(struct room *room, struct connection *connection)
{
	if (connection->flags & CONNECTION_BLOCKED) {
		connection->flags &= (uint8_t)~CONNECTION_BLOCKED;
		client_set_watch(room, connection);
	}
	if (connection->state == CONNECTION_CLOSING) {
		if (connection->tls != NULL)
			tls_shutdown(connection->tls);
		shutdown(connection->fd, SHUT_WR);
		connection_set_state(room, connection, CONNECTION_LINGERING);
	}
	if (connection->flags & CONNECTION_LOAD_WAITS) {
		hf_handle next = connection->first_session;

		connection->flags &= (uint8_t)~CONNECTION_LOAD_WAITS;
		while (next != 0) {
			struct session *session = room_session(room, next);

			next = session->next_of_connection;
			delivery_continue(room, session);
		}
	}
}

static bool advance(struct room *room, struct connection *connection, size_t n)
{
	struct output *output = &connection->output;
	bool kept;

	room->queued_bytes -= output_bytes(&room->pool, output);
	kept = output_advance(&room->pool, output, n) == 0;
	room->queued_bytes += output_bytes(&room->pool, output);
	return kept;
}

void flush_connection(struct room *room, struct connection *connection)
{
	struct iovec pieces[PIECES_MAX];

	while (!output_empty(&connection->output)) {
		int count = output_peek(&room->pool, &connection->output, pieces, PIECES_MAX);
		ssize_t n = write_pieces(connection, pieces, count);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			if (!(connection->flags & CONNECTION_BLOCKED)) {
				connection->flags |= CONNECTION_BLOCKED;
				client_set_watch(room, connection);
			}
			return;
		}
		if (n < 0) {
			connection_lost(room, connection, CONNECTION_ENDED_ERROR);
			return;
		}
		*room->metrics.bytes_out += (uint64_t)n;
		if (!advance(room, connection, (size_t)n)) {
			connection_abort(room, connection, HF_CLOSE_INTERNAL_ERROR);
			return;
		}
	}
	on_flushed(room, connection);
}

void flush_on_writable(struct room *room, struct connection *connection)
{
	if (connection->state < CONNECTION_LINGERING)
		flush_connection(room, connection);
}

void flush_all(void *ctx)
{
	struct room *room = ctx;

	while (room->dirty_head != 0) {
		struct connection *connection = room_connection(room, room->dirty_head);

		room->dirty_head = connection->next;
		connection->flags &= (uint8_t)~CONNECTION_DIRTY;
		if (connection->state == CONNECTION_CLOSED)
			hf_slab_free(&room->connections, connection->handle);
		else if (!(connection->flags & CONNECTION_BLOCKED) &&
			 connection->state < CONNECTION_LINGERING)
			flush_connection(room, connection);
	}
	while (room->closed_head != 0) {
		struct connection *connection = room_connection(room, room->closed_head);

		room->closed_head = connection->next;
		hf_slab_free(&room->connections, connection->handle);
	}
}
