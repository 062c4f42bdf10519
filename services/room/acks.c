/* Acks of clients on their way to saver: one Saver.Ack for each saver and turn, and while some are
 * not answered those that come gather in the next. So they fill up as saver gets slow, and it has
 * no more of them than it can do. A batch that fails is kept, within bounds, and sent again to
 * whoever owns its slots by then; an ack that is lost costs no message, only a second delivery. */
#define HF_LOG_MODULE "acks"
#include <errno.h>
#include <stdlib.h>

#include "hf_backoff.h"
#include "hf_log.h"
#include "room.h"

#define CALL_TIMEOUT_MS 3000
#define GIVE_UP_MS      60000
#define BATCH_ITEMS     1024u
#define BATCH_IDS       8192u
#define CALLS_MAX       2u /* under way to one saver */

struct item {
	uint32_t app;
	uint16_t slot;
	uint8_t registration_len;
	uint8_t registration[HF_REGISTRATION_MAX];
	uint32_t first_id, id_count;
};

struct batch {
	struct room *room;
	struct batch *next; /* waiting for its saver, under way, or waiting for another try */
	uint32_t saver;     /* under way: the number of the saver's instance */
	uint64_t since_ms;
	size_t item_count, item_capacity, id_count, id_capacity;
	struct item *items;
	uint64_t *ids;
};

struct acks_state {
	struct room *room;
	struct hf_task task;
	struct hf_timer retry_timer;
	struct hf_backoff backoff;
	struct batch *waiting, *under_way;
	uint64_t ids; /* in all batches: open, in flight, waiting */
	bool closing;
};

static void batch_free(struct batch *batch)
{
	if (batch == NULL)
		return;
	batch->room->acks->ids -= batch->id_count;
	free(batch->items);
	free(batch->ids);
	free(batch);
}

static void batch_give_up(struct batch *batch)
{
	*batch->room->metrics.acks_given_up += batch->id_count;
	batch_free(batch);
}

static void retry_later(struct room *room)
{
	struct acks_state *acks = room->acks;

	if (!hf_timer_armed(&acks->retry_timer))
		hf_loop_arm(room->loop, &acks->retry_timer,
			    20 + hf_backoff_next_ms(&acks->backoff));
}

static void keep_for_retry(struct room *room, struct batch *batch)
{
	if (hf_loop_now_ms(room->loop) - batch->since_ms > GIVE_UP_MS) {
		batch_give_up(batch);
		return;
	}
	batch->next = room->acks->waiting;
	room->acks->waiting = batch;
	retry_later(room);
}

static uint32_t calls_of(const struct acks_state *acks, const struct hf_peer *peer)
{
	const struct batch *batch = acks->under_way;
	uint32_t count = 0;

	for (; batch != NULL; batch = batch->next)
		count += batch->saver == peer->instance.number;
	return count;
}

static void no_longer_under_way(struct acks_state *acks, struct batch *batch)
{
	struct batch **at = &acks->under_way;

	while (*at != batch)
		at = &(*at)->next;
	*at = batch->next;
	batch->next = NULL;
}

static void on_acked(const Hf__AckReply *reply, void *ctx)
{
	static struct hf_log_throttle throttle;
	struct batch *batch = ctx;
	struct room *room = batch->room;

	no_longer_under_way(room->acks, batch);
	if (!room->acks->closing)
		hf_task_schedule(room->loop, &room->acks->task);
	if (reply != NULL) {
		++*room->metrics.ack_batches_ok;
		hf_backoff_reset(&room->acks->backoff);
		batch_free(batch);
	} else if (room->acks->closing) {
		batch_give_up(batch);
	} else {
		++*room->metrics.ack_batches_failed;
		if (hf_log_throttle_pass(&throttle, 5000))
			HF_WARN("saver ack failed", "status=%s reason=%s",
				hf_rpc_status_name(hf_rpc_last_status()), hf_rpc_last_reason());
		keep_for_retry(room, batch);
	}
}

static void send_batch(struct room *room, struct hf_peer *peer, struct batch *batch)
{
	static Hf__AckItem items[BATCH_ITEMS];
	static Hf__AckItem *pointers[BATCH_ITEMS];
	Hf__AckRequest request = HF__ACK_REQUEST__INIT;

	for (size_t i = 0; i < batch->item_count; i++) {
		struct item *item = &batch->items[i];

		items[i] = (Hf__AckItem)HF__ACK_ITEM__INIT;
		items[i].app = item->app;
		items[i].registration =
			(ProtobufCBinaryData){ item->registration_len, item->registration };
		items[i].n_message_ids = item->id_count;
		items[i].message_ids = batch->ids + item->first_id;
		pointers[i] = &items[i];
	}
	request.n_items = batch->item_count;
	request.items = pointers;
	batch->saver = peer->instance.number;
	batch->next = room->acks->under_way;
	room->acks->under_way = batch;
	hf__saver__ack(hf_peers_call(room->savers, peer, CALL_TIMEOUT_MS), &request, on_acked,
		       batch);
}

/* Those that wait for a saver hang on its peer, the last one open for more. */
static void send_first(struct room *room, struct hf_peer *peer)
{
	struct batch *batch = peer->user;

	peer->user = batch->next;
	send_batch(room, peer, batch);
}

void acks_flush(struct room *room)
{
	struct hf_peer *peer = hf_peers_first(room->savers);

	for (; peer != NULL; peer = peer->next) {
		while (peer->user != NULL)
			send_first(room, peer);
	}
}

static void on_turn_end(void *ctx)
{
	struct room *room = ctx;
	struct hf_peer *peer = hf_peers_first(room->savers);

	for (; peer != NULL; peer = peer->next) {
		while (peer->user != NULL && calls_of(room->acks, peer) < CALLS_MAX)
			send_first(room, peer);
	}
}

/* Makes room for one more element of `size`. */
static bool grow(void **array, size_t *capacity, size_t count, size_t size)
{
	size_t more = HF_MAX((size_t)8, 2 * *capacity);
	void *grown;

	if (count < *capacity)
		return true;
	grown = realloc(*array, more * size);
	if (grown == NULL)
		return false;
	*array = grown;
	*capacity = more;
	return true;
}

static struct batch *batch_new(struct room *room)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (batch != NULL) {
		batch->room = room;
		batch->since_ms = hf_loop_now_ms(room->loop);
	}
	return batch;
}

static struct item *item_for(struct batch *batch, uint32_t app, uint16_t slot,
			     struct hf_bytes registration)
{
	struct item *item = batch->item_count == 0 ? NULL : &batch->items[batch->item_count - 1];

	if (item != NULL && item->app == app &&
	    hf_bytes_equal(hf_bytes_of(item->registration, item->registration_len), registration))
		return item;
	if (!grow((void **)&batch->items, &batch->item_capacity, batch->item_count,
		  sizeof(struct item)))
		return NULL;
	item = &batch->items[batch->item_count++];
	item->app = app;
	item->slot = slot;
	item->registration_len = (uint8_t)registration.len;
	memcpy(item->registration, registration.data, registration.len);
	item->first_id = (uint32_t)batch->id_count;
	item->id_count = 0;
	return item;
}

/* False: out of memory. */
static bool batch_add(struct batch *batch, uint32_t app, uint16_t slot,
		      struct hf_bytes registration, uint64_t id)
{
	struct item *item;

	if (!grow((void **)&batch->ids, &batch->id_capacity, batch->id_count, sizeof(uint64_t)))
		return false;
	item = item_for(batch, app, slot, registration);
	if (item == NULL)
		return false;
	batch->ids[batch->id_count++] = id;
	item->id_count++;
	batch->room->acks->ids++;
	return true;
}

static bool is_full(const struct batch *batch)
{
	return batch->item_count == BATCH_ITEMS || batch->id_count == BATCH_IDS;
}

/* The last of those that wait for the saver, when it has room; NULL out of memory. */
static struct batch *batch_for(struct room *room, struct hf_peer *peer)
{
	struct batch *last = peer->user, *batch;

	while (last != NULL && last->next != NULL) /* they are few: limits.ack_backlog */
		last = last->next;
	if (last != NULL && !is_full(last))
		return last;
	batch = batch_new(room);
	if (batch == NULL)
		return NULL;
	if (last != NULL)
		last->next = batch;
	else
		peer->user = batch;
	hf_task_schedule(room->loop, &room->acks->task);
	return batch;
}

/* With no owner, into one that waits for the next try. */
static struct batch *batch_for_nobody(struct room *room)
{
	struct batch *batch = room->acks->waiting;

	if (batch != NULL && !is_full(batch))
		return batch;
	batch = batch_new(room);
	if (batch != NULL)
		keep_for_retry(room, batch);
	return batch;
}

static bool add(struct room *room, uint32_t app, uint16_t slot, struct hf_bytes registration,
		uint64_t id, uint64_t since_ms)
{
	struct hf_peer *peer = hf_peers_by_slot(room->savers, slot);
	struct batch *batch = peer != NULL ? batch_for(room, peer) : batch_for_nobody(room);

	if (batch == NULL)
		return false;
	batch->since_ms = HF_MIN(batch->since_ms, since_ms);
	return batch_add(batch, app, slot, registration, id);
}

void acks_add(struct room *room, const struct session *session, uint64_t message_id)
{
	if (room->acks->ids >= room->config->limits.ack_backlog ||
	    !add(room, session->app, session->slot, session_registration(room, session), message_id,
		 hf_loop_now_ms(room->loop)))
		++*room->metrics.acks_given_up;
}

static void on_retry(struct hf_timer *timer, void *ctx)
{
	struct room *room = ctx;
	struct batch *batch = room->acks->waiting;

	room->acks->waiting = NULL;
	while (batch != NULL) {
		struct batch *next = batch->next;

		for (size_t i = 0; i < batch->item_count; i++) {
			const struct item *item = &batch->items[i];

			for (uint32_t j = 0; j < item->id_count; j++) {
				if (!add(room, item->app, item->slot,
					 hf_bytes_of(item->registration, item->registration_len),
					 batch->ids[item->first_id + j], batch->since_ms))
					++*room->metrics.acks_given_up;
			}
		}
		batch_free(batch);
		batch = next;
	}
}

bool acks_are_settled(const struct room *room)
{
	return room->acks->ids == 0;
}

static void on_leave(struct hf_peer *peer, void *ctx)
{
	struct room *room = ctx;
	struct batch *batch = peer->user;

	peer->user = NULL;
	while (batch != NULL) {
		struct batch *next = batch->next;

		if (room->acks->closing)
			batch_give_up(batch);
		else
			keep_for_retry(room, batch);
		batch = next;
	}
}

int acks_open(struct room *room)
{
	struct hf_peers_options options = {
		.service = "saver",
		.descriptor = &hf__saver__descriptor,
		.on_leave = on_leave,
		.ctx = room,
	};
	struct acks_state *acks = calloc(1, sizeof(*acks));

	if (acks == NULL)
		return -ENOMEM;
	room->acks = acks;
	acks->room = room;
	acks->backoff = (struct hf_backoff){ .base_ms = 100, .cap_ms = 3000 };
	hf_task_init(&acks->task, on_turn_end, room);
	hf_timer_init(&acks->retry_timer, on_retry, room);
	return hf_peers_new(room->loop, room->service->metrics, room->service->keeper, &options,
			    &room->savers);
}

void acks_close(struct room *room)
{
	struct acks_state *acks = room->acks;
	struct hf_peer *peer;

	if (acks == NULL)
		return;
	acks->closing = true;
	peer = room->savers == NULL ? NULL : hf_peers_first(room->savers);
	for (; peer != NULL; peer = peer->next)
		on_leave(peer, room);
	hf_peers_free(room->savers); /* ends every open call */
	room->savers = NULL;
	while (acks->waiting != NULL) {
		struct batch *batch = acks->waiting;

		acks->waiting = batch->next;
		batch_give_up(batch);
	}
	hf_task_cancel(room->loop, &acks->task);
	hf_wheel_disarm(&acks->retry_timer);
	free(acks);
	room->acks = NULL;
}
