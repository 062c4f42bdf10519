/* services/saver/offer.h - the broadcasts that one load may bring, as if they lay in the queue of
 * its registration.
 *
 *	saver_offer_begin()   beside the load's other first commands: the log as it is now
 *	saver_offer_select()  when the record is known: those that are loadable, not expired, mean
 *	                      the registration, were appended when it was there already, and that
 *	                      it has not acked; with their frames
 *
 * Only as many are selected as one page takes. `cut`: there are more, and nothing beyond the last
 * one may be loaded before them. */
#ifndef SAVER_OFFER_H
#define SAVER_OFFER_H

#include "log_cache.h"

#define SAVER_OFFER_MAX 129 /* one more than a page takes */

struct saver_offer;
typedef void (*saver_offer_cb)(struct saver_offer *offer, enum saver_error error);

struct saver_candidate {
	struct saver_frame_wait wait;
	struct saver_offer *offer;
	struct saver_log_entry *entry;
	struct saver_frame *frame; /* NULL: it left the log meanwhile */
};

struct saver_offer {
	struct saver *saver;
	const struct saver_name *name;
	struct saver_log_app *app; /* from the first callback on */
	uint32_t version;          /* of the log as it was selected from */
	bool cut;
	size_t count;
	struct saver_candidate *candidates; /* by id */
	/* offer.c's own */
	struct saver_log_wait wait;
	saver_offer_cb done, next;
	enum saver_error error;
	uint32_t waits;
	bool acked_asked, acked_known;
	uint64_t *acked; /* sorted */
	size_t acked_count;
	const Hf__RegistrationRecord *record;
	uint64_t after;
	uint32_t max_count, max_bytes;
};

/* `done` runs once, later, unless this fails. `name` is borrowed; `offer` outlives the call. */
HF_MUST_CHECK enum saver_error saver_offer_begin(struct saver_offer *offer, struct saver *saver,
						 const struct saver_name *name,
						 saver_offer_cb done);
/* Might the record matter: is there anything that may be loaded? After the first callback. */
bool saver_offer_has_any(const struct saver_offer *offer);
/* `record`: NULL when there is none: then only what means everybody does. It is borrowed. `done`
 * may run within. */
void saver_offer_select(struct saver_offer *offer, const Hf__RegistrationRecord *record,
			uint64_t after, uint32_t max_count, uint32_t max_bytes,
			saver_offer_cb done);
const struct saver_candidate *saver_offer_find(const struct saver_offer *offer, uint64_t id);
void saver_offer_deinit(struct saver_offer *offer); /* {0} is fine */

/* Who was given broadcasts acks them: those of `ids` that are in the log are remembered for the
 * registration, and each is counted once. SAVER_OK: `cb` runs once, later. */
typedef void (*saver_broadcasts_cb)(enum saver_error error, void *ctx);
HF_MUST_CHECK enum saver_error saver_broadcasts_ack(struct saver *saver,
						    const struct saver_name *name,
						    const uint64_t *ids, size_t count,
						    saver_broadcasts_cb cb, void *ctx);
/* Is the id that of a broadcast, as far as is known without asking? */
bool saver_broadcasts_have(struct saver *saver, uint32_t app, uint64_t id);
/* The set of what the registration has acked loses what is no longer in the log. */
void saver_broadcasts_prune(struct saver *saver, const struct saver_name *name);

#endif
