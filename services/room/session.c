#define HF_LOG_MODULE "room"
#include "session.h"

#include <errno.h>

#include "hf_log.h"
#include "room.h"
#include "window.h"

/* Names of a session: length of the registration, of the user id, then both. */
static size_t names_size(size_t registration_len, size_t user_id_len)
{
	return 2 + registration_len + user_id_len;
}

static pool_ref names_new(struct room *room, struct hf_bytes registration, struct hf_bytes user_id)
{
	pool_ref ref;
	uint8_t *block = pool_alloc(&room->pool, names_size(registration.len, user_id.len), &ref);

	if (block == NULL)
		return 0;
	block[0] = (uint8_t)registration.len;
	block[1] = (uint8_t)user_id.len;
	memcpy(block + 2, registration.data, registration.len);
	if (user_id.len > 0)
		memcpy(block + 2 + registration.len, user_id.data, user_id.len);
	return ref;
}

static void names_free(struct room *room, pool_ref ref)
{
	const uint8_t *block = pool_at(&room->pool, ref);

	pool_free(&room->pool, ref, names_size(block[0], block[1]));
}

struct hf_bytes session_registration(const struct room *room, const struct session *session)
{
	const uint8_t *block = pool_at(&room->pool, session->names);

	return hf_bytes_of(block + 2, block[0]);
}

struct hf_bytes session_user_id(const struct room *room, const struct session *session)
{
	const uint8_t *block = pool_at(&room->pool, session->names);

	return hf_bytes_of(block + 2 + block[0], block[1]);
}

int session_set_user_id(struct room *room, struct session *session, struct hf_bytes user_id)
{
	pool_ref names;

	if (hf_bytes_equal(session_user_id(room, session), user_id))
		return 0;
	names = names_new(room, session_registration(room, session), user_id);
	if (names == 0)
		return -ENOMEM;
	names_free(room, session->names);
	session->names = names;
	return 0;
}

struct hf_bytes session_tags(const struct room *room, const struct session *session)
{
	const uint8_t *block = pool_at(&room->pool, session->tags);

	return block == NULL ? hf_bytes_of(NULL, 0)
			     : hf_bytes_of(block + 2, (size_t)block[0] << 8 | block[1]);
}

int session_set_tags(struct room *room, struct session *session, struct hf_bytes packed)
{
	pool_ref tags = 0;

	if (packed.len > 0) {
		uint8_t *block = pool_alloc(&room->pool, 2 + packed.len, &tags);

		if (block == NULL)
			return -ENOMEM;
		block[0] = (uint8_t)(packed.len >> 8);
		block[1] = (uint8_t)packed.len;
		memcpy(block + 2, packed.data, packed.len);
	}
	pool_free(&room->pool, session->tags, 2 + session_tags(room, session).len);
	session->tags = tags;
	return 0;
}

static void slot_link(struct room *room, struct session *session)
{
	hf_handle *head = &room->slot_heads[session->slot];

	session->slot_next = *head;
	if (*head != 0)
		room_session(room, *head)->slot_prev = session->handle;
	*head = session->handle;
}

static void slot_unlink(struct room *room, struct session *session)
{
	if (session->slot_prev != 0)
		room_session(room, session->slot_prev)->slot_next = session->slot_next;
	else
		room->slot_heads[session->slot] = session->slot_next;
	if (session->slot_next != 0)
		room_session(room, session->slot_next)->slot_prev = session->slot_prev;
}

struct session *session_new(struct room *room, struct connection *connection, uint32_t app,
			    struct hf_bytes registration, struct hf_bytes user_id)
{
	hf_handle handle;
	struct session *session = hf_slab_alloc(&room->sessions, &handle);

	if (session == NULL)
		return NULL;
	session->names = names_new(room, registration, user_id);
	if (session->names == 0) {
		hf_slab_free(&room->sessions, handle);
		return NULL;
	}
	session->handle = handle;
	session->connection = connection->handle;
	session->app = app;
	session->epoch = hf_id_next(&room->service->ids, hf_loop_wall_ms(room->loop));
	session->slot = hf_service_slot(room->service, app, registration.data, registration.len);
	session->next_of_connection = connection->first_session;
	connection->first_session = handle;
	connection->session_count++;
	slot_link(room, session);
	return session;
}

struct session *session_of_app(const struct room *room, const struct connection *connection,
			       uint32_t app)
{
	struct session *session = room_session(room, connection->first_session);

	while (session != NULL && session->app != app)
		session = room_session(room, session->next_of_connection);
	return session;
}

static void connection_unlink(struct room *room, struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);
	hf_handle *at = &connection->first_session;

	while (*at != session->handle)
		at = &room_session(room, *at)->next_of_connection;
	*at = session->next_of_connection;
	connection->session_count--;
}

void session_drop(struct room *room, struct session *session)
{
	index_remove(room, session);
	connection_unlink(room, session);
	slot_unlink(room, session);
	window_free(&room->pool, &session->window);
	pool_free(&room->pool, session->tags, 2 + session_tags(room, session).len);
	names_free(room, session->names);
	hf_slab_free(&room->sessions, session->handle);
}

static struct frame *encode_end(uint32_t app, uint32_t code, struct hf_bytes reason, bool attaching)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	ssize_t len;

	if (attaching)
		len = hf_wire_encode_attach_ack(&(struct hf_wire_attach_result){ app, code,
										 reason },
						wire, sizeof(wire));
	else
		len = hf_wire_encode_detach(HF_WIRE_DETACH_ACK,
					    &(struct hf_wire_detach){ app, code, reason }, wire,
					    sizeof(wire));
	return len > 0 ? frame_new(wire, (size_t)len) : NULL;
}

void session_end(struct room *room, struct session *session, uint32_t code, struct hf_bytes reason)
{
	struct connection *connection = room_connection(room, session->connection);
	bool attaching = session->flags & SESSION_ATTACHING;
	uint32_t app = session->app;

	++*metrics_of_code(&room->metrics, room->metrics.sessions_ended, code);
	HF_DEBUG("session ended", "conn=%u app=%u rid=%s code=%u", connection->handle, app,
		 hf_log_quote(session_registration(room, session).data,
			      session_registration(room, session).len),
		 code);
	session_drop(room, session);
	if (connection->state == CONNECTION_JOINING) {
		login_session_refused(room, connection, app, code);
		return;
	}
	connection_send_control(room, connection, encode_end(app, code, reason, attaching));
	if (connection->first_session == 0)
		connection_close_bye(room, connection,
				     &(struct hf_wire_bye){ .code = code, .reason = reason });
}
