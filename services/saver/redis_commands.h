/* services/saver/redis_commands.h - the commands of a process that Redis has not answered yet:
 * their memory, which slots have some on their way, and what their ends mean. For redis.c alone. */
#ifndef SAVER_REDIS_COMMANDS_H
#define SAVER_REDIS_COMMANDS_H

#include "hf_log.h"
#include "redis_link.h"

struct saver_op_block;

/* While a command of a slot is unanswered, its next ones take the same link: they stay in order. */
struct saver_slot_use {
	uint32_t open;
	uint32_t link;
};

struct saver_redis_commands {
	struct saver_op_block *blocks;
	struct saver_redis_ops free;
	struct saver_slot_use slots[HF_SLOTS];
	uint64_t *results[SAVER_OP_COUNT][2];
	struct hf_log_throttle refused;
};

/* On memory that is zero. */
void saver_redis_commands_init(struct saver_redis_commands *commands, struct hf_metrics *metrics);
/* When none is on its way. */
void saver_redis_commands_deinit(struct saver_redis_commands *commands);

/* One more command; `slot` may be HF_SLOTS: of none. NULL: no memory. */
struct saver_redis_op *saver_redis_commands_begin(struct saver_redis_commands *commands,
						  uint16_t slot, enum saver_op kind,
						  saver_redis_cb cb, void *ctx);
/* It could not be sent: its callback will not run. */
void saver_redis_commands_undo(struct saver_redis_commands *commands, struct saver_redis_op *op);
/* It is over, and its callback runs. `reply` NULL: the connection to `node` was lost. */
void saver_redis_commands_end(struct saver_redis_commands *commands, struct saver_redis_op *op,
			      const redisReply *reply, unsigned node);

#endif
