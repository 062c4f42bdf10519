/* services/saver/collapse.h - messages with a collapse key: of those with the same key the newest
 *is owed, the others are not. One script in Redis does it, so that nothing can come between.
 *
 *	hf:k:<app>:<registration>   hash, gone when its latest message would have expired
 *	    field   collapse key
 *	    value   id of the newest | id of the one before it (0: none), 8 bytes big endian each
 *
 * The order of ids decides, whatever the order of arrival. The entry stays when its message was
 *acked: an older one that comes late is obsolete all the same. At most SAVER_COLLAPSE_KEYS keys are
 *kept for a registration; above that the one with the lowest id is forgotten, and its message is no
 *longer replaced. After Redis was lost, what is refilled from the database makes its entries anew.
 */
#ifndef SAVER_COLLAPSE_H
#define SAVER_COLLAPSE_H

#include "redis.h"

#define SAVER_COLLAPSE_KEYS   64
#define SAVER_COLLAPSE_PREFIX "hf:k:"

enum saver_collapse_outcome {
	SAVER_COLLAPSE_AGAIN, /* it was there already */
	SAVER_COLLAPSE_STORED,
	SAVER_COLLAPSE_SUPERSEDED,       /* a newer one was there before: nothing is stored */
	SAVER_COLLAPSE_SUPERSEDED_AGAIN, /* and this one was seen before */
};

struct saver_collapsed {
	enum saver_collapse_outcome outcome;
	uint64_t replaced_id;     /* of the older one that left for it; 0: none */
	struct hf_bytes replaced; /* its packed Delivery, borrowed from the reply */
};

/* What HSET of `value` is for other messages. `key` of 1 to 64 bytes. `early`: as
 * saver_redis_send_early(), and what is in the queue under this id stays as it is. */
HF_MUST_CHECK enum saver_error saver_collapse_send(struct saver_redis *redis, enum saver_op op,
						   const struct saver_name *name,
						   uint64_t message_id,
						   const struct saver_value *value,
						   struct hf_bytes key, bool early,
						   saver_redis_cb cb, void *ctx);
/* False for a reply that makes no sense. */
HF_MUST_CHECK bool saver_collapse_parse(const redisReply *reply, struct saver_collapsed *ret);

#endif
