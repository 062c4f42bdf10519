#include "hf_id.h"

#include <assert.h>
#include <errno.h>

#define TIME_SHIFT   22
#define NODE_SHIFT   12
#define SEQUENCE_MAX 0xfffu
#define TEXT_LEN     (HF_ID_TEXT_SIZE - 1)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void hf_id_generator_init(struct hf_id_generator *generator, uint32_t node)
{
	assert(node <= HF_ID_NODE_MAX);
	*generator = (struct hf_id_generator){ .node = node };
}

uint64_t hf_id_next(struct hf_id_generator *generator, uint64_t wall_ms)
{
	uint64_t elapsed = wall_ms > HF_ID_EPOCH_MS ? wall_ms - HF_ID_EPOCH_MS : 0;
	uint64_t now = elapsed << TIME_SHIFT;

	if (now > generator->last)
		generator->last = now;
	else if ((generator->last & SEQUENCE_MAX) < SEQUENCE_MAX)
		generator->last++;
	else
		generator->last = (generator->last - SEQUENCE_MAX) + (1u << TIME_SHIFT);
	return generator->last | (uint64_t)generator->node << NODE_SHIFT;
}

void hf_id_format(uint64_t id, char ret[HF_ID_TEXT_SIZE])
{
	for (unsigned i = TEXT_LEN; i > 0; i--) {
		ret[i - 1] = alphabet[id & 31];
		id >>= 5;
	}
	ret[TEXT_LEN] = '\0';
}

/* 0..31, or -1 for what is not in the alphabet. */
static int digit_of(char c)
{
	const char *p;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	p = c == '\0' ? NULL : strchr(alphabet, c);
	return p == NULL ? -1 : (int)(p - alphabet);
}

int hf_id_parse(const char *text, size_t len, uint64_t *ret_id)
{
	uint64_t id = 0;

	if (len != TEXT_LEN || digit_of(text[0]) > 15) /* 13 digits hold 65 bits */
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int digit = digit_of(text[i]);

		if (digit < 0)
			return -EINVAL;
		id = id << 5 | (unsigned)digit;
	}
	*ret_id = id;
	return 0;
}
