/* What a saver reads from Redis. An operator may write there, and so may a later version. The first
 * byte chooses the decoder. */
#include <stdlib.h>

#include "job_value.h"
#include "log_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_broadcast(struct hf_bytes bytes)
{
	struct saver_log_meta meta;
	Hf__Broadcast *broadcast;
	uint64_t sum = 0;

	if (!saver_log_meta_decode(bytes, &meta))
		return;
	for (size_t i = 0; i < meta.span_count; i++)
		sum += saver_log_span(&meta, i).from + (uint64_t)saver_log_span(&meta, i).until;
	if (meta.broadcast.len + 8 * (size_t)meta.span_count > bytes.len || sum == UINT64_MAX)
		abort();
	broadcast = hf__broadcast__unpack(NULL, meta.broadcast.len, meta.broadcast.data);
	if (broadcast == NULL)
		return;
	(void)saver_log_check(broadcast);
	hf__broadcast__free_unpacked(broadcast, NULL);
}

/* Fields are separated by 0 bytes; an empty one is missing. */
static void read_job(struct hf_bytes bytes)
{
	struct hf_bytes values[SAVER_JOB_FIELDS] = { { NULL, 0 } };
	struct saver_job_view view;

	for (size_t i = 0; i < SAVER_JOB_FIELDS && bytes.len > 0; i++) {
		const uint8_t *end = memchr(bytes.data, 0, bytes.len);
		size_t len = end != NULL ? (size_t)(end - bytes.data) : bytes.len;

		if (len > 0)
			values[i] = hf_bytes_of(bytes.data, len);
		len += end != NULL;
		bytes = hf_bytes_of(bytes.data + len, bytes.len - len);
	}
	if (saver_job_view_init(&view, 7, 11, values, SAVER_JOB_FIELDS) &&
	    (unsigned)view.job.state >= SAVER_JOB_STATES)
		abort();
	saver_job_view_deinit(&view);
}

static void read_name(struct hf_bytes bytes)
{
	char text[SAVER_JOB_NAME_MAX];
	uint64_t id, again_id;
	uint32_t app, again_app;

	if (!saver_job_name_parse(bytes, &app, &id))
		return;
	saver_job_name_format(app, id, text);
	if (!saver_job_name_parse(hf_bytes_of_string(text), &again_app, &again_id) ||
	    again_app != app || again_id != id)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct saver_value value;
	struct hf_bytes rest;
	uint64_t expires_ms;
	uint32_t version;

	if (size == 0)
		return 0;
	rest = hf_bytes_of(data + 1, size - 1);
	switch (data[0]) {
	case 'b':
		read_broadcast(rest);
		break;
	case 'r':
		(void)!saver_log_recall_decode(rest, &version, &expires_ms);
		break;
	case 'j':
		read_job(rest);
		break;
	case 'n':
		read_name(rest);
		break;
	case 'q':
		if (saver_value_decode(rest, &value) &&
		    value.frame.len + value.delivery.len > rest.len)
			abort();
		break;
	default:
		break;
	}
	return 0;
}
