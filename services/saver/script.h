/* services/saver/script.h - the words of one EVAL: a script that Redis runs as one step. Numbers
 * and keys are kept inside; bytes are borrowed until the command is sent. */
#ifndef SAVER_SCRIPT_H
#define SAVER_SCRIPT_H

#include "redis.h"

#define SAVER_SCRIPT_WORDS 64
#define SAVER_SCRIPT_TEXT  1024

/* The clock of the Redis that runs a script, in milliseconds: one clock for all who ask it. */
#define SAVER_SCRIPT_NOW                 \
	"local t = redis.call('TIME')\n" \
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

struct saver_script {
	struct hf_bytes words[SAVER_SCRIPT_WORDS];
	size_t count, used;
	char text[SAVER_SCRIPT_TEXT];
};

/* `source` is a literal. Then come the `keys` keys, then the arguments. */
void saver_script_init(struct saver_script *script, const char *source, unsigned keys);
/* Or of any other command. */
void saver_script_init_command(struct saver_script *script, const char *command);
void saver_script_bytes(struct saver_script *script, struct hf_bytes bytes);
void saver_script_text(struct saver_script *script, const char *fmt, ...) HF_PRINTF(2, 3);
void saver_script_number(struct saver_script *script, uint64_t number);

/* As saver_redis_send(). */
HF_MUST_CHECK enum saver_error saver_script_send(struct saver_redis *redis, unsigned node,
						 enum saver_op op,
						 const struct saver_script *script,
						 saver_redis_cb cb, void *ctx);

/* An element of an array as bytes; data NULL when it is no string. */
static inline struct hf_bytes saver_reply_element(const redisReply *reply, size_t i)
{
	if (i >= reply->elements || reply->element[i]->type != REDIS_REPLY_STRING)
		return (struct hf_bytes){ NULL, 0 };
	return saver_reply_bytes(reply->element[i]);
}
static inline long long saver_reply_integer(const redisReply *reply, size_t i)
{
	return i < reply->elements && reply->element[i]->type == REDIS_REPLY_INTEGER
		       ? reply->element[i]->integer
		       : 0;
}

#endif
