/* services/center/acks.c - waiting for the clients' acks: Saver.AwaitAck for each recipient.
 *
 * The calls outlive the message's interest in them: when its sender hangs up, the savers' answers
 * come to nobody. */
#include <stdlib.h>

#include "message.h"

#define REPLY_MARGIN_MS \
	500 /* the saver's own timeout ends the wait; ours is for a saver that is gone */

struct ack_wait {
	struct center *center;
	struct message *message; /* NULL: it does not care any more */
	uint32_t open;           /* calls, and one while they are made */
};

static void one_less(struct ack_wait *wait)
{
	struct message *message = wait->message;

	if (--wait->open > 0)
		return;
	free(wait);
	if (message == NULL)
		return;
	message->ack_wait = NULL;
	message_acks_over(message);
}

static void on_acked(const Hf__AwaitAckReply *reply, void *ctx)
{
	struct ack_wait *wait = ctx;

	wait->center->ack_waits--;
	if (reply != NULL && reply->acked && wait->message != NULL)
		wait->message->acked++;
	one_less(wait);
}

static void await_one(struct ack_wait *wait, const struct target *target, uint64_t timeout_ms)
{
	const struct message *message = target->message;
	struct center *center = message->center;
	Hf__AwaitAckRequest request = HF__AWAIT_ACK_REQUEST__INIT;

	request.app = message->app;
	request.registration.data = (uint8_t *)target->registration;
	request.registration.len = target->registration_len;
	request.message_id = message->id;
	request.timeout_ms = (uint32_t)timeout_ms;
	wait->open++;
	center->ack_waits++;
	hf__saver__await_ack(hf_peers_call(center->savers,
					   hf_peers_by_slot(center->savers, target->slot),
					   (uint32_t)timeout_ms + REPLY_MARGIN_MS),
			     &request, on_acked, wait);
}

void message_await_acks(struct message *message, uint64_t timeout_ms)
{
	struct ack_wait *wait = malloc(sizeof(*wait));

	if (wait == NULL || message->center->stopping) {
		free(wait);
		message_acks_over(message);
		return;
	}
	*wait = (struct ack_wait){ .center = message->center, .message = message, .open = 1 };
	message->center->ack_waits -= message->ack_waits; /* from here on each call counts itself */
	message->ack_waits = 0;
	message->ack_wait = wait;
	for (uint32_t i = 0; i < message->target_count; i++)
		if (message->targets[i].outcome != TARGET_FAILED &&
		    message->targets[i].outcome != TARGET_UNREGISTERED)
			await_one(wait, &message->targets[i], timeout_ms);
	one_less(wait);
}

void message_forget_acks(struct message *message)
{
	if (message->ack_wait != NULL)
		message->ack_wait->message = NULL;
	message->ack_wait = NULL;
}
