/* services/saver/sweep.h - walks over all queues of our slots, slowly, again and again.
 *
 * Each pass removes expired messages and counts them, and writes to the database what it finds in
 * Redis and not there: rows that a crash or an outage of the database left out. A fast pass - at
 * start, when slots were gained, when a Redis was refilled, when rows were left out - goes without
 * pauses and also offers everything for redelivery, as nobody remembers what became of it. */
#ifndef SAVER_SWEEP_H
#define SAVER_SWEEP_H

#include "hf_base.h"

struct saver;
struct saver_sweep;

HF_MUST_CHECK int saver_sweep_new(struct saver *saver, struct saver_sweep **ret_sweep);
/* After Redis and the database are closed. NULL is fine. */
void saver_sweep_free(struct saver_sweep *sweep);

void saver_sweep_hurry(
	struct saver_sweep *sweep); /* the next pass comes at once, and is a fast one */
/* A Redis serves (again), with what it had or with other content. Passes leave out what is away. */
void saver_sweep_on_serving(struct saver_sweep *sweep, bool changed);

#endif
