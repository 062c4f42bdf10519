#include "selection.h"

#include "hf_hash.h"

/* Rendezvous scores are in (0, inf) but their order alone counts, so they are squeezed into (0, 1)
 * and the bands lie one above the other. */
enum band { BAND_LAST_NODE, BAND_SECOND, BAND_FIRST };

double selection_score(const struct selection_client *client, const struct hf_instance *room)
{
	bool at_home = strcmp(room->zone, client->zone) == 0;
	bool home_first = client->reason != SELECTION_FAILED;
	enum band band = at_home == home_first ? BAND_FIRST : BAND_SECOND;
	double score;

	if (room->state != HF_INSTANCE_SERVING || room->endpoint_count == 0 || room->weight == 0)
		return -1;
	if ((client->reason == SELECTION_FAILED || client->reason == SELECTION_DRAIN) &&
	    strcmp(room->id, client->last_node) == 0)
		band = BAND_LAST_NODE;
	score = hf_rendezvous(client->key, room->id, room->weight);
	return band + score / (1 + score);
}

size_t selection_make(const struct selection_client *client, const struct hf_instance *const *rooms,
		      size_t room_count, struct selection_endpoint ret[SELECTION_ENDPOINTS_MAX])
{
	const struct hf_instance *best[SELECTION_ROOMS_MAX];
	double scores[SELECTION_ROOMS_MAX];
	size_t chosen = 0, count = 0;

	for (size_t i = 0; i < room_count; i++) {
		double score = selection_score(client, rooms[i]);
		size_t place = chosen;

		if (score < 0)
			continue;
		while (place > 0 && score > scores[place - 1])
			place--;
		if (place == SELECTION_ROOMS_MAX)
			continue;
		if (chosen < SELECTION_ROOMS_MAX)
			chosen++;
		for (size_t j = chosen - 1; j > place; j--) {
			best[j] = best[j - 1];
			scores[j] = scores[j - 1];
		}
		best[place] = rooms[i];
		scores[place] = score;
	}

	for (size_t port = 0; port < HF_INSTANCE_ENDPOINTS_MAX; port++) {
		for (size_t i = 0; i < chosen && count < SELECTION_ENDPOINTS_MAX; i++) {
			if (port < best[i]->endpoint_count)
				ret[count++] = (struct selection_endpoint){
					.room = best[i], .endpoint = &best[i]->endpoints[port]
				};
		}
	}
	return count;
}
