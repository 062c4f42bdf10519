#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_wire.h"

#define SLOW_BUFFER 4096
#define SLOW_SALT   1000 /* others than those of the waves */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static struct stats *stats_of(const struct client *client)
{
	return client->fleet->engine.worker->stats;
}

static void count(const struct client *client, enum counter counter, uint64_t n)
{
	stats_of(client)->counters[counter] += n;
}

static void record_ns(const struct client *client, enum hist hist, uint64_t from_ns, uint64_t to_ns)
{
	hf_histogram_record(&stats_of(client)->hist[hist],
			    to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0);
}

/* The one place where a connection ends. */
static void finish(struct client *client)
{
	struct stats *stats = stats_of(client);

	if (client->state == CLIENT_OPEN)
		stats->open--;
	else if (client->state != CLIENT_IDLE)
		stats->opening--;
	secure_end(client);
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->state = CLIENT_IDLE;
	free(client->partial);
	client->partial = NULL;
	client->partial_len = client->partial_size = 0;
	client->silent = false;
}

/* The server or the network ended it; `failure` is what became of an attempt. */
static void lose(struct client *client, enum counter failure)
{
	enum back why = client->state == CLIENT_OPEN ? BACK_CUT : BACK_FAILED;

	if (why == BACK_CUT) {
		count(client, COUNT_CUT, 1);
	} else {
		count(client, COUNT_FAILED, 1);
		count(client, failure, 1);
	}
	if (why == BACK_CUT)
		ticket_on_end(client, true);
	finish(client);
	retry_plan(client, why, 0, 0);
}

static enum counter failure_of(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return COUNT_FAILED_REFUSED;
	case ETIMEDOUT:
		return COUNT_FAILED_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return COUNT_FAILED_RESET;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return COUNT_FAILED_UNREACHABLE;
	default:
		return COUNT_FAILED_LOCAL;
	}
}

void client_give_up(struct client *client)
{
	lose(client, COUNT_FAILED_TIMEOUT);
}

bool client_send(struct client *client, const uint8_t *data, size_t len)
{
	/* A device sends little: a socket that is full is one whose server has stopped reading. */
	if (secure_send(client, data, len) != (ssize_t)len) {
		lose(client, COUNT_FAILED_RESET);
		return false;
	}
	client->last_sent_s = (uint32_t)(client->fleet->engine.now_ns / 1000000000u);
	return true;
}

void client_ping(struct client *client)
{
	/* One that does not read much can't know. */
	client->silent = !client->slow;
	client_send(client, hf_wire_ping_frame, sizeof(hf_wire_ping_frame));
}

/* The tag and the user by which `push --kind` finds the client. */
static void join_groups(const struct client *client, struct hf_wire_session *session,
			char names[2][GROUP_NAME_SIZE])
{
	const struct options *options = client->fleet->engine.worker->options;
	uint64_t group;
	size_t len;

	if (options->tags > 0) {
		group = groups_of(options, KIND_TAG, client->number);
		len = groups_name(options, KIND_TAG, group, names[0]);
		session->tags[session->tag_count++] = hf_bytes_of(names[0], len);
	}
	if (options->users > 0) {
		group = groups_of(options, KIND_USER, client->number);
		len = groups_name(options, KIND_USER, group, names[1]);
		session->user_id = hf_bytes_of(names[1], len);
	}
}

static uint8_t network_of(const struct options *options)
{
	if (strcmp(options->net, "cell") == 0)
		return HF_NETWORK_CELLULAR;
	return strcmp(options->net, "wifi") == 0 ? HF_NETWORK_WIFI : HF_NETWORK_ETHERNET;
}

static void login(struct client *client)
{
	const struct worker *worker = client->fleet->engine.worker;
	const struct options *options = worker->options;
	char registration[HF_REGISTRATION_MAX + 1], token[HF_TOKEN_MAX + 1];
	char names[2][GROUP_NAME_SIZE];
	uint8_t frame[HF_TOKEN_MAX + 512];
	size_t len = targets_registration(options, client->number, registration);
	int token_len =
		targets_token(options, worker->targets, client->number, token, sizeof(token));
	struct hf_wire_login body = {
		.version = HF_WIRE_VERSION,
		.device = hf_bytes_of(registration, len),
		.platform = HF_BYTES_LITERAL("bench"),
		.network = network_of(options),
		.ticket = ticket_show(client),
		.heartbeat_s = (uint32_t)options->heartbeat_s,
		.session_count = 1,
	};
	ssize_t frame_len;

	body.sessions[0].app = (uint32_t)options->app;
	body.sessions[0].registration = hf_bytes_of(registration, len);
	body.sessions[0].token = hf_bytes_of(token, token_len > 0 ? (size_t)token_len : 0);
	join_groups(client, &body.sessions[0], names);
	frame_len = hf_wire_encode_login(&body, frame, sizeof(frame));
	if (frame_len < 0) {
		lose(client, COUNT_FAILED_LOCAL);
		return;
	}
	client_send(client, frame, (size_t)frame_len);
}

void client_start(struct client *client, uint64_t intended_ns)
{
	struct engine *engine = &client->fleet->engine;
	const struct targets *targets = engine->worker->targets;
	const struct target *room = &targets->rooms[client->room];
	int on = 1, fd;

	client->intended_ns = intended_ns;
	client->started_ns = engine->now_ns;
	client->connected_ns = 0;
	count(client, COUNT_STARTED, 1);
	client->state = CLIENT_CONNECTING;
	stats_of(client)->opening++;
	fd = socket(room->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	client->fd = fd;
	if (fd < 0) {
		lose(client, COUNT_FAILED_LOCAL);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (client->slow) /* what it does not read shall lie with the server */
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ SLOW_BUFFER }, sizeof(int));
	if (targets->source_count > 0) {
		uint64_t place = client->number / targets->count % targets->source_count;

		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, (const struct sockaddr *)&targets->sources[place].address,
			 targets->sources[place].len) < 0) {
			lose(client, COUNT_FAILED_LOCAL);
			return;
		}
	}
	if (connect(fd, (const struct sockaddr *)&room->address, room->len) < 0 &&
	    errno != EINPROGRESS)
		lose(client, failure_of(errno));
	else if (engine_watch(engine, fd, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT, &client->source) < 0)
		lose(client, COUNT_FAILED_LOCAL);
}

static void on_handshake(struct client *client)
{
	struct engine *engine = &client->fleet->engine;
	uint32_t events;
	int result = secure_handshake(client, &events);

	if (result < 0 ||
	    engine_watch(engine, client->fd, EPOLL_CTL_MOD, events, &client->source) < 0) {
		lose(client, COUNT_FAILED_TLS);
	} else if (result == 1) {
		record_ns(client, HIST_TLS, client->connected_ns, engine->now_ns);
		client->connected_ns = engine->now_ns;
		client->state = CLIENT_LOGIN;
		login(client);
	}
}

static void on_connected(struct client *client)
{
	struct engine *engine = &client->fleet->engine;
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err == 0)
		err = -engine_watch(engine, client->fd, EPOLL_CTL_MOD, EPOLLIN, &client->source);
	if (err != 0) {
		lose(client, failure_of(err));
		return;
	}
	count(client, COUNT_CONNECTED, 1);
	record_ns(client, HIST_CONNECT, client->started_ns, engine->now_ns);
	client->connected_ns = engine->now_ns;
	if (client->fleet->tls == NULL) {
		client->state = CLIENT_LOGIN;
		login(client);
		return;
	}
	client->state = CLIENT_TLS;
	if (secure_begin(client) < 0)
		lose(client, COUNT_FAILED_LOCAL);
	else
		on_handshake(client);
}

static void on_login_ack(struct client *client, struct hf_bytes body)
{
	struct engine *engine = &client->fleet->engine;
	struct stats *stats = stats_of(client);
	struct hf_wire_login_ack ack;

	if (client->state != CLIENT_LOGIN || hf_wire_decode_login_ack(body, &ack) < 0 ||
	    ack.result_count != 1 || ack.results[0].code != 0)
		return; /* BYE follows, and counts as a failure */
	client->state = CLIENT_OPEN;
	client->heartbeat_s = ack.heartbeat_s;
	stats->opening--;
	stats->open++;
	if (stats->full_ns == 0 && (uint64_t)stats->open == client->fleet->count)
		stats->full_ns = engine->now_ns;
	count(client, COUNT_LOGINS, 1);
	count(client, COUNT_RESUMED, ack.resumed);
	ticket_keep(client, ack.ticket, ack.linger_s);
	record_ns(client, HIST_AUTH, client->connected_ns, engine->now_ns);
	if (client->slow)
		engine_watch(engine, client->fd, EPOLL_CTL_MOD, 0, &client->source);
	if (client->back != BACK_NONE) {
		count(client, COUNT_RECONNECTED, 1);
		count(client, COUNT_RECONNECTED + client->back, 1);
		client->back = BACK_NONE;
	}
	record_ns(client, HIST_LOGIN, client->intended_ns, engine->now_ns);
	record_ns(client, HIST_LOGIN_UNCORRECTED, client->started_ns, engine->now_ns);
	if (client->wave > 0) {
		struct wave *wave = &stats->waves[client->wave - 1];

		wave->recovered++;
		wave->done_ns = engine->now_ns;
		client->wave = 0;
	}
}

/* What waited for a client that we had sent away says nothing of the server's speed; what waited
 * for one that the server has lost does. */
static enum hist deliver_hist(const struct client *client, const struct payload *payload)
{
	const struct engine *engine = &client->fleet->engine;

	if (client->slow)
		return HIST_DELIVER_SLOW;
	if (client->dropped ||
	    (client->churned &&
	     payload->intended_ns < engine_wall_of(engine, client->connected_ns)))
		return HIST_DELIVER_BACK;
	return client->fleet->in_storm ? HIST_DELIVER_STORM : HIST_DELIVER;
}

/* One that the app lost may be older than what sequence numbers are remembered for. */
static bool take_sequence(struct client *client, const struct payload *payload, bool came_again)
{
	uint64_t *counters = stats_of(client)->counters;

	if (sequence_take(client->streams, payload, counters))
		return true;
	if (came_again)
		counters[COUNT_DUPLICATED]--;
	return came_again;
}

static void on_push(struct client *client, struct hf_bytes body)
{
	struct engine *engine = &client->fleet->engine;
	struct fleet *fleet = client->fleet;
	struct hf_wire_push push;
	struct payload payload;
	bool came_again;
	enum hist hist;

	if (hf_wire_decode_push(body, &push) < 0)
		return;
	count(client, COUNT_RX_MESSAGES, 1);
	if (push.upstream_sequence != 0) {
		upstream_on_answer(client, push.upstream_sequence);
		return;
	}
	came_again = mix_came_again(client, push.message_id);
	if (push.qos > 0 && mix_loses(client, push.message_id))
		return;
	if (push.qos > 0 && !engine->worker->options->no_ack)
		fleet->acks[fleet->ack_count++] = push.message_id;
	if (!payload_read(push.payload, &payload)) {
		count(client, COUNT_FOREIGN, 1);
		return;
	}
	if (!take_sequence(client, &payload, came_again))
		return;
	count(client, COUNT_UNIQUE, 1);
	if (payload.sent_ns > engine->wall_ns)
		count(client, COUNT_CLOCK_NEGATIVE, 1);
	hist = deliver_hist(client, &payload);
	record_ns(client, hist, payload.intended_ns, engine->wall_ns);
	if (hist == HIST_DELIVER)
		record_ns(client, HIST_DELIVER_UNCORRECTED, payload.sent_ns, engine->wall_ns);
}

static void flush_acks(struct client *client)
{
	struct fleet *fleet = client->fleet;
	uint8_t frame[HF_WIRE_CONTROL_MAX];
	ssize_t len;

	if (fleet->ack_count == 0 || client->fd < 0)
		return;
	len = hf_wire_encode_ack(fleet->acks, fleet->ack_count, frame, sizeof(frame));
	count(client, COUNT_ACKS, fleet->ack_count);
	fleet->ack_count = 0;
	if (len > 0)
		client_send(client, frame, (size_t)len);
}

static void on_bye(struct client *client, struct hf_bytes body)
{
	enum back why = client->state == CLIENT_OPEN ? BACK_CLOSED : BACK_FAILED;
	struct stats *stats = stats_of(client);
	struct hf_wire_bye bye;

	if (hf_wire_decode_bye(body, &bye) < 0)
		bye.code = bye.delay_ms = 0;
	if (why == BACK_CLOSED) {
		ticket_on_end(client, bye.code == HF_CLOSE_KEEPALIVE_TIMEOUT);
		stats->closed[close_index(bye.code)]++;
	} else {
		stats->refused[close_index(bye.code)]++;
		count(client, COUNT_FAILED, 1);
		count(client, COUNT_FAILED_BYE, 1);
	}
	finish(client);
	retry_plan(client, why, bye.code, bye.delay_ms);
}

static void on_command(struct client *client, struct hf_bytes body)
{
	struct hf_wire_command command;

	/* Moves come as BYE too, when they are not followed; what is sent is the tool's to say. */
	if (hf_wire_decode_command(body, &command) == 0 &&
	    command.kind == HF_WIRE_COMMAND_HEARTBEAT && command.heartbeat_s > 0)
		client->heartbeat_s = command.heartbeat_s;
}

static void on_frame(struct client *client, const struct hf_wire_frame *frame)
{
	switch (frame->type) {
	case HF_WIRE_LOGIN_ACK:
		on_login_ack(client, frame->body);
		break;
	case HF_WIRE_PUSH:
		on_push(client, frame->body);
		if (client->fleet->ack_count == HF_ARRAY_LEN(client->fleet->acks))
			flush_acks(client);
		break;
	case HF_WIRE_PING:
		client_send(client, hf_wire_pong_frame, sizeof(hf_wire_pong_frame));
		break;
	case HF_WIRE_UPSTREAM_ACK:
		upstream_on_ack(client, frame->body);
		break;
	case HF_WIRE_COMMAND:
		on_command(client, frame->body);
		break;
	case HF_WIRE_BYE:
		on_bye(client, frame->body);
		break;
	default:
		break;
	}
}

/* Returns the bytes that were whole frames, or -1 when the stream is lost. */
static ssize_t take_frames(struct client *client, const uint8_t *data, size_t len, size_t *ret_need)
{
	size_t pos = 0;

	*ret_need = 0;
	while (pos < len && client->fd >= 0) {
		struct hf_wire_frame frame;
		ssize_t n = hf_wire_decode(data + pos, len - pos, UINT32_MAX, &frame, ret_need);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		on_frame(client, &frame);
		pos += (size_t)n;
	}
	return (ssize_t)pos;
}

static bool keep_rest(struct client *client, const uint8_t *data, size_t len, size_t need)
{
	uint8_t *grown;
	size_t size = HF_MAX(need, len);

	if (len > 0 && size > client->partial_size) {
		grown = malloc(size);
		if (grown == NULL)
			return false;
		memcpy(grown, data, len);
		free(client->partial);
		client->partial = grown;
		client->partial_size = (uint32_t)size;
	} else if (len > 0) {
		memmove(client->partial, data, len);
	} else {
		free(client->partial);
		client->partial = NULL;
		client->partial_size = 0;
	}
	client->partial_len = (uint32_t)len;
	return true;
}

static void on_readable(struct client *client, size_t most)
{
	struct fleet *fleet = client->fleet;
	uint8_t *buffer = fleet->buffer;
	size_t have = client->partial_len, need = 0;
	ssize_t n = secure_recv(client, buffer + have, HF_MIN(CLIENT_BUFFER - have, most)), taken;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(client, COUNT_FAILED_RESET);
		return;
	}
	count(client, COUNT_RX_BYTES, (uint64_t)n);
	client->silent = false;
	if (have > 0)
		memcpy(buffer, client->partial, have);
	have += (size_t)n;
	fleet->ack_count = 0;
	taken = take_frames(client, buffer, have, &need);
	flush_acks(client);
	if (client->fd < 0)
		return;
	if (taken < 0 || !keep_rest(client, buffer + taken, have - (size_t)taken, need))
		lose(client, taken < 0 ? COUNT_FAILED_PROTOCOL : COUNT_FAILED_LOCAL);
}

static void on_events(struct source *source, uint32_t events)
{
	struct client *client = HF_CONTAINER_OF(source, struct client, source);

	/* Dropped and started anew in this turn: the event may be of the old descriptor, and then
	 * what follows finds nothing to do. */
	if (client->fd < 0)
		return;
	if (client->state == CLIENT_CONNECTING) {
		if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			on_connected(client);
		return;
	}
	if (client->state == CLIENT_TLS) {
		on_handshake(client);
		return;
	}
	/* What OpenSSL has read already, epoll does not know of. */
	do
		on_readable(client, CLIENT_BUFFER);
	while (client->fd >= 0 && secure_has_more(client));
}

void client_read_slowly(struct client *client)
{
	on_readable(client, SLOW_BYTES);
}

void client_init(struct client *client, struct fleet *fleet, uint32_t number)
{
	client->source.on_events = on_events;
	client->fleet = fleet;
	client->fd = -1;
	client->number = number;
	client->room = (uint8_t)(number % fleet->engine.worker->targets->count);
	client->slow = mix_chosen(number, SLOW_SALT, fleet->engine.worker->options->slow_share);
}

void client_drop(struct client *client, enum drop_kind kind)
{
	struct linger linger = { .l_onoff = 1 };
	const struct hf_wire_bye bye = { .code = HF_CLOSE_NORMAL };
	uint8_t frame[64];
	ssize_t len;

	if (client->fd < 0)
		return;
	if (client->state == CLIENT_OPEN)
		ticket_on_end(client, kind != DROP_BYE);
	if (kind == DROP_RESET) {
		setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	} else if (kind == DROP_BYE && client->state == CLIENT_OPEN) {
		len = hf_wire_encode_bye(&bye, frame, sizeof(frame));
		if (len > 0)
			(void)!secure_send(client, frame, (size_t)len);
	}
	finish(client);
}
