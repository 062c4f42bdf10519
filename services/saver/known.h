/* services/saver/known.h - registrations that are known to have a record. Pure.
 *
 * A direct-mapped table of keyed hashes: a newcomer overwrites who was in its place, and who is not
 * found is asked for in Redis. Only a slot's owner may remember its registrations: nobody else is
 * told when one is forgotten. */
#ifndef SAVER_KNOWN_H
#define SAVER_KNOWN_H

#include "value.h"

struct saver_known {
	uint64_t *hashes; /* 0: free */
	uint64_t mask;
};

HF_MUST_CHECK int saver_known_init(struct saver_known *known, uint32_t entries); /* 0 or -ENOMEM */
void saver_known_deinit(struct saver_known *known);

static inline bool saver_known_has(const struct saver_known *known, const struct saver_name *name)
{
	return known->hashes[name->hash & known->mask] == name->hash && name->hash != 0;
}
static inline void saver_known_add(struct saver_known *known, const struct saver_name *name)
{
	known->hashes[name->hash & known->mask] = name->hash;
}
void saver_known_forget(struct saver_known *known, const struct saver_name *name);
void saver_known_clear(struct saver_known *known);

#endif
