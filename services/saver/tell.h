/* services/saver/tell.h - what a business hears of a message that leaves the store: receipts by its
 * callback, and counts by label.
 *
 * Both are in the message's Delivery, which lies in Redis beside the frame. For a message that is
 * known to have none nothing is read (saver_history_plain()); the others are looked at before they
 * are deleted: saver_look() reads them, adds the events, and the deletes follow on the same
 * connection, so that the event is there when the message is gone. */
#ifndef SAVER_TELL_H
#define SAVER_TELL_H

#include "delivery.h"
#include "history.h"
#include "redis.h"

struct saver;

/* Add the receipt, if `delivery` (may be NULL) asks for it and a callback wants it. Not SAVER_OK:
 * nothing was added, and the message should stay. Told twice it is the same event. */
HF_MUST_CHECK enum saver_error saver_tell(struct saver *saver, const struct saver_name *name,
					  uint64_t message_id, enum saver_fate fate,
					  const Hf__Delivery *delivery);
/* One more message under its label, if it has one. The sum of all is counted by saver_account(). */
void saver_count_label(struct saver *saver, uint32_t app, enum saver_fate fate,
		       const Hf__Delivery *delivery);

#define SAVER_LOOK_PAGE 64

/* What was found of messages that are about to leave. */
struct saver_told {
	uint64_t id;
	bool stays; /* its event could not be added */
	Hf__Delivery *delivery;
};
struct saver_look {
	struct saver *saver;
	enum saver_fate fate;
	enum saver_error error; /* of the first that stays, or of reading */
	bool complete;          /* all were read; else none must be deleted */
	void (*done)(struct saver_look *look);
	struct saver_name name;
	const uint64_t *ids; /* the owner's */
	size_t count, next, page_count;
	uint64_t page[SAVER_LOOK_PAGE]; /* asked for now */
	struct saver_told *told;        /* by id: only those with a Delivery, and those that stay */
	size_t told_count, told_capacity;
};

/* Is there one of these that must be looked at? */
bool saver_look_needed(const struct saver *saver, uint32_t app, const uint64_t *ids, size_t count);
/* Look at all; `done` runs once, later, unless this is not SAVER_OK. Embedded in the caller's
 * record, which has filled in saver, fate, done, name, ids and count. */
HF_MUST_CHECK enum saver_error saver_look_start(struct saver_look *look);
const struct saver_told *saver_look_find(const struct saver_look *look, uint64_t id);
void saver_look_deinit(struct saver_look *look);

#endif
