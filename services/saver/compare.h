/* services/saver/compare.h - which messages of Redis does the database lack? The sweep collects
 * some, this asks for them, reads those that are missing from Redis, and queues them to be written.
 */
#ifndef SAVER_COMPARE_H
#define SAVER_COMPARE_H

#include "value.h"

struct saver;
struct saver_compare;
struct saver_candidate;
struct hf_buffer;

typedef void (*saver_compared_cb)(struct saver_compare *compare, size_t requeued, void *ctx);

struct saver_compare {
	struct saver *saver;
	saver_compared_cb cb;
	void *ctx;
	struct saver_candidate *candidates;
	size_t count, capacity, next; /* next: first one not asked for yet */
	size_t slice;                 /* asked for now */
	uint32_t pending;
	size_t requeued;
};

void saver_compare_init(struct saver_compare *compare, struct saver *saver, saver_compared_cb cb,
			void *ctx);
void saver_compare_deinit(struct saver_compare *compare);
void saver_compare_clear(struct saver_compare *compare);
void saver_compare_add(struct saver_compare *compare, const struct saver_name *name,
		       uint64_t message_id);
/* `cb` runs when all is asked and queued, perhaps from within; also when the database is away: then
 * nothing was done, and a later sweep does it. */
void saver_compare_run(struct saver_compare *compare);

#endif
