/* services/center/send_internal.h - one send request, as its parts see it:
 *
 *	send.c --> checked, key claimed --> send_stages.c --> message.c, or a job --> send_answer.c
 *
 * A send to plain registrations makes its message at once. Any other has a plan: a copy of the
 * request that lives while users are resolved, an older message is recalled, or a job is put. */
#ifndef CENTER_SEND_INTERNAL_H
#define CENTER_SEND_INTERNAL_H

#include "claim.h"
#include "hf_buffer.h"
#include "jobs.h"
#include "message.h"
#include "problem.h"
#include "send.h"

#define REQUEST_ID_TEXT_MAX 64

struct plan {
	struct hf_arena arena;
	struct hf_bytes text;
	struct request request;
	struct job_put put;
	Hf__Job job;
};

struct send {
	struct center *center;
	TAILQ_ENTRY(send) link;
	send_done done; /* NULL: detached */
	void *ctx;
	struct message *message;
	struct plan *plan; /* NULL: a plain send */
	struct claim claim;
	bool keyed;   /* has an idempotency key */
	bool claimed; /* and holds it */
	bool in_begin, answered, finished;
	uint32_t app, charged; /* recipients taken from the quota */
	enum request_wait wait;
	uint64_t wait_ms;
	struct hf_timer timer; /* of the wait */
	struct hf_buffer text; /* the answer */
	unsigned status;
	bool replayed;
	int retry_after_s;
	char request_id[REQUEST_ID_TEXT_MAX + 1];
};

/* send.c */
void send_finish(struct send *send); /* the answer stands: hand it over, and be gone */
/* Nothing was accepted: the quota is given back, the key is free again. */
void send_refuse(struct send *send, const struct problem *problem);

/* send_stages.c */
bool send_needs_plan(const struct request *request);
/* -EINVAL with a problem: out of memory. */
HF_MUST_CHECK int send_make_plan(struct send *send, const struct send_input *input,
				 struct problem *ret_problem);
void send_free_plan(struct send *send);
void send_proceed(struct send *send); /* the key is ours, or there is none */
void send_dry_run(struct send *send); /* of what has a plan */

/* send_answer.c */
void send_answer_accepted(struct send *send);
void send_answer_job(struct send *send);
void send_answer_valid(struct send *send, const struct request *request, size_t resolved);
/* `registered` < 0: the registry could not be asked. */
void send_answer_counts(struct send *send, uint64_t online, int64_t registered, bool complete);
void send_answer_replay(struct send *send, unsigned status, struct hf_bytes response);
const char *send_kind_name(const struct request *request);

#endif
