/* common/base/hf_hash.h - XXH3 with a secret, the slot function, and rendezvous hashing.
 *
 * Two kinds of hash, never to be mixed up:
 * - hf_hash(): for tables in memory; keyed by 192 random bytes of this process, so that nobody
 *   outside can choose colliding ids;
 * - hf_slot() and hf_rendezvous(): the same in every process of a cluster; hf_slot() is salted by
 *   the cluster's salt, so that nobody outside can aim at one slot. */
#ifndef HF_HASH_H
#define HF_HASH_H

#include "hf_base.h"

uint64_t hf_hash(const void *data, size_t len);
uint64_t hf_hash_u64(uint64_t value);
/* The table key of (app, registration). */
uint64_t hf_hash_registration(uint32_t app, const void *registration, size_t len);

/* 0..HF_SLOTS-1. `salt` comes from the keeper (/config/cluster); len <= HF_USER_ID_MAX (a user id
 * has its slot likewise). */
uint16_t hf_slot(uint64_t salt, uint32_t app, const void *registration, size_t len);

/* The same in every process, salted by `seed`: for what several of them must agree on. */
uint64_t hf_hash_shared(uint64_t seed, const void *data, size_t len);

/* Weight of `node` for `key`: the node with the highest score owns the key (highest random weight,
 * Thaler and Ravishankar 1996). Weighted form: score = -weight / ln(uniform hash); weight 0 never
 * wins against a positive one. */
double hf_rendezvous(uint64_t key, const char *node, uint32_t weight);

/* Bytes for secrets and tokens, from the kernel. Aborts if the kernel can't give any. */
void hf_random_bytes(void *ret, size_t len);
/* Fast, seeded from the kernel, not for secrets: jitter and sampling. */
uint64_t hf_random_u64(void);
uint64_t hf_random_below(uint64_t bound); /* 0..bound-1, without bias; bound > 0 */
/* For a child that goes on after fork(): else it draws what its parent and siblings draw. */
void hf_random_reseed(void);

#endif
