/* common/rpc/hf_rpc_pending.c - see hf_rpc_pending.h. */
#include "hf_rpc_pending.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_SIZE 64u
#define COUNT_MAX  (1u << 20)

void hf_rpc_pending_init(struct hf_rpc_pending *pending, uint32_t first_id)
{
	*pending = (struct hf_rpc_pending){ .next_id = first_id };
}

void hf_rpc_pending_deinit(struct hf_rpc_pending *pending)
{
	free(pending->slots);
	*pending = (struct hf_rpc_pending){ 0 };
}

static struct hf_rpc_pending_slot *slot_of(const struct hf_rpc_pending *pending, uint32_t id)
{
	return &pending->slots[id & (pending->size - 1)];
}

/* Ids that differ modulo the old size differ modulo twice that as well: no two can collide. */
static int grow(struct hf_rpc_pending *pending)
{
	struct hf_rpc_pending old = *pending;

	pending->size = old.size > 0 ? old.size * 2 : FIRST_SIZE;
	pending->slots = calloc(pending->size, sizeof(*pending->slots));
	if (pending->slots == NULL) {
		*pending = old;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < old.size; i++) {
		if (old.slots[i].call != NULL)
			*slot_of(pending, old.slots[i].id) = old.slots[i];
	}
	free(old.slots);
	return 0;
}

int hf_rpc_pending_add(struct hf_rpc_pending *pending, void *call, uint32_t *ret_id)
{
	uint32_t id;

	if (pending->count >= COUNT_MAX)
		return -ENOMEM;
	if (pending->count >= pending->size / 2 && grow(pending) < 0)
		return -ENOMEM;
	do
		id = pending->next_id++;
	while (id == 0 || slot_of(pending, id)->call != NULL);
	*slot_of(pending, id) = (struct hf_rpc_pending_slot){ call, id };
	pending->count++;
	*ret_id = id;
	return 0;
}

void *hf_rpc_pending_find(const struct hf_rpc_pending *pending, uint32_t id)
{
	const struct hf_rpc_pending_slot *slot;

	if (pending->size == 0)
		return NULL;
	slot = slot_of(pending, id);
	return slot->id == id ? slot->call : NULL;
}

void hf_rpc_pending_remove(struct hf_rpc_pending *pending, uint32_t id)
{
	struct hf_rpc_pending_slot *slot = slot_of(pending, id);

	assert(slot->call != NULL && slot->id == id);
	slot->call = NULL;
	pending->count--;
}
