/* services/saver/log_internal.h - what log_cache.c, log_fetch.c and log_counts.c share. */
#ifndef SAVER_LOG_INTERNAL_H
#define SAVER_LOG_INTERNAL_H

#include "hf_loop.h"
#include "log_cache.h"
#include "saver.h"

struct saver_log_counts;

struct saver_log_cache {
	struct saver *saver;
	struct hf_table apps;
	TAILQ_HEAD(, saver_log_app) idle;     /* every app, least lately looked at first */
	LIST_HEAD(, saver_log_app) checked;   /* whose check may be joined in this turn */
	TAILQ_HEAD(, saver_log_entry) frames; /* entries that have one */
	size_t bytes;
	struct hf_turn_hook hook;
	struct saver_log_counts *counts;
	uint64_t *checks, *fetches, *frame_reads, *evicted;
};

static inline unsigned saver_log_node(const struct saver_log_app *app)
{
	return saver_app_node(app->cache->saver, app->app);
}

/* Bring the app to the newest version; then saver_log_fetched(). One at a time. */
HF_MUST_CHECK enum saver_error saver_log_fetch(struct saver_log_app *app);
void saver_log_fetched(struct saver_log_app *app, enum saver_error error);
/* Nothing is known of it any more. */
void saver_log_clear(struct saver_log_app *app);
/* What is past its time leaves; true when something did. */
bool saver_log_drop_expired(struct saver_log_app *app, uint64_t now_ms);
void saver_log_drop_frame(struct saver_log_entry *entry);

HF_MUST_CHECK int saver_log_counts_new(struct saver_log_cache *cache);
void saver_log_counts_free(struct saver_log_cache *cache);

/* Tell the app's Redis to forget what is past its time. */
void saver_log_sweep(struct saver *saver, uint32_t app);

#endif
