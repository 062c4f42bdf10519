/* services/saver/history.h - what became of recent messages, for Saver.MessageState. Pure.
 *
 * One record of 80 bytes per message, whatever its number of registrations; the oldest leaves when
 * the table is full. It is this process's memory only: a restart forgets it, and a message of many
 * registrations is known to several savers, which the asker sums up. */
#ifndef SAVER_HISTORY_H
#define SAVER_HISTORY_H

#include <sys/queue.h>

#include "hf_slab.h"
#include "hf_table.h"

enum saver_fate {
	SAVER_STORED,
	SAVER_ACKED,
	SAVER_EXPIRED,
	SAVER_DROPPED, /* by the cap */
	SAVER_RECALLED,
	SAVER_PURGED,    /* by an operator; counted as dropped, like the next */
	SAVER_COLLAPSED, /* a newer one with its collapse key came */
	SAVER_FATES
};

struct saver_history_record {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_history_record) link; /* oldest first */
	uint64_t message_id, expires_ms;
	hf_handle handle;
	uint32_t app;
	uint32_t counts[SAVER_PURGED]; /* the others count as dropped */
	uint8_t class;
	bool options; /* for some registration it has a Delivery */
};

_Static_assert(sizeof(struct saver_history_record) == 80, "as promised above");

struct saver_history {
	struct hf_slab slab;
	struct hf_table table;
	TAILQ_HEAD(, saver_history_record) list;
};

HF_MUST_CHECK int saver_history_init(struct saver_history *history, uint32_t max);
void saver_history_deinit(struct saver_history *history);

/* A message was stored for one more registration. */
void saver_history_stored(struct saver_history *history, uint32_t app, uint64_t message_id,
			  uint8_t class, uint64_t expires_ms, bool options);
/* Is it known, and known to have no Delivery? */
bool saver_history_plain(const struct saver_history *history, uint32_t app, uint64_t message_id);
/* It left the store of one registration. Unknown messages are left unknown. */
void saver_history_left(struct saver_history *history, uint32_t app, uint64_t message_id,
			enum saver_fate fate);
const struct saver_history_record *saver_history_find(const struct saver_history *history,
						      uint32_t app, uint64_t message_id);

#endif
