#include "known.h"

#include <errno.h>
#include <stdlib.h>

int saver_known_init(struct saver_known *known, uint32_t entries)
{
	uint64_t size = 1;

	while (size < entries)
		size *= 2;
	known->mask = size - 1;
	known->hashes = calloc(size, sizeof(known->hashes[0]));
	return known->hashes != NULL ? 0 : -ENOMEM;
}

void saver_known_deinit(struct saver_known *known)
{
	free(known->hashes);
	known->hashes = NULL;
}

void saver_known_forget(struct saver_known *known, const struct saver_name *name)
{
	if (saver_known_has(known, name))
		known->hashes[name->hash & known->mask] = 0;
}

void saver_known_clear(struct saver_known *known)
{
	memset(known->hashes, 0, (known->mask + 1) * sizeof(known->hashes[0]));
}
