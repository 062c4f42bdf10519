/* common/http/hf_http_server.c - the listener, its pauses, and the counters; see hf_http_server.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_http_internal.h"

#define ACCEPTS_A_TURN 64
#define RETRY_MS       100  /* after running out of descriptors, or of connections */
#define EVICT_MS       1000 /* who keeps us waiting for less is left alone */
#define BACKLOG        1024

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The loop would spin on a listener that it can't serve. With the spare descriptor given up one
 * client is at least taken and closed, instead of waiting for nothing. */
static void out_of_descriptors(struct hf_http_server *server)
{
	int fd;

	++*server->refused_descriptors;
	if (server->spare >= 0) {
		close(server->spare);
		fd = hf_net_accept(server->listener, NULL);
		if (fd >= 0)
			close(fd);
		server->spare = open_spare();
	}
	event_del(server->acceptable);
	hf_loop_arm(server->loop, &server->accept_timer, RETRY_MS);
}

static void listen_again(struct hf_http_server *server)
{
	if (server->draining || server->full || hf_timer_armed(&server->accept_timer))
		return;
	if (event_add(server->acceptable, NULL) < 0)
		hf_loop_arm(server->loop, &server->accept_timer, RETRY_MS);
}

static void on_accept_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_http_server *server = ctx;

	if (server->spare < 0)
		server->spare = open_spare();
	server->full = false;
	listen_again(server);
}

/* At the limit, who has kept us waiting longest makes room: silence must not lock others out. */
static bool make_room(struct hf_http_server *server)
{
	struct hf_http_connection *connection, *slowest = NULL;
	uint64_t most_ms = EVICT_MS;

	LIST_FOREACH (connection, &server->connections, link) {
		uint64_t waited_ms = hf_http_connection_waited_ms(connection);

		if (waited_ms < most_ms)
			continue;
		most_ms = waited_ms;
		slowest = connection;
	}
	if (slowest == NULL)
		return false;
	++*server->evicted;
	hf_http_connection_close(slowest);
	return true;
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
	struct hf_http_server *server = arg;
	char peer[HF_NET_TEXT_SIZE];

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd;

		if (*server->connections_open >= (int64_t)server->options.connections_max &&
		    !make_room(server)) {
			++*server->paused_full;
			server->full = true;
			event_del(server->acceptable);
			hf_loop_arm(server->loop, &server->accept_timer, RETRY_MS);
			return;
		}
		fd = hf_net_accept(server->listener, peer);
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
			out_of_descriptors(server);
			return;
		}
		if (fd == -ECONNABORTED || fd == -EINTR)
			continue;
		if (fd < 0)
			return;
		++*server->accepted;
		++*server->connections_open;
		hf_http_connection_new(server, fd, peer);
	}
}

void hf_http_server_connection_gone(struct hf_http_server *server)
{
	--*server->connections_open;
	if (server->full) {
		server->full = false;
		hf_wheel_disarm(&server->accept_timer);
		listen_again(server);
	}
}

const char *hf_http_server_date(struct hf_http_server *server)
{
	uint64_t second = hf_loop_wall_ms(server->loop) / 1000;

	if (second != server->date_second) {
		time_t t = (time_t)second;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		server->date_second = second;
	}
	return server->date;
}

static const char *const method_names[HF_HTTP_METHODS] = { "GET",   "HEAD",   "POST",    "PUT",
							   "PATCH", "DELETE", "OPTIONS", "other" };

static unsigned method_index(struct hf_bytes method)
{
	unsigned i = 0;

	while (i < HF_HTTP_METHODS - 1 &&
	       !hf_bytes_equal(method, hf_bytes_of_string(method_names[i])))
		i++;
	return i;
}

static struct hf_http_route_stats *find_stats(struct hf_http_server *server, const char *route,
					      unsigned method)
{
	struct hf_http_route_stats *stats;
	char labels[256];

	for (size_t i = 0; i < server->stats_count; i++) {
		stats = server->stats[i];
		if (stats->method == method && strcmp(stats->route, route) == 0)
			return stats;
	}
	if (server->stats_count == HF_HTTP_ROUTES_MAX)
		return NULL;
	stats = calloc(1, sizeof(*stats));
	if (stats == NULL)
		return NULL;
	snprintf(labels, sizeof(labels), "server=\"%s\",route=\"%s\",method=\"%s\"", server->name,
		 route, method_names[method]);
	stats->route = route;
	stats->method = method;
	stats->duration =
		hf_metrics_histogram(server->metrics, "holdfast_http_request_duration_seconds",
				     labels, "time from the head of a request to its answer",
				     1000000);
	server->stats[server->stats_count++] = stats;
	return stats;
}

/* A route or code too many is not counted apart: the labels stay bounded. */
void hf_http_server_count(struct hf_http_server *server, const struct hf_http_exchange *exchange,
			  unsigned code)
{
	struct hf_http_route_stats *stats =
		find_stats(server, exchange->route, method_index(exchange->request.method));
	char labels[256];
	size_t i = 0;

	if (stats == NULL)
		return;
	hf_histogram_record(stats->duration,
			    (hf_clock_monotonic_ns() - exchange->started_ns) / 1000);
	while (i < stats->code_count && stats->codes[i].code != code)
		i++;
	if (i == HF_HTTP_CODES_MAX)
		return;
	if (i == stats->code_count) {
		snprintf(labels, sizeof(labels),
			 "server=\"%s\",route=\"%s\",method=\"%s\",code=\"%u\"", server->name,
			 stats->route, method_names[stats->method], code);
		stats->codes[i].code = code;
		stats->codes[i].counter =
			hf_metrics_counter(server->metrics, "holdfast_http_requests_total", labels,
					   "requests answered, by route template and status; 499: "
					   "the client left first");
		stats->code_count++;
	}
	++*stats->codes[i].counter;
}

static uint64_t *closed_counter(struct hf_http_server *server, const char *reason)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "server=\"%s\",reason=\"%s\"", server->name, reason);
	return hf_metrics_counter(server->metrics, "holdfast_http_refusals_total", labels,
				  "connections or requests not served, by reason");
}

static void make_metrics(struct hf_http_server *server)
{
	char labels[64];

	snprintf(labels, sizeof(labels), "server=\"%s\"", server->name);
	server->accepted = hf_metrics_counter(server->metrics, "holdfast_http_accepted_total",
					      labels, "connections accepted");
	server->connections_open = hf_metrics_gauge(server->metrics, "holdfast_http_connections",
						    labels, "connections open");
	server->buffered = hf_metrics_gauge(server->metrics, "holdfast_http_buffered_bytes", labels,
					    "bytes of request bodies held");
	server->refused_descriptors = closed_counter(server, "descriptors");
	server->paused_full = closed_counter(server, "connections");
	server->evicted = closed_counter(server, "evicted");
	server->timeouts = closed_counter(server, "timeout");
	server->aborts = closed_counter(server, "client_left");
	server->bad_requests = closed_counter(server, "bad_request");
	server->over_budget = closed_counter(server, "memory");
}

static void set_defaults(struct hf_http_server_options *options)
{
	options->body_max = options->body_max > 0 ? options->body_max : 1u << 20;
	options->buffered_max = options->buffered_max > 0 ? options->buffered_max : 256u << 20;
	options->connections_max = options->connections_max > 0 ? options->connections_max : 1024;
	options->header_ms = options->header_ms > 0 ? options->header_ms : 10000;
	options->body_ms = options->body_ms > 0 ? options->body_ms : 30000;
	options->idle_ms = options->idle_ms > 0 ? options->idle_ms : 75000;
	options->write_ms = options->write_ms > 0 ? options->write_ms : 30000;
}

int hf_http_server_new(struct hf_loop *loop, struct hf_metrics *metrics,
		       const struct hf_http_server_options *options,
		       struct hf_http_server **ret_server)
{
	struct hf_http_server *server = calloc(1, sizeof(*server));
	int err = -ENOMEM;

	if (server == NULL)
		return err;
	server->loop = loop;
	server->metrics = metrics;
	server->options = *options;
	set_defaults(&server->options);
	snprintf(server->name, sizeof(server->name), "%s", options->name);
	LIST_INIT(&server->connections);
	hf_timer_init(&server->accept_timer, on_accept_timer, server);
	make_metrics(server);
	server->spare = open_spare();
	server->listener = hf_net_listen(options->address, BACKLOG);
	if (server->listener < 0) {
		err = server->listener;
		goto fail;
	}
	err = hf_net_local(server->listener, server->address);
	if (err < 0)
		goto fail;
	err = -ENOMEM;
	server->acceptable = event_new(loop->base, server->listener, EV_READ | EV_PERSIST,
				       on_acceptable, server);
	if (server->acceptable == NULL || event_add(server->acceptable, NULL) < 0)
		goto fail;
	*ret_server = server;
	return 0;

fail:
	hf_http_server_free(server);
	return err;
}

static void stop_listening(struct hf_http_server *server)
{
	server->draining = true;
	hf_wheel_disarm(&server->accept_timer);
	if (server->acceptable != NULL)
		event_free(server->acceptable);
	server->acceptable = NULL;
	if (server->listener >= 0)
		close(server->listener);
	server->listener = -1;
}

void hf_http_server_free(struct hf_http_server *server)
{
	if (server == NULL)
		return;
	stop_listening(server);
	while (!LIST_EMPTY(&server->connections))
		hf_http_connection_close(LIST_FIRST(&server->connections));
	if (server->spare >= 0)
		close(server->spare);
	for (size_t i = 0; i < server->stats_count; i++)
		free(server->stats[i]);
	free(server);
}

void hf_http_server_drain(struct hf_http_server *server)
{
	struct hf_http_connection *connection, *next;

	stop_listening(server);
	for (connection = LIST_FIRST(&server->connections); connection != NULL; connection = next) {
		next = LIST_NEXT(connection, link);
		hf_http_connection_drain(connection); /* may close it */
	}
}

uint32_t hf_http_server_open_exchanges(const struct hf_http_server *server)
{
	return server->open_exchanges;
}

const char *hf_http_server_address(const struct hf_http_server *server)
{
	return server->address;
}
