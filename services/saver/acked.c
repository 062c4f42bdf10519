#include "acked.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "log_value.h"
#include "saver.h"
#include "script.h"

#define BATCH_MAX 128u /* some 0.3 ms of Redis */

/* KEYS: the sets. ARGV, for each: id, milliseconds for which it is needed. A set lives as long as
 * the member that needs it longest. Returns for each whether it is new, and how many there are. */
static const char script[] =
	"local out = {}\n"
	"for i = 1, #KEYS do\n"
	"  local set, ttl = KEYS[i], ARGV[2 * i]\n"
	"  local new, members = redis.call('SADD', set, ARGV[2 * i - 1]), redis.call('SCARD', "
	"set)\n"
	"  if (new == 1 and members == 1) or redis.call('PTTL', set) < tonumber(ttl) then\n"
	"    redis.call('PEXPIRE', set, ttl)\n"
	"  end\n"
	"  out[2 * i - 1], out[2 * i] = new, members\n"
	"end\n"
	"return out";

struct item {
	struct saver_name name;
	uint64_t id, ttl_ms;
	saver_acked_cb cb;
	void *ctx;
};

/* Of one node: open until the turn ends, then on its way. */
struct batch {
	size_t count;
	bool ordered; /* of one registration */
	struct item items[];
};

struct saver_acked {
	struct saver *saver;
	struct hf_task task;
	struct batch *open[SAVER_REDIS_NODES_MAX];
};

size_t saver_acked_id_encode(uint64_t id, uint8_t ret[SAVER_ACKED_ID_MAX])
{
	char text[SAVER_ACKED_ID_MAX + 1];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)id);

	memcpy(ret, text, (size_t)len);
	return (size_t)len;
}

bool saver_acked_id_decode(struct hf_bytes text, uint64_t *ret_id)
{
	uint64_t id = 0;

	if (text.data == NULL || text.len == 0 || text.len > SAVER_ACKED_ID_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9' ||
		    __builtin_mul_overflow(id, 10, &id) ||
		    __builtin_add_overflow(id, text.data[i] - '0', &id))
			return false;
	}
	*ret_id = id;
	return true;
}

static void end_batch(struct batch *batch, const redisReply *reply, enum saver_error error)
{
	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 * batch->count))
		error = SAVER_INTERNAL;
	for (size_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];

		if (error == SAVER_OK)
			item->cb(saver_reply_integer(reply, 2 * i) != 0,
				 (uint64_t)saver_reply_integer(reply, 2 * i + 1), SAVER_OK,
				 item->ctx);
		else
			item->cb(false, 0, error, item->ctx);
	}
	free(batch);
}

static void on_reply(const redisReply *reply, enum saver_error error, void *ctx)
{
	end_batch(ctx, reply, error);
}

static enum saver_error send_batch(struct saver_acked *acked, unsigned node, struct batch *batch)
{
	static struct hf_bytes words[3 + 3 * BATCH_MAX]; /* too much for the stack */
	static uint8_t keys[BATCH_MAX][SAVER_KEY_MAX], ids[BATCH_MAX][SAVER_ACKED_ID_MAX],
		ttls[BATCH_MAX][SAVER_ACKED_ID_MAX];
	uint8_t count[SAVER_ACKED_ID_MAX];
	struct hf_bytes *arguments = words + 3 + batch->count;

	words[0] = HF_BYTES_LITERAL("EVAL");
	words[1] = HF_BYTES_LITERAL(script);
	words[2] = hf_bytes_of(count, saver_acked_id_encode(batch->count, count));
	for (size_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];

		words[3 + i] = hf_bytes_of(keys[i], saver_acked_key_encode(&item->name, keys[i]));
		arguments[2 * i] = hf_bytes_of(ids[i], saver_acked_id_encode(item->id, ids[i]));
		arguments[2 * i + 1] =
			hf_bytes_of(ttls[i], saver_acked_id_encode(item->ttl_ms, ttls[i]));
	}
	if (batch->ordered)
		return saver_redis_send_slot(acked->saver->redis, batch->items[0].name.slot,
					     SAVER_OP_BROADCAST, words, 3 + 3 * batch->count,
					     on_reply, batch);
	return saver_redis_send(acked->saver->redis, node, SAVER_OP_BROADCAST, words,
				3 + 3 * batch->count, on_reply, batch);
}

static void flush(struct saver_acked *acked, unsigned node)
{
	struct batch *batch = acked->open[node];
	enum saver_error error;

	if (batch == NULL)
		return;
	acked->open[node] = NULL;
	error = send_batch(acked, node, batch);
	if (error != SAVER_OK)
		end_batch(batch, NULL, error);
}

static void on_turn_end(void *ctx)
{
	struct saver_acked *acked = ctx;

	for (unsigned node = 0; node < saver_redis_count(acked->saver->redis); node++)
		flush(acked, node);
}

void saver_acked_flush(struct saver_acked *acked, const struct saver_name *name)
{
	flush(acked, saver_node_of(acked->saver, name));
}

static enum saver_error send_alone(struct saver_acked *acked, unsigned node,
				   const struct item *item)
{
	struct batch *batch = malloc(sizeof(*batch) + sizeof(*item));
	enum saver_error error;

	if (batch == NULL)
		return SAVER_INTERNAL;
	batch->count = 1;
	batch->ordered = true;
	batch->items[0] = *item;
	error = send_batch(acked, node, batch);
	if (error != SAVER_OK)
		free(batch);
	return error;
}

enum saver_error saver_acked_add(struct saver_acked *acked, const struct saver_name *name,
				 uint64_t id, uint64_t ttl_ms, bool ordered, saver_acked_cb cb,
				 void *ctx)
{
	struct item item = { .name = *name, .id = id, .ttl_ms = ttl_ms, .cb = cb, .ctx = ctx };
	unsigned node = saver_node_of(acked->saver, name);
	struct batch *batch = acked->open[node];
	enum saver_error error;

	if (ordered)
		return send_alone(acked, node, &item);
	if (batch != NULL && batch->count == BATCH_MAX) {
		error = send_batch(acked, node, batch);
		if (error != SAVER_OK) /* the turn's end tells those that wait in it */
			return error;
		acked->open[node] = batch = NULL;
	}
	if (batch == NULL) {
		batch = malloc(sizeof(*batch) + BATCH_MAX * sizeof(batch->items[0]));
		if (batch == NULL)
			return SAVER_INTERNAL;
		batch->count = 0;
		batch->ordered = false;
		acked->open[node] = batch;
		hf_task_schedule(acked->saver->service->loop, &acked->task);
	}
	batch->items[batch->count++] = item;
	return SAVER_OK;
}

int saver_acked_new(struct saver *saver, struct saver_acked **ret_acked)
{
	struct saver_acked *acked = calloc(1, sizeof(*acked));

	if (acked == NULL)
		return -ENOMEM;
	acked->saver = saver;
	hf_task_init(&acked->task, on_turn_end, acked);
	*ret_acked = acked;
	return 0;
}

void saver_acked_close(struct saver_acked *acked)
{
	if (acked == NULL)
		return;
	on_turn_end(acked);
	hf_task_cancel(acked->saver->service->loop, &acked->task);
}

void saver_acked_free(struct saver_acked *acked)
{
	free(acked);
}
