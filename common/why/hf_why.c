#include "hf_why.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define RECORDS_A_PAGE 64u                   /* at most */
#define NAME_SEED      0x7768790000000000ull /* not the hash that chooses slots */

int hf_why_init(struct hf_why *why, uint64_t records, uint64_t salt)
{
	uint64_t size = 1;

	while (size < records)
		size *= 2;
	*why = (struct hf_why){ .mask = size - 1, .salt = salt };
	why->records = calloc(size, sizeof(why->records[0]));
	if (why->records == NULL)
		return -ENOMEM;
	/* The memory is there from the start: a record never waits for a page, and what a process
	 * needs is seen at once. */
	for (uint64_t i = 0; i < size; i += RECORDS_A_PAGE)
		*(volatile uint64_t *)&why->records[i].at_us = 0;
	return 0;
}

void hf_why_deinit(struct hf_why *why)
{
	free(why->records);
	why->records = NULL;
}

uint64_t hf_why_name(const struct hf_why *why, uint32_t app, const void *registration, size_t len)
{
	uint64_t seed = why->salt ^ (NAME_SEED + app) * 0x9e3779b97f4a7c15ull;

	/* Odd, as 0 is no name. */
	return XXH3_64bits_withSeed(registration, HF_MIN(len, (size_t)HF_USER_ID_MAX), seed) | 1;
}

void hf_why_note_name(struct hf_why *why, enum hf_why_outcome outcome, uint32_t app,
		      const void *registration, size_t len, uint64_t message_id, uint64_t detail)
{
	if (why->records != NULL)
		hf_why_note(why, outcome, app, message_id, hf_why_name(why, app, registration, len),
			    detail);
}

static bool matches(const struct hf_why_record *record, const struct hf_why_query *query)
{
	return record->app == query->app && record->at_us >= query->since_us &&
	       (query->message_id == 0 || record->message_id == query->message_id) &&
	       (query->name == 0 || record->name == query->name);
}

size_t hf_why_find(const struct hf_why *why, const struct hf_why_query *query,
		   struct hf_why_record *ret, uint64_t *ret_oldest_us)
{
	uint64_t size = why->mask + 1, held = HF_MIN(why->next, size);
	size_t count = 0;

	*ret_oldest_us = 0;
	if (why->records == NULL)
		return 0;
	if (why->next > size)
		*ret_oldest_us = why->records[why->next & why->mask].at_us;
	for (uint64_t i = 1; i <= held && count < query->max; i++) {
		const struct hf_why_record *record = &why->records[(why->next - i) & why->mask];

		if (matches(record, query))
			ret[count++] = *record;
	}
	return count;
}
