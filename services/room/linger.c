/* Flash cut: the sessions of a connection that died stay where they are for linger.time.
 *
 * The record loses its socket and becomes CUT; register and saver are not told. What was sent and
 * not acked lies in the windows of the sessions with its frame, and what is pushed meanwhile is
 * added there. A client that shows its ticket within that time gets all of it again, in place: the
 * sessions are hung onto its new connection and keep their handles and epochs. When the time is
 * over the sessions end as they would have at the cut. No message depends on any of this: until it
 * is acked saver owes it, and what finds no place here is loaded from there.
 *
 * A frame is kept as a reference. `frame->kept` tells how many windows have one, so that what the
 * room keeps is counted once however many clients wait for it. */
#define HF_LOG_MODULE "linger"
#include "hf_id.h"
#include "hf_log.h"
#include "room.h"
#include "window.h"

#define ENDS_PER_TICK 2000 /* of connections whose time is over */

struct frame *linger_keep(struct room *room, const struct session *session, struct frame *frame)
{
	const struct room_config *config = room->config;

	if (config->linger.time_ms == 0 ||
	    window_kept_bytes(&room->pool, session->window) + (uint64_t)frame->len >
		    config->linger.session_bytes)
		return NULL;
	if (frame->kept == 0) {
		if (room->kept_bytes + frame->len > config->linger.memory)
			return NULL;
		room->kept_bytes += frame->len;
	}
	frame->kept++;
	return frame_ref(frame);
}

void linger_release(struct room *room, struct frame *frame)
{
	if (frame == NULL)
		return;
	if (--frame->kept == 0)
		room->kept_bytes -= frame->len;
	frame_unref(frame);
}

void linger_forget(struct room *room, struct session *session)
{
	struct window_entry entries[WINDOW_MAX];
	uint32_t parked, count = window_take(&room->pool, &session->window, entries, &parked);

	for (uint32_t i = 0; i < count; i++)
		linger_release(room, entries[i].frame);
}

static bool has_place(const struct room *room)
{
	return room->cut_count < room->connection_limit * room->config->linger.share / 100;
}

bool linger_begin(struct room *room, struct connection *connection, uint32_t code)
{
	if (connection->state != CONNECTION_ACTIVE || connection->first_session == 0 ||
	    room->config->linger.time_ms == 0 || room_is_draining(room))
		return false;
	if (!has_place(room)) {
		++*room->metrics.lingers[LINGER_NO_PLACE];
		return false;
	}
	if (expiry_push(&room->cuts, connection->handle, room_tick(room)) < 0)
		return false;
	++*room->metrics.lingers[LINGER_BEGUN];
	HF_DEBUG("lingering", "conn=%u sessions=%u", connection->handle, connection->session_count);
	connection_cut(room, connection, code);
	return true;
}

void linger_expire(struct room *room)
{
	uint32_t time = room_ticks_of(room->config->linger.time_ms), tick = room_tick(room);
	hf_handle handle;

	for (unsigned i = 0;
	     i < ENDS_PER_TICK && (handle = expiry_pop(&room->cuts, tick, time)) != 0; i++) {
		struct connection *connection = room_connection(room, handle);

		if (connection == NULL || connection->state != CONNECTION_CUT)
			continue; /* resumed */
		++*room->metrics.lingers[LINGER_OVER];
		connection_abort(room, connection, connection->cut_code);
	}
}

static Hf__PushResult defer(struct room *room, struct session *session, bool stored,
			    const struct frame *frame)
{
	if (!stored) {
		++*room->metrics.dropped[DROP_QUEUE_FULL];
		session_note(room, session, HF_WHY_DROPPED, frame->message_id, 0);
		return HF__PUSH_RESULT__DROPPED;
	}
	return delivery_fall_behind(room, session, frame->message_id - 1)
		       ? HF__PUSH_RESULT__DEFERRED
		       : HF__PUSH_RESULT__GONE;
}

/* The answer is DEFERRED: nobody has it yet, and center need not look further. */
Hf__PushResult linger_park(struct room *room, struct session *session, bool stored,
			   struct frame *frame)
{
	bool behind = session->flags & SESSION_LOADING ||
		      window_after(&room->pool, session->window) != WINDOW_UP_TO_DATE;
	struct frame *kept;

	if (window_has(&room->pool, session->window, frame->message_id) ||
	    window_was_acked(&room->pool, session->window, frame->message_id))
		return HF__PUSH_RESULT__IN_FLIGHT;
	if (frame->collapse != 0)
		linger_release(room, window_unpark(&room->pool, &session->window, frame->collapse));
	/* Who is behind loads from saver when it is back, and this one comes with the rest. */
	if ((behind && stored) ||
	    window_count(&room->pool, session->window) >= room->config->limits.unacked)
		return defer(room, session, stored, frame);
	kept = linger_keep(room, session, frame);
	if (kept == NULL)
		return defer(room, session, stored, frame);
	if (window_park(&room->pool, &session->window, frame->message_id, kept) < 0) {
		linger_release(room, kept);
		return defer(room, session, stored, frame);
	}
	frame->transient = !stored;
	++*room->metrics.parked;
	return HF__PUSH_RESULT__DEFERRED;
}

static bool same_sessions(const struct room *room, const struct connection *connection,
			  const struct hf_wire_login *login)
{
	if (connection->session_count != login->session_count)
		return false;
	for (size_t i = 0; i < login->session_count; i++) {
		const struct session *session =
			session_of_app(room, connection, login->sessions[i].app);

		if (session == NULL || session->flags & (SESSION_JOINING | SESSION_ATTACHING) ||
		    !hf_bytes_equal(session_registration(room, session),
				    login->sessions[i].registration))
			return false;
	}
	return true;
}

static enum resume_result find(const struct room *room, const struct hf_wire_login *login,
			       struct connection **ret_connection)
{
	struct connection *connection;
	struct profile profile;
	hf_handle handle;
	uint32_t since;

	if (ticket_read(&room->ticket_key, login->ticket, &handle, &since) < 0)
		return RESUME_UNKNOWN;
	connection = room_connection(room, handle);
	if (connection == NULL || connection->opened != since ||
	    (connection->state != CONNECTION_ACTIVE && connection->state != CONNECTION_CUT))
		return RESUME_EXPIRED;
	profile = connection_profile(room, connection);
	if (!hf_bytes_equal(profile.device, login->device))
		return RESUME_FOREIGN;
	if (!hf_bytes_equal(profile.platform, login->platform) ||
	    !hf_bytes_equal(profile.sdk_version, login->sdk_version) ||
	    !same_sessions(room, connection, login))
		return RESUME_CHANGED;
	*ret_connection = connection;
	return RESUME_DONE;
}

struct connection *linger_find(struct room *room, const struct hf_wire_login *login)
{
	struct connection *connection = NULL;
	enum resume_result result;

	if (login->ticket.len == 0 || room->config->linger.time_ms == 0)
		return NULL;
	result = find(room, login, &connection);
	if (result != RESUME_DONE)
		++*room->metrics.resumes[result];
	return connection;
}

void linger_take_over(struct room *room, struct connection *connection, struct connection *old)
{
	hf_handle next = old->first_session;

	++*room->metrics.resumes[RESUME_DONE];
	if (old->state == CONNECTION_ACTIVE) /* the client has seen the cut before us */
		connection_cut(room, old, HF_CLOSE_REPLACED);
	connection->first_session = next;
	connection->session_count = old->session_count;
	old->first_session = 0;
	old->session_count = 0;
	while (next != 0) {
		struct session *session = room_session(room, next);

		session->connection = connection->handle;
		session_note(room, session, HF_WHY_RESUMED, 0, 0);
		next = session->next_of_connection;
	}
	connection_abort(room, old, CONNECTION_ENDED_EOF);
}

static void count_written(struct room *room, const struct window_entry *entry, bool parked)
{
	uint64_t wall_ms = hf_loop_wall_ms(room->loop), accepted_ms = hf_id_wall_ms(entry->id);

	if (!parked) {
		++*room->metrics.resent;
		return;
	}
	++*room->metrics.written_online;
	hf_histogram_record(room->metrics.accept_to_write,
			    wall_ms > accepted_ms ? wall_ms - accepted_ms : 0);
}

/* Back into the window. False: the session is gone, for want of memory. */
static bool put_back(struct room *room, struct session *session, const struct window_entry *entry,
		     bool parked)
{
	int err = parked ? window_park(&room->pool, &session->window, entry->id, entry->frame)
			 : window_add(&room->pool, &session->window, entry->id, entry->frame);

	if (err == 0)
		return true;
	linger_release(room, entry->frame);
	delivery_out_of_memory(room, session);
	return false;
}

/* This one will be loaded, or, as nobody stores it, is lost. */
static void leave_to_saver(struct room *room, struct session *session,
			   const struct window_entry *entry)
{
	if (entry->frame != NULL && entry->frame->transient)
		++*room->metrics.dropped[DROP_QUEUE_FULL];
	else
		(void)delivery_fall_behind(room, session, entry->id - 1);
	linger_release(room, entry->frame);
}

static void send_one(struct room *room, struct session *session, const struct window_entry *entry,
		     bool parked)
{
	struct connection *connection = room_connection(room, session->connection);
	hf_handle handle = session->handle;
	struct frame *frame = entry->frame;

	if (frame == NULL) {
		leave_to_saver(room, session, entry);
	} else if (frame->expires_ms != 0 && frame->expires_ms <= hf_loop_wall_ms(room->loop)) {
		++*room->metrics.dropped[DROP_EXPIRED];
		linger_release(room, frame);
	} else if (connection_send(room, connection, frame)) {
		count_written(room, entry, parked);
		session_note(room, session, HF_WHY_RESENT, entry->id, 0);
		if (frame->transient)
			linger_release(room, frame);
		else
			(void)put_back(room, session, entry, false);
	} else if (room_session(room, handle) == NULL) {
		linger_release(room, frame); /* the client was cut once more, and for good */
	} else if (connection->state == CONNECTION_CUT) {
		(void)put_back(room, session, entry, parked);
	} else {
		leave_to_saver(room, session, entry);
	}
}

void linger_resend(struct room *room, struct session *session)
{
	struct window_entry entries[WINDOW_MAX];
	struct connection *connection = room_connection(room, session->connection);
	uint32_t parked, count = window_take(&room->pool, &session->window, entries, &parked);
	hf_handle handle = session->handle;
	struct window *window;

	for (uint32_t i = 0; i < count; i++) {
		session = room_session(room, handle);
		if (session != NULL)
			send_one(room, session, &entries[i], i >= count - parked);
		else
			linger_release(room, entries[i].frame);
	}
	session = room_session(room, handle);
	window = session == NULL ? NULL : pool_at(&room->pool, session->window);
	if (window != NULL) { /* the clocks of a full window and of acked ids go on */
		window->full_since = room_tick(room);
		connection->flags |= CONNECTION_CHECK_WINDOWS;
	}
	if (session != NULL)
		delivery_continue(room, session);
}
