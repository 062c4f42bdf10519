#define HF_LOG_MODULE "listener"
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_log.h"
#include "hf_net.h"
#include "room.h"
#include "tls.h"

#define ACCEPTS_PER_TURN 16
#define PAUSE_MS         200
#define REST_MS          2 /* of a listener that a crowd comes to */
#define LOBBY_PAUSE_MS   20
#define DEFER_ACCEPT_S                                                            \
	1 /* who is silent is let in after a second, and the handshake clock runs \
	   */

struct listener {
	struct room *room;
	const struct room_listener_config *config;
	uint8_t index;
	int fd;
	struct event *event;
	struct hf_timer pause;
	uint64_t drained_ms; /* when nobody was left to accept */
	bool behind;         /* some wait in the backlog since the lobby was full */
	struct ssl_ctx_st *tls;
};

struct ssl_ctx_st *listener_tls(const struct room *room, unsigned index)
{
	return index < room->listener_count ? room->listeners[index].tls : NULL;
}

/* Who is not let in is told why, where that can be said in plain; then closed. */
static void refuse(struct listener *listener, int fd, enum reject_reason reason, uint32_t code)
{
	const struct hf_wire_bye bye = { .code = code,
					 .reason = hf_bytes_of_string(hf_close_name(code)) };

	++*listener->room->metrics.rejected[reason];
	if (listener->tls == NULL)
		connection_dismiss(fd, &bye);
	close(fd);
}

static enum reject_reason reason_of(enum ip_verdict verdict)
{
	switch (verdict) {
	case IP_CONNECTIONS:
		return REJECT_PER_IP_CONNECTIONS;
	case IP_ACCEPT_RATE:
		return REJECT_PER_IP_ACCEPT_RATE;
	default:
		return REJECT_PENALTY;
	}
}

/* May one more connection come? A tenth of a second's worth may come at once. The bucket counts in
 * ticks of 1/16 ms, too coarse for tens of thousands a second one by one: those are paid for in
 * lots of 1 ms. */
static bool accept_rate_allows(struct room *room)
{
	uint64_t per_second = room->config->limits.accept_rate, lot = per_second / 1000 + 1;

	if (room->accept_credit == 0) {
		if (!rate_take(&room->accept_bucket, rate_ticks(room_age_ms(room)),
			       rate_cost(lot, per_second),
			       rate_cost(per_second / 10 + lot, per_second)))
			return false;
		room->accept_credit = (uint32_t)lot;
	}
	room->accept_credit--;
	return true;
}

static void admit(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct room *room = listener->room;
	uint64_t now_ms = hf_loop_now_ms(room->loop);
	enum ip_verdict verdict;
	hf_handle ip;

	if (lobby_is_full(room)) { /* and late, or nobody would be accepted */
		refuse(listener, fd, REJECT_CROWD, HF_CLOSE_OVERLOADED);
		return;
	}
	if (room_client_count(room) >= room->connection_limit) {
		refuse(listener, fd, REJECT_CONNECTIONS, HF_CLOSE_CONNECTION_LIMIT);
		return;
	}
	/* The address comes first: what one sends in excess is not taken from the others' share. */
	verdict = ip_opened(&room->ips, &room->config->ip_limits, peer, now_ms, &ip);
	if (verdict != IP_OK) {
		refuse(listener, fd, reason_of(verdict),
		       verdict == IP_CONNECTIONS ? HF_CLOSE_CONNECTION_LIMIT
						 : HF_CLOSE_RATE_LIMITED);
		return;
	}
	if (!accept_rate_allows(room)) {
		ip_closed(&room->ips, ip, now_ms);
		refuse(listener, fd, REJECT_ACCEPT_RATE, HF_CLOSE_OVERLOADED);
		return;
	}
	if (connection_new(room, fd, ip, listener->index, listener->behind) < 0) {
		ip_closed(&room->ips, ip, now_ms);
		refuse(listener, fd, REJECT_MEMORY, HF_CLOSE_OVERLOADED);
	}
}

static void pause_accepting(struct listener *listener, uint64_t time_ms)
{
	event_del(listener->event);
	hf_loop_arm(listener->room->loop, &listener->pause, time_ms);
}

/* Nobody is left after `taken`. To wake up for each of a crowd costs more than a login does, also
 * those who are asked about it: register and saver. So it is taken in rounds. */
static void on_drained(struct listener *listener, int taken)
{
	uint64_t now_ms = hf_loop_now_ms(listener->room->loop);

	if (taken > 1 || now_ms - listener->drained_ms <= 1)
		pause_accepting(listener, REST_MS);
	listener->drained_ms = now_ms;
	listener->behind = false;
}

static void on_pause_over(struct hf_timer *timer, void *ctx)
{
	struct listener *listener = ctx;

	if (event_add(listener->event, NULL) < 0)
		hf_loop_arm(listener->room->loop, timer, PAUSE_MS);
}

/* Out of descriptors: the spare one is given up for a moment to refuse one client by name. */
static void out_of_descriptors(struct listener *listener, int err)
{
	static struct hf_log_throttle throttle;
	struct room *room = listener->room;
	int fd;

	if (hf_log_throttle_pass(&throttle, 10000))
		HF_ERROR("accept failed", "err=%s connections=%u", strerror(err),
			 room->connections.live);
	if (room->spare_fd >= 0) {
		close(room->spare_fd);
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			refuse(listener, fd, REJECT_DESCRIPTORS, HF_CLOSE_CONNECTION_LIMIT);
		room->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	pause_accepting(listener, PAUSE_MS);
}

static void on_acceptable(evutil_socket_t listening, short what, void *ctx)
{
	struct listener *listener = ctx;

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int fd;

		if (lobby_is_full(listener->room) && !lobby_is_late(listener->room)) {
			++*listener->room->metrics.accepts_paused;
			listener->behind = true;
			pause_accepting(listener, LOBBY_PAUSE_MS);
			return;
		}
		fd = accept4(listener->fd, (struct sockaddr *)&peer, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(listener, fd, &peer);
		} else if (errno == EAGAIN) {
			on_drained(listener, i);
			return;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			out_of_descriptors(listener, errno);
			return;
		}
		/* Anything else is that client's own trouble (ECONNABORTED, EPROTO, ...). */
	}
}

static void set_options(const struct listener *listener)
{
	const struct room_config *config = listener->room->config;
	int on = 1, defer_s = DEFER_ACCEPT_S;
	unsigned timeout_ms = (unsigned)config->tcp.user_timeout_ms;
	int lowat = (int)config->tcp.notsent_lowat;
	const char *congestion = config->tcp.congestion;

	if (strncmp(listener->config->bind, "unix:", 5) == 0)
		return;
	/* Best effort each: a kernel without one of them serves as well. */
	setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(listener->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof(defer_s));
	if (timeout_ms > 0)
		setsockopt(listener->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
			   sizeof(timeout_ms));
	if (lowat > 0)
		setsockopt(listener->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
	if (congestion[0] != '\0' && setsockopt(listener->fd, IPPROTO_TCP, TCP_CONGESTION,
						congestion, (socklen_t)strlen(congestion)) < 0)
		HF_WARN("congestion control not set", "name=%s err=%s", congestion,
			strerror(errno));
}

/* As hf_net_listen(), for a port that several processes share. */
static int listen_shared(const char *address, int backlog)
{
	struct sockaddr_storage storage;
	socklen_t len;
	int on = 1, fd, err = hf_net_parse(address, &storage, &len);

	if (err < 0)
		return err;
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&storage, len) < 0 || listen(fd, backlog) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* What clients are told to dial: an address that means "any" is of no use to them. */
static int advertised(const struct listener *listener, char ret[HF_NET_TEXT_SIZE])
{
	const char *fixed = listener->config->advertise;
	const char *port;
	char bound[HF_NET_TEXT_SIZE];
	int err;

	if (fixed[0] != '\0') {
		snprintf(ret, HF_NET_TEXT_SIZE, "%s", fixed);
		return 0;
	}
	err = hf_net_local(listener->fd, bound);
	if (err < 0)
		return err;
	port = strrchr(bound, ':');
	if (strncmp(bound, "0.0.0.0:", 8) == 0 || strncmp(bound, "[::]:", 5) == 0) {
		snprintf(ret, HF_NET_TEXT_SIZE, "127.0.0.1%s", port);
		HF_WARN("listener advertised on this host only",
			"bind=%s advertise=%s hint=\"set listeners.advertise\"", bound, ret);
	} else {
		snprintf(ret, HF_NET_TEXT_SIZE, "%s", bound);
	}
	return 0;
}

static void add_endpoint(struct hf_instance *instance, const char *address, const char *transport)
{
	struct hf_endpoint *endpoint;

	if (instance->endpoint_count == HF_INSTANCE_ENDPOINTS_MAX)
		return;
	endpoint = &instance->endpoints[instance->endpoint_count++];
	snprintf(endpoint->address, sizeof(endpoint->address), "%.*s", HF_ADDRESS_MAX - 1, address);
	snprintf(endpoint->transport, sizeof(endpoint->transport), "%s", transport);
}

static double read_not_after(void *ctx)
{
	const struct listener *listener = ctx;

	return listener->tls == NULL ? 0 : tls_context_not_after(listener->tls);
}

static int open_tls(struct listener *listener)
{
	struct room *room = listener->room;
	char labels[160];

	listener->tls = tls_context_new(listener->config->certificate, listener->config->key_file);
	if (listener->tls == NULL)
		return -EINVAL;
	snprintf(labels, sizeof(labels), "listener=\"%s\"", listener->config->bind);
	hf_metrics_gauge_fn(room->service->metrics,
			    "holdfast_tls_certificate_not_after_timestamp_seconds", labels,
			    "When the listener's certificate ends", read_not_after, listener);
	return 0;
}

static int open_one(struct listener *listener)
{
	const struct room_listener_config *config = listener->config;
	struct room *room = listener->room;
	char address[HF_NET_TEXT_SIZE];
	int err;

	if (config->certificate[0] != '\0' && open_tls(listener) < 0)
		return -EINVAL;
	listener->fd = config->reuse_port ? listen_shared(config->bind, (int)config->backlog)
					  : hf_net_listen(config->bind, (int)config->backlog);
	if (listener->fd < 0) {
		HF_ERROR("listen failed", "bind=%s err=%s", config->bind, strerror(-listener->fd));
		return listener->fd;
	}
	set_options(listener);
	err = advertised(listener, address);
	if (err < 0)
		return err;
	add_endpoint(&room->service->instance, address, "tcp");
	if (listener->tls != NULL)
		add_endpoint(&room->service->instance, address, "tls");
	listener->event = event_new(room->loop->base, listener->fd, EV_READ | EV_PERSIST,
				    on_acceptable, listener);
	if (listener->event == NULL || event_add(listener->event, NULL) < 0)
		return -ENOMEM;
	HF_INFO("listening", "address=%s tls=%s", address, listener->tls != NULL ? "yes" : "no");
	return 0;
}

int listeners_open(struct room *room)
{
	const struct room_listener_config *configs = room->config->listeners.items;
	size_t count = room->config->listeners.count;
	int err = 0;

	room->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	room->listeners = calloc(count, sizeof(*room->listeners));
	if (room->listeners == NULL)
		return -ENOMEM;
	room->listener_count = count;
	for (size_t i = 0; i < count; i++) {
		room->listeners[i] = (struct listener){
			.room = room, .config = &configs[i], .index = (uint8_t)i, .fd = -1
		};
		hf_timer_init(&room->listeners[i].pause, on_pause_over, &room->listeners[i]);
	}
	for (size_t i = 0; i < count && err == 0; i++)
		err = open_one(&room->listeners[i]);
	return err;
}

void listeners_close(struct room *room)
{
	for (size_t i = 0; i < room->listener_count; i++) {
		struct listener *listener = &room->listeners[i];

		hf_wheel_disarm(&listener->pause);
		if (listener->event != NULL)
			event_free(listener->event);
		if (listener->fd >= 0)
			close(listener->fd);
		listener->event = NULL;
		listener->fd = -1;
	}
}

void listeners_free(struct room *room)
{
	listeners_close(room);
	for (size_t i = 0; i < room->listener_count; i++)
		tls_context_free(room->listeners[i].tls);
	free(room->listeners);
	room->listeners = NULL;
	room->listener_count = 0;
	if (room->spare_fd >= 0)
		close(room->spare_fd);
	room->spare_fd = -1;
}

void listeners_reload(struct room *room)
{
	const struct room_listener_config *configs = room->config->listeners.items;
	size_t count = HF_MIN(room->listener_count, room->config->listeners.count);

	/* Other changes of the list need a restart, and the service says so. */
	for (size_t i = 0; i < count; i++) {
		struct listener *listener = &room->listeners[i];
		struct ssl_ctx_st *tls;

		listener->config = &configs[i];
		if (listener->tls == NULL || configs[i].certificate[0] == '\0')
			continue;
		tls = tls_context_new(configs[i].certificate, configs[i].key_file);
		if (tls == NULL)
			continue; /* logged; the certificate before it stays */
		tls_context_free(listener->tls);
		listener->tls = tls;
		HF_INFO("certificate loaded", "listener=%s", configs[i].bind);
	}
}
