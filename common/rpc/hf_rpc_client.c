/* common/rpc/hf_rpc_client.c - the link to one peer: connect, greet, ping, try again. Its calls are
 * in hf_rpc_calls.c. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HF_LOG_MODULE "rpc"
#include "hf_net.h"
#include "hf_rpc_client_internal.h"

#define WINDOW_DEFAULT       4096
#define WINDOW_MAX           (1u << 20)
#define QUEUE_DEFAULT        16384
#define PING_DEFAULT_MS      3000
#define BACKOFF_BASE_DEFAULT 50
#define BACKOFF_CAP_DEFAULT  3000
#define PINGS_UNANSWERED_MAX 2
#define OPEN_PINGS           3 /* connect and greeting may take as long as so many pings are apart */
#define WARN_INTERVAL_MS     60000

#define CLOSE_CONNECT_FAILED "connect_failed"
#define CLOSE_TIMEOUT        "timeout"
#define CLOSE_SILENT         "silent"
#define CLOSE_WRONG_SERVICE  "wrong_service"
#define CLOSE_WRONG_VERSION  "wrong_version"

/* Peers that do not speak as they should are worth a line; those that are away are not. */
static bool is_suspicious(const char *reason)
{
	static const char *const ordinary[] = { HF_RPC_CLOSE_BY_PEER, HF_RPC_CLOSE_RESET,
						CLOSE_CONNECT_FAILED };

	for (size_t i = 0; i < HF_ARRAY_LEN(ordinary); i++) {
		if (strcmp(reason, ordinary[i]) == 0)
			return false;
	}
	return true;
}

static void count_disconnect(struct hf_rpc_client *client, const char *reason)
{
	char labels[192];

	snprintf(labels, sizeof(labels), "peer_role=\"%s\",reason=\"%s\"", client->peer_role,
		 reason);
	++*hf_metrics_counter(client->metrics, "holdfast_rpc_disconnects_total", labels,
			      "Links that ended, and tries to connect that failed.");
	if (is_suspicious(reason) && hf_log_throttle_pass(&client->throttle, WARN_INTERVAL_MS))
		HF_WARN("link down", "peer_role=%s address=%s reason=%s", client->peer_role,
			client->address, reason);
}

static void tell_state(struct hf_rpc_client *client, bool connected)
{
	if (!client->freed && client->options.on_state != NULL)
		client->options.on_state(client, connected, client->options.ctx);
}

/* The connection is closed already. Runs closures, so under hf_rpc_conn_enter(). */
static void link_down(struct hf_rpc_client *client, const char *reason)
{
	bool was_ready = client->link == HF_RPC_LINK_READY;

	client->link = HF_RPC_LINK_BACKOFF;
	hf_loop_arm(client->loop, &client->link_timer, hf_backoff_next_ms(&client->backoff));
	count_disconnect(client, reason);
	if (was_ready)
		tell_state(client, false);
	hf_rpc_calls_lost(client);
}

static void link_cut(struct hf_rpc_client *client, const char *reason)
{
	hf_rpc_conn_close(&client->conn);
	link_down(client, reason);
}

/* A connecting socket, or -errno. */
static int start_connect(const char *address)
{
	struct sockaddr_storage storage;
	socklen_t len;
	int one = 1, err = hf_net_parse(address, &storage, &len);
	int fd;

	if (err < 0)
		return err;
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (storage.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&storage, len) < 0 && errno != EINPROGRESS) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static void link_up(struct hf_rpc_client *client)
{
	int fd = start_connect(client->address);

	if (fd < 0 || hf_rpc_conn_open(&client->conn, fd, true) < 0) {
		link_down(client, CLOSE_CONNECT_FAILED);
		return;
	}
	client->link = HF_RPC_LINK_CONNECTING;
	hf_loop_arm(client->loop, &client->link_timer,
		    (uint64_t)client->options.ping_ms * OPEN_PINGS);
}

static void on_open(struct hf_rpc_conn *conn)
{
	struct hf_rpc_client *client = HF_CONTAINER_OF(conn, struct hf_rpc_client, conn);
	struct hf_rpc_hello hello = {
		.version = HF_RPC_VERSION,
		.role = HF_RPC_CLIENT,
		.service = hf_rpc_service_hash(client->options.service->name),
		.ping_ms = client->options.ping_ms,
	};

	client->link = HF_RPC_LINK_GREETING;
	hf_rpc_conn_put_hello(conn, &hello);
}

static const char *greet(struct hf_rpc_client *client, const struct hf_rpc_frame *frame)
{
	struct hf_rpc_hello hello;

	if (frame->kind != HF_RPC_HELLO || hf_rpc_hello_decode(frame->body, &hello) < 0)
		return HF_RPC_CLOSE_BAD_FRAME;
	if (hello.version != HF_RPC_VERSION)
		return CLOSE_WRONG_VERSION;
	if (hello.role != HF_RPC_SERVER ||
	    hello.service != hf_rpc_service_hash(client->options.service->name))
		return CLOSE_WRONG_SERVICE;

	client->link = HF_RPC_LINK_READY;
	client->pings_unanswered = 0;
	client->tick_ms = hf_loop_now_ms(client->loop);
	hf_backoff_reset(&client->backoff);
	hf_loop_arm(client->loop, &client->link_timer, client->options.ping_ms);
	tell_state(client, true);
	hf_rpc_calls_pump(client);
	return NULL;
}

static const char *on_frame(struct hf_rpc_conn *conn, const struct hf_rpc_frame *frame)
{
	struct hf_rpc_client *client = HF_CONTAINER_OF(conn, struct hf_rpc_client, conn);

	if (client->link == HF_RPC_LINK_GREETING)
		return greet(client, frame);
	switch ((enum hf_rpc_kind)frame->kind) {
	case HF_RPC_REPLY:
	case HF_RPC_ERROR:
		hf_rpc_calls_answer(client, frame);
		return NULL;
	case HF_RPC_PING:
		hf_rpc_conn_put_empty(conn, HF_RPC_PONG, frame->call_id);
		return NULL;
	case HF_RPC_PONG: /* being heard is all it is for */
		return NULL;
	default:
		return HF_RPC_CLOSE_BAD_FRAME;
	}
}

static void on_closed(struct hf_rpc_conn *conn, const char *reason)
{
	struct hf_rpc_client *client = HF_CONTAINER_OF(conn, struct hf_rpc_client, conn);

	link_down(client, client->link == HF_RPC_LINK_CONNECTING ? CLOSE_CONNECT_FAILED : reason);
}

static void on_written(struct hf_rpc_conn *conn)
{
	hf_rpc_calls_pump(HF_CONTAINER_OF(conn, struct hf_rpc_client, conn));
}

/* The server hears from us at least every ping_ms as well, so it can tell a dead client. */
static void tick(struct hf_rpc_client *client)
{
	struct hf_rpc_conn *conn = &client->conn;
	bool heard = conn->heard_ms >= client->tick_ms;
	bool spoke = conn->sent_ms >= client->tick_ms;

	if (heard)
		client->pings_unanswered = 0;
	if (client->pings_unanswered >= PINGS_UNANSWERED_MAX) {
		link_cut(client, CLOSE_SILENT);
		return;
	}
	if (!heard || !spoke) {
		hf_rpc_conn_put_empty(conn, HF_RPC_PING, 0);
		client->pings_unanswered++;
	}
	client->tick_ms = hf_loop_now_ms(client->loop);
	hf_loop_arm(client->loop, &client->link_timer, client->options.ping_ms);
}

static void on_link_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_rpc_client *client = ctx;

	if (client->link == HF_RPC_LINK_BACKOFF) {
		link_up(client);
		return;
	}
	hf_rpc_conn_enter(&client->conn);
	if (client->link == HF_RPC_LINK_READY)
		tick(client);
	else
		link_cut(client, CLOSE_TIMEOUT);
	hf_rpc_conn_leave(&client->conn);
}

static void client_destroy(struct hf_rpc_client *client)
{
	hf_rpc_calls_deinit(client);
	hf_rpc_io_unref(client->conn.io);
	free(client->address);
	free(client->peer_role);
	free(client);
}

static void on_released(struct hf_rpc_conn *conn)
{
	client_destroy(HF_CONTAINER_OF(conn, struct hf_rpc_client, conn));
}

static const struct hf_rpc_conn_handler conn_handler = {
	.on_open = on_open,
	.on_frame = on_frame,
	.on_closed = on_closed,
	.on_written = on_written,
	.on_released = on_released,
};

static void set_defaults(struct hf_rpc_client_options *options)
{
	if (options->window == 0)
		options->window = WINDOW_DEFAULT;
	options->window = HF_MIN(options->window, WINDOW_MAX);
	if (options->queue == 0)
		options->queue = QUEUE_DEFAULT;
	if (options->ping_ms == 0)
		options->ping_ms = PING_DEFAULT_MS;
	if (options->backoff_base_ms == 0)
		options->backoff_base_ms = BACKOFF_BASE_DEFAULT;
	if (options->backoff_cap_ms == 0)
		options->backoff_cap_ms = BACKOFF_CAP_DEFAULT;
}

int hf_rpc_client_new(struct hf_loop *loop, struct hf_metrics *metrics,
		      const struct hf_rpc_client_options *options,
		      struct hf_rpc_client **ret_client)
{
	struct sockaddr_storage storage;
	socklen_t len;
	struct hf_rpc_client *client;
	struct hf_rpc_io *io;
	int err = hf_net_parse(options->address, &storage, &len);

	if (err < 0)
		return err;
	err = hf_rpc_io_ref(loop, &io);
	if (err < 0)
		return err;
	client = calloc(1, sizeof(*client));
	if (client == NULL) {
		hf_rpc_io_unref(io);
		return -ENOMEM;
	}
	hf_rpc_conn_init(&client->conn, io, &conn_handler);
	client->loop = loop;
	client->metrics = metrics;
	client->options = *options;
	set_defaults(&client->options);
	client->backoff = (struct hf_backoff){ .base_ms = client->options.backoff_base_ms,
					       .cap_ms = client->options.backoff_cap_ms };
	hf_timer_init(&client->link_timer, on_link_timer, client);
	client->address = strdup(options->address);
	client->peer_role = strdup(options->peer_role);
	err = client->address != NULL && client->peer_role != NULL ? hf_rpc_calls_init(client)
								   : -ENOMEM;
	if (err < 0) {
		client_destroy(client);
		return err;
	}
	link_up(client);
	*ret_client = client;
	return 0;
}

void hf_rpc_client_free(struct hf_rpc_client *client)
{
	if (client == NULL || client->freed)
		return;
	client->freed = true;
	hf_rpc_conn_enter(&client->conn);
	hf_wheel_disarm(&client->link_timer);
	hf_rpc_calls_cancel(client);
	hf_rpc_conn_release(&client->conn);
	hf_rpc_conn_leave(&client->conn);
}

ProtobufCService *hf_rpc_to(struct hf_rpc_client *client, uint32_t timeout_ms)
{
	client->timeout_ms = timeout_ms;
	return &client->service;
}

bool hf_rpc_client_connected(const struct hf_rpc_client *client)
{
	return client->link == HF_RPC_LINK_READY && !client->freed;
}

uint32_t hf_rpc_client_in_flight(const struct hf_rpc_client *client)
{
	return client->pending.count + client->waiting_count;
}
