#define HF_LOG_MODULE "saver"
#include "redis_commands.h"

#include <stdio.h>
#include <stdlib.h>

#define OPS_PER_BLOCK 256u

struct saver_op_block {
	struct saver_op_block *next;
	struct saver_redis_op ops[OPS_PER_BLOCK];
};

static const char *const op_names[SAVER_OP_COUNT] = {
	"store", "load",          "remove",         "inspect", "claim", "redeliver",
	"sweep", "refill",        "check",          "job",     "log",   "broadcast",
	"spool", "registry_read", "registry_write", "report",
};

void saver_redis_commands_init(struct saver_redis_commands *commands, struct hf_metrics *metrics)
{
	char labels[64];

	STAILQ_INIT(&commands->free);
	for (unsigned i = 0; i < SAVER_OP_COUNT; i++) {
		for (unsigned failed = 0; failed < 2; failed++) {
			snprintf(labels, sizeof(labels), "store=\"redis\",op=\"%s\",result=\"%s\"",
				 op_names[i], failed ? "error" : "ok");
			commands->results[i][failed] = hf_metrics_counter(
				metrics, "holdfast_saver_operations_total", labels,
				"Commands and statements by what they were for.");
		}
	}
}

void saver_redis_commands_deinit(struct saver_redis_commands *commands)
{
	struct saver_op_block *block;

	while ((block = commands->blocks) != NULL) {
		commands->blocks = block->next;
		free(block);
	}
}

static struct saver_redis_op *op_alloc(struct saver_redis_commands *commands)
{
	struct saver_redis_op *op = STAILQ_FIRST(&commands->free);

	if (op == NULL) {
		struct saver_op_block *block = malloc(sizeof(*block));

		if (block == NULL)
			return NULL;
		block->next = commands->blocks;
		commands->blocks = block;
		for (unsigned i = 0; i < OPS_PER_BLOCK; i++)
			STAILQ_INSERT_HEAD(&commands->free, &block->ops[i], next);
		op = STAILQ_FIRST(&commands->free);
	}
	STAILQ_REMOVE_HEAD(&commands->free, next);
	return op;
}

struct saver_redis_op *saver_redis_commands_begin(struct saver_redis_commands *commands,
						  uint16_t slot, enum saver_op kind,
						  saver_redis_cb cb, void *ctx)
{
	struct saver_redis_op *op = op_alloc(commands);

	if (op == NULL)
		return NULL;
	op->cb = cb;
	op->ctx = ctx;
	op->slot = slot;
	op->kind = (uint8_t)kind;
	if (slot < HF_SLOTS)
		commands->slots[slot].open++;
	return op;
}

void saver_redis_commands_undo(struct saver_redis_commands *commands, struct saver_redis_op *op)
{
	if (op->slot < HF_SLOTS)
		commands->slots[op->slot].open--;
	STAILQ_INSERT_HEAD(&commands->free, op, next);
}

static enum saver_error classify(struct saver_redis_commands *commands,
				 const struct saver_redis_op *op, const redisReply *reply,
				 unsigned node)
{
	const char *text = reply->str;
	enum saver_error error = SAVER_STORE_UNAVAILABLE;

	if (strncmp(text, "OOM ", 4) == 0 ||
	    (strncmp(text, "MISCONF", 7) == 0 && strstr(text, "No space left") != NULL))
		error = SAVER_STORE_FULL;
	if (hf_log_throttle_pass(&commands->refused, 10000))
		HF_WARN("redis_refused", "node=%u op=%s error=%s", node, op_names[op->kind],
			hf_log_quote(text, reply->len));
	return error;
}

void saver_redis_commands_end(struct saver_redis_commands *commands, struct saver_redis_op *op,
			      const redisReply *reply, unsigned node)
{
	enum saver_error error = SAVER_OK;
	saver_redis_cb cb = op->cb;
	void *ctx = op->ctx;

	if (reply == NULL)
		error = SAVER_STORE_UNAVAILABLE;
	else if (reply->type == REDIS_REPLY_ERROR)
		error = classify(commands, op, reply, node);
	++*commands->results[op->kind][error != SAVER_OK];
	saver_redis_commands_undo(commands, op);
	cb(error == SAVER_OK ? reply : NULL, error, ctx);
}
