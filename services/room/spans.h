/* services/room/spans.h - has the store given a broadcast to a session at its login, or is it the
 * walk's business? Decided by the version of the app's broadcast log that the login was loaded at,
 * and the versions between which the broadcast could be loaded (proto/broadcast.proto). Pure. */
#ifndef ROOM_SPANS_H
#define ROOM_SPANS_H

#include "hf_base.h"

#define SPANS_MAX 1024u /* of one broadcast: each pause makes one more */

struct span {
	uint32_t from, until; /* until 0: still */
};

enum spans_verdict {
	SPANS_GIVE, /* logged in before: it can't have got it yet */
	SPANS_SKIP, /* the store gave it, if it was owed */
	SPANS_ASK,  /* logged in while it was held: it may have acked it on an earlier connection,
		     * which only the store knows */
};

/* Without spans everybody gets it from the walk. */
static inline enum spans_verdict spans_decide(const struct span *spans, size_t count,
					      uint32_t version)
{
	if (count == 0 || version < spans[0].from)
		return SPANS_GIVE;
	for (size_t i = 0; i < count; i++) {
		if (version >= spans[i].from && (spans[i].until == 0 || version < spans[i].until))
			return SPANS_SKIP;
	}
	return SPANS_ASK;
}

/* Was it held for the last time at this version? */
static inline bool spans_in_last_gap(const struct span *spans, size_t count, uint32_t version)
{
	return count > 1 && version < spans[count - 1].from && version >= spans[count - 2].until;
}

#endif
