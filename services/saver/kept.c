#define HF_LOG_MODULE "saver"
#include "kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_log.h"
#include "job_value.h"
#include "log_value.h"
#include "script.h"

#define TICK_MS     500u
#define CLEAN_MS    60000u
#define BATCH       50u
#define BATCH_BYTES (1u << 20)
#define NOTE_MAX    40u
#define FOR_EVER    (1ull << 62)

/* One note and its score, until what it stands for is written. */
struct note {
	uint8_t member[NOTE_MAX];
	size_t len;
	char score[24];
};

struct saver_kept {
	struct saver *saver;
	struct hf_timer timer;
	unsigned node;
	bool more; /* notes, of this node */
	uint64_t cleaned_ms;
	size_t count;
	struct note notes[BATCH];
	uint64_t *written;
	struct hf_log_throttle throttle;
};

/* KEYS: notes. ARGV: most notes, most bytes; then the fields of a job. Returns for each note it,
 * its score, and an array of what it stands for; of a broadcast: value, frame, expiry. */
static const char read_script[] =
	"local found = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES')\n"
	"local out, bytes = {}, 0\n"
	"for i = 1, #found, 2 do\n"
	"  if bytes > tonumber(ARGV[2]) then break end\n"
	"  local kind, app, id = string.match(found[i], '^(.)(%d+):(.*)$')\n"
	"  local v = {}\n"
	"  if kind == 'j' then\n"
	"    v = redis.call('HMGET', 'hf:j:' .. app .. ':' .. id, unpack(ARGV, 3))\n"
	"  elseif kind == 'b' then\n"
	"    v = { redis.call('HGET', 'hf:lm:' .. app, id), redis.call('HGET', 'hf:lf:' .. app, "
	"id),\n"
	"      redis.call('ZSCORE', 'hf:lx:' .. app, 'b' .. id) }\n"
	"  elseif kind == 'r' then\n"
	"    v = { redis.call('HGET', 'hf:lr:' .. app, id) }\n"
	"  end\n"
	"  for _, s in ipairs(v) do bytes = bytes + (s and #s or 0) end\n"
	"  out[#out + 1] = found[i]\n"
	"  out[#out + 1] = found[i + 1]\n"
	"  out[#out + 1] = v\n"
	"end\n"
	"return out";

/* KEYS: notes. ARGV: note, score, and so on. What changed again stays noted. */
static const char done_script[] =
	"for i = 1, #ARGV, 2 do\n"
	"  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then\n"
	"    redis.call('ZREM', KEYS[1], ARGV[i])\n"
	"  end\n"
	"end\n"
	"return 1";

static void arm(struct saver_kept *kept, uint64_t delay_ms)
{
	hf_loop_arm(kept->saver->service->loop, &kept->timer, delay_ms);
}

static void ended(struct saver_kept *kept, bool more)
{
	arm(kept, more ? 1 : TICK_MS);
}

/* --- Rows --- */

static bool parse_note(struct hf_bytes note, struct saver_kept_row *row)
{
	char text[1 + SAVER_JOB_NAME_MAX];
	const uint8_t *colon = note.len > 2 ? memchr(note.data, ':', note.len) : NULL;
	struct hf_bytes id;

	if (colon == NULL)
		return false;
	*row = (struct saver_kept_row){ .kind = note.data[0] };
	if (row->kind == 'j')
		return saver_job_name_parse(hf_bytes_of(note.data + 1, note.len - 1), &row->app,
					    &row->id);
	id = hf_bytes_of(colon + 1, (size_t)(note.data + note.len - colon) - 1);
	snprintf(text, sizeof(text), "%.*s", (int)HF_MIN(colon - note.data - 1, 10),
		 (const char *)note.data + 1);
	row->app = (uint32_t)strtoul(text, NULL, 10);
	return (row->kind == 'b' || row->kind == 'r') && saver_field_decode(id, &row->id);
}

/* A job is written packed; `*ret_owned` is to be freed after the row was used. */
static bool fill_job(struct saver_kept_row *row, const redisReply *values, uint8_t **ret_owned)
{
	struct saver_job_view view;
	struct hf_bytes fields[SAVER_JOB_FIELDS];

	for (size_t i = 0; i < SAVER_JOB_FIELDS; i++)
		fields[i] = saver_reply_element(values, i);
	if (!saver_job_view_init(&view, row->app, row->id, fields, SAVER_JOB_FIELDS)) {
		saver_job_view_deinit(&view);
		return false; /* forgotten: its row has an end */
	}
	row->expires_ms = saver_job_is_final(view.job.state) ? view.job.keep_until_ms : FOR_EVER;
	row->value.len = hf__job__get_packed_size(&view.job);
	*ret_owned = malloc(row->value.len + 1);
	if (*ret_owned != NULL)
		hf__job__pack(&view.job, *ret_owned);
	row->value.data = *ret_owned;
	saver_job_view_deinit(&view);
	return *ret_owned != NULL;
}

/* What is past is written without an expiry: nobody brings it back. */
static bool fill_row(struct saver_kept_row *row, const redisReply *values, uint8_t **ret_owned)
{
	struct hf_bytes expiry;

	if (row->kind == 'j')
		return fill_job(row, values, ret_owned);
	row->value = saver_reply_element(values, 0);
	if (row->value.data == NULL)
		return false;
	if (row->kind == 'r')
		return saver_log_recall_decode(row->value, NULL, &row->expires_ms);
	row->frame = saver_reply_element(values, 1);
	expiry = saver_reply_element(values, 2);
	if (expiry.data != NULL)
		row->expires_ms = strtoull((const char *)expiry.data, NULL, 10);
	return true;
}

static int append_row(struct hf_buffer *sql, const struct saver_kept_row *row)
{
	int err = hf_buffer_printf(sql, "%s(%u, %u, %llu, %llu, ",
				   hf_buffer_len(sql) == 0
					   ? "REPLACE INTO kept (app, kind, id, expires_at, value,"
					     " frame) VALUES "
					   : ", ",
				   row->app, row->kind, (unsigned long long)row->id,
				   (unsigned long long)row->expires_ms);

	if (err == 0)
		err = saver_sql_hex(sql, row->value.data, row->value.len);
	if (err == 0)
		err = hf_buffer_append(sql, ", ", 2);
	if (err == 0)
		err = saver_sql_hex(sql, row->frame.data, row->frame.len);
	return err == 0 ? hf_buffer_append(sql, ")", 1) : err;
}

/* --- From Redis to the database --- */

static void on_done(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_kept *kept = ctx;

	ended(kept, error == SAVER_OK && kept->more);
}

static void take_notes_away(struct saver_kept *kept)
{
	struct hf_bytes words[4 + 2 * BATCH] = { HF_BYTES_LITERAL("EVAL"),
						 HF_BYTES_LITERAL(done_script),
						 HF_BYTES_LITERAL("1"), HF_BYTES_LITERAL("hf:lk") };

	for (size_t i = 0; i < kept->count; i++) {
		words[4 + 2 * i] = hf_bytes_of(kept->notes[i].member, kept->notes[i].len);
		words[5 + 2 * i] = hf_bytes_of_string(kept->notes[i].score);
	}
	if (saver_redis_send(kept->saver->redis, kept->node, SAVER_OP_LOG, words,
			     4 + 2 * kept->count, on_done, kept) != SAVER_OK)
		ended(kept, false);
}

static void on_written(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_kept *kept = ctx;

	if (outcome->error == 0) {
		*kept->written += kept->count;
		take_notes_away(kept);
		return;
	}
	if (hf_log_throttle_pass(&kept->throttle, 10000))
		HF_WARN("jobs_not_written", "code=%u error=%s", outcome->code,
			hf_log_quote(outcome->text != NULL ? outcome->text : "",
				     outcome->text != NULL ? strlen(outcome->text) : 0));
	ended(kept, false);
}

static bool take_note(struct saver_kept *kept, struct hf_bytes member, struct hf_bytes score,
		      const redisReply *values, struct hf_buffer *sql)
{
	struct note *note = &kept->notes[kept->count];
	struct saver_kept_row row;
	uint8_t *owned = NULL;
	int err = 0;

	if (member.data == NULL || member.len > NOTE_MAX || score.data == NULL ||
	    score.len >= sizeof(note->score) || values->type != REDIS_REPLY_ARRAY)
		return true;
	memcpy(note->member, member.data, member.len);
	note->len = member.len;
	memcpy(note->score, score.data, score.len);
	note->score[score.len] = '\0';
	kept->count++;
	if (parse_note(member, &row) && fill_row(&row, values, &owned))
		err = append_row(sql, &row);
	free(owned);
	return err == 0;
}

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_kept *kept = ctx;
	struct hf_buffer sql = { 0 };
	bool sent = false;

	kept->count = 0;
	if (error == SAVER_OK && reply->type == REDIS_REPLY_ARRAY) {
		sent = true;
		for (size_t i = 0; sent && i + 2 < reply->elements && kept->count < BATCH; i += 3)
			sent = take_note(kept, saver_reply_element(reply, i),
					 saver_reply_element(reply, i + 1), reply->element[i + 2],
					 &sql);
		kept->more = reply->elements == 3 * BATCH;
	}
	if (!sent || kept->count == 0)
		ended(kept, false);
	else if (hf_buffer_len(&sql) == 0)
		take_notes_away(kept);
	else if (saver_database_run(kept->saver->database, SAVER_LINK_BACKGROUND, &sql, on_written,
				    kept) < 0)
		ended(kept, false);
	hf_buffer_deinit(&sql);
}

static void on_cleaned(const struct saver_outcome *outcome, void *ctx)
{
	ended(ctx, false);
}

/* What is past its time is of no use to a refill. True when a statement is on its way. */
static bool clean(struct saver_kept *kept)
{
	struct saver *saver = kept->saver;
	uint64_t now = hf_loop_now_ms(saver->service->loop);
	struct hf_buffer sql = { 0 };
	bool sent = false;

	if (now - kept->cleaned_ms < CLEAN_MS)
		return false;
	kept->cleaned_ms = now;
	if (hf_buffer_printf(&sql, "DELETE FROM kept WHERE expires_at < %llu LIMIT 1000",
			     (unsigned long long)hf_loop_wall_ms(saver->service->loop)) == 0)
		sent = saver_database_run(saver->database, SAVER_LINK_BACKGROUND, &sql, on_cleaned,
					  kept) == 0;
	hf_buffer_deinit(&sql);
	return sent;
}

static bool is_ours(const struct saver_kept *kept)
{
	const struct saver *saver = kept->saver;
	unsigned slot = kept->node * HF_SLOTS / saver_redis_count(saver->redis);

	while (slot < HF_SLOTS && saver_redis_node_of(saver->redis, (uint16_t)slot) < kept->node)
		slot++;
	return slot < HF_SLOTS && saver_owns(saver, (uint16_t)slot);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct saver_kept *kept = ctx;
	struct saver *saver = kept->saver;
	struct saver_script script;

	if (!kept->more)
		kept->node = (kept->node + 1) % saver_redis_count(saver->redis);
	kept->more = false;
	if (!saver_database_up(saver->database) || !is_ours(kept)) {
		arm(kept, TICK_MS);
		return;
	}
	if (clean(kept))
		return;
	saver_script_init(&script, read_script, 1);
	saver_script_text(&script, "hf:lk");
	saver_script_number(&script, BATCH);
	saver_script_number(&script, HF_MIN((size_t)BATCH_BYTES,
					    saver_database_statement_max(saver->database) / 8));
	for (size_t i = 0; i < SAVER_JOB_FIELDS; i++)
		saver_script_bytes(&script, hf_bytes_of_string(saver_job_field_names[i]));
	if (saver_script_send(saver->redis, kept->node, SAVER_OP_LOG, &script, on_read, kept) !=
	    SAVER_OK)
		ended(kept, false);
}

/* --- And back --- */

int saver_kept_statement(const struct saver_kept_row *after, uint64_t now_ms, unsigned limit,
			 struct hf_buffer *sql)
{
	return hf_buffer_printf(
		sql,
		"SELECT app, kind, id, expires_at, value, frame FROM kept"
		" WHERE (app > %u OR (app = %u AND (kind > %u OR (kind = %u AND id > %llu))))"
		" AND expires_at > %llu ORDER BY app, kind, id LIMIT %u",
		after->app, after->app, after->kind, after->kind, (unsigned long long)after->id,
		(unsigned long long)now_ms, limit);
}

bool saver_kept_restore(struct saver *saver, unsigned node, const struct saver_kept_row *row,
			saver_redis_cb cb, void *ctx, bool *ret_sent)
{
	enum saver_error error = SAVER_OK;
	Hf__Job *job;

	*ret_sent = false;
	if (saver_app_node(saver, row->app) != node)
		return true;
	if (row->kind != 'j') {
		error = saver_log_restore(saver, row, cb, ctx);
	} else {
		job = hf__job__unpack(NULL, row->value.len, row->value.data);
		if (job == NULL || saver_job_check(job) != NULL) {
			++*saver->metrics.unreadable;
			if (job != NULL)
				hf__job__free_unpacked(job, NULL);
			return true;
		}
		error = saver_job_restore(saver, job, cb, ctx);
		hf__job__free_unpacked(job, NULL);
	}
	*ret_sent = error == SAVER_OK;
	return error == SAVER_OK;
}

int saver_kept_new(struct saver *saver, struct saver_kept **ret_kept)
{
	struct saver_kept *kept = calloc(1, sizeof(*kept));

	if (kept == NULL)
		return -ENOMEM;
	kept->saver = saver;
	kept->written =
		hf_metrics_counter(saver->service->metrics, "holdfast_saver_kept_written_total",
				   NULL, "Jobs, broadcasts and recalls written to the database.");
	hf_timer_init(&kept->timer, on_timer, kept);
	arm(kept, TICK_MS);
	*ret_kept = kept;
	return 0;
}

void saver_kept_free(struct saver_kept *kept)
{
	if (kept == NULL)
		return;
	hf_wheel_disarm(&kept->timer);
	free(kept);
}
