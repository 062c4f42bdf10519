#define HF_LOG_MODULE "saver"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "collapse.h"
#include "delivery.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "refill_internal.h"
#include "sweep.h"

#define WATCH_MS 5000
#define SLICE    500u

static const char *const reasons[] = {
	[PHASE_DOWN] = "redis is not connected",
	[PHASE_LOOK] = "redis is being looked at",
	[PHASE_EMPTY] = "redis is empty and waits for the database",
	[PHASE_LEASE] = "redis is empty",
	[PHASE_WAIT] = "redis is being refilled by another saver",
	[PHASE_COPY] = "redis is being refilled",
	[PHASE_MARK] = "redis is being refilled",
	[PHASE_RESTORE] = "redis is being refilled",
	[PHASE_SERVE] = NULL,
	[PHASE_REFUSED] = "redis belongs to another store, or to another place in redis.nodes",
};

void saver_refill_set_phase(struct refill_node *node, enum refill_phase phase, uint64_t timer_ms)
{
	node->phase = phase;
	hf_loop_arm(node->refill->saver->service->loop, &node->timer, timer_ms);
}

/* Begin anew with a look; unless the connection is gone, which begins anew by itself. */
void saver_refill_retry(struct refill_node *node)
{
	if (node->phase != PHASE_DOWN)
		saver_refill_set_phase(node, PHASE_LOOK, REFILL_RETRY_MS);
}

bool saver_refill_ask(struct refill_node *node, const struct hf_bytes *words, size_t count,
		      saver_redis_cb cb)
{
	if (saver_redis_send_early(node->refill->saver->redis, node->number, SAVER_OP_REFILL, words,
				   count, cb, node) == SAVER_OK)
		return true;
	saver_refill_retry(node);
	return false;
}

/* --- The store's id --- */

static void on_store_id(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_refill *refill = ctx;
	MYSQL_ROW row = outcome->result != NULL ? mysql_fetch_row(outcome->result) : NULL;

	refill->asking = false;
	if (outcome->error != 0 || row == NULL || row[0] == NULL)
		return; /* asked again */
	refill->store_id = strtoull(row[0], NULL, 10);
	for (unsigned i = 0; i < SAVER_REDIS_NODES_MAX; i++) {
		if (refill->nodes[i].phase == PHASE_EMPTY) /* it waits for this */
			saver_refill_set_phase(&refill->nodes[i], PHASE_EMPTY, 0);
	}
	HF_INFO("store", "id=%016llx", (unsigned long long)refill->store_id);
}

static void on_store_made(const struct saver_outcome *outcome, void *ctx)
{
	static const char query[] = "SELECT id FROM store";
	struct saver_refill *refill = ctx;
	struct hf_buffer sql = { 0 };

	refill->asking = false;
	if (outcome->error == 0 && hf_buffer_append(&sql, query, sizeof(query) - 1) == 0)
		refill->asking = saver_database_run(refill->saver->database, SAVER_LINK_BACKGROUND,
						    &sql, on_store_id, refill) == 0;
	hf_buffer_deinit(&sql);
}

/* Whoever comes first draws the id. */
void saver_refill_ask_store_id(struct saver_refill *refill)
{
	struct hf_buffer sql = { 0 };
	uint64_t id;

	if (refill->store_id != 0 || refill->asking || !saver_database_up(refill->saver->database))
		return;
	hf_random_bytes(&id, sizeof(id));
	if (hf_buffer_printf(&sql, "INSERT IGNORE INTO store (only_row, id) VALUES (1, %llu)",
			     (unsigned long long)(id | 1)) == 0)
		refill->asking = saver_database_run(refill->saver->database, SAVER_LINK_BACKGROUND,
						    &sql, on_store_made, refill) == 0;
	hf_buffer_deinit(&sql);
}

/* --- The last steps: our own rows, then serving --- */

static void serve(struct refill_node *node)
{
	struct saver *saver = node->refill->saver;
	bool changed = node->known_token != node->marker.token;

	node->known_token = node->marker.token;
	saver_redis_serve(saver->redis, node->number);
	saver_refill_set_phase(node, PHASE_SERVE, WATCH_MS);
	HF_INFO("redis_serves", "node=%u token=%016llx", node->number,
		(unsigned long long)node->marker.token);
	saver_write_behind_on_serving(saver->wb, node->number);
	saver_sweep_on_serving(saver->sweep, changed);
	saver_registry_behind_look(saver->registry.behind);
}

static void put_back(struct refill_node *node);

static void one_put(struct refill_node *node, enum saver_error error)
{
	node->failed |= error != SAVER_OK;
	if (--node->pending > 0 || node->phase == PHASE_DOWN)
		return;
	if (node->failed)
		saver_refill_retry(node);
	else
		put_back(node);
}

static void on_put_back(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;

	if (error == SAVER_OK && saver_refill_was_put(reply))
		++*node->refill->restored;
	one_put(node, error);
}

static void on_put_record(const redisReply *reply, enum saver_error error, void *ctx)
{
	one_put(ctx, error);
}

/* HSETNX: what is there already stays as it is. */
bool saver_refill_put_message(struct refill_node *node, const struct saver_name *name, uint64_t id,
			      const struct saver_value *value, saver_redis_cb cb)
{
	struct saver_redis *redis = node->refill->saver->redis;
	Hf__Delivery *delivery = saver_delivery_unpack(value->delivery);
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE], bytes[SAVER_VALUE_MAX];
	struct hf_bytes words[4] = { HF_BYTES_LITERAL("HSETNX"),
				     { key, saver_queue_key_encode(name, key) },
				     { field, sizeof(field) },
				     { bytes, 0 } };
	enum saver_error error;

	if (value->frame.len > SAVER_FRAME_MAX || value->delivery.len > SAVER_DELIVERY_MAX) {
		saver_delivery_free(delivery);
		return true; /* never ours */
	}
	if (delivery != NULL && delivery->collapse_key.len > 0) {
		error = saver_collapse_send(redis, SAVER_OP_REFILL, name, id, value,
					    hf_bytes_of(delivery->collapse_key.data,
							delivery->collapse_key.len),
					    true, cb, node);
	} else {
		saver_field_encode(id, field);
		words[3].len = saver_value_encode(value, bytes);
		error = saver_redis_send_early(redis, node->number, SAVER_OP_REFILL, words, 4, cb,
					       node);
	}
	saver_delivery_free(delivery);
	if (error != SAVER_OK)
		return false;
	node->pending++;
	return true;
}

bool saver_refill_was_put(const redisReply *reply)
{
	struct saver_collapsed collapsed;

	if (reply->type == REDIS_REPLY_INTEGER)
		return reply->integer > 0;
	return saver_collapse_parse(reply, &collapsed) &&
	       collapsed.outcome == SAVER_COLLAPSE_STORED;
}

/* One slice of the rows in memory that belong to this node. */
static bool put_messages(struct refill_node *node)
{
	struct saver *saver = node->refill->saver;
	struct saver_rows *rows = saver_write_behind_rows(saver->wb);
	uint64_t now = hf_loop_wall_ms(saver->service->loop);
	unsigned steps = 0;

	while (node->pending < SLICE && steps++ < 20 * SLICE) {
		hf_handle handle = hf_slab_next(&rows->slab, &node->pos, SLICE);
		struct saver_row *row = handle != 0 ? hf_slab_get(&rows->slab, handle) : NULL;

		if (row == NULL) {
			if (node->pos >= hf_slab_end(&rows->slab))
				break;
			continue;
		}
		if (row->forgotten || row->expires_ms <= now ||
		    saver_node_of(saver, &row->name) != node->number)
			continue;
		if (!saver_refill_put_message(node, &row->name, row->message_id,
					      &(struct saver_value){
						      row->class, row->expires_ms,
						      saver_frame_delivery(row->frame),
						      saver_frame_bytes(row->frame) },
					      on_put_back))
			return false;
	}
	return true;
}

static void put_back(struct refill_node *node)
{
	struct saver *saver = node->refill->saver;
	const struct hf_slab *slab =
		node->registrations ? &saver_registry_behind_rows(saver->registry.behind)->slab
				    : &saver_write_behind_rows(saver->wb)->slab;

	node->failed =
		!(node->registrations ? saver_refill_put_registrations(node, SLICE, on_put_record)
				      : put_messages(node));
	if (node->pending > 0)
		return;
	if (node->failed) {
		saver_refill_retry(node);
	} else if (node->pos < hf_slab_end(slab)) { /* many rows of other nodes */
		saver_refill_set_phase(node, PHASE_RESTORE, 1);
	} else if (!node->registrations) {
		node->registrations = true;
		node->pos = 0;
		saver_refill_set_phase(node, PHASE_RESTORE, 0);
	} else {
		serve(node);
	}
}

void saver_refill_restore(struct refill_node *node)
{
	const struct saver *saver = node->refill->saver;

	node->pos = 0;
	node->pending = 0;
	node->registrations = false;
	/* The same content - unless Redis does not sync each write: then a restart or a fail-over
	 * may have cost it the latest of them, which we still hold. */
	if (node->known_token == node->marker.token &&
	    saver_health_weakness(saver->health, node->number) == NULL) {
		serve(node);
		return;
	}
	node->phase = PHASE_RESTORE;
	hf_wheel_disarm(&node->timer);
	put_back(node);
}

/* --- Looking --- */

static void on_look(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;
	struct saver_refill *refill = node->refill;
	struct saver_marker found;

	if (node->phase != PHASE_LOOK)
		return;
	if (error != SAVER_OK) {
		saver_refill_retry(node);
	} else if (reply->type == REDIS_REPLY_NIL) {
		saver_refill_begin_copy(node);
	} else if (!saver_marker_parse(&found, saver_reply_bytes(reply)) ||
		   !saver_marker_fits(&found, refill->saver, refill->store_id, node->number)) {
		HF_ERROR("redis_refused", "node=%u marker=%s why=%s", node->number,
			 hf_log_quote(reply->str, reply->len), "\"of another store or place\"");
		saver_refill_set_phase(node, PHASE_REFUSED, REFILL_RETRY_MS * 5);
	} else {
		node->marker = found;
		saver_refill_restore(node);
	}
}

static void look(struct refill_node *node)
{
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"), store_key };

	node->tries++;
	saver_refill_ask_store_id(node->refill);
	saver_refill_set_phase(node, PHASE_LOOK, REFILL_RETRY_MS * 10);
	saver_refill_ask(node, words, 2, on_look);
}

/* While serving: is it still the same content? FLUSHALL and a swapped disk need no lost connection.
 */
static void on_watch(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct refill_node *node = ctx;
	struct saver_refill *refill = node->refill;
	struct saver_marker found;

	if (node->phase != PHASE_SERVE || error != SAVER_OK)
		return;
	if (reply->type != REDIS_REPLY_STRING ||
	    !saver_marker_parse(&found, saver_reply_bytes(reply)) ||
	    found.token != node->known_token ||
	    !saver_marker_fits(&found, refill->saver, refill->store_id, node->number)) {
		HF_ERROR("redis_changed", "node=%u why=%s", node->number,
			 "\"emptied or replaced while serving\"");
		saver_redis_reset(refill->saver->redis, node->number, "its content changed");
	}
}

static void watch(struct refill_node *node)
{
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"), store_key };

	saver_refill_ask_store_id(node->refill);
	saver_health_check(node->refill->saver->health, node->number);
	saver_refill_set_phase(node, PHASE_SERVE, WATCH_MS);
	(void)!saver_redis_send_early(node->refill->saver->redis, node->number, SAVER_OP_CHECK,
				      words, 2, on_watch, node);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct refill_node *node = ctx;

	switch (node->phase) {
	case PHASE_DOWN:
		break;
	case PHASE_RESTORE:
		put_back(node);
		break;
	case PHASE_SERVE:
		watch(node);
		break;
	default: /* a wait is over, or an answer never came: look again */
		look(node);
		break;
	}
}

void saver_refill_on_connected(struct saver_refill *refill, unsigned number)
{
	saver_health_check(refill->saver->health, number);
	refill->nodes[number].deletes_before = saver_write_behind_deletes_asked(refill->saver->wb);
	look(&refill->nodes[number]);
}

void saver_refill_on_lost(struct saver_refill *refill, unsigned number)
{
	struct refill_node *node = &refill->nodes[number];

	node->phase = PHASE_DOWN;
	node->tries++;
	hf_wheel_disarm(&node->timer);
}

const char *saver_refill_reason(const struct saver_refill *refill, unsigned number)
{
	return reasons[refill->nodes[number].phase];
}

int saver_refill_new(struct saver *saver, struct saver_refill **ret_refill)
{
	struct saver_refill *refill = calloc(1, sizeof(*refill));

	if (refill == NULL)
		return -ENOMEM;
	refill->saver = saver;
	snprintf(refill->lease, sizeof(refill->lease), "%016llx",
		 (unsigned long long)saver->service->instance.incarnation);
	for (unsigned i = 0; i < SAVER_REDIS_NODES_MAX; i++) {
		refill->nodes[i].refill = refill;
		refill->nodes[i].number = i;
		hf_timer_init(&refill->nodes[i].timer, on_timer, &refill->nodes[i]);
	}
	refill->refilled =
		hf_metrics_counter(saver->service->metrics,
				   "holdfast_saver_refilled_messages_total", "from=\"database\"",
				   "Messages put back into an empty Redis.");
	refill->restored =
		hf_metrics_counter(saver->service->metrics,
				   "holdfast_saver_refilled_messages_total", "from=\"memory\"",
				   "Messages put back into an empty Redis.");
	refill->refilled_registrations =
		hf_metrics_counter(saver->service->metrics,
				   "holdfast_saver_refilled_registrations_total",
				   "from=\"database\"", "Records put back into an empty Redis.");
	refill->restored_registrations =
		hf_metrics_counter(saver->service->metrics,
				   "holdfast_saver_refilled_registrations_total", "from=\"memory\"",
				   "Records put back into an empty Redis.");
	*ret_refill = refill;
	return 0;
}

void saver_refill_free(struct saver_refill *refill)
{
	if (refill == NULL)
		return;
	for (unsigned i = 0; i < SAVER_REDIS_NODES_MAX; i++)
		hf_wheel_disarm(&refill->nodes[i].timer);
	free(refill);
}
