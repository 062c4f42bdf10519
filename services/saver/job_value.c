#include "job_value.h"

#include <stdio.h>
#include <stdlib.h>

const char *const saver_job_field_names[SAVER_JOB_FIELDS] = {
	[SAVER_JOB_STATE] = "state",       [SAVER_JOB_KIND] = "kind",
	[SAVER_JOB_DUE] = "due",           [SAVER_JOB_CREATED] = "created",
	[SAVER_JOB_STARTED] = "started",   [SAVER_JOB_FINISHED] = "finished",
	[SAVER_JOB_RATE] = "rate",         [SAVER_JOB_DURATION] = "duration",
	[SAVER_JOB_REVISION] = "revision", [SAVER_JOB_KEEP] = "keep",
	[SAVER_JOB_LABEL] = "label",       [SAVER_JOB_REASON] = "reason",
	[SAVER_JOB_PROGRESS] = "progress", [SAVER_JOB_SPEC] = "spec",
};

void saver_job_name_format(uint32_t app, uint64_t id, char ret[SAVER_JOB_NAME_MAX])
{
	char text[HF_ID_TEXT_SIZE];

	hf_id_format(id, text);
	snprintf(ret, SAVER_JOB_NAME_MAX, "%u:%s", app, text);
}

bool saver_job_name_parse(struct hf_bytes name, uint32_t *ret_app, uint64_t *ret_id)
{
	uint64_t app = 0;
	size_t i = 0;

	for (; i < name.len && i < 10 && name.data[i] >= '0' && name.data[i] <= '9'; i++)
		app = app * 10 + (name.data[i] - '0');
	if (i == 0 || i == name.len || name.data[i] != ':' || app > UINT32_MAX ||
	    hf_id_parse((const char *)name.data + i + 1, name.len - i - 1, ret_id) < 0)
		return false;
	*ret_app = (uint32_t)app;
	return true;
}

/* A decimal number; nothing is 0. */
static bool number_of(struct hf_bytes text, uint64_t *ret)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint64_t digit = text.data[i] - (uint64_t)'0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*ret = value;
	return true;
}

static ProtobufCBinaryData bytes_of(struct hf_bytes value)
{
	return (ProtobufCBinaryData){ value.len, (uint8_t *)(uintptr_t)value.data };
}

bool saver_job_view_init(struct saver_job_view *view, uint32_t app, uint64_t id,
			 const struct hf_bytes *values, size_t count)
{
	Hf__Job *job = &view->job;
	uint64_t state, kind, revision;
	struct hf_bytes progress;

	*view = (struct saver_job_view){ .job = HF__JOB__INIT };
	if (count < SAVER_JOB_HEAD || values[SAVER_JOB_STATE].data == NULL ||
	    !number_of(values[SAVER_JOB_STATE], &state) || state >= SAVER_JOB_STATES ||
	    !number_of(values[SAVER_JOB_KIND], &kind) || kind > HF__JOB_KIND__JOB_SEND ||
	    !number_of(values[SAVER_JOB_REVISION], &revision) || revision > UINT32_MAX ||
	    !number_of(values[SAVER_JOB_DUE], &job->due_ms) ||
	    !number_of(values[SAVER_JOB_CREATED], &job->created_ms) ||
	    !number_of(values[SAVER_JOB_STARTED], &job->started_ms) ||
	    !number_of(values[SAVER_JOB_FINISHED], &job->finished_ms) ||
	    !number_of(values[SAVER_JOB_RATE], &job->rate_per_second) ||
	    !number_of(values[SAVER_JOB_DURATION], &job->duration_ms) ||
	    !number_of(values[SAVER_JOB_KEEP], &job->keep_until_ms))
		return false;
	progress = values[SAVER_JOB_PROGRESS];
	view->progress = hf__job_progress__unpack(NULL, progress.len, progress.data);
	if (view->progress == NULL)
		return false;
	job->app = app;
	job->id = id;
	job->state = (Hf__JobState)state;
	job->kind = (Hf__JobKind)kind;
	job->revision = (uint32_t)revision;
	job->label = bytes_of(values[SAVER_JOB_LABEL]);
	job->reason = bytes_of(values[SAVER_JOB_REASON]);
	job->progress = view->progress;
	if (count > SAVER_JOB_SPEC)
		job->spec = bytes_of(values[SAVER_JOB_SPEC]);
	return true;
}

void saver_job_view_deinit(struct saver_job_view *view)
{
	if (view->progress != NULL)
		hf__job_progress__free_unpacked(view->progress, NULL);
	view->progress = NULL;
}

const char *saver_job_check(const Hf__Job *job)
{
	if (job == NULL || job->id == 0 || job->app == 0)
		return "BAD_ID";
	if ((unsigned)job->kind > HF__JOB_KIND__JOB_SEND)
		return "BAD_KIND";
	if ((unsigned)job->state >= SAVER_JOB_STATES)
		return "BAD_STATE";
	if (job->spec.len > SAVER_JOB_SPEC_MAX)
		return "SPEC_TOO_LONG";
	if (job->label.len > SAVER_JOB_LABEL_MAX)
		return "LABEL_TOO_LONG";
	if (job->reason.len > SAVER_JOB_REASON_MAX)
		return "REASON_TOO_LONG";
	if (job->progress != NULL &&
	    hf__job_progress__get_packed_size(job->progress) > SAVER_JOB_PROGRESS_MAX)
		return "PROGRESS_TOO_LONG";
	return NULL;
}

/* Which states may be left for which. */
#define FROM(state) (1u << HF__JOB_STATE__JOB_##state)
static const uint8_t changes[SAVER_JOB_STATES] = {
	/* Resume. One that was paused before it was due is scheduled again by it. */
	[HF__JOB_STATE__JOB_RUNNING] = FROM(PAUSED) | FROM(RUNNING) | FROM(SCHEDULED),
	[HF__JOB_STATE__JOB_PAUSED] = FROM(SCHEDULED) | FROM(RUNNING) | FROM(PAUSED),
	[HF__JOB_STATE__JOB_CANCELLED] =
		FROM(SCHEDULED) | FROM(RUNNING) | FROM(PAUSED) | FROM(CANCELLED),
};
static const uint8_t endings[SAVER_JOB_STATES] = {
	[HF__JOB_STATE__JOB_CANCELLED] = FROM(RUNNING) | FROM(PAUSED) | FROM(CANCELLED),
	[HF__JOB_STATE__JOB_DONE] = FROM(RUNNING) | FROM(PAUSED),
	[HF__JOB_STATE__JOB_FAILED] = FROM(RUNNING) | FROM(PAUSED),
};

bool saver_job_may_change(Hf__JobState from, Hf__JobState to)
{
	return (changes[to] >> from & 1) != 0;
}

bool saver_job_may_finish(Hf__JobState from, Hf__JobState to)
{
	return (endings[to] >> from & 1) != 0;
}

void saver_job_states_from(Hf__JobState to, bool (*may)(Hf__JobState from, Hf__JobState to),
			   char ret[SAVER_JOB_STATES + 1])
{
	size_t count = 0;

	for (unsigned from = 0; from < SAVER_JOB_STATES; from++) {
		if (may((Hf__JobState)from, to))
			ret[count++] = (char)('0' + from);
	}
	ret[count] = '\0';
}
