#include "known.h"

#include <errno.h>
#include <stdlib.h>

int saver_known_init(struct saver_known *known, uint32_t entries)
{
	uint64_t size = SAVER_KNOWN_LENGTHS;

	while (size < entries)
		size *= 2;
	known->mask = size - 1;
	known->entries = calloc(size, sizeof(known->entries[0]));
	return known->entries != NULL ? 0 : -ENOMEM;
}

void saver_known_deinit(struct saver_known *known)
{
	free(known->entries);
	known->entries = NULL;
}

void saver_known_add(struct saver_known *known, const struct saver_name *name)
{
	if (!saver_known_has(known, name))
		known->entries[name->hash & known->mask] = name->hash | SAVER_KNOWN_MANY;
}

void saver_known_forget(struct saver_known *known, const struct saver_name *name)
{
	uint64_t *entry = saver_known_find(known, name);

	if (entry != NULL)
		*entry = 0;
}

uint32_t saver_known_length(const struct saver_known *known, const struct saver_name *name)
{
	const uint64_t *entry = saver_known_find(known, name);

	return entry != NULL ? (uint32_t)(*entry & SAVER_KNOWN_MANY) : SAVER_KNOWN_MANY;
}

void saver_known_set_length(struct saver_known *known, const struct saver_name *name,
			    uint64_t length)
{
	uint64_t *entry = saver_known_find(known, name);

	if (entry != NULL)
		*entry = (*entry & ~(uint64_t)SAVER_KNOWN_MANY) |
			 HF_MIN(length, (uint64_t)SAVER_KNOWN_MANY);
}

/* Many is many, whatever comes and goes: it takes Redis to tell. */
void saver_known_sent(struct saver_known *known, const struct saver_name *name)
{
	uint64_t *entry = saver_known_find(known, name);

	if (entry != NULL && (*entry & SAVER_KNOWN_MANY) != SAVER_KNOWN_MANY)
		++*entry;
}

void saver_known_left(struct saver_known *known, const struct saver_name *name)
{
	uint64_t *entry = saver_known_find(known, name);
	uint64_t length = entry != NULL ? *entry & SAVER_KNOWN_MANY : 0;

	if (length > 0 && length != SAVER_KNOWN_MANY)
		--*entry;
}

void saver_known_clear(struct saver_known *known)
{
	memset(known->entries, 0, (known->mask + 1) * sizeof(known->entries[0]));
}
