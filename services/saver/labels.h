/* services/saver/labels.h - counts per app, day and label, for reports.
 *
 *	hf:l:<app>:<day>    hash, kept for 36 days: one field per label, "" for all messages
 *together; value: six decimal numbers: messages targets acked expired dropped recalled
 *
 * Summed up in memory and added to Redis within a second: what a killed saver had not sent is lost,
 * and so is what was on its way when a connection broke. A day's labels of an app are bounded:
 *those that come later are counted together as "~other". */
#ifndef SAVER_LABELS_H
#define SAVER_LABELS_H

#include "hf_base.h"
#include "history.h"

struct saver;
struct saver_labels;

HF_MUST_CHECK int saver_labels_new(struct saver *saver, struct saver_labels **ret_labels);
void saver_labels_free(struct saver_labels *labels); /* after Redis is closed; NULL is fine */

/* One more registration's message was stored, or left. `label` may be empty: the sum of all. */
void saver_labels_count(struct saver_labels *labels, uint32_t app, struct hf_bytes label,
			enum saver_fate fate);
/* One more message, however many registrations it is for; also counted in the sum of all. */
void saver_labels_message(struct saver_labels *labels, uint32_t app, struct hf_bytes label);
/* A broadcast is over. */
void saver_labels_broadcast(struct saver_labels *labels, uint32_t app, struct hf_bytes label,
			    uint64_t targets, uint64_t dropped);
/* Send what is counted now; false while some of it is not sent. For a drain. */
bool saver_labels_flush(struct saver_labels *labels);

#endif
