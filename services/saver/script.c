#include "script.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void saver_script_bytes(struct saver_script *script, struct hf_bytes bytes)
{
	assert(script->count < SAVER_SCRIPT_WORDS);
	script->words[script->count++] = bytes;
}

void saver_script_text(struct saver_script *script, const char *fmt, ...)
{
	char *to = script->text + script->used;
	size_t room = sizeof(script->text) - script->used;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(to, room, fmt, args);
	va_end(args);
	assert(len >= 0 && (size_t)len < room);
	script->used += (size_t)len;
	saver_script_bytes(script, hf_bytes_of(to, (size_t)len));
}

void saver_script_number(struct saver_script *script, uint64_t number)
{
	saver_script_text(script, "%llu", (unsigned long long)number);
}

void saver_script_init_command(struct saver_script *script, const char *command)
{
	script->count = script->used = 0;
	saver_script_bytes(script, hf_bytes_of_string(command));
}

void saver_script_init(struct saver_script *script, const char *source, unsigned keys)
{
	saver_script_init_command(script, "EVAL");
	saver_script_bytes(script, hf_bytes_of_string(source));
	saver_script_number(script, keys);
}

enum saver_error saver_script_send(struct saver_redis *redis, unsigned node, enum saver_op op,
				   const struct saver_script *script, saver_redis_cb cb, void *ctx)
{
	return saver_redis_send(redis, node, op, script->words, script->count, cb, ctx);
}
