/* services/saver/job_value.h - jobs as they lie in Redis, and which state may follow which. Pure.
 *
 * All jobs of an app are on one node, that of slot (app, ""), as are its broadcast log and lists:
 *
 *	hf:j:<app>:<id>   hash: a job, a field for each of enum saver_job_field; who has the
 *	                  lease ("owner", hex) and until when ("lease", by this Redis' clock)
 *	hf:ja:<app>       sorted set: ids of all, each with score 0, so that it sorts by id
 *	hf:jo:<app>       sorted set: broadcasts that are not final, by when they are due
 *	hf:jk:<app>       sorted set: final ones by when they are forgotten
 *	hf:jd             sorted set: "<app>:<id>" of the whole node by when a center may have it
 *
 * <id> is the text of hf_id.h, which sorts like the number. */
#ifndef SAVER_JOB_VALUE_H
#define SAVER_JOB_VALUE_H

#include "hf_base.h"
#include "hf_id.h"
#include "saver.pb-c.h"

enum saver_job_field {
	SAVER_JOB_STATE,
	SAVER_JOB_KIND,
	SAVER_JOB_DUE,
	SAVER_JOB_CREATED,
	SAVER_JOB_STARTED,
	SAVER_JOB_FINISHED,
	SAVER_JOB_RATE,
	SAVER_JOB_DURATION,
	SAVER_JOB_REVISION,
	SAVER_JOB_KEEP,
	SAVER_JOB_LABEL,
	SAVER_JOB_REASON,
	SAVER_JOB_PROGRESS, /* packed JobProgress */
	SAVER_JOB_HEAD,     /* so many without the spec, which comes last */
	SAVER_JOB_SPEC = SAVER_JOB_HEAD,
	SAVER_JOB_FIELDS
};

extern const char *const saver_job_field_names[SAVER_JOB_FIELDS];

#define SAVER_JOB_SPEC_MAX     (256u << 10)
#define SAVER_JOB_LABEL_MAX    50
#define SAVER_JOB_REASON_MAX   512
#define SAVER_JOB_PROGRESS_MAX (64u << 10) /* packed: some 1,500 rooms */
#define SAVER_JOB_NAME_MAX     (10 + 1 + HF_ID_TEXT_SIZE)
#define SAVER_JOB_KEY_MAX      (5 + SAVER_JOB_NAME_MAX)

/* "<app>:<id>" and back; false when it is no such name. */
void saver_job_name_format(uint32_t app, uint64_t id, char ret[SAVER_JOB_NAME_MAX]);
HF_MUST_CHECK bool saver_job_name_parse(struct hf_bytes name, uint32_t *ret_app, uint64_t *ret_id);

/* A job read from its fields: all that it points to is borrowed, but for the progress. */
struct saver_job_view {
	Hf__Job job;
	Hf__JobProgress *progress; /* what job.progress points to */
};
/* `values`: one for each field, `count` of them; data NULL where there is none. False when they are
 * no job, or out of memory. */
HF_MUST_CHECK bool saver_job_view_init(struct saver_job_view *view, uint32_t app, uint64_t id,
				       const struct hf_bytes *values, size_t count);
void saver_job_view_deinit(struct saver_job_view *view);

/* NULL, or which rule the job breaks. */
const char *saver_job_check(const Hf__Job *job);

/* May a request (_change) or the job's runner when it is through (_finish) bring it from one state
 * to the other? The same state again is allowed: nothing happens. */
bool saver_job_may_change(Hf__JobState from, Hf__JobState to);
bool saver_job_may_finish(Hf__JobState from, Hf__JobState to);
static inline bool saver_job_is_final(Hf__JobState state)
{
	return state >= HF__JOB_STATE__JOB_CANCELLED;
}
/* For the scripts: the digits of all states from which it is allowed, such as "012". */
#define SAVER_JOB_STATES 6
void saver_job_states_from(Hf__JobState to, bool (*may)(Hf__JobState from, Hf__JobState to),
			   char ret[SAVER_JOB_STATES + 1]);

#endif
