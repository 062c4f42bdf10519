/* services/saver/owed.h - what was stored and is not acked: when to ask for one more delivery.
 * Pure: the caller brings the time; redelivery.c does the asking.
 *
 * An entry falls due after `delay`; once tried, after twice that, and so on up to a minute; after
 * the last level it is dropped, as the next login loads the message anyway. What could not be tried
 * stays in its level. All entries of a level wait equally long, so that each level is a plain queue
 * in order of its due times: no heap, no timer each. */
#ifndef SAVER_OWED_H
#define SAVER_OWED_H

#include <sys/queue.h>

#include "hf_slab.h"
#include "hf_table.h"
#include "value.h"

#define SAVER_OWED_LEVELS     7
#define SAVER_OWED_LONGEST_MS 60000u

struct saver_owed_entry {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_owed_entry) link;
	hf_handle handle;
	uint8_t level;
	bool in_hand; /* taken by saver_owed_due(), in no queue */
	uint64_t message_id, due_ms;
	struct saver_name name;
};
TAILQ_HEAD(saver_owed_list, saver_owed_entry);

struct saver_owed {
	struct hf_slab slab;
	struct hf_table table;
	struct saver_owed_list levels[SAVER_OWED_LEVELS];
	uint64_t delay_ms;
};

HF_MUST_CHECK int saver_owed_init(struct saver_owed *owed, uint32_t max, uint64_t delay_ms);
void saver_owed_deinit(struct saver_owed *owed);

/* False when the table is full. Known already: nothing changes. _due: it falls due at once. */
bool saver_owed_add(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id,
		    uint64_t now_ms);
bool saver_owed_add_due(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id,
			uint64_t now_ms);
void saver_owed_forget(struct saver_owed *owed, const struct saver_name *name, uint64_t message_id);

/* The next entry that is due, now in hand until one of the two calls below; NULL: none. Its handle
 * finds nothing once it is forgotten. */
struct saver_owed_entry *saver_owed_due(struct saver_owed *owed, uint64_t now_ms);
struct saver_owed_entry *saver_owed_get(const struct saver_owed *owed, hf_handle handle);
/* Not acked yet: back into the queue of the next level; false: it was the last, the entry is gone.
 */
bool saver_owed_again(struct saver_owed *owed, struct saver_owed_entry *entry, uint64_t now_ms);
/* It could not be tried at all: back into the queue of its level. */
void saver_owed_wait(struct saver_owed *owed, struct saver_owed_entry *entry, uint64_t now_ms);
void saver_owed_drop(struct saver_owed *owed, struct saver_owed_entry *entry);

static inline size_t saver_owed_count(const struct saver_owed *owed)
{
	return owed->slab.live;
}
static inline bool saver_owed_full(const struct saver_owed *owed)
{
	return owed->slab.live >= owed->slab.limit;
}

#endif
