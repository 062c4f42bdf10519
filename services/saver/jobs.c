/* Jobs as their owners see them: put, read, changed, listed. Redis decides each in one script; any
 * saver may be asked. */
#include <stdio.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "jobs_internal.h"
#include "kept.h"

#define JOBS_MAX 20000u /* of an app; then the oldest final one is forgotten sooner */
#define LIST_MAX 100u

/* --- What all of them need --- */

unsigned saver_app_node(const struct saver *saver, uint32_t app)
{
	return saver_redis_node_of(saver->redis, hf_slot(saver->service->salt, app, "", 0));
}

struct job_call *saver_job_call_new(struct saver *saver, ProtobufCClosure closure, void *call,
				    uint32_t app, uint64_t id)
{
	enum saver_error error = saver_redis_admit(saver->redis, saver_app_node(saver, app));
	struct job_call *jc = error == SAVER_OK ? malloc(sizeof(*jc)) : NULL;

	if (jc == NULL)
		saver_fail(saver, call, error == SAVER_OK ? SAVER_INTERNAL : error);
	else
		*jc = (struct job_call){ saver, closure, call, app, id };
	return jc;
}

void saver_job_call_fail(struct job_call *jc, enum saver_error error)
{
	saver_fail(jc->saver, jc->call, error);
	free(jc);
}

static void answer(struct job_call *jc, const ProtobufCMessage *reply)
{
	jc->closure(reply, jc->call);
	free(jc);
}

void saver_job_script_init(struct saver_script *script, const char *source, uint32_t app,
			   uint64_t id)
{
	char text[HF_ID_TEXT_SIZE];

	hf_id_format(id, text);
	saver_script_init(script, source, 5);
	saver_script_text(script, "hf:j:%u:%s", app, text);
	saver_script_text(script, "hf:ja:%u", app);
	saver_script_text(script, "hf:jo:%u", app);
	saver_script_text(script, "hf:jk:%u", app);
	saver_script_text(script, "hf:jd");
	saver_script_text(script, "%s", text);
	saver_script_text(script, "%u:%s", app, text);
	saver_script_text(script, "hf:j:%u:", app);
}

void saver_job_script_fields(struct saver_script *script, size_t count)
{
	for (size_t i = 0; i < count; i++)
		saver_script_bytes(script, hf_bytes_of_string(saver_job_field_names[i]));
}

bool saver_job_view_of_reply(struct saver_job_view *view, uint32_t app, uint64_t id,
			     const redisReply *reply, size_t first, size_t count)
{
	struct hf_bytes values[SAVER_JOB_FIELDS];

	for (size_t i = 0; i < count; i++)
		values[i] = saver_reply_element(reply, first + i);
	return saver_job_view_init(view, app, id, values, count);
}

/* Lua: what is past its time leaves the lists; its hash has gone by itself. Wants `now`. */
#define LUA_FORGET                                                                                 \
	"local function forget(id)\n"                                                              \
	"  redis.call('DEL', ARGV[3] .. id)\n"                                                     \
	"  redis.call('ZREM', KEYS[2], id)\n"                                                      \
	"  redis.call('ZREM', KEYS[4], id)\n"                                                      \
	"end\n"                                                                                    \
	"for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 500)) " \
	"do\n"                                                                                     \
	"  forget(id)\n"                                                                           \
	"end\n"

/* --- PutJob --- */

/* ARGV from 4: due, limits of running ones and of all, is it a broadcast; then fields and values. A
 * job due later is not refused for those that run now. */
static const char put_script[] =
	"if redis.call('EXISTS', KEYS[1]) == 1 then return 'OK' end\n" SAVER_SCRIPT_NOW
		SAVER_KEPT_LUA LUA_FORGET
	"local due, running = tonumber(ARGV[4]), tonumber(ARGV[5])\n"
	"if running > 0 and due <= now and redis.call('ZCOUNT', KEYS[3], '-inf', now) >= running "
	"then\n"
	"  return 'BROADCAST_CONCURRENCY'\n"
	"end\n"
	"if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then\n"
	"  local old = redis.call('ZRANGE', KEYS[4], 0, 0)\n"
	"  if #old == 0 then return 'JOBS_FULL' end\n"
	"  forget(old[1])\n"
	"end\n"
	"redis.call('HSET', KEYS[1], unpack(ARGV, 8))\n"
	"redis.call('ZADD', KEYS[2], 0, ARGV[1])\n"
	"if ARGV[7] == '1' then redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1]) end\n"
	"redis.call('ZADD', KEYS[5], ARGV[4], ARGV[2])\n"
	"note('j' .. ARGV[2])\n"
	"return 'OK'";

static void on_put(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct job_call *jc = ctx;
	Hf__PutJobReply answered = HF__PUT_JOB_REPLY__INIT;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_STRING)
		error = SAVER_INTERNAL;
	else if (error == SAVER_OK && strcmp(reply->str, "BROADCAST_CONCURRENCY") == 0)
		error = SAVER_BROADCAST_CONCURRENCY;
	else if (error == SAVER_OK && strcmp(reply->str, "JOBS_FULL") == 0)
		error = SAVER_JOBS_FULL;
	if (error != SAVER_OK) {
		saver_job_call_fail(jc, error);
		return;
	}
	++*jc->saver->metrics.jobs_put;
	answer(jc, &answered.base);
}

static void add_number(struct saver_script *script, enum saver_job_field field, uint64_t value)
{
	saver_script_bytes(script, hf_bytes_of_string(saver_job_field_names[field]));
	saver_script_number(script, value);
}

static void add_bytes(struct saver_script *script, enum saver_job_field field,
		      const ProtobufCBinaryData *value)
{
	saver_script_bytes(script, hf_bytes_of_string(saver_job_field_names[field]));
	saver_script_bytes(script, hf_bytes_of(value->data, value->len));
}

static void add_job(struct saver_script *script, const Hf__Job *job)
{
	add_number(script, SAVER_JOB_STATE, job->state);
	add_number(script, SAVER_JOB_KIND, job->kind);
	add_number(script, SAVER_JOB_DUE, job->due_ms);
	add_number(script, SAVER_JOB_CREATED, job->created_ms);
	add_number(script, SAVER_JOB_STARTED, job->started_ms);
	add_number(script, SAVER_JOB_RATE, job->rate_per_second);
	add_number(script, SAVER_JOB_DURATION, job->duration_ms);
	add_number(script, SAVER_JOB_REVISION, HF_MAX(job->revision, 1u));
	add_number(script, SAVER_JOB_KEEP, job->keep_until_ms);
	add_bytes(script, SAVER_JOB_LABEL, &job->label);
	add_bytes(script, SAVER_JOB_SPEC, &job->spec);
}

void saver_on_put_job(Hf__Saver_Service *rpc, const Hf__PutJobRequest *request,
		      Hf__PutJobReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const Hf__Job *job = request->job;
	const char *broken = saver_job_check(job);
	struct saver_script script;
	struct job_call *jc;
	enum saver_error error;

	if (broken == NULL && job->state != HF__JOB_STATE__JOB_SCHEDULED &&
	    job->state != HF__JOB_STATE__JOB_RUNNING)
		broken = "BAD_STATE";
	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		return;
	}
	jc = saver_job_call_new(saver, (ProtobufCClosure)closure, call, job->app, job->id);
	if (jc == NULL)
		return;
	saver_job_script_init(&script, put_script, job->app, job->id);
	saver_script_number(&script, job->due_ms);
	saver_script_number(&script, request->running_max);
	saver_script_number(&script, JOBS_MAX);
	saver_script_number(&script, job->kind == HF__JOB_KIND__JOB_BROADCAST);
	add_job(&script, job);
	error = saver_script_send(saver->redis, saver_app_node(saver, job->app), SAVER_OP_JOB,
				  &script, on_put, jc);
	if (error != SAVER_OK)
		saver_job_call_fail(jc, error);
}

/* ARGV from 4: due, state, is it a broadcast, when a final one is forgotten; then fields and
 * values. */
static const char restore_script[] =
	"if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end\n"
	"redis.call('HSET', KEYS[1], unpack(ARGV, 8))\n"
	"redis.call('ZADD', KEYS[2], 0, ARGV[1])\n"
	"if tonumber(ARGV[5]) > 2 then\n"
	"  redis.call('ZADD', KEYS[4], ARGV[7], ARGV[1])\n"
	"  redis.call('PEXPIREAT', KEYS[1], ARGV[7])\n"
	"  return 1\n"
	"end\n"
	"if ARGV[6] == '1' then redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1]) end\n"
	"if ARGV[5] ~= '2' then redis.call('ZADD', KEYS[5], ARGV[4], ARGV[2]) end\n"
	"return 1";

enum saver_error saver_job_restore(struct saver *saver, const Hf__Job *job, saver_redis_cb cb,
				   void *ctx)
{
	uint8_t progress[SAVER_JOB_PROGRESS_MAX];
	ProtobufCBinaryData packed = { 0, progress };
	struct saver_script script;

	if (job->progress != NULL)
		packed.len = hf__job_progress__pack(job->progress, progress);
	saver_job_script_init(&script, restore_script, job->app, job->id);
	saver_script_number(&script, job->due_ms);
	saver_script_number(&script, job->state);
	saver_script_number(&script, job->kind == HF__JOB_KIND__JOB_BROADCAST);
	saver_script_number(&script, job->keep_until_ms);
	add_job(&script, job);
	add_number(&script, SAVER_JOB_FINISHED, job->finished_ms);
	add_bytes(&script, SAVER_JOB_REASON, &job->reason);
	add_bytes(&script, SAVER_JOB_PROGRESS, &packed);
	return saver_redis_send_early(saver->redis, saver_app_node(saver, job->app),
				      SAVER_OP_REFILL, script.words, script.count, cb, ctx);
}

/* --- ReadJob --- */

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct job_call *jc = ctx;
	Hf__ReadJobReply answered = HF__READ_JOB_REPLY__INIT;
	struct saver_job_view view;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK && saver_reply_element(reply, SAVER_JOB_STATE).data == NULL) {
		answer(jc, &answered.base);
		return;
	}
	if (error == SAVER_OK &&
	    !saver_job_view_of_reply(&view, jc->app, jc->id, reply, 0, SAVER_JOB_FIELDS))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_job_call_fail(jc, error);
		return;
	}
	answered.known = true;
	answered.job = &view.job;
	answer(jc, &answered.base);
	saver_job_view_deinit(&view);
}

void saver_on_read_job(Hf__Saver_Service *rpc, const Hf__ReadJobRequest *request,
		       Hf__ReadJobReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct hf_bytes words[2 + SAVER_JOB_FIELDS] = { HF_BYTES_LITERAL("HMGET") };
	char name[SAVER_JOB_NAME_MAX], key[SAVER_JOB_KEY_MAX];
	struct job_call *jc;
	enum saver_error error;

	jc = saver_job_call_new(saver, (ProtobufCClosure)closure, call, request->app, request->id);
	if (jc == NULL)
		return;
	saver_job_name_format(request->app, request->id, name);
	snprintf(key, sizeof(key), "hf:j:%s", name);
	words[1] = hf_bytes_of_string(key);
	for (size_t i = 0; i < SAVER_JOB_FIELDS; i++)
		words[2 + i] = hf_bytes_of_string(saver_job_field_names[i]);
	error = saver_redis_send(saver->redis, saver_app_node(saver, request->app), SAVER_OP_JOB,
				 words, HF_ARRAY_LEN(words), on_read, jc);
	if (error != SAVER_OK)
		saver_job_call_fail(jc, error);
}

/* --- ChangeJob --- */

/* ARGV from 4: set the state?, to which, from which it may be; set the pace?, rate, duration; how
 * long a final job is kept when it does not say; then the fields wanted. Returns allowed,
 * fields...; nothing for an unknown one. While a job rests nobody is offered it: who has its lease
 * keeps it. */
static const char change_script[] =
	"local s = redis.call('HGET', KEYS[1], 'state')\n"
	"if not s then return {} end\n" SAVER_SCRIPT_NOW SAVER_KEPT_LUA SAVER_JOB_LUA_END
	"local function answer(allowed)\n"
	"  local out = redis.call('HMGET', KEYS[1], unpack(ARGV, 11))\n"
	"  table.insert(out, 1, allowed)\n"
	"  return out\n"
	"end\n"
	"if ARGV[4] == '1' and not string.find(ARGV[6], s, 1, true) then return answer(0) end\n"
	"if ARGV[7] == '1' and tonumber(s) > 2 then return answer(0) end\n"
	"local changed = false\n"
	"if ARGV[7] == '1' then\n"
	"  redis.call('HSET', KEYS[1], 'rate', ARGV[8], 'duration', ARGV[9])\n"
	"  changed = true\n"
	"end\n"
	"local want = ARGV[5]\n"
	"if want == '1' and s == '0' then want = s end\n"
	"if ARGV[4] == '1' and want ~= s then\n"
	"  changed = true\n"
	"  local due = tonumber(redis.call('HGET', KEYS[1], 'due'))\n"
	"  local lease = tonumber(redis.call('HGET', KEYS[1], 'lease') or 0)\n"
	"  if want == '1' then\n"
	"    if due > now then want = '0' end\n"
	"    redis.call('ZADD', KEYS[5], math.max(want == '0' and due or 0, lease), ARGV[2])\n"
	"  elseif want == '2' then\n"
	"    redis.call('ZREM', KEYS[5], ARGV[2])\n"
	"  else\n"
	"    redis.call('HSET', KEYS[1], 'finished', string.format('%.0f', now))\n"
	"    local keep = tonumber(redis.call('HGET', KEYS[1], 'keep') or 0)\n"
	"    finish(keep > 0 and keep or now + tonumber(ARGV[10]))\n"
	"  end\n"
	"  redis.call('HSET', KEYS[1], 'state', want)\n"
	"end\n"
	"if changed then\n"
	"  redis.call('HINCRBY', KEYS[1], 'revision', 1)\n"
	"  note('j' .. ARGV[2])\n"
	"end\n"
	"return answer(1)";

static void on_changed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct job_call *jc = ctx;
	Hf__ChangeJobReply answered = HF__CHANGE_JOB_REPLY__INIT;
	struct saver_job_view view;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK && reply->elements == 0) {
		answer(jc, &answered.base);
		return;
	}
	if (error == SAVER_OK &&
	    !saver_job_view_of_reply(&view, jc->app, jc->id, reply, 1, SAVER_JOB_HEAD))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_job_call_fail(jc, error);
		return;
	}
	answered.known = true;
	answered.allowed = saver_reply_integer(reply, 0) != 0;
	answered.job = &view.job;
	answer(jc, &answered.base);
	saver_job_view_deinit(&view);
}

void saver_on_change_job(Hf__Saver_Service *rpc, const Hf__ChangeJobRequest *request,
			 Hf__ChangeJobReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	char from[SAVER_JOB_STATES + 1] = "";
	struct saver_script script;
	struct job_call *jc;
	enum saver_error error;

	if (request->set_state && (unsigned)request->state >= SAVER_JOB_STATES) {
		saver_fail_invalid(saver, call, "BAD_STATE");
		return;
	}
	jc = saver_job_call_new(saver, (ProtobufCClosure)closure, call, request->app, request->id);
	if (jc == NULL)
		return;
	if (request->set_state)
		saver_job_states_from(request->state, saver_job_may_change, from);
	saver_job_script_init(&script, change_script, request->app, request->id);
	saver_script_number(&script, request->set_state != 0);
	saver_script_number(&script, request->state);
	saver_script_text(&script, "%s", from);
	saver_script_number(&script, request->set_pace != 0);
	saver_script_number(&script, request->rate_per_second);
	saver_script_number(&script, request->duration_ms);
	saver_script_number(&script, SAVER_JOB_KEEP_MS);
	saver_job_script_fields(&script, SAVER_JOB_HEAD);
	error = saver_script_send(saver->redis, saver_app_node(saver, request->app), SAVER_OP_JOB,
				  &script, on_changed, jc);
	if (error != SAVER_OK)
		saver_job_call_fail(jc, error);
}

/* --- ListJobs --- */

/* ARGV from 4: the highest id as ZREVRANGEBYLEX has it, how many; then the fields wanted. Returns
 * whether there are more, then for each job its id and an array of its fields. */
static const char list_script[] = SAVER_SCRIPT_NOW LUA_FORGET
	"local limit = tonumber(ARGV[5])\n"
	"local ids = redis.call('ZREVRANGEBYLEX', KEYS[2], ARGV[4], '-', 'LIMIT', 0, limit + 1)\n"
	"local out = { #ids > limit and 1 or 0 }\n"
	"for i = 1, math.min(#ids, limit) do\n"
	"  out[#out + 1] = ids[i]\n"
	"  out[#out + 1] = redis.call('HMGET', ARGV[3] .. ids[i], unpack(ARGV, 6))\n"
	"end\n"
	"return out";

static void on_listed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct job_call *jc = ctx;
	Hf__ListJobsReply answered = HF__LIST_JOBS_REPLY__INIT;
	struct saver_job_view views[LIST_MAX];
	Hf__Job *pointers[LIST_MAX];

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements > 1 + 2 * LIST_MAX))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_job_call_fail(jc, error);
		return;
	}
	for (size_t i = 1; i + 1 < reply->elements; i += 2) {
		struct hf_bytes text = saver_reply_element(reply, i);
		struct saver_job_view *view = &views[answered.n_jobs];
		uint64_t id;

		if (text.data == NULL || hf_id_parse((const char *)text.data, text.len, &id) < 0 ||
		    reply->element[i + 1]->type != REDIS_REPLY_ARRAY)
			continue;
		/* One whose time ended a moment ago has no fields any more. */
		if (saver_job_view_of_reply(view, jc->app, id, reply->element[i + 1], 0,
					    SAVER_JOB_HEAD))
			pointers[answered.n_jobs++] = &view->job;
		else
			saver_job_view_deinit(view);
	}
	answered.jobs = pointers;
	answered.more = saver_reply_integer(reply, 0) != 0;
	jc->closure(&answered.base, jc->call);
	for (size_t i = 0; i < answered.n_jobs; i++)
		saver_job_view_deinit(&views[i]);
	free(jc);
}

void saver_on_list_jobs(Hf__Saver_Service *rpc, const Hf__ListJobsRequest *request,
			Hf__ListJobsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	char after[HF_ID_TEXT_SIZE];
	struct saver_script script;
	struct job_call *jc;
	enum saver_error error;

	jc = saver_job_call_new(saver, (ProtobufCClosure)closure, call, request->app, 0);
	if (jc == NULL)
		return;
	hf_id_format(request->after, after);
	saver_job_script_init(&script, list_script, request->app, 0);
	if (request->after == 0)
		saver_script_text(&script, "+");
	else
		saver_script_text(&script, "(%s", after);
	saver_script_number(&script, HF_MAX(HF_MIN(request->limit, LIST_MAX), 1u));
	saver_job_script_fields(&script, SAVER_JOB_HEAD);
	error = saver_script_send(saver->redis, saver_app_node(saver, request->app), SAVER_OP_JOB,
				  &script, on_listed, jc);
	if (error != SAVER_OK)
		saver_job_call_fail(jc, error);
}
