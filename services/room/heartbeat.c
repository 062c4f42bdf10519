/* How often a client beats: it proposes, the configuration of its kind of network bounds. */
#include "room.h"

uint16_t heartbeat_agree(const struct room *room, unsigned network, uint32_t wish_s)
{
	bool fixed = network == HF_NETWORK_WIFI || network == HF_NETWORK_ETHERNET;
	const struct room_keepalive_config *keepalive =
		fixed ? &room->config->keepalive.wifi : &room->config->keepalive.cellular;
	uint64_t agreed_ms = wish_s == 0 ? keepalive->initial_ms : wish_s * 1000ull;

	agreed_ms = HF_MIN(HF_MAX(agreed_ms, keepalive->min_ms), keepalive->max_ms);
	return (uint16_t)(agreed_ms / 1000);
}

void heartbeat_on_ping(struct room *room, struct connection *connection, struct hf_bytes body)
{
	uint8_t wire[HF_WIRE_CONTROL_MAX];
	uint32_t wish_s;
	ssize_t len;

	if (hf_wire_decode_ping(body, &wish_s) < 0) {
		connection_close(room, connection, HF_CLOSE_BAD_FRAME, "bad PING");
		return;
	}
	connection_send_control(room, connection, frame_ref(room->pong));
	if (wish_s == 0 || connection->state != CONNECTION_ACTIVE)
		return;
	connection->heartbeat_s = heartbeat_agree(room, connection->network, wish_s);
	if (connection->heartbeat_s == wish_s)
		return;
	len = hf_wire_encode_command(&(struct hf_wire_command){ .kind = HF_WIRE_COMMAND_HEARTBEAT,
								.heartbeat_s =
									connection->heartbeat_s },
				     wire, sizeof(wire));
	connection_send_control(room, connection, len > 0 ? frame_new(wire, (size_t)len) : NULL);
}
