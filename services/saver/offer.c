#include "offer.h"

#include <stdlib.h>

#include "acked.h"
#include "hf_audience.h"
#include "saver.h"
#include "script.h"

static void finish(struct saver_offer *offer)
{
	saver_offer_cb done = offer->done;

	offer->done = NULL;
	done(offer, offer->error);
}

static void one_has_come(struct saver_offer *offer, enum saver_error error)
{
	if (offer->error == SAVER_OK)
		offer->error = error;
	if (--offer->waits == 0)
		finish(offer);
}

/* --- What it has acked --- */

static void on_acked(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_offer *offer = ctx;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK && reply->elements > 0) {
		offer->acked = malloc(reply->elements * sizeof(offer->acked[0]));
		if (offer->acked == NULL)
			error = SAVER_INTERNAL;
	}
	for (size_t i = 0; error == SAVER_OK && i < reply->elements; i++) {
		if (saver_acked_id_decode(saver_reply_element(reply, i),
					  &offer->acked[offer->acked_count]))
			offer->acked_count++;
	}
	saver_ids_sort(offer->acked, offer->acked_count);
	offer->acked_known = error == SAVER_OK;
	one_has_come(offer, error);
}

static void read_acked(struct saver_offer *offer)
{
	struct saver *saver = offer->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("SMEMBERS"),
				     { key, saver_acked_key_encode(offer->name, key) } };
	enum saver_error error;

	offer->waits++;
	offer->acked_asked = true;
	saver_acked_flush(saver->acked, offer->name);
	error = saver_redis_send(saver->redis, saver_node_of(saver, offer->name),
				 SAVER_OP_BROADCAST, words, 2, on_acked, offer);
	if (error != SAVER_OK)
		one_has_come(offer, error);
}

/* --- Begin --- */

static void on_log(struct saver_log_wait *wait, struct saver_log_app *app, enum saver_error error)
{
	struct saver_offer *offer = HF_CONTAINER_OF(wait, struct saver_offer, wait);

	offer->app = app;
	one_has_come(offer, error);
}

enum saver_error saver_offer_begin(struct saver_offer *offer, struct saver *saver,
				   const struct saver_name *name, saver_offer_cb done)
{
	struct saver_log_app *known = saver_log_known(saver->log, name->app);
	enum saver_error error;

	*offer = (struct saver_offer){ .saver = saver, .name = name, .done = done };
	offer->wait.done = on_log;
	error = saver_log_ask(saver->log, name->app, &offer->wait);
	if (error != SAVER_OK)
		return error;
	offer->waits = 1;
	if (known != NULL && known->entry_count > 0)
		read_acked(offer); /* most likely wanted: not another round trip for it */
	return SAVER_OK;
}

bool saver_offer_has_any(const struct saver_offer *offer)
{
	return offer->app != NULL && offer->app->entry_count > 0;
}

/* --- Select --- */

/* Of who has no record nothing is known but its name. */
static bool means_anybody(const Hf__Audience *audience)
{
	return audience == NULL ||
	       (audience->n_tag == 0 && audience->n_tag_and == 0 && audience->n_tag_not == 0 &&
		audience->n_platform == 0 && audience->version_min.len == 0 &&
		audience->version_max.len == 0);
}

static bool may_have(const struct saver_offer *offer, const struct saver_log_entry *entry,
		     uint64_t now_ms, const struct hf_profile *profile)
{
	const Hf__Audience *audience = entry->broadcast->audience;
	bool first = false, fresh;

	if (entry->state != HF__LOG_STATE__LOADABLE || entry->id <= offer->after ||
	    entry->expires_ms <= now_ms || saver_log_is_recalled(offer->app, entry->id, now_ms) ||
	    saver_ids_have(offer->acked, offer->acked_count, entry->id))
		return false;
	if (offer->record == NULL ? !means_anybody(audience)
				  : offer->record->first_seen_ms > entry->appended_ms)
		return false;
	/* Of those that are in quarantine already; the load itself finds new ones, in their order.
	 */
	return hf_audience_matches(audience, profile) &&
	       !saver_quarantine_skips(&offer->saver->quarantine, offer->name, entry->id, now_ms,
				       &first, &fresh);
}

static bool add_candidate(struct saver_offer *offer, struct saver_log_entry *entry)
{
	struct saver_candidate *candidate;

	if (offer->candidates == NULL)
		offer->candidates = malloc(SAVER_OFFER_MAX * sizeof(offer->candidates[0]));
	if (offer->candidates == NULL)
		return false;
	candidate = &offer->candidates[offer->count++];
	*candidate =
		(struct saver_candidate){ .offer = offer, .entry = saver_log_entry_ref(entry) };
	return true;
}

/* As many as a page takes at most, and one more message than fits in its bytes. */
static enum saver_error choose(struct saver_offer *offer)
{
	uint64_t now = hf_loop_wall_ms(offer->saver->service->loop);
	const Hf__RegistrationRecord *record = offer->record;
	uint8_t tags[HF_TAGS_PACKED_MAX];
	struct hf_profile profile = { .app = offer->name->app,
				      .registration = saver_name_registration(offer->name),
				      .tags = { tags, 0 } };
	size_t most = HF_MIN((size_t)offer->max_count + 1, (size_t)SAVER_OFFER_MAX), bytes = 0;

	if (record != NULL) {
		profile.platform = hf_bytes_of(record->platform.data, record->platform.len);
		profile.sdk_version =
			hf_bytes_of(record->sdk_version.data, record->sdk_version.len);
		profile.tags.len = hf_tags_pack(record->tags, record->n_tags, tags);
	}
	offer->version = offer->app->version;
	for (size_t i = 0; i < offer->app->entry_count; i++) {
		struct saver_log_entry *entry = offer->app->entries[i];

		if (!may_have(offer, entry, now, &profile))
			continue;
		if (offer->count == most || bytes > offer->max_bytes) {
			offer->cut = true;
			break;
		}
		if (!add_candidate(offer, entry))
			return SAVER_INTERNAL;
		bytes += entry->frame_len;
	}
	return SAVER_OK;
}

static void on_frame(struct saver_frame_wait *wait, struct saver_frame *frame,
		     enum saver_error error)
{
	struct saver_candidate *candidate = HF_CONTAINER_OF(wait, struct saver_candidate, wait);

	candidate->frame = frame != NULL ? saver_frame_ref(frame) : NULL;
	one_has_come(candidate->offer, error);
}

static void read_frames(struct saver_offer *offer)
{
	for (size_t i = 0; i < offer->count; i++) {
		struct saver_candidate *candidate = &offer->candidates[i];
		enum saver_error error;

		candidate->wait.done = on_frame;
		offer->waits++;
		error = saver_log_frame(candidate->entry, &candidate->wait, &candidate->frame);
		if (error != SAVER_OK || candidate->frame != NULL)
			one_has_come(offer, error);
	}
}

static void select_now(struct saver_offer *offer, saver_offer_cb done)
{
	offer->done = done;
	offer->waits = 1; /* while they are asked for */
	offer->error = choose(offer);
	if (offer->error == SAVER_OK)
		read_frames(offer);
	one_has_come(offer, SAVER_OK);
}

/* What it has acked is known by now. */
static void on_ready(struct saver_offer *offer, enum saver_error error)
{
	saver_offer_cb done = offer->next;

	if (error != SAVER_OK)
		done(offer, error);
	else
		select_now(offer, done);
}

void saver_offer_select(struct saver_offer *offer, const Hf__RegistrationRecord *record,
			uint64_t after, uint32_t max_count, uint32_t max_bytes, saver_offer_cb done)
{
	offer->record = record;
	offer->after = after;
	offer->max_count = max_count;
	offer->max_bytes = max_bytes;
	if (saver_offer_has_any(offer) && !offer->acked_asked) {
		offer->next = done;
		offer->done = on_ready;
		read_acked(offer);
		return;
	}
	select_now(offer, done);
}

const struct saver_candidate *saver_offer_find(const struct saver_offer *offer, uint64_t id)
{
	size_t low = 0, high = offer->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (offer->candidates[middle].entry->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < offer->count && offer->candidates[low].entry->id == id
		       ? &offer->candidates[low]
		       : NULL;
}

/* Does it remember what nobody will offer it any more? Not every time: a few do no harm. */
static bool wants_pruning(const struct saver_offer *offer)
{
	for (size_t i = 0; i < offer->acked_count; i++) {
		if (saver_log_find(offer->app, offer->acked[i]) == NULL)
			return true;
	}
	return false;
}

void saver_offer_deinit(struct saver_offer *offer)
{
	for (size_t i = 0; i < offer->count; i++) {
		saver_frame_unref(offer->candidates[i].frame);
		saver_log_entry_unref(offer->candidates[i].entry);
	}
	if (offer->app != NULL) {
		if (offer->acked_known && wants_pruning(offer))
			saver_broadcasts_prune(offer->saver, offer->name);
		saver_log_release(offer->app);
	}
	free(offer->candidates);
	free(offer->acked);
	*offer = (struct saver_offer){ 0 };
}
