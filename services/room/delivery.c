/* Pages of what saver holds for a session, and when to ask for one.
 *
 * A stored message counts into the session's window until it is acked. When the window is full the
 * rest stays in saver, and the window's mark remembers where it begins; once acks have made room,
 * pages are loaded from there. A login is the same with the mark at the very beginning. */
#define HF_LOG_MODULE "delivery"
#include <errno.h>
#include <stdlib.h>

#include "hf_backoff.h"
#include "hf_hash.h"
#include "hf_id.h"
#include "hf_log.h"
#include "room.h"
#include "window.h"

#define LOAD_TIMEOUT_MS   5000
#define LOAD_COUNT_MAX    1000u
#define SMALL_OUTPUT      4096u  /* bytes queued that do not hold a page back */
#define QUARANTINE_MAX_MS 30000u /* an ack of something newer opens the queue before its time */

/* One session's page: asked for, or to be asked for again after a while. */
struct page_load {
	struct page_load *next, **prev;
	struct room *room;
	struct loads_lane *lane;
	uint64_t epoch, after;
	hf_handle session;
	struct hf_timer timer;
};

static void load_free(struct page_load *load)
{
	hf_wheel_disarm(&load->timer);
	*load->prev = load->next;
	if (load->next != NULL)
		load->next->prev = load->prev;
	free(load);
}

/* The session it was for; NULL when that is over. */
static struct session *session_of(const struct page_load *load)
{
	struct session *session = room_session(load->room, load->session);

	return session != NULL && session->epoch == load->epoch ? session : NULL;
}

void delivery_out_of_memory(struct room *room, const struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);

	if (connection->state == CONNECTION_CUT)
		connection_abort(room, connection, HF_CLOSE_INTERNAL_ERROR);
	else
		connection_close(room, connection, HF_CLOSE_INTERNAL_ERROR, "out of memory");
}

bool delivery_fall_behind(struct room *room, struct session *session, uint64_t after)
{
	if (window_fall_behind(&room->pool, &session->window, after) == 0)
		return true;
	delivery_out_of_memory(room, session);
	return false;
}

void delivery_continue(struct room *room, struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);
	uint32_t unacked = window_count(&room->pool, session->window);

	if (connection->state != CONNECTION_ACTIVE ||
	    session->flags & (SESSION_LOADING | SESSION_JOINING) ||
	    window_after(&room->pool, session->window) == WINDOW_UP_TO_DATE ||
	    (unacked > 0 && 2 * unacked >= room->config->limits.unacked))
		return;
	/* A client that reads slowly gets its pages as it reads, and is not cut for our haste. */
	if (connection->flags & CONNECTION_BLOCKED ||
	    output_bytes(&room->pool, &connection->output) > SMALL_OUTPUT) {
		connection->flags |= CONNECTION_LOAD_WAITS;
		return;
	}
	session->flags |= SESSION_LOADING;
	if (!loads_add(room, session))
		delivery_out_of_memory(room, session);
}

void delivery_login(struct room *room, struct session *session)
{
	session->flags |= SESSION_LOGIN_LOAD;
	session_note(room, session, HF_WHY_LOGIN, 0, 0);
	if (delivery_fall_behind(room, session, 0))
		delivery_continue(room, session);
}

static void on_loaded(const Hf__LoadReply *reply, void *ctx);

static ProtobufCBinaryData binary(struct hf_bytes bytes)
{
	return (ProtobufCBinaryData){ bytes.len, (uint8_t *)(uintptr_t)bytes.data };
}

/* With a login: what the registry shall know of the registration. `tags` borrow from the session.
 */
static void fill_profile(const struct room *room, const struct session *session,
			 ProtobufCBinaryData tags[HF_TAGS_MAX], Hf__Profile *profile)
{
	struct profile told = connection_profile(room, room_connection(room, session->connection));
	struct hf_bytes user_id = session_user_id(room, session);
	struct hf_bytes packed = session_tags(room, session);

	hf__profile__init(profile);
	profile->user_id = binary(user_id);
	profile->platform = binary(told.platform);
	profile->sdk_version = binary(told.sdk_version);
	profile->tags = tags;
	for (size_t pos = 0; pos < packed.len; pos += 1u + packed.data[pos])
		tags[profile->n_tags++] =
			binary(hf_bytes_of(packed.data + pos + 1, packed.data[pos]));
}

static void call_saver(struct page_load *load, struct session *session)
{
	struct room *room = load->room;
	struct hf_bytes registration = session_registration(room, session);
	uint32_t unacked = window_count(&room->pool, session->window);
	uint32_t most = (uint32_t)room->config->limits.unacked;
	Hf__LoadRequest request = HF__LOAD_REQUEST__INIT;
	ProtobufCBinaryData tags[HF_TAGS_MAX];
	Hf__Profile profile;

	load->after = window_after(&room->pool, session->window);
	window_catch_up(&room->pool, &session->window);
	request.app = session->app;
	request.registration = binary(registration);
	request.after = load->after;
	request.max_count = HF_MIN(most > unacked ? most - unacked : 1, LOAD_COUNT_MAX);
	request.max_bytes = (uint32_t)(room->config->limits.send_queue / 2);
	request.epoch = session->epoch;
	request.login = session->flags & SESSION_LOGIN_LOAD;
	if (request.login) {
		fill_profile(room, session, tags, &profile);
		request.profile = &profile;
	}
	hf__saver__load(hf_peers_call(room->savers, hf_peers_by_slot(room->savers, session->slot),
				      LOAD_TIMEOUT_MS),
			&request, on_loaded, load);
}

/* Into the line again, now. */
static void again(struct page_load *load)
{
	struct session *session = session_of(load);

	if (session != NULL && !loads_add(load->room, session))
		delivery_out_of_memory(load->room, session);
	load_free(load);
}

static void on_retry(struct hf_timer *timer, void *ctx)
{
	again(ctx);
}

static void again_in(struct page_load *load, struct session *session, uint64_t delay_ms)
{
	if (delivery_fall_behind(load->room, session, load->after))
		hf_loop_arm(load->room->loop, &load->timer, delay_ms);
	else
		load_free(load);
}

/* `too_much` for saver: it comes again as soon as saver can do more, without a time of its own. */
static void load_failed(struct page_load *load, struct session *session, bool too_much)
{
	static struct hf_log_throttle throttle;
	struct room *room = load->room;
	struct hf_backoff backoff = { .base_ms = 200,
				      .cap_ms = 10000,
				      .attempts = session->load_attempts };

	++*(too_much ? room->metrics.loads_overloaded : room->metrics.loads_failed);
	if (hf_log_throttle_pass(&throttle, 5000))
		HF_WARN("saver load failed", "status=%s reason=%s",
			hf_rpc_status_name(hf_rpc_last_status()), hf_rpc_last_reason());
	if (!too_much && session->load_attempts < SESSION_LOAD_ATTEMPTS_MAX)
		session->load_attempts++;
	if (!(session->flags & SESSION_LOADED)) {
		hf_handle handle = session->handle;

		upstream_session_unknown(room, session);
		if (room_session(room, handle) ==
		    NULL) { /* the client could not take the answers */
			load_free(load);
			return;
		}
	}
	if (!too_much)
		again_in(load, session, 20 + hf_backoff_next_ms(&backoff));
	else if (delivery_fall_behind(room, session, load->after))
		again(load);
	else
		load_free(load);
}

static void quarantined(struct page_load *load, struct session *session, uint64_t until_ms)
{
	uint64_t now_ms = hf_loop_wall_ms(load->room->loop);
	uint64_t delay_ms = until_ms > now_ms ? until_ms - now_ms : 0;

	++*load->room->metrics.loads_quarantined;
	again_in(load, session, HF_MIN(delay_ms, QUARANTINE_MAX_MS) + 100 + hf_random_below(1000));
}

static void tell_lost(struct room *room, const struct session *session, uint32_t count)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	ssize_t len = hf_wire_encode_command(
		&(struct hf_wire_command){ .kind = HF_WIRE_COMMAND_MESSAGES_LOST,
					   .app = session->app,
					   .count = count },
		wire, sizeof(wire));

	connection_send_control(room, room_connection(room, session->connection),
				len > 0 ? frame_new(wire, (size_t)len) : NULL);
}

/* This message and what follows it must be loaded again. */
static bool stop_page(struct room *room, struct session *session, const Hf__LoadedMessage *message)
{
	delivery_fall_behind(room, session, message->message_id - 1);
	return false;
}

/* Store comes before push: what a page brings so soon, center may be about to push. Even when it is
 * acked by then, it must not be written twice. */
static void note_fresh(struct room *room, struct session *session)
{
	struct window *window = pool_at(&room->pool, session->window);

	session->flags |= SESSION_FRESH_PAGE;
	window->fresh_since = room_tick(room);
	room_connection(room, session->connection)->flags |= CONNECTION_CHECK_WINDOWS;
}

static bool write_loaded(struct room *room, struct session *session,
			 const Hf__LoadedMessage *message, struct frame *frame)
{
	struct connection *connection = room_connection(room, session->connection);

	delivery_collapse(room, session, frame);
	if (window_count(&room->pool, session->window) >= room->config->limits.unacked)
		return stop_page(room, session, message);
	if (!connection_has_room(room, connection, frame->len)) {
		if (connection->state == CONNECTION_ACTIVE)
			connection->flags |= CONNECTION_LOAD_WAITS;
		if (connection->state == CONNECTION_ACTIVE || connection->state == CONNECTION_CUT)
			stop_page(room, session, message);
		return false;
	}
	if (!delivery_write(room, connection, frame))
		return connection->state == CONNECTION_CUT && stop_page(room, session, message);
	if (!delivery_remember(room, session, frame))
		return false;
	events_message_written(room, session, message->message_id, message->delivery);
	return true;
}

/* One message of a page. False: stop here, either as the window is full, or as the session is gone.
 */
static bool deliver_loaded(struct room *room, struct session *session,
			   const Hf__LoadedMessage *message)
{
	struct frame *frame;
	bool written;

	if (window_has(&room->pool, session->window, message->message_id) ||
	    window_was_acked(&room->pool, session->window, message->message_id))
		return true;
	if (message->expires_ms != 0 && message->expires_ms <= hf_loop_wall_ms(room->loop)) {
		++*room->metrics.dropped[DROP_EXPIRED];
		session_note(room, session, HF_WHY_DROPPED_EXPIRED, message->message_id, 0);
		return true;
	}
	if (message->frame.len < 2 || message->frame.data[0] != HF_WIRE_PUSH << 3) {
		HF_ERROR("not a message", "from=saver app=%u id=%llu", session->app,
			 (unsigned long long)message->message_id);
		return true;
	}
	frame = delivery_frame(session->app, message->message_id, &message->frame,
			       message->delivery);
	if (frame == NULL) {
		delivery_out_of_memory(room, session);
		return false;
	}
	frame->expires_ms = message->expires_ms;
	written = write_loaded(room, session, message, frame);
	frame_unref(frame);
	if (!written)
		return false;
	if (hf_id_wall_ms(message->message_id) + DELIVERY_FRESH_MS > hf_loop_wall_ms(room->loop))
		note_fresh(room, session);
	++*room->metrics.written_offline;
	session_note(room, session, HF_WHY_LOADED_WRITTEN, message->message_id, 0);
	return true;
}

static void deliver_page(struct room *room, hf_handle handle, const Hf__LoadReply *reply)
{
	struct session *session = room_session(room, handle);
	bool whole = true;

	if (reply->lost > 0)
		tell_lost(room, session, reply->lost);
	for (size_t i = 0; whole && i < reply->n_messages; i++) {
		session = room_session(room, handle); /* gone when the client had to be cut */
		whole = session != NULL && deliver_loaded(room, session, reply->messages[i]);
	}
	session = room_session(room, handle);
	if (session == NULL)
		return;
	if (!(session->flags & SESSION_FRESH_PAGE))
		window_forget_acked(&room->pool, &session->window);
	if (whole && reply->more && reply->n_messages > 0 &&
	    !delivery_fall_behind(room, session,
				  reply->messages[reply->n_messages - 1]->message_id))
		return;
	delivery_continue(room, session);
}

/* Is this page of no use, as the client is away? An empty one is taken all the same: with it the
 * login is complete. */
static bool comes_too_late(const struct room *room, const struct session *session,
			   const Hf__LoadReply *reply)
{
	return (reply->n_messages > 0 || reply->lost > 0) && session_is_cut(room, session);
}

/* What comes with the answer to a login load, beside messages. False: the session is gone. */
static bool take_record(struct room *room, struct session *session, const Hf__LoadReply *reply)
{
	hf_handle handle = session->handle;

	if (!(session->flags & SESSION_LOGIN_LOAD))
		return true;
	if (reply->record != NULL && !session_set_record(room, session, reply->record))
		return false;
	session->log_version = reply->log_version;
	session->flags |= SESSION_LOADED;
	upstream_session_loaded(room, session);
	return room_session(room, handle) != NULL;
}

static enum flow_answer answer_of(const Hf__LoadReply *reply)
{
	enum hf_rpc_status status = hf_rpc_last_status();

	if (reply != NULL)
		return FLOW_GOOD;
	return status == HF_RPC_OVERLOADED || status == HF_RPC_DEADLINE ? FLOW_TOO_MUCH
									: FLOW_OTHER;
}

static void on_loaded(const Hf__LoadReply *reply, void *ctx)
{
	struct page_load *load = ctx;
	struct room *room = load->room;
	struct session *session = session_of(load);
	hf_handle handle = load->session;
	uint64_t after = load->after;
	bool login = session != NULL && session->flags & SESSION_LOGIN_LOAD;
	enum flow_answer answer = answer_of(reply);

	loads_ended(room, load->lane, answer);
	if (session != NULL && reply != NULL && comes_too_late(room, session, reply)) {
		/* Nobody is there to read it: the same page again, if the client comes back. */
		session->flags &= (uint8_t)~SESSION_LOADING;
		(void)delivery_fall_behind(room, session, after);
		load_free(load);
	} else if (session == NULL || (reply != NULL && !take_record(room, session, reply))) {
		load_free(load);
	} else if (reply == NULL) {
		load_failed(load, session, answer == FLOW_TOO_MUCH);
	} else if (reply->quarantined) {
		quarantined(load, session, reply->quarantined_until_ms);
	} else {
		++*room->metrics.loads_ok;
		session->flags &= (uint8_t) ~(SESSION_LOADING | SESSION_LOGIN_LOAD);
		session->load_attempts = 0;
		load_free(load);
		deliver_page(room, handle, reply);
		broadcasts_on_page(room, handle, login, after, reply);
	}
}

void delivery_load(struct room *room, struct session *session, struct loads_lane *lane)
{
	struct page_load *load = malloc(sizeof(*load));

	if (load == NULL) {
		loads_ended(room, lane, FLOW_OTHER);
		delivery_out_of_memory(room, session);
		return;
	}
	*load = (struct page_load){ .room = room,
				    .lane = lane,
				    .epoch = session->epoch,
				    .session = session->handle,
				    .next = room->page_loads,
				    .prev = &room->page_loads };
	if (load->next != NULL)
		load->next->prev = &load->next;
	room->page_loads = load;
	hf_timer_init(&load->timer, on_retry, load);
	call_saver(load, session);
}

void delivery_close(struct room *room)
{
	while (room->page_loads != NULL)
		load_free(room->page_loads);
}
