/* services/coordinator/notes.h - which messages and registrations the events of a request are
 * about, so that its outcome can be noted for each of them (common/why). */
#ifndef COORDINATOR_NOTES_H
#define COORDINATOR_NOTES_H

#include "event.pb-c.h"
#include "hf_service.h"
#include "post.h"

struct notes;

/* NULL, without harm: no memory. */
struct notes *notes_new(const struct hf_service *service, Hf__Event *const *events, size_t count);
/* Note the outcome for all, and free them. NULL is fine. `outcome` NULL: nothing was sent. */
void notes_end(struct notes *notes, struct hf_service *service, const struct post_outcome *outcome);

#endif
