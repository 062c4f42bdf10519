/* services/room/ticket.h - what a client shows to get its sessions back after a flash cut.
 *
 *	 0            4              8                24
 *	+------------+--------------+----------------+
 *	| connection | logged in at | MAC            |   the client sees opaque bytes
 *	+------------+--------------+----------------+
 *
 * Nothing is stored for it: the MAC is keyed by a secret of this process, so that a ticket of
 * another room, or of this one before a restart, is worth nothing, and the handle names a
 * connection that is there or not. A connection that was resumed is gone, and its ticket with it.
 * Whether device and sessions are those of that connection is for the caller to see. */
#ifndef HF_ROOM_TICKET_H
#define HF_ROOM_TICKET_H

#include "hf_slab.h"

#define TICKET_SIZE 24u

struct ticket_key {
	struct evp_mac_ctx_st *context;
	uint8_t secret[32];
};

HF_MUST_CHECK int ticket_key_init(struct ticket_key *key); /* 0 or -ENOMEM */
void ticket_key_deinit(struct ticket_key *key);
/* 0, or -EIO: the library failed, and the client gets none. */
HF_MUST_CHECK int ticket_make(const struct ticket_key *key, hf_handle connection, uint32_t since,
			      uint8_t ret[TICKET_SIZE]);
/* 0, or -EACCES: not made with this key. */
HF_MUST_CHECK int ticket_read(const struct ticket_key *key, struct hf_bytes ticket,
			      hf_handle *ret_connection, uint32_t *ret_since);

#endif
