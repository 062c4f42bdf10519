#include "compare.h"

#include <stdlib.h>

#include "saver.h"

#define SLICE 500u

struct saver_candidate {
	struct saver_compare *compare;
	uint64_t message_id;
	bool written;
	struct saver_name name;
};

void saver_compare_init(struct saver_compare *compare, struct saver *saver, saver_compared_cb cb,
			void *ctx)
{
	*compare = (struct saver_compare){ .saver = saver, .cb = cb, .ctx = ctx };
}

void saver_compare_deinit(struct saver_compare *compare)
{
	free(compare->candidates);
}

void saver_compare_clear(struct saver_compare *compare)
{
	compare->count = compare->next = 0;
	compare->requeued = 0;
}

void saver_compare_add(struct saver_compare *compare, const struct saver_name *name,
		       uint64_t message_id)
{
	if (compare->count == compare->capacity) {
		size_t capacity = HF_MAX(2 * compare->capacity, (size_t)SLICE);
		struct saver_candidate *grown =
			realloc(compare->candidates, capacity * sizeof(*grown));

		if (grown == NULL)
			return; /* the next pass sees it again */
		compare->candidates = grown;
		compare->capacity = capacity;
	}
	compare->candidates[compare->count++] = (struct saver_candidate){ .compare = compare,
									  .message_id = message_id,
									  .name = *name };
}

static int compare_candidates(const void *a, const void *b)
{
	const struct saver_candidate *x = a, *y = b;
	int order;

	if (x->message_id != y->message_id)
		return x->message_id < y->message_id ? -1 : 1;
	if (x->name.app != y->name.app)
		return x->name.app < y->name.app ? -1 : 1;
	order = memcmp(x->name.bytes, y->name.bytes, HF_MIN(x->name.len, y->name.len));
	return order != 0 ? order : (int)x->name.len - (int)y->name.len;
}

static void next_slice(struct saver_compare *compare);

static void slice_done(struct saver_compare *compare)
{
	compare->next += compare->slice;
	next_slice(compare);
}

static void on_value(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_candidate *candidate = ctx;
	struct saver_compare *compare = candidate->compare;
	struct saver_value value;
	struct saver_frame *frame;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING &&
	    saver_value_decode(saver_reply_bytes(reply), &value)) {
		frame = saver_frame_new(value.delivery, value.frame);
		if (frame != NULL &&
		    saver_write_behind_put(compare->saver->wb, &candidate->name,
					   candidate->message_id, value.class, value.expires_ms,
					   frame, NULL) == SAVER_OK)
			compare->requeued++;
		saver_frame_unref(frame);
	}
	if (--compare->pending == 0)
		slice_done(compare);
}

/* Those of the slice that the database does not have: read them, as by now they may be acked. */
static void fetch_missing(struct saver_compare *compare)
{
	struct saver *saver = compare->saver;
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HGET"),
				     { key, 0 },
				     { field, sizeof(field) } };

	compare->pending = 0;
	for (size_t i = 0; i < compare->slice; i++) {
		struct saver_candidate *candidate = &compare->candidates[compare->next + i];

		if (candidate->written)
			continue;
		words[1].len = saver_queue_key_encode(&candidate->name, key);
		saver_field_encode(candidate->message_id, field);
		if (saver_redis_send_slot(saver->redis, candidate->name.slot, SAVER_OP_SWEEP, words,
					  3, on_value, candidate) != SAVER_OK)
			break;
		compare->pending++;
	}
	if (compare->pending == 0)
		slice_done(compare);
}

static void note_written(struct saver_compare *compare, MYSQL_ROW row, const unsigned long *lengths)
{
	struct saver_candidate wanted = { .message_id = strtoull(row[2], NULL, 10) }, *found;

	wanted.name.app = (uint32_t)strtoul(row[0], NULL, 10);
	wanted.name.len = (uint8_t)HF_MIN(lengths[1], sizeof(wanted.name.bytes));
	memcpy(wanted.name.bytes, row[1], wanted.name.len);
	found = bsearch(&wanted, compare->candidates + compare->next, compare->slice,
			sizeof(wanted), compare_candidates);
	if (found != NULL)
		found->written = true;
}

static void on_rows(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_compare *compare = ctx;
	MYSQL_ROW row;

	if (outcome->error != 0 || outcome->result == NULL) {
		compare->cb(compare, compare->requeued, compare->ctx);
		return;
	}
	while ((row = mysql_fetch_row(outcome->result)) != NULL)
		note_written(compare, row, mysql_fetch_lengths(outcome->result));
	fetch_missing(compare);
}

static int slice_statement(const struct saver_compare *compare, struct hf_buffer *sql)
{
	int err = hf_buffer_printf(sql, "SELECT app, registration, message_id FROM messages WHERE"
					" (app,registration,message_id) IN (");

	for (size_t i = 0; err == 0 && i < compare->slice; i++) {
		const struct saver_candidate *candidate = &compare->candidates[compare->next + i];

		err = hf_buffer_printf(sql, "%s(%u,", i > 0 ? "," : "", candidate->name.app);
		if (err == 0)
			err = saver_sql_hex(sql, candidate->name.bytes, candidate->name.len);
		if (err == 0)
			err = hf_buffer_printf(sql, ",%llu)",
					       (unsigned long long)candidate->message_id);
	}
	return err == 0 ? hf_buffer_append(sql, ")", 1) : err;
}

static void next_slice(struct saver_compare *compare)
{
	struct hf_buffer sql = { 0 };
	bool asked = false;

	compare->slice = HF_MIN(compare->count - compare->next, (size_t)SLICE);
	if (compare->slice > 0 && slice_statement(compare, &sql) == 0)
		asked = saver_database_run(compare->saver->database, SAVER_LINK_BACKGROUND, &sql,
					   on_rows, compare) == 0;
	hf_buffer_deinit(&sql);
	if (!asked)
		compare->cb(compare, compare->requeued, compare->ctx);
}

void saver_compare_run(struct saver_compare *compare)
{
	if (compare->count > 0)
		qsort(compare->candidates, compare->count, sizeof(compare->candidates[0]),
		      compare_candidates);
	next_slice(compare);
}
