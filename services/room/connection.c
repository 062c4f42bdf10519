/* The record of a client, from accept to the last FIN. */
#define HF_LOG_MODULE "room"
#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_cursor.h"
#include "hf_log.h"
#include "listener.h"
#include "reader.h"
#include "room.h"
#include "tls.h"

#define LOGGED_CLOSES_PER_SECOND 20
#define DISMISSED_READ_MAX       16384

void connection_set_state(struct room *room, struct connection *connection,
			  enum connection_state state)
{
	enum connection_state before = connection->state;

	assert(state > before); /* a connection only ever moves forward */
	connection->state = (uint8_t)state;
	if (state == CONNECTION_JOINING)
		client_set_watch(room, connection);
	lobby_on_state(room, before, state);
}

static unsigned transport_of(const struct connection *connection)
{
	return connection->flags & CONNECTION_OVER_TLS ? 1 : 0;
}

static size_t profile_size(const struct profile *profile)
{
	return 3 + profile->device.len + profile->platform.len + profile->sdk_version.len;
}

int connection_set_profile(struct room *room, struct connection *connection,
			   const struct profile *profile)
{
	size_t size = profile_size(profile);
	uint8_t *block = pool_alloc(&room->pool, size, &connection->profile);
	struct hf_writer w;

	if (block == NULL)
		return -ENOMEM;
	w = hf_writer_of(block, size);
	hf_writer_u8(&w, (uint8_t)profile->device.len);
	hf_writer_u8(&w, (uint8_t)profile->platform.len);
	hf_writer_u8(&w, (uint8_t)profile->sdk_version.len);
	hf_writer_bytes(&w, profile->device.data, profile->device.len);
	hf_writer_bytes(&w, profile->platform.data, profile->platform.len);
	hf_writer_bytes(&w, profile->sdk_version.data, profile->sdk_version.len);
	return 0;
}

struct profile connection_profile(const struct room *room, const struct connection *connection)
{
	const uint8_t *block = pool_at(&room->pool, connection->profile);

	if (block == NULL)
		return (struct profile){ 0 };
	return (struct profile){
		.device = { block + 3, block[0] },
		.platform = { block + 3 + block[0], block[1] },
		.sdk_version = { block + 3 + block[0] + block[1], block[2] },
	};
}

static void profile_free(struct room *room, struct connection *connection)
{
	struct profile profile = connection_profile(room, connection);

	pool_free(&room->pool, connection->profile, profile_size(&profile));
	connection->profile = 0;
}

/* What businesses hear of an end: ours have codes and reasons, the client's have none. */
static void tell_closed(struct room *room, const struct session *session, uint32_t code,
			struct hf_bytes reason)
{
	if (code == CONNECTION_ENDED_EOF)
		events_session_closed(room, session, 0, HF_BYTES_LITERAL("closed_by_client"));
	else if (code == CONNECTION_ENDED_ERROR)
		events_session_closed(room, session, 0, HF_BYTES_LITERAL("connection_error"));
	else
		events_session_closed(room, session, code,
				      reason.len > 0 ? reason
						     : hf_bytes_of_string(hf_close_name(code)));
}

static void drop_sessions(struct room *room, struct connection *connection, uint32_t code,
			  struct hf_bytes reason)
{
	while (connection->first_session != 0) {
		struct session *session = room_session(room, connection->first_session);

		session_note(room, session, HF_WHY_CLOSED, 0, code);
		tell_closed(room, session, code, reason);
		session_drop(room, session);
	}
	login_forget(room, connection);
}

static void count_end(struct room *room, const struct connection *connection, uint32_t code)
{
	uint64_t *cell;

	if (connection->state == CONNECTION_ACTIVE)
		room->logged_in--;
	if (code == CONNECTION_ENDED_EOF)
		cell = room->metrics.closed_eof;
	else if (code == CONNECTION_ENDED_ERROR)
		cell = room->metrics.closed_error;
	else
		cell = metrics_of_code(&room->metrics, room->metrics.closed, code);
	++*cell;
}

/* What hangs on the socket, and the socket. */
static void release_line(struct room *room, struct connection *connection)
{
	input_forget(room, connection);
	room->queued_bytes -= output_bytes(&room->pool, &connection->output);
	output_clear(&room->pool, &connection->output);
	ip_closed(&room->ips, connection->ip, hf_loop_now_ms(room->loop));
	tls_free(connection->tls);
	connection->tls = NULL;
	close(connection->fd); /* leaves the epoll set by that */
	connection->fd = -1;
	--*room->metrics.connections[transport_of(connection)];
}

void connection_cut(struct room *room, struct connection *connection, uint32_t code)
{
	struct session *session = room_session(room, connection->first_session);

	for (; session != NULL; session = room_session(room, session->next_of_connection)) {
		upstream_session_gone(room, session); /* the client has given them up */
		session_note(room, session, HF_WHY_LINGERING, 0, 0);
	}
	count_end(room, connection, code);
	release_line(room, connection);
	connection_set_state(room, connection, CONNECTION_CUT);
	connection->cut_code = code;
	room->cut_count++;
}

void connection_abort(struct room *room, struct connection *connection, uint32_t code)
{
	if (connection->state == CONNECTION_CLOSED)
		return;
	if (connection->state < CONNECTION_CLOSING)
		count_end(room, connection, code);
	drop_sessions(room, connection, code, hf_bytes_of(NULL, 0));
	if (connection->state == CONNECTION_CUT)
		room->cut_count--;
	else
		release_line(room, connection);
	profile_free(room, connection);
	connection_set_state(room, connection, CONNECTION_CLOSED);
	if (!(connection->flags & CONNECTION_DIRTY)) { /* else the flush finds it */
		connection->next = room->closed_head;
		room->closed_head = connection->handle;
	}
}

void connection_lost(struct room *room, struct connection *connection, uint32_t code)
{
	if (!linger_begin(room, connection, code))
		connection_abort(room, connection, code);
}

void connection_close(struct room *room, struct connection *connection, uint32_t code,
		      const char *reason)
{
	connection_close_bye(room, connection,
			     &(struct hf_wire_bye){ .code = code,
						    .reason = hf_bytes_of_string(reason) });
}

/* BYE behind what is queued, or in its place for a client that does not read. False: it can't. */
static bool queue_bye(struct room *room, struct connection *connection,
		      const struct hf_wire_bye *bye)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	ssize_t len = hf_wire_encode_bye(bye, wire, sizeof(wire));
	struct frame *frame;
	bool queued;

	if (bye->code == HF_CLOSE_SLOW_CONSUMER) {
		if (connection->tls != NULL && connection->flags & CONNECTION_BLOCKED)
			return false; /* a record is half out: nothing can take its place */
		room->queued_bytes -= output_bytes(&room->pool, &connection->output);
		output_truncate(&room->pool, &connection->output);
		room->queued_bytes += output_bytes(&room->pool, &connection->output);
	}
	frame = len > 0 ? frame_new(wire, (size_t)len) : NULL;
	if (frame == NULL)
		return false;
	queued = output_push(&room->pool, &connection->output, frame, 0) == 0;
	if (queued) {
		room->queued_bytes += frame->len;
		++*room->metrics.frames_out[HF_WIRE_BYE];
	}
	frame_unref(frame);
	return queued;
}

/* Clients that break a rule are named in the log, within what a log can take. */
static void log_close(struct room *room, const struct connection *connection,
		      const struct hf_wire_bye *bye)
{
	enum hf_log_level level = HF_LOG_DEBUG;
	char peer[HF_NET_TEXT_SIZE];

	if (hf_close_action(bye->code) == HF_CLOSE_STOP && bye->code != HF_CLOSE_REPLACED &&
	    rate_take(&room->log_bucket, rate_ticks(room_age_ms(room)),
		      rate_cost(1, LOGGED_CLOSES_PER_SECOND), rate_cost(10, 1)))
		level = HF_LOG_INFO;
	if (!hf_log_enabled(level))
		return;
	connection_peer(connection, peer);
	HF_LOG(level, "closed", "peer=%s conn=%u code=%u name=%s reason=%s", peer,
	       connection->handle, bye->code, hf_close_name(bye->code),
	       hf_log_quote(bye->reason.data, bye->reason.len));
}

void connection_timed_out(struct room *room, struct connection *connection)
{
	const struct hf_wire_bye bye = { .code = HF_CLOSE_KEEPALIVE_TIMEOUT,
					 .reason = HF_BYTES_LITERAL("no heartbeat") };

	log_close(room, connection, &bye);
	if (!(connection->flags & CONNECTION_BLOCKED) && queue_bye(room, connection, &bye))
		flush_connection(room, connection);
	if (connection->state == CONNECTION_ACTIVE)
		connection_lost(room, connection, HF_CLOSE_KEEPALIVE_TIMEOUT);
}

void connection_peer(const struct connection *connection, char ret[HF_NET_TEXT_SIZE])
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	ret[0] = '\0';
	if (getpeername(connection->fd, (struct sockaddr *)&address, &len) == 0)
		hf_net_format(&address, len, ret);
}

/* What was sent already is read, or the close would be a reset that takes the answer with it. */
void connection_dismiss(int fd, const struct hf_wire_bye *bye)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX], unread[DISMISSED_READ_MAX];
	ssize_t len = hf_wire_encode_bye(bye, wire, sizeof(wire));

	if (len > 0 && send(fd, wire, (size_t)len, MSG_NOSIGNAL) == len)
		shutdown(fd, SHUT_WR);
	(void)!read(fd, unread, sizeof(unread));
}

/* As far as it is known. */
static bool speaks_plain(const struct room *room, const struct connection *connection)
{
	return connection->tls == NULL && (connection->state == CONNECTION_LOGIN ||
					   listener_tls(room, connection->listener) == NULL);
}

void connection_close_bye(struct room *room, struct connection *connection,
			  const struct hf_wire_bye *bye)
{
	if (connection->state >= CONNECTION_CLOSING)
		return;
	log_close(room, connection, bye);
	if (connection->state < CONNECTION_LOGIN && speaks_plain(room, connection))
		connection_dismiss(connection->fd, bye); /* it stands in the lobby, unread */
	if (connection->state < CONNECTION_LOGIN || !queue_bye(room, connection, bye)) {
		connection_abort(room, connection, bye->code);
		return;
	}
	drop_sessions(room, connection, bye->code, bye->reason);
	input_forget(room, connection);
	count_end(room, connection, bye->code);
	connection_set_state(room, connection, CONNECTION_CLOSING);
	if (expiry_push(&room->lingers, connection->handle, room_tick(room)) < 0)
		connection_abort(room, connection, bye->code);
	else
		flush_mark_dirty(room, connection);
}

static bool fits(const struct room *room, const struct connection *connection, size_t len)
{
	/* One frame always may wait, however large. */
	return output_empty(&connection->output) ||
	       output_bytes(&room->pool, &connection->output) + len <=
		       room->config->limits.send_queue;
}

bool connection_has_room(struct room *room, struct connection *connection, size_t len)
{
	if (connection->state >= CONNECTION_CLOSING)
		return false;
	if (fits(room, connection, len))
		return true;
	if (connection->flags & CONNECTION_BLOCKED)
		return false;
	/* This turn alone may have brought so much: the socket has not been asked yet. */
	flush_connection(room, connection);
	return connection->state < CONNECTION_CLOSING && fits(room, connection, len);
}

/* A TLS record that could not be written whole comes with the same bytes again. */
static size_t pinned_bytes(const struct connection *connection)
{
	return connection->tls != NULL && connection->flags & CONNECTION_BLOCKED ? TLS_RECORD_MAX
										 : 0;
}

uint64_t connection_collapse(struct room *room, struct connection *connection, uint64_t collapse)
{
	struct frame *frame =
		output_take(&room->pool, &connection->output, collapse, pinned_bytes(connection));
	uint64_t message_id = 0;

	if (frame != NULL) {
		message_id = frame->message_id;
		room->queued_bytes -= frame->len;
		++*room->metrics.collapsed;
	}
	frame_unref(frame);
	return message_id;
}

bool connection_send(struct room *room, struct connection *connection, struct frame *frame)
{
	if (!connection_has_room(room, connection, frame->len))
		return false;
	if (output_push(&room->pool, &connection->output, frame, pinned_bytes(connection)) < 0)
		return false;
	room->queued_bytes += frame->len;
	++*room->metrics.frames_out[frame->data[0] >> 3];
	flush_mark_dirty(room, connection);
	return true;
}

void connection_send_control(struct room *room, struct connection *connection, struct frame *frame)
{
	if (frame == NULL)
		connection_abort(room, connection, HF_CLOSE_INTERNAL_ERROR);
	else if (!connection_send(room, connection, frame))
		connection_close(room, connection, HF_CLOSE_SLOW_CONSUMER, "output queue full");
	frame_unref(frame);
}

void connection_turn_away(struct room *room, struct connection *connection,
			  enum reject_reason reason, uint32_t code)
{
	const struct hf_wire_bye bye = { .code = code,
					 .reason = hf_bytes_of_string(hf_close_name(code)) };

	++*room->metrics.rejected[reason];
	if (code == CONNECTION_ENDED_ERROR) {
		connection_abort(room, connection, code);
	} else if (speaks_plain(room, connection)) {
		connection_dismiss(connection->fd, &bye);
		connection_abort(room, connection, code);
	} else {
		connection->flags &= (uint8_t)~CONNECTION_IN_LOBBY;
		client_set_watch(room, connection); /* for its FIN */
		connection_close_bye(room, connection, &bye);
	}
}

int connection_new(struct room *room, int fd, hf_handle ip, uint8_t listener, bool waited)
{
	hf_handle handle;
	struct connection *connection = hf_slab_alloc(&room->connections, &handle);
	bool kept = true;
	int err;

	if (connection == NULL)
		return -ENOMEM;
	connection->fd = fd;
	connection->handle = handle;
	connection->ip = ip;
	connection->listener = listener;
	connection->opened = (uint32_t)room_age_ms(room);
	connection->last_heard = room_tick(room);
	connection->frames = connection->bytes = rate_ticks(room_age_ms(room));
	err = expiry_push(&room->handshakes, handle, connection->last_heard);
	if (err < 0) {
		hf_slab_free(&room->connections, handle);
		return err;
	}
	++*room->metrics.opened[0];
	++*room->metrics.connections[0];
	/* Its LOGIN is mostly there: listeners wait for the first bytes (TCP_DEFER_ACCEPT). */
	if (listener_tls(room, listener) != NULL)
		kept = client_set_add(room, connection);
	else if (lobby_is_open(room))
		reader_read(room, connection, waited);
	else
		kept = lobby_enter(room, connection);
	if (!kept)
		connection_turn_away(room, connection, REJECT_MEMORY, HF_CLOSE_OVERLOADED);
	return 0;
}

int connections_open(struct room *room)
{
	uint64_t most = room->config->limits.connections;
	uint32_t limit = (uint32_t)HF_MIN(most + most * room->config->linger.share / 100 + 1024,
					  (uint64_t)HF_SLAB_LIMIT_MAX);
	int err;

	hf_slab_init(&room->connections, sizeof(struct connection), limit);
	hf_slab_init(&room->sessions, sizeof(struct session), 0xffffff);
	pool_init(&room->pool);
	err = app_counts_init(&room->app_counts);
	if (err == 0)
		err = hf_table_init(&room->upstream_held);
	if (err < 0)
		return err;
	err = ticket_key_init(&room->ticket_key);
	if (err < 0)
		return err;
	err = ip_table_init(&room->ips, limit);
	if (err < 0)
		return err;
	room->read_buffer = malloc(READER_SIZE);
	room->pong = frame_new(hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
	if (room->read_buffer == NULL || room->pong == NULL)
		return -ENOMEM;
	lobby_open(room);
	err = client_set_open(room, reader_on_events);
	if (err < 0)
		return err;
	room->flush_hook = (struct hf_turn_hook){ .fn = flush_all, .ctx = room };
	hf_loop_add_hook(room->loop, &room->flush_hook);
	return 0;
}

void connections_abort_all(struct room *room, uint32_t code)
{
	uint32_t pos = 0;
	hf_handle handle;

	while ((handle = hf_slab_next(&room->connections, &pos, UINT32_MAX)) != 0)
		connection_abort(room, room_connection(room, handle), code);
}

void connections_close(struct room *room)
{
	connections_abort_all(room, HF_CLOSE_NORMAL);
	flush_all(room);
	if (room->flush_hook.fn != NULL)
		hf_loop_remove_hook(room->loop, &room->flush_hook);
	lobby_close(room);
	client_set_close(room);
	frame_unref(room->pong);
	free(room->read_buffer);
	expiry_deinit(&room->handshakes);
	expiry_deinit(&room->lingers);
	expiry_deinit(&room->cuts);
	ticket_key_deinit(&room->ticket_key);
	ip_table_deinit(&room->ips);
	app_counts_deinit(&room->app_counts);
	hf_table_deinit(&room->upstream_held);
	hf_slab_deinit(&room->sessions);
	hf_slab_deinit(&room->connections);
	pool_deinit(&room->pool);
}
