#define HF_LOG_MODULE "saver"
#include "registry_behind.h"

#include <errno.h>
#include <mysqld_error.h>
#include <stdlib.h>

#include "hf_log.h"
#include "registry_look.h"
#include "registry_sql.h"
#include "saver.h"

#define TICK_MS   50
#define BATCH_MAX 1000u
#define RETRY_MS  500u
#define TOLD_MAX  200u                    /* names that Redis is told of at once */
#define TELL_MAX  10u                     /* times in a tick */
#define ROW_BYTES (4u * SAVER_RECORD_MAX) /* the most that one row adds to a statement */

struct saver_registry_behind {
	struct saver *saver;
	struct saver_registry_rows rows;
	struct saver_registry_look look;
	struct hf_timer tick;
	bool hurry, missed;
	/* The batch under way. */
	bool busy;
	unsigned step;
	uint32_t count,
		limit; /* rows; halved when the server refuses, so that a bad one is found */
	uint64_t not_before_ms;
	struct saver_registry_sql sql;
	struct saver_registry_row *batch[BATCH_MAX];
	uint64_t *written, *left_out, *refused;
};

static void run_step(struct saver_registry_behind *behind);
static void start_batch(struct saver_registry_behind *behind);

/* --- Batches --- */

static void batch_ended(struct saver_registry_behind *behind)
{
	saver_registry_sql_deinit(&behind->sql);
	behind->sql = (struct saver_registry_sql){ 0 };
	behind->busy = false;
	behind->count = 0;
}

/* After a full one the next begins at once; else there is time until the next tick, in which it
 * grows. */
static void batch_written(struct saver_registry_behind *behind)
{
	bool full = behind->count == behind->limit;

	*behind->written += behind->count;
	behind->limit = HF_MIN(behind->limit * 2, BATCH_MAX);
	for (uint32_t i = 0; i < behind->count; i++)
		saver_registry_rows_written(&behind->rows, behind->batch[i]);
	batch_ended(behind);
	if (full)
		start_batch(behind);
}

/* Is it the row that the server can't take, whatever we do? */
static bool is_row_error(unsigned code)
{
	return code == ER_DATA_TOO_LONG || code == ER_NET_PACKET_TOO_LARGE ||
	       code == ER_WARN_DATA_OUT_OF_RANGE;
}

static void batch_failed(struct saver_registry_behind *behind, const struct saver_outcome *outcome)
{
	if (outcome->error == -EIO)
		HF_WARN("registry_write_refused", "rows=%u code=%u error=%s", behind->count,
			outcome->code, hf_log_quote(outcome->text, strlen(outcome->text)));
	for (uint32_t i = behind->count; i-- > 0;) { /* backwards: each goes to the head */
		if (behind->count == 1 && is_row_error(outcome->code)) {
			++*behind->refused; /* Redis still has it */
			saver_registry_rows_drop(&behind->rows, behind->batch[i]);
		} else {
			saver_registry_rows_failed(&behind->rows, behind->batch[i]);
		}
	}
	behind->limit = HF_MAX(behind->limit / 2, 1u);
	behind->not_before_ms = hf_loop_now_ms(behind->saver->service->loop) + RETRY_MS;
	batch_ended(behind);
}

static void on_step(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_registry_behind *behind = ctx;

	if (outcome->error != 0) {
		batch_failed(behind, outcome);
		return;
	}
	behind->step++;
	run_step(behind);
}

static void run_step(struct saver_registry_behind *behind)
{
	struct saver_outcome none = { .error = -ENOTCONN, .text = "" };
	struct hf_buffer *steps = behind->sql.steps;

	while (behind->step < SAVER_REGISTRY_STEPS && hf_buffer_len(&steps[behind->step]) == 0)
		behind->step++;
	if (behind->step == SAVER_REGISTRY_STEPS)
		batch_written(behind);
	else if (saver_database_run(behind->saver->database, SAVER_LINK_BACKGROUND,
				    &steps[behind->step], on_step, behind) < 0)
		batch_failed(behind, &none);
}

static void start_batch(struct saver_registry_behind *behind)
{
	struct saver *saver = behind->saver;
	uint64_t now = hf_loop_now_ms(saver->service->loop),
		 delay = saver->config->database_delay_ms;
	uint64_t until = behind->hurry ? UINT64_MAX : now > delay ? now - delay : 0;
	size_t size_max = saver_database_statement_max(saver->database);
	struct saver_outcome none = { .error = -ENOMEM, .text = "" };
	struct saver_registry_row *row;
	int err = 0;

	if (behind->busy || !saver_database_up(saver->database) || now < behind->not_before_ms)
		return;
	while (err == 0 && behind->count < behind->limit &&
	       saver_registry_sql_len(&behind->sql) + ROW_BYTES < size_max &&
	       (row = saver_registry_rows_take(&behind->rows, until)) != NULL) {
		behind->batch[behind->count++] = row;
		err = saver_registry_sql_add(&behind->sql, row);
	}
	if (behind->count == 0)
		return;
	if (err == 0)
		err = saver_registry_sql_end(&behind->sql);
	behind->busy = true;
	behind->step = 0;
	if (err == 0)
		run_step(behind);
	else
		batch_failed(behind, &none);
}

/* --- What is written leaves hf:d --- */

struct told {
	struct saver_registry_behind *behind;
	uint32_t count;
	hf_handle handles[TOLD_MAX];
};

static void on_told(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct told *told = ctx;
	struct saver_registry_rows *rows = &told->behind->rows;

	for (uint32_t i = 0; i < told->count; i++) {
		struct saver_registry_row *row = hf_slab_get(&rows->slab, told->handles[i]);

		if (row == NULL || row->state != SAVER_REGISTRY_KEPT || !row->asked)
			continue;
		row->asked = false;
		if (error == SAVER_OK)
			saver_registry_rows_drop(rows, row);
	}
	free(told);
}

/* One command for kept rows of a node; false: there are no more. Not for those that are being
 * changed: the change has noted its name again, perhaps already, and that must stay. */
static bool tell_node(struct saver_registry_behind *behind, unsigned node)
{
	struct saver *saver = behind->saver;
	uint8_t keys[TOLD_MAX][SAVER_KEY_MAX];
	struct hf_bytes words[2 + TOLD_MAX] = { HF_BYTES_LITERAL("SREM"),
						HF_BYTES_LITERAL(SAVER_DIRTY_KEY) };
	struct told *told = malloc(sizeof(*told));
	struct saver_registry_row *row;
	unsigned looked = 0, count;

	if (told == NULL)
		return false;
	*told = (struct told){ .behind = behind };
	TAILQ_FOREACH (row, &behind->rows.lists[SAVER_REGISTRY_KEPT], link) {
		if (told->count == TOLD_MAX || looked++ == 10 * TOLD_MAX)
			break;
		if (row->asked || saver_node_of(saver, &row->name) != node ||
		    saver_edit_runs(&saver->registry.edits, &row->name))
			continue;
		words[2 + told->count] =
			hf_bytes_of(keys[told->count],
				    saver_record_key_encode(&row->name, keys[told->count]));
		told->handles[told->count++] = row->handle;
		row->asked = true;
	}
	count = told->count;
	if (count == 0)
		free(told);
	else if (saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_WRITE, words,
				  2 + told->count, on_told, told) != SAVER_OK)
		on_told(NULL, SAVER_STORE_UNAVAILABLE, told);
	return count == TOLD_MAX;
}

static void tell_redis(struct saver_registry_behind *behind)
{
	if (behind->rows.counts[SAVER_REGISTRY_KEPT] == 0)
		return;
	for (unsigned node = 0; node < saver_redis_count(behind->saver->redis); node++) {
		unsigned times = 0;

		if (saver_redis_state(behind->saver->redis, node) != SAVER_NODE_SERVING)
			continue;
		while (times < TELL_MAX && tell_node(behind, node))
			times++;
	}
}

static void on_tick(struct hf_timer *timer, void *ctx)
{
	struct saver_registry_behind *behind = ctx;

	tell_redis(behind);
	start_batch(behind);
	if (behind->missed && saver_registry_behind_has_room(behind)) {
		behind->missed = false;
		saver_registry_look_soon(&behind->look);
	}
	hf_loop_arm(behind->saver->service->loop, timer, TICK_MS);
}

/* --- For the others --- */

void saver_registry_behind_put(struct saver_registry_behind *behind, const struct saver_name *name,
			       struct hf_bytes value, struct saver_registry_work work)
{
	if (saver_registry_rows_put(&behind->rows, name, value, work,
				    hf_loop_now_ms(behind->saver->service->loop)))
		return;
	++*behind->left_out;
	behind->missed = true;
}

struct saver_registry_rows *saver_registry_behind_rows(struct saver_registry_behind *behind)
{
	return &behind->rows;
}

bool saver_registry_behind_has_room(const struct saver_registry_behind *behind)
{
	return behind->rows.slab.live < behind->saver->config->registry_rows / 2;
}

size_t saver_registry_behind_pending(const struct saver_registry_behind *behind)
{
	return behind->rows.counts[SAVER_REGISTRY_QUEUED] +
	       behind->rows.counts[SAVER_REGISTRY_IN_FLIGHT];
}

void saver_registry_behind_hurry(struct saver_registry_behind *behind)
{
	behind->hurry = true;
	start_batch(behind);
}

void saver_registry_behind_look(struct saver_registry_behind *behind)
{
	saver_registry_look_soon(&behind->look);
}

static double read_pending(void *ctx)
{
	return (double)saver_registry_behind_pending(ctx);
}

int saver_registry_behind_new(struct saver *saver, struct saver_registry_behind **ret_behind)
{
	struct saver_registry_behind *behind = calloc(1, sizeof(*behind));
	struct hf_metrics *m = saver->service->metrics;

	if (behind == NULL)
		return -ENOMEM;
	behind->saver = saver;
	behind->limit = BATCH_MAX;
	if (saver_registry_rows_init(&behind->rows, (uint32_t)saver->config->registry_rows,
				     saver->config->registry_bytes) < 0) {
		free(behind);
		return -ENOMEM;
	}
	behind->written = hf_metrics_counter(m, "holdfast_saver_registry_rows_written_total", NULL,
					     "Records of registrations written to the database.");
	behind->left_out = hf_metrics_counter(
		m, "holdfast_saver_registry_rows_left_out_total", NULL,
		"Records over registry.rows or registry.bytes: a later look makes up for them.");
	behind->refused = hf_metrics_counter(m, "holdfast_saver_registry_rows_refused_total", NULL,
					     "Records that the database can't take.");
	hf_metrics_gauge_fn(m, "holdfast_saver_registry_rows_pending", NULL,
			    "Records not yet written to the database.", read_pending, behind);
	saver_registry_look_init(&behind->look, saver);
	hf_timer_init(&behind->tick, on_tick, behind);
	hf_loop_arm(saver->service->loop, &behind->tick, TICK_MS);
	*ret_behind = behind;
	return 0;
}

void saver_registry_behind_free(struct saver_registry_behind *behind)
{
	if (behind == NULL)
		return;
	hf_wheel_disarm(&behind->tick);
	saver_registry_look_deinit(&behind->look);
	saver_registry_sql_deinit(&behind->sql);
	saver_registry_rows_deinit(&behind->rows);
	free(behind);
}
