/* sdk/c/ending.c - how a connection ends, and what the client does next. */
#include <errno.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_hash.h"

/* Nothing of a connection is left after this; the apps are as if it had never been. */
static void drop_connection(struct hf_client *client, bool orderly)
{
	client_close_transport(client, orderly);
	client->phase = PHASE_NONE;
	client->attempt = NULL;
	client->deadline_ms = client->pong_deadline_ms = client->move_ms = 0;
	client->quiet_until_ms = 0;
	client->heartbeat_s = 0;
	client->connected_ms = 0;
	client->ack_count = 0;
	client->login_answered = false;
	for (size_t i = 0; i < client->app_count; i++) {
		enum app_state *state = &client->apps[i]->state;

		if (*state == APP_ATTACHED || *state == APP_ASKED)
			*state = APP_IDLE;
	}
}

static void forget_connection(struct hf_client *client, bool orderly)
{
	drop_connection(client, orderly);
	send_fail(client, 0, -ECONNRESET);
}

/* A connection that died, and was not ended: the room lets its sessions wait for us. */
static void keep_ticket(struct hf_client *client, uint64_t now)
{
	client->ticket_until_ms = now + (uint64_t)client->linger_s * 1000;
}

/* All apps were refused for good; the code of one of them, else 0. */
static unsigned refused_code(const struct hf_client *client)
{
	if (client->app_count == 0 || apps_count(client, APP_STOPPED) < client->app_count)
		return 0;
	return client->apps[0]->code;
}

void ending_wait(struct hf_client *client, uint64_t now, uint64_t wait_ms)
{
	unsigned refused = refused_code(client);

	client->retry_ms = 0;
	if (refused != 0) {
		if (client->code == 0)
			client_set_reason(client, refused, hf_bytes_of(NULL, 0));
		client_set_state(client, HF_CLIENT_STOPPED);
		return;
	}
	if (apps_are_ready(client))
		client->retry_ms = HF_MAX(now + wait_ms, client->not_before_ms);
	client_set_state(client, HF_CLIENT_WAITING);
}

void ending_failed(struct hf_client *client, uint64_t now)
{
	client->stats.connect_failures++;
	if (client->attempt != NULL)
		selection_failed(client->attempt, now);
	forget_connection(client, false);
	client_next_server(client, now);
}

void ending_lost(struct hf_client *client, uint64_t now)
{
	uint64_t wait_ms;

	client->stats.lost++;
	keep_ticket(client, now);
	client_set_reason(client, 0, hf_bytes_of(NULL, 0));
	forget_connection(client, false);
	if (client->backoff.attempts == 0) {
		/* A server that dies sends all its clients here at once. */
		client->backoff.attempts = 1;
		wait_ms = hf_random_below((uint64_t)client->config.first_retry_ms + 1);
	} else {
		wait_ms = hf_backoff_next_ms(&client->backoff);
	}
	ending_wait(client, now, wait_ms);
}

/* An order to move is obeyed at once, but only once in a while: servers that send us round in
 * circles get us back after a back-off. */
static uint64_t move_wait_ms(struct hf_client *client)
{
	if (!client->moved) {
		client->moved = true;
		return 0;
	}
	return hf_backoff_next_ms(&client->backoff);
}

void ending_bye(struct hf_client *client, const struct hf_wire_bye *bye, uint64_t now)
{
	/* When every app had its own answer, theirs count: one may need a token, one be refused. */
	bool told = client->login_answered && apps_count(client, APP_ATTACHED) == 0 &&
		    (apps_are_ready(client) || apps_count(client, APP_NO_TOKEN) > 0);
	enum hf_close_action action = hf_close_action(bye->code);
	uint64_t wait_ms = bye->delay_ms;
	bool silent = bye->code == HF_CLOSE_KEEPALIVE_TIMEOUT && client->phase == PHASE_ACTIVE;

	client_set_reason(client, bye->code, bye->reason);
	if (silent)
		keep_ticket(client, now); /* the room heard nothing of us, which is a cut as well */
	if (action == HF_CLOSE_STOP && told)
		action = HF_CLOSE_BACKOFF;
	if (action == HF_CLOSE_REFRESH_TOKEN) {
		/* The code is about all apps that were not told anything of their own. */
		apps_settle_all(client, APP_ATTACHED, bye->code, bye->reason, now);
		apps_settle_all(client, APP_ASKED, bye->code, bye->reason, now);
	} else if (action != HF_CLOSE_STOP && !silent) {
		client->selection.good[0] = '\0'; /* it does not want us now */
		if (client->attempt != NULL)
			selection_failed(client->attempt, now);
	}
	selection_move(&client->selection, bye->endpoints, bye->endpoint_count,
		       client->endpoint_tls);
	client->fetch_wanted = bye->endpoint_count == 0 && !silent;
	client->fetch_reason = action == HF_CLOSE_MOVE ? "drain" : "failed";
	forget_connection(client, true);

	switch (action) {
	case HF_CLOSE_STOP:
		client_set_state(client, HF_CLIENT_STOPPED);
		return;
	case HF_CLOSE_MOVE:
		wait_ms += move_wait_ms(client);
		break;
	case HF_CLOSE_BACKOFF:
	case HF_CLOSE_REFRESH_TOKEN:
		wait_ms += hf_backoff_next_ms(&client->backoff);
		break;
	}
	ending_wait(client, now, wait_ms);
}

void ending_move(struct hf_client *client, uint64_t now)
{
	client->selection.good[0] = '\0';
	client->fetch_wanted = client->selection.moved_count == 0;
	client->fetch_reason = "drain";
	connection_flush_acks(client);
	connection_say_bye(client, HF_CLOSE_NORMAL);
	client_set_reason(client, HF_CLOSE_REBALANCED, hf_bytes_of(NULL, 0));
	forget_connection(client, true);
	ending_wait(client, now, move_wait_ms(client));
}

void ending_no_apps(struct hf_client *client, uint64_t now)
{
	if (client->phase == PHASE_ACTIVE) {
		connection_flush_acks(client);
		connection_say_bye(client, HF_CLOSE_NORMAL);
	}
	forget_connection(client, true);
	ending_wait(client, now, 0);
}

void ending_stop(struct hf_client *client, unsigned flush_ms)
{
	if (client->phase == PHASE_ACTIVE) {
		connection_flush_acks(client);
		connection_say_bye(client, HF_CLOSE_NORMAL);
		client_drain(client, flush_ms);
	}
	client->fetch_reason = "start";
	drop_connection(client, true);
	send_forget(client, 0);
	client_set_reason(client, HF_CLOSE_NORMAL, hf_bytes_of(NULL, 0));
	client->retry_ms = 0;
	client->state = HF_CLIENT_STOPPED;
}
