/* Little endian: "HFB1" | run u32 | sequence u64 | intended u64 | sent u64 | filler */
#include "bench.h"

static void put(uint8_t *to, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *from, int bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < bytes; i++)
		value |= (uint64_t)from[i] << 8 * i;
	return value;
}

void payload_write(const struct payload *payload, uint8_t ret[PAYLOAD_HEAD])
{
	memcpy(ret, "HFB1", 4);
	put(ret + 4, payload->run, 4);
	put(ret + 8, payload->sequence, 8);
	put(ret + 16, payload->intended_ns, 8);
	put(ret + 24, payload->sent_ns, 8);
}

bool payload_read(struct hf_bytes data, struct payload *ret)
{
	if (data.len < PAYLOAD_HEAD || memcmp(data.data, "HFB1", 4) != 0)
		return false;
	ret->run = (uint32_t)get(data.data + 4, 4);
	ret->sequence = get(data.data + 8, 8);
	ret->intended_ns = get(data.data + 16, 8);
	ret->sent_ns = get(data.data + 24, 8);
	return ret->sequence <= SEQUENCE_MAX; /* each client remembers it in four bytes */
}
