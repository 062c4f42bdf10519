/* Accepts, adds to epoll, reads a request of --size bytes, answers 80 bytes; the client then ends
 * by FIN. What a login costs a gateway before it looks at a single byte. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yardstick.h"

#define EVENTS  512
#define ANSWER  80
#define BACKLOG 512 /* connections under way */

static void start_one(const struct yardstick *y, int set, const char *request)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)y->port) };
	struct epoll_event event = { .events = EPOLLIN };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	(void)!send(fd, request, (size_t)y->size, MSG_NOSIGNAL);
	event.data.fd = fd;
	epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

static void connect_anew(struct yardstick *y, int *fds)
{
	static char buffer[1 << 12];
	struct epoll_event events[EVENTS];
	struct linger reset = { .l_onoff = 1 };
	char *request = calloc(1, (size_t)y->size);
	int set = epoll_create1(0);

	for (int i = 0; i < BACKLOG; i++)
		start_one(y, set, request);
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (recv(fd, buffer, sizeof(buffer), 0) <= 0)
				_exit(0);
			/* Else its port would rest for a minute. */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(fd);
			start_one(y, set, request);
		}
	}
}

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	char answer[ANSWER] = { 0 };
	static struct yardstick y;
	struct epoll_event events[EVENTS], event = { .events = EPOLLIN };
	uint64_t answered = 0;
	double cpu, start, end;
	int set = epoll_create1(0);
	pid_t child;

	yardstick_parse(argc, argv, &y);
	y.clients = 0;
	yardstick_listen(&y, 1);
	child = yardstick_fork(&y, connect_anew);
	event.data.fd = y.listener;
	epoll_ctl(set, EPOLL_CTL_ADD, y.listener, &event);
	cpu = yardstick_cpu();
	start = yardstick_now();
	end = start + y.seconds;
	while (yardstick_now() < end) {
		int n = epoll_wait(set, events, EVENTS, 10);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == y.listener) {
				while ((fd = accept4(y.listener, NULL, NULL,
						     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
					event.data.fd = fd;
					epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
				}
				continue;
			}
			got = recv(fd, buffer, sizeof(buffer), 0);
			if (got == y.size && send(fd, answer, sizeof(answer), MSG_NOSIGNAL) > 0)
				answered++;
			else if (got <= 0 && errno != EAGAIN)
				close(fd);
		}
	}
	yardstick_end(child, answered, yardstick_cpu() - cpu, yardstick_now() - start);
}
