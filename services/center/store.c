/* services/center/store.c - the phase in which a message is stored: Saver.Store by slot owner.
 *
 * A store is repeated with the same ids until it is known to have happened: the store takes each
 * (message, registration) once, so an answer that was lost does no harm. */
#include <stdlib.h>

#include "hf_rpc.h"
#include "message.h"

static struct hf_peer *owner(struct center *center, const struct target *target)
{
	return hf_peers_by_slot(center->savers, target->slot);
}

static void fail(struct target *target)
{
	message_target_retry(target, TARGET_FAILED);
}

/* Reasons that the API passes on are a fixed set, whatever a saver may say. */
static const char *known_reason(const char *reason)
{
	static const char *const reasons[] = { "STORE_FULL", "DATABASE_UNAVAILABLE", "REFILLING" };

	for (size_t i = 0; i < HF_ARRAY_LEN(reasons); i++)
		if (strcmp(reason, reasons[i]) == 0)
			return reasons[i];
	return "STORE_UNAVAILABLE";
}

static void failed(struct lane_batch *batch, enum hf_rpc_status status, const char *reason)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct target *target = batch->targets[i];

		target->message->store_reason = reason;
		message_note(target, HF_WHY_STORE_FAILED, batch->node);
		if (status == HF_RPC_INVALID && !target->alone && batch->count > 1) {
			/* One of them breaks a rule; the others shall not suffer for it. */
			target->alone = true;
			store_begin(target);
		} else if (status == HF_RPC_INVALID || status == HF_RPC_UNKNOWN_METHOD) {
			message_target_done(target, TARGET_FAILED);
		} else {
			message_target_retry(target, TARGET_FAILED);
		}
	}
}

/* Those that could not be stored are tried again; they leave the batch. */
static void take_failures(struct lane_batch *batch, const Hf__StoreReply *reply)
{
	for (size_t i = 0; i < reply->n_failures; i++) {
		const Hf__StoreFailure *failure = reply->failures[i];
		struct target *target =
			failure->item < batch->count ? batch->targets[failure->item] : NULL;

		if (target == NULL)
			continue;
		batch->targets[failure->item] = NULL;
		target->message->store_reason = known_reason(failure->reason);
		message_note(target, HF_WHY_STORE_FAILED, batch->node);
		message_target_retry(target, TARGET_FAILED);
	}
}

/* Nobody attached as them, as far as the store knows: unless somebody is about to. A room tells
 * register of a session first, and the store with the load that follows, so register is asked. */
static void take_unregistered(struct lane_batch *batch, const Hf__StoreReply *reply)
{
	for (size_t i = 0; i < reply->n_unregistered; i++) {
		uint32_t item = reply->unregistered[i];
		struct target *target = item < batch->count ? batch->targets[item] : NULL;

		if (target == NULL)
			continue;
		batch->targets[item] = NULL;
		target->message->store_reason = "STORE_UNAVAILABLE";
		route_begin(target);
	}
}

static void on_stored(const Hf__StoreReply *reply, void *ctx)
{
	struct lane_batch *batch = ctx;

	if (reply == NULL) {
		failed(batch, hf_rpc_last_status(), known_reason(hf_rpc_last_reason()));
		free(batch);
		return;
	}
	take_failures(batch, reply);
	take_unregistered(batch, reply);
	for (size_t i = 0; i < batch->count; i++) {
		struct message *message;

		if (batch->targets[i] == NULL)
			continue;
		message = batch->targets[i]->message;
		message_note(batch->targets[i], HF_WHY_STORE_DONE, batch->node);
		message->durability = HF_MIN(message->durability, reply->durability);
		message_target_done(batch->targets[i], TARGET_STORED);
	}
	free(batch);
}

/* Fill `request` from the batch, in the arena of the call. */
static int build(struct center *center, const struct lane_batch *batch, Hf__StoreRequest *request)
{
	struct hf_arena *arena = &center->call;
	const struct message *last = NULL;
	Hf__StoreItem *items;

	request->items = hf_arena_alloc(arena, batch->count * sizeof(*request->items));
	request->frames = hf_arena_alloc(arena, batch->count * sizeof(*request->frames));
	items = hf_arena_alloc(arena, batch->count * sizeof(*items));
	if (request->items == NULL || request->frames == NULL || items == NULL)
		return -1;
	for (size_t i = 0; i < batch->count; i++) {
		const struct target *target = batch->targets[i];
		const struct message *message = target->message;

		if (message != last)
			request->frames[request->n_frames++] =
				(ProtobufCBinaryData){ message->frame_len, message->frame };
		last = message;
		hf__store_item__init(&items[i]);
		items[i].message_id = message->id;
		items[i].app = message->app;
		items[i].registration.data = (uint8_t *)target->registration;
		items[i].registration.len = target->registration_len;
		items[i].frame = (uint32_t)request->n_frames - 1;
		items[i].class_ =
			message->class == REQUEST_DURABLE ? HF__CLASS__DURABLE : HF__CLASS__STORED;
		items[i].expires_ms = message->expires_ms;
		items[i].cap = message->cap;
		items[i].delivery = message->delivery;
		items[i].counts_message = target == message->targets;
		items[i].paced = message_is_paced(message);
		request->items[i] = &items[i];
	}
	request->n_items = batch->count;
	return 0;
}

static void send_batch(struct center *center, struct hf_peer *peer, struct lane_batch *batch)
{
	Hf__StoreRequest request = HF__STORE_REQUEST__INIT;

	hf_arena_reset(&center->call);
	if (build(center, batch, &request) < 0) {
		failed(batch, HF_RPC_OVERLOADED, "STORE_UNAVAILABLE");
		free(batch);
		return;
	}
	hf__saver__store(hf_peers_call(center->savers, peer,
				       (uint32_t)center->config->store_try_ms),
			 &request, on_stored, batch);
}

void store_init(struct center *center)
{
	lanes_init(&center->store_lanes, center, owner, send_batch, fail);
}

void store_begin(struct target *target)
{
	lanes_add(&target->message->center->store_lanes, target);
}
