/* Ack, AwaitAck and Purge: messages that leave because somebody said so. */
#include <errno.h>
#include <stdlib.h>

#include "saver.h"

#define AWAIT_MAX_MS 300000u

/* One Ack call. */
struct ack {
	struct saver *saver;
	Hf__AckReply_Closure closure;
	void *call;
	uint32_t pending; /* removals, and 1 while they are begun */
	enum saver_error error;
};

static void release(struct ack *ack)
{
	Hf__AckReply reply = HF__ACK_REPLY__INIT;

	if (--ack->pending > 0)
		return;
	if (ack->error == SAVER_OK)
		ack->closure(&reply, ack->call);
	else
		saver_fail(ack->saver, ack->call, ack->error);
	free(ack);
}

static void on_acked(uint32_t removed, enum saver_error error, void *ctx)
{
	struct ack *ack = ctx;

	if (ack->error == SAVER_OK)
		ack->error = error;
	release(ack);
}

void saver_on_ack(Hf__Saver_Service *rpc, const Hf__AckRequest *request,
		  Hf__AckReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_name name;
	uint64_t admitted = 0; /* by node */
	size_t ids = 0;
	struct ack *ack;

	for (size_t i = 0; i < request->n_items; i++) {
		ids += request->items[i]->n_message_ids;
		if (request->items[i]->registration.len == 0 ||
		    request->items[i]->registration.len > HF_REGISTRATION_MAX) {
			saver_fail_invalid(saver, call, "BAD_REGISTRATION");
			return;
		}
	}
	if (ids > SAVER_ACK_IDS_MAX) {
		saver_fail_invalid(saver, call, "TOO_MANY_ITEMS");
		return;
	}
	ack = malloc(sizeof(*ack));
	if (ack == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*ack = (struct ack){ .saver = saver, .closure = closure, .call = call, .pending = 1 };
	for (size_t i = 0; i < request->n_items && ack->error == SAVER_OK; i++) {
		const Hf__AckItem *item = request->items[i];

		if (item->n_message_ids == 0 ||
		    !saver_name_set(&name, saver->service->salt, item->app, item->registration.data,
				    item->registration.len))
			continue;
		/* Once a call: what was begun would be repeated with all the rest. */
		if (!(admitted >> saver_node_of(saver, &name) & 1))
			ack->error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
		admitted |= 1ull << saver_node_of(saver, &name);
		if (ack->error == SAVER_OK)
			ack->error = saver_remove(saver, &name, item->message_ids,
						  item->n_message_ids, SAVER_ACKED, on_acked, ack);
		ack->pending += ack->error == SAVER_OK;
	}
	release(ack);
}

/* AwaitAck: the waiter is put up first, then Redis is asked, so that no ack falls between. */
struct await_check {
	struct saver *saver;
	uint64_t message_id;
	struct saver_name name;
};

static void on_exists(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct await_check *check = ctx;
	struct saver *saver = check->saver;
	const struct saver_history_record *record;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
		/* It is gone already. By an ack, as far as we remember? */
		record = saver_history_find(&saver->history, check->name.app, check->message_id);
		saver_await_notify(&saver->await, &check->name, check->message_id,
				   record != NULL && record->counts[SAVER_ACKED] > 0);
	}
	free(check);
}

void saver_on_await_ack(Hf__Saver_Service *rpc, const Hf__AwaitAckRequest *request,
			Hf__AwaitAckReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HEXISTS"),
				     { key, 0 },
				     { field, sizeof(field) } };
	struct await_check *check;
	struct saver_name name;
	int err;

	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	err = saver_await_add(&saver->await, &name, request->message_id,
			      HF_MIN(request->timeout_ms, AWAIT_MAX_MS), closure, call);
	if (err < 0) {
		saver_fail(saver, call, err == -ENOBUFS ? SAVER_OVERLOADED : SAVER_INTERNAL);
		return;
	}
	check = malloc(sizeof(*check));
	if (check == NULL)
		return; /* an ack that comes is still heard of */
	*check = (struct await_check){ saver, request->message_id, name };
	words[1].len = saver_queue_key_encode(&name, key);
	saver_field_encode(request->message_id, field);
	if (saver_redis_send_slot(saver->redis, name.slot, SAVER_OP_INSPECT, words, 3, on_exists,
				  check) != SAVER_OK)
		free(check);
}

/* Purge: read the ids, then remove them. */
struct purge {
	struct saver *saver;
	saver_removed_cb cb;
	void *ctx;
	struct saver_name name;
};

static void on_purged(uint32_t removed, enum saver_error error, void *ctx)
{
	struct purge *purge = ctx;

	purge->cb(removed, error, purge->ctx);
	free(purge);
}

static void on_purge_keys(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct purge *purge = ctx;
	uint64_t *ids = NULL;
	size_t count = 0;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK && reply->elements > 0) {
		ids = malloc(reply->elements * sizeof(*ids));
		if (ids == NULL)
			error = SAVER_INTERNAL;
	}
	for (size_t i = 0; ids != NULL && i < reply->elements; i++) {
		if (saver_field_decode(saver_reply_bytes(reply->element[i]), &ids[count]))
			count++;
	}
	if (count > 0)
		error = saver_remove(purge->saver, &purge->name, ids, count, SAVER_PURGED,
				     on_purged, purge);
	free(ids);
	if (count == 0 || error != SAVER_OK)
		on_purged(0, error, purge);
}

enum saver_error saver_purge(struct saver *saver, const struct saver_name *name,
			     saver_removed_cb cb, void *ctx)
{
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("HKEYS"),
				     { key, saver_queue_key_encode(name, key) } };
	struct purge *purge = malloc(sizeof(*purge));
	enum saver_error error;

	if (purge == NULL)
		return SAVER_INTERNAL;
	*purge = (struct purge){ saver, cb, ctx, *name };
	error = saver_redis_send_slot(saver->redis, name->slot, SAVER_OP_INSPECT, words, 2,
				      on_purge_keys, purge);
	if (error != SAVER_OK)
		free(purge);
	return error;
}

/* The call of an operator. */
struct purge_call {
	struct saver *saver;
	Hf__PurgeReply_Closure closure;
	void *call;
};

static void on_purge_done(uint32_t removed, enum saver_error error, void *ctx)
{
	struct purge_call *purge = ctx;
	Hf__PurgeReply reply = HF__PURGE_REPLY__INIT;

	reply.purged = removed;
	if (error == SAVER_OK)
		purge->closure(&reply, purge->call);
	else
		saver_fail(purge->saver, purge->call, error);
	free(purge);
}

void saver_on_purge(Hf__Saver_Service *rpc, const Hf__PurgeRequest *request,
		    Hf__PurgeReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct purge_call *purge;
	struct saver_name name;
	enum saver_error error;

	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	purge = malloc(sizeof(*purge));
	if (purge == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*purge = (struct purge_call){ saver, closure, call };
	error = saver_purge(saver, &name, on_purge_done, purge);
	if (error != SAVER_OK)
		on_purge_done(0, error, purge);
}
