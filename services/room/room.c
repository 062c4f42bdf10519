/* The life of the process: start, reload, drain, stop. */
#define HF_LOG_MODULE "room"
#include "room.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "hf_log.h"

#define DESCRIPTORS_KEPT 256 /* for RPC, keeper, admin and log */

static void room_stop(struct hf_service *service)
{
	struct room *room = service->state;

	if (room == NULL)
		return;
	sweep_stop(room);
	listeners_free(room);
	index_silence(room);
	events_stop(room);
	upstream_close(room);
	connections_close(room);
	broadcasts_close(room);
	count_close(room);
	acks_close(room);
	events_close(room);
	delivery_close(room);
	loads_close(room);
	index_close(room);
	hf_peers_free(room->rooms);
	hf_apps_free(room->apps);
	drain_free(room);
	free(room);
	service->state = NULL;
}

/* As many connections as configured, or as descriptors allow: never promise more than can be held.
 */
static void find_connection_limit(struct room *room)
{
	uint64_t wanted = room->config->limits.connections;
	struct rlimit limit;

	room->connection_limit = wanted;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted + DESCRIPTORS_KEPT)
		return;
	room->connection_limit = limit.rlim_cur > 2 * DESCRIPTORS_KEPT
					 ? limit.rlim_cur - DESCRIPTORS_KEPT
					 : limit.rlim_cur / 2;
	HF_WARN("fewer connections than configured", "limit=%llu configured=%llu nofile=%llu",
		(unsigned long long)room->connection_limit, (unsigned long long)wanted,
		(unsigned long long)limit.rlim_cur);
}

static int start_parts(struct room *room)
{
	struct hf_service *service = room->service;
	struct hf_peers_options rooms = { .service = "room" };
	int err = connections_open(room);

	if (err < 0)
		return err;
	err = hf_apps_new(service->keeper, sweep_apps, room, &room->apps);
	if (err == 0)
		err = index_open(room);
	if (err == 0)
		err = acks_open(room);
	if (err == 0)
		err = events_open(room);
	if (err == 0)
		err = upstream_open(room);
	if (err == 0)
		err = broadcasts_open(room);
	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &rooms,
				   &room->rooms);
	return err;
}

static int room_start(struct hf_service *service)
{
	struct room *room = calloc(1, sizeof(*room));
	int err;

	if (room == NULL)
		return -ENOMEM;
	service->state = room;
	room->service = service;
	room->loop = service->loop;
	room->config = service->config;
	room->start_ms = hf_loop_now_ms(room->loop);
	room->spare_fd = -1;
	room->clients.fd = -1;
	signal(SIGPIPE, SIG_IGN); /* TLS writes by write(2), which has no MSG_NOSIGNAL */
	loads_open(room);
	hf_task_init(&room->count_task, count_run, room);
	rpc_init(room);
	metrics_open(room);
	find_connection_limit(room);

	err = start_parts(room);
	if (err < 0) {
		HF_ERROR("start failed", "err=%s", strerror(-err));
		return err;
	}
	err = hf_service_serve_rpc(service, &room->rpc.base);
	if (err == 0)
		err = listeners_open(room);
	if (err == 0)
		sweep_start(room);
	return err;
}

static void room_reload(struct hf_service *service, const void *old)
{
	struct room *room = service->state;

	(void)old;
	room->config = service->config;
	listeners_reload(room);
	broadcasts_reload(room);
}

static const char *room_not_ready(struct hf_service *service)
{
	const struct room *room = service->state;

	if (!hf_apps_known(room->apps))
		return "apps not read yet";
	if (!hf_peers_known(room->registers) || !hf_peers_known(room->savers))
		return "keeper view not complete";
	if (room_client_count(room) >= room->connection_limit)
		return "connection limit reached";
	return NULL;
}

static void room_drain(struct hf_service *service)
{
	drain_start(service->state);
}

static bool room_drained(struct hf_service *service)
{
	struct room *room = service->state;

	return room->connections.live == 0 && index_is_settled(room) && acks_are_settled(room) &&
	       events_are_settled(room);
}

const struct hf_service_type room_type = {
	.name = "room",
	.summary = "the gateway: holds the connections of clients and delivers to them",
	.options = room_options,
	.config_size = sizeof(struct room_config),
	.check = room_config_check,
	.start = room_start,
	.reload = room_reload,
	.not_ready = room_not_ready,
	.drain = room_drain,
	.drained = room_drained,
	.stop = room_stop,
};
