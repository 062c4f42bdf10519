#include "yardstick.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

void yardstick_parse(int argc, char **argv, struct yardstick *ret)
{
	struct rlimit limit;

	*ret = (struct yardstick){
		.clients = 1000, .size = 256, .server_cpu = -1, .client_cpu = -1, .seconds = 2
	};
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];

		if (strcmp(name, "--clients") == 0)
			ret->clients = atoi(value);
		else if (strcmp(name, "--size") == 0)
			ret->size = atoi(value);
		else if (strcmp(name, "--seconds") == 0)
			ret->seconds = atof(value);
		else if (strcmp(name, "--server-cpu") == 0)
			ret->server_cpu = atoi(value);
		else if (strcmp(name, "--client-cpu") == 0)
			ret->client_cpu = atoi(value);
		else if (strcmp(name, "--congestion") == 0)
			ret->congestion = value;
		else
			die(name);
	}
	if (ret->clients < 1 || ret->size < 1 || ret->size > 65536)
		die("--clients and --size (1 to 65536)");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
}

void yardstick_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

double yardstick_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double yardstick_cpu(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void yardstick_listen(struct yardstick *y, int defer)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	y->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (y->listener < 0 ||
	    bind(y->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(y->listener, 4096) < 0 ||
	    getsockname(y->listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	setsockopt(y->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (defer)
		setsockopt(y->listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof(on));
	if (y->congestion != NULL &&
	    setsockopt(y->listener, IPPROTO_TCP, TCP_CONGESTION, y->congestion,
		       (socklen_t)strlen(y->congestion)) < 0)
		die("TCP_CONGESTION");
	y->port = ntohs(address.sin_port);
}

static int connect_one(const struct yardstick *y)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)y->port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

pid_t yardstick_fork(struct yardstick *y, void (*clients)(struct yardstick *y, int *fds))
{
	pid_t child = fork();
	int *fds;

	if (child < 0)
		die("fork");
	if (child > 0) {
		yardstick_pin(y->server_cpu);
		return child;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	yardstick_pin(y->client_cpu);
	fds = calloc((size_t)y->clients + 1, sizeof(*fds));
	for (int i = 0; i < y->clients; i++)
		fds[i] = connect_one(y);
	clients(y, fds);
	_exit(0);
}

void yardstick_accept_all(struct yardstick *y)
{
	y->fds = calloc((size_t)y->clients, sizeof(*y->fds));
	for (int i = 0; i < y->clients;) {
		int fd = accept4(y->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			y->fds[i++] = fd;
		else if (errno == EAGAIN)
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
		else
			die("accept");
	}
}

void yardstick_end(pid_t child, uint64_t units, double cpu_s, double seconds)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("{\"units\": %llu, \"cpu_s\": %.6f, \"seconds\": %.6f, \"per_cpu_s\": %.1f, "
	       "\"per_second\": %.1f}\n",
	       (unsigned long long)units, cpu_s, seconds, (double)units / cpu_s,
	       (double)units / seconds);
	exit(0);
}
