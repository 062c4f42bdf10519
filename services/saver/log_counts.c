/* services/saver/log_counts.c - how many registrations have acked each broadcast: summed up in
 * memory, and added to Redis each second. A kill costs what was counted since. */
#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "log_internal.h"
#include "script.h"

#define FLUSH_MS 1000u

struct count {
	struct hf_table_node node;
	TAILQ_ENTRY(count) link;
	struct saver_log_counts *counts;
	uint32_t app;
	uint64_t id, acked;
};

struct saver_log_counts {
	struct saver_log_cache *cache;
	struct hf_table table;
	TAILQ_HEAD(, count) dirty; /* all that are in the table */
	size_t sent;               /* not answered yet */
	struct hf_timer timer;
	uint64_t *acked;
};

/* What is not in the log any more is not counted anew. KEYS: broadcasts, counts. ARGV: id, how
 * many. */
static const char script[] = "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end\n"
			     "redis.call('HINCRBY', KEYS[2], ARGV[1], ARGV[2])\n"
			     "if redis.call('PTTL', KEYS[2]) < 0 then\n"
			     "  local ttl = redis.call('PTTL', KEYS[1])\n"
			     "  if ttl > 0 then redis.call('PEXPIRE', KEYS[2], ttl) end\n"
			     "end\n"
			     "return 1";

static void add(struct saver_log_counts *counts, uint32_t app, uint64_t id, uint64_t acked)
{
	uint64_t hash = hf_hash_u64(id ^ (uint64_t)app << 40);
	struct hf_table_node *node = hf_table_find(&counts->table, hash);
	struct count *count;

	for (; node != NULL; node = hf_table_find_next(node)) {
		count = HF_CONTAINER_OF(node, struct count, node);
		if (count->app == app && count->id == id) {
			count->acked += acked;
			return;
		}
	}
	count = malloc(sizeof(*count));
	if (count == NULL)
		return; /* a count is lost, the ack is not */
	*count = (struct count){ .counts = counts, .app = app, .id = id, .acked = acked };
	hf_table_insert(&counts->table, &count->node, hash);
	TAILQ_INSERT_TAIL(&counts->dirty, count, link);
}

void saver_log_count_ack(struct saver_log_cache *cache, uint32_t app, uint64_t id)
{
	++*cache->counts->acked;
	add(cache->counts, app, id, 1);
}

/* Lost with its connection, it may have been added or not: added again it could count twice. */
static void on_added(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct count *count = ctx;

	count->counts->sent--;
	if (error != SAVER_OK && error != SAVER_STORE_UNAVAILABLE)
		add(count->counts, count->app, count->id, count->acked);
	free(count);
}

static enum saver_error send_count(struct count *count)
{
	struct saver *saver = count->counts->cache->saver;
	uint8_t field[SAVER_FIELD_SIZE];
	struct saver_script words;

	saver_field_encode(count->id, field);
	saver_script_init(&words, script, 2);
	saver_script_text(&words, "hf:lm:%u", count->app);
	saver_script_text(&words, "hf:lc:%u", count->app);
	saver_script_bytes(&words, hf_bytes_of(field, sizeof(field)));
	saver_script_number(&words, count->acked);
	return saver_script_send(saver->redis, saver_app_node(saver, count->app), SAVER_OP_LOG,
				 &words, on_added, count);
}

bool saver_log_flush(struct saver_log_cache *cache)
{
	struct saver_log_counts *counts = cache->counts;
	struct count *count = TAILQ_FIRST(&counts->dirty), *next;

	for (; count != NULL; count = next) {
		next = TAILQ_NEXT(count, link);
		if (send_count(count) != SAVER_OK)
			continue; /* its node is away: later */
		TAILQ_REMOVE(&counts->dirty, count, link);
		hf_table_remove(&counts->table, &count->node);
		counts->sent++;
	}
	return counts->sent == 0;
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct saver_log_cache *cache = ctx;

	saver_log_flush(cache);
	hf_loop_arm(cache->saver->service->loop, timer, FLUSH_MS);
}

int saver_log_counts_new(struct saver_log_cache *cache)
{
	struct saver_log_counts *counts = calloc(1, sizeof(*counts));
	int err;

	if (counts == NULL)
		return -ENOMEM;
	err = hf_table_init(&counts->table);
	if (err < 0) {
		free(counts);
		return err;
	}
	counts->cache = cache;
	TAILQ_INIT(&counts->dirty);
	counts->acked = hf_metrics_counter(cache->saver->service->metrics,
					   "holdfast_saver_broadcasts_acked_total", NULL,
					   "Broadcasts acked, each once by a registration.");
	hf_timer_init(&counts->timer, on_timer, cache);
	hf_loop_arm(cache->saver->service->loop, &counts->timer, FLUSH_MS);
	cache->counts = counts;
	return 0;
}

void saver_log_counts_free(struct saver_log_cache *cache)
{
	struct saver_log_counts *counts = cache->counts;
	struct count *count;

	if (counts == NULL)
		return;
	hf_wheel_disarm(&counts->timer);
	while ((count = TAILQ_FIRST(&counts->dirty)) != NULL) {
		TAILQ_REMOVE(&counts->dirty, count, link);
		free(count);
	}
	hf_table_deinit(&counts->table);
	free(counts);
}
