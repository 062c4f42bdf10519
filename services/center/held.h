/* services/center/held.h - definitions of apps: written to the keeper, and answered when this
 * center has taken notice, so that whoever makes a key can use it with his next request here. */
#ifndef CENTER_HELD_H
#define CENTER_HELD_H

#include "api.h"

/* The newest definition of the app, from the keeper. 0, or -EINVAL with the problem. */
HF_MUST_CHECK int held_read(struct call *call, struct hf_app *ret_app, struct problem *ret_problem);
/* Write `app` (create: only if there is none yet) and answer with `status` and `body`, which is
 * taken, as soon as our own view has it, or after a second. Two writers of one app at the same
 * time: the later wins. */
void held_write(struct call *call, const struct hf_app *app, bool create, unsigned status,
		json_t *body);
/* The frame of every change of an app: read it, let `edit` change it and word the answer, write it.
 * `edit` returns 0, or -EINVAL with the problem to answer. */
typedef int (*held_edit)(struct hf_app *app, void *ctx, json_t **ret_answer,
			 struct problem *ret_problem);
void held_change(struct call *call, held_edit edit, void *ctx, unsigned status);
/* For edits that have nothing to say: {"deleted":true}. */
json_t *held_word_deleted(void);
/* Remove the app and answer 200 with {"deleted":true}. */
void held_remove(struct call *call);

void held_on_change(struct center *center); /* our view of the apps is another */
void held_free_all(struct center *center);

#endif
