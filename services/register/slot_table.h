/* services/register/slot_table.h - the sessions of one hash slot, packed.
 *
 * Records lie one after the other in a byte heap; an open-addressing index of 32-bit words points
 *into it:
 *
 *	heap     | epoch 8 | session 4 | app 4 | length 1 | registration | next record ...
 *	index    | tag 8 bits | offset + 1, 24 bits |     0: empty, linear probing
 *
 * With ids of 20 bytes a session takes 37 bytes of heap and 5 to 8 of index. The room is not kept:
 *the epoch holds its node number (hf_id.h). A removed record leaves a hole; the table is packed
 *anew when a quarter of the heap is holes. With 4096 slots a table is small, so that growing,
 * packing and scanning one never takes long. */
#ifndef SLOT_TABLE_H
#define SLOT_TABLE_H

#include "hf_base.h"

struct slot_table {
	uint8_t *heap;
	uint32_t heap_len, heap_capacity, holes; /* bytes */
	uint32_t *index;
	uint32_t index_size; /* a power of two, or 0 */
	uint32_t count;      /* sessions */
};

struct slot_session {
	uint64_t epoch;
	uint32_t session;
	uint32_t app;
	struct hf_bytes registration; /* borrowed from the table until its next change */
};

void slot_table_deinit(struct slot_table *table); /* and empty again, ready for use */

/* `hash` is hf_hash_registration(app, registration) everywhere. */
bool slot_table_find(const struct slot_table *table, uint64_t hash, uint32_t app,
		     struct hf_bytes registration, struct slot_session *ret);
/* Insert, or replace the session of the same registration. 0, or -ENOMEM: nothing changed. */
HF_MUST_CHECK int slot_table_put(struct slot_table *table, uint64_t hash,
				 const struct slot_session *session);
bool slot_table_remove(struct slot_table *table, uint64_t hash, uint32_t app,
		       struct hf_bytes registration);
/* Remove every session that `doomed` names; returns how many. */
uint32_t slot_table_remove_if(struct slot_table *table,
			      bool (*doomed)(const struct slot_session *session, void *ctx),
			      void *ctx);
size_t slot_table_bytes(const struct slot_table *table); /* allocated */

#endif
