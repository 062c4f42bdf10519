#include "hf_apps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "hf_log.h"
#include "hf_text.h"

/* One document of the keeper and what came of it. */
struct record {
	uint32_t id;
	bool valid; /* `app` holds a definition that parsed, perhaps of an older text */
	char *text; /* newest text, parsed or not: the same one is neither parsed nor logged again
		     */
	size_t text_len;
	struct hf_app app;
};

struct hf_apps {
	struct hf_keeper_watch *watch;
	void (*on_change)(struct hf_apps *apps, void *ctx);
	void *ctx;
	bool known;
	size_t count;         /* of `apps` */
	struct hf_app **apps; /* the valid ones, ascending ids: what look-ups search */
	size_t record_count;
	struct record **records; /* ascending ids */
};

static int by_id(const void *a, const void *b)
{
	uint32_t x = (*(struct record *const *)a)->id, y = (*(struct record *const *)b)->id;

	return x < y ? -1 : x > y;
}

static void record_free(struct record *record)
{
	if (record == NULL)
		return;
	free(record->text);
	free(record);
}

static struct record *find_record(const struct hf_apps *apps, uint32_t id)
{
	struct record key = { .id = id }, *key_ptr = &key;
	struct record **found;

	if (apps->record_count == 0)
		return NULL;
	found = bsearch(&key_ptr, apps->records, apps->record_count, sizeof(*apps->records), by_id);
	return found != NULL ? *found : NULL;
}

/* Parse `value` into `record`; what does not parse leaves the definition before it in force. */
static void record_update(struct record *record, struct hf_bytes value)
{
	char error[HF_CONFIG_ERROR_SIZE] = "";
	struct hf_app app;
	char *text;

	if (record->text != NULL && record->text_len == value.len &&
	    memcmp(record->text, value.data, value.len) == 0)
		return;
	text = malloc(value.len + 1);
	if (text == NULL)
		return; /* tried again with the next change */
	memcpy(text, value.data, value.len);
	text[value.len] = '\0';
	free(record->text);
	record->text = text;
	record->text_len = value.len;

	if (hf_app_decode(text, value.len, &app, error) < 0) {
		HF_ERROR("app refused", "app=%" PRIu32 " kept=%s error=%s", record->id,
			 record->valid ? "previous" : "none", hf_log_quote(error, strlen(error)));
		return;
	}
	if (app.id != record->id) {
		HF_ERROR("app refused", "app=%" PRIu32 " kept=%s error=\"id is %" PRIu32 "\"",
			 record->id, record->valid ? "previous" : "none", app.id);
		return;
	}
	record->app = app;
	record->valid = true;
}

static bool parse_name(const char *name, uint32_t *ret_id)
{
	uint64_t id;

	if (name[0] == '0' || hf_text_parse_uint(name, strlen(name), &id) < 0 || id > INT32_MAX)
		return false; /* "07" would be a second app 7 */
	*ret_id = (uint32_t)id;
	return true;
}

static struct record *take_record(struct hf_apps *apps, const struct hf_keeper_entry *entry)
{
	struct record *record;
	uint32_t id;

	if (!parse_name(entry->name, &id))
		return NULL;
	record = find_record(apps, id);
	if (record == NULL) {
		record = calloc(1, sizeof(*record));
		if (record == NULL)
			return NULL;
		record->id = id;
	}
	record_update(record, entry->value);
	return record;
}

/* Free the records that `next` did not take along. */
static void drop_removed(struct hf_apps *apps, struct record *const *next, size_t next_count)
{
	size_t n = 0;

	for (size_t i = 0; i < apps->record_count; i++) {
		while (n < next_count && next[n]->id < apps->records[i]->id)
			n++;
		if (n == next_count || next[n] != apps->records[i])
			record_free(apps->records[i]);
	}
}

static void on_entries(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	struct hf_apps *apps = ctx;
	struct record **next = calloc(count + 1, sizeof(struct record *));
	struct hf_app **valid = calloc(count + 1, sizeof(struct hf_app *));
	size_t next_count = 0, valid_count = 0;

	if (next == NULL || valid == NULL) {
		free(next);
		free(valid);
		return; /* what was known stays in force */
	}
	for (size_t i = 0; i < count; i++) {
		struct record *record = take_record(apps, &entries[i]);

		if (record != NULL)
			next[next_count++] = record;
	}
	if (next_count > 0)
		qsort(next, next_count, sizeof(struct record *), by_id);
	for (size_t i = 0; i < next_count; i++)
		if (next[i]->valid)
			valid[valid_count++] = &next[i]->app;
	drop_removed(apps, next, next_count);
	free(apps->records);
	free(apps->apps);
	apps->records = next;
	apps->record_count = next_count;
	apps->apps = valid;
	apps->count = valid_count;
	apps->known = true;
	if (apps->on_change != NULL)
		apps->on_change(apps, apps->ctx);
}

int hf_apps_new(struct hf_keeper *keeper, void (*on_change)(struct hf_apps *, void *), void *ctx,
		struct hf_apps **ret_apps)
{
	struct hf_apps *apps = calloc(1, sizeof(*apps));
	int err;

	if (apps == NULL)
		return -ENOMEM;
	apps->on_change = on_change;
	apps->ctx = ctx;
	err = hf_keeper_watch(keeper, "apps", on_entries, apps, &apps->watch);
	if (err != 0) {
		free(apps);
		return err;
	}
	*ret_apps = apps;
	return 0;
}

void hf_apps_free(struct hf_apps *apps)
{
	if (apps == NULL)
		return;
	hf_keeper_unwatch(apps->watch);
	for (size_t i = 0; i < apps->record_count; i++)
		record_free(apps->records[i]);
	free(apps->records);
	free(apps->apps);
	free(apps);
}

bool hf_apps_has(const struct hf_apps *apps, uint32_t id)
{
	return find_record(apps, id) != NULL;
}

bool hf_apps_known(const struct hf_apps *apps)
{
	return apps->known;
}

size_t hf_apps_count(const struct hf_apps *apps)
{
	return apps->count;
}

/* Index of the first app with an id of at least `id`. */
static size_t lower_bound(const struct hf_apps *apps, uint64_t id)
{
	size_t low = 0, high = apps->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (apps->apps[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct hf_app *hf_apps_get(const struct hf_apps *apps, uint32_t id)
{
	size_t i = lower_bound(apps, id);

	return i < apps->count && apps->apps[i]->id == id ? apps->apps[i] : NULL;
}

const struct hf_app *hf_apps_after(const struct hf_apps *apps, uint32_t after)
{
	size_t i = lower_bound(apps, (uint64_t)after + 1);

	return i < apps->count ? apps->apps[i] : NULL;
}
