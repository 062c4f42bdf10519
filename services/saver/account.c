/* Counting: the one place that is told of each message that comes into the store or leaves it. */
#include "labels.h"
#include "saver.h"

static const enum hf_why_outcome why_of_fate[SAVER_FATES] = {
	[SAVER_STORED] = HF_WHY_STORED,       [SAVER_ACKED] = HF_WHY_ACKED,
	[SAVER_EXPIRED] = HF_WHY_EXPIRED,     [SAVER_DROPPED] = HF_WHY_DROPPED_CAP,
	[SAVER_RECALLED] = HF_WHY_RECALLED,   [SAVER_PURGED] = HF_WHY_PURGED,
	[SAVER_COLLAPSED] = HF_WHY_COLLAPSED,
};

void saver_account(struct saver *saver, const struct saver_name *name, uint64_t message_id,
		   enum saver_fate fate, bool was_there)
{
	*saver->metrics.fates[fate] += was_there;
	if (was_there) {
		hf_why_note_name(&saver->service->why, why_of_fate[fate], name->app, name->bytes,
				 name->len, message_id, 0);
		saver_labels_count(saver->labels, name->app, (struct hf_bytes){ 0 }, fate);
	}
	if (fate == SAVER_STORED)
		return;
	if (was_there) {
		saver_history_left(&saver->history, name->app, message_id, fate);
		saver_known_left(&saver->registry.known, name);
	}
	if (fate == SAVER_ACKED)
		saver_quarantine_on_ack(&saver->quarantine, name, message_id);
	else
		saver_quarantine_on_removed(&saver->quarantine, name, message_id);
	saver_owed_forget(&saver->owed, name, message_id);
	saver_write_behind_forget(saver->wb, name, message_id, was_there);
	saver_await_notify(&saver->await, name, message_id, fate == SAVER_ACKED);
}
