/* services/saver/jobs_internal.h - what jobs.c (who asks for a job) and jobs_lease.c (who runs it)
 * share. */
#ifndef SAVER_JOBS_INTERNAL_H
#define SAVER_JOBS_INTERNAL_H

#include "job_value.h"
#include "saver.h"
#include "script.h"

/* A call that is one script or command about one job. The reply's closure is cast back by who made
 * it. */
struct job_call {
	struct saver *saver;
	ProtobufCClosure closure;
	void *call;
	uint32_t app;
	uint64_t id;
};

/* NULL after ending the call. */
HF_MUST_CHECK struct job_call *saver_job_call_new(struct saver *saver, ProtobufCClosure closure,
						  void *call, uint32_t app, uint64_t id);
void saver_job_call_fail(struct job_call *jc, enum saver_error error);

/* KEYS[1..5] and ARGV[1..3] of all scripts about one job. */
void saver_job_script_init(struct saver_script *script, const char *source, uint32_t app,
			   uint64_t id);
/* The arguments end with the names of the fields that are wanted back; `from`: their first. */
void saver_job_script_fields(struct saver_script *script, size_t count);

/* The job in an array of a script, its fields from element `first` on. */
HF_MUST_CHECK bool saver_job_view_of_reply(struct saver_job_view *view, uint32_t app, uint64_t id,
					   const redisReply *reply, size_t first, size_t count);

#define SAVER_JOB_KEEP_MS (7 * 86400000ull) /* of a final job whose keep_until_ms is 0 */

/* Lua: a final job's last steps. Wants `now`; KEYS and ARGV as above. */
#define SAVER_JOB_LUA_END                                                      \
	"local function finish(keep)\n"                                        \
	"  redis.call('ZREM', KEYS[3], ARGV[1])\n"                             \
	"  redis.call('ZREM', KEYS[5], ARGV[2])\n"                             \
	"  redis.call('ZADD', KEYS[4], keep, ARGV[1])\n"                       \
	"  redis.call('HSET', KEYS[1], 'keep', string.format('%.0f', keep))\n" \
	"  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', keep))\n"    \
	"end\n"

#endif
