/* deploy/agent/probe.c - asking a store whether it serves, without any of their libraries: Redis
 * answers a PING, and MariaDB greets (packet header, then protocol version 10) once its start is
 * through. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_net.h"
#include "stores.h"

#define PATIENCE_MS 1000

struct stores_probe {
	struct hf_loop *loop;
	enum agent_role role;
	int fd;
	struct event *event;
	struct hf_timer timer;
	bool asked;
	void (*cb)(bool answers, void *ctx);
	void *ctx;
};

static void finish(struct stores_probe *probe, bool answers)
{
	void (*cb)(bool, void *) = probe->cb;
	void *ctx = probe->ctx;

	stores_probe_free(probe);
	cb(answers, ctx);
}

static void on_late(struct hf_timer *timer, void *ctx)
{
	finish(ctx, false);
}

static void on_ready(evutil_socket_t fd, short what, void *ctx)
{
	static const char question[] = "PING\r\n", answer[] = "+PONG\r\n";
	struct stores_probe *probe = ctx;
	uint8_t bytes[16];
	ssize_t n;

	if (!probe->asked) { /* connected, or not */
		int err = 0;
		socklen_t len = sizeof(err);

		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err != 0 ||
		    (probe->role == ROLE_REDIS &&
		     send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) < 0)) {
			finish(probe, false);
			return;
		}
		probe->asked = true;
		event_del(probe->event);
		if (event_assign(probe->event, probe->loop->base, fd, EV_READ, on_ready, probe) <
			    0 ||
		    event_add(probe->event, NULL) < 0)
			finish(probe, false);
		return;
	}
	n = recv(fd, bytes, sizeof(bytes), 0);
	if (probe->role == ROLE_REDIS)
		finish(probe, n == sizeof(answer) - 1 && memcmp(bytes, answer, (size_t)n) == 0);
	else
		finish(probe, n > 4 && bytes[4] == 10);
}

static void store_address(const struct agent_config *config, enum agent_role role, char *ret,
			  size_t size)
{
	if (role == ROLE_MARIADB)
		snprintf(ret, size, "unix:%s/run/mariadb.sock", config->data_dir);
	else
		snprintf(ret, size, "unix:%s/run/redis.sock", config->data_dir);
}

int stores_probe_new(struct hf_loop *loop, const struct agent_config *config, enum agent_role role,
		     void (*cb)(bool answers, void *ctx), void *ctx,
		     struct stores_probe **ret_probe)
{
	struct stores_probe *probe = malloc(sizeof(*probe));
	struct sockaddr_storage address;
	char text[HF_NET_TEXT_SIZE];
	socklen_t len;
	int err;

	if (probe == NULL)
		return -ENOMEM;
	*probe = (struct stores_probe){ .loop = loop, .role = role, .cb = cb, .ctx = ctx };
	hf_timer_init(&probe->timer, on_late, probe);
	store_address(config, role, text, sizeof(text));
	probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	err = probe->fd < 0 ? -errno : hf_net_parse(text, &address, &len);
	if (err == 0 && connect(probe->fd, (struct sockaddr *)&address, len) < 0 &&
	    errno != EINPROGRESS)
		err = -errno;
	if (err == 0) {
		probe->event = event_new(loop->base, probe->fd, EV_WRITE, on_ready, probe);
		if (probe->event == NULL || event_add(probe->event, NULL) < 0)
			err = -ENOMEM;
	}
	if (err < 0) {
		stores_probe_free(probe);
		return err;
	}
	hf_loop_arm(loop, &probe->timer, PATIENCE_MS);
	*ret_probe = probe;
	return 0;
}

void stores_probe_free(struct stores_probe *probe)
{
	if (probe == NULL)
		return;
	hf_wheel_disarm(&probe->timer);
	if (probe->event != NULL)
		event_free(probe->event);
	if (probe->fd >= 0)
		close(probe->fd);
	free(probe);
}
