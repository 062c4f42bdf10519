/* services/center/claim.h - idempotency keys, kept by the saver that owns the key's slot. */
#ifndef CENTER_CLAIM_H
#define CENTER_CLAIM_H

#include "center.h"
#include "request.h"

#define CLAIM_RESPONSE_MAX 65536 /* bytes of an answer that a key keeps */

enum claim_result {
	CLAIM_WON,         /* go ahead, then claim_complete() or claim_give_up() */
	CLAIM_IN_PROGRESS, /* somebody is at it now */
	CLAIM_REPLAY,      /* done before: status and response are the first answer */
	CLAIM_MISMATCH,    /* the key was used for another request */
	CLAIM_UNAVAILABLE, /* no saver answered in time */
};

struct claim {
	struct center *center;
	uint32_t app, lease_ms;
	uint64_t owner, deadline_ms;
	size_t key_len;
	char key[REQUEST_CID_MAX];
	uint8_t fingerprint[32];
	unsigned attempts;
	struct hf_timer timer; /* between attempts */
	void (*on_result)(struct claim *, enum claim_result, unsigned status,
			  struct hf_bytes response);
	void (*on_complete)(struct claim *);
	char *response; /* while it is being completed */
	size_t response_len;
	unsigned status;
};

/* `key` of 1..REQUEST_CID_MAX bytes; `text` is what must be the same each time. */
void claim_init(struct claim *claim, struct center *center, uint32_t app, struct hf_bytes key,
		struct hf_bytes text, uint32_t lease_ms);
void claim_deinit(struct claim *claim);
/* `on_result` runs once, later, with a response that it borrows. */
void claim_start(struct claim *claim, void (*on_result)(struct claim *, enum claim_result,
							unsigned status, struct hf_bytes response));
/* Keep the answer for replays. `on_complete` runs once, later, be it kept or not. -ENOMEM: it
 * won't. */
HF_MUST_CHECK int claim_complete(struct claim *claim, unsigned status, struct hf_bytes response,
				 void (*on_complete)(struct claim *));
/* The key is free again; nobody waits for the outcome (the lease lapses anyway). */
void claim_give_up(struct claim *claim);

#endif
