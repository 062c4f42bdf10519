/* common/rpc/hf_rpc_server.c - the server's listener and connections; its calls are in
 * hf_rpc_dispatch.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HF_LOG_MODULE "rpc"
#include "hf_rpc_server_internal.h"

#define RUNNING_MAX_DEFAULT     65536
#define CONNECTION_MAX_DEFAULT  8192
#define CONNECTIONS_MAX_DEFAULT 4096
#define OUTPUT_MAX_DEFAULT      ((size_t)16 << 20)

#define BACKLOG          1024
#define ACCEPTS_A_TURN   64
#define ACCEPT_PAUSE_MS  500
#define HELLO_MS         5000 /* longest time from accept to HELLO */
#define PING_MIN_MS      10
#define PING_MAX_MS      600000
#define SILENT_PINGS     4 /* its own pings may be three apart when its loop is busy */
#define WARN_INTERVAL_MS 10000

/* Connection-level refusals and cuts: counted each, logged now and then. */
static void count_refusal(struct hf_rpc_server *server, const char *peer, const char *reason)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
	++*hf_metrics_counter(server->metrics, "holdfast_rpc_refused_total", labels,
			      "Connections refused or cut.");
	if (hf_log_throttle_pass(&server->throttle, WARN_INTERVAL_MS))
		HF_WARN("peer refused", "peer=%s reason=%s", peer, reason);
}

/* Peers */

static void server_destroy(struct hf_rpc_server *server)
{
	hf_rpc_dispatch_deinit(server);
	hf_rpc_io_unref(server->io);
	free(server);
}

static void on_released(struct hf_rpc_conn *conn)
{
	struct hf_rpc_peer *peer = HF_CONTAINER_OF(conn, struct hf_rpc_peer, conn);
	struct hf_rpc_server *server = peer->server;

	LIST_REMOVE(peer, link);
	free(peer);
	if (server->freed && LIST_EMPTY(&server->peers))
		server_destroy(server);
}

void hf_rpc_peer_unref_if_done(struct hf_rpc_peer *peer)
{
	if (!peer->open && peer->running == 0)
		hf_rpc_conn_release(&peer->conn);
}

/* The connection is closed already. */
static void peer_gone(struct hf_rpc_peer *peer)
{
	struct hf_rpc_server *server = peer->server;

	if (!peer->open)
		return;
	peer->open = false;
	hf_wheel_disarm(&peer->timer);
	server->open_count--;
	if (!server->freed)
		*server->connections_gauge = server->open_count;
	hf_rpc_peer_unref_if_done(peer);
}

void hf_rpc_peer_cut(struct hf_rpc_peer *peer, const char *reason)
{
	if (!peer->open)
		return;
	count_refusal(peer->server, peer->name, reason);
	hf_rpc_conn_close(&peer->conn);
	peer_gone(peer);
}

static void on_closed(struct hf_rpc_conn *conn, const char *reason)
{
	struct hf_rpc_peer *peer = HF_CONTAINER_OF(conn, struct hf_rpc_peer, conn);

	if (strcmp(reason, HF_RPC_CLOSE_BY_PEER) != 0 && strcmp(reason, HF_RPC_CLOSE_RESET) != 0)
		count_refusal(peer->server, peer->name, reason);
	peer_gone(peer);
}

/* We answer with our own HELLO in any case: the client learns from it why we hang up. */
static const char *greet(struct hf_rpc_peer *peer, const struct hf_rpc_frame *frame)
{
	uint32_t service = hf_rpc_service_hash(peer->server->options.service->descriptor->name);
	struct hf_rpc_hello ours = { HF_RPC_VERSION, HF_RPC_SERVER, service, 0 };
	struct hf_rpc_hello hello;

	if (frame->kind != HF_RPC_HELLO || hf_rpc_hello_decode(frame->body, &hello) < 0)
		return HF_RPC_CLOSE_BAD_FRAME;
	hf_rpc_conn_put_hello(&peer->conn, &ours);
	if (hello.version != HF_RPC_VERSION || hello.role != HF_RPC_CLIENT ||
	    hello.service != service) {
		hf_rpc_conn_flush(&peer->conn);
		return hello.version != HF_RPC_VERSION ? "wrong_version" : "wrong_service";
	}
	peer->greeted = true;
	peer->ping_ms = HF_MIN(HF_MAX(hello.ping_ms, PING_MIN_MS), PING_MAX_MS);
	hf_loop_arm(peer->server->loop, &peer->timer, (uint64_t)peer->ping_ms * SILENT_PINGS);
	return NULL;
}

static const char *on_frame(struct hf_rpc_conn *conn, const struct hf_rpc_frame *frame)
{
	struct hf_rpc_peer *peer = HF_CONTAINER_OF(conn, struct hf_rpc_peer, conn);

	if (!peer->greeted)
		return greet(peer, frame);
	switch ((enum hf_rpc_kind)frame->kind) {
	case HF_RPC_REQUEST:
	case HF_RPC_ONEWAY:
		hf_rpc_dispatch(peer, frame);
		return NULL;
	case HF_RPC_PING:
		hf_rpc_conn_put_empty(conn, HF_RPC_PONG, frame->call_id);
		hf_rpc_peer_check_output(peer);
		return NULL;
	case HF_RPC_PONG:
		return NULL;
	default:
		return HF_RPC_CLOSE_BAD_FRAME;
	}
}

static void on_written(struct hf_rpc_conn *conn)
{
	struct hf_rpc_peer *peer = HF_CONTAINER_OF(conn, struct hf_rpc_peer, conn);

	if (conn->paused && hf_buffer_len(&conn->out) <= peer->server->options.output_max / 2)
		hf_rpc_conn_resume(conn);
}

static void on_open(struct hf_rpc_conn *conn)
{
}

static const struct hf_rpc_conn_handler conn_handler = {
	.on_open = on_open,
	.on_frame = on_frame,
	.on_closed = on_closed,
	.on_written = on_written,
	.on_released = on_released,
};

/* No HELLO in time; or silence, where output that the peer still takes counts as a sign of life. */
static void on_peer_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_rpc_peer *peer = ctx;
	uint64_t now_ms = hf_loop_now_ms(peer->server->loop);
	uint64_t alive_ms = peer->conn.heard_ms, limit_ms = (uint64_t)peer->ping_ms * SILENT_PINGS;

	if (peer->conn.blocked || peer->conn.paused)
		alive_ms = HF_MAX(alive_ms, peer->conn.sent_ms);
	if (!peer->greeted)
		hf_rpc_peer_cut(peer, "no_hello");
	else if (now_ms - alive_ms >= limit_ms)
		hf_rpc_peer_cut(peer, "silent");
	else
		hf_loop_arm(peer->server->loop, timer, alive_ms + limit_ms - now_ms);
}

/* Accepting */

static void add_peer(struct hf_rpc_server *server, int fd, const char *name)
{
	struct hf_rpc_peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL) {
		count_refusal(server, name, HF_RPC_CLOSE_NO_MEMORY);
		close(fd);
		return;
	}
	hf_rpc_conn_init(&peer->conn, server->io, &conn_handler);
	peer->server = server;
	snprintf(peer->name, sizeof(peer->name), "%s", name);
	hf_timer_init(&peer->timer, on_peer_timer, peer);
	if (hf_rpc_conn_open(&peer->conn, fd, false) < 0) {
		count_refusal(server, name, HF_RPC_CLOSE_NO_MEMORY);
		free(peer);
		return;
	}
	LIST_INSERT_HEAD(&server->peers, peer, link);
	peer->open = true;
	server->open_count++;
	*server->connections_gauge = server->open_count;
	hf_loop_arm(server->loop, &peer->timer, HELLO_MS);
}

/* Out of descriptors: take one in with the spare and hang up, then leave the listener alone for a
 * while. Level-triggered readiness would spin otherwise. */
static void on_no_descriptor(struct hf_rpc_server *server)
{
	int fd;

	if (server->spare >= 0)
		close(server->spare);
	fd = hf_net_accept(server->listener, NULL);
	if (fd >= 0)
		close(fd);
	server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	count_refusal(server, "?", "no_descriptor");
	event_del(server->acceptable);
	hf_loop_arm(server->loop, &server->pause, ACCEPT_PAUSE_MS);
}

static void on_pause_end(struct hf_timer *timer, void *ctx)
{
	struct hf_rpc_server *server = ctx;

	if (event_add(server->acceptable, NULL) < 0)
		hf_loop_arm(server->loop, timer, ACCEPT_PAUSE_MS);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct hf_rpc_server *server = arg;

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		char name[HF_NET_TEXT_SIZE];
		int peer_fd = hf_net_accept(server->listener, name);

		if (peer_fd == -EMFILE || peer_fd == -ENFILE || peer_fd == -ENOBUFS ||
		    peer_fd == -ENOMEM)
			on_no_descriptor(server);
		if (peer_fd == -ECONNABORTED || peer_fd == -EINTR)
			continue;
		if (peer_fd < 0)
			return;
		if (server->open_count >= server->options.connections_max) {
			count_refusal(server, name, "too_many_connections");
			close(peer_fd);
			continue;
		}
		add_peer(server, peer_fd, name);
	}
}

static void stop_listening(struct hf_rpc_server *server)
{
	if (server->acceptable != NULL)
		event_free(server->acceptable);
	server->acceptable = NULL;
	hf_wheel_disarm(&server->pause);
	if (server->listener >= 0) {
		close(server->listener);
		if (strncmp(server->address, "unix:", 5) == 0)
			unlink(server->address + 5);
	}
	server->listener = -1;
	if (server->spare >= 0)
		close(server->spare);
	server->spare = -1;
}

/* Life */

static void set_defaults(struct hf_rpc_server_options *options)
{
	if (options->running_max == 0)
		options->running_max = RUNNING_MAX_DEFAULT;
	if (options->connection_max == 0)
		options->connection_max = CONNECTION_MAX_DEFAULT;
	if (options->connections_max == 0)
		options->connections_max = CONNECTIONS_MAX_DEFAULT;
	if (options->output_max == 0)
		options->output_max = OUTPUT_MAX_DEFAULT;
}

static int start_listening(struct hf_rpc_server *server, const char *address)
{
	int err;

	server->listener = hf_net_listen(address, BACKLOG);
	if (server->listener < 0)
		return server->listener;
	err = hf_net_local(server->listener, server->address);
	if (err < 0)
		return err;
	server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	server->acceptable = event_new(server->loop->base, server->listener, EV_READ | EV_PERSIST,
				       on_acceptable, server);
	if (server->acceptable == NULL || event_add(server->acceptable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int hf_rpc_server_new(struct hf_loop *loop, struct hf_metrics *metrics,
		      const struct hf_rpc_server_options *options,
		      struct hf_rpc_server **ret_server)
{
	struct hf_rpc_server *server = calloc(1, sizeof(*server));
	int err;

	if (server == NULL)
		return -ENOMEM;
	server->loop = loop;
	server->metrics = metrics;
	server->options = *options;
	server->options.address = NULL;
	set_defaults(&server->options);
	server->listener = server->spare = -1;
	LIST_INIT(&server->peers);
	hf_timer_init(&server->pause, on_pause_end, server);
	err = hf_rpc_io_ref(loop, &server->io);
	if (err == 0)
		err = hf_rpc_dispatch_init(server);
	if (err == 0)
		err = start_listening(server, options->address);
	if (err < 0) {
		stop_listening(server);
		server_destroy(server);
		return err;
	}
	*ret_server = server;
	return 0;
}

void hf_rpc_server_free(struct hf_rpc_server *server)
{
	struct hf_rpc_peer *peer, *next;

	if (server == NULL)
		return;
	stop_listening(server);
	server->freed = true;
	*server->running_gauge = 0;
	*server->connections_gauge = 0;
	if (LIST_EMPTY(&server->peers)) {
		server_destroy(server);
		return;
	}
	/* The last peer to go takes the server with it: `next` is read before. */
	for (peer = LIST_FIRST(&server->peers); peer != NULL; peer = next) {
		next = LIST_NEXT(peer, link);
		hf_rpc_conn_close(&peer->conn);
		peer_gone(peer);
	}
}

void hf_rpc_server_drain(struct hf_rpc_server *server)
{
	stop_listening(server);
	server->draining = true;
}

uint32_t hf_rpc_server_running(const struct hf_rpc_server *server)
{
	return server->running;
}

const char *hf_rpc_server_address(const struct hf_rpc_server *server)
{
	return server->address;
}
