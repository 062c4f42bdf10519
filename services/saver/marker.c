#include "marker.h"

#include <inttypes.h>
#include <stdio.h>

#include "hf_hash.h"
#include "saver.h"

/* Tells one salt from another without telling it: where five names land. One node holds every slot.
 */
static uint64_t salt_print(const struct saver *saver)
{
	uint64_t print = 0;

	for (uint32_t app = 1; app <= 5 && saver_redis_count(saver->redis) > 1; app++)
		print = print << 12 | hf_slot(saver->service->salt, app, "holdfast", 8);
	return print;
}

void saver_marker_set(struct saver_marker *marker, const struct saver *saver, uint64_t store_id,
		      unsigned number)
{
	*marker = (struct saver_marker){ .store_id = store_id,
					 .salt_print = salt_print(saver),
					 .node = number,
					 .nodes = saver_redis_count(saver->redis) };
	hf_random_bytes(&marker->token, sizeof(marker->token));
	marker->token |= 1; /* 0 is "none seen yet" */
}

size_t saver_marker_format(const struct saver_marker *marker, char ret[SAVER_MARKER_MAX])
{
	int len = snprintf(ret, SAVER_MARKER_MAX,
			   "1 %016" PRIx64 " %u/%u %016" PRIx64 " %016" PRIx64, marker->store_id,
			   marker->node, marker->nodes, marker->salt_print, marker->token);

	return (size_t)len;
}

bool saver_marker_parse(struct saver_marker *ret, struct hf_bytes text)
{
	char copy[SAVER_MARKER_MAX];
	int end = 0;

	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return sscanf(copy, "1 %16" SCNx64 " %5u/%5u %16" SCNx64 " %16" SCNx64 "%n", &ret->store_id,
		      &ret->node, &ret->nodes, &ret->salt_print, &ret->token, &end) == 5 &&
	       (size_t)end == text.len;
}

bool saver_marker_fits(const struct saver_marker *marker, const struct saver *saver,
		       uint64_t store_id, unsigned number)
{
	return (store_id == 0 || marker->store_id == store_id) && marker->node == number &&
	       marker->nodes == saver_redis_count(saver->redis) &&
	       marker->salt_print == salt_print(saver);
}
