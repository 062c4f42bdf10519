/* sdk/c/client.c - the API, the states, and the turn in which everything happens. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_text.h"

#define LIST_AGE_MS (600 * 1000ull) /* an older list of servers is asked for again */
#define READ_SIZE   16384
#define TURN_MAX    (256 * 1024) /* bytes read in one turn: the program's loop has others */
#define PROBE_MS    5000
#define BUFFER_KEEP 4096

void client_set_state(struct hf_client *client, enum hf_client_state state)
{
	struct hf_client_status status;

	if (state == client->state && state != HF_CLIENT_WAITING)
		return;
	client->state = state;
	hf_client_status(client, &status);
	if (client->config.callbacks.on_state != NULL)
		client->config.callbacks.on_state(client, &status, client->config.ctx);
}

void client_error(struct hf_client *client, enum hf_client_error error, const char *fmt, ...)
{
	char detail[DETAIL_SIZE];
	va_list args;

	if (client->config.callbacks.on_error == NULL)
		return;
	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	client->config.callbacks.on_error(client, error, detail, client->config.ctx);
}

void client_set_reason(struct hf_client *client, unsigned code, struct hf_bytes reason)
{
	client->code = code;
	if (reason.len > 0)
		memcpy(client->reason, reason.data, reason.len);
	client->reason[reason.len] = '\0';
}

int client_open(struct hf_client *client, const char *host, uint16_t port, bool tls)
{
	const char *name = client->config.tls_name != NULL ? client->config.tls_name : host;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	int err = 0;

	if (tls && client->tls_context == NULL)
		err = transport_tls_new(client->config.ca_file, &client->tls_context);
	if (err == 0)
		err = transport_open(&client->transport, host, port, client->lookups++,
				     tls ? client->tls_context : NULL, name);
	if (err < 0)
		return err;
	if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->transport.fd, &event) < 0) {
		err = -errno;
		client_close_transport(client, false);
		return err;
	}
	client->armed = event.events;
	return 0;
}

void client_close_transport(struct hf_client *client, bool orderly)
{
	/* Not left to close(2): a child of the program may hold a copy of the descriptor. */
	if (client->armed != 0)
		epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, client->transport.fd, NULL);
	transport_close(&client->transport, orderly);
	client->armed = 0;
	client->more_input = false;
	hf_buffer_clear(&client->in, BUFFER_KEEP);
	hf_buffer_clear(&client->out, BUFFER_KEEP);
}

bool client_may_resume(const struct hf_client *client, uint64_t now)
{
	return client->ticket_len > 0 && client->ticket_until_ms > now;
}

static bool fetch_is_due(const struct hf_client *client)
{
	uint64_t wall_ms = hf_clock_wall_ms(), then_ms = client->selection.fetched_wall_ms;

	if (client->dispatcher_count == 0 || client->selection.moved_count > 0)
		return false;
	if (client_may_resume(client, hf_clock_monotonic_ms()) && !client->fetch_wanted)
		return false; /* we know where to go */
	return client->fetch_wanted || client->selection.fetched_count == 0 || then_ms > wall_ms ||
	       wall_ms - then_ms > LIST_AGE_MS;
}

void client_begin_attempt(struct hf_client *client, uint64_t now)
{
	client->retry_ms = client->not_before_ms = 0;
	client_set_state(client, HF_CLIENT_CONNECTING);
	if (fetch_is_due(client))
		fetch_begin(client, now);
	else
		client_begin_round(client, now);
}

void client_begin_round(struct hf_client *client, uint64_t now)
{
	client->tries = 0;
	selection_begin_round(&client->selection, client_may_resume(client, now), now);
	client_next_server(client, now);
}

void client_next_server(struct hf_client *client, uint64_t now)
{
	struct endpoint *endpoint;

	while (client->tries < TRIES_PER_ROUND &&
	       (endpoint = selection_next(&client->selection)) != NULL) {
		int err;

		client->tries++;
		client->stats.connects++;
		endpoint_format(endpoint, client->endpoint);
		client->endpoint_tls = endpoint->tls;
		err = client_open(client, endpoint->host, endpoint->port, endpoint->tls);
		if (err == 0) {
			client->attempt = endpoint;
			client->phase = PHASE_CONNECT;
			client->deadline_ms =
				hf_clock_monotonic_ms() + client->config.connect_timeout_ms;
			return;
		}
		client->stats.connect_failures++;
		selection_failed(endpoint, now);
		client_error(client, endpoint->tls ? HF_CLIENT_ERROR_TLS : HF_CLIENT_ERROR_CONNECT,
			     "%s: %s", client->endpoint, hf_client_strerror(err));
	}
	client->fetch_wanted = true;
	client->fetch_reason = "failed";
	client_set_reason(client, 0, hf_bytes_of(NULL, 0));
	ending_wait(client, now, hf_backoff_next_ms(&client->backoff));
}

int client_read(struct hf_client *client, size_t most)
{
	size_t taken = 0;

	client->more_input = false;
	for (;;) {
		size_t held = hf_buffer_len(&client->in);
		size_t size = HF_MIN(most - HF_MIN(held, most), (size_t)READ_SIZE);
		uint8_t *room;
		ssize_t n;

		if (size == 0 || taken >= TURN_MAX) {
			client->more_input = true;
			return 0;
		}
		room = hf_buffer_reserve(&client->in, size);
		if (room == NULL)
			return -ENOMEM;
		n = transport_read(&client->transport, room, size);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		hf_buffer_commit(&client->in, (size_t)n);
		taken += (size_t)n;
		client->stats.bytes_in += (uint64_t)n;
	}
}

int client_flush(struct hf_client *client, uint64_t now)
{
	while (client->transport.ready && hf_buffer_len(&client->out) > 0) {
		ssize_t n = transport_write(&client->transport, hf_buffer_data(&client->out),
					    hf_buffer_len(&client->out));

		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		hf_buffer_drain(&client->out, (size_t)n);
		client->stats.bytes_out += (uint64_t)n;
		client->last_sent_ms = now;
	}
	if (hf_buffer_len(&client->out) == 0)
		hf_buffer_clear(&client->out, BUFFER_KEEP);
	return 0;
}

void client_drain(struct hf_client *client, unsigned flush_ms)
{
	uint64_t until_ms = hf_clock_monotonic_ms() + flush_ms, now;
	bool shut = false;
	char byte[512];

	while ((now = hf_clock_monotonic_ms()) < until_ms && client_flush(client, now) == 0) {
		bool unsent = hf_buffer_len(&client->out) > 0;
		struct pollfd poll_fd = { client->transport.fd, POLLIN, 0 };

		if (!unsent && !shut) {
			shutdown(client->transport.fd, SHUT_WR);
			shut = true;
		}
		poll_fd.events |= unsent ? POLLOUT : 0;
		if (poll(&poll_fd, 1, (int)(until_ms - now)) < 0)
			return;
		if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0)
			continue;
		/* Under TLS too: nobody wants what these bytes say. */
		if (recv(client->transport.fd, byte, sizeof(byte), 0) <= 0 && errno != EAGAIN)
			return;
	}
}

/* The line is of no more use: what that means depends on what it was for. */
static void on_broken(struct hf_client *client, int err, uint64_t now)
{
	const char *why = client->transport.error[0] != '\0' ? client->transport.error
							     : hf_client_strerror(err);
	enum hf_client_error kind =
		client->transport.error[0] != '\0' ? HF_CLIENT_ERROR_TLS : HF_CLIENT_ERROR_CONNECT;

	switch (client->phase) {
	case PHASE_FETCH:
		fetch_failed(client, why, now);
		break;
	case PHASE_CONNECT:
	case PHASE_LOGIN:
		client_error(client, kind, "%s: %s", client->endpoint, why);
		ending_failed(client, now);
		break;
	case PHASE_ACTIVE:
		client_error(client, HF_CLIENT_ERROR_LOST, "%s: %s", client->endpoint, why);
		ending_lost(client, now);
		break;
	case PHASE_NONE:
		break;
	}
}

static void on_line(struct hf_client *client, uint64_t now)
{
	if (!client->transport.ready) {
		int err = transport_advance(&client->transport);

		if (err == -EAGAIN)
			return;
		if (err < 0) {
			on_broken(client, err, now);
			return;
		}
		if (client->phase == PHASE_FETCH)
			fetch_ready(client, now);
		else if (apps_are_ready(client))
			connection_begin(client, now);
		else
			ending_no_apps(client, now);
		return;
	}
	if (client->phase == PHASE_FETCH)
		fetch_input(client, now);
	else
		connection_input(client, now);
}

static bool has_live_apps(const struct hf_client *client)
{
	return apps_are_ready(client) || apps_count(client, APP_ATTACHED) > 0 ||
	       apps_count(client, APP_ASKED) > 0;
}

static void on_timers(struct hf_client *client, uint64_t now)
{
	apps_ask_tokens(client);
	if (client->deadline_ms != 0 && now >= client->deadline_ms)
		on_broken(client, -ETIMEDOUT, now);
	if (client->phase == PHASE_ACTIVE) {
		if (has_live_apps(client))
			connection_timers(client, now);
		else
			ending_no_apps(client, now);
	}
	if (client->state != HF_CLIENT_WAITING)
		return;
	if (client->retry_ms == 0)
		client->retry_ms = apps_next_ms(client); /* a token came, or an app */
	if (client->retry_ms == 0 || now < client->retry_ms)
		return;
	if (apps_are_ready(client))
		client_begin_attempt(client, now);
	else
		ending_wait(client, now, 0);
}

/* Asks epoll for what the line waits for now. */
static void arm(struct hf_client *client)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (client->transport.fd < 0)
		return;
	if (client->transport.wants_write)
		event.events |= EPOLLOUT;
	if (event.events == client->armed)
		return;
	client->armed = event.events;
	epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, client->transport.fd, &event);
}

int hf_client_process(struct hf_client *client)
{
	struct epoll_event event;
	uint64_t now;
	int err;

	if (client->processing)
		return -EBUSY;
	client->processing = true;
	now = hf_clock_monotonic_ms();
	if (epoll_wait(client->epoll_fd, &event, 1, 0) > 0 || client->more_input)
		on_line(client, now);
	if (!client->stop_asked && client->state != HF_CLIENT_STOPPED)
		on_timers(client, now);
	connection_flush_acks(client);
	err = client_flush(client, now);
	if (err < 0)
		on_broken(client, err, now);
	client->processing = false;
	if (client->stop_asked) {
		client->stop_asked = false;
		ending_stop(client, client->stop_flush_ms);
	}
	arm(client);
	return 0;
}

int hf_client_fd(const struct hf_client *client)
{
	return client->epoll_fd;
}

static bool is_urgent(const struct hf_client *client)
{
	if (client->more_input || client->ack_count > 0)
		return true;
	return hf_buffer_len(&client->out) > 0 && client->transport.ready &&
	       !client->transport.wants_write;
}

int hf_client_next_timeout_ms(const struct hf_client *client)
{
	uint64_t next = client->deadline_ms, now;

	if (is_urgent(client))
		return 0;
	if (client->phase == PHASE_ACTIVE) {
		if (!has_live_apps(client))
			return 0;
		next = connection_next_ms(client);
	} else if (client->state == HF_CLIENT_WAITING) {
		next = client->retry_ms != 0 ? client->retry_ms : apps_next_ms(client);
	}
	if (next == 0)
		return -1;
	now = hf_clock_monotonic_ms();
	return next <= now ? 0 : (int)HF_MIN(next - now, (uint64_t)3600000);
}

int hf_client_run(struct hf_client *client, int timeout_ms)
{
	uint64_t now = hf_clock_monotonic_ms(), until_ms = now + (uint64_t)HF_MAX(timeout_ms, 0);
	struct pollfd poll_fd = { client->epoll_fd, POLLIN, 0 };
	int err;

	for (;;) {
		int wait_ms;

		err = hf_client_process(client);
		if (err < 0)
			return err;
		if (client->state == HF_CLIENT_STOPPED)
			return 0;
		wait_ms = hf_client_next_timeout_ms(client);
		if (timeout_ms >= 0) {
			now = hf_clock_monotonic_ms();
			if (now >= until_ms)
				return -ETIMEDOUT;
			if (wait_ms < 0 || (uint64_t)wait_ms > until_ms - now)
				wait_ms = (int)(until_ms - now);
		}
		if (poll(&poll_fd, 1, wait_ms) < 0)
			return -errno;
	}
}

int hf_client_start(struct hf_client *client)
{
	if (client->state != HF_CLIENT_IDLE && client->state != HF_CLIENT_STOPPED)
		return -EALREADY;
	if (client->app_count == 0)
		return -EINVAL;
	for (size_t i = 0; i < client->app_count; i++) {
		struct app *app = client->apps[i];

		if (app->state == APP_STOPPED)
			app->state = APP_IDLE;
		app->retry_ms = 0;
	}
	client->fetch_reason = "start";
	client_set_reason(client, 0, hf_bytes_of(NULL, 0));
	client->retry_ms = 1; /* that is: now; the work begins with hf_client_process() */
	client->state = HF_CLIENT_WAITING;
	return 0;
}

void hf_client_stop(struct hf_client *client, unsigned flush_ms)
{
	client->stop_flush_ms = flush_ms;
	if (client->processing)
		client->stop_asked = true;
	else
		ending_stop(client, flush_ms);
}

void hf_client_notify_network(struct hf_client *client, enum hf_client_network network)
{
	if ((unsigned)network <= HF_CLIENT_NETWORK_ETHERNET)
		client->config.network = network;
	client->learned_s = 0; /* that was about another line */
	client->fetch_reason = "network";
	if (client->state == HF_CLIENT_WAITING && client->retry_ms != 0 &&
	    client->not_before_ms == 0 && client->code == 0)
		client->retry_ms = 1;
	else if (client->phase == PHASE_ACTIVE)
		connection_probe(client, hf_clock_monotonic_ms(), PROBE_MS);
}
