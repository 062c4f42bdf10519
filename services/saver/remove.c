/* Deleting messages from Redis, for whatever reason, and counting each by what Redis says. */
#include <stdlib.h>

#include "offer.h"
#include "saver.h"
#include "tell.h"

struct removal {
	struct saver *saver;
	saver_removed_cb cb;
	void *ctx;
	enum saver_fate fate;
	enum saver_error error;
	uint32_t removed;
	size_t next, pending, count; /* replies come in the order of the ids */
	/* Acks of what is in no queue: the first `missing` ids, in the end, and the last ones, that
	 * are known to be broadcasts. */
	size_t missing, broadcasts;
	struct saver_look look;
	struct saver_name name;
	uint64_t ids[];
};

static void finish(struct removal *removal)
{
	if (removal->cb != NULL)
		removal->cb(removal->removed, removal->error, removal->ctx);
	saver_look_deinit(&removal->look);
	free(removal);
}

static void on_broadcasts_acked(enum saver_error error, void *ctx)
{
	struct removal *removal = ctx;

	if (removal->error == SAVER_OK)
		removal->error = error;
	finish(removal);
}

/* What is acked and in no queue is perhaps a broadcast. */
static enum saver_error ack_broadcasts(struct removal *removal)
{
	size_t count = removal->missing + removal->broadcasts;

	memmove(removal->ids + removal->missing,
		removal->ids + removal->count - removal->broadcasts,
		removal->broadcasts * sizeof(removal->ids[0]));
	return saver_broadcasts_ack(removal->saver, &removal->name, removal->ids, count,
				    on_broadcasts_acked, removal);
}

static void all_removed(struct removal *removal)
{
	enum saver_error error;

	if (removal->missing + removal->broadcasts > 0) {
		error = ack_broadcasts(removal);
		if (error == SAVER_OK)
			return;
		if (removal->error == SAVER_OK)
			removal->error = error;
	}
	finish(removal);
}

static void on_removed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct removal *removal = ctx;
	uint64_t id = removal->ids[removal->next++];
	const struct saver_told *told;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK) {
		bool was_there = reply->integer > 0;

		removal->removed += was_there;
		saver_account(removal->saver, &removal->name, id, removal->fate, was_there);
		if (was_there && (told = saver_look_find(&removal->look, id)) != NULL)
			saver_count_label(removal->saver, removal->name.app, removal->fate,
					  told->delivery);
		if (!was_there && removal->fate == SAVER_ACKED)
			removal->ids[removal->missing++] = id;
	} else if (removal->error == SAVER_OK) {
		removal->error = error;
	}
	if (--removal->pending == 0)
		all_removed(removal);
}

/* Those that are known to be broadcasts go last. */
static void take_ids(struct removal *removal, const uint64_t *ids)
{
	size_t first = 0;

	for (size_t i = 0; i < removal->count; i++) {
		if (removal->fate == SAVER_ACKED &&
		    saver_broadcasts_have(removal->saver, removal->name.app, ids[i]))
			removal->ids[removal->count - ++removal->broadcasts] = ids[i];
		else
			removal->ids[first++] = ids[i];
	}
}

/* Delete those that take_ids() put first, except what must stay. */
static enum saver_error remove_now(struct removal *removal)
{
	struct saver *saver = removal->saver;
	uint8_t key[SAVER_KEY_MAX], field[SAVER_FIELD_SIZE];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HDEL"),
				     { key, saver_queue_key_encode(&removal->name, key) },
				     { field, sizeof(field) } };
	enum saver_error error = SAVER_OK;

	for (size_t i = 0; i < removal->count - removal->broadcasts && error == SAVER_OK; i++) {
		saver_field_encode(removal->ids[i], field);
		error = saver_redis_send_slot(saver->redis, removal->name.slot, SAVER_OP_REMOVE,
					      words, 3, on_removed, removal);
		removal->pending += error == SAVER_OK;
	}
	if (removal->pending > 0) { /* those that were sent are waited for */
		if (removal->error == SAVER_OK)
			removal->error = error;
		return SAVER_OK;
	}
	if (error == SAVER_OK && removal->broadcasts > 0)
		error = ack_broadcasts(removal);
	else if (error == SAVER_OK)
		error = SAVER_INTERNAL;
	return error;
}

/* What could not be told stays. */
static void leave_out_those_that_stay(struct removal *removal)
{
	size_t deletable = removal->count - removal->broadcasts, kept = 0;

	for (size_t i = 0; i < deletable; i++) {
		const struct saver_told *told = saver_look_find(&removal->look, removal->ids[i]);

		if (told == NULL || !told->stays)
			removal->ids[kept++] = removal->ids[i];
	}
	memmove(removal->ids + kept, removal->ids + deletable,
		removal->broadcasts * sizeof(removal->ids[0]));
	removal->count -= deletable - kept;
}

static void on_looked(struct saver_look *look)
{
	struct removal *removal = HF_CONTAINER_OF(look, struct removal, look);
	enum saver_error error = look->error;

	removal->error = error;
	if (look->complete) {
		if (error != SAVER_OK)
			leave_out_those_that_stay(removal);
		if (removal->count > 0)
			error = remove_now(removal);
	}
	if (error == SAVER_OK || removal->pending > 0)
		return;
	if (removal->error == SAVER_OK)
		removal->error = error;
	finish(removal);
}

enum saver_error saver_remove(struct saver *saver, const struct saver_name *name,
			      const uint64_t *ids, size_t count, enum saver_fate fate,
			      saver_removed_cb cb, void *ctx)
{
	struct removal *removal = malloc(sizeof(*removal) + count * sizeof(ids[0]));
	enum saver_error error;
	size_t deletable;

	if (removal == NULL)
		return SAVER_INTERNAL;
	*removal = (struct removal){
		.saver = saver, .cb = cb, .ctx = ctx, .fate = fate, .count = count, .name = *name
	};
	take_ids(removal, ids);
	deletable = count - removal->broadcasts;
	if (saver_look_needed(saver, name->app, removal->ids, deletable)) {
		removal->look = (struct saver_look){ .saver = saver,
						     .fate = fate,
						     .done = on_looked,
						     .name = *name,
						     .ids = removal->ids,
						     .count = deletable };
		error = saver_look_start(&removal->look);
	} else {
		error = remove_now(removal);
	}
	if (error != SAVER_OK)
		free(removal);
	return error;
}
