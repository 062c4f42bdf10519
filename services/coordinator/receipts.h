/* services/coordinator/receipts.h - what receipts.c (what happens when) and receipts_store.c (calls
 * to saver) share. */
#ifndef COORDINATOR_RECEIPTS_H
#define COORDINATOR_RECEIPTS_H

#include "events.h"
#include "hf_event.h"
#include "saver.pb-c.h"

#define RECEIPT_QUEUES_MAX 20000
#define RECEIPT_BATCH_MAX  HF_WEBHOOK_BATCH_MAX
#define RECEIPT_WAKES_MAX  3 /* of one batch, by the success of others */
#define RECEIPT_CALL_MS    3000
#define LIST_PAGE          500

/* A queue of the spool that has, or may have, events; freed when it is empty. */
enum queue_phase {
	QUEUE_IDLE,
	QUEUE_STORING, /* saver was asked something */
	QUEUE_WAITING, /* for its timer */
	QUEUE_SENDING,
};
enum queue_step {
	QUEUE_STEP_SEND, /* read the batch, send it */
	QUEUE_STEP_BURY, /* read the batch, make a dead letter of it */
	QUEUE_STEP_REMOVE,
};

struct queue {
	struct hf_table_node node;
	struct hook_member member;
	struct receipts *receipts;
	struct hook *hook;
	enum queue_phase phase;
	enum queue_step step;
	uint8_t lane;
	uint16_t part;
	bool poked;       /* something was appended since the last read was asked for */
	bool more;        /* the last read did not see all */
	bool discard;     /* its callback is gone: so are its events */
	bool waited;      /* for more events, before this batch */
	bool unreachable; /* the last try failed in a way that another batch's success may heal */
	unsigned attempt; /* tries of this batch that failed */
	unsigned wakes;
	uint64_t unknown_ms; /* since when its callback is unknown; 0: it is known */
	uint64_t letter_id;  /* of the dead letter that the batch becomes: the same in each try */
	struct hf_timer timer;
	struct parcel parcel;
	char *body; /* while it is being sent */
	struct notes *notes;
	char reason[64];
	uint64_t oldest_ms;
	size_t count; /* the batch, fixed after the first try; 0: none is read */
	uint64_t sequences[RECEIPT_BATCH_MAX];
};

struct receipts {
	struct coordinator_state *state;
	struct targets *targets;
	struct hooks hooks;
	struct hf_table queues;
	uint8_t lanes[HF_EVENT_LANES / 8]; /* ours */
	struct hf_timer list_timer;
	bool listing, list_again, more, closed, draining;
	Hf__SpoolQueue after; /* with `more`: where the next page begins */
	char after_webhook[HF_WEBHOOK_ID_MAX];
	size_t sending, storing;
	struct events_metrics metrics;
	uint64_t *buried, *discarded, *unreadable, *full;
};

/* receipts_store.c: each ends in receipts_next(), receipts_send(), or the end of the queue. */
void receipts_read(struct queue *queue);
void receipts_remove(struct queue *queue);

/* receipts.c */
void receipts_next(struct queue *queue);
void receipts_send(struct queue *queue, Hf__Event *const *events);
void receipts_wait_a_little(struct queue *queue);
void receipts_forget(struct queue *queue); /* frees it */

#endif
