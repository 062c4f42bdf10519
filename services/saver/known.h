/* services/saver/known.h - registrations that are known to have a record, and how long their queues
 * are at most. Pure.
 *
 * A direct-mapped table of keyed hashes: a newcomer overwrites who was in its place, and who is not
 * found is asked for in Redis. Only a slot's owner may remember its registrations: nobody else is
 * told when one is forgotten, or sends what is stored for it.
 *
 *	63                        10 9        0
 *	+----------------------------+----------+   The place of an entry has the lowest bits of
 *	| hash                       | length   |   its hash.
 *	+----------------------------+----------+
 */
#ifndef SAVER_KNOWN_H
#define SAVER_KNOWN_H

#include "value.h"

#define SAVER_KNOWN_LENGTHS 1024u                     /* and so many entries at least */
#define SAVER_KNOWN_MANY    (SAVER_KNOWN_LENGTHS - 1) /* or nobody knows */

struct saver_known {
	uint64_t *entries; /* 0: free */
	uint64_t mask;
};

HF_MUST_CHECK int saver_known_init(struct saver_known *known, uint32_t entries); /* 0 or -ENOMEM */
void saver_known_deinit(struct saver_known *known);

/* Its entry, or NULL. */
static inline uint64_t *saver_known_find(const struct saver_known *known,
					 const struct saver_name *name)
{
	uint64_t *entry = &known->entries[name->hash & known->mask];

	return *entry != 0 && (*entry ^ name->hash) < SAVER_KNOWN_LENGTHS ? entry : NULL;
}
static inline bool saver_known_has(const struct saver_known *known, const struct saver_name *name)
{
	return saver_known_find(known, name) != NULL;
}
/* With a queue of a length that nobody knows, unless it is there already. */
void saver_known_add(struct saver_known *known, const struct saver_name *name);

/* How many fields its queue has at most; SAVER_KNOWN_MANY: perhaps more. A message counts from when
 * it is sent to Redis until Redis says that it is gone. */
uint32_t saver_known_length(const struct saver_known *known, const struct saver_name *name);
/* Redis said so, when nothing was on its way. No-ops where it is not known. */
void saver_known_set_length(struct saver_known *known, const struct saver_name *name,
			    uint64_t length);
void saver_known_sent(struct saver_known *known, const struct saver_name *name);
void saver_known_left(struct saver_known *known, const struct saver_name *name);
void saver_known_forget(struct saver_known *known, const struct saver_name *name);
void saver_known_clear(struct saver_known *known);

#endif
