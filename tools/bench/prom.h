/* tools/bench/prom.h - the counters of the running bench for Prometheus: GET /metrics, and nothing
 * else. */
#ifndef BENCH_PROM_H
#define BENCH_PROM_H

#include "bench.h"

struct prom;

/* Listens, and says where on stderr. `collect` fills in what is so now, each time that somebody
 * asks. 0 or -errno. */
HF_MUST_CHECK int prom_open(const char *address, void (*collect)(void *ctx, struct stats *ret),
			    void *ctx, struct prom **ret);
void prom_close(struct prom *prom);
/* Wait up to `wait_ms`, and serve who asks. With NULL it only waits. */
void prom_turn(struct prom *prom, int wait_ms);

#endif
