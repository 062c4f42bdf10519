/* Sends --size bytes to each client in turn, one send() a message; a full socket is skipped, as
 * epoll would tell when it drains. The clients read and throw away. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yardstick.h"

#define EVENTS 512

static void swallow(struct yardstick *y, int *fds)
{
	static char buffer[1 << 16];
	struct epoll_event events[EVENTS];
	int set = epoll_create1(0);

	for (int i = 0; i < y->clients; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = fds[i] };

		epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event);
	}
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (recv(events[i].data.fd, buffer, sizeof(buffer), 0) == 0)
				_exit(0);
		}
	}
}

int main(int argc, char **argv)
{
	static char message[1 << 16];
	static struct yardstick y; /* what it points to is found until the end */
	struct epoll_event events[EVENTS];
	uint64_t sent = 0;
	double cpu, start, end;
	int set = epoll_create1(0);
	pid_t child;

	yardstick_parse(argc, argv, &y);
	yardstick_listen(&y, 0);
	child = yardstick_fork(&y, swallow);
	yardstick_accept_all(&y);
	for (int i = 0; i < y.clients; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = y.fds[i] };

		epoll_ctl(set, EPOLL_CTL_ADD, y.fds[i], &event);
	}
	cpu = yardstick_cpu();
	start = yardstick_now();
	end = start + y.seconds;
	while (yardstick_now() < end) {
		for (int i = 0; i < y.clients; i++) {
			if (send(y.fds[i], message, (size_t)y.size, MSG_NOSIGNAL) == y.size)
				sent++;
			else if (errno != EAGAIN)
				die("send");
		}
		epoll_wait(set, events, EVENTS, 0);
	}
	yardstick_end(child, sent, yardstick_cpu() - cpu, yardstick_now() - start);
}
