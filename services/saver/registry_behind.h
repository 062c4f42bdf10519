/* services/saver/registry_behind.h - the registry's way into MySQL: behind, in batches.
 *
 * Tables `registrations` and `registration_tags`. A newer record never gives way to an older one
 * that comes late: revision and first_seen decide, in the statement itself.
 *
 * What is not yet written is known twice: here, and by name in Redis (hf:d), so that a saver that
 * is killed leaves nothing behind that the next owner of its slots does not find. */
#ifndef SAVER_REGISTRY_BEHIND_H
#define SAVER_REGISTRY_BEHIND_H

#include "registry_rows.h"

struct saver;
struct saver_registry_behind;

HF_MUST_CHECK int saver_registry_behind_new(struct saver *saver,
					    struct saver_registry_behind **ret_behind);
/* After Redis and the database are closed. NULL is fine. */
void saver_registry_behind_free(struct saver_registry_behind *behind);

/* The record as it is now in Redis; data NULL: deleted. Over the bound it is left to a later look
 * into hf:d. */
void saver_registry_behind_put(struct saver_registry_behind *behind, const struct saver_name *name,
			       struct hf_bytes value, struct saver_registry_work work);

struct saver_registry_rows *saver_registry_behind_rows(struct saver_registry_behind *behind);
size_t saver_registry_behind_pending(const struct saver_registry_behind *behind);
/* For those that were left out: less than half of registry.rows is used, written ones that Redis
 * was not told of included. */
bool saver_registry_behind_has_room(const struct saver_registry_behind *behind);
/* Write everything now; for a drain. */
void saver_registry_behind_hurry(struct saver_registry_behind *behind);
/* Look into hf:d of all nodes soon: slots or contents are new to us. */
void saver_registry_behind_look(struct saver_registry_behind *behind);

#endif
