/* services/saver/health.h - how much a Redis node promises: what its own configuration says.
 *
 * FSYNC takes appendonly yes, appendfsync always, and a maxmemory-policy that evicts nothing.
 * Whatever else, or a node that will not tell, is MEMORY. Asked at each connect and every few
 * seconds, as CONFIG SET changes it at any time. */
#ifndef SAVER_HEALTH_H
#define SAVER_HEALTH_H

#include "redis.h"
#include "saver.pb-c.h"

struct saver_health;

HF_MUST_CHECK struct saver_health *saver_health_new(
	struct saver_redis *redis);                  /* NULL: no memory */
void saver_health_free(struct saver_health *health); /* after the connections are closed */

void saver_health_check(struct saver_health *health, unsigned node); /* ask; answers come later */
Hf__Durability saver_health_durability(const struct saver_health *health, unsigned node);
/* Why the node is no better than MEMORY; NULL when it is. */
const char *saver_health_weakness(const struct saver_health *health, unsigned node);

#endif
