/* services/dispatcher/selection.h - which rooms a client is told, and in which order. Pure.
 *
 * Rooms are ranked by weighted rendezvous hashing over the client's slot (hf_hash.h), so that the
 * same registration comes to the same room as long as that room lives, whichever dispatcher
 * answers, and a room's share follows its weight. Rooms of the home zone come first; a client that
 * says it has failed gets other zones first, and the room it comes from last. */
#ifndef SELECTION_H
#define SELECTION_H

#include "hf_instance.h"

#define SELECTION_ROOMS_MAX     4 /* different rooms in an answer */
#define SELECTION_ENDPOINTS_MAX 6 /* addresses in an answer */

enum selection_reason {
	SELECTION_START,
	SELECTION_NETWORK, /* the client's network changed */
	SELECTION_FAILED,  /* what it was told before did not work */
	SELECTION_DRAIN,   /* a room sent it away */
	SELECTION_REASON_COUNT
};

struct selection_client {
	uint64_t key;          /* hash slot of its registration */
	const char *zone;      /* home */
	const char *last_node; /* "" when it names none */
	enum selection_reason reason;
};

struct selection_endpoint {
	const struct hf_instance *room;
	const struct hf_endpoint *endpoint;
};

/* Fill `ret` with the endpoints to tell, best first: one of each room, then further ports of the
 * same rooms. Draining rooms, those without endpoints, and those of weight 0 are left out. Returns
 * how many; 0: nobody serves. */
size_t selection_make(const struct selection_client *client, const struct hf_instance *const *rooms,
		      size_t room_count, struct selection_endpoint ret[SELECTION_ENDPOINTS_MAX]);

/* The rank of one room for one client: the greater is named first. Negative: never. */
double selection_score(const struct selection_client *client, const struct hf_instance *room);

#endif
