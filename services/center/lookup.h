/* services/center/lookup.h - where registrations are: Register.Lookup over all slot owners, for
 * questions (a message's recipients are looked up by route.c). */
#ifndef CENTER_LOOKUP_H
#define CENTER_LOOKUP_H

#include "center.h"

struct lookup_item {
	struct hf_bytes registration; /* into the lookup's own copy */
	uint16_t slot;
	Hf__Presence presence; /* NOT_YET_KNOWN also when its register did not answer */
	uint32_t room, session;
	uint64_t epoch;
};

struct lookup;
typedef void (*lookup_done)(struct lookup *lookup, void *ctx);

struct lookup {
	struct center *center;
	uint32_t app;
	unsigned open;
	lookup_done done;
	void *ctx;
	size_t count;
	struct lookup_item items[];
};

/* Copies the ids. `done` runs once, later or from within; the lookup is freed after it. -ENOMEM: it
 * won't. */
HF_MUST_CHECK int lookup_start(struct center *center, uint32_t app,
			       const struct hf_bytes *registrations, size_t count, lookup_done done,
			       void *ctx);

#endif
