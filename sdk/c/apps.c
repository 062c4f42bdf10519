/* sdk/c/apps.c - the apps of a client: what they are, what the server said of them, what they saw.
 */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_text.h"

#define ATTACH_BACKOFF_BASE_MS 1000
#define ATTACH_BACKOFF_CAP_MS  120000

struct app *app_find(const struct hf_client *client, uint32_t id)
{
	for (size_t i = 0; i < client->app_count; i++) {
		if (client->apps[i]->id == id)
			return client->apps[i];
	}
	return NULL;
}

void app_free(struct app *app)
{
	if (app == NULL)
		return;
	if (app->token != NULL)
		explicit_bzero(app->token, strlen(app->token));
	free(app->token);
	free(app->seen);
	free(app);
}

size_t apps_count(const struct hf_client *client, enum app_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < client->app_count; i++)
		count += client->apps[i]->state == state;
	return count;
}

/* Copies an id of 1..max bytes (`required`) or 0..max bytes. */
static bool copy_id(char *ret, const char *from, size_t max, bool required)
{
	size_t len = from != NULL ? strlen(from) : 0;

	if (len > 0 ? !hf_text_is_id(from, len, max) : required)
		return false;
	if (len > 0)
		memcpy(ret, from, len);
	ret[len] = '\0';
	return true;
}

static int copy_token(struct app *app, const char *token)
{
	size_t len = token != NULL ? strlen(token) : 0;
	char *copy = NULL;

	if (len > 0 && !hf_text_is_id(token, len, HF_WIRE_TOKEN_MAX))
		return -EINVAL;
	if (token != NULL && (copy = strdup(token)) == NULL)
		return -ENOMEM;
	if (app->token != NULL)
		explicit_bzero(app->token, strlen(app->token));
	free(app->token);
	app->token = copy;
	app->token_is_new = copy != NULL;
	return 0;
}

static int app_init(struct app *app, const struct hf_client_app *from, size_t dedup_ids)
{
	char random_id[HF_CLIENT_KEY_SIZE];
	const char *registration = from->registration;

	if (registration == NULL) {
		hf_client_random_id(random_id);
		registration = random_id;
	}
	app->id = from->app;
	app->backoff = (struct hf_backoff){ .base_ms = ATTACH_BACKOFF_BASE_MS,
					    .cap_ms = ATTACH_BACKOFF_CAP_MS };
	if (from->app == 0 || from->tag_count > HF_WIRE_TAGS_MAX ||
	    !copy_id(app->registration, registration, HF_REGISTRATION_MAX, true) ||
	    !copy_id(app->user_id, from->user_id, HF_USER_ID_MAX, false))
		return -EINVAL;
	for (app->tag_count = 0; app->tag_count < from->tag_count; app->tag_count++) {
		if (!copy_id(app->tags[app->tag_count], from->tags[app->tag_count], HF_WIRE_TAG_MAX,
			     true))
			return -EINVAL;
	}
	app->seen = calloc(dedup_ids, sizeof(*app->seen));
	if (app->seen == NULL)
		return -ENOMEM;
	return copy_token(app, from->token);
}

int hf_client_attach(struct hf_client *client, const struct hf_client_app *from)
{
	struct app *app;
	int err;

	if (app_find(client, from->app) != NULL)
		return -EEXIST;
	if (client->app_count == HF_WIRE_SESSIONS_MAX)
		return -ENOSPC;
	app = calloc(1, sizeof(*app));
	if (app == NULL)
		return -ENOMEM;
	err = app_init(app, from, client->config.dedup_ids);
	if (err < 0) {
		app_free(app);
		return err;
	}
	client->apps[client->app_count++] = app;
	client->ticket_until_ms = 0; /* who resumes says nothing new of itself */
	return 0;
}

int hf_client_detach(struct hf_client *client, uint32_t id)
{
	struct hf_wire_detach detach = { .app = id };
	struct app *app = app_find(client, id);
	uint8_t *room;

	if (app == NULL)
		return -ENOENT;
	if (client->phase == PHASE_ACTIVE &&
	    (app->state == APP_ATTACHED || app->state == APP_ASKED)) {
		/* What was acked goes first: the session that it belongs to ends here. */
		connection_flush_acks(client);
		room = connection_room(client, HF_WIRE_CONTROL_MAX);
		if (room != NULL)
			connection_committed(client,
					     hf_wire_encode_detach(HF_WIRE_DETACH, &detach, room,
								   HF_WIRE_CONTROL_MAX));
	}
	send_forget(client, id);
	for (size_t i = 0; i < client->app_count; i++) {
		if (client->apps[i] == app) {
			client->apps[i] = client->apps[--client->app_count];
			break;
		}
	}
	app_free(app);
	return 0;
}

const char *hf_client_registration(const struct hf_client *client, uint32_t id)
{
	const struct app *app = app_find(client, id);

	return app != NULL ? app->registration : NULL;
}

int hf_client_set_token(struct hf_client *client, uint32_t id, const char *token)
{
	struct app *app = app_find(client, id);
	int err;

	if (app == NULL)
		return -ENOENT;
	if (token == NULL)
		return -EINVAL;
	err = copy_token(app, token);
	if (err < 0)
		return err;
	/* One that is asked for is left alone: the answer finds the new token and asks again. */
	if (app->state != APP_ASKED)
		app->state = APP_IDLE;
	return 0;
}

void app_to_wire(const struct app *app, struct hf_wire_session *ret)
{
	*ret = (struct hf_wire_session){
		.app = app->id,
		.registration = hf_bytes_of_string(app->registration),
		.token = hf_bytes_of_string(app->token != NULL ? app->token : ""),
		.user_id = hf_bytes_of_string(app->user_id),
		.tag_count = app->tag_count,
	};
	for (size_t i = 0; i < app->tag_count; i++)
		ret->tags[i] = hf_bytes_of_string(app->tags[i]);
}

static void tell_app(struct hf_client *client, uint32_t id, unsigned code, struct hf_bytes reason)
{
	char text[HF_WIRE_REASON_MAX + 1] = "";

	if (reason.len > 0)
		memcpy(text, reason.data, reason.len);
	if (client->config.callbacks.on_app != NULL)
		client->config.callbacks.on_app(client, id, code, text, client->config.ctx);
}

static void ask_for_token(struct hf_client *client, uint32_t id, unsigned code)
{
	const struct app *app = app_find(client, id); /* the program may have detached it */

	if (app != NULL && app->state == APP_NO_TOKEN &&
	    client->config.callbacks.on_token_needed != NULL)
		client->config.callbacks.on_token_needed(client, id, code, client->config.ctx);
}

/* When to ask again for an app that was refused. `at_once`: the first time without waiting. */
static uint64_t refused_until_ms(struct app *app, bool at_once, uint64_t now)
{
	if (at_once && app->backoff.attempts == 0) {
		app->backoff.attempts = 1;
		return now;
	}
	return now + hf_backoff_next_ms(&app->backoff);
}

void app_settled(struct hf_client *client, struct app *app, unsigned code, struct hf_bytes reason,
		 uint64_t now)
{
	uint32_t id = app->id;
	bool ask_token = false;

	app->code = code;
	if (code == 0) {
		app->state = APP_ATTACHED;
		hf_backoff_reset(&app->backoff);
		tell_app(client, id, code, reason);
		return;
	}
	switch (hf_close_action(code)) {
	case HF_CLOSE_STOP:
		app->state = APP_STOPPED;
		break;
	case HF_CLOSE_REFRESH_TOKEN:
		ask_token = !app->token_is_new;
		app->state = ask_token ? APP_NO_TOKEN : APP_IDLE;
		app->retry_ms = refused_until_ms(app, true, now);
		break;
	case HF_CLOSE_BACKOFF:
	case HF_CLOSE_MOVE:
		app->state = APP_IDLE;
		app->retry_ms = refused_until_ms(app, false, now);
		break;
	}
	tell_app(client, id, code, reason);
	if (ask_token)
		ask_for_token(client, id, code);
}

void apps_settle_all(struct hf_client *client, enum app_state state, unsigned code,
		     struct hf_bytes reason, uint64_t now)
{
	/* From the start each time: callbacks may attach and detach. */
	for (size_t i = 0; i < client->app_count; i++) {
		if (client->apps[i]->state != state)
			continue;
		app_settled(client, client->apps[i], code, reason, now);
		i = (size_t)-1;
	}
}

void apps_ask_tokens(struct hf_client *client)
{
	for (size_t i = 0; i < client->app_count; i++) {
		struct app *app = client->apps[i];

		if (app->state == APP_IDLE && app->token == NULL) {
			app->state = APP_NO_TOKEN;
			ask_for_token(client, app->id, 0);
		}
	}
}

/* An attached app with a new token is among them: to attach again replaces what it showed before.
 */
bool app_is_ready(const struct app *app)
{
	return app->state == APP_IDLE && app->token != NULL;
}

bool apps_are_ready(const struct hf_client *client)
{
	for (size_t i = 0; i < client->app_count; i++) {
		if (app_is_ready(client->apps[i]))
			return true;
	}
	return false;
}

void apps_attach_due(struct hf_client *client, uint64_t now)
{
	for (size_t i = 0; i < client->app_count; i++) {
		struct app *app = client->apps[i];
		struct hf_wire_session session;
		uint8_t *room;

		if (!app_is_ready(app) || app->retry_ms > now)
			continue;
		room = connection_room(client, HF_WIRE_CONTROL_MAX);
		if (room == NULL)
			return;
		app_to_wire(app, &session);
		connection_committed(client,
				     hf_wire_encode_attach(&session, room, HF_WIRE_CONTROL_MAX));
		app->state = APP_ASKED;
		app->token_is_new = false;
	}
}

uint64_t apps_next_ms(const struct hf_client *client)
{
	uint64_t next = 0;

	for (size_t i = 0; i < client->app_count; i++) {
		const struct app *app = client->apps[i];

		if (app_is_ready(app) && (next == 0 || app->retry_ms < next))
			next = HF_MAX(app->retry_ms, (uint64_t)1);
	}
	return next;
}

struct seen_id *app_find_seen(struct app *app, uint64_t id)
{
	for (size_t i = 0; i < app->seen_count; i++) {
		if (app->seen[i].id == id)
			return &app->seen[i];
	}
	return NULL;
}

struct seen_id *app_add_seen(struct hf_client *client, struct app *app, uint64_t id)
{
	struct seen_id *entry = &app->seen[app->seen_next];

	*entry = (struct seen_id){ .id = id };
	app->seen_next = (app->seen_next + 1) % client->config.dedup_ids;
	app->seen_count += app->seen_count < client->config.dedup_ids;
	return entry;
}

int hf_client_ack(struct hf_client *client, uint32_t id, uint64_t message)
{
	struct app *app = app_find(client, id);
	struct seen_id *entry = app != NULL ? app_find_seen(app, message) : NULL;

	if (entry == NULL)
		return -ENOENT;
	entry->acked = true;
	/* Without a connection the ack is not lost: the message comes again and is acked then. */
	connection_ack(client, message);
	return 0;
}
