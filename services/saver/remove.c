/* Deleting messages from Redis, for whatever reason, and counting each by what Redis says. */
#include <stdlib.h>

#include "saver.h"

struct removal {
	struct saver *saver;
	saver_removed_cb cb;
	void *ctx;
	enum saver_fate fate;
	enum saver_error error;
	uint32_t removed;
	size_t next, pending, count; /* replies come in the order of the ids */
	struct saver_name name;
	uint64_t ids[];
};

static void finish(struct removal *removal)
{
	if (removal->cb != NULL)
		removal->cb(removal->removed, removal->error, removal->ctx);
	free(removal);
}

static void on_removed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct removal *removal = ctx;
	uint64_t id = removal->ids[removal->next++];

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK) {
		bool was_there = reply->integer > 0;

		removal->removed += was_there;
		saver_account(removal->saver, &removal->name, id, removal->fate, was_there);
	} else if (removal->error == SAVER_OK) {
		removal->error = error;
	}
	if (--removal->pending == 0)
		finish(removal);
}

enum saver_error saver_remove(struct saver *saver, const struct saver_name *name,
			      const uint64_t *ids, size_t count, enum saver_fate fate,
			      saver_removed_cb cb, void *ctx)
{
	struct removal *removal = malloc(sizeof(*removal) + count * sizeof(ids[0]));
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HDEL"),
				     { key, 0 },
				     { field, sizeof(field) } };
	enum saver_error error = SAVER_OK;

	if (removal == NULL)
		return SAVER_INTERNAL;
	*removal = (struct removal){
		.saver = saver, .cb = cb, .ctx = ctx, .fate = fate, .count = count, .name = *name
	};
	memcpy(removal->ids, ids, count * sizeof(ids[0]));
	words[1].len = saver_queue_key_encode(name, key);
	for (size_t i = 0; i < count && error == SAVER_OK; i++) {
		saver_field_encode(ids[i], field);
		error = saver_redis_send(saver->redis, saver_node_of(saver, name), SAVER_OP_REMOVE,
					 words, 3, on_removed, removal);
		removal->pending += error == SAVER_OK;
	}
	if (removal->pending > 0) { /* those that were sent are waited for */
		if (removal->error == SAVER_OK)
			removal->error = error;
		return SAVER_OK;
	}
	free(removal);
	return error == SAVER_OK ? SAVER_INTERNAL : error;
}
