#include "tell.h"

#include <stdlib.h>

#include "labels.h"
#include "saver.h"
#include "script.h"
#include "spool.h"

static struct hf_bytes bytes_of(ProtobufCBinaryData data)
{
	return hf_bytes_of(data.data, data.len);
}

enum saver_error saver_tell(struct saver *saver, const struct saver_name *name, uint64_t message_id,
			    enum saver_fate fate, const Hf__Delivery *delivery)
{
	static const struct {
		Hf__EventType type;
		const char *reason;
	} events[SAVER_FATES] = {
		[SAVER_ACKED] = { HF__EVENT_TYPE__MESSAGE_ACKED, NULL },
		[SAVER_EXPIRED] = { HF__EVENT_TYPE__MESSAGE_EXPIRED, NULL },
		[SAVER_RECALLED] = { HF__EVENT_TYPE__MESSAGE_RECALLED, NULL },
		[SAVER_DROPPED] = { HF__EVENT_TYPE__MESSAGE_DROPPED, "cap" },
		[SAVER_PURGED] = { HF__EVENT_TYPE__MESSAGE_DROPPED, "purged" },
		[SAVER_COLLAPSED] = { HF__EVENT_TYPE__MESSAGE_DROPPED, "collapsed" },
	};
	Hf__EventType type = events[fate].type;

	if (delivery == NULL || !(delivery->receipts & 1u << type) ||
	    !saver_spool_wants(saver, name->app, type))
		return SAVER_OK;
	return saver_spool_add_message(saver, name, type, message_id, bytes_of(delivery->label),
				       bytes_of(delivery->receipt_params), events[fate].reason);
}

void saver_count_label(struct saver *saver, uint32_t app, enum saver_fate fate,
		       const Hf__Delivery *delivery)
{
	if (delivery != NULL && delivery->label.len > 0)
		saver_labels_count(saver->labels, app, bytes_of(delivery->label), fate);
}

bool saver_look_needed(const struct saver *saver, uint32_t app, const uint64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!saver_history_plain(&saver->history, app, ids[i]))
			return true;
	}
	return false;
}

static int by_id(const void *a, const void *b)
{
	const struct saver_told *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

const struct saver_told *saver_look_find(const struct saver_look *look, uint64_t id)
{
	struct saver_told wanted = { .id = id };

	return look->told_count == 0 ? NULL
				     : bsearch(&wanted, look->told, look->told_count,
					       sizeof(look->told[0]), by_id);
}

void saver_look_deinit(struct saver_look *look)
{
	for (size_t i = 0; i < look->told_count; i++)
		saver_delivery_free(look->told[i].delivery);
	free(look->told);
}

static void note_error(struct saver_look *look, enum saver_error error)
{
	if (look->error == SAVER_OK)
		look->error = error;
}

/* One message with a Delivery: tell, and remember it until it is gone. */
static void take(struct saver_look *look, uint64_t id, Hf__Delivery *delivery)
{
	struct saver_told *grown;
	enum saver_error error;

	if (look->told_count == look->told_capacity) {
		size_t capacity = HF_MAX(2 * look->told_capacity, (size_t)4);

		grown = realloc(look->told, capacity * sizeof(*grown));
		if (grown == NULL) { /* it goes untold: rather than be owed for ever */
			saver_delivery_free(delivery);
			return;
		}
		look->told = grown;
		look->told_capacity = capacity;
	}
	error = saver_tell(look->saver, &look->name, id, look->fate, delivery);
	if (error != SAVER_OK)
		note_error(look, error);
	look->told[look->told_count++] =
		(struct saver_told){ .id = id, .stays = error != SAVER_OK, .delivery = delivery };
}

static enum saver_error ask(struct saver_look *look);

static void on_values(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_look *look = ctx;
	struct saver_value value;

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements != look->page_count))
		error = SAVER_INTERNAL;
	for (size_t i = 0; error == SAVER_OK && i < look->page_count; i++) {
		struct hf_bytes bytes = saver_reply_element(reply, i);
		Hf__Delivery *delivery;

		if (bytes.data == NULL || !saver_value_decode(bytes, &value))
			continue; /* gone already, or of a version that we do not know */
		delivery = saver_delivery_unpack(value.delivery);
		if (delivery != NULL)
			take(look, look->page[i], delivery);
	}
	if (error == SAVER_OK)
		error = ask(look);
	if (error == SAVER_OK && look->page_count > 0)
		return;
	if (error != SAVER_OK)
		note_error(look, error);
	look->complete = error == SAVER_OK;
	if (look->told_count > 0)
		qsort(look->told, look->told_count, sizeof(look->told[0]), by_id);
	look->done(look);
}

/* The next ones, passing over what is known to be plain; page_count is 0 when none is left. */
static enum saver_error ask(struct saver_look *look)
{
	struct saver *saver = look->saver;
	uint8_t key[SAVER_KEY_MAX], fields[SAVER_LOOK_PAGE][SAVER_FIELD_SIZE];
	struct hf_bytes words[2 + SAVER_LOOK_PAGE] = {
		HF_BYTES_LITERAL("HMGET"), { key, saver_queue_key_encode(&look->name, key) }
	};

	look->page_count = 0;
	for (; look->next < look->count && look->page_count < SAVER_LOOK_PAGE; look->next++) {
		uint64_t id = look->ids[look->next];

		if (saver_history_plain(&saver->history, look->name.app, id))
			continue;
		saver_field_encode(id, fields[look->page_count]);
		words[2 + look->page_count] =
			hf_bytes_of(fields[look->page_count], SAVER_FIELD_SIZE);
		look->page[look->page_count++] = id;
	}
	return look->page_count == 0
		       ? SAVER_OK
		       : saver_redis_send_slot(saver->redis, look->name.slot, SAVER_OP_REMOVE,
					       words, 2 + look->page_count, on_values, look);
}

enum saver_error saver_look_start(struct saver_look *look)
{
	enum saver_error error = ask(look);

	return error == SAVER_OK && look->page_count == 0 ? SAVER_INTERNAL : error;
}
