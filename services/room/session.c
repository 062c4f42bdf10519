#define HF_LOG_MODULE "room"
#include "session.h"

#include <errno.h>

#include "hf_log.h"
#include "room.h"
#include "window.h"

/* Names of a session, of one that has no tags without the last two:
 *
 *	registration's length | user id's | revision of the record, 2 bytes | registration | user id
 *	| tags' length, 2 bytes | tags, packed
 *
 * Of a revision the low half tells which of two is the newer; 0: none is known.
 */
#define NAMES_HEADER 4u

struct names {
	struct hf_bytes registration, user_id, tags;
	uint16_t revision;
};

static size_t names_size(const struct names *names)
{
	return NAMES_HEADER + names->registration.len + names->user_id.len +
	       (names->tags.len > 0 ? 2 + names->tags.len : 0);
}

static struct names names_of(const struct room *room, const struct session *session)
{
	const uint8_t *block = pool_at(&room->pool, session->names);
	struct names names = {
		.registration = { block + NAMES_HEADER, block[0] },
		.user_id = { block + NAMES_HEADER + block[0], block[1] },
	};
	const uint8_t *end = names.user_id.data + names.user_id.len;

	memcpy(&names.revision, block + 2, sizeof(names.revision));
	if (session->flags & SESSION_HAS_TAGS)
		names.tags = hf_bytes_of(end + 2, (size_t)end[0] << 8 | end[1]);
	return names;
}

static uint8_t *append(uint8_t *end, struct hf_bytes bytes)
{
	if (bytes.len > 0)
		memcpy(end, bytes.data, bytes.len);
	return end + bytes.len;
}

static void names_free(struct room *room, struct session *session)
{
	struct names names = names_of(room, session);

	pool_free(&room->pool, session->names, names_size(&names));
	session->names = 0;
}

/* In place of those it has, if any. 0 or -ENOMEM. */
static int names_set(struct room *room, struct session *session, const struct names *names)
{
	pool_ref ref;
	uint8_t *block = pool_alloc(&room->pool, names_size(names), &ref), *end;

	if (block == NULL)
		return -ENOMEM;
	block[0] = (uint8_t)names->registration.len;
	block[1] = (uint8_t)names->user_id.len;
	memcpy(block + 2, &names->revision, sizeof(names->revision));
	end = append(block + NAMES_HEADER, names->registration);
	end = append(end, names->user_id);
	if (names->tags.len > 0) {
		*end++ = (uint8_t)(names->tags.len >> 8);
		*end++ = (uint8_t)names->tags.len;
		append(end, names->tags);
	}
	if (session->names != 0)
		names_free(room, session);
	session->names = ref;
	session->flags &= (uint8_t)~SESSION_HAS_TAGS;
	if (names->tags.len > 0)
		session->flags |= SESSION_HAS_TAGS;
	return 0;
}

/* The same for a session that is counted already. */
static int names_change(struct room *room, struct session *session, const struct names *names)
{
	struct names old = names_of(room, session);
	bool had_user = old.user_id.len > 0, has_user = names->user_id.len > 0;
	uint8_t *block = pool_at(&room->pool, session->names);

	if (hf_bytes_equal(old.user_id, names->user_id) && hf_bytes_equal(old.tags, names->tags)) {
		memcpy(block + 2, &names->revision, sizeof(names->revision));
		return 0;
	}
	if (!hf_bytes_equal(old.user_id, names->user_id))
		events_user_changed(room, session, old.user_id, names->user_id);
	if (names_set(room, session, names) < 0)
		return -ENOMEM;
	if (had_user != has_user)
		app_counts_change_user(&room->app_counts, session->app, had_user, has_user);
	return 0;
}

struct hf_bytes session_registration(const struct room *room, const struct session *session)
{
	return names_of(room, session).registration;
}

struct hf_bytes session_user_id(const struct room *room, const struct session *session)
{
	return names_of(room, session).user_id;
}

struct hf_bytes session_tags(const struct room *room, const struct session *session)
{
	return names_of(room, session).tags;
}

int session_set_user_id(struct room *room, struct session *session, struct hf_bytes user_id)
{
	struct names names = names_of(room, session);

	names.user_id = user_id;
	return names_change(room, session, &names);
}

int session_set_tags(struct room *room, struct session *session, struct hf_bytes packed)
{
	struct names names = names_of(room, session);

	names.tags = packed;
	return names_change(room, session, &names);
}

/* Peers of ours say it, but nothing from outside is taken on trust. */
static bool is_record(const Hf__RegistrationRecord *record)
{
	if (record->user_id.len > HF_USER_ID_MAX || record->n_tags > HF_TAGS_MAX ||
	    record->bar_reason.len > HF_WIRE_REASON_MAX)
		return false;
	for (size_t i = 0; i < record->n_tags; i++) {
		if (record->tags[i].len == 0 || record->tags[i].len > HF_TAG_MAX)
			return false;
	}
	return true;
}

bool session_set_record(struct room *room, struct session *session,
			const Hf__RegistrationRecord *record)
{
	struct names names = names_of(room, session);
	uint8_t packed[HF_TAGS_PACKED_MAX];

	if (!is_record(record)) {
		HF_ERROR("not a record", "app=%u rid=%s", session->app,
			 hf_log_quote(names.registration.data, names.registration.len));
		return true;
	}
	if (names.revision != 0 && (int16_t)((uint16_t)record->revision - names.revision) < 0)
		return true;
	if (record->barred_until_ms > hf_loop_wall_ms(room->loop)) {
		session_end(room, session, HF_CLOSE_BANNED,
			    record->bar_reason.len > 0
				    ? hf_bytes_of(record->bar_reason.data, record->bar_reason.len)
				    : HF_BYTES_LITERAL("banned"));
		return false;
	}
	names.user_id = hf_bytes_of(record->user_id.data, record->user_id.len);
	names.tags = hf_bytes_of(packed, hf_tags_pack(record->tags, record->n_tags, packed));
	names.revision = (uint16_t)record->revision;
	if (names_change(room, session, &names) == 0)
		return true;
	delivery_out_of_memory(room, session);
	return false;
}

struct hf_profile session_profile(const struct room *room, const struct session *session)
{
	struct profile told = connection_profile(room, room_connection(room, session->connection));
	struct names names = names_of(room, session);

	return (struct hf_profile){ .app = session->app,
				    .registration = names.registration,
				    .platform = told.platform,
				    .sdk_version = told.sdk_version,
				    .tags = names.tags };
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
	const struct names names = { .registration = registration, .user_id = user_id };
	hf_handle handle;
	struct session *session = hf_slab_alloc(&room->sessions, &handle);

	if (session == NULL)
		return NULL;
	if (names_set(room, session, &names) < 0) {
		hf_slab_free(&room->sessions, handle);
		return NULL;
	}
	if (app_counts_add(&room->app_counts, app, connection_profile(room, connection).platform,
			   user_id.len > 0) < 0) {
		names_free(room, session);
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

void session_note(struct room *room, const struct session *session, enum hf_why_outcome outcome,
		  uint64_t message_id, uint64_t detail)
{
	struct hf_bytes registration = session_registration(room, session);

	hf_why_note_name(&room->service->why, outcome, session->app, registration.data,
			 registration.len, message_id, detail);
}

void session_drop(struct room *room, struct session *session)
{
	struct connection *connection = room_connection(room, session->connection);

	index_remove(room, session);
	upstream_session_gone(room, session);
	app_counts_remove(&room->app_counts, session->app,
			  connection_profile(room, connection).platform,
			  session_user_id(room, session).len > 0);
	connection_unlink(room, session);
	slot_unlink(room, session);
	linger_forget(room, session);
	window_free(&room->pool, &session->window);
	names_free(room, session);
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

bool session_is_cut(const struct room *room, const struct session *session)
{
	return room_connection(room, session->connection)->state == CONNECTION_CUT;
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
	session_note(room, session, HF_WHY_CLOSED, 0, code);
	events_session_closed(room, session, code, reason);
	session_drop(room, session);
	if (connection->state == CONNECTION_CUT) { /* the client will hear of it when it is back */
		if (connection->first_session == 0)
			connection_abort(room, connection, code);
		return;
	}
	if (connection->state == CONNECTION_JOINING) {
		login_session_refused(room, connection, app, code);
		return;
	}
	connection_send_control(room, connection, encode_end(app, code, reason, attaching));
	if (connection->first_session == 0)
		connection_close_bye(room, connection,
				     &(struct hf_wire_bye){ .code = code, .reason = reason });
}
