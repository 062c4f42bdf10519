/* common/rpc/hf_rpc_pending.h - calls in flight by call id.
 *
 * Ids count up and come back only after 2^32 of them, so that a reply which arrives after its
 * call's deadline can't be taken for another's. A record sits at its id modulo the table's size; an
 * id whose place is still taken by an old call is skipped. The table is kept at most half full, so
 * that costs less than one step a call on average. */
#ifndef HF_RPC_PENDING_H
#define HF_RPC_PENDING_H

#include "hf_base.h"

struct hf_rpc_pending_slot {
	void *call; /* NULL: free */
	uint32_t id;
};

struct hf_rpc_pending {
	struct hf_rpc_pending_slot *slots;
	uint32_t size; /* a power of two, or 0 */
	uint32_t count, next_id;
};

void hf_rpc_pending_init(struct hf_rpc_pending *pending, uint32_t first_id);
void hf_rpc_pending_deinit(struct hf_rpc_pending *pending);
/* Gives `call` an id, never 0. 0 or -ENOMEM. At most 2^20 calls. */
HF_MUST_CHECK int hf_rpc_pending_add(struct hf_rpc_pending *pending, void *call, uint32_t *ret_id);
void *hf_rpc_pending_find(const struct hf_rpc_pending *pending, uint32_t id); /* or NULL */
void hf_rpc_pending_remove(struct hf_rpc_pending *pending, uint32_t id);      /* must be there */

#endif
