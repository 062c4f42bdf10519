/* Acks of broadcasts: a broadcast lies in no queue, so that its ack is remembered in a set of the
 * registration, for as long as the log may offer it. */
#include <stdlib.h>

#include "acked.h"
#include "labels.h"
#include "log_cache.h"
#include "offer.h"
#include "saver.h"
#include "script.h"
#include "tell.h"

#define PRUNE_ABOVE 64 /* members of a set; a login prunes sooner */
#define SLACK_MS    60000u

struct acks {
	struct saver *saver;
	saver_broadcasts_cb cb;
	void *ctx;
	struct saver_log_wait wait;
	enum saver_error error;
	size_t count, pending;
	struct saver_name name;
	uint64_t ids[];
};

/* One id of them, while Redis has it. */
struct one {
	struct acks *acks;
	uint64_t id;
};

static void release(struct acks *acks)
{
	if (--acks->pending > 0)
		return;
	acks->cb(acks->error, acks->ctx);
	free(acks);
}

/* Acked by one more registration. */
static void count(struct saver *saver, const struct saver_name *name, uint64_t id)
{
	const struct saver_log_app *app = saver_log_known(saver->log, name->app);
	const struct saver_log_entry *entry = app != NULL ? saver_log_find(app, id) : NULL;

	saver_log_count_ack(saver->log, name->app, id);
	hf_why_note_name(&saver->service->why, HF_WHY_ACKED, name->app, name->bytes, name->len, id,
			 0);
	saver_labels_count(saver->labels, name->app, (struct hf_bytes){ 0 }, SAVER_ACKED);
	if (entry != NULL)
		saver_count_label(saver, name->app, SAVER_ACKED, entry->broadcast->delivery);
}

static void on_added(bool is_new, uint64_t members, enum saver_error error, void *ctx)
{
	struct one *one = ctx;
	struct acks *acks = one->acks;
	struct saver *saver = acks->saver;

	if (error == SAVER_OK) {
		if (is_new)
			count(saver, &acks->name, one->id);
		saver_quarantine_on_ack(&saver->quarantine, &acks->name, one->id);
		if (members > PRUNE_ABOVE)
			saver_broadcasts_prune(saver, &acks->name);
	} else if (acks->error == SAVER_OK) {
		acks->error = error;
	}
	free(one);
	release(acks);
}

static enum saver_error add(struct acks *acks, const struct saver_log_entry *entry, uint64_t now_ms)
{
	struct saver *saver = acks->saver;
	const Hf__Delivery *delivery = entry->broadcast->delivery;
	bool told = delivery != NULL && delivery->receipts != 0; /* before it is remembered */
	struct one *one = malloc(sizeof(*one));
	enum saver_error error = one != NULL ? SAVER_OK : SAVER_INTERNAL;

	if (error == SAVER_OK)
		error = saver_tell(saver, &acks->name, entry->id, SAVER_ACKED, delivery);
	if (error == SAVER_OK) {
		*one = (struct one){ acks, entry->id };
		error = saver_acked_add(saver->acked, &acks->name, entry->id,
					entry->expires_ms - now_ms + SLACK_MS, told, on_added, one);
	}
	if (error == SAVER_OK)
		acks->pending++;
	else
		free(one);
	return error;
}

static void add_all(struct acks *acks, const struct saver_log_app *app)
{
	uint64_t now = hf_loop_wall_ms(acks->saver->service->loop);

	for (size_t i = 0; i < acks->count && acks->error == SAVER_OK; i++) {
		const struct saver_log_entry *entry = saver_log_find(app, acks->ids[i]);

		if (entry != NULL && entry->expires_ms > now)
			acks->error = add(acks, entry, now);
	}
}

static void on_log(struct saver_log_wait *wait, struct saver_log_app *app, enum saver_error error)
{
	struct acks *acks = HF_CONTAINER_OF(wait, struct acks, wait);

	acks->error = error;
	if (error == SAVER_OK) {
		add_all(acks, app);
		saver_log_release(app);
	}
	release(acks);
}

/* All known without asking: then nobody has to be asked. */
static bool have_all(struct saver *saver, uint32_t app, const uint64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!saver_broadcasts_have(saver, app, ids[i]))
			return false;
	}
	return true;
}

bool saver_broadcasts_have(struct saver *saver, uint32_t number, uint64_t id)
{
	const struct saver_log_app *app = saver_log_known(saver->log, number);
	const struct saver_log_entry *entry = app != NULL ? saver_log_find(app, id) : NULL;

	return entry != NULL && entry->expires_ms > hf_loop_wall_ms(saver->service->loop);
}

enum saver_error saver_broadcasts_ack(struct saver *saver, const struct saver_name *name,
				      const uint64_t *ids, size_t count, saver_broadcasts_cb cb,
				      void *ctx)
{
	struct acks *acks = malloc(sizeof(*acks) + count * sizeof(ids[0]));
	enum saver_error error = SAVER_OK;

	if (acks == NULL)
		return SAVER_INTERNAL;
	*acks = (struct acks){ .saver = saver,
			       .cb = cb,
			       .ctx = ctx,
			       .wait = { .done = on_log },
			       .count = count,
			       .pending = 1,
			       .name = *name };
	memcpy(acks->ids, ids, count * sizeof(ids[0]));
	if (!have_all(saver, name->app, ids, count)) {
		error = saver_log_ask(saver->log, name->app, &acks->wait);
	} else {
		add_all(acks, saver_log_known(saver->log, name->app));
		if (acks->pending > 1) /* what was sent is waited for */
			release(acks);
		else
			error = acks->error != SAVER_OK ? acks->error : SAVER_INTERNAL;
	}
	if (error != SAVER_OK)
		free(acks);
	return error;
}

/* --- Pruning --- */

/* The set is read before the log: what it has was in the log then, so that what the log has not now
 * is over. */
struct prune {
	struct saver *saver;
	struct saver_log_wait wait;
	struct saver_name name;
	size_t count;
	uint64_t *ids;
};

static void prune_free(struct prune *prune)
{
	free(prune->ids);
	free(prune);
}

static void remove_past(struct prune *prune, const struct saver_log_app *app)
{
	struct saver *saver = prune->saver;
	uint8_t key[SAVER_KEY_MAX], (*ids)[SAVER_ACKED_ID_MAX];
	struct hf_bytes *words = malloc((2 + prune->count) * sizeof(*words));
	size_t count = 0;

	ids = malloc((prune->count + 1) * sizeof(*ids));
	for (size_t i = 0; words != NULL && ids != NULL && i < prune->count; i++) {
		if (saver_log_find(app, prune->ids[i]) != NULL)
			continue;
		words[2 + count] =
			hf_bytes_of(ids[count], saver_acked_id_encode(prune->ids[i], ids[count]));
		count++;
	}
	if (count > 0) {
		words[0] = HF_BYTES_LITERAL("SREM");
		words[1] = hf_bytes_of(key, saver_acked_key_encode(&prune->name, key));
		(void)!saver_redis_send(saver->redis, saver_node_of(saver, &prune->name),
					SAVER_OP_BROADCAST, words, 2 + count, saver_redis_ignore,
					NULL);
	}
	free(words);
	free(ids);
}

static void on_prune_log(struct saver_log_wait *wait, struct saver_log_app *app,
			 enum saver_error error)
{
	struct prune *prune = HF_CONTAINER_OF(wait, struct prune, wait);

	if (error == SAVER_OK) {
		remove_past(prune, app);
		saver_log_release(app);
	}
	prune_free(prune);
}

static void on_members(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct prune *prune = ctx;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
		prune->ids = malloc(reply->elements * sizeof(prune->ids[0]));
	for (size_t i = 0; prune->ids != NULL && i < reply->elements; i++) {
		if (saver_acked_id_decode(saver_reply_element(reply, i), &prune->ids[prune->count]))
			prune->count++;
	}
	prune->wait.done = on_prune_log;
	if (prune->count == 0 ||
	    saver_log_ask(prune->saver->log, prune->name.app, &prune->wait) != SAVER_OK)
		prune_free(prune);
}

void saver_broadcasts_prune(struct saver *saver, const struct saver_name *name)
{
	struct prune *prune = calloc(1, sizeof(*prune));
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("SMEMBERS"),
				     { key, saver_acked_key_encode(name, key) } };

	if (prune == NULL)
		return;
	prune->saver = saver;
	prune->name = *name;
	if (saver_redis_send(saver->redis, saver_node_of(saver, name), SAVER_OP_BROADCAST, words, 2,
			     on_members, prune) != SAVER_OK)
		prune_free(prune);
}
