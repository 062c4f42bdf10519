/* services/center/run.h - one job that this center has the lease of.
 *
 *	LeaseJobs --> claimed (RenewJob says that it has started) --> its kind's work --> finished
 *
 * Each second it renews its lease, with its progress. When the lease is another's, or was not
 * renewed in time, it is dropped without a word: whoever has it goes on. */
#ifndef CENTER_RUN_H
#define CENTER_RUN_H

#include "center.h"
#include "hf_arena.h"
#include "hf_rpc.h"
#include "jobs.h"
#include "request.h"
#include "runner.h"

#define RUN_TICK_MS  1000
#define RUN_LEASE_MS 5000

struct message;

/* What one process of a room did of a broadcast. */
struct run_room {
	uint32_t number;
	uint64_t incarnation; /* 0: did not answer yet */
	bool present;         /* the keeper knows it */
	bool asking;          /* a call is open */
	bool known;           /* it has the task */
	bool done;
	bool counted;         /* it said how many of its sessions match */
	uint32_t revision;    /* that it has */
	uint32_t told_millis; /* rate that it was told */
	uint64_t targets, sessions, walked, matched;
	uint64_t written, deferred, dropped;
};

struct run {
	struct center *center;
	TAILQ_ENTRY(run) link;
	struct hf_timer timer;
	unsigned calls; /* open: the run is not freed meanwhile */
	bool dropped;   /* of no interest any more */
	bool busy;      /* a step's call is open: one at a time */
	bool renewing;
	bool claimed; /* the store knows that it has started */
	bool finishing, finish_sent;
	uint64_t asked_ms;  /* monotonic; of the renewal under way */
	uint64_t leased_ms; /* monotonic; when the lease was last asked for, and got */
	/* the job, as we know it */
	uint64_t id, due_ms, created_ms, started_ms, rate_per_second, spread_ms;
	uint32_t app, revision;
	Hf__JobKind kind;
	Hf__JobState state;
	struct hf_arena arena; /* of spec and what is made of it */
	struct hf_bytes spec;
	char label[REQUEST_LABEL_MAX + 1];
	Hf__JobState final_state;
	const char *reason; /* of a failure; a literal */
	/* a broadcast */
	Hf__Broadcast *broadcast;
	bool recalled, appended, counting, counted;
	bool told_completed; /* whoever asked for it knows that it is over */
	uint64_t polled_ms;
	uint32_t log_revision; /* of the job's state that the log is in */
	size_t span_count, room_count, room_capacity;
	Hf__LoadableSpan *spans, **span_list;
	struct run_room *rooms;
	struct run_room gone; /* sums of room processes that are no more */
	uint64_t targets;     /* counted at the start; 0: not counted */
	/* a scheduled send */
	struct request request;
	struct message *message;
	bool parsed, resolved, stored;
};

/* runner.c */
void run_finish(struct run *run, Hf__JobState state, const char *reason);
/* A call's answer has come. False: the run is of no interest any more, and may be gone. */
HF_MUST_CHECK bool run_call_ended(struct run *run);
ProtobufCService *run_any_saver(struct run *run);
/* There is none: one whose definition can't be read may be readable to another, or soon. */
bool run_app_is_gone(const struct run *run);
void run_advance(struct run *run); /* what can be done now */
void run_renew(struct run *run);   /* the lease; and finish, when that is due */

/* run_broadcast.c */
HF_MUST_CHECK int run_broadcast_open(struct run *run, const Hf__Job *job); /* 0 or -EINVAL */
void run_broadcast_close(struct run *run);
void run_broadcast_advance(struct run *run); /* its next step */
void run_broadcast_stop(struct run *run);    /* it was cancelled: tell the log and the rooms */

/* run_rooms.c */
void run_rooms_restore(struct run *run, const Hf__JobProgress *progress);
void run_rooms_count(struct run *run);
void run_rooms_tick(struct run *run); /* each second: ask them, share out the rate */
bool run_rooms_done(const struct run *run);
void run_rooms_sum(const struct run *run, struct run_room *ret);
/* In `arena`; NULL: out of memory. */
Hf__JobProgress *run_rooms_progress(const struct run *run, struct hf_arena *arena);

/* run_completed.c */
bool run_completed_wanted(const struct run *run);
void run_completed_tell(struct run *run); /* then run_renew() */

/* run_send.c */
void run_send_advance(struct run *run);
void run_send_close(struct run *run);

#endif
