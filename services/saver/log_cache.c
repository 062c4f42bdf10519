#include "log_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "log_internal.h"
#include "script.h"

#define TOUCH_MS 5000u

/* One GET of a version, and who waits for it. */
struct saver_log_check {
	struct saver_log_app *app;
	struct saver_log_waits waits;
};

/* --- Apps --- */

static struct saver_log_app *find(const struct saver_log_cache *cache, uint32_t number)
{
	struct hf_table_node *node = hf_table_find(&cache->apps, hf_hash_u64(number));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_log_app *app = HF_CONTAINER_OF(node, struct saver_log_app, node);

		if (app->app == number)
			return app;
	}
	return NULL;
}

static void app_free(struct saver_log_app *app)
{
	struct saver_log_cache *cache = app->cache;

	saver_log_clear(app);
	TAILQ_REMOVE(&cache->idle, app, link);
	hf_table_remove(&cache->apps, &app->node);
	cache->bytes -= sizeof(*app);
	free(app->entries);
	free(app->recalls);
	free(app);
}

/* Frames first: they come back one by one. Then whole apps, but none that somebody looks at. */
static void evict(struct saver_log_cache *cache)
{
	const struct saver_config *config = cache->saver->config;
	struct saver_log_app *app = TAILQ_FIRST(&cache->idle), *next;

	while (cache->bytes > config->broadcasts_cache && !TAILQ_EMPTY(&cache->frames)) {
		saver_log_drop_frame(TAILQ_FIRST(&cache->frames));
		++*cache->evicted;
	}
	for (; app != NULL && (cache->bytes > config->broadcasts_cache ||
			       cache->apps.count > config->broadcasts_apps);
	     app = next) {
		next = TAILQ_NEXT(app, link);
		if (app->users > 0)
			continue;
		app_free(app);
		++*cache->evicted;
	}
}

static struct saver_log_app *find_or_make(struct saver_log_cache *cache, uint32_t number)
{
	struct saver_log_app *app = find(cache, number);

	if (app != NULL) {
		TAILQ_REMOVE(&cache->idle, app, link);
		TAILQ_INSERT_TAIL(&cache->idle, app, link);
		return app;
	}
	app = calloc(1, sizeof(*app));
	if (app == NULL)
		return NULL;
	app->cache = cache;
	app->app = number;
	TAILQ_INIT(&app->waits);
	TAILQ_INSERT_TAIL(&cache->idle, app, link);
	hf_table_insert(&cache->apps, &app->node, hf_hash_u64(number));
	cache->bytes += sizeof(*app);
	return app;
}

struct saver_log_app *saver_log_known(const struct saver_log_cache *cache, uint32_t number)
{
	return find(cache, number);
}

void saver_log_release(struct saver_log_app *app)
{
	app->users--;
	if (app->users == 0)
		evict(app->cache);
}

/* --- Asking --- */

/* The waits leave the list first: `done` may ask anew. */
static void end_waits(struct saver_log_app *app, struct saver_log_waits *waits,
		      enum saver_error error)
{
	struct saver_log_waits all = TAILQ_HEAD_INITIALIZER(all);
	struct saver_log_wait *wait;

	TAILQ_CONCAT(&all, waits, link);
	while ((wait = TAILQ_FIRST(&all)) != NULL) {
		TAILQ_REMOVE(&all, wait, link);
		if (error != SAVER_OK)
			app->users--;
		wait->done(wait, error == SAVER_OK ? app : NULL, error);
	}
}

/* All who wait by now may go on: answers come in the order of their questions, so that what was
 * read is not older than the version that each of them was told. */
void saver_log_fetched(struct saver_log_app *app, enum saver_error error)
{
	app->users++; /* the last who waits may let it go */
	end_waits(app, &app->waits, error);
	saver_log_release(app);
}

static bool read_version(const redisReply *reply, uint32_t *ret_version)
{
	*ret_version = 0;
	if (reply->type == REDIS_REPLY_STRING)
		*ret_version = (uint32_t)strtoul(reply->str, NULL, 10);
	return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_NIL;
}

static void on_version(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_log_check *check = ctx;
	struct saver_log_app *app = check->app;
	uint32_t version = 0;

	if (app->check == check) { /* Redis was quicker than the turn's end, or it is closing */
		app->check = NULL;
		LIST_REMOVE(app, checked);
	}
	if (error == SAVER_OK && !read_version(reply, &version))
		error = SAVER_INTERNAL;
	app->users++;
	if (error == SAVER_OK && version < app->version)
		saver_log_clear(app); /* another content: without the latest writes, or empty */
	if (error == SAVER_OK &&
	    saver_log_drop_expired(app, hf_loop_wall_ms(app->cache->saver->service->loop)))
		saver_log_sweep(app->cache->saver, app->app);
	if (error != SAVER_OK || version == app->version) {
		end_waits(app, &check->waits, error);
	} else {
		TAILQ_CONCAT(&app->waits, &check->waits, link);
		if (app->fetch == NULL)
			error = saver_log_fetch(app);
		if (error != SAVER_OK)
			end_waits(app, &app->waits, error);
	}
	free(check);
	saver_log_release(app);
}

/* The turn is over and its commands leave: who comes now needs a new answer. */
static void on_turn_end(void *ctx)
{
	struct saver_log_cache *cache = ctx;
	struct saver_log_app *app;

	while ((app = LIST_FIRST(&cache->checked)) != NULL) {
		LIST_REMOVE(app, checked);
		app->check = NULL;
	}
}

static enum saver_error begin_check(struct saver_log_app *app)
{
	struct saver *saver = app->cache->saver;
	struct saver_log_check *check = malloc(sizeof(*check));
	struct saver_script words;
	enum saver_error error;

	if (check == NULL)
		return SAVER_INTERNAL;
	check->app = app;
	TAILQ_INIT(&check->waits);
	saver_script_init_command(&words, "GET");
	saver_script_text(&words, "hf:lv:%u", app->app);
	error = saver_script_send(saver->redis, saver_log_node(app), SAVER_OP_LOG, &words,
				  on_version, check);
	if (error != SAVER_OK) {
		free(check);
		return error;
	}
	++*app->cache->checks;
	app->check = check;
	LIST_INSERT_HEAD(&app->cache->checked, app, checked);
	return SAVER_OK;
}

enum saver_error saver_log_ask(struct saver_log_cache *cache, uint32_t number,
			       struct saver_log_wait *wait)
{
	struct saver_log_app *app = find_or_make(cache, number);
	enum saver_error error = SAVER_OK;

	if (app == NULL)
		return SAVER_INTERNAL;
	app->users++;
	if (app->check == NULL)
		error = begin_check(app);
	if (error != SAVER_OK) {
		saver_log_release(app);
		return error;
	}
	app->touched_ms = hf_loop_now_ms(cache->saver->service->loop);
	TAILQ_INSERT_TAIL(&app->check->waits, wait, link);
	return SAVER_OK;
}

static void on_touched(struct saver_log_wait *wait, struct saver_log_app *app,
		       enum saver_error error)
{
	if (app != NULL)
		saver_log_release(app);
	free(wait);
}

void saver_log_refresh(struct saver_log_cache *cache, uint32_t number)
{
	struct saver_log_wait *wait = malloc(sizeof(*wait));

	if (wait == NULL)
		return;
	wait->done = on_touched;
	if (saver_log_ask(cache, number, wait) != SAVER_OK)
		free(wait);
}

void saver_log_touch(struct saver_log_cache *cache, uint32_t number)
{
	const struct saver_log_app *app = find(cache, number);

	if (app == NULL ||
	    app->touched_ms + TOUCH_MS <= hf_loop_now_ms(cache->saver->service->loop))
		saver_log_refresh(cache, number);
}

/* --- Entries and frames --- */

bool saver_log_is_recalled(const struct saver_log_app *app, uint64_t id, uint64_t now_ms)
{
	size_t low = 0, high = app->recall_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (app->recalls[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < app->recall_count && app->recalls[low].id == id &&
	       app->recalls[low].expires_ms > now_ms;
}

void saver_log_entry_unref(struct saver_log_entry *entry)
{
	if (--entry->refs > 0)
		return;
	saver_log_drop_frame(entry);
	if (entry->broadcast != NULL)
		hf__broadcast__free_unpacked(entry->broadcast, NULL);
	free(entry);
}

void saver_log_drop_frame(struct saver_log_entry *entry)
{
	if (entry->frame == NULL)
		return;
	TAILQ_REMOVE(&entry->cache->frames, entry, link);
	entry->cache->bytes -= entry->frame->len;
	saver_frame_unref(entry->frame);
	entry->frame = NULL;
}

static void end_frame_waits(struct saver_log_entry *entry, enum saver_error error)
{
	struct saver_frame *frame = entry->frame != NULL ? saver_frame_ref(entry->frame) : NULL;
	struct saver_frame_waits all = TAILQ_HEAD_INITIALIZER(all);
	struct saver_frame_wait *wait;

	TAILQ_CONCAT(&all, &entry->waits, link);
	while ((wait = TAILQ_FIRST(&all)) != NULL) {
		TAILQ_REMOVE(&all, wait, link);
		wait->done(wait, frame, error);
	}
	saver_frame_unref(frame);
}

static void on_frame(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_log_entry *entry = ctx;
	struct saver_log_cache *cache = entry->cache;

	entry->asked = false;
	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING &&
	    reply->len <= SAVER_FRAME_MAX) {
		entry->frame =
			saver_frame_new((struct hf_bytes){ NULL, 0 }, saver_reply_bytes(reply));
		if (entry->frame == NULL)
			error = SAVER_INTERNAL;
	}
	if (entry->frame != NULL) {
		TAILQ_INSERT_TAIL(&cache->frames, entry, link);
		cache->bytes += entry->frame->len;
	}
	end_frame_waits(entry, error);
	saver_log_entry_unref(entry);
	evict(cache);
}

enum saver_error saver_log_frame(struct saver_log_entry *entry, struct saver_frame_wait *wait,
				 struct saver_frame **ret_frame)
{
	struct saver_log_cache *cache = entry->cache;
	struct saver_script words;
	uint8_t field[SAVER_FIELD_SIZE];
	enum saver_error error;

	*ret_frame = NULL;
	if (entry->frame != NULL) {
		TAILQ_REMOVE(&cache->frames, entry, link);
		TAILQ_INSERT_TAIL(&cache->frames, entry, link);
		*ret_frame = saver_frame_ref(entry->frame);
		return SAVER_OK;
	}
	if (!entry->asked) {
		saver_field_encode(entry->id, field);
		saver_script_init_command(&words, "HGET");
		saver_script_text(&words, "hf:lf:%u", entry->app);
		saver_script_bytes(&words, hf_bytes_of(field, sizeof(field)));
		error = saver_script_send(cache->saver->redis,
					  saver_app_node(cache->saver, entry->app), SAVER_OP_LOG,
					  &words, on_frame, saver_log_entry_ref(entry));
		if (error != SAVER_OK) {
			saver_log_entry_unref(entry);
			return error;
		}
		++*cache->frame_reads;
		entry->asked = true;
	}
	TAILQ_INSERT_TAIL(&entry->waits, wait, link);
	return SAVER_OK;
}

/* --- The whole --- */

void saver_log_cache_on_lost(struct saver_log_cache *cache, unsigned node)
{
	struct saver_log_app *app;

	TAILQ_FOREACH (app, &cache->idle, link) {
		if (saver_log_node(app) == node)
			saver_log_clear(app);
	}
}

static double read_bytes(void *ctx)
{
	return (double)((struct saver_log_cache *)ctx)->bytes;
}

int saver_log_cache_new(struct saver *saver, struct saver_log_cache **ret_cache)
{
	struct saver_log_cache *cache = calloc(1, sizeof(*cache));
	struct hf_metrics *m = saver->service->metrics;
	int err;

	if (cache == NULL)
		return -ENOMEM;
	cache->saver = saver;
	TAILQ_INIT(&cache->idle);
	TAILQ_INIT(&cache->frames);
	LIST_INIT(&cache->checked);
	err = hf_table_init(&cache->apps);
	if (err == 0)
		err = saver_log_counts_new(cache);
	if (err < 0) {
		hf_table_deinit(&cache->apps);
		free(cache);
		return err;
	}
	cache->checks = hf_metrics_counter(m, "holdfast_saver_log_checks_total", NULL,
					   "Times that the version of a broadcast log was read.");
	cache->fetches = hf_metrics_counter(m, "holdfast_saver_log_fetches_total", NULL,
					    "Times that what changed in a log was read.");
	cache->frame_reads = hf_metrics_counter(m, "holdfast_saver_log_frame_reads_total", NULL,
						"Frames of broadcasts that were read.");
	cache->evicted = hf_metrics_counter(m, "holdfast_saver_log_evictions_total", NULL,
					    "Frames and apps that left to make room.");
	hf_metrics_gauge_fn(m, "holdfast_saver_log_bytes", NULL,
			    "What broadcast logs take in memory.", read_bytes, cache);
	cache->hook = (struct hf_turn_hook){ .fn = on_turn_end, .ctx = cache };
	hf_loop_add_hook(saver->service->loop, &cache->hook);
	*ret_cache = cache;
	return 0;
}

void saver_log_cache_free(struct saver_log_cache *cache)
{
	struct saver_log_app *app;

	if (cache == NULL)
		return;
	hf_loop_remove_hook(cache->saver->service->loop, &cache->hook);
	while ((app = TAILQ_FIRST(&cache->idle)) != NULL)
		app_free(app);
	hf_table_deinit(&cache->apps);
	saver_log_counts_free(cache);
	free(cache);
}
