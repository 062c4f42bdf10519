/* common/base/hf_id.h - 64-bit ids that are unique in the cluster and grow with time.
 *
 *	63                     22 21          12 11           0
 *	+------------------------+--------------+--------------+
 *	| ms since 2024-01-01    | node number  | sequence     |
 *	+------------------------+--------------+--------------+
 *
 * The layout is Twitter's Snowflake with more time. The node number (1..1023) is claimed in the
 * keeper for as long as the process lives. Message ids and session epochs are such ids. When more
 * than 4096 are drawn in a millisecond, or the clock steps back, the time part runs ahead of the
 * clock. As text an id is 13 characters of Crockford's base 32, which sort like the number. */
#ifndef HF_ID_H
#define HF_ID_H

#include "hf_base.h"

#define HF_ID_EPOCH_MS  1704067200000ull
#define HF_ID_NODE_MAX  1023u
#define HF_ID_TEXT_SIZE 14 /* 13 characters and a NUL */

struct hf_id_generator {
	uint64_t last; /* time and sequence of the newest id, node bits 0 */
	uint32_t node;
};

void hf_id_generator_init(struct hf_id_generator *generator, uint32_t node);
uint64_t hf_id_next(struct hf_id_generator *generator, uint64_t wall_ms);

static inline uint64_t hf_id_wall_ms(uint64_t id)
{
	return (id >> 22) + HF_ID_EPOCH_MS;
}
static inline uint32_t hf_id_node(uint64_t id)
{
	return (uint32_t)(id >> 12) & HF_ID_NODE_MAX;
}

void hf_id_format(uint64_t id, char ret[HF_ID_TEXT_SIZE]);
/* 0, or -EINVAL: not 13 characters of the alphabet (case-insensitive; without I, L, O and U), or
 * over 64 bits. */
HF_MUST_CHECK int hf_id_parse(const char *text, size_t len, uint64_t *ret_id);

#endif
