/* services/center/acks.c - waiting for the clients' acks: Saver.AwaitAck for each recipient. */
#include <stdlib.h>

#include "message.h"

#define REPLY_MARGIN_MS \
	500 /* the saver's own timeout ends the wait; ours is for a saver that is gone */

static void on_acked(const Hf__AwaitAckReply *reply, void *ctx)
{
	struct message *message = ctx;

	if (reply != NULL && reply->acked)
		message->acked++;
	message_unhold(message);
}

void message_await_acks(struct message *message, uint64_t timeout_ms)
{
	struct center *center = message->center;

	message->holds++; /* held while the calls are made */
	for (uint32_t i = 0; !center->stopping && i < message->target_count; i++) {
		const struct target *target = &message->targets[i];
		Hf__AwaitAckRequest request = HF__AWAIT_ACK_REQUEST__INIT;
		struct hf_peer *peer = hf_peers_by_slot(center->savers, target->slot);

		if (target->outcome == TARGET_FAILED)
			continue;
		request.app = message->app;
		request.registration.data = (uint8_t *)target->registration;
		request.registration.len = target->registration_len;
		request.message_id = message->id;
		request.timeout_ms = (uint32_t)timeout_ms;
		message->holds++;
		hf__saver__await_ack(hf_peers_call(center->savers, peer,
						   (uint32_t)timeout_ms + REPLY_MARGIN_MS),
				     &request, on_acked, message);
	}
	message_unhold(message);
}
