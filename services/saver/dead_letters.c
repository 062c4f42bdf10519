/* PutDeadLetter, ListDeadLetters and TakeDeadLetter: deliveries that were given up.
 *
 *	hf:ed:<app>:<callback>   sorted set of ids, 8 bytes big endian, so that they sort by age
 *	hf:eb:<app>:<callback>   hash: an id's letter, packed; "b": bytes of all of them
 *
 * Capped by count and bytes for each callback: the oldest leave, and are counted. */
#define HF_LOG_MODULE "saver"
#include <stdio.h>
#include <stdlib.h>

#include "hf_event.h"
#include "spool.h"

#define LETTER_EVENTS_MAX 500
#define LETTER_REASON_MAX 120
#define LIST_MAX          100
#define LIST_BYTES        1048576u /* of one answer; at least one letter comes */

struct keys {
	unsigned node;
	char ids[SAVER_SPOOL_KEY_MAX + 1], letters[SAVER_SPOOL_KEY_MAX + 1];
};

/* False after ending the call. */
static bool read_keys(struct saver *saver, uint32_t app, const ProtobufCBinaryData *webhook,
		      void *call, struct keys *ret)
{
	char id[HF_WEBHOOK_ID_MAX + 1] = "";

	if (webhook->len > 0 && webhook->len <= HF_WEBHOOK_ID_MAX)
		memcpy(id, webhook->data, webhook->len);
	if (app == 0 || !hf_webhook_id_is_valid(id)) {
		saver_fail_invalid(saver, call, "BAD_WEBHOOK");
		return false;
	}
	ret->node = saver_redis_node_of(saver->redis, hf_service_slot(saver->service, app,
								      webhook->data, webhook->len));
	snprintf(ret->ids, sizeof(ret->ids), "hf:ed:%u:%s", app, id);
	snprintf(ret->letters, sizeof(ret->letters), "hf:eb:%u:%s", app, id);
	return true;
}

/* KEYS: ids, letters. ARGV: most letters, most bytes, id, letter. Returns how many left. */
static const char put_script[] =
	"redis.call('HINCRBY', KEYS[2], 'b', #ARGV[4] - redis.call('HSTRLEN', KEYS[2], ARGV[3]))\n"
	"redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])\n"
	"redis.call('ZADD', KEYS[1], 0, ARGV[3])\n"
	"local left = 0\n"
	"while redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[1]) or\n"
	"    tonumber(redis.call('HGET', KEYS[2], 'b')) > tonumber(ARGV[2]) do\n"
	"  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]\n"
	"  if oldest == nil or oldest == ARGV[3] then break end\n"
	"  redis.call('HINCRBY', KEYS[2], 'b', -redis.call('HSTRLEN', KEYS[2], oldest))\n"
	"  redis.call('HDEL', KEYS[2], oldest)\n"
	"  redis.call('ZREM', KEYS[1], oldest)\n"
	"  left = left + 1\n"
	"end\n"
	"return left";

struct put {
	struct saver *saver;
	Hf__PutDeadLetterReply_Closure closure;
	void *call;
};

static void on_put(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct put *put = ctx;
	Hf__PutDeadLetterReply answer = HF__PUT_DEAD_LETTER_REPLY__INIT;

	if (error == SAVER_OK) {
		answer.dropped = (uint32_t)reply->integer;
		*put->saver->metrics.letters_dropped += answer.dropped;
		put->closure(&answer, put->call);
	} else {
		saver_fail(put->saver, put->call, error);
	}
	free(put);
}

static bool letter_is_valid(const Hf__DeadLetter *letter)
{
	if (letter == NULL || letter->id == 0 || letter->n_events == 0 ||
	    letter->n_events > LETTER_EVENTS_MAX || letter->reason.len > LETTER_REASON_MAX)
		return false;
	for (size_t i = 0; i < letter->n_events; i++)
		if (letter->events[i]->key.len > SAVER_EVENT_KEY_MAX ||
		    letter->events[i]->data.len > HF_EVENT_DATA_MAX)
			return false;
	return true;
}

static enum saver_error send_put(struct put *put, const struct keys *keys,
				 const Hf__DeadLetter *letter)
{
	const struct saver_config *config = put->saver->config;
	uint8_t id[SAVER_FIELD_SIZE], *bytes = malloc(hf__dead_letter__get_packed_size(letter));
	char most[24], most_bytes[24];
	struct hf_bytes words[9];
	enum saver_error error;

	if (bytes == NULL)
		return SAVER_INTERNAL;
	saver_field_encode(letter->id, id);
	snprintf(most, sizeof(most), "%llu", (unsigned long long)config->dead_letters_max);
	snprintf(most_bytes, sizeof(most_bytes), "%llu",
		 (unsigned long long)config->dead_letters_bytes);
	words[0] = HF_BYTES_LITERAL("EVAL");
	words[1] = hf_bytes_of(put_script, sizeof(put_script) - 1);
	words[2] = HF_BYTES_LITERAL("2");
	words[3] = hf_bytes_of_string(keys->ids);
	words[4] = hf_bytes_of_string(keys->letters);
	words[5] = hf_bytes_of_string(most);
	words[6] = hf_bytes_of_string(most_bytes);
	words[7] = hf_bytes_of(id, sizeof(id));
	words[8] = hf_bytes_of(bytes, hf__dead_letter__pack(letter, bytes));
	error = saver_redis_send(put->saver->redis, keys->node, SAVER_OP_SPOOL, words, 9, on_put,
				 put);
	free(bytes);
	return error;
}

void saver_on_put_dead_letter(Hf__Saver_Service *rpc, const Hf__PutDeadLetterRequest *request,
			      Hf__PutDeadLetterReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const Hf__DeadLetter *letter = request->letter;
	enum saver_error error;
	struct keys keys;
	struct put *put;

	if (!letter_is_valid(letter)) {
		saver_fail_invalid(saver, call, "BAD_LETTER");
		return;
	}
	if (!read_keys(saver, letter->app, &letter->webhook, call, &keys))
		return;
	put = malloc(sizeof(*put));
	if (put == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*put = (struct put){ saver, closure, call };
	error = send_put(put, &keys, letter);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(put);
	}
}

/* KEYS: ids, letters. ARGV: the highest id, how many, how many bytes. Letters, newest first. */
static const char list_script[] =
	"local found, bytes = {}, 0\n"
	"for _, id in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0,\n"
	"    ARGV[2])) do\n"
	"  local letter = redis.call('HGET', KEYS[2], id)\n"
	"  if letter then\n"
	"    bytes = bytes + #letter\n"
	"    if #found > 0 and bytes > tonumber(ARGV[3]) then break end\n"
	"    found[#found + 1] = letter\n"
	"  end\n"
	"end\n"
	"return found";

struct list {
	struct saver *saver;
	Hf__ListDeadLettersReply_Closure closure;
	void *call;
	uint32_t limit;
};

static void on_listed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct list *list = ctx;
	Hf__ListDeadLettersReply answer = HF__LIST_DEAD_LETTERS_REPLY__INIT;
	Hf__DeadLetter *letters[LIST_MAX + 1];
	size_t bytes = 0;

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements > LIST_MAX + 1))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_fail(list->saver, list->call, error);
		free(list);
		return;
	}
	for (size_t i = 0; i < reply->elements && answer.n_letters < list->limit; i++) {
		const redisReply *item = reply->element[i];
		Hf__DeadLetter *letter =
			hf__dead_letter__unpack(NULL, item->len, (uint8_t *)item->str);

		bytes += item->len;
		if (letter == NULL)
			++*list->saver->metrics.unreadable;
		else
			letters[answer.n_letters++] = letter;
	}
	/* One more than the limit was asked for; fewer come when they are large. */
	answer.more =
		reply->elements > list->limit || (reply->elements > 0 && bytes >= LIST_BYTES / 2);
	answer.letters = letters;
	list->closure(&answer, list->call);
	for (size_t i = 0; i < answer.n_letters; i++)
		hf__dead_letter__free_unpacked(letters[i], NULL);
	free(list);
}

void saver_on_list_dead_letters(Hf__Saver_Service *rpc, const Hf__ListDeadLettersRequest *request,
				Hf__ListDeadLettersReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	uint8_t from[1 + SAVER_FIELD_SIZE] = "+";
	struct hf_bytes words[8];
	enum saver_error error;
	struct keys keys;
	struct list *list;
	char limit[12], bytes[12];

	if (request->limit == 0 || request->limit > LIST_MAX) {
		saver_fail_invalid(saver, call, "BAD_LIMIT");
		return;
	}
	if (!read_keys(saver, request->app, &request->webhook, call, &keys))
		return;
	list = malloc(sizeof(*list));
	if (list == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*list = (struct list){ saver, closure, call, request->limit };
	if (request->before != 0) {
		from[0] = '(';
		saver_field_encode(request->before, from + 1);
	}
	snprintf(limit, sizeof(limit), "%u", request->limit + 1);
	snprintf(bytes, sizeof(bytes), "%u", LIST_BYTES);
	words[0] = HF_BYTES_LITERAL("EVAL");
	words[1] = hf_bytes_of(list_script, sizeof(list_script) - 1);
	words[2] = HF_BYTES_LITERAL("2");
	words[3] = hf_bytes_of_string(keys.ids);
	words[4] = hf_bytes_of_string(keys.letters);
	words[5] = hf_bytes_of(from, request->before != 0 ? sizeof(from) : 1);
	words[6] = hf_bytes_of_string(limit);
	words[7] = hf_bytes_of_string(bytes);
	error = saver_redis_send(saver->redis, keys.node, SAVER_OP_SPOOL, words, 8, on_listed,
				 list);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(list);
	}
}

/* KEYS: ids, letters. ARGV: id, "1" to keep it. */
static const char take_script[] =
	"local letter = redis.call('HGET', KEYS[2], ARGV[1])\n"
	"if letter and ARGV[2] ~= '1' then\n"
	"  redis.call('HINCRBY', KEYS[2], 'b', -#letter)\n"
	"  redis.call('HDEL', KEYS[2], ARGV[1])\n"
	"  redis.call('ZREM', KEYS[1], ARGV[1])\n"
	"  if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end\n"
	"end\n"
	"return letter";

struct take {
	struct saver *saver;
	Hf__TakeDeadLetterReply_Closure closure;
	void *call;
};

static void on_taken(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct take *take = ctx;
	Hf__TakeDeadLetterReply answer = HF__TAKE_DEAD_LETTER_REPLY__INIT;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING) {
		answer.letter = hf__dead_letter__unpack(NULL, reply->len, (uint8_t *)reply->str);
		answer.known = answer.letter != NULL;
	}
	if (error == SAVER_OK)
		take->closure(&answer, take->call);
	else
		saver_fail(take->saver, take->call, error);
	if (answer.letter != NULL)
		hf__dead_letter__free_unpacked(answer.letter, NULL);
	free(take);
}

void saver_on_take_dead_letter(Hf__Saver_Service *rpc, const Hf__TakeDeadLetterRequest *request,
			       Hf__TakeDeadLetterReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	uint8_t id[SAVER_FIELD_SIZE];
	struct hf_bytes words[7];
	enum saver_error error;
	struct keys keys;
	struct take *take;

	if (!read_keys(saver, request->app, &request->webhook, call, &keys))
		return;
	take = malloc(sizeof(*take));
	if (take == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*take = (struct take){ saver, closure, call };
	saver_field_encode(request->id, id);
	words[0] = HF_BYTES_LITERAL("EVAL");
	words[1] = hf_bytes_of(take_script, sizeof(take_script) - 1);
	words[2] = HF_BYTES_LITERAL("2");
	words[3] = hf_bytes_of_string(keys.ids);
	words[4] = hf_bytes_of_string(keys.letters);
	words[5] = hf_bytes_of(id, sizeof(id));
	words[6] = request->keep ? HF_BYTES_LITERAL("1") : HF_BYTES_LITERAL("0");
	error = saver_redis_send(saver->redis, keys.node, SAVER_OP_SPOOL, words, 7, on_taken, take);
	if (error != SAVER_OK) {
		saver_fail(saver, call, error);
		free(take);
	}
}
