/* Cutting a queue to its cap: the oldest leave first. */
#include <stdio.h>
#include <stdlib.h>

#include "saver.h"

/* One queue that is being cut. A second wish meanwhile is remembered and runs after. */
struct trim {
	struct hf_table_node node;
	struct saver *saver;
	uint32_t cap;
	bool again;
	struct saver_name name;
};

static void start(struct trim *trim);

static void finish(struct trim *trim)
{
	if (trim->again) {
		trim->again = false;
		start(trim);
		return;
	}
	hf_table_remove(&trim->saver->trims, &trim->node);
	free(trim);
}

static void on_noted(const redisReply *reply, enum saver_error error, void *ctx)
{
	finish(ctx);
}

/* Tell the next load how many are missing. */
static void on_dropped(uint32_t removed, enum saver_error error, void *ctx)
{
	struct trim *trim = ctx;
	struct saver *saver = trim->saver;
	uint8_t key[SAVER_KEY_MAX];
	char digits[12];
	int len = snprintf(digits, sizeof(digits), "%u", removed);
	struct hf_bytes words[4] = { HF_BYTES_LITERAL("HINCRBY"),
				     { key, saver_queue_key_encode(&trim->name, key) },
				     HF_BYTES_LITERAL(SAVER_LOST_FIELD),
				     { (uint8_t *)digits, (size_t)len } };

	if (removed == 0 || saver_redis_send_slot(saver->redis, trim->name.slot, SAVER_OP_REMOVE,
						  words, 4, on_noted, trim) != SAVER_OK)
		finish(trim);
}

static void on_keys(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct trim *trim = ctx;
	uint64_t *ids = NULL;
	size_t count = 0;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_ARRAY)
		ids = malloc((reply->elements + 1) * sizeof(*ids));
	for (size_t i = 0; ids != NULL && i < reply->elements; i++) {
		if (saver_field_decode(saver_reply_bytes(reply->element[i]), &ids[count]))
			count++;
	}
	if (count > trim->cap) {
		saver_ids_sort(ids, count);
		if (saver_remove(trim->saver, &trim->name, ids, count - trim->cap, SAVER_DROPPED,
				 on_dropped, trim) == SAVER_OK)
			trim = NULL;
	}
	free(ids);
	if (trim != NULL)
		finish(trim);
}

static void start(struct trim *trim)
{
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("HKEYS"),
				     { key, saver_queue_key_encode(&trim->name, key) } };

	if (saver_redis_send_slot(trim->saver->redis, trim->name.slot, SAVER_OP_REMOVE, words, 2,
				  on_keys, trim) != SAVER_OK) {
		trim->again = false; /* the next store over the cap begins anew */
		finish(trim);
	}
}

void saver_trim(struct saver *saver, const struct saver_name *name, uint32_t cap)
{
	struct hf_table_node *node = hf_table_find(&saver->trims, name->hash);
	struct trim *trim;

	for (; node != NULL; node = hf_table_find_next(node)) {
		trim = HF_CONTAINER_OF(node, struct trim, node);
		if (saver_name_equal(&trim->name, name)) {
			trim->cap = cap;
			trim->again = true;
			return;
		}
	}
	trim = malloc(sizeof(*trim));
	if (trim == NULL)
		return;
	*trim = (struct trim){ .saver = saver, .cap = cap, .name = *name };
	hf_table_insert(&saver->trims, &trim->node, name->hash);
	start(trim);
}
