/* services/saver/walk.h - all messages of one queue, a few at a time (HSCAN), for who must look at
 * every one: the sweep and the operator. A message may come twice; one that is there throughout
 * comes at least once. */
#ifndef SAVER_WALK_H
#define SAVER_WALK_H

#include "redis.h"

struct saver_walk {
	/* The caller's: fill in before saver_walk_start(). */
	struct saver_redis *redis;
	enum saver_op op;
	struct saver_name name;
	/* `value` is NULL when it can't be read; both are borrowed. */
	void (*on_message)(struct saver_walk *walk, uint64_t message_id,
			   const struct saver_value *value);
	/* The last call: the walk may be freed. */
	void (*on_end)(struct saver_walk *walk, enum saver_error error);
	/* Results. */
	bool has_lost_field;
	uint32_t messages;
};

/* SAVER_OK, or an error and no callback runs. */
HF_MUST_CHECK enum saver_error saver_walk_start(struct saver_walk *walk);

#endif
