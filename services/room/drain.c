/* Leaving in good order: clients are sent to other rooms at a pace that those can take.
 *
 * Connection number k belongs at k / drain_rate seconds after the start. It is closed then, with
 * 4200 and addresses of other rooms; only when shutdown.drain_timeout leaves less time than that
 * are connections closed earlier, and told in delay_ms to come no sooner than their place. */
#define HF_LOG_MODULE "drain"
#include <stdlib.h>

#include "hf_hash.h"
#include "hf_log.h"
#include "room.h"

struct drain_state {
	uint64_t started_ms;
	uint64_t total; /* connections when it began */
	uint64_t moved;
	uint32_t pos; /* in the slab of connections */
};

/* Addresses of other rooms, from another room on for each client. */
static size_t other_rooms(struct room *room, struct hf_bytes ret[HF_WIRE_ENDPOINTS_MAX])
{
	size_t rooms = hf_peers_count(room->rooms), count = 0;
	size_t skip = rooms == 0 ? 0 : hf_random_below(rooms);
	struct hf_peer *peer = hf_peers_first(room->rooms);

	for (; skip > 0 && peer != NULL; skip--)
		peer = peer->next;
	for (size_t i = 0; i < rooms && count < HF_WIRE_ENDPOINTS_MAX; i++) {
		const struct hf_instance *instance;

		if (peer == NULL)
			peer = hf_peers_first(room->rooms);
		instance = &peer->instance;
		peer = peer->next;
		if (instance->state != HF_INSTANCE_SERVING || instance->endpoint_count == 0 ||
		    instance->number == room->service->instance.number)
			continue;
		ret[count++] = hf_bytes_of_string(instance->endpoints[0].address);
	}
	return count;
}

static void move(struct room *room, struct connection *connection)
{
	struct drain_state *drain = room->drain;
	uint64_t elapsed_ms = hf_loop_now_ms(room->loop) - drain->started_ms;
	uint64_t place_ms = drain->moved * 1000 / room->config->drain_rate;
	struct hf_wire_bye bye = {
		.code = HF_CLOSE_DRAINING,
		.reason = HF_BYTES_LITERAL("this room is being stopped"),
		.delay_ms = place_ms > elapsed_ms ? (uint32_t)(place_ms - elapsed_ms) : 0,
	};

	bye.endpoint_count = other_rooms(room, bye.endpoints);
	drain->moved++;
	connection_close_bye(room, connection, &bye);
}

/* How many should have been told by now: at the drain rate, or faster when time is short. */
static uint64_t due(const struct room *room)
{
	const struct drain_state *drain = room->drain;
	uint64_t elapsed_ms = hf_loop_now_ms(room->loop) - drain->started_ms + ROOM_TICK_MS;
	uint64_t window_ms = room->config->service.drain_timeout_ms * 7 / 10 + 1;
	uint64_t by_rate = elapsed_ms * room->config->drain_rate / 1000;
	uint64_t by_time = drain->total * elapsed_ms / window_ms;

	return HF_MAX(HF_MAX(by_rate, by_time), 1u);
}

void drain_tick(struct room *room)
{
	struct drain_state *drain = room->drain;
	hf_handle handle;

	if (drain == NULL)
		return;
	while (drain->moved < due(room) && room->connections.live > 0) {
		struct connection *connection;

		handle = hf_slab_next(&room->connections, &drain->pos, UINT32_MAX);
		if (handle == 0) {
			drain->pos = 0; /* once more next tick, for who came late */
			return;
		}
		connection = room_connection(room, handle);
		if (connection->state < CONNECTION_CLOSING) {
			move(room, connection);
		} else if (connection->state == CONNECTION_CUT) {
			drain->moved++;
			connection_abort(room, connection, HF_CLOSE_DRAINING);
		}
	}
}

void drain_start(struct room *room)
{
	struct drain_state *drain = calloc(1, sizeof(*drain));

	listeners_close(room);
	if (drain == NULL) {
		HF_ERROR("out of memory", "action=\"drain without pace\"");
		connections_abort_all(room, HF_CLOSE_DRAINING);
		return;
	}
	drain->started_ms = hf_loop_now_ms(room->loop);
	drain->total = room->connections.live;
	room->drain = drain;
	*room->metrics.drain_active = 1;
	HF_INFO("draining", "connections=%u rate=%llu timeout_ms=%llu", room->connections.live,
		(unsigned long long)room->config->drain_rate,
		(unsigned long long)room->config->service.drain_timeout_ms);
	drain_tick(room);
}

void drain_free(struct room *room)
{
	free(room->drain);
	room->drain = NULL;
}
