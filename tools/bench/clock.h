/* tools/bench/clock.h - how far this machine's clock is from a server's.
 *
 * Any HTTP server tells its time in Date, in whole seconds: an answer that says S, asked for at t0
 * and read at t1, proves that the server's clock was in [S, S + 1) at some moment between t0 and
 * t1. Asked around the turn of a second, as the estimate so far foretells it, three rounds bring
 * that down to the time of a round trip. What comes out is a bound that holds, whatever the ways
 * there and back take, as long as both clocks only run. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include "bench.h"

/* The server's wall clock less this machine's monotonic one, in ns: it lies in [low, high]. */
struct clock_bounds {
	double low, high;
};

/* Narrow what is known by one answer. False: it contradicts what is known. */
bool clock_narrow(struct clock_bounds *bounds, uint64_t date_s, uint64_t asked_ns,
		  uint64_t read_ns);
/* The seconds in the Date of an answer's head; false: there is none. */
bool clock_date(const char *head, size_t len, uint64_t *ret_s);
/* Some 3 s. 0, or -errno: -EPROTO for an answer without Date, -ERANGE when a clock was set
 * meanwhile. */
int clock_measure(const struct target *to, const char *host, struct clock_bounds *ret);

#endif
