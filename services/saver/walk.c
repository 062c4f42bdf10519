#include "walk.h"

#include <string.h>

#define PAGE "32"

static enum saver_error ask(struct saver_walk *walk, const char *cursor);

static void look(struct saver_walk *walk, const redisReply *field, const redisReply *bytes)
{
	struct saver_value value;
	uint64_t id;

	if (saver_field_decode(saver_reply_bytes(field), &id)) {
		walk->messages++;
		walk->on_message(walk, id,
				 saver_value_decode(saver_reply_bytes(bytes), &value) ? &value
										      : NULL);
	} else if (field->len == 1 && field->str[0] == SAVER_LOST_FIELD[0]) {
		walk->has_lost_field = true;
	}
}

static void on_page(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_walk *walk = ctx;
	const redisReply *pairs;

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	     reply->element[0]->type != REDIS_REPLY_STRING ||
	     reply->element[1]->type != REDIS_REPLY_ARRAY || reply->element[1]->elements % 2 != 0))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		walk->on_end(walk, error);
		return;
	}
	pairs = reply->element[1];
	for (size_t i = 0; i < pairs->elements; i += 2)
		look(walk, pairs->element[i], pairs->element[i + 1]);
	if (strcmp(reply->element[0]->str, "0") == 0) {
		walk->on_end(walk, SAVER_OK);
		return;
	}
	error = ask(walk, reply->element[0]->str);
	if (error != SAVER_OK)
		walk->on_end(walk, error);
}

static enum saver_error ask(struct saver_walk *walk, const char *cursor)
{
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[5] = { HF_BYTES_LITERAL("HSCAN"),
				     { key, saver_queue_key_encode(&walk->name, key) },
				     hf_bytes_of_string(cursor),
				     HF_BYTES_LITERAL("COUNT"),
				     HF_BYTES_LITERAL(PAGE) };

	return saver_redis_send_slot(walk->redis, walk->name.slot, walk->op, words, 5, on_page,
				     walk);
}

enum saver_error saver_walk_start(struct saver_walk *walk)
{
	walk->has_lost_field = false;
	walk->messages = 0;
	return ask(walk, "0");
}
