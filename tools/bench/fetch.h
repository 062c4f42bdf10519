/* tools/bench/fetch.h - one blocking request, for what the first process asks before and after a
 * run, and the names of hosts. */
#ifndef BENCH_FETCH_H
#define BENCH_FETCH_H

#include "bench.h"

#define FETCH_WAIT_S 5
#define FETCH_WHY    128

/* "host:port", the host a name or an address: up to `max` of the addresses that it has into `ret`.
 * Their number, or -EINVAL. */
int fetch_resolve(const char *address, struct target *ret, size_t max);
/* A connected blocking socket whose calls end after FETCH_WAIT_S, or -errno. */
int fetch_connect(const struct target *to);
/* Body of the answer to GET, at most `max` bytes, with a NUL; the caller frees it. NULL: there is
 * no answer, or it is not 200; `why` says so. */
char *fetch_get(const struct target *to, const char *host, const char *path, size_t max,
		char why[FETCH_WHY]);

#endif
