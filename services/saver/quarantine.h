/* services/saver/quarantine.h - clients are never to be trusted: the two loops that a bad one can
 * make us run in, and how they end. Pure: the caller brings the time and logs what is returned.
 *
 * A registration whose logins load messages and never ack one: after `loads` such logins in a row
 * its queue is closed for `loads_time`. Any ack opens it and starts the count again.
 *
 * What follows within `patience` counts once: on a bad network a good client may come back many
 * times before its first ack gets through, while one that loops for ever is counted soon enough.
 *
 * A message that was delivered `deliveries` times without an ack is perhaps what kills its client
 * each time. The first such message of a load - the one a client that works in order stumbles over
 * - is left out of loads for `message_time`, while the rest of the queue goes on.
 *
 * Both tables are bounded; what was touched least lately leaves first, and then starts from zero.
 */
#ifndef SAVER_QUARANTINE_H
#define SAVER_QUARANTINE_H

#include <sys/queue.h>

#include "hf_slab.h"
#include "hf_table.h"
#include "value.h"

struct saver_suspect {
	struct hf_table_node node;
	TAILQ_ENTRY(saver_suspect) link; /* least lately touched first */
	hf_handle handle;
	uint32_t count;      /* loads or deliveries without an ack */
	uint64_t counted_ms; /* when the last of them was counted */
	uint64_t message_id; /* messages only */
	uint64_t until_ms;   /* in quarantine until then; 0: not */
};
TAILQ_HEAD(saver_suspect_list, saver_suspect);

struct saver_suspects {
	struct hf_slab slab;
	struct hf_table table;
	struct saver_suspect_list list;
	size_t quarantined; /* with until_ms != 0; past ones count until they are touched */
};

struct saver_quarantine {
	struct saver_suspects registrations, messages;
	uint32_t loads, deliveries;
	uint64_t loads_time_ms, message_time_ms, patience_ms;
};

HF_MUST_CHECK int saver_quarantine_init(struct saver_quarantine *quarantine, uint32_t table_max);
void saver_quarantine_deinit(struct saver_quarantine *quarantine);

/* Until when the queue is closed, 0 when it is open. */
uint64_t saver_quarantine_closed(struct saver_quarantine *quarantine, const struct saver_name *name,
				 uint64_t now_ms);
/* A login load returned messages. True when this closed the queue: the next load finds it so. */
bool saver_quarantine_on_login_load(struct saver_quarantine *quarantine,
				    const struct saver_name *name, uint64_t now_ms);
/* A message was given to its client. */
void saver_quarantine_on_delivery(struct saver_quarantine *quarantine,
				  const struct saver_name *name, uint64_t message_id,
				  uint64_t now_ms);
/* Is the message to be left out? `*first`: true for the oldest candidate of a load, which may be
 * put into quarantine by this call; then *ret_new is set and *first is false after. */
bool saver_quarantine_skips(struct saver_quarantine *quarantine, const struct saver_name *name,
			    uint64_t message_id, uint64_t now_ms, bool *first, bool *ret_new);
uint32_t saver_quarantine_deliveries(const struct saver_quarantine *quarantine,
				     const struct saver_name *name, uint64_t message_id);
/* The message is acked, or left the store in another way. */
void saver_quarantine_on_ack(struct saver_quarantine *quarantine, const struct saver_name *name,
			     uint64_t message_id);
void saver_quarantine_on_removed(struct saver_quarantine *quarantine, const struct saver_name *name,
				 uint64_t message_id);

#endif
