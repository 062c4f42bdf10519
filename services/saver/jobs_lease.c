/* Who runs a job: LeaseJobs offers it to one center at a time, RenewJob keeps it there. Leases are
 * counted by the clock of the Redis that has the job, so that no two centers can hold one at once
 * whatever their clocks say. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jobs_internal.h"
#include "kept.h"
#include "labels.h"

#define LEASE_MIN_MS 1000u
#define LEASE_MAX_MS 600000u
#define LEASES_MAX   64u
#define BYTES_MAX    (2u << 20) /* of one reply: half of what an RPC frame takes */

/* ARGV: owner, lease, most jobs, most bytes of specs; then the fields wanted. Returns for each job
 * its name and an array of its fields. One that rests or is final leaves the list when it is met.
 */
static const char lease_script[] = SAVER_SCRIPT_NOW
	"local out, bytes, max = {}, 0, tonumber(ARGV[3])\n"
	"local till = now + tonumber(ARGV[2])\n"
	"for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 4 * "
	"max)) do\n"
	"  local key = 'hf:j:' .. name\n"
	"  local s = redis.call('HGET', key, 'state')\n"
	"  if s == '0' or s == '1' then\n"
	"    bytes = bytes + redis.call('HSTRLEN', key, 'spec') + redis.call('HSTRLEN', key, "
	"'progress')\n"
	"    if #out > 0 and (#out >= 2 * max or bytes > tonumber(ARGV[4])) then break end\n"
	"    if s == '0' then redis.call('HINCRBY', key, 'revision', 1) end\n"
	"    redis.call('HSET', key, 'state', '1', 'owner', ARGV[1], 'lease', "
	"string.format('%.0f', till))\n"
	"    redis.call('ZADD', KEYS[1], till, name)\n"
	"    out[#out + 1] = name\n"
	"    out[#out + 1] = redis.call('HMGET', key, unpack(ARGV, 5))\n"
	"  else\n"
	"    redis.call('ZREM', KEYS[1], name)\n"
	"  end\n"
	"end\n"
	"return out";

/* One call: node after node, until there are enough jobs. */
struct lease {
	struct saver *saver;
	Hf__LeaseJobsReply_Closure closure;
	void *call;
	uint64_t owner;
	uint32_t lease_ms, max;
	unsigned node, asked, answered;
	size_t count, bytes;
	enum saver_error error; /* the last one; an answer of any node counts more */
	Hf__Job *jobs[LEASES_MAX];
};

static void finish(struct lease *lease)
{
	Hf__LeaseJobsReply reply = HF__LEASE_JOBS_REPLY__INIT;

	if (lease->answered == 0 && lease->error != SAVER_OK) {
		saver_fail(lease->saver, lease->call, lease->error);
	} else {
		reply.n_jobs = lease->count;
		reply.jobs = lease->jobs;
		lease->closure(&reply, lease->call);
		*lease->saver->metrics.jobs_leased += lease->count;
	}
	for (size_t i = 0; i < lease->count; i++)
		hf__job__free_unpacked(lease->jobs[i], NULL);
	free(lease);
}

/* A copy that outlives the reply of its node; NULL: out of memory. */
static Hf__Job *copy_job(const Hf__Job *job, size_t *ret_len)
{
	size_t len = hf__job__get_packed_size(job);
	uint8_t *bytes = malloc(len + 1);
	Hf__Job *copy = NULL;

	if (bytes != NULL)
		copy = hf__job__unpack(NULL, hf__job__pack(job, bytes), bytes);
	free(bytes);
	*ret_len = len;
	return copy;
}

/* A job that can't be read, or that there is no memory for, is offered again when its lease ends.
 */
static void take_job(struct lease *lease, struct hf_bytes name, const redisReply *fields)
{
	struct saver_job_view view = { .progress = NULL };
	uint32_t app;
	uint64_t id;
	size_t len;

	if (lease->count == LEASES_MAX || name.data == NULL || fields->type != REDIS_REPLY_ARRAY ||
	    !saver_job_name_parse(name, &app, &id) ||
	    !saver_job_view_of_reply(&view, app, id, fields, 0, SAVER_JOB_FIELDS)) {
		++*lease->saver->metrics.unreadable;
		saver_job_view_deinit(&view);
		return;
	}
	lease->jobs[lease->count] = copy_job(&view.job, &len);
	if (lease->jobs[lease->count] != NULL) {
		lease->bytes += len;
		lease->count++;
	}
	saver_job_view_deinit(&view);
}

static void ask_next(struct lease *lease);

static void on_leased(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct lease *lease = ctx;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK) {
		lease->answered++;
		for (size_t i = 0; i + 1 < reply->elements; i += 2)
			take_job(lease, saver_reply_element(reply, i), reply->element[i + 1]);
	} else {
		lease->error = error;
	}
	ask_next(lease);
}

/* A node that is away keeps its jobs to itself, and the others theirs from nobody. */
static void ask_next(struct lease *lease)
{
	struct saver_redis *redis = lease->saver->redis;
	unsigned nodes = saver_redis_count(redis);
	struct saver_script script;
	enum saver_error error = SAVER_OK;
	char owner[20];

	while (lease->asked < nodes && lease->count < lease->max && lease->bytes < BYTES_MAX) {
		unsigned node = (lease->node + lease->asked++) % nodes;

		snprintf(owner, sizeof(owner), "%016" PRIx64, lease->owner);
		saver_script_init(&script, lease_script, 1);
		saver_script_text(&script, "hf:jd");
		saver_script_text(&script, "%s", owner);
		saver_script_number(&script, lease->lease_ms);
		saver_script_number(&script, lease->max - lease->count);
		saver_script_number(&script, BYTES_MAX - lease->bytes);
		saver_job_script_fields(&script, SAVER_JOB_FIELDS);
		error = saver_script_send(redis, node, SAVER_OP_JOB, &script, on_leased, lease);
		if (error == SAVER_OK)
			return;
		lease->error = error;
	}
	finish(lease);
}

void saver_on_lease_jobs(Hf__Saver_Service *rpc, const Hf__LeaseJobsRequest *request,
			 Hf__LeaseJobsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct lease *lease;

	if (request->owner == 0) {
		saver_fail_invalid(saver, call, "BAD_OWNER");
		return;
	}
	lease = calloc(1, sizeof(*lease));
	if (lease == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	lease->saver = saver;
	lease->closure = closure;
	lease->call = call;
	lease->owner = request->owner;
	lease->lease_ms = HF_MAX(HF_MIN(request->lease_ms, LEASE_MAX_MS), LEASE_MIN_MS);
	lease->max = HF_MAX(HF_MIN(request->max, LEASES_MAX), 1u);
	lease->node = saver->lease_node++ % saver_redis_count(saver->redis);
	ask_next(lease);
}

/* --- RenewJob --- */

/* ARGV from 4: owner, lease, started, progress, finish?, state, from which it may be, finished,
 * reason, keep until, how long to keep it when that is 0, spec; then the fields wanted. Returns
 * held, fields...; nothing for an unknown one. Whoever has the lease when a job is cancelled may
 * still say how far it came. */
static const char renew_script[] =
	"local s = redis.call('HGET', KEYS[1], 'state')\n"
	"if not s then return {} end\n" SAVER_SCRIPT_NOW SAVER_KEPT_LUA SAVER_JOB_LUA_END
	"local function answer(held)\n"
	"  local out = redis.call('HMGET', KEYS[1], unpack(ARGV, 16))\n"
	"  table.insert(out, 1, held)\n"
	"  return out\n"
	"end\n"
	"if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[4] then return answer(0) end\n"
	"redis.call('HSET', KEYS[1], 'progress', ARGV[7])\n"
	"if tonumber(ARGV[6]) > 0 then redis.call('HSET', KEYS[1], 'started', ARGV[6]) end\n"
	"if tonumber(s) > 2 then return answer(0) end\n"
	"if ARGV[15] ~= '' then redis.call('HSET', KEYS[1], 'spec', ARGV[15]) end\n"
	"if ARGV[8] == '1' and string.find(ARGV[10], s, 1, true) then\n"
	"  local keep = tonumber(ARGV[13])\n"
	"  if keep == 0 then keep = tonumber(redis.call('HGET', KEYS[1], 'keep') or 0) end\n"
	"  local finished = tonumber(ARGV[11]) > 0 and ARGV[11] or string.format('%.0f', now)\n"
	"  redis.call('HSET', KEYS[1], 'state', ARGV[9], 'finished', finished, 'reason', "
	"ARGV[12])\n"
	"  redis.call('HINCRBY', KEYS[1], 'revision', 1)\n"
	"  redis.call('HDEL', KEYS[1], 'owner', 'lease')\n"
	"  finish(keep > 0 and keep or now + tonumber(ARGV[14]))\n"
	"  note('j' .. ARGV[2])\n"
	"  return answer(1)\n"
	"end\n"
	"local till = now + tonumber(ARGV[5])\n"
	"redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', till))\n"
	"if s ~= '2' then redis.call('ZADD', KEYS[5], till, ARGV[2]) end\n"
	"return answer(1)";

/* Whoever ends a job is told that it was held, and nobody after. */
static void count_if_over(struct saver *saver, const Hf__RenewJobReply *answered)
{
	const Hf__Job *job = answered->job;
	const Hf__JobProgress *progress = job->progress;

	if (answered->held && saver_job_is_final(job->state) &&
	    job->kind == HF__JOB_KIND__JOB_BROADCAST)
		saver_labels_broadcast(saver->labels, job->app,
				       hf_bytes_of(job->label.data, job->label.len),
				       progress != NULL ? progress->targets : 0,
				       progress != NULL ? progress->dropped : 0);
}

static void on_renewed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct job_call *jc = ctx;
	Hf__RenewJobReply answered = HF__RENEW_JOB_REPLY__INIT;
	struct saver_job_view view = { .progress = NULL };

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY ||
	     (reply->elements > 0 &&
	      !saver_job_view_of_reply(&view, jc->app, jc->id, reply, 1, SAVER_JOB_HEAD))))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		saver_job_view_deinit(&view);
		saver_job_call_fail(jc, error);
		return;
	}
	if (reply->elements > 0) {
		answered.held = saver_reply_integer(reply, 0) != 0;
		answered.job = &view.job;
		count_if_over(jc->saver, &answered);
	}
	((Hf__RenewJobReply_Closure)jc->closure)(&answered, jc->call);
	saver_job_view_deinit(&view);
	free(jc);
}

static void add_renewal(struct saver_script *script, const Hf__RenewJobRequest *request,
			struct hf_bytes progress)
{
	const Hf__Job *job = request->job;
	char from[SAVER_JOB_STATES + 1] = "";

	if (request->finish)
		saver_job_states_from(job->state, saver_job_may_finish, from);
	saver_script_text(script, "%016" PRIx64, request->owner);
	saver_script_number(script, HF_MAX(HF_MIN(request->lease_ms, LEASE_MAX_MS), LEASE_MIN_MS));
	saver_script_number(script, job->started_ms);
	saver_script_bytes(script, progress);
	saver_script_number(script, request->finish != 0);
	saver_script_number(script, job->state);
	saver_script_text(script, "%s", from);
	saver_script_number(script, job->finished_ms);
	saver_script_bytes(script, hf_bytes_of(job->reason.data, job->reason.len));
	saver_script_number(script, job->keep_until_ms);
	saver_script_number(script, SAVER_JOB_KEEP_MS);
	saver_script_bytes(script, hf_bytes_of(job->spec.data, job->spec.len));
	saver_job_script_fields(script, SAVER_JOB_HEAD);
}

void saver_on_renew_job(Hf__Saver_Service *rpc, const Hf__RenewJobRequest *request,
			Hf__RenewJobReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const Hf__Job *job = request->job;
	const char *broken = saver_job_check(job);
	uint8_t progress[SAVER_JOB_PROGRESS_MAX];
	size_t progress_len = 0;
	struct saver_script script;
	struct job_call *jc;
	enum saver_error error;

	if (broken == NULL && request->finish && !saver_job_is_final(job->state))
		broken = "BAD_STATE";
	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		return;
	}
	jc = saver_job_call_new(saver, (ProtobufCClosure)closure, call, job->app, job->id);
	if (jc == NULL)
		return;
	if (job->progress != NULL)
		progress_len = hf__job_progress__pack(job->progress, progress);
	saver_job_script_init(&script, renew_script, job->app, job->id);
	add_renewal(&script, request, hf_bytes_of(progress, progress_len));
	error = saver_script_send(saver->redis, saver_app_node(saver, job->app), SAVER_OP_JOB,
				  &script, on_renewed, jc);
	if (error != SAVER_OK)
		saver_job_call_fail(jc, error);
}
