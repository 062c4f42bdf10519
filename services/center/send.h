/* services/center/send.h - one send request, from its JSON to its answer.
 *
 * Checks it, takes it from the app's quota, claims its idempotency key, starts the message, waits
 * for as much as options.wait asks, and words the answer. The three routes that send share it. */
#ifndef CENTER_SEND_H
#define CENTER_SEND_H

#include "center.h"
#include "hf_buffer.h"

struct send;

struct send_input {
	const struct hf_app *app;
	struct hf_bytes text;   /* borrowed for the call of send_begin() */
	struct hf_bytes key;    /* Idempotency-Key header; data NULL: none */
	const char *request_id; /* copied */
};

struct send_answer {
	unsigned status;
	struct hf_buffer *text; /* JSON; the callback may take what is in it */
	bool replayed;
	int retry_after_s; /* < 0: none */
};
typedef void (*send_done)(const struct send_answer *answer, void *ctx);

/* `done` runs exactly once, unless detached: from within this call, which then returns NULL, or
 * later. */
struct send *send_begin(struct center *center, const struct send_input *input, send_done done,
			void *ctx);
/* Nobody waits for the answer any more. What was begun is finished all the same. */
void send_detach(struct send *send);
/* At the end of the process, when no call can come back any more. */
void send_free_all(struct center *center);

#endif
