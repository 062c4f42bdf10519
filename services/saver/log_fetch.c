/* services/saver/log_fetch.c - reading what changed in an app's log since a version, in pages, and
 * showing it in one step. */
#define HF_LOG_MODULE "saver"
#include <stdlib.h>

#include "hf_log.h"
#include "log_internal.h"
#include "script.h"

#define PAGE_MEMBERS 1000u
#define PAGE_BYTES   (1u << 20)

/* KEYS: version, broadcasts, recalls, by version. ARGV: since, most members, most bytes. Returns
 * the version; 1 when all that was known is void; 1 when there is more, after the next one; then
 * members and values. */
static const char script[] =
	"local since = tonumber(ARGV[1])\n"
	"local version = tonumber(redis.call('GET', KEYS[1]) or 0)\n"
	"local void = 0\n"
	"if since < tonumber(redis.call('HGET', KEYS[2], 'f') or 0) or since > version then\n"
	"  since, void = 0, 1\n"
	"end\n"
	"local found = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. string.format('%.0f', since), "
	"'+inf',\n"
	"  'WITHSCORES', 'LIMIT', 0, ARGV[2])\n"
	"local out, bytes = { version, void, 0, since }, 0\n"
	"for i = 1, #found, 2 do\n"
	"  if bytes > tonumber(ARGV[3]) then out[3] = 1; return out end\n"
	"  local m = found[i]\n"
	"  local v = redis.call('HGET', string.sub(m, 1, 1) == 'b' and KEYS[2] or KEYS[3], "
	"string.sub(m, 2))\n"
	"  if v then\n"
	"    out[#out + 1] = m\n"
	"    out[#out + 1] = v\n"
	"    bytes = bytes + #v\n"
	"  end\n"
	"  out[4] = tonumber(found[i + 1])\n"
	"end\n"
	"if #found == 2 * tonumber(ARGV[2]) then out[3] = 1 end\n"
	"return out";

/* A broadcast as it is now (`entry` NULL: gone), or a recall. */
struct update {
	uint64_t id, expires_ms;
	struct saver_log_entry *entry;
	bool is_recall;
};

struct saver_log_fetch {
	struct saver_log_app *app;
	uint32_t since;
	bool clear; /* what was known before is void */
	struct update *updates;
	size_t count, capacity;
};

/* --- Entries --- */

static struct saver_log_entry *entry_new(struct saver_log_app *app, uint64_t id,
					 const struct saver_log_meta *meta)
{
	struct saver_log_entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	entry->refs = 1;
	entry->cache = app->cache;
	TAILQ_INIT(&entry->waits);
	entry->app = app->app;
	entry->id = id;
	entry->state = meta->state;
	entry->appended_ms = meta->appended_ms;
	entry->frame_len = meta->frame_len;
	/* Small strings cost more in memory than packed: three times is above what was measured. */
	entry->bytes = sizeof(*entry) + sizeof(Hf__Broadcast) + 3 * meta->broadcast.len;
	entry->broadcast = hf__broadcast__unpack(NULL, meta->broadcast.len, meta->broadcast.data);
	if (entry->broadcast == NULL || entry->broadcast->message_id != id) {
		saver_log_entry_unref(entry);
		return NULL;
	}
	entry->expires_ms = entry->broadcast->expires_ms;
	return entry;
}

static size_t entry_index(const struct saver_log_app *app, uint64_t id)
{
	size_t low = 0, high = app->entry_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (app->entries[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct saver_log_entry *saver_log_find(const struct saver_log_app *app, uint64_t id)
{
	size_t i = entry_index(app, id);

	return i < app->entry_count && app->entries[i]->id == id ? app->entries[i] : NULL;
}

static void account(struct saver_log_app *app, size_t more, size_t less)
{
	app->bytes += more - less;
	app->cache->bytes += more - less;
}

/* It may be in use elsewhere, but its frame takes no room here any more. */
static void let_go(struct saver_log_app *app, struct saver_log_entry *entry)
{
	account(app, 0, entry->bytes);
	saver_log_drop_frame(entry);
	saver_log_entry_unref(entry);
}

static void remove_at(struct saver_log_app *app, size_t i)
{
	let_go(app, app->entries[i]);
	app->entry_count--;
	memmove(&app->entries[i], &app->entries[i + 1],
		(app->entry_count - i) * sizeof(app->entries[0]));
}

/* A changed one keeps the frame of the one before. */
static void replace(struct saver_log_app *app, size_t i, struct saver_log_entry *entry)
{
	struct saver_log_entry *old = app->entries[i];

	if (old->frame != NULL) {
		entry->frame = saver_frame_ref(old->frame);
		TAILQ_INSERT_TAIL(&app->cache->frames, entry, link);
		app->cache->bytes += entry->frame->len;
	}
	account(app, entry->bytes, 0);
	let_go(app, old);
	app->entries[i] = entry;
}

static bool insert_at(struct saver_log_app *app, size_t i, struct saver_log_entry *entry)
{
	if (app->entry_count == app->entry_capacity) {
		size_t capacity = HF_MAX((size_t)16, 2 * app->entry_capacity);
		struct saver_log_entry **entries =
			realloc(app->entries, capacity * sizeof(entries[0]));

		if (entries == NULL)
			return false;
		app->entries = entries;
		app->entry_capacity = capacity;
	}
	memmove(&app->entries[i + 1], &app->entries[i],
		(app->entry_count - i) * sizeof(app->entries[0]));
	app->entries[i] = entry;
	app->entry_count++;
	account(app, entry->bytes, 0);
	return true;
}

static bool put_recall(struct saver_log_app *app, uint64_t id, uint64_t expires_ms)
{
	size_t i = app->recall_count;

	while (i > 0 && app->recalls[i - 1].id >= id) /* they come nearly in order */
		i--;
	if (i < app->recall_count && app->recalls[i].id == id) {
		app->recalls[i].expires_ms = expires_ms;
		return true;
	}
	if (app->recall_count == app->recall_capacity) {
		size_t capacity = HF_MAX((size_t)16, 2 * app->recall_capacity);
		struct saver_recall *recalls = realloc(app->recalls, capacity * sizeof(recalls[0]));

		if (recalls == NULL)
			return false;
		app->recalls = recalls;
		app->recall_capacity = capacity;
	}
	memmove(&app->recalls[i + 1], &app->recalls[i],
		(app->recall_count - i) * sizeof(app->recalls[0]));
	app->recalls[i] = (struct saver_recall){ id, expires_ms };
	app->recall_count++;
	account(app, sizeof(app->recalls[0]), 0);
	return true;
}

void saver_log_clear(struct saver_log_app *app)
{
	while (app->entry_count > 0)
		remove_at(app, app->entry_count - 1);
	account(app, 0, app->recall_count * sizeof(app->recalls[0]));
	app->recall_count = 0;
	app->version = 0;
	app->next_expiry_ms = 0;
}

bool saver_log_drop_expired(struct saver_log_app *app, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	size_t before = app->entry_count + app->recall_count, kept = 0;

	if (app->next_expiry_ms > now_ms)
		return false;
	for (size_t i = app->entry_count; i-- > 0;) {
		if (app->entries[i]->expires_ms <= now_ms)
			remove_at(app, i);
		else
			next = HF_MIN(next, app->entries[i]->expires_ms);
	}
	for (size_t i = 0; i < app->recall_count; i++) {
		if (app->recalls[i].expires_ms <= now_ms)
			continue;
		next = HF_MIN(next, app->recalls[i].expires_ms);
		app->recalls[kept++] = app->recalls[i];
	}
	account(app, 0, (app->recall_count - kept) * sizeof(app->recalls[0]));
	app->recall_count = kept;
	app->next_expiry_ms = next;
	return app->entry_count + app->recall_count < before;
}

/* --- The fetch --- */

static void drop_updates(struct saver_log_fetch *fetch)
{
	for (size_t i = 0; i < fetch->count; i++) {
		if (fetch->updates[i].entry != NULL)
			saver_log_entry_unref(fetch->updates[i].entry);
	}
	fetch->count = 0;
}

static void end(struct saver_log_fetch *fetch, enum saver_error error)
{
	struct saver_log_app *app = fetch->app;

	drop_updates(fetch);
	free(fetch->updates);
	free(fetch);
	app->fetch = NULL;
	saver_log_fetched(app, error);
	saver_log_release(app);
}

static bool apply_one(struct saver_log_app *app, struct update *update)
{
	size_t i = entry_index(app, update->id);
	bool is_there = i < app->entry_count && app->entries[i]->id == update->id;

	if (update->is_recall)
		return put_recall(app, update->id, update->expires_ms);
	if (update->entry == NULL) {
		if (is_there)
			remove_at(app, i);
		return true;
	}
	if (is_there)
		replace(app, i, update->entry);
	else if (!insert_at(app, i, update->entry))
		return false;
	update->entry = NULL; /* the app has it */
	return true;
}

static enum saver_error apply(struct saver_log_fetch *fetch, uint32_t version)
{
	struct saver_log_app *app = fetch->app;

	if (fetch->clear)
		saver_log_clear(app);
	app->next_expiry_ms = 0; /* worked out anew */
	for (size_t i = 0; i < fetch->count; i++) {
		if (!apply_one(app, &fetch->updates[i])) {
			saver_log_clear(app); /* a part would pass for the whole */
			return SAVER_INTERNAL;
		}
	}
	app->version = version;
	return SAVER_OK;
}

static bool add_update(struct saver_log_fetch *fetch, const struct update *update)
{
	if (fetch->count == fetch->capacity) {
		size_t capacity = HF_MAX((size_t)64, 2 * fetch->capacity);
		struct update *updates = realloc(fetch->updates, capacity * sizeof(*updates));

		if (updates == NULL)
			return false;
		fetch->updates = updates;
		fetch->capacity = capacity;
	}
	fetch->updates[fetch->count++] = *update;
	return true;
}

static void note_unreadable(struct saver_log_fetch *fetch, uint64_t id)
{
	struct saver *saver = fetch->app->cache->saver;

	++*saver->metrics.unreadable;
	if (hf_log_throttle_pass(&saver->unreadable_throttle, 10000))
		HF_ERROR("log_entry_unreadable", "app=%u message=%llu", fetch->app->app,
			 (unsigned long long)id);
}

/* False: no memory. One that can't be read is passed over: it must not hide the others. */
static bool take(struct saver_log_fetch *fetch, struct hf_bytes member, struct hf_bytes value)
{
	uint64_t now = hf_loop_wall_ms(fetch->app->cache->saver->service->loop);
	struct update update = { 0 };
	struct saver_log_meta meta;

	if (member.len < 1 || value.data == NULL ||
	    !saver_field_decode(hf_bytes_of(member.data + 1, member.len - 1), &update.id))
		return true;
	update.is_recall = member.data[0] == 'r';
	if (update.is_recall) {
		if (!saver_log_recall_decode(value, NULL, &update.expires_ms)) {
			note_unreadable(fetch, update.id);
			return true;
		}
		return update.expires_ms <= now || add_update(fetch, &update);
	}
	if (!saver_log_meta_decode(value, &meta)) {
		note_unreadable(fetch, update.id);
		return true;
	}
	if (meta.state != HF__LOG_STATE__REMOVED) {
		update.entry = entry_new(fetch->app, update.id, &meta);
		if (update.entry == NULL) {
			note_unreadable(fetch, update.id);
			return true;
		}
	}
	if (add_update(fetch, &update))
		return true;
	if (update.entry != NULL)
		saver_log_entry_unref(update.entry);
	return false;
}

static enum saver_error send_page(struct saver_log_fetch *fetch);

static void on_page(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_log_fetch *fetch = ctx;

	if (error == SAVER_OK && (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		end(fetch, error);
		return;
	}
	if (saver_reply_integer(reply, 1) != 0) {
		drop_updates(fetch);
		fetch->clear = true;
	}
	for (size_t i = 4; i + 1 < reply->elements && error == SAVER_OK; i += 2) {
		if (!take(fetch, saver_reply_element(reply, i), saver_reply_element(reply, i + 1)))
			error = SAVER_INTERNAL;
	}
	fetch->since = (uint32_t)saver_reply_integer(reply, 3);
	if (error == SAVER_OK && saver_reply_integer(reply, 2) != 0) {
		error = send_page(fetch);
		if (error == SAVER_OK)
			return;
	}
	if (error == SAVER_OK)
		error = apply(fetch, (uint32_t)saver_reply_integer(reply, 0));
	end(fetch, error);
}

static enum saver_error send_page(struct saver_log_fetch *fetch)
{
	struct saver_log_app *app = fetch->app;
	struct saver_script words;

	saver_script_init(&words, script, 4);
	saver_script_text(&words, "hf:lv:%u", app->app);
	saver_script_text(&words, "hf:lm:%u", app->app);
	saver_script_text(&words, "hf:lr:%u", app->app);
	saver_script_text(&words, "hf:lz:%u", app->app);
	saver_script_number(&words, fetch->since);
	saver_script_number(&words, PAGE_MEMBERS);
	saver_script_number(&words, PAGE_BYTES);
	return saver_script_send(app->cache->saver->redis, saver_log_node(app), SAVER_OP_LOG,
				 &words, on_page, fetch);
}

enum saver_error saver_log_fetch(struct saver_log_app *app)
{
	struct saver_log_fetch *fetch = calloc(1, sizeof(*fetch));
	enum saver_error error;

	if (fetch == NULL)
		return SAVER_INTERNAL;
	fetch->app = app;
	fetch->since = app->version;
	error = send_page(fetch);
	if (error != SAVER_OK) {
		free(fetch);
		return error;
	}
	++*app->cache->fetches;
	app->fetch = fetch;
	app->users++;
	return SAVER_OK;
}
