/* Register.Update: the sessions of a turn, one call for each owner. See index.h. */
#define HF_LOG_MODULE "index"
#include "index.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"

#define UPDATE_MAX 512 /* sessions of each kind in one call */

struct added {
	uint64_t epoch;
	hf_handle handle;
	uint16_t slot;
};

struct removed {
	uint64_t epoch;
	hf_handle handle;
	uint32_t app;
	uint16_t slot;
	uint8_t registration_len;
	uint8_t registration[HF_REGISTRATION_MAX];
};

struct update {
	struct room *room;
	struct index_link *link;
	size_t added_count, removed_count, removed_capacity;
	struct added added[UPDATE_MAX];
	struct removed *removed;
};

struct index_link *index_link_of(struct room *room, uint16_t slot)
{
	struct hf_peer *peer = hf_peers_by_slot(room->registers, slot);

	return peer == NULL ? NULL : peer->user;
}

void index_call_done(struct room *room, struct index_link *link)
{
	room->index->calls--;
	if (--link->calls == 0 && link->gone)
		free(link);
}

static void update_free(struct update *update)
{
	if (update != NULL)
		free(update->removed);
	free(update);
}

/* Nobody knows what became of it: Sync will tell these slots again. Logins go on. */
static void update_failed(struct room *room, const struct update *update)
{
	for (size_t i = 0; i < update->removed_count; i++)
		sync_mark(room, update->removed[i].slot);
	for (size_t i = 0; i < update->added_count; i++)
		sync_mark(room, update->added[i].slot);
	for (size_t i = 0; i < update->added_count; i++) {
		struct session *session = room_session(room, update->added[i].handle);

		if (session != NULL && session->epoch == update->added[i].epoch &&
		    session->flags & SESSION_JOINING)
			login_session_known(room, session);
	}
	sync_later(room);
}

static void on_added(struct room *room, const struct added *added, Hf__AddResult result)
{
	struct session *session = room_session(room, added->handle);

	if (result == HF__ADD_RESULT__NOT_OWNER) {
		sync_mark(room, added->slot);
		sync_later(room);
	}
	if (session == NULL || session->epoch != added->epoch)
		return;
	if (result == HF__ADD_RESULT__STALE) {
		++*room->metrics.stale_sessions;
		session_end(room, session, HF_CLOSE_REPLACED, HF_BYTES_LITERAL("replaced"));
	} else if (result == HF__ADD_RESULT__THROTTLED) {
		session_end(room, session, HF_CLOSE_RATE_LIMITED,
			    HF_BYTES_LITERAL("another client holds this registration"));
	} else if (session->flags & SESSION_JOINING) {
		login_session_known(room, session);
	}
}

static void on_updated(const Hf__UpdateReply *reply, void *ctx)
{
	static struct hf_log_throttle throttle;
	struct update *update = ctx;
	struct room *room = update->room;

	index_call_done(room, update->link);
	if (room->index->closing) {
		update_free(update);
		return;
	}
	if (reply != NULL && reply->n_added == update->added_count) {
		++*room->metrics.updates_ok;
		for (size_t i = 0; i < update->added_count; i++)
			on_added(room, &update->added[i], reply->added[i]);
	} else {
		++*room->metrics.updates_failed;
		if (hf_log_throttle_pass(&throttle, 5000))
			HF_WARN("register update failed", "status=%s reason=%s",
				hf_rpc_status_name(hf_rpc_last_status()), hf_rpc_last_reason());
		update_failed(room, update);
	}
	update_free(update);
}

/* Sessions that ended since they were added need not be told; their removal follows. */
static size_t build_added(const struct room *room, struct update *update, Hf__Session *ret)
{
	size_t count = 0;

	for (size_t i = 0; i < update->added_count; i++) {
		const struct added *added = &update->added[i];
		const struct session *session = room_session(room, added->handle);

		if (session == NULL || session->epoch != added->epoch)
			continue;
		update->added[count] = *added;
		sync_build_session(room, session, &ret[count++]);
	}
	update->added_count = count;
	return count;
}

static void send_update(struct room *room, struct index_link *link)
{
	static Hf__Session sessions[2 * UPDATE_MAX];
	static Hf__Session *pointers[2 * UPDATE_MAX];
	struct update *update = link->open;
	Hf__UpdateRequest request = HF__UPDATE_REQUEST__INIT;

	link->open = NULL;
	request.room = room->service->instance.number;
	request.incarnation = room->service->instance.incarnation;
	request.n_added = build_added(room, update, sessions);
	request.n_removed = update->removed_count;
	for (size_t i = 0; i < update->removed_count; i++) {
		struct removed *removed = &update->removed[i];
		Hf__Session *session = &sessions[request.n_added + i];

		*session = (Hf__Session)HF__SESSION__INIT;
		session->app = removed->app;
		session->registration =
			(ProtobufCBinaryData){ removed->registration_len, removed->registration };
		session->epoch = removed->epoch;
		session->session = removed->handle;
	}
	for (size_t i = 0; i < request.n_added + request.n_removed; i++)
		pointers[i] = &sessions[i];
	request.added = pointers;
	request.removed = pointers + request.n_added;
	link->calls++;
	room->index->calls++;
	hf__register__update(hf_peers_call(room->registers, link->peer,
					   (uint32_t)room->config->limits.register_timeout_ms),
			     &request, on_updated, update);
}

static void on_turn_end(void *ctx)
{
	struct room *room = ctx;
	struct hf_peer *peer = hf_peers_first(room->registers);

	for (; peer != NULL; peer = peer->next) {
		struct index_link *link = peer->user;

		if (link != NULL && link->open != NULL)
			send_update(room, link);
	}
}

static struct update *open_update(struct room *room, struct index_link *link)
{
	struct update *update = link->open;

	if (update != NULL &&
	    (update->added_count == UPDATE_MAX || update->removed_count == UPDATE_MAX)) {
		send_update(room, link);
		update = NULL;
	}
	if (update == NULL) {
		update = malloc(sizeof(*update));
		if (update == NULL)
			return NULL;
		update->room = room;
		update->link = link;
		update->added_count = update->removed_count = update->removed_capacity = 0;
		update->removed = NULL;
		link->open = update;
		hf_task_schedule(room->loop, &room->index->update_task);
	}
	return update;
}

/* The next removal's place; NULL out of memory. */
static struct removed *next_removed(struct update *update)
{
	if (update->removed_count == update->removed_capacity) {
		size_t capacity = HF_MAX((size_t)16, 2 * update->removed_capacity);
		struct removed *removed = realloc(update->removed, capacity * sizeof(*removed));

		if (removed == NULL)
			return NULL;
		update->removed = removed;
		update->removed_capacity = capacity;
	}
	return &update->removed[update->removed_count++];
}

bool index_add(struct room *room, struct session *session)
{
	struct index_link *link = index_link_of(room, session->slot);
	struct update *update = link == NULL ? NULL : open_update(room, link);

	if (update == NULL) {
		sync_mark(room, session->slot);
		sync_later(room);
		return false;
	}
	update->added[update->added_count++] = (struct added){ .epoch = session->epoch,
							       .handle = session->handle,
							       .slot = session->slot };
	return true;
}

void index_remove(struct room *room, const struct session *session)
{
	struct hf_bytes registration = session_registration(room, session);
	struct index_link *link;
	struct update *update;
	struct removed *removed;

	if (room->index == NULL || room->index->closing)
		return;
	link = index_link_of(room, session->slot);
	update = link == NULL ? NULL : open_update(room, link);
	removed = update == NULL ? NULL : next_removed(update);
	if (removed == NULL) {
		sync_mark(room, session->slot);
		sync_later(room);
		return;
	}
	removed->epoch = session->epoch;
	removed->handle = session->handle;
	removed->app = session->app;
	removed->slot = session->slot;
	removed->registration_len = (uint8_t)registration.len;
	memcpy(removed->registration, registration.data, registration.len);
}

void index_resync(struct room *room, const uint8_t bitmap[HF_SLOTS / 8])
{
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		if (bitmap[slot / 8] >> slot % 8 & 1)
			sync_mark(room, (uint16_t)slot);
	}
	sync_soon(room);
}

bool index_is_settled(const struct room *room)
{
	const struct hf_peer *peer = hf_peers_first(room->registers);

	for (; peer != NULL; peer = peer->next) {
		const struct index_link *link = peer->user;

		if (link != NULL && link->open != NULL)
			return false;
	}
	return room->index->calls == 0;
}

static void on_join(struct hf_peer *peer, void *ctx)
{
	struct index_link *link = calloc(1, sizeof(*link));

	if (link != NULL)
		link->peer = peer;
	else
		HF_ERROR("out of memory", "register=%s", peer->instance.id);
	peer->user = link;
}

static void link_release(struct room *room, struct index_link *link)
{
	if (link->open != NULL && !room->index->closing)
		update_failed(room, link->open);
	update_free(link->open);
	link->open = NULL;
	link->peer = NULL;
	link->gone = true;
	if (link->calls == 0)
		free(link);
}

static void on_leave(struct hf_peer *peer, void *ctx)
{
	struct index_link *link = peer->user;

	peer->user = NULL;
	if (link != NULL)
		link_release(ctx, link);
}

/* A slot whose owner is another process than before is told anew. */
static void on_change(struct hf_peers *peers, void *ctx)
{
	struct room *room = ctx;
	struct index_state *index = room->index;

	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		const struct hf_peer *owner = hf_peers_by_slot(peers, (uint16_t)slot);
		uint64_t incarnation = owner == NULL ? 0 : owner->instance.incarnation;

		if (index->owners[slot] == incarnation)
			continue;
		index->owners[slot] = incarnation;
		sync_mark(room, (uint16_t)slot);
	}
	sync_soon(room);
}

static void on_connected(struct hf_peer *peer, bool connected, void *ctx)
{
	struct room *room = ctx;

	if (!connected)
		return;
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		if (hf_peers_by_slot(room->registers, (uint16_t)slot) == peer)
			sync_mark(room, (uint16_t)slot);
	}
	hf_backoff_reset(&room->index->backoff);
	sync_soon(room);
}

int index_open(struct room *room)
{
	struct hf_peers_options options = {
		.service = "register",
		.descriptor = &hf__register__descriptor,
		.on_join = on_join,
		.on_leave = on_leave,
		.on_change = on_change,
		.on_connected = on_connected,
		.ctx = room,
	};
	struct index_state *index = calloc(1, sizeof(*index));

	if (index == NULL)
		return -ENOMEM;
	room->index = index;
	index->room = room;
	index->backoff = (struct hf_backoff){ .base_ms = 100, .cap_ms = 3000 };
	hf_task_init(&index->update_task, on_turn_end, room);
	hf_task_init(&index->sync_task, sync_run, room);
	hf_timer_init(&index->sync_timer, sync_on_timer, room);
	return hf_peers_new(room->loop, room->service->metrics, room->service->keeper, &options,
			    &room->registers);
}

void index_silence(struct room *room)
{
	if (room->index != NULL)
		room->index->closing = true;
}

void index_close(struct room *room)
{
	struct index_state *index = room->index;
	struct hf_peer *peer;

	if (index == NULL)
		return;
	index->closing = true;
	peer = room->registers == NULL ? NULL : hf_peers_first(room->registers);
	for (; peer != NULL; peer = peer->next)
		on_leave(peer, room);
	hf_peers_free(room->registers); /* ends every open call */
	room->registers = NULL;
	hf_task_cancel(room->loop, &index->update_task);
	hf_task_cancel(room->loop, &index->sync_task);
	hf_wheel_disarm(&index->sync_timer);
	free(index);
	room->index = NULL;
}
