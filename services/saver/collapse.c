#include "collapse.h"

#include <stdio.h>

/* KEYS: queue, collapse keys. ARGV: id, value, collapse key, expiry in ms, most keys, "1" to leave
 * a field that is there as it is. Lua compares strings by locale: ids are compared byte by byte. */
static const char script[] =
	"local function less(a, b)\n"
	"  for i = 1, 8 do\n"
	"    local x, y = a:byte(i), b:byte(i)\n"
	"    if x ~= y then return x < y end\n"
	"  end\n"
	"  return false\n"
	"end\n"
	"local id, entry = ARGV[1], redis.call('HGET', KEYS[2], ARGV[3])\n"
	"local before, replaced, value = string.rep('\\0', 8), '', ''\n"
	"if entry then\n"
	"  local newest = entry:sub(1, 8)\n"
	"  before = entry:sub(9, 16)\n"
	"  if less(id, newest) then\n"
	"    if before == id then return {3, '', ''} end\n"
	"    redis.call('HSET', KEYS[2], ARGV[3], newest .. id)\n"
	"    return {2, '', ''}\n"
	"  end\n"
	"  if newest ~= id then\n"
	"    before = newest\n"
	"    value = redis.call('HGET', KEYS[1], newest) or ''\n"
	"    if redis.call('HDEL', KEYS[1], newest) == 1 then replaced = newest end\n"
	"  end\n"
	"end\n"
	"local n = redis.call(ARGV[6] == '1' and 'HSETNX' or 'HSET', KEYS[1], id, ARGV[2])\n"
	"redis.call('HSET', KEYS[2], ARGV[3], id .. before)\n"
	"if not entry and redis.call('HLEN', KEYS[2]) > tonumber(ARGV[5]) then\n"
	"  local all, lowest, field = redis.call('HGETALL', KEYS[2]), nil, nil\n"
	"  for i = 1, #all, 2 do\n"
	"    if all[i] ~= ARGV[3] and (not lowest or less(all[i + 1], lowest)) then\n"
	"      field, lowest = all[i], all[i + 1]\n"
	"    end\n"
	"  end\n"
	"  redis.call('HDEL', KEYS[2], field)\n"
	"end\n"
	"local now = redis.call('TIME')\n"
	"local left = tonumber(ARGV[4]) - (now[1] * 1000 + math.floor(now[2] / 1000))\n"
	"if redis.call('PTTL', KEYS[2]) < left then redis.call('PEXPIREAT', KEYS[2], ARGV[4]) end\n"
	"return {n, replaced, value}";

enum saver_error saver_collapse_send(struct saver_redis *redis, enum saver_op op,
				     const struct saver_name *name, uint64_t message_id,
				     const struct saver_value *value, struct hf_bytes key,
				     bool early, saver_redis_cb cb, void *ctx)
{
	uint8_t queue[SAVER_KEY_MAX], keys[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	uint8_t bytes[SAVER_VALUE_MAX];
	char expiry[24], most[12];
	struct hf_bytes words[11] = {
		HF_BYTES_LITERAL("EVAL"),
		hf_bytes_of(script, sizeof(script) - 1),
		HF_BYTES_LITERAL("2"),
		hf_bytes_of(queue, saver_queue_key_encode(name, queue)),
		hf_bytes_of(keys, saver_queue_key_encode(name, keys)),
		hf_bytes_of(field, sizeof(field)),
		hf_bytes_of(bytes, saver_value_encode(value, bytes)),
		key,
		hf_bytes_of_string(expiry),
		hf_bytes_of_string(most),
		early ? HF_BYTES_LITERAL("1") : HF_BYTES_LITERAL("0"),
	};

	_Static_assert(sizeof(SAVER_COLLAPSE_PREFIX) == sizeof(SAVER_QUEUE_PREFIX),
		       "only the prefix differs");
	memcpy(keys, SAVER_COLLAPSE_PREFIX, sizeof(SAVER_COLLAPSE_PREFIX) - 1);
	saver_field_encode(message_id, field);
	words[8].len = (size_t)snprintf(expiry, sizeof(expiry), "%llu",
					(unsigned long long)value->expires_ms);
	words[9].len = (size_t)snprintf(most, sizeof(most), "%d", SAVER_COLLAPSE_KEYS);
	if (early)
		return saver_redis_send_early(redis, saver_redis_node_of(redis, name->slot), op,
					      words, HF_ARRAY_LEN(words), cb, ctx);
	return saver_redis_send_slot(redis, name->slot, op, words, HF_ARRAY_LEN(words), cb, ctx);
}

bool saver_collapse_parse(const redisReply *reply, struct saver_collapsed *ret)
{
	const redisReply *replaced;
	struct saver_value value;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER || reply->element[0]->integer < 0 ||
	    reply->element[0]->integer > SAVER_COLLAPSE_SUPERSEDED_AGAIN)
		return false;
	replaced = reply->element[1];
	ret->outcome = (enum saver_collapse_outcome)reply->element[0]->integer;
	ret->replaced_id = 0;
	ret->replaced = (struct hf_bytes){ 0 };
	if (reply->element[2]->type == REDIS_REPLY_STRING &&
	    saver_value_decode(saver_reply_bytes(reply->element[2]), &value))
		ret->replaced = value.delivery;
	return replaced->type == REDIS_REPLY_STRING &&
	       (replaced->len == 0 ||
		saver_field_decode(saver_reply_bytes(replaced), &ret->replaced_id));
}
