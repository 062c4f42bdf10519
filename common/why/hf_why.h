/* common/why/hf_why.h - what this process did lately with each message and each registration.
 *
 * A ring of fixed records, always on, in every service: each hop writes one line of code and 40
 * bytes. The oldest are overwritten. One RPC, Why, reads them in every service, and center makes
 * one story of all (README.md). A record holds no name, only its hash by the cluster's salt: who
 * asks must know it.
 *
 *	 0        8             16          24       32    36       37
 *	+--------+-------------+-----------+--------+-----+---------+---------
 *	| at_us  | message id  | name hash | detail | app | outcome | unused
 *	+--------+-------------+-----------+--------+-----+---------+---------
 */
#ifndef HF_WHY_H
#define HF_WHY_H

#include "hf_base.h"
#include "hf_clock.h"

/* Who writes it is part of what happened. hf_why_words.c has the words, and what `detail` says.
 * Sent between processes: append, never renumber. */
enum hf_why_outcome {
	HF_WHY_NOTHING,
	/* center */
	HF_WHY_ACCEPTED,
	HF_WHY_STORE_DONE,
	HF_WHY_STORE_FAILED,
	HF_WHY_FOUND_ONLINE,
	HF_WHY_FOUND_OFFLINE,
	HF_WHY_NOT_FOUND,
	HF_WHY_PUSH_WRITTEN,
	HF_WHY_PUSH_DEFERRED,
	HF_WHY_PUSH_IN_FLIGHT,
	HF_WHY_PUSH_GONE,
	HF_WHY_PUSH_DROPPED,
	HF_WHY_PUSH_FAILED,
	/* saver */
	HF_WHY_STORED,
	HF_WHY_LOADED,
	HF_WHY_ACKED,
	HF_WHY_EXPIRED,
	HF_WHY_DROPPED_CAP,
	HF_WHY_PURGED,
	HF_WHY_COLLAPSED,
	HF_WHY_RECALLED,
	HF_WHY_QUARANTINED,
	HF_WHY_REDELIVERED,
	/* register */
	HF_WHY_SESSION_ADDED,
	HF_WHY_SESSION_REMOVED,
	HF_WHY_SESSION_STALE,
	HF_WHY_SESSION_KICKED,
	/* room */
	HF_WHY_LOGIN,
	HF_WHY_RESUMED,
	HF_WHY_CLOSED,
	HF_WHY_WRITTEN,
	HF_WHY_DEFERRED,
	HF_WHY_IN_FLIGHT,
	HF_WHY_GONE,
	HF_WHY_DROPPED,
	HF_WHY_LOADED_WRITTEN,
	HF_WHY_TASK_WRITTEN,
	HF_WHY_CLIENT_ACKED,
	/* coordinator */
	HF_WHY_POSTED,
	HF_WHY_POST_FAILED,
	HF_WHY_EVENT_DELIVERED,
	HF_WHY_EVENT_FAILED,
	/* room, again */
	HF_WHY_LINGERING,
	HF_WHY_PARKED,
	HF_WHY_RESENT,
	/* center, again */
	HF_WHY_JOB_ACCEPTED,
	HF_WHY_JOB_LEASED,
	HF_WHY_JOB_OVER,
	/* room, again */
	HF_WHY_DROPPED_EXPIRED,
	HF_WHY_DROPPED_EARLY,
	/* center, again: what was asked of it by the business */
	HF_WHY_TAKEN_BACK,
	HF_WHY_JOB_PAUSED,
	HF_WHY_JOB_RESUMED,
	HF_WHY_JOB_PACED,
	HF_WHY_OUTCOMES
};

enum hf_why_hop {
	HF_WHY_HOP_NONE,
	HF_WHY_CENTER,
	HF_WHY_SAVER,
	HF_WHY_REGISTER,
	HF_WHY_ROOM,
	HF_WHY_COORDINATOR,
};

struct hf_why_record {
	uint64_t at_us;      /* wall clock; 0: never written */
	uint64_t message_id; /* 0: about a registration only */
	uint64_t name;       /* hf_why_name(); 0: about a message only */
	uint64_t detail;
	uint32_t app;
	uint8_t outcome; /* enum hf_why_outcome */
};

_Static_assert(sizeof(struct hf_why_record) == 40, "as promised above");

struct hf_why {
	struct hf_why_record *records; /* NULL: notes are lost, as in tests of single modules */
	uint64_t next, mask, salt;
};

/* `records` is rounded up to a power of two. 0 or -ENOMEM. */
HF_MUST_CHECK int hf_why_init(struct hf_why *why, uint64_t records, uint64_t salt);
void hf_why_deinit(struct hf_why *why);

/* The same in every process of the cluster. At most HF_USER_ID_MAX bytes; what is longer is cut. */
uint64_t hf_why_name(const struct hf_why *why, uint32_t app, const void *registration, size_t len);

/* Some tens of nanoseconds, most of them for the clock (tools/bench: hf-drive why). */
static inline void hf_why_note(struct hf_why *why, enum hf_why_outcome outcome, uint32_t app,
			       uint64_t message_id, uint64_t name, uint64_t detail)
{
	struct hf_why_record *record;

	if (why->records == NULL)
		return;
	record = &why->records[why->next++ & why->mask];
	record->at_us = hf_clock_wall_us();
	record->message_id = message_id;
	record->name = name;
	record->detail = detail;
	record->app = app;
	record->outcome = (uint8_t)outcome;
}

/* The same of a message (0: none) and a registration. */
void hf_why_note_name(struct hf_why *why, enum hf_why_outcome outcome, uint32_t app,
		      const void *registration, size_t len, uint64_t message_id, uint64_t detail);

struct hf_why_query {
	uint32_t app;
	uint64_t message_id; /* 0: any; else only its records */
	uint64_t name;       /* 0: any; else only its records */
	uint64_t since_us;
	size_t max;
};

/* The newest `max` records that match, newest first, into `ret`. Returns how many. Looks at each
 * record of the ring: some hundred microseconds for 65,536. *ret_oldest_us: what is older was
 * overwritten; 0: nothing was yet. */
size_t hf_why_find(const struct hf_why *why, const struct hf_why_query *query,
		   struct hf_why_record *ret, uint64_t *ret_oldest_us);

/* What `detail` of an outcome is. */
enum hf_why_detail {
	HF_WHY_DETAIL_NONE,
	HF_WHY_DETAIL_ROOM,  /* node number */
	HF_WHY_DETAIL_SAVER, /* node number */
	HF_WHY_DETAIL_COUNT,
	HF_WHY_DETAIL_CLOSE,  /* close code of the client protocol */
	HF_WHY_DETAIL_STATUS, /* of HTTP; 0: no answer */
};

struct hf_why_words {
	enum hf_why_hop hop;
	enum hf_why_detail detail;
	const char *name; /* "push_written" */
	const char *text; /* "pushed: written to the client by" */
};

/* NULL for a number that this version does not know. */
const struct hf_why_words *hf_why_words(uint32_t outcome);

#endif
