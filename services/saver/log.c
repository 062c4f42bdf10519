/* The broadcast log: LogAppend, LogChange, LogRead. One script each, on the app's node: any saver
 * may be asked. log_value.h has the layout. */
#include <stdio.h>
#include <stdlib.h>

#include "kept.h"
#include "log_cache.h"
#include "log_internal.h"
#include "log_value.h"
#include "saver.h"
#include "script.h"

/* KEYS: version, broadcasts, frames, counts, recalls, by version, by expiry. */
#define KEYS 7

/* Lua: `next` draws a version, above `known`. It is never below the quarters of a second since
 * 2024, so that it only grows also when Redis comes back without its latest writes. */
#define LUA_NEXT                                                                                 \
	"local function next(known)\n"                                                           \
	"  local v = tonumber(redis.call('GET', KEYS[1]) or 0)\n"                                \
	"  v = math.max(math.max(v, known or 0) + 1, math.floor((now - 1704067200000) / 250))\n" \
	"  redis.call('SET', KEYS[1], string.format('%.0f', v))\n"                               \
	"  return v\n"                                                                           \
	"end\n"

/* Lua: the keys stay as long as `expires` needs them; counts a week longer. */
#define LUA_KEEP                                                                \
	"local function keep(expires)\n"                                        \
	"  local ttl = math.max(expires - now, 0) + 3600000\n"                  \
	"  for i = 2, 7 do\n"                                                   \
	"    local wanted = ttl + (i == 3 and 0 or 604800000)\n"                \
	"    if redis.call('PTTL', KEYS[i]) < wanted then\n"                    \
	"      redis.call('PEXPIRE', KEYS[i], string.format('%.0f', wanted))\n" \
	"    end\n"                                                             \
	"  end\n"                                                               \
	"end\n"

/* Lua: what is past its time leaves; of a broadcast its counts stay for a week, unless there are
 * many of these. */
#define LUA_SWEEP                                                                                 \
	"for _, m in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, 500)) " \
	"do\n"                                                                                    \
	"  local kind, id = string.sub(m, 1, 1), string.sub(m, 2)\n"                              \
	"  redis.call('ZREM', KEYS[6], m)\n"                                                      \
	"  if kind == 'r' then\n"                                                                 \
	"    redis.call('HDEL', KEYS[5], id)\n"                                                   \
	"  else\n"                                                                                \
	"    redis.call('HDEL', KEYS[3], id)\n"                                                   \
	"    local past = redis.call('HLEN', KEYS[2]) - redis.call('HLEN', KEYS[3])\n"            \
	"    if kind == 't' or past > 10000 then\n"                                               \
	"      redis.call('HDEL', KEYS[2], id)\n"                                                 \
	"      redis.call('HDEL', KEYS[4], id)\n"                                                 \
	"    else\n"                                                                              \
	"      redis.call('ZADD', KEYS[7], now + 604800000, 't' .. id)\n"                         \
	"    end\n"                                                                               \
	"  end\n"                                                                                 \
	"  redis.call('ZREM', KEYS[7], m)\n"                                                      \
	"end\n"

static void init_script(struct saver_script *script, const char *source, uint32_t app)
{
	static const char names[KEYS] = { 'v', 'm', 'f', 'c', 'r', 'z', 'x' };

	saver_script_init(script, source, KEYS);
	for (size_t i = 0; i < KEYS; i++)
		saver_script_text(script, "hf:l%c:%u", names[i], app);
}

struct log_call {
	struct saver *saver;
	ProtobufCClosure closure;
	void *call;
	uint32_t app;
	uint64_t id;
};

static struct log_call *call_new(struct saver *saver, ProtobufCClosure closure, void *call,
				 uint32_t app, uint64_t id)
{
	enum saver_error error = saver_redis_admit(saver->redis, saver_app_node(saver, app));
	struct log_call *lc = error == SAVER_OK ? malloc(sizeof(*lc)) : NULL;

	if (lc == NULL)
		saver_fail(saver, call, error == SAVER_OK ? SAVER_INTERNAL : error);
	else
		*lc = (struct log_call){ saver, closure, call, app, id };
	return lc;
}

static void call_fail(struct log_call *lc, enum saver_error error)
{
	saver_fail(lc->saver, lc->call, error);
	free(lc);
}

static void call_answer(struct log_call *lc, const ProtobufCMessage *reply)
{
	lc->closure(reply, lc->call);
	free(lc);
}

/* --- LogAppend --- */

/* ARGV: id, expiry, most live ones, the value from appended_ms on, frame. Returns the version, 0:
 * the log is full. */
static const char append_script[] =
	"local m = redis.call('HGET', KEYS[2], ARGV[1])\n"
	"if m then return struct.unpack('<I4', m, 5) end\n" SAVER_SCRIPT_NOW SAVER_KEPT_LUA LUA_NEXT
		LUA_KEEP LUA_SWEEP
	"if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[3]) then return 0 end\n"
	"local v = next()\n"
	"redis.call('HSET', KEYS[2], ARGV[1], struct.pack('<BBI2I4I4', 1, 0, 1, v, 0) .. ARGV[4])\n"
	"redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])\n"
	"redis.call('ZADD', KEYS[6], v, 'b' .. ARGV[1])\n"
	"redis.call('ZADD', KEYS[7], ARGV[2], 'b' .. ARGV[1])\n"
	"keep(tonumber(ARGV[2]))\n"
	"note('b' .. string.sub(KEYS[1], 7) .. ':' .. ARGV[1])\n"
	"return v";

/* ARGV: id, expiry, most recalls, the version that it had. */
static const char recall_script[] =
	"local r = redis.call('HGET', KEYS[5], ARGV[1])\n"
	"if r then return struct.unpack('<I4', r) end\n" SAVER_SCRIPT_NOW SAVER_KEPT_LUA LUA_NEXT
		LUA_KEEP LUA_SWEEP
	"if redis.call('HLEN', KEYS[5]) >= tonumber(ARGV[3]) then return 0 end\n"
	"local v = next(tonumber(ARGV[4]))\n"
	"redis.call('HSET', KEYS[5], ARGV[1], struct.pack('<I4', v) .. ARGV[2])\n"
	"redis.call('ZADD', KEYS[6], v, 'r' .. ARGV[1])\n"
	"redis.call('ZADD', KEYS[7], ARGV[2], 'r' .. ARGV[1])\n"
	"keep(tonumber(ARGV[2]))\n"
	"note('r' .. string.sub(KEYS[1], 7) .. ':' .. ARGV[1])\n"
	"return v";

static void on_appended(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct log_call *lc = ctx;
	Hf__LogAppendReply answered = HF__LOG_APPEND_REPLY__INIT;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	else if (error == SAVER_OK && reply->integer == 0)
		error = SAVER_LOG_FULL;
	if (error != SAVER_OK) {
		call_fail(lc, error);
		return;
	}
	answered.version = (uint32_t)reply->integer;
	/* Who asks for the log here sends acks of what is in it, perhaps in crowds: while it is not
	 * known, each is looked for in its registration's queue first. */
	if (saver_log_known(lc->saver->log, lc->app) != NULL)
		saver_log_refresh(lc->saver->log, lc->app);
	call_answer(lc, &answered.base);
}

static uint64_t expiry_of(const struct saver *saver, uint64_t expires_ms)
{
	uint64_t now = hf_loop_wall_ms(saver->service->loop);

	return expires_ms == 0 ? now + saver->config->store_ttl_ms
			       : HF_MIN(expires_ms, now + saver->config->store_ttl_max_ms);
}

static enum saver_error append_broadcast(struct log_call *lc, const Hf__Broadcast *broadcast,
					 uint32_t live_max)
{
	struct saver *saver = lc->saver;
	uint64_t expires_ms = expiry_of(saver, broadcast->expires_ms);
	uint8_t field[SAVER_FIELD_SIZE], *tail;
	struct saver_script script;
	enum saver_error error;
	size_t tail_len;

	tail = saver_log_tail_encode(broadcast, hf_loop_wall_ms(saver->service->loop), expires_ms,
				     &tail_len);
	if (tail == NULL)
		return SAVER_INTERNAL;
	saver_field_encode(lc->id, field);
	init_script(&script, append_script, lc->app);
	saver_script_bytes(&script, hf_bytes_of(field, sizeof(field)));
	saver_script_number(&script, expires_ms);
	saver_script_number(&script,
			    live_max == 0 ? SAVER_LOG_LIVE : HF_MIN(live_max, SAVER_LOG_LIVE_MAX));
	saver_script_bytes(&script, hf_bytes_of(tail, tail_len));
	saver_script_bytes(&script, hf_bytes_of(broadcast->frame.data, broadcast->frame.len));
	error = saver_script_send(saver->redis, saver_app_node(saver, lc->app), SAVER_OP_LOG,
				  &script, on_appended, lc);
	free(tail);
	return error;
}

static enum saver_error append_recall(struct log_call *lc, uint64_t expires_ms)
{
	struct saver *saver = lc->saver;
	uint8_t field[SAVER_FIELD_SIZE];
	struct saver_script script;

	saver_field_encode(lc->id, field);
	init_script(&script, recall_script, lc->app);
	saver_script_bytes(&script, hf_bytes_of(field, sizeof(field)));
	saver_script_number(&script, expiry_of(saver, expires_ms == 0 ? UINT64_MAX : expires_ms));
	saver_script_number(&script, SAVER_LOG_RECALLS_MAX);
	saver_script_number(&script, 0);
	return saver_script_send(saver->redis, saver_app_node(saver, lc->app), SAVER_OP_LOG,
				 &script, on_appended, lc);
}

void saver_on_log_append(Hf__Saver_Service *rpc, const Hf__LogAppendRequest *request,
			 Hf__LogAppendReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const Hf__Broadcast *broadcast = request->broadcast;
	const char *broken = NULL;
	struct log_call *lc;
	enum saver_error error;

	if (broadcast != NULL)
		broken = saver_log_check(broadcast);
	else if (request->app == 0 || request->recalled_id == 0)
		broken = "BAD_ID";
	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		return;
	}
	lc = call_new(saver, (ProtobufCClosure)closure, call,
		      broadcast != NULL ? broadcast->app : request->app,
		      broadcast != NULL ? broadcast->message_id : request->recalled_id);
	if (lc == NULL)
		return;
	error = broadcast != NULL ? append_broadcast(lc, broadcast, request->broadcasts_max)
				  : append_recall(lc, request->recall_expires_ms);
	if (error != SAVER_OK)
		call_fail(lc, error);
}

/* --- LogChange --- */

/* ARGV: id, state, most spans. Returns version and value; only the version when the spans are too
 * many; nothing for an unknown one. A span ends when it is no longer loadable, and a new one begins
 * when it is again. */
static const char change_script[] =
	"local m = redis.call('HGET', KEYS[2], ARGV[1])\n"
	"if not m then return {} end\n" SAVER_SCRIPT_NOW SAVER_KEPT_LUA LUA_NEXT
	"local s, n = struct.unpack('<BI2', m, 2)\n"
	"local want = tonumber(ARGV[2])\n"
	"if s == want or s == 2 or redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then\n"
	"  return { tonumber(redis.call('GET', KEYS[1]) or 0), m }\n"
	"end\n"
	"if want == 0 and n >= tonumber(ARGV[3]) then\n"
	"  return { tonumber(redis.call('GET', KEYS[1]) or 0) }\n"
	"end\n"
	"local v = next()\n"
	"local spans, tail = string.sub(m, 5, 4 + 8 * n), string.sub(m, 5 + 8 * n)\n"
	"if want == 0 then\n"
	"  spans, n = spans .. struct.pack('<I4I4', v, 0), n + 1\n"
	"elseif s == 0 then\n"
	"  spans = string.sub(spans, 1, -5) .. struct.pack('<I4', v)\n"
	"end\n"
	"m = struct.pack('<BBI2', 1, want, n) .. spans .. tail\n"
	"redis.call('HSET', KEYS[2], ARGV[1], m)\n"
	"redis.call('ZADD', KEYS[6], v, 'b' .. ARGV[1])\n"
	"note('b' .. string.sub(KEYS[1], 7) .. ':' .. ARGV[1])\n"
	"if want == 2 then\n"
	"  redis.call('HDEL', KEYS[3], ARGV[1])\n"
	"  if redis.call('HLEN', KEYS[2]) - redis.call('HLEN', KEYS[3]) > 10000 then\n"
	"    redis.call('HDEL', KEYS[2], ARGV[1])\n"
	"    redis.call('HDEL', KEYS[4], ARGV[1])\n"
	"    redis.call('ZREM', KEYS[6], 'b' .. ARGV[1])\n"
	"    redis.call('ZREM', KEYS[7], 'b' .. ARGV[1])\n"
	"    redis.call('HSET', KEYS[2], 'f', v)\n"
	"  end\n"
	"end\n"
	"return { v, m }";

struct spans {
	Hf__LoadableSpan spans[SAVER_LOG_SPANS_MAX + 1], *pointers[SAVER_LOG_SPANS_MAX + 1];
	size_t count;
};

static void take_spans(struct spans *spans, const struct saver_log_meta *meta)
{
	spans->count = HF_MIN((size_t)meta->span_count, HF_ARRAY_LEN(spans->spans));
	for (size_t i = 0; i < spans->count; i++) {
		struct saver_span span = saver_log_span(meta, i);

		hf__loadable_span__init(&spans->spans[i]);
		spans->spans[i].from = span.from;
		spans->spans[i].until = span.until;
		spans->pointers[i] = &spans->spans[i];
	}
}

static void on_changed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct log_call *lc = ctx;
	Hf__LogChangeReply answered = HF__LOG_CHANGE_REPLY__INIT;
	struct saver_log_meta meta;
	struct spans spans;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	else if (error == SAVER_OK && reply->elements == 1)
		error = SAVER_LOG_FULL;
	else if (error == SAVER_OK && reply->elements > 1 &&
		 !saver_log_meta_decode(saver_reply_element(reply, 1), &meta))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		call_fail(lc, error);
		return;
	}
	if (reply->elements > 1) {
		take_spans(&spans, &meta);
		answered.known = true;
		answered.version = (uint32_t)saver_reply_integer(reply, 0);
		answered.n_spans = spans.count;
		answered.spans = spans.pointers;
	}
	call_answer(lc, &answered.base);
}

void saver_on_log_change(Hf__Saver_Service *rpc, const Hf__LogChangeRequest *request,
			 Hf__LogChangeReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	uint8_t field[SAVER_FIELD_SIZE];
	struct saver_script script;
	struct log_call *lc;
	enum saver_error error;

	if ((unsigned)request->state > HF__LOG_STATE__REMOVED) {
		saver_fail_invalid(saver, call, "BAD_STATE");
		return;
	}
	lc = call_new(saver, (ProtobufCClosure)closure, call, request->app, request->message_id);
	if (lc == NULL)
		return;
	saver_field_encode(request->message_id, field);
	init_script(&script, change_script, request->app);
	saver_script_bytes(&script, hf_bytes_of(field, sizeof(field)));
	saver_script_number(&script, request->state);
	saver_script_number(&script, SAVER_LOG_SPANS_MAX);
	error = saver_script_send(saver->redis, saver_app_node(saver, lc->app), SAVER_OP_LOG,
				  &script, on_changed, lc);
	if (error != SAVER_OK)
		call_fail(lc, error);
}

/* --- LogRead, and what MessageState wants of it --- */

static const char read_script[] =
	"return { redis.call('HGET', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[3], ARGV[1]),\n"
	"  redis.call('HGET', KEYS[4], ARGV[1]) }";

static enum saver_error send_read(struct log_call *lc, saver_redis_cb cb)
{
	uint8_t field[SAVER_FIELD_SIZE];
	struct saver_script script;

	saver_field_encode(lc->id, field);
	init_script(&script, read_script, lc->app);
	saver_script_bytes(&script, hf_bytes_of(field, sizeof(field)));
	return saver_script_send(lc->saver->redis, saver_app_node(lc->saver, lc->app), SAVER_OP_LOG,
				 &script, cb, lc);
}

/* SAVER_OK with *ret_broadcast NULL: not in the log. */
static enum saver_error parse_read(const redisReply *reply, struct saver_log_meta *ret_meta,
				   Hf__Broadcast **ret_broadcast, uint64_t *ret_acked)
{
	struct hf_bytes value = saver_reply_element(reply, 0);
	struct hf_bytes acked = saver_reply_element(reply, 2);

	*ret_broadcast = NULL;
	if (reply->type != REDIS_REPLY_ARRAY)
		return SAVER_INTERNAL;
	if (value.data == NULL)
		return SAVER_OK;
	if (!saver_log_meta_decode(value, ret_meta))
		return SAVER_INTERNAL;
	*ret_broadcast =
		hf__broadcast__unpack(NULL, ret_meta->broadcast.len, ret_meta->broadcast.data);
	*ret_acked = acked.data != NULL ? strtoull((const char *)acked.data, NULL, 10) : 0;
	return *ret_broadcast == NULL ? SAVER_INTERNAL : SAVER_OK;
}

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct log_call *lc = ctx;
	Hf__LogReadReply answered = HF__LOG_READ_REPLY__INIT;
	Hf__Broadcast *broadcast = NULL;
	ProtobufCBinaryData unset;
	struct saver_log_meta meta;
	struct spans spans;
	struct hf_bytes frame;

	if (error == SAVER_OK)
		error = parse_read(reply, &meta, &broadcast, &answered.acked);
	if (error != SAVER_OK) {
		call_fail(lc, error);
		return;
	}
	if (broadcast == NULL) {
		call_answer(lc, &answered.base);
		return;
	}
	take_spans(&spans, &meta);
	frame = saver_reply_element(reply, 1);
	unset = broadcast->frame;
	broadcast->frame = (ProtobufCBinaryData){ frame.len, (uint8_t *)(uintptr_t)frame.data };
	answered.known = true;
	answered.broadcast = broadcast;
	answered.n_spans = spans.count;
	answered.spans = spans.pointers;
	call_answer(lc, &answered.base);
	broadcast->frame = unset; /* that one was borrowed */
	hf__broadcast__free_unpacked(broadcast, NULL);
}

void saver_on_log_read(Hf__Saver_Service *rpc, const Hf__LogReadRequest *request,
		       Hf__LogReadReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct log_call *lc =
		call_new(saver, (ProtobufCClosure)closure, call, request->app, request->message_id);
	enum saver_error error = lc != NULL ? send_read(lc, on_read) : SAVER_OK;

	if (error != SAVER_OK)
		call_fail(lc, error);
}

static void on_state(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct log_call *lc = ctx;
	Hf__MessageStateReply answered = HF__MESSAGE_STATE_REPLY__INIT;
	Hf__Broadcast *broadcast = NULL;
	struct saver_log_meta meta;
	uint64_t acked = 0;

	if (error == SAVER_OK)
		error = parse_read(reply, &meta, &broadcast, &acked);
	if (error != SAVER_OK) {
		call_fail(lc, error);
		return;
	}
	if (broadcast != NULL) {
		answered.known = true;
		answered.acked = (uint32_t)HF_MIN(acked, UINT32_MAX);
		answered.expires_ms = broadcast->expires_ms;
		answered.class_ = broadcast->class_;
		hf__broadcast__free_unpacked(broadcast, NULL);
	}
	call_answer(lc, &answered.base);
}

void saver_log_message_state(struct saver *saver, uint32_t app, uint64_t id,
			     Hf__MessageStateReply_Closure closure, void *call)
{
	struct log_call *lc = call_new(saver, (ProtobufCClosure)closure, call, app, id);
	enum saver_error error = lc != NULL ? send_read(lc, on_state) : SAVER_OK;

	if (error != SAVER_OK)
		call_fail(lc, error);
}

/* --- Back from the database --- */

/* ARGV: id, expiry, state, the value from appended_ms on, frame, the latest version that it had.
 * Its spans begin anew: they were of versions that are not known one by one any more. */
static const char restore_script[] =
	"if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end\n" SAVER_SCRIPT_NOW
		LUA_NEXT LUA_KEEP "local v, state = next(tonumber(ARGV[6])), tonumber(ARGV[3])\n"
	"redis.call('HSET', KEYS[2], ARGV[1],\n"
	"  struct.pack('<BBI2I4I4', 1, state, 1, v, state == 0 and 0 or v) .. ARGV[4])\n"
	"if state ~= 2 then redis.call('HSET', KEYS[3], ARGV[1], ARGV[5]) end\n"
	"redis.call('ZADD', KEYS[6], v, 'b' .. ARGV[1])\n"
	"redis.call('ZADD', KEYS[7], ARGV[2], 'b' .. ARGV[1])\n"
	"keep(tonumber(ARGV[2]))\n"
	"return 1";

/* The arguments after id and expiry; false: it can't be read. */
static bool add_kept(struct saver_script *script, const struct saver_kept_row *row)
{
	struct saver_log_meta meta;
	struct saver_span last = { 0, 0 };
	uint32_t version;
	size_t head;

	if (row->kind == 'r') {
		if (!saver_log_recall_decode(row->value, &version, NULL))
			return false;
		saver_script_number(script, SAVER_LOG_RECALLS_MAX);
		saver_script_number(script, version);
		return true;
	}
	if (!saver_log_meta_decode(row->value, &meta))
		return false;
	head = 4 + 8 * (size_t)meta.span_count;
	if (meta.span_count > 0)
		last = saver_log_span(&meta, meta.span_count - 1);
	saver_script_number(script, meta.state);
	saver_script_bytes(script, hf_bytes_of(row->value.data + head, row->value.len - head));
	saver_script_bytes(script, row->frame);
	saver_script_number(script, HF_MAX(last.from, last.until));
	return true;
}

enum saver_error saver_log_restore(struct saver *saver, const struct saver_kept_row *row,
				   saver_redis_cb cb, void *ctx)
{
	uint8_t field[SAVER_FIELD_SIZE];
	struct saver_script script;

	saver_field_encode(row->id, field);
	init_script(&script, row->kind == 'b' ? restore_script : recall_script, row->app);
	saver_script_bytes(&script, hf_bytes_of(field, sizeof(field)));
	saver_script_number(&script, row->expires_ms);
	if (!add_kept(&script, row))
		return SAVER_INTERNAL;
	return saver_redis_send_early(saver->redis, saver_app_node(saver, row->app),
				      SAVER_OP_REFILL, script.words, script.count, cb, ctx);
}

/* --- Forgetting --- */

static const char sweep_script[] = SAVER_SCRIPT_NOW LUA_SWEEP "return 1";

void saver_log_sweep(struct saver *saver, uint32_t app)
{
	struct saver_script script;

	init_script(&script, sweep_script, app);
	(void)!saver_script_send(saver->redis, saver_app_node(saver, app), SAVER_OP_LOG, &script,
				 saver_redis_ignore, NULL);
}
