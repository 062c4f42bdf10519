/* services/saver/log_cache.h - each app's broadcast log as this process knows it.
 *
 * What is here is never believed without asking: whoever looks asks saver_log_ask() first, which
 * costs one GET of the log's version for all that look within one turn of the loop. The commands of
 * a turn leave at its end: so the answer is not older than any of those who wait for it, and who
 * begins after LogAppend was answered sees what it appended. When the version differs, what changed
 * since is read, and it becomes visible in one step together with its version.
 *
 * Frames are read when they are first needed and shared; those that were not needed for longest
 * leave when there are too many bytes, then apps that nobody looks at. */
#ifndef SAVER_LOG_CACHE_H
#define SAVER_LOG_CACHE_H

#include <sys/queue.h>

#include "hf_table.h"
#include "log_value.h"
#include "redis.h"

struct saver;
struct saver_log_cache;

TAILQ_HEAD(saver_frame_waits, saver_frame_wait);

/* One broadcast; read-only for others, and shared by reference. */
struct saver_log_entry {
	uint32_t refs, app;
	Hf__LogState state;
	uint64_t id, expires_ms, appended_ms;
	uint32_t frame_len;
	size_t bytes;              /* without the frame */
	Hf__Broadcast *broadcast;  /* without the frame */
	struct saver_frame *frame; /* NULL: not here now */
	bool asked;                /* it is on its way */
	struct saver_log_cache *cache;
	struct saver_frame_waits waits;
	TAILQ_ENTRY(saver_log_entry) link; /* while it has a frame: least lately needed first */
};

struct saver_recall {
	uint64_t id, expires_ms;
};

TAILQ_HEAD(saver_log_waits, saver_log_wait);

struct saver_log_app {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_log_app) link;   /* least lately looked at first */
	LIST_ENTRY(saver_log_app) checked; /* while `check` may be joined */
	struct saver_log_cache *cache;
	uint32_t app, version;
	uint32_t users;                   /* those who wait or look: it stays while there are any */
	struct saver_log_entry **entries; /* by id; removed ones and recalls are not among them */
	struct saver_recall *recalls;     /* by id */
	size_t entry_count, entry_capacity, recall_count, recall_capacity, bytes;
	uint64_t touched_ms, next_expiry_ms;
	/* log_cache.c's own */
	struct saver_log_check *check;
	struct saver_log_waits waits;
	struct saver_log_fetch *fetch;
};

/* Embedded in who waits. */
struct saver_log_wait {
	/* `app` is NULL unless `error` is SAVER_OK, and then holds until saver_log_release(). */
	void (*done)(struct saver_log_wait *wait, struct saver_log_app *app,
		     enum saver_error error);
	TAILQ_ENTRY(saver_log_wait) link;
};

HF_MUST_CHECK int saver_log_cache_new(struct saver *saver, struct saver_log_cache **ret_cache);
/* After Redis is closed. NULL is fine. */
void saver_log_cache_free(struct saver_log_cache *cache);
/* The connection was lost: what is in the node may be another content when it comes back. */
void saver_log_cache_on_lost(struct saver_log_cache *cache, unsigned node);

/* Tell when the app's log is known as it was after this call, or later. SAVER_OK: `done` runs once,
 * later; else not at all. */
HF_MUST_CHECK enum saver_error saver_log_ask(struct saver_log_cache *cache, uint32_t app,
					     struct saver_log_wait *wait);
void saver_log_release(struct saver_log_app *app); /* for each `done` that gave it */
/* Ask in the background. */
void saver_log_refresh(struct saver_log_cache *cache, uint32_t app);
/* The same, when nobody has for a while. */
void saver_log_touch(struct saver_log_cache *cache, uint32_t app);
/* What is known, perhaps long ago; NULL: nothing. Valid until the next turn. */
struct saver_log_app *saver_log_known(const struct saver_log_cache *cache, uint32_t app);

/* NULL: not there, or removed. It may be expired. */
struct saver_log_entry *saver_log_find(const struct saver_log_app *app, uint64_t id);
bool saver_log_is_recalled(const struct saver_log_app *app, uint64_t id, uint64_t now_ms);

static inline struct saver_log_entry *saver_log_entry_ref(struct saver_log_entry *entry)
{
	entry->refs++;
	return entry;
}
void saver_log_entry_unref(struct saver_log_entry *entry);

/* Embedded in who waits for a frame. */
struct saver_frame_wait {
	/* `frame`: borrowed, and NULL when it left the log meanwhile, or there is an error. */
	void (*done)(struct saver_frame_wait *wait, struct saver_frame *frame,
		     enum saver_error error);
	TAILQ_ENTRY(saver_frame_wait) link;
};
/* A reference to the frame, at once, in *ret_frame; or NULL, and `done` runs once, later. */
HF_MUST_CHECK enum saver_error saver_log_frame(struct saver_log_entry *entry,
					       struct saver_frame_wait *wait,
					       struct saver_frame **ret_frame);

/* One more registration has acked it: counted in memory, and in Redis within a second. */
void saver_log_count_ack(struct saver_log_cache *cache, uint32_t app, uint64_t id);
/* Send what is counted now; false while some of it is not answered. For a drain. */
bool saver_log_flush(struct saver_log_cache *cache);

#endif
