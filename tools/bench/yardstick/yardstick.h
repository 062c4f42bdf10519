/* tools/bench/yardstick/yardstick.h - what the bare socket programs share.
 *
 * Each does the same socket work as a room does for one measurement, and nothing else: no protocol,
 * no state, no checks that a service could not leave out. Server and clients are two processes,
 * each pinned to its processor; the server's CPU time is what counts. */
#ifndef YARDSTICK_H
#define YARDSTICK_H

#include <stdint.h>
#include <sys/types.h>

struct yardstick {
	int clients, size, server_cpu, client_cpu;
	double seconds;
	const char *congestion;
	int listener, port;
	int *fds; /* the server's end of each client */
};

void yardstick_parse(int argc, char **argv, struct yardstick *ret);
void yardstick_listen(struct yardstick *y, int defer);
/* Forks; the child connects all clients and runs `clients` until it is killed. */
pid_t yardstick_fork(struct yardstick *y, void (*clients)(struct yardstick *y, int *fds));
void yardstick_accept_all(struct yardstick *y);
void yardstick_pin(int cpu);
double yardstick_cpu(void); /* seconds, of this process */
double yardstick_now(void);
/* The line of JSON that tools/perf reads; ends the clients. */
void yardstick_end(pid_t child, uint64_t units, double cpu_s, double seconds);
void die(const char *what);

#endif
