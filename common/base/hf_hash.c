#include "hf_hash.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint8_t secret[192];
static uint64_t random_state[4]; /* xoshiro256++ (Blackman and Vigna 2019) */

void hf_random_reseed(void)
{
	do
		hf_random_bytes(random_state, sizeof(random_state));
	while ((random_state[0] | random_state[1] | random_state[2] | random_state[3]) == 0);
}

/* Before main(), so that no hash has to ask whether there is a secret yet. */
__attribute__((constructor)) static void seed_process(void)
{
	hf_random_bytes(secret, sizeof(secret));
	hf_random_reseed();
}

uint64_t hf_hash(const void *data, size_t len)
{
	return XXH3_64bits_withSecret(data, len, secret, sizeof(secret));
}

uint64_t hf_hash_u64(uint64_t value)
{
	return hf_hash(&value, sizeof(value));
}

uint64_t hf_hash_registration(uint32_t app, const void *registration, size_t len)
{
	uint64_t parts[2] = { hf_hash(registration, len), app };

	return hf_hash(parts, sizeof(parts));
}

uint16_t hf_slot(uint64_t salt, uint32_t app, const void *registration, size_t len)
{
	uint8_t key[4 + HF_USER_ID_MAX] = { (uint8_t)app, (uint8_t)(app >> 8), (uint8_t)(app >> 16),
					    (uint8_t)(app >> 24) };

	assert(len <= HF_USER_ID_MAX);
	if (len > 0)
		memcpy(key + 4, registration, len);
	return (uint16_t)(XXH3_64bits_withSeed(key, 4 + len, salt) % HF_SLOTS);
}

uint64_t hf_hash_shared(uint64_t seed, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

double hf_rendezvous(uint64_t key, const char *node, uint32_t weight)
{
	uint64_t hash = XXH3_64bits_withSeed(node, strlen(node), key);
	double uniform = ((double)(hash >> 12) + 0.5) * 0x1p-52; /* exact: above 0, below 1 */

	return weight == 0 ? 0 : -(double)weight / log(uniform);
}

void hf_random_bytes(void *ret, size_t len)
{
	uint8_t *pos = ret;

	while (len > 0) {
		ssize_t n = getrandom(pos, len, 0);

		if (n < 0 && errno != EINTR)
			abort();
		if (n > 0) {
			pos += n;
			len -= (size_t)n;
		}
	}
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

uint64_t hf_random_u64(void)
{
	uint64_t *s = random_state;
	uint64_t ret = rotate_left(s[0] + s[3], 23) + s[0], t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return ret;
}

/* Lemire's method (2019): the high half of a product, drawn again in the rare biased case. */
uint64_t hf_random_below(uint64_t bound)
{
	unsigned __int128 product;

	assert(bound > 0);
	product = (unsigned __int128)hf_random_u64() * bound;
	if ((uint64_t)product < bound) {
		uint64_t biased = -bound % bound;

		while ((uint64_t)product < biased)
			product = (unsigned __int128)hf_random_u64() * bound;
	}
	return (uint64_t)(product >> 64);
}
