#include "takeovers.h"

static const struct takeover *find(const struct takeover *places, uint64_t hash)
{
	for (unsigned i = 0; i < TAKEOVERS_PLACES; i++) {
		if (places[i].hash == hash && places[i].empty_ms != 0)
			return &places[i];
	}
	return NULL;
}

void takeovers_note(struct takeovers *takeovers, uint64_t hash, uint64_t now_ms, uint64_t limit,
		    uint64_t period_ms)
{
	struct takeover *places = takeovers->places[hash % TAKEOVERS_SETS], *place;

	if (limit == 0)
		return;
	place = (struct takeover *)find(places, hash);
	if (place == NULL) {
		place = &places[0];
		for (unsigned i = 1; i < TAKEOVERS_PLACES; i++) {
			if (places[i].empty_ms < place->empty_ms)
				place = &places[i];
		}
		*place = (struct takeover){ .hash = hash };
	}
	place->empty_ms = HF_MAX(place->empty_ms, now_ms) + period_ms / limit;
}

bool takeovers_too_many(const struct takeovers *takeovers, uint64_t hash, uint64_t now_ms,
			uint64_t limit, uint64_t period_ms)
{
	const struct takeover *place =
		limit == 0 ? NULL : find(takeovers->places[hash % TAKEOVERS_SETS], hash);

	/* One more, whole, must fit below the rim. */
	return place != NULL && place->empty_ms > now_ms + period_ms - period_ms / limit;
}
