/* services/saver/spool.h - events on their way to businesses: queues in Redis that coordinators
 * empty (proto/event.proto has the contract).
 *
 *	hf:e:<app>:<lane>:<callback>   stream: the entry's id is the event's sequence, its one field
 *	                               holds a packed hf.Event
 *	hf:el:<lane>                   sorted set: members name the queues of the lane that have
 *some hf:ea:<app>                    hash: "n" and "b", events and bytes held for the app; the
 *number of a lane: its last sequence
 *
 * An event lies on the Redis node of its key's slot, where what caused it lies as well: commands of
 * one turn that are sent to one node are carried out in the order in which they were sent, so that
 * an event which was added before the HDEL of its message is there when the message is gone.
 *
 * Sequences are microseconds of Redis' clock, and one more than the last when that does not grow.
 */
#ifndef SAVER_SPOOL_H
#define SAVER_SPOOL_H

#include "event.pb-c.h"
#include "hf_apps.h"
#include "saver.h"

#define SAVER_SPOOL_APPEND_MAX 1000
#define SAVER_SPOOL_READ_MAX   500
#define SAVER_SPOOL_REMOVE_MAX 1000
#define SAVER_SPOOL_LIST_MAX   1000
#define SAVER_EVENT_KEY_MAX    HF_USER_ID_MAX

struct saver_spool;

HF_MUST_CHECK int saver_spool_new(struct saver *saver, struct saver_spool **ret_spool);
void saver_spool_close(struct saver_spool *spool); /* ends what may call back; NULL is fine */
void saver_spool_free(struct saver_spool *spool);  /* NULL is fine */

struct saver_event {
	Hf__EventType type;
	uint64_t id;          /* 0: a new one. Else the same whenever this event is made again */
	struct hf_bytes data; /* a JSON object of at most HF_EVENT_DATA_MAX bytes */
};

/* Does a callback of the app want such events? For the hot path: a look-up in memory. */
bool saver_spool_wants(const struct saver *saver, uint32_t app, Hf__EventType type);

/* Add events of one registration, all copied; those that nobody wants are passed over. The command
 * is sent at once: what is sent to the node of `name` after this call is carried out after it. What
 * Redis then has no room for is counted. Not SAVER_OK: nothing was added. At most 1000. */
HF_MUST_CHECK enum saver_error saver_spool_add(struct saver *saver, const struct saver_name *name,
					       const struct saver_event *events, size_t count);

/* The same for one message.* event of a message: makes id and data. `label` and `params` as in
 * Delivery, `reason` may be NULL. */
HF_MUST_CHECK enum saver_error saver_spool_add_message(struct saver *saver,
						       const struct saver_name *name,
						       Hf__EventType type, uint64_t message_id,
						       struct hf_bytes label,
						       struct hf_bytes params, const char *reason);

/* spool_read.c: what the two files share. */
struct saver_spool_queue {
	uint32_t app;
	uint8_t lane, webhook_len;
	unsigned node;
	char webhook[HF_WEBHOOK_ID_MAX + 1];
};
#define SAVER_SPOOL_KEY_MAX (8 + 10 + 1 + 2 + 1 + HF_WEBHOOK_ID_MAX)
size_t saver_spool_app_key(uint32_t app, char ret[SAVER_SPOOL_KEY_MAX + 1]);
size_t saver_spool_lane_key(unsigned lane, char ret[SAVER_SPOOL_KEY_MAX + 1]);
size_t saver_spool_queue_key(const struct saver_spool_queue *queue,
			     char ret[SAVER_SPOOL_KEY_MAX + 1]);
size_t saver_spool_member(uint32_t app, const char *webhook, char ret[SAVER_SPOOL_KEY_MAX + 1]);

#endif
