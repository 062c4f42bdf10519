/* tools/bench/server.h - what the servers under load say of themselves: memory and CPU, from their
 * metrics pages (--server-metrics). */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include "bench.h"

struct server_use {
	double memory_b, cpu_s; /* summed over all of them */
};

/* False: one of them did not answer, or does not say it; which one is said on stderr. */
bool server_use(const struct options *options, struct server_use *ret);

#endif
