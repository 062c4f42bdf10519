#define HF_LOG_MODULE "saver"
#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "compare.h"
#include "hf_log.h"
#include "log_cache.h"
#include "saver.h"
#include "walk.h"

#define SCAN_COUNT   128u
#define WALKS_MAX    16u /* queues read at the same time */
#define EXPIRED_MAX  256u
#define WAIT_MS      200
#define YOUNG_MS     10000u /* younger than this: its writer has it in hand */
#define FAST_STEP_MS 1
#define AGAIN_MS     15000u

/* Reads one queue after the other. */
struct walker {
	struct saver_walk walk;
	struct saver_sweep *sweep;
	size_t expired_count, recalled_count;
	uint64_t expired[EXPIRED_MAX], recalled[EXPIRED_MAX];
};

struct saver_sweep {
	struct saver *saver;
	struct hf_timer timer;
	bool active, fast, hurry, failed;
	bool partial; /* a node that was away is left out of this pass */
	bool again;   /* and was left out of a fast one: it has to be looked at when it is back */
	unsigned node;
	char cursor[24];
	uint64_t pass_started_ms, pause_ms;
	struct saver_name *names; /* of this batch */
	size_t name_count, name_next, names_capacity;
	unsigned running; /* walkers */
	struct walker walkers[WALKS_MAX];
	struct saver_compare compare;
	uint64_t seen, young;
	int64_t *offline;
	uint64_t *passes, *requeued;
};

static void arm(struct saver_sweep *sweep, uint64_t delay_ms)
{
	hf_loop_arm(sweep->saver->service->loop, &sweep->timer, delay_ms);
}

static void pass_ended(struct saver_sweep *sweep)
{
	uint64_t now = hf_loop_now_ms(sweep->saver->service->loop);
	uint64_t due = sweep->pass_started_ms + sweep->saver->config->sweep_period_ms;

	sweep->active = false;
	++*sweep->passes;
	if (!sweep->partial)
		*sweep->offline = (int64_t)sweep->seen;
	sweep->again |= sweep->partial && sweep->fast;
	if (sweep->fast)
		HF_INFO("swept", "messages=%llu ms=%llu", (unsigned long long)sweep->seen,
			(unsigned long long)(now - sweep->pass_started_ms));
	if (sweep->fast &&
	    sweep->young > 0) /* perhaps left by a crash: look when they are old enough */
		due = HF_MIN(due, now + AGAIN_MS);
	arm(sweep, sweep->hurry ? FAST_STEP_MS : (due > now ? due - now : FAST_STEP_MS));
}

/* A batch is through, or could not be read: the same again soon, or the next. */
static void batch_ended(struct saver_sweep *sweep)
{
	if (sweep->failed) {
		sweep->failed = false;
		sweep->active = false;
		sweep->hurry |= sweep->fast;
		arm(sweep, WAIT_MS * 5);
		return;
	}
	if (strcmp(sweep->cursor, "0") == 0 &&
	    ++sweep->node == saver_redis_count(sweep->saver->redis))
		pass_ended(sweep);
	else
		arm(sweep, sweep->fast ? FAST_STEP_MS : sweep->pause_ms);
}

static void on_compared(struct saver_compare *compare, size_t requeued, void *ctx)
{
	struct saver_sweep *sweep = ctx;

	*sweep->requeued += requeued;
	batch_ended(sweep);
}

/* --- One queue --- */

static void on_message(struct saver_walk *walk, uint64_t id, const struct saver_value *value)
{
	struct walker *walker = HF_CONTAINER_OF(walk, struct walker, walk);
	struct saver_sweep *sweep = walker->sweep;
	struct saver *saver = sweep->saver;
	uint64_t now = hf_loop_wall_ms(saver->service->loop);
	const struct saver_log_app *app;

	if (value == NULL) {
		++*saver->metrics.unreadable;
		return;
	}
	if (value->expires_ms <= now) {
		if (walker->expired_count < EXPIRED_MAX) /* the rest in the next pass */
			walker->expired[walker->expired_count++] = id;
		return;
	}
	/* By what is known of the log; what was recalled just now is met by the next pass. */
	app = saver_log_known(saver->log, walk->name.app);
	if (app != NULL && saver_log_is_recalled(app, id, now)) {
		if (walker->recalled_count < EXPIRED_MAX)
			walker->recalled[walker->recalled_count++] = id;
		return;
	}
	sweep->seen++;
	if (sweep->fast && !saver_owed_add_due(&saver->owed, &walk->name, id,
					       hf_loop_now_ms(saver->service->loop)))
		++*saver->metrics.owed_overflow;
	if (hf_id_wall_ms(id) + YOUNG_MS > now)
		sweep->young++;
	else if (saver_rows_find(saver_write_behind_rows(saver->wb), &walk->name, id) == NULL)
		saver_compare_add(&sweep->compare, &walk->name, id);
}

/* Nothing but the count of what the cap dropped is left, and all that it was about is gone too. */
static void remove_lost_field(struct saver *saver, const struct saver_name *name)
{
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HDEL"),
				     { key, saver_queue_key_encode(name, key) },
				     HF_BYTES_LITERAL(SAVER_LOST_FIELD) };

	(void)!saver_redis_send_slot(saver->redis, name->slot, SAVER_OP_SWEEP, words, 3,
				     saver_redis_ignore, NULL);
}

static void next_walk(struct walker *walker);

static void on_walked(struct saver_walk *walk, enum saver_error error)
{
	struct walker *walker = HF_CONTAINER_OF(walk, struct walker, walk);
	struct saver_sweep *sweep = walker->sweep;
	struct saver *saver = sweep->saver;

	sweep->running--;
	sweep->failed |= error != SAVER_OK;
	if (walker->expired_count > 0 &&
	    saver_remove(saver, &walk->name, walker->expired, walker->expired_count, SAVER_EXPIRED,
			 NULL, NULL) != SAVER_OK)
		sweep->failed = true;
	if (walker->recalled_count > 0 &&
	    saver_remove(saver, &walk->name, walker->recalled, walker->recalled_count,
			 SAVER_RECALLED, NULL, NULL) != SAVER_OK)
		sweep->failed = true;
	if (error == SAVER_OK && walk->has_lost_field && walk->messages == 0)
		remove_lost_field(saver, &walk->name);
	next_walk(walker);
	if (sweep->running > 0 || !sweep->active)
		return;
	if (sweep->failed)
		batch_ended(sweep);
	else
		saver_compare_run(&sweep->compare);
}

static void next_walk(struct walker *walker)
{
	struct saver_sweep *sweep = walker->sweep;

	while (!sweep->failed && sweep->name_next < sweep->name_count) {
		walker->walk.name = sweep->names[sweep->name_next++];
		walker->expired_count = walker->recalled_count = 0;
		saver_log_touch(sweep->saver->log, walker->walk.name.app);
		if (saver_walk_start(&walker->walk) == SAVER_OK) {
			sweep->running++;
			return;
		}
		sweep->failed = true;
	}
}

/* --- A batch: some keys of one node --- */

static bool take_name(struct saver_sweep *sweep, const redisReply *key)
{
	struct saver *saver = sweep->saver;
	struct saver_name name;
	struct hf_bytes registration;
	uint32_t app;

	if (!saver_queue_key_decode(saver_reply_bytes(key), &app, &registration) ||
	    !saver_name_set(&name, saver->service->salt, app, registration.data,
			    registration.len) ||
	    !saver_owns(saver, name.slot) || saver_node_of(saver, &name) != sweep->node)
		return true;
	if (sweep->name_count == sweep->names_capacity) {
		size_t capacity = HF_MAX(2 * sweep->names_capacity, (size_t)SCAN_COUNT);
		struct saver_name *names = realloc(sweep->names, capacity * sizeof(*names));

		if (names == NULL)
			return false;
		sweep->names = names;
		sweep->names_capacity = capacity;
	}
	sweep->names[sweep->name_count++] = name;
	return true;
}

static void on_scanned(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_sweep *sweep = ctx;

	sweep->failed = error != SAVER_OK || reply->type != REDIS_REPLY_ARRAY ||
			reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
			reply->element[1]->type != REDIS_REPLY_ARRAY ||
			reply->element[0]->len >= sizeof(sweep->cursor);
	if (!sweep->failed) {
		memcpy(sweep->cursor, reply->element[0]->str, reply->element[0]->len + 1);
		sweep->name_count = sweep->name_next = 0;
		for (size_t i = 0; i < reply->element[1]->elements; i++)
			sweep->failed |= !take_name(sweep, reply->element[1]->element[i]);
	}
	saver_compare_clear(&sweep->compare);
	for (unsigned i = 0; i < WALKS_MAX; i++)
		next_walk(&sweep->walkers[i]);
	if (sweep->running == 0)
		batch_ended(sweep);
}

static void on_size(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_sweep *sweep = ctx;
	uint64_t batches;

	if (error != SAVER_OK || reply->type != REDIS_REPLY_INTEGER)
		return;
	batches =
		(uint64_t)reply->integer / SCAN_COUNT * saver_redis_count(sweep->saver->redis) + 1;
	sweep->pause_ms = HF_MAX(sweep->saver->config->sweep_period_ms / batches, 5u);
	if (batches == 1)
		sweep->pause_ms = FAST_STEP_MS;
}

/* A node that is away must not keep the others from being swept. False: no node is left. */
static bool find_node(struct saver_sweep *sweep)
{
	const struct saver_redis *redis = sweep->saver->redis;

	while (sweep->node < saver_redis_count(redis) &&
	       saver_redis_state(redis, sweep->node) != SAVER_NODE_SERVING) {
		sweep->partial = true;
		sweep->node++;
		strcpy(sweep->cursor, "0");
	}
	return sweep->node < saver_redis_count(redis);
}

static void start_batch(struct saver_sweep *sweep)
{
	struct saver *saver = sweep->saver;
	struct hf_bytes words[6] = { HF_BYTES_LITERAL("SCAN"),  hf_bytes_of_string(sweep->cursor),
				     HF_BYTES_LITERAL("MATCH"), HF_BYTES_LITERAL("hf:q:*"),
				     HF_BYTES_LITERAL("COUNT"), HF_BYTES_LITERAL("128") };
	struct hf_bytes size = HF_BYTES_LITERAL("DBSIZE");

	if (!find_node(sweep)) {
		pass_ended(sweep);
		return;
	}
	if ((sweep->fast && saver->owed.slab.live > saver->owed.slab.limit / 4 * 3) ||
	    (saver_database_up(saver->database) && /* else nothing is compared, only expired */
	     saver_write_behind_pending(saver->wb) > saver->config->database_rows / 2) ||
	    saver_redis_admit(saver->redis, sweep->node) != SAVER_OK) {
		arm(sweep, WAIT_MS);
		return;
	}
	if (strcmp(sweep->cursor, "0") == 0)
		(void)!saver_redis_send(saver->redis, sweep->node, SAVER_OP_SWEEP, &size, 1,
					on_size, sweep);
	if (saver_redis_send(saver->redis, sweep->node, SAVER_OP_SWEEP, words, 6, on_scanned,
			     sweep) != SAVER_OK)
		arm(sweep, WAIT_MS);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct saver_sweep *sweep = ctx;
	struct saver *saver = sweep->saver;

	if (sweep->active) {
		start_batch(sweep);
		return;
	}
	sweep->node = 0;
	if (!hf_peers_known(saver->savers) || !find_node(sweep)) { /* whose slots are whose? */
		arm(sweep, WAIT_MS);
		return;
	}
	if (saver_write_behind_missed(saver->wb))
		sweep->hurry = true;
	sweep->active = true;
	sweep->fast = sweep->hurry;
	sweep->hurry = false;
	sweep->node = 0;
	sweep->partial = false;
	strcpy(sweep->cursor, "0");
	sweep->seen = sweep->young = 0;
	sweep->pass_started_ms = hf_loop_now_ms(saver->service->loop);
	start_batch(sweep);
}

void saver_sweep_hurry(struct saver_sweep *sweep)
{
	sweep->hurry = true;
	if (!sweep->active)
		arm(sweep, FAST_STEP_MS);
}

void saver_sweep_on_serving(struct saver_sweep *sweep, bool changed)
{
	if (changed || sweep->again)
		saver_sweep_hurry(sweep);
	sweep->again = false;
}

int saver_sweep_new(struct saver *saver, struct saver_sweep **ret_sweep)
{
	struct saver_sweep *sweep = calloc(1, sizeof(*sweep));
	struct hf_metrics *metrics = saver->service->metrics;

	if (sweep == NULL)
		return -ENOMEM;
	sweep->saver = saver;
	saver_compare_init(&sweep->compare, saver, on_compared, sweep);
	for (unsigned i = 0; i < WALKS_MAX; i++) {
		sweep->walkers[i].sweep = sweep;
		sweep->walkers[i].walk = (struct saver_walk){ .redis = saver->redis,
							      .op = SAVER_OP_SWEEP,
							      .on_message = on_message,
							      .on_end = on_walked };
	}
	sweep->offline = hf_metrics_gauge(metrics, "holdfast_saver_offline_messages", NULL,
					  "Messages owed, in our slots, as the last sweep saw it.");
	sweep->passes = hf_metrics_counter(metrics, "holdfast_saver_sweeps_total", NULL,
					   "Passes over all queues.");
	sweep->requeued = hf_metrics_counter(
		metrics, "holdfast_saver_rows_requeued_total", NULL,
		"Messages that the sweep found in Redis and not in the database.");
	hf_timer_init(&sweep->timer, on_timer, sweep);
	sweep->hurry = true;
	arm(sweep, WAIT_MS);
	*ret_sweep = sweep;
	return 0;
}

void saver_sweep_free(struct saver_sweep *sweep)
{
	if (sweep == NULL)
		return;
	hf_wheel_disarm(&sweep->timer);
	saver_compare_deinit(&sweep->compare);
	free(sweep->names);
	free(sweep);
}
