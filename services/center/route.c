/* services/center/route.c - the phase in which a message is pushed: Register.Lookup by slot owner,
 * then Room.Push by room.
 *
 * A push that may or may not have happened is repeated for what is stored (the room writes a
 * message once per connection) and is left alone for what is transient, which promises "at most
 * once". */
#include <stdlib.h>

#include "hf_rpc.h"
#include "message.h"

static struct hf_peer *register_of(struct center *center, const struct target *target)
{
	return hf_peers_by_slot(center->registers, target->slot);
}

static struct hf_peer *room_of(struct center *center, const struct target *target)
{
	return hf_peers_by_number(center->rooms, target->room);
}

/* While a message is stored, register is asked about those that the store does not know. */
static bool is_in_doubt(const struct target *target)
{
	return target->message->phase == MESSAGE_STORING;
}

static enum target_outcome given_up(const struct target *target)
{
	return is_in_doubt(target) ? TARGET_FAILED : TARGET_UNROUTED;
}

static void fail(struct target *target)
{
	message_target_retry(target, given_up(target));
}

void route_begin(struct target *target)
{
	lanes_add(&target->message->center->lookup_lanes, target);
}

/* A refusal of the whole call for one bad item: each goes by itself then. */
static void failed(struct lane_batch *batch, enum hf_rpc_status status)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct target *target = batch->targets[i];

		if (status == HF_RPC_INVALID && !target->alone && batch->count > 1) {
			target->alone = true;
			route_begin(target);
		} else if (status == HF_RPC_INVALID || status == HF_RPC_UNKNOWN_METHOD) {
			message_target_done(target, given_up(target));
		} else {
			message_target_retry(target, given_up(target));
		}
	}
}

/* Attached and not known to the store: its record is on its way there. */
static void settle_doubt(struct target *target, Hf__Presence presence)
{
	if (presence == HF__PRESENCE__OFFLINE)
		message_target_done(target, TARGET_UNREGISTERED);
	else
		message_target_retry(target, TARGET_FAILED);
}

static void on_looked_up(const Hf__LookupReply *reply, void *ctx)
{
	struct lane_batch *batch = ctx;

	if (reply == NULL || reply->n_results != batch->count) {
		failed(batch, reply == NULL ? hf_rpc_last_status() : HF_RPC_INTERNAL);
		free(batch);
		return;
	}
	for (size_t i = 0; i < batch->count; i++) {
		struct target *target = batch->targets[i];
		const Hf__LookupResult *result = reply->results[i];

		if (is_in_doubt(target)) {
			settle_doubt(target, result->presence);
		} else if (result->presence == HF__PRESENCE__OFFLINE) {
			message_target_done(target, TARGET_OFFLINE);
		} else if (result->presence == HF__PRESENCE__ONLINE) {
			target->room = result->room;
			target->session = result->session;
			target->epoch = result->epoch;
			message_note(target, HF_WHY_FOUND_ONLINE, target->room);
			lanes_add(&batch->center->push_lanes, target);
		} else {
			message_target_retry(target, TARGET_UNROUTED);
		}
	}
	free(batch);
}

static void send_lookup(struct center *center, struct hf_peer *peer, struct lane_batch *batch)
{
	Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;
	Hf__LookupItem *items;

	hf_arena_reset(&center->call);
	request.items = hf_arena_alloc(&center->call, batch->count * sizeof(*request.items));
	items = hf_arena_alloc(&center->call, batch->count * sizeof(*items));
	if (request.items == NULL || items == NULL) {
		failed(batch, HF_RPC_OVERLOADED);
		free(batch);
		return;
	}
	for (size_t i = 0; i < batch->count; i++) {
		const struct target *target = batch->targets[i];

		hf__lookup_item__init(&items[i]);
		items[i].app = target->message->app;
		items[i].registration.data = (uint8_t *)target->registration;
		items[i].registration.len = target->registration_len;
		request.items[i] = &items[i];
	}
	request.n_items = batch->count;
	hf__register__lookup(hf_peers_call(center->registers, peer,
					   (uint32_t)center->config->route_try_ms),
			     &request, on_looked_up, batch);
}

/* The session is not where register said: it may have moved, so it is looked for once more. */
static void gone(struct target *target)
{
	++*target->message->center->counters.gone;
	if (target->looked_again) {
		message_target_done(target, TARGET_OFFLINE);
		return;
	}
	target->looked_again = true;
	message_target_retry(target, TARGET_OFFLINE);
}

static void pushed(struct target *target, Hf__PushResult result)
{
	static const enum hf_why_outcome why[] = {
		[HF__PUSH_RESULT__WRITTEN] = HF_WHY_PUSH_WRITTEN,
		[HF__PUSH_RESULT__DEFERRED] = HF_WHY_PUSH_DEFERRED,
		[HF__PUSH_RESULT__IN_FLIGHT] = HF_WHY_PUSH_IN_FLIGHT,
		[HF__PUSH_RESULT__GONE] = HF_WHY_PUSH_GONE,
		[HF__PUSH_RESULT__DROPPED] = HF_WHY_PUSH_DROPPED,
	};
	struct center *center = target->message->center;

	if ((unsigned)result < HF_ARRAY_LEN(why))
		message_note(target, why[result], target->room);

	switch (result) {
	case HF__PUSH_RESULT__DEFERRED:
		++*center->counters.deferred;
		message_target_done(target, TARGET_WRITTEN);
		break;
	case HF__PUSH_RESULT__WRITTEN:
		hf_histogram_record(center->counters.write_us,
				    hf_loop_now_us(center->loop) - target->message->started_us);
		++*center->counters.written;
		message_target_done(target, TARGET_WRITTEN);
		break;
	case HF__PUSH_RESULT__IN_FLIGHT:
		message_target_done(target, TARGET_WRITTEN);
		break;
	case HF__PUSH_RESULT__DROPPED:
		message_target_done(target, TARGET_DROPPED);
		break;
	case HF__PUSH_RESULT__GONE:
	default:
		gone(target);
		break;
	}
}

static void push_failed(struct lane_batch *batch, enum hf_rpc_status status)
{
	bool unsure = !hf_rpc_status_is_safe_to_retry(status) && status != HF_RPC_INVALID;

	for (size_t i = 0; i < batch->count; i++)
		message_note(batch->targets[i], HF_WHY_PUSH_FAILED, batch->targets[i]->room);
	if (unsure && batch->targets[0]->message->class == REQUEST_TRANSIENT) {
		for (size_t i = 0; i < batch->count; i++)
			message_target_done(batch->targets[i], TARGET_UNROUTED);
		return;
	}
	failed(batch, status);
}

static void on_pushed(const Hf__PushReply *reply, void *ctx)
{
	struct lane_batch *batch = ctx;

	if (reply == NULL || reply->n_results != batch->count)
		push_failed(batch, reply == NULL ? hf_rpc_last_status() : HF_RPC_INTERNAL);
	else
		for (size_t i = 0; i < batch->count; i++)
			pushed(batch->targets[i], reply->results[i]);
	free(batch);
}

/* One item for each message, with all its sessions of this batch, which lie side by side. */
static int build_push(struct center *center, const struct lane_batch *batch,
		      Hf__PushRequest *request)
{
	struct hf_arena *arena = &center->call;
	Hf__PushItem *items = hf_arena_alloc(arena, batch->count * sizeof(*items)), *item = NULL;
	uint32_t *sessions = hf_arena_alloc(arena, batch->count * sizeof(*sessions));
	uint64_t *epochs = hf_arena_alloc(arena, batch->count * sizeof(*epochs));
	const struct message *last = NULL;

	request->items = hf_arena_alloc(arena, batch->count * sizeof(*request->items));
	if (items == NULL || sessions == NULL || epochs == NULL || request->items == NULL)
		return -1;
	for (size_t i = 0; i < batch->count; i++) {
		const struct target *target = batch->targets[i];
		const struct message *message = target->message;

		sessions[i] = target->session;
		epochs[i] = target->epoch;
		if (message != last) {
			item = &items[request->n_items];
			hf__push_item__init(item);
			item->frame = (ProtobufCBinaryData){ message->frame_len, message->frame };
			item->message_id = message->id;
			item->class_ = (Hf__Class)message->class;
			item->expires_ms = message->expires_ms;
			item->delivery = message->delivery;
			item->sessions = &sessions[i];
			item->epochs = &epochs[i];
			request->items[request->n_items++] = item;
			last = message;
		}
		item->n_sessions++;
		item->n_epochs++;
	}
	return 0;
}

static void send_push(struct center *center, struct hf_peer *peer, struct lane_batch *batch)
{
	Hf__PushRequest request = HF__PUSH_REQUEST__INIT;

	hf_arena_reset(&center->call);
	if (build_push(center, batch, &request) < 0) {
		failed(batch, HF_RPC_OVERLOADED);
		free(batch);
		return;
	}
	hf__room__push(hf_peers_call(center->rooms, peer, (uint32_t)center->config->route_try_ms),
		       &request, on_pushed, batch);
}

_Static_assert((int)REQUEST_TRANSIENT == HF__CLASS__TRANSIENT &&
		       (int)REQUEST_STORED == HF__CLASS__STORED &&
		       (int)REQUEST_DURABLE == HF__CLASS__DURABLE,
	       "the classes of requests and of the wire are the same numbers");

void route_init(struct center *center)
{
	lanes_init(&center->lookup_lanes, center, register_of, send_lookup, fail);
	lanes_init(&center->push_lanes, center, room_of, send_push, fail);
}
