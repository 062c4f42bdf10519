/* services/saver/refill_copy.c - filling an empty node: one saver, under a lease, copies the rows
 * of the database page by page and then writes hf:store. */
#define HF_LOG_MODULE "saver"
#include <stdlib.h>

#include "hf_log.h"
#include "refill_internal.h"

#define POLL_MS    200
#define LEASE_TEXT "10000" /* milliseconds; renewed with every page */
#define PAGE_ROWS  200u
#define KEPT_ROWS  20u /* they may be large */

static const struct hf_bytes lease_key = { (const uint8_t *)"hf:refill", 9 };

static void copy_page(struct refill_node *node);

static void copy_table(struct refill_node *node, bool registrations)
{
	node->registrations = registrations;
	node->kept = false;
	node->has_last = false;
	copy_page(node);
}

static void copy_kept(struct refill_node *node)
{
	node->kept = true;
	node->last_kept = (struct saver_kept_row){ 0 };
	copy_page(node);
}

static void on_marked(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("DEL"), lease_key };

	if (node->phase != PHASE_MARK)
		return;
	if (error != SAVER_OK) {
		saver_refill_retry(node);
		return;
	}
	HF_INFO("refilled", "node=%u rows=%llu", node->number, (unsigned long long)node->copied);
	/* The lease lapses by itself if this does not get through. */
	(void)!saver_redis_send_early(node->refill->saver->redis, node->number, SAVER_OP_REFILL,
				      words, 2, saver_redis_ignore, NULL);
	saver_refill_restore(node);
}

static void mark(struct refill_node *node)
{
	char text[SAVER_MARKER_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("SET"), store_key };

	saver_marker_set(&node->marker, node->refill->saver, node->refill->store_id, node->number);
	words[2] = hf_bytes_of(text, saver_marker_format(&node->marker, text));
	saver_refill_set_phase(node, PHASE_MARK, REFILL_RETRY_MS * 10);
	saver_refill_ask(node, words, 3, on_marked);
}

static void page_copied(struct refill_node *node)
{
	if (node->failed)
		saver_refill_retry(node);
	else if (!node->last_page)
		copy_page(node);
	else if (node->kept)
		mark(node);
	else if (node->registrations)
		copy_kept(node);
	else
		copy_table(node, true);
}

static void command_done(struct refill_node *node, enum saver_error error)
{
	node->failed |= error != SAVER_OK;
	if (--node->pending == 0 && node->phase == PHASE_COPY)
		page_copied(node);
}

static void on_copied(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	if (error == SAVER_OK && saver_refill_was_put(reply)) {
		node->copied++;
		++*node->refill->refilled;
	}
	command_done(node, error);
}

static void on_record_copied(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	*node->refill->refilled_registrations +=
		error == SAVER_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
	command_done(node, error);
}

static void on_index_copied(const redisReply *reply, enum saver_error error, void *ctx)
{
	command_done(ctx, error);
}

static bool copy_message(struct refill_node *node, MYSQL_ROW row, const unsigned long *lengths)
{
	struct saver *saver = node->refill->saver;
	struct saver_value value = { .class = (uint8_t)strtoul(row[3], NULL, 10),
				     .expires_ms = strtoull(row[4], NULL, 10),
				     .delivery = hf_bytes_of(row[5], lengths[5]),
				     .frame = hf_bytes_of(row[6], lengths[6]) };

	node->last_id = strtoull(row[2], NULL, 10);
	node->has_last = true;
	if (!saver_name_set(&node->last, saver->service->salt, (uint32_t)strtoul(row[0], NULL, 10),
			    row[1], lengths[1]) ||
	    value.expires_ms <= hf_loop_wall_ms(saver->service->loop) ||
	    saver_node_of(saver, &node->last) != node->number)
		return true;
	return saver_refill_put_message(node, &node->last, node->last_id, &value, on_copied);
}

static void on_kept_copied(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	node->copied += error == SAVER_OK;
	command_done(node, error);
}

static bool copy_kept_row(struct refill_node *node, MYSQL_ROW row, const unsigned long *lengths)
{
	struct saver_kept_row *last = &node->last_kept;
	bool sent, ok;

	*last = (struct saver_kept_row){ .app = (uint32_t)strtoul(row[0], NULL, 10),
					 .kind = (uint8_t)strtoul(row[1], NULL, 10),
					 .id = strtoull(row[2], NULL, 10),
					 .expires_ms = strtoull(row[3], NULL, 10),
					 .value = hf_bytes_of(row[4], lengths[4]),
					 .frame = hf_bytes_of(row[5], lengths[5]) };
	ok = saver_kept_restore(node->refill->saver, node->number, last, on_kept_copied, node,
				&sent);
	node->pending += sent;
	return ok;
}

static bool copy_row(struct refill_node *node, MYSQL_ROW row, const unsigned long *lengths)
{
	if (node->kept)
		return copy_kept_row(node, row, lengths);
	return node->registrations
		       ? saver_refill_copy_registration(node, row, lengths, on_record_copied,
							on_index_copied)
		       : copy_message(node, row, lengths);
}

static void on_page(const struct saver_outcome *outcome, void *ctx)
{
	struct refill_node *node = ctx;
	unsigned rows = 0;
	MYSQL_ROW row;

	node->querying = false;
	if (node->query_try != node->tries || node->phase != PHASE_COPY)
		return; /* the node was lost meanwhile */
	if (outcome->error != 0 || outcome->result == NULL) {
		saver_refill_retry(node);
		return;
	}
	node->pending = 0;
	node->failed = false;
	while ((row = mysql_fetch_row(outcome->result)) != NULL) {
		rows++;
		if (!copy_row(node, row, mysql_fetch_lengths(outcome->result))) {
			node->failed = true;
			break;
		}
	}
	node->last_page = rows < (node->kept ? KEPT_ROWS : PAGE_ROWS);
	if (node->pending == 0)
		page_copied(node);
}

/* The rows after the last one, in the order of the primary key. */
static int page_statement(const struct refill_node *node, struct hf_buffer *sql)
{
	const struct saver_name *last = &node->last;
	int err;

	if (node->kept)
		return saver_kept_statement(&node->last_kept,
					    hf_loop_wall_ms(node->refill->saver->service->loop),
					    KEPT_ROWS, sql);
	if (node->registrations)
		return saver_refill_registrations_statement(node, PAGE_ROWS, sql);
	err = hf_buffer_printf(sql, "SELECT app, registration, message_id, class, expires_at,"
				    " delivery, frame FROM messages");

	if (err == 0 && node->has_last) {
		err = hf_buffer_printf(sql, " WHERE app > %u OR (app = %u AND registration > ",
				       last->app, last->app);
		if (err == 0)
			err = saver_sql_hex(sql, last->bytes, last->len);
		if (err == 0)
			err = hf_buffer_printf(sql,
					       ") OR (app = %u AND registration = ", last->app);
		if (err == 0)
			err = saver_sql_hex(sql, last->bytes, last->len);
		if (err == 0)
			err = hf_buffer_printf(sql, " AND message_id > %llu)",
					       (unsigned long long)node->last_id);
	}
	if (err == 0)
		err = hf_buffer_printf(sql, " ORDER BY app, registration, message_id LIMIT %u",
				       PAGE_ROWS);
	return err;
}

static void on_renewed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;
	struct hf_buffer sql = { 0 };

	if (node->phase != PHASE_COPY)
		return;
	if (error == SAVER_OK && page_statement(node, &sql) == 0 &&
	    saver_database_run(node->refill->saver->database, SAVER_LINK_BACKGROUND, &sql, on_page,
			       node) == 0) {
		node->querying = true;
		node->query_try = node->tries;
	} else {
		saver_refill_retry(node);
	}
	hf_buffer_deinit(&sql);
}

/* Still ours? Who was paused for longer than the lease leaves the work to who took over. */
static void on_lease_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	if (node->phase == PHASE_COPY && error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_STRING || strcmp(reply->str, node->refill->lease) != 0))
		saver_refill_set_phase(node, PHASE_WAIT, POLL_MS);
}

static void copy_page(struct refill_node *node)
{
	struct hf_bytes get[2] = { HF_BYTES_LITERAL("GET"), lease_key };
	struct hf_bytes renew[3] = { HF_BYTES_LITERAL("PEXPIRE"), lease_key,
				     HF_BYTES_LITERAL(LEASE_TEXT) };

	hf_wheel_disarm(&node->timer);
	if (saver_refill_ask(node, get, 2, on_lease_read))
		saver_refill_ask(node, renew, 3, on_renewed);
}

static void on_leased(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	if (node->phase != PHASE_LEASE)
		return;
	if (error != SAVER_OK) {
		saver_refill_retry(node);
	} else if (reply->type != REDIS_REPLY_STATUS) {
		saver_refill_set_phase(node, PHASE_WAIT, POLL_MS);
	} else {
		HF_WARN("refill_begins", "node=%u", node->number);
		node->phase = PHASE_COPY;
		node->copied = 0;
		copy_table(node, false);
	}
}

/* The node is empty. Our deletes first: what was acked shall not come back. Those of other nodes go
 * on being asked for meanwhile, and are not waited for. */
void saver_refill_begin_copy(struct refill_node *node)
{
	struct saver_refill *refill = node->refill;
	struct hf_bytes words[6] = { HF_BYTES_LITERAL("SET"),
				     lease_key,
				     hf_bytes_of_string(refill->lease),
				     HF_BYTES_LITERAL("NX"),
				     HF_BYTES_LITERAL("PX"),
				     HF_BYTES_LITERAL(LEASE_TEXT) };

	saver_refill_ask_store_id(refill);
	if (refill->store_id == 0 || node->querying ||
	    !saver_database_up(refill->saver->database) ||
	    saver_write_behind_deletes_done(refill->saver->wb) < node->deletes_before) {
		saver_refill_set_phase(node, PHASE_EMPTY, POLL_MS);
		return;
	}
	saver_refill_set_phase(node, PHASE_LEASE, REFILL_RETRY_MS * 10);
	saver_refill_ask(node, words, 6, on_leased);
}
