/* user.online and user.offline: from what rooms say of single registrations.
 *
 * Rooms report each session of a user that came or went to the owner of the slot of the user's id.
 * Nobody keeps a table of all users: whether others of his registrations are connected is asked
 * when it matters, of saver (which registrations has he?) and register (are they here?). A user who
 * is gone is announced only after `callbacks.offline_delay`, when he is still gone then.
 *
 * What was announced last is remembered for users who came or went lately; of all others it is
 * unknown, and found out by asking. Registrations that came since a user is remembered are left out
 * of that question: else two that come at the same moment would each find the other one there. */
#define HF_LOG_MODULE "presence"
#include <errno.h>
#include <stdlib.h>

#include "events.h"
#include "hf_event.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "saver.pb-c.h"

#define CALL_MS     3000
#define TRIES       20 /* of a question, until a register knows */
#define TRY_MS      1000
#define CAME_MAX    8 /* registrations that came since a user is remembered */
#define CHECKED_MAX 256

enum announced { UNKNOWN, ONLINE, OFFLINE };
enum question { NONE, CAME, WENT }; /* what is to be found out */

struct name {
	uint8_t len;
	uint8_t bytes[HF_REGISTRATION_MAX];
};

struct user {
	struct hf_table_node node;
	TAILQ_ENTRY(user) link; /* by last use */
	struct presence *presence;
	struct hf_timer timer; /* to the question `pending` */
	enum announced announced;
	enum question pending, asked; /* asked: under way */
	bool overtaken;
	uint8_t tries, came_count;
	uint32_t waiting; /* registers that have not answered */
	bool found, unsure;
	struct name came[CAME_MAX];
	uint64_t at_ms; /* wall clock of what `pending` is about */
	uint32_t app;
	uint8_t len;
	uint8_t id[];
};

struct presence {
	struct coordinator_state *state;
	struct hf_table users;
	TAILQ_HEAD(, user) used;
	bool stopped;
	uint64_t *full, *unknown;
};

static struct user *user_find(struct presence *presence, const Hf__Event *event)
{
	struct hf_table_node *node =
		hf_table_find(&presence->users,
			      hf_hash_registration(event->app, event->key.data, event->key.len));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct user *user = HF_CONTAINER_OF(node, struct user, node);

		if (user->app == event->app && user->len == event->key.len &&
		    memcmp(user->id, event->key.data, event->key.len) == 0)
			return user;
	}
	return NULL;
}

static void user_free(struct user *user)
{
	hf_wheel_disarm(&user->timer);
	hf_table_remove(&user->presence->users, &user->node);
	TAILQ_REMOVE(&user->presence->used, user, link);
	free(user);
}

static void announce(struct user *user, Hf__EventType type)
{
	struct coordinator_state *state = user->presence->state;
	struct hf_bytes id = { user->id, user->len };
	char data[16 + 6 * HF_USER_ID_MAX];
	struct hf_json_writer w = { data, data + sizeof(data), false };
	Hf__Event event = HF__EVENT__INIT;

	hf_json_put_text(&w, "{\"user_id\":");
	hf_json_put_string(&w, id);
	hf_json_put_text(&w, "}");
	event.type = type;
	event.app = user->app;
	event.key.data = user->id;
	event.key.len = user->len;
	event.id = hf_id_next(&state->service->ids, hf_loop_wall_ms(state->service->loop));
	event.at_ms = user->at_ms;
	event.sequence = report_sequence(state);
	event.data.data = (uint8_t *)data;
	event.data.len = (size_t)(w.pos - data);
	user->announced = type == HF__EVENT_TYPE__USER_ONLINE ? ONLINE : OFFLINE;
	status_add(state, &event); /* counts what it has no room for */
}

static void ask(struct user *user);

static void wait_ms(struct user *user, uint64_t delay_ms)
{
	hf_loop_arm(user->presence->state->service->loop, &user->timer, delay_ms);
}

/* The question is answered: `found` says whether he is connected (by another than those who came).
 */
static void conclude(struct user *user)
{
	enum question asked = user->asked;

	user->asked = NONE;
	if (user->overtaken) { /* he came back while it was asked whether he is gone */
		user->overtaken = false;
		return;
	}
	if (user->unsure && !user->found) {
		if (user->pending != NONE) /* he went since: that question comes with its time */
			return;
		if (++user->tries < TRIES) {
			user->pending = asked;
			wait_ms(user, TRY_MS);
			return;
		}
		++*user->presence->unknown;
		user->announced = UNKNOWN;
		return;
	}
	if (asked == CAME && !user->found)
		announce(user, HF__EVENT_TYPE__USER_ONLINE);
	else if (asked == WENT && !user->found)
		announce(user, HF__EVENT_TYPE__USER_OFFLINE);
	else
		user->announced = ONLINE;
	user->came_count = 0;
}

static void answered(struct user *user)
{
	if (--user->waiting == 0)
		conclude(user);
}

static void on_looked_up(const Hf__LookupReply *reply, void *ctx)
{
	struct user *user = ctx;

	if (user->presence->stopped)
		return;
	user->unsure |= reply == NULL;
	for (size_t i = 0; reply != NULL && i < reply->n_results; i++) {
		user->found |= reply->results[i]->presence == HF__PRESENCE__ONLINE;
		user->unsure |= reply->results[i]->presence == HF__PRESENCE__NOT_YET_KNOWN;
	}
	answered(user);
}

static bool is_left_out(const struct user *user, const ProtobufCBinaryData *registration)
{
	for (size_t i = 0; user->asked == CAME && i < user->came_count; i++)
		if (user->came[i].len == registration->len &&
		    memcmp(user->came[i].bytes, registration->data, registration->len) == 0)
			return true;
	return false;
}

/* One Lookup for each register that owns some of them. */
static void look_up(struct user *user, const Hf__UserRegistrations *known)
{
	struct coordinator_state *state = user->presence->state;
	struct hf_peer *owners[CHECKED_MAX];
	Hf__LookupItem items[CHECKED_MAX], *pointers[CHECKED_MAX];
	size_t count = 0;

	for (size_t i = 0; i < known->n_registrations && count < CHECKED_MAX; i++) {
		const ProtobufCBinaryData *one = &known->registrations[i];

		if (one->len == 0 || one->len > HF_REGISTRATION_MAX || is_left_out(user, one))
			continue;
		owners[count] = hf_peers_by_slot(state->registers,
						 hf_service_slot(state->service, user->app,
								 one->data, one->len));
		hf__lookup_item__init(&items[count]);
		items[count].app = user->app;
		items[count++].registration = *one;
	}
	for (size_t i = 0; i < count; i++) {
		Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;
		struct hf_peer *owner = owners[i];

		if (items[i].app == 0)
			continue; /* asked with one before */
		for (size_t j = i; j < count; j++) {
			if (items[j].app == 0 || owners[j] != owner)
				continue;
			pointers[request.n_items++] = &items[j];
		}
		request.items = pointers;
		user->waiting++;
		hf__register__lookup(hf_peers_call(state->registers, owner, CALL_MS), &request,
				     on_looked_up, user);
		for (size_t j = 0; j < request.n_items; j++)
			pointers[j]->app = 0;
	}
}

static void on_user_read(const Hf__ReadUsersReply *reply, void *ctx)
{
	struct user *user = ctx;

	if (user->presence->stopped)
		return;
	user->waiting = 1; /* ourselves, until every register is asked */
	if (reply == NULL || reply->n_users != 1)
		user->unsure = true;
	else
		look_up(user, reply->users[0]);
	answered(user);
}

static void ask(struct user *user)
{
	struct coordinator_state *state = user->presence->state;
	ProtobufCBinaryData id = { user->len, user->id };
	Hf__ReadUsersRequest request = HF__READ_USERS_REQUEST__INIT;
	uint16_t slot = hf_service_slot(state->service, user->app, user->id, user->len);

	user->asked = user->pending;
	user->pending = NONE;
	user->found = user->unsure = false;
	request.app = user->app;
	request.n_user_ids = 1;
	request.user_ids = &id;
	hf__saver__read_users(hf_peers_call(state->savers, hf_peers_by_slot(state->savers, slot),
					    CALL_MS),
			      &request, on_user_read, user);
}

static void on_user_timer(struct hf_timer *timer, void *ctx)
{
	struct user *user = ctx;

	if (user->pending != NONE && user->asked == NONE)
		ask(user);
	else if (user->asked != NONE)
		wait_ms(user, TRY_MS);
}

/* Make room: the user least lately heard of about whom nothing is going on. */
static bool make_room(struct presence *presence)
{
	struct user *user;
	unsigned looked = 0;

	if (presence->users.count < presence->state->config->status_keys)
		return true;
	TAILQ_FOREACH (user, &presence->used, link) {
		if (user->pending == NONE && user->asked == NONE) {
			user_free(user);
			return true;
		}
		if (++looked == 64)
			break;
	}
	++*presence->full;
	return false;
}

static struct user *user_get(struct presence *presence, const Hf__Event *event)
{
	struct user *user = user_find(presence, event);

	if (user != NULL) {
		TAILQ_REMOVE(&presence->used, user, link);
		TAILQ_INSERT_TAIL(&presence->used, user, link);
		return user;
	}
	if (!make_room(presence))
		return NULL;
	user = calloc(1, sizeof(*user) + event->key.len);
	if (user == NULL)
		return NULL;
	user->presence = presence;
	user->app = event->app;
	user->len = (uint8_t)event->key.len;
	memcpy(user->id, event->key.data, event->key.len);
	hf_timer_init(&user->timer, on_user_timer, user);
	TAILQ_INSERT_TAIL(&presence->used, user, link);
	hf_table_insert(&presence->users, &user->node,
			hf_hash_registration(event->app, event->key.data, event->key.len));
	return user;
}

static void came(struct user *user, const Hf__Event *event)
{
	if (user->pending == WENT || user->asked == WENT) { /* back before it was announced */
		hf_wheel_disarm(&user->timer);
		user->pending = NONE;
		user->overtaken = user->asked == WENT;
		if (user->announced == UNKNOWN && user->asked != CAME)
			user->announced = ONLINE; /* he was here until a moment ago */
	}
	if (user->announced == ONLINE)
		return;
	user->at_ms = event->at_ms;
	if (user->announced == OFFLINE) { /* nobody was here, and this one is now */
		announce(user, HF__EVENT_TYPE__USER_ONLINE);
		return;
	}
	if (user->came_count < CAME_MAX) {
		struct name *name = &user->came[user->came_count++];

		name->len = (uint8_t)event->registration.len;
		memcpy(name->bytes, event->registration.data, event->registration.len);
	}
	if (user->asked == CAME || user->pending == CAME)
		return; /* the question under way answers for this one too */
	user->tries = 0;
	user->pending = CAME;
	ask(user);
}

static void went(struct user *user, const Hf__Event *event)
{
	for (size_t i = 0; i < user->came_count; i++) {
		if (user->came[i].len == event->registration.len &&
		    memcmp(user->came[i].bytes, event->registration.data,
			   event->registration.len) == 0)
			user->came[i--] = user->came[--user->came_count];
	}
	if (user->pending == WENT || user->announced == OFFLINE)
		return; /* its time runs already, or it was said */
	user->at_ms = event->at_ms;
	user->tries = 0;
	user->pending = WENT;
	wait_ms(user, user->presence->state->config->offline_delay_ms);
}

bool presence_hint(struct coordinator_state *state, const Hf__Event *event)
{
	struct user *user = user_get(state->presence, event);

	if (user == NULL)
		return false;
	if (event->type == HF__EVENT_TYPE__USER_ONLINE)
		came(user, event);
	else
		went(user, event);
	return true;
}

int presence_open(struct coordinator_state *state)
{
	struct presence *presence = calloc(1, sizeof(*presence));

	if (presence == NULL || hf_table_init(&presence->users) < 0) {
		free(presence);
		return -ENOMEM;
	}
	state->presence = presence;
	presence->state = state;
	TAILQ_INIT(&presence->used);
	presence->full = events_dropped(state, "status", "users_full");
	presence->unknown = events_dropped(state, "status", "presence_unknown");
	return 0;
}

void presence_stop(struct coordinator_state *state)
{
	if (state->presence != NULL)
		state->presence->stopped = true;
}

void presence_close(struct coordinator_state *state)
{
	struct presence *presence = state->presence;

	if (presence == NULL)
		return;
	while (!TAILQ_EMPTY(&presence->used))
		user_free(TAILQ_FIRST(&presence->used));
	hf_table_deinit(&presence->users);
	free(presence);
	state->presence = NULL;
}
