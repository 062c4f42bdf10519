/* The index: adding, removing and finding sessions, and the slow removal of dead rooms' sessions.
 */
#include "hf_hash.h"
#include "register.h"

#define SWEEP_TICK_MS 100
#define SWEEP_SLOTS   16 /* a tick: all 4096 in 26 s */

static struct hf_bytes bytes_of(ProtobufCBinaryData data)
{
	return hf_bytes_of(data.data, data.len);
}

bool session_is_valid(const Hf__Session *session)
{
	return session->app > 0 && session->registration.len >= 1 &&
	       session->registration.len <= HF_REGISTRATION_MAX && session->epoch != 0 &&
	       session->session != 0;
}

bool session_is_live(const struct register_state *state, uint64_t epoch)
{
	const struct room_view *room = state->room[hf_id_node(epoch)];

	return room != NULL && room->live && epoch > room->incarnation;
}

/* Called before and after every change of a table: keeps the totals right. */
static void account(struct register_state *state, const struct slot_table *table, bool after)
{
	if (after) {
		state->sessions += table->count;
		state->bytes += slot_table_bytes(table);
	} else {
		state->sessions -= table->count;
		state->bytes -= slot_table_bytes(table);
	}
}

static bool is_fought_over(const struct register_state *state, uint64_t hash)
{
	return takeovers_too_many(&state->takeovers, hash, hf_loop_now_ms(state->service->loop),
				  state->config->takeovers_limit, state->config->takeovers_ms);
}

enum add_outcome session_add(struct register_state *state, const Hf__Session *session, bool is_new)
{
	struct hf_bytes registration = bytes_of(session->registration);
	uint16_t slot =
		hf_service_slot(state->service, session->app, registration.data, registration.len);
	uint64_t hash = hf_hash_registration(session->app, registration.data, registration.len);
	struct slot_table *table = &state->slots[slot];
	struct slot_session known, wanted = { .epoch = session->epoch,
					      .session = session->session,
					      .app = session->app,
					      .registration = registration };
	bool have, have_live;
	int err;

	if (!slot_is_owned(state, slot)) {
		++*state->metrics.not_owner;
		return ADD_NOT_OWNER;
	}
	have = slot_table_find(table, hash, session->app, registration, &known);
	have_live = have && session_is_live(state, known.epoch);
	if (have_live && known.epoch > session->epoch) {
		++*state->metrics.stale;
		return ADD_STALE;
	}
	if (is_new && have_live && known.epoch != session->epoch && is_fought_over(state, hash)) {
		++*state->metrics.throttled;
		return ADD_THROTTLED;
	}
	if (!have && state->sessions >= state->config->max_sessions) {
		++*state->metrics.refused_full;
		return ADD_REFUSED;
	}

	account(state, table, false);
	err = slot_table_put(table, hash, &wanted);
	account(state, table, true);
	if (err < 0) {
		++*state->metrics.refused_full;
		return ADD_REFUSED;
	}
	if (have_live && known.epoch != session->epoch)
		kick_replaced(state, hash, &known);
	++*state->metrics.added;
	return ADD_OK;
}

void session_remove(struct register_state *state, const Hf__Session *session)
{
	struct hf_bytes registration = bytes_of(session->registration);
	uint16_t slot =
		hf_service_slot(state->service, session->app, registration.data, registration.len);
	uint64_t hash = hf_hash_registration(session->app, registration.data, registration.len);
	struct slot_table *table = &state->slots[slot];
	struct slot_session known;

	/* A late "gone" of an older session changes nothing. */
	if (!slot_table_find(table, hash, session->app, registration, &known) ||
	    known.epoch != session->epoch)
		return;
	account(state, table, false);
	slot_table_remove(table, hash, session->app, registration);
	account(state, table, true);
	++*state->metrics.removed;
}

static bool is_of_room(const struct slot_session *session, void *ctx)
{
	return hf_id_node(session->epoch) == *(uint32_t *)ctx;
}

void slot_forget_room(struct register_state *state, uint16_t slot, uint32_t number)
{
	struct slot_table *table = &state->slots[slot];

	account(state, table, false);
	slot_table_remove_if(table, is_of_room, &number);
	account(state, table, true);
}

void slot_forget_all(struct register_state *state, uint16_t slot)
{
	account(state, &state->slots[slot], false);
	slot_table_deinit(&state->slots[slot]);
}

Hf__Presence session_find(struct register_state *state, uint32_t app, struct hf_bytes registration,
			  struct slot_session *ret)
{
	uint16_t slot = hf_service_slot(state->service, app, registration.data, registration.len);
	uint64_t hash = hf_hash_registration(app, registration.data, registration.len);

	if (slot_table_find(&state->slots[slot], hash, app, registration, ret) &&
	    session_is_live(state, ret->epoch))
		return HF__PRESENCE__ONLINE;
	return slot_is_complete(state, slot) ? HF__PRESENCE__OFFLINE : HF__PRESENCE__NOT_YET_KNOWN;
}

static bool is_of_dead_room(const struct slot_session *session, void *ctx)
{
	return !session_is_live(ctx, session->epoch);
}

static void on_sweep(struct hf_timer *timer, void *ctx)
{
	struct register_state *state = ctx;

	for (unsigned i = 0; i < SWEEP_SLOTS; i++) {
		struct slot_table *table = &state->slots[state->sweep_slot];

		if (table->count > 0) {
			account(state, table, false);
			*state->metrics.swept +=
				slot_table_remove_if(table, is_of_dead_room, state);
			account(state, table, true);
		}
		state->sweep_slot = (state->sweep_slot + 1) % HF_SLOTS;
	}
	hf_loop_arm(state->service->loop, timer, SWEEP_TICK_MS);
}

void sweep_start(struct register_state *state)
{
	hf_timer_init(&state->sweep_timer, on_sweep, state);
	hf_loop_arm(state->service->loop, &state->sweep_timer, SWEEP_TICK_MS);
}
