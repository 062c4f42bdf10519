/* sdk/c/connection.c - one connection to a server, from LOGIN to the last frame. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_hash.h"

/* Unsent bytes; what does not fit is not sent, and the silence that follows ends the connection. */
#define OUT_MAX             (HF_WIRE_LOGIN_MAX + 64 * 1024)
#define IN_MAX              (HF_WIRE_PAYLOAD_MAX + HF_WIRE_UPSTREAM_OVERHEAD + 64 * 1024)
#define HEARTBEAT_DEFAULT_S 270
#define HEARTBEAT_FLOOR_S   60 /* what is learned never goes below */
#define HEARTBEAT_STEP_S    60
#define GOOD_BEATS          10
#define SILENT_ENDS         2

uint8_t *connection_room(struct hf_client *client, size_t size)
{
	if (hf_buffer_len(&client->out) + size > OUT_MAX)
		return NULL;
	return hf_buffer_reserve(&client->out, size);
}

void connection_committed(struct hf_client *client, ssize_t n)
{
	if (n > 0)
		hf_buffer_commit(&client->out, (size_t)n);
}

static void send_bytes(struct hf_client *client, const void *frame, size_t len)
{
	uint8_t *room = connection_room(client, len);

	if (room == NULL)
		return;
	memcpy(room, frame, len);
	connection_committed(client, (ssize_t)len);
}

void connection_begin(struct hf_client *client, uint64_t now)
{
	struct hf_wire_login login = {
		.version = HF_WIRE_VERSION,
		.device = hf_bytes_of_string(client->config.device),
		.platform = hf_bytes_of_string(client->config.platform),
		.sdk_version = HF_BYTES_LITERAL("c/" HF_CLIENT_VERSION),
		.network = (uint8_t)client->config.network,
		.heartbeat_s = client->learned_s,
	};
	uint8_t *room = connection_room(client, HF_WIRE_LOGIN_MAX);

	if (client_may_resume(client, now))
		login.ticket = hf_bytes_of(client->ticket, client->ticket_len);
	for (size_t i = 0; i < client->app_count; i++) {
		struct app *app = client->apps[i];

		if (!app_is_ready(app))
			continue;
		app_to_wire(app, &login.sessions[login.session_count++]);
		app->state = APP_ASKED;
		app->token_is_new = false;
	}
	client->phase = PHASE_LOGIN;
	client->deadline_ms = now + client->config.login_timeout_ms;
	client->last_heard_ms = now;
	if (room != NULL)
		connection_committed(client, hf_wire_encode_login(&login, room, HF_WIRE_LOGIN_MAX));
}

static uint32_t beat_s(const struct hf_client *client)
{
	uint32_t beat = client->heartbeat_s;

	if (client->config.heartbeat_max_s > 0)
		beat = HF_MIN(beat, client->config.heartbeat_max_s);
	if (client->learned_s > 0)
		beat = HF_MIN(beat, client->learned_s);
	return beat;
}

/* Two connections in a row that fell silent: something on the way forgets idle lines earlier. */
static void learn_silence(struct hf_client *client)
{
	client->good_beats = 0;
	if (++client->silent_ends < SILENT_ENDS)
		return;
	client->silent_ends = 0;
	client->learned_s = HF_MAX(beat_s(client) * 3 / 4,
				   HF_MIN(client->heartbeat_s, (uint32_t)HEARTBEAT_FLOOR_S));
}

static void learn_beat(struct hf_client *client)
{
	client->silent_ends = 0;
	if (client->learned_s == 0 || ++client->good_beats < GOOD_BEATS)
		return;
	client->good_beats = 0;
	client->learned_s += HEARTBEAT_STEP_S;
	if (client->learned_s >= client->heartbeat_s)
		client->learned_s = 0;
}

static void take_ticket(struct hf_client *client, const struct hf_wire_login_ack *ack)
{
	client->ticket_len = ack->ticket.len;
	client->linger_s = ack->linger_s;
	client->ticket_until_ms = 0; /* the clock starts when the connection ends */
	if (ack->ticket.len > 0)
		memcpy(client->ticket, ack->ticket.data, ack->ticket.len);
}

static bool on_login_ack(struct hf_client *client, struct hf_bytes body, uint64_t now)
{
	struct hf_wire_login_ack ack;
	size_t attached = 0;

	if (hf_wire_decode_login_ack(body, &ack) < 0)
		return false;
	client->login_answered = true;
	client->phase = PHASE_ACTIVE;
	client->deadline_ms = 0;
	client->connected_ms = now;
	client->resumed = ack.resumed;
	client->frame_max = ack.frame_max;
	client->heartbeat_s = ack.heartbeat_s > 0 ? ack.heartbeat_s : HEARTBEAT_DEFAULT_S;
	client->stats.logins++;
	client->stats.resumes += ack.resumed;
	memcpy(client->node, ack.node.data != NULL ? ack.node.data : (const uint8_t *)"",
	       ack.node.len);
	client->node[ack.node.len] = '\0';
	take_ticket(client, &ack);
	selection_worked(&client->selection, client->attempt);
	client->attempt = NULL;
	if (client->config.cache_file != NULL)
		selection_save(&client->selection, client->config.cache_file);

	for (size_t i = 0; i < ack.result_count; i++)
		attached += ack.results[i].code == 0;
	if (attached > 0) {
		client_set_reason(client, 0, hf_bytes_of(NULL, 0));
		client_set_state(client, HF_CLIENT_CONNECTED);
	}
	for (size_t i = 0; i < ack.result_count; i++) {
		struct app *app = app_find(client, ack.results[i].app);

		if (app != NULL && app->state == APP_ASKED)
			app_settled(client, app, ack.results[i].code, ack.results[i].reason, now);
	}
	/* A server that forgot one is asked again later. */
	apps_settle_all(client, APP_ASKED, HF_CLOSE_INTERNAL_ERROR, hf_bytes_of(NULL, 0), now);
	return true;
}

static bool on_attach_ack(struct hf_client *client, struct hf_bytes body, uint64_t now)
{
	struct hf_wire_attach_result result;
	struct app *app;

	if (hf_wire_decode_attach_ack(body, &result) < 0)
		return false;
	app = app_find(client, result.app);
	if (app != NULL && app->state == APP_ASKED)
		app_settled(client, app, result.code, result.reason, now);
	return true;
}

/* Our own DETACHes are answered too, but the app is gone then. */
static bool on_detach_ack(struct hf_client *client, struct hf_bytes body, uint64_t now)
{
	struct hf_wire_detach detach;
	struct app *app;

	if (hf_wire_decode_detach(body, &detach) < 0)
		return false;
	if (detach.code != 0)
		send_fail(client, detach.app, -ECONNRESET);
	app = app_find(client, detach.app); /* the program may have detached it just now */
	if (app != NULL && detach.code != 0)
		app_settled(client, app, detach.code, detach.reason, now);
	return true;
}

void connection_ack(struct hf_client *client, uint64_t id)
{
	if (client->phase != PHASE_ACTIVE)
		return;
	if (client->ack_count == HF_ARRAY_LEN(client->acks))
		connection_flush_acks(client);
	if (client->ack_count < HF_ARRAY_LEN(client->acks))
		client->acks[client->ack_count++] = id;
}

void connection_flush_acks(struct hf_client *client)
{
	size_t size = client->ack_count * 8 + HF_WIRE_HEADER_MAX;
	uint8_t *room = client->ack_count > 0 ? connection_room(client, size) : NULL;

	if (room == NULL)
		return;
	connection_committed(client,
			     hf_wire_encode_ack(client->acks, client->ack_count, room, size));
	client->stats.acks += client->ack_count;
	client->ack_count = 0;
}

/* Gives the message to the program. It may detach the app while it has it. */
static void deliver(struct hf_client *client, const struct hf_wire_push *push, bool redelivered)
{
	const struct hf_client_message message = {
		.id = push->message_id,
		.app = push->app,
		.kind = push->kind,
		.needs_ack = push->qos > 0 && !client->config.auto_ack,
		.redelivered = redelivered,
		.payload = push->payload.data,
		.payload_len = push->payload.len,
		.answers = push->upstream_sequence,
	};

	client->stats.messages++;
	client->stats.redelivered += redelivered;
	if (client->config.callbacks.on_message != NULL)
		client->config.callbacks.on_message(client, &message, client->config.ctx);
	if (push->qos > 0 && client->config.auto_ack)
		(void)hf_client_ack(client, push->app, push->message_id);
}

static bool on_push(struct hf_client *client, struct hf_bytes body)
{
	struct hf_wire_push push;
	struct seen_id *seen;
	struct app *app;

	if (hf_wire_decode_push(body, &push) < 0)
		return false;
	app = app_find(client, push.app);
	if (app == NULL)
		return true; /* detached a moment ago */
	seen = app_find_seen(app, push.message_id);
	if (seen == NULL) {
		app_add_seen(client, app, push.message_id);
		deliver(client, &push, false);
	} else if (push.qos > 0 && !seen->acked) {
		deliver(client, &push, true);
	} else {
		client->stats.duplicates++;
		if (push.qos > 0)
			connection_ack(client, push.message_id);
	}
	return true;
}

static bool on_command(struct hf_client *client, struct hf_bytes body, uint64_t now)
{
	struct hf_wire_command command;

	if (hf_wire_decode_command(body, &command) < 0)
		return false;
	switch (command.kind) {
	case HF_WIRE_COMMAND_MOVE:
		selection_move(&client->selection, command.endpoints, command.endpoint_count,
			       client->endpoint_tls);
		client->move_ms = now + 1 + hf_random_below((uint64_t)command.delay_ms + 1);
		break;
	case HF_WIRE_COMMAND_SLOW_DOWN:
		client->quiet_until_ms = now + command.delay_ms;
		break;
	case HF_WIRE_COMMAND_HEARTBEAT:
		if (command.heartbeat_s > 0)
			client->heartbeat_s = command.heartbeat_s;
		break;
	case HF_WIRE_COMMAND_MESSAGES_LOST:
		client->stats.messages_lost += command.count;
		if (client->config.callbacks.on_messages_lost != NULL &&
		    app_find(client, command.app) != NULL)
			client->config.callbacks.on_messages_lost(client, command.app,
								  command.count,
								  client->config.ctx);
		break;
	}
	return true;
}

static bool on_bye(struct hf_client *client, struct hf_bytes body, uint64_t now)
{
	struct hf_wire_bye bye;

	if (hf_wire_decode_bye(body, &bye) < 0)
		return false;
	ending_bye(client, &bye, now);
	return true;
}

static bool on_ping(struct hf_client *client, struct hf_bytes body)
{
	uint32_t heartbeat_s;

	if (hf_wire_decode_ping(body, &heartbeat_s) < 0)
		return false;
	send_bytes(client, hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
	return true;
}

/* False: not this protocol. */
static bool on_frame(struct hf_client *client, const struct hf_wire_frame *frame, uint64_t now)
{
	if (frame->type == HF_WIRE_BYE)
		return on_bye(client, frame->body, now);
	if (client->phase == PHASE_LOGIN)
		return frame->type == HF_WIRE_LOGIN_ACK && on_login_ack(client, frame->body, now);

	switch (frame->type) {
	case HF_WIRE_PUSH:
		return on_push(client, frame->body);
	case HF_WIRE_PONG:
		client->stats.pongs++;
		learn_beat(client);
		return true;
	case HF_WIRE_PING:
		return on_ping(client, frame->body);
	case HF_WIRE_COMMAND:
		return on_command(client, frame->body, now);
	case HF_WIRE_ATTACH_ACK:
		return on_attach_ack(client, frame->body, now);
	case HF_WIRE_DETACH_ACK:
		return on_detach_ack(client, frame->body, now);
	case HF_WIRE_UPSTREAM_ACK:
		return send_on_ack(client, frame->body);
	default:
		return false;
	}
}

static bool is_open(const struct hf_client *client)
{
	return client->phase == PHASE_LOGIN || client->phase == PHASE_ACTIVE;
}

/* Handles all whole frames in client->in. False: what is there is not this protocol. */
static bool handle_frames(struct hf_client *client, uint64_t now)
{
	while (is_open(client) && !client->stop_asked && hf_buffer_len(&client->in) > 0) {
		struct hf_wire_frame frame;
		ssize_t n = hf_wire_decode(hf_buffer_data(&client->in), hf_buffer_len(&client->in),
					   UINT32_MAX, &frame, NULL);

		if (n == 0)
			break;
		if (n < 0 || !on_frame(client, &frame, now))
			return false;
		if (is_open(client)) /* else the buffer is empty already */
			hf_buffer_drain(&client->in, (size_t)n);
	}
	return true;
}

static void end(struct hf_client *client, uint64_t now)
{
	if (client->phase == PHASE_LOGIN)
		ending_failed(client, now);
	else
		ending_lost(client, now);
}

void connection_input(struct hf_client *client, uint64_t now)
{
	uint64_t before = client->stats.bytes_in;
	int err = client_read(client, IN_MAX);

	if (client->stats.bytes_in != before) {
		client->last_heard_ms = now;
		client->pong_deadline_ms = 0;
	}
	if (!handle_frames(client, now)) {
		client_error(client, HF_CLIENT_ERROR_PROTOCOL, "%s sent what is not this protocol",
			     client->endpoint);
		connection_say_bye(client, HF_CLOSE_BAD_FRAME);
		client->backoff.attempts += client->backoff.attempts == 0;
		end(client, now);
	} else if (err < 0 && is_open(client)) {
		client_error(client, HF_CLIENT_ERROR_LOST, "%s: %s", client->endpoint,
			     client->transport.error[0] != '\0' ? client->transport.error
								: strerror(-err));
		end(client, now);
	}
}

void connection_say_bye(struct hf_client *client, unsigned code)
{
	const struct hf_wire_bye bye = { .code = code };
	uint8_t *room = connection_room(client, HF_WIRE_CONTROL_MAX);

	if (room != NULL)
		connection_committed(client, hf_wire_encode_bye(&bye, room, HF_WIRE_CONTROL_MAX));
	client_flush(client, hf_clock_monotonic_ms());
}

void connection_probe(struct hf_client *client, uint64_t now, unsigned timeout_ms)
{
	uint64_t deadline_ms = now + timeout_ms;

	if (client->pong_deadline_ms == 0 || deadline_ms < client->pong_deadline_ms)
		client->pong_deadline_ms = deadline_ms;
	client->stats.pings++;
	send_bytes(client, hf_wire_ping_frame, sizeof(hf_wire_ping_frame));
}

static uint64_t ping_due_ms(const struct hf_client *client)
{
	return client->last_sent_ms + (uint64_t)beat_s(client) * 1000;
}

static bool reset_is_due(const struct hf_client *client)
{
	return client->backoff.attempts > 0 || client->moved;
}

void connection_timers(struct hf_client *client, uint64_t now)
{
	if (client->pong_deadline_ms != 0 && now >= client->pong_deadline_ms) {
		client_error(client, HF_CLIENT_ERROR_LOST, "%s: no answer to a PING",
			     client->endpoint);
		learn_silence(client);
		ending_lost(client, now);
		return;
	}
	if (client->move_ms != 0 && now >= client->move_ms) {
		ending_move(client, now);
		return;
	}
	if (reset_is_due(client) && now >= client->connected_ms + client->config.stable_ms) {
		hf_backoff_reset(&client->backoff);
		client->moved = false;
	}
	if (now >= client->quiet_until_ms)
		apps_attach_due(client, now);
	if (client->pong_deadline_ms == 0 && now >= ping_due_ms(client))
		connection_probe(client, now, client->config.pong_timeout_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t connection_next_ms(const struct hf_client *client)
{
	uint64_t next = earlier(client->pong_deadline_ms, client->move_ms);
	uint64_t attach = apps_next_ms(client);

	if (client->pong_deadline_ms == 0)
		next = earlier(next, ping_due_ms(client));
	if (reset_is_due(client))
		next = earlier(next, client->connected_ms + client->config.stable_ms);
	if (attach != 0)
		next = earlier(next, HF_MAX(attach, client->quiet_until_ms));
	return next;
}
