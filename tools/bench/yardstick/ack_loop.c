/* Sends --size bytes to one client after another and reads a 10 byte ack for each: as many messages
 * under way as
 * --clients / 4, the next one sent when an ack came. Half of what a push with an ack costs a
 * gateway. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yardstick.h"

#define EVENTS 512
#define ACK    10

static void acknowledge(struct yardstick *y, int *fds)
{
	static char buffer[1 << 16], acks[1 << 16];
	struct epoll_event events[EVENTS];
	int *have = calloc((size_t)y->clients, sizeof(*have));
	int set = epoll_create1(0);

	for (int i = 0; i < y->clients; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };

		epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event);
	}
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			uint32_t at = events[i].data.u32;
			ssize_t got = recv(fds[at], buffer, sizeof(buffer), 0);
			int whole;

			if (got <= 0)
				_exit(0);
			have[at] += (int)got;
			whole = have[at] / y->size;
			have[at] %= y->size;
			if (whole > 0)
				(void)!send(fds[at], acks, (size_t)(whole * ACK), MSG_NOSIGNAL);
		}
	}
}

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	static char message[1 << 16];
	static struct yardstick y; /* what it points to is found until the end */
	struct epoll_event events[EVENTS];
	uint64_t acked = 0;
	double cpu, start, end;
	int set = epoll_create1(0), next = 0, under_way = 0, most;
	pid_t child;

	yardstick_parse(argc, argv, &y);
	yardstick_listen(&y, 0);
	child = yardstick_fork(&y, acknowledge);
	yardstick_accept_all(&y);
	for (int i = 0; i < y.clients; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = y.fds[i] };

		epoll_ctl(set, EPOLL_CTL_ADD, y.fds[i], &event);
	}
	most = y.clients / 4 > 0 ? y.clients / 4 : 1;
	cpu = yardstick_cpu();
	start = yardstick_now();
	end = start + y.seconds;
	while (yardstick_now() < end) {
		int n;

		for (; under_way < most; under_way++) {
			if (send(y.fds[next], message, (size_t)y.size, MSG_NOSIGNAL) != y.size)
				die("send");
			next = (next + 1) % y.clients;
		}
		n = epoll_wait(set, events, EVENTS, 10);
		for (int i = 0; i < n; i++) {
			ssize_t got = recv(events[i].data.fd, buffer, sizeof(buffer), 0);

			if (got <= 0)
				die("recv");
			acked += (uint64_t)(got / ACK);
			under_way -= (int)(got / ACK);
		}
	}
	yardstick_end(child, acked, yardstick_cpu() - cpu, yardstick_now() - start);
}
