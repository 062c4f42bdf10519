#define HF_LOG_MODULE "saver"
#include "write_behind.h"

#include <errno.h>
#include <mysqld_error.h>
#include <stdlib.h>

#include "deletes.h"
#include "hf_log.h"

#define TICK_MS      50
#define BATCH_MAX    1000u
#define DELETE_BATCH 500u /* longer IN lists are no longer read as ranges of the key */
#define EXPIRE_SLICE 1000u
#define EXPIRE_MS    60000u
#define RETRY_MS     500u

/* One statement under way. */
struct batch {
	struct saver_write_behind *wb;
	enum saver_row_state from;
	enum saver_link link;
	bool busy;
	uint32_t
		limit; /* rows; halved when the server refuses, so that one bad row ends up alone */
	uint32_t count;
	uint64_t not_before_ms;
	struct saver_row *rows[BATCH_MAX];
};

struct saver_write_behind {
	struct hf_loop *loop;
	struct saver_redis *redis;
	struct saver_database *database;
	struct saver_write_behind_options options;
	struct saver_rows rows;
	struct saver_deletes deletes;
	struct batch behind, ahead;
	bool deleting, expiring, hurry, missed;
	uint64_t delete_not_before_ms, expire_at_ms;
	struct hf_timer tick;
	struct hf_task commit;
	uint64_t *written, *avoided, *deleted, *left_out, *refused, *expired_rows;
};

/* Rows that are written, until Redis says that it was there all the time. */
struct ping {
	struct saver_write_behind *wb;
	uint32_t count;
	hf_handle handles[];
};

static void on_ping(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct ping *ping = ctx;
	struct saver_rows *rows = &ping->wb->rows;

	for (uint32_t i = 0; error == SAVER_OK && i < ping->count; i++) {
		struct saver_row *row = hf_slab_get(&rows->slab, ping->handles[i]);

		if (row != NULL && row->state == SAVER_ROW_KEPT)
			saver_rows_release(rows, row);
	}
	free(ping);
}

/* Kept rows of a node that can't be asked now stay until it serves again. */
static void ping_node(struct saver_write_behind *wb, unsigned node, struct saver_row **kept,
		      uint32_t count)
{
	struct hf_bytes word = HF_BYTES_LITERAL("PING");
	struct ping *ping = NULL;

	for (uint32_t i = 0; i < count; i++) {
		if (saver_redis_node_of(wb->redis, kept[i]->name.slot) != node)
			continue;
		if (ping == NULL) {
			ping = malloc(sizeof(*ping) + (count - i) * sizeof(ping->handles[0]));
			if (ping == NULL)
				return;
			*ping = (struct ping){ .wb = wb };
		}
		ping->handles[ping->count++] = kept[i]->handle;
	}
	if (ping != NULL &&
	    saver_redis_send(wb->redis, node, SAVER_OP_CHECK, &word, 1, on_ping, ping) != SAVER_OK)
		free(ping);
}

static void queue_delete(struct saver_write_behind *wb, const struct saver_name *name,
			 uint64_t message_id)
{
	if (saver_deletes_push(&wb->deletes, name, message_id) < 0)
		++*wb->left_out; /* the row stays in the database until it expires: harmless */
}

static void tell_waiters(struct saver_row_waiter *waiter, bool ok)
{
	while (waiter != NULL) {
		struct saver_row_waiter *next = waiter->next;

		waiter->committed(waiter, ok);
		waiter = next;
	}
}

static void batch_written(struct batch *batch)
{
	struct saver_write_behind *wb = batch->wb;
	uint32_t kept = 0;

	*wb->written += batch->count;
	batch->limit = HF_MIN(batch->limit * 2, wb->options.batch);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct saver_row *row = batch->rows[i];
		struct saver_row_waiter *waiters = saver_rows_take_waiters(row);
		struct saver_name name = row->name;
		uint64_t id = row->message_id;

		if (saver_rows_written(&wb->rows, row))
			queue_delete(wb, &name, id);
		else
			batch->rows[kept++] = row;
		tell_waiters(waiters, true);
	}
	for (unsigned node = 0; node < saver_redis_count(wb->redis); node++)
		ping_node(wb, node, batch->rows, kept);
}

/* Is it the row that the server can't take, whatever we do? */
static bool is_row_error(unsigned code)
{
	return code == ER_DATA_TOO_LONG || code == ER_NET_PACKET_TOO_LARGE ||
	       code == ER_TRUNCATED_WRONG_VALUE_FOR_FIELD || code == ER_WARN_DATA_OUT_OF_RANGE;
}

static void batch_failed(struct batch *batch, const struct saver_outcome *outcome)
{
	struct saver_write_behind *wb = batch->wb;

	if (outcome->error == -EIO)
		HF_WARN("write_refused", "rows=%u code=%u error=%s", batch->count, outcome->code,
			hf_log_quote(outcome->text, strlen(outcome->text)));
	for (uint32_t i = batch->count; i-- > 0;) { /* backwards: each goes to the head */
		struct saver_row *row = batch->rows[i];
		struct saver_row_waiter *waiters = saver_rows_take_waiters(row);
		struct saver_name name = row->name;
		uint64_t id = row->message_id;

		if (batch->count == 1 && is_row_error(outcome->code)) {
			++*wb->refused; /* Redis still has it */
			saver_rows_drop(&wb->rows, row);
		} else if (saver_rows_failed(&wb->rows, row)) {
			queue_delete(wb, &name, id);
		}
		tell_waiters(waiters, false);
	}
	batch->limit = HF_MAX(batch->limit / 2, 1u);
	batch->not_before_ms = hf_loop_now_ms(wb->loop) + RETRY_MS;
}

static void start_batch(struct batch *batch);

static void on_batch(const struct saver_outcome *outcome, void *ctx)
{
	struct batch *batch = ctx;

	batch->busy = false;
	if (outcome->error == 0)
		batch_written(batch);
	else
		batch_failed(batch, outcome);
	batch->count = 0;
	start_batch(batch);
}

static int append_blob(struct hf_buffer *sql, struct hf_bytes bytes)
{
	return bytes.len == 0 ? hf_buffer_append(sql, "''", 2)
			      : saver_sql_hex(sql, bytes.data, bytes.len);
}

static int append_row(struct hf_buffer *sql, const struct saver_row *row, bool first)
{
	int err = hf_buffer_printf(sql, "%s(%u,", first ? "" : ",", row->name.app);

	if (err == 0)
		err = saver_sql_hex(sql, row->name.bytes, row->name.len);
	if (err == 0)
		err = hf_buffer_printf(sql, ",%llu,%u,%llu,", (unsigned long long)row->message_id,
				       row->class, (unsigned long long)row->expires_ms);
	if (err == 0)
		err = append_blob(sql, saver_frame_delivery(row->frame));
	if (err == 0)
		err = hf_buffer_append(sql, ",", 1);
	if (err == 0)
		err = append_blob(sql, saver_frame_bytes(row->frame));
	return err == 0 ? hf_buffer_append(sql, ")", 1) : err;
}

/* Write what is due, unless a statement is under way already. */
static void start_batch(struct batch *batch)
{
	static const char head[] =
		"INSERT IGNORE INTO messages"
		" (app,registration,message_id,class,expires_at,delivery,frame) VALUES ";
	struct saver_write_behind *wb = batch->wb;
	size_t size_max = saver_database_statement_max(wb->database);
	uint64_t until = wb->hurry ? UINT64_MAX : hf_loop_now_ms(wb->loop) - wb->options.delay_ms;
	struct hf_buffer sql = { 0 };
	struct saver_outcome none = { .error = -ENOMEM, .text = "out of memory" };
	struct saver_row *row;
	int err;

	if (batch->busy || !saver_database_up(wb->database) ||
	    hf_loop_now_ms(wb->loop) < batch->not_before_ms)
		return;
	if (!wb->hurry && hf_loop_now_ms(wb->loop) < wb->options.delay_ms)
		until = 0;
	err = hf_buffer_append(&sql, head, sizeof(head) - 1);
	while (err == 0 && batch->count < batch->limit &&
	       (row = saver_rows_take(&wb->rows, batch->from, until)) != NULL) {
		batch->rows[batch->count++] = row;
		err = append_row(&sql, row, batch->count == 1);
		if (hf_buffer_len(&sql) + 2 * 65536 > size_max)
			break;
	}
	if (batch->count > 0) {
		batch->busy = true;
		if (err == 0)
			err = saver_database_run(wb->database, batch->link, &sql, on_batch, batch);
		if (err < 0) {
			batch->busy = false;
			batch_failed(batch, &none);
			batch->count = 0;
		}
	}
	hf_buffer_deinit(&sql);
}

static void on_commit_task(void *ctx)
{
	struct saver_write_behind *wb = ctx;

	start_batch(&wb->ahead);
}

static void start_deletes(struct saver_write_behind *wb);

static void on_deleted(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_write_behind *wb = ctx;

	wb->deleting = false;
	if (outcome->error == 0) {
		*wb->deleted += outcome->affected;
		saver_deletes_done(&wb->deletes);
		start_deletes(wb);
		return;
	}
	saver_deletes_failed(&wb->deletes);
	wb->delete_not_before_ms = hf_loop_now_ms(wb->loop) + RETRY_MS;
	if (outcome->error == -EIO)
		HF_WARN("delete_refused", "code=%u error=%s", outcome->code,
			hf_log_quote(outcome->text, strlen(outcome->text)));
}

static void start_deletes(struct saver_write_behind *wb)
{
	struct hf_buffer sql = { 0 };
	int err;

	if (wb->deleting || saver_deletes_count(&wb->deletes) == 0 ||
	    !saver_database_up(wb->database) || hf_loop_now_ms(wb->loop) < wb->delete_not_before_ms)
		return;
	err = saver_deletes_statement(&wb->deletes, DELETE_BATCH, &sql);
	if (err == 0)
		err = saver_database_run(wb->database, SAVER_LINK_BACKGROUND, &sql, on_deleted, wb);
	if (err == 0)
		wb->deleting = true;
	else
		saver_deletes_failed(&wb->deletes);
	hf_buffer_deinit(&sql);
}

static void on_expired(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_write_behind *wb = ctx;

	wb->expiring = false;
	if (outcome->error != 0)
		return;
	*wb->expired_rows += outcome->affected;
	if (outcome->affected == EXPIRE_SLICE)
		wb->expire_at_ms =
			hf_loop_now_ms(wb->loop) + TICK_MS; /* more of them: the next slice */
}

static void start_expiry(struct saver_write_behind *wb)
{
	struct hf_buffer sql = { 0 };

	if (wb->expiring || hf_loop_now_ms(wb->loop) < wb->expire_at_ms ||
	    !saver_database_up(wb->database))
		return;
	wb->expire_at_ms = hf_loop_now_ms(wb->loop) + EXPIRE_MS;
	if (hf_buffer_printf(&sql, "DELETE FROM messages WHERE expires_at < %llu LIMIT %u",
			     (unsigned long long)hf_loop_wall_ms(wb->loop), EXPIRE_SLICE) == 0 &&
	    saver_database_run(wb->database, SAVER_LINK_BACKGROUND, &sql, on_expired, wb) == 0)
		wb->expiring = true;
	hf_buffer_deinit(&sql);
}

static void on_tick(struct hf_timer *timer, void *ctx)
{
	struct saver_write_behind *wb = ctx;

	start_deletes(wb);
	start_batch(&wb->behind);
	start_batch(&wb->ahead);
	start_expiry(wb);
	hf_loop_arm(wb->loop, timer, TICK_MS);
}

enum saver_error saver_write_behind_put(struct saver_write_behind *wb,
					const struct saver_name *name, uint64_t message_id,
					uint8_t class, uint64_t expires_ms,
					struct saver_frame *frame, struct saver_row_waiter *waiter)
{
	struct saver_row *row;

	if (waiter != NULL && !saver_database_up(wb->database))
		return SAVER_DATABASE_UNAVAILABLE;
	row = saver_rows_add(&wb->rows, name, message_id, class, expires_ms, frame, waiter,
			     hf_loop_now_ms(wb->loop));
	if (row == NULL) {
		++*wb->left_out;
		wb->missed = true;
		return waiter != NULL ? SAVER_OVERLOADED : SAVER_OK;
	}
	if (waiter != NULL)
		hf_task_schedule(wb->loop, &wb->commit);
	return SAVER_OK;
}

void saver_write_behind_forget(struct saver_write_behind *wb, const struct saver_name *name,
			       uint64_t message_id, bool was_there)
{
	switch (saver_rows_forget(&wb->rows, name, message_id)) {
	case SAVER_ROW_VANISHED:
		++*wb->avoided;
		break;
	case SAVER_ROW_MUST_WAIT:
		break;
	case SAVER_ROW_WRITTEN:
		queue_delete(wb, name, message_id);
		break;
	case SAVER_ROW_UNKNOWN:
		if (was_there)
			queue_delete(wb, name, message_id);
		break;
	}
}

void saver_write_behind_on_database(struct saver_write_behind *wb, bool up)
{
	struct saver_row *row;

	if (up) {
		wb->behind.not_before_ms = wb->ahead.not_before_ms = 0;
		wb->delete_not_before_ms = 0;
		return;
	}
	while ((row = TAILQ_FIRST(&wb->rows.lists[SAVER_ROW_COMMIT])) != NULL) {
		struct saver_row_waiter *waiters = saver_rows_take_waiters(row);
		struct saver_name name = row->name;
		uint64_t id = row->message_id;

		if (saver_rows_give_up(&wb->rows, row))
			queue_delete(wb, &name, id);
		tell_waiters(waiters, false);
	}
}

void saver_write_behind_on_serving(struct saver_write_behind *wb, unsigned node)
{
	struct saver_row *row, *next;

	for (row = TAILQ_FIRST(&wb->rows.lists[SAVER_ROW_KEPT]); row != NULL; row = next) {
		next = TAILQ_NEXT(row, link);
		if (saver_redis_node_of(wb->redis, row->name.slot) == node)
			saver_rows_release(&wb->rows, row);
	}
}

struct saver_rows *saver_write_behind_rows(struct saver_write_behind *wb)
{
	return &wb->rows;
}

size_t saver_write_behind_pending(const struct saver_write_behind *wb)
{
	return wb->rows.counts[SAVER_ROW_QUEUED] + wb->rows.counts[SAVER_ROW_COMMIT] +
	       wb->rows.counts[SAVER_ROW_IN_FLIGHT];
}

size_t saver_write_behind_deletes(const struct saver_write_behind *wb)
{
	return saver_deletes_count(&wb->deletes);
}

uint64_t saver_write_behind_deletes_asked(const struct saver_write_behind *wb)
{
	return wb->deletes.pushed;
}

uint64_t saver_write_behind_deletes_done(const struct saver_write_behind *wb)
{
	return wb->deletes.pushed - saver_deletes_count(&wb->deletes);
}

void saver_write_behind_hurry(struct saver_write_behind *wb)
{
	wb->hurry = true;
	start_batch(&wb->behind);
}

bool saver_write_behind_missed(struct saver_write_behind *wb)
{
	bool missed = wb->missed;

	wb->missed = false;
	return missed;
}

static double read_pending(void *ctx)
{
	return (double)saver_write_behind_pending(ctx);
}

static void make_metrics(struct saver_write_behind *wb, struct hf_metrics *m)
{
	wb->written = hf_metrics_counter(m, "holdfast_saver_rows_written_total", NULL,
					 "Rows inserted into the database.");
	wb->avoided = hf_metrics_counter(m, "holdfast_saver_rows_avoided_total", NULL,
					 "Rows acked before they were due to be written.");
	wb->deleted = hf_metrics_counter(m, "holdfast_saver_rows_deleted_total", NULL,
					 "Rows deleted as their message left the store.");
	wb->expired_rows = hf_metrics_counter(m, "holdfast_saver_rows_expired_total", NULL,
					      "Rows deleted by their expiry.");
	wb->left_out = hf_metrics_counter(
		m, "holdfast_saver_rows_left_out_total", NULL,
		"Writes and deletes over the bound: the sweep, or expiry, makes up for them.");
	wb->refused = hf_metrics_counter(m, "holdfast_saver_rows_refused_total", NULL,
					 "Rows that the database can't take.");
	hf_metrics_gauge_fn(m, "holdfast_saver_rows_pending", NULL,
			    "Rows not yet written to the database.", read_pending, wb);
}

static void batch_init(struct saver_write_behind *wb, struct batch *batch,
		       enum saver_row_state from, enum saver_link link)
{
	batch->wb = wb;
	batch->from = from;
	batch->link = link;
	batch->limit = wb->options.batch;
}

int saver_write_behind_new(struct hf_loop *loop, struct hf_metrics *metrics,
			   struct saver_redis *redis, struct saver_database *database,
			   const struct saver_write_behind_options *options,
			   struct saver_write_behind **ret_wb)
{
	struct saver_write_behind *wb = calloc(1, sizeof(*wb));

	if (wb == NULL)
		return -ENOMEM;
	wb->loop = loop;
	wb->redis = redis;
	wb->database = database;
	wb->options = *options;
	wb->options.batch = HF_MIN(options->batch, BATCH_MAX);
	if (saver_rows_init(&wb->rows, options->rows_max, options->bytes_max) < 0) {
		free(wb);
		return -ENOMEM;
	}
	saver_deletes_init(&wb->deletes, options->rows_max);
	batch_init(wb, &wb->behind, SAVER_ROW_QUEUED, SAVER_LINK_BACKGROUND);
	batch_init(wb, &wb->ahead, SAVER_ROW_COMMIT, SAVER_LINK_COMMIT);
	make_metrics(wb, metrics);
	hf_task_init(&wb->commit, on_commit_task, wb);
	hf_timer_init(&wb->tick, on_tick, wb);
	hf_loop_arm(loop, &wb->tick, TICK_MS);
	*ret_wb = wb;
	return 0;
}

void saver_write_behind_free(struct saver_write_behind *wb)
{
	if (wb == NULL)
		return;
	hf_wheel_disarm(&wb->tick);
	hf_task_cancel(wb->loop, &wb->commit);
	saver_rows_deinit(&wb->rows);
	saver_deletes_deinit(&wb->deletes);
	free(wb);
}
