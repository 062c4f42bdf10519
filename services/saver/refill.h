/* services/saver/refill.h - may a Redis node serve? Only when it holds what it is believed to hold.
 *
 * A node that belongs to a store carries the key hf:store: the store's id (from MySQL's table
 * `store`), the node's place among redis.nodes, and a token drawn when it was last filled. Without
 * the key the node is empty, new or robbed of its disk: one saver, under the lease hf:refill,
 * copies what MySQL has into it and then writes the key, while the others wait. Whoever meets a
 * token that he has not seen puts the rows he still holds in memory back as well, and serves only
 * then. */
#ifndef SAVER_REFILL_H
#define SAVER_REFILL_H

#include "hf_base.h"

struct saver;
struct saver_refill;

HF_MUST_CHECK int saver_refill_new(struct saver *saver, struct saver_refill **ret_refill);
/* After Redis and the database are closed. NULL is fine. */
void saver_refill_free(struct saver_refill *refill);

void saver_refill_on_connected(struct saver_refill *refill, unsigned node);
void saver_refill_on_lost(struct saver_refill *refill, unsigned node);
/* What a node that does not serve waits for; NULL when it serves. */
const char *saver_refill_reason(const struct saver_refill *refill, unsigned node);

#endif
