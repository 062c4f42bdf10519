#define HF_LOG_MODULE "saver"
#include "edit.h"

#include <stdlib.h>

#include "hf_hash.h"
#include "hf_log.h"
#include "saver.h"

#define WAITING_MAX 64u

static enum saver_error read_record(struct saver_edit *edit);

static struct saver_edit *find(const struct hf_table *edits, const struct saver_name *name)
{
	struct hf_table_node *node = hf_table_find(edits, name->hash);

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_edit *edit = HF_CONTAINER_OF(node, struct saver_edit, node);

		if (saver_name_equal(&edit->name, name))
			return edit;
	}
	return NULL;
}

bool saver_edit_runs(const struct hf_table *edits, const struct saver_name *name)
{
	return find(edits, name) != NULL;
}

/* The edit is over; the one after it begins, or ends at once when it can't. */
static void finish(struct saver_edit *edit, enum saver_error error)
{
	struct hf_table *edits = &edit->saver->registry.edits;
	struct saver_edit *next = edit->waiting;
	Hf__RegistrationRecord *old = edit->old, *record = edit->record;
	uint8_t *value = edit->value;

	hf_table_remove(edits, &edit->node);
	if (next != NULL) {
		next->waiting_tail = next->waiting != NULL ? edit->waiting_tail : NULL;
		next->waiting_count = edit->waiting_count - 1;
		hf_table_insert(edits, &next->node, next->name.hash);
	}
	edit->done(edit, error, error == SAVER_OK ? record : NULL);
	if (old != NULL && old != record)
		hf__registration_record__free_unpacked(old, NULL);
	if (record != NULL)
		hf__registration_record__free_unpacked(record, NULL);
	free(value);
	if (next != NULL) {
		error = read_record(next);
		if (error != SAVER_OK)
			finish(next, error);
	}
}

/* Replies of commands that only follow up: what they were to do is repeated by the next change. */
static void send_loose(struct saver_edit *edit, unsigned node, const struct hf_bytes *words,
		       size_t count)
{
	(void)!saver_redis_send(edit->saver->redis, node, SAVER_OP_REGISTRY_WRITE, words, count,
				saver_redis_ignore, NULL);
}

/* The user's set, and the node that has it. */
static unsigned user_set(const struct saver_edit *edit, const ProtobufCBinaryData *user_id,
			 uint8_t key[SAVER_USER_KEY_MAX], struct hf_bytes *ret_key)
{
	struct saver *saver = edit->saver;
	uint32_t app = edit->name.app;

	*ret_key = hf_bytes_of(key,
			       saver_user_key_encode(app, hf_bytes_of(user_id->data, user_id->len),
						     key));
	return saver_redis_node_of(saver->redis,
				   hf_slot(saver->service->salt, app, user_id->data, user_id->len));
}

static void leave_user(struct saver_edit *edit, const ProtobufCBinaryData *user_id)
{
	uint8_t key[SAVER_USER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("SREM") };
	unsigned node;

	if (user_id->len == 0)
		return;
	node = user_set(edit, user_id, key, &words[1]);
	words[2] = saver_name_registration(&edit->name);
	send_loose(edit, node, words, 3);
}

static bool is_same_user(const Hf__RegistrationRecord *a, const Hf__RegistrationRecord *b)
{
	return hf_bytes_equal(hf_bytes_of(a->user_id.data, a->user_id.len),
			      hf_bytes_of(b->user_id.data, b->user_id.len));
}

static void written(struct saver_edit *edit)
{
	if (edit->old != NULL && !(edit->record != NULL && is_same_user(edit->old, edit->record)))
		leave_user(edit, &edit->old->user_id);
	if (edit->record != NULL)
		saver_registry_note_known(edit->saver, &edit->name);
	else
		saver_known_forget(&edit->saver->registry.known, &edit->name);
	saver_registry_changed(edit->saver, &edit->name, edit->old, edit->record,
			       hf_bytes_of(edit->value, edit->value_len));
	finish(edit, SAVER_OK);
}

static void on_written(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_edit *edit = ctx;

	if (error == SAVER_OK)
		written(edit);
	else
		finish(edit, error);
}

/* SET or DEL, noted as not yet in MySQL before that. The second reply speaks for both: they are on
 * one connection. */
static void write_record(struct saver_edit *edit)
{
	struct saver *saver = edit->saver;
	unsigned node = saver_node_of(saver, &edit->name);
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes note[3] = { HF_BYTES_LITERAL("SADD"),
				    HF_BYTES_LITERAL(SAVER_DIRTY_KEY),
				    { key, saver_record_key_encode(&edit->name, key) } };
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("DEL"),
				     note[2],
				     { edit->value, edit->value_len } };
	enum saver_error error = saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_WRITE, note,
						  3, saver_redis_ignore, NULL);

	if (edit->value != NULL)
		words[0] = HF_BYTES_LITERAL("SET");
	if (error == SAVER_OK)
		error = saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_WRITE, words,
					 edit->value != NULL ? 3 : 2, on_written, edit);
	if (error != SAVER_OK)
		finish(edit, error);
}

static void on_added(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_edit *edit = ctx;

	edit->added = error == SAVER_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
}

/* How many registrations the user has, us included. */
static void on_counted(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_edit *edit = ctx;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_INTEGER)
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		finish(edit, error);
		return;
	}
	if (edit->added && reply->integer > SAVER_USER_REGISTRATIONS_MAX) {
		leave_user(edit, &edit->record->user_id);
		if (edit->strict) {
			edit->too_many = true;
			hf__registration_record__free_unpacked(edit->record, NULL);
			edit->record = NULL;
			finish(edit, SAVER_OK);
			return;
		}
		++*edit->saver->registry.unindexed;
	}
	write_record(edit);
}

/* Also when the record named this user before: it repairs a set that lost the name. */
static void join_user(struct saver_edit *edit)
{
	struct saver *saver = edit->saver;
	uint8_t key[SAVER_USER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("SADD") };
	unsigned node = user_set(edit, &edit->record->user_id, key, &words[1]);
	enum saver_error error;

	words[2] = saver_name_registration(&edit->name);
	error = saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_WRITE, words, 3, on_added,
				 edit);
	words[0] = HF_BYTES_LITERAL("SCARD");
	if (error == SAVER_OK) {
		error = saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_READ, words, 2,
					 on_counted, edit);
		if (error != SAVER_OK) /* on_added() must not find an edit that is over */
			saver_redis_reset(saver->redis, node, "half a change was sent");
	}
	if (error != SAVER_OK)
		finish(edit, error);
}

/* The draft, and all that it borrows, is about to go: keep what it says as bytes and as a record.
 */
static enum saver_error keep_draft(struct saver_edit *edit, const struct saver_draft *draft)
{
	edit->value = malloc(SAVER_RECORD_MAX);
	if (edit->value == NULL)
		return SAVER_INTERNAL;
	edit->value_len = saver_record_encode(&draft->record, edit->value);
	edit->record = saver_record_decode(hf_bytes_of(edit->value, edit->value_len));
	return edit->record != NULL ? SAVER_OK : SAVER_INTERNAL;
}

static void decide(struct saver_edit *edit)
{
	struct saver_draft draft;
	enum saver_error error;

	saver_draft_init(&draft, edit->old, hf_loop_wall_ms(edit->saver->service->loop));
	switch (edit->decide(edit, edit->old, &draft)) {
	case SAVER_EDIT_KEEP:
		edit->record = edit->old;
		finish(edit, SAVER_OK);
		return;
	case SAVER_EDIT_FORGET:
		write_record(edit);
		return;
	case SAVER_EDIT_WRITE:
		break;
	}
	error = keep_draft(edit, &draft);
	if (error != SAVER_OK)
		finish(edit, error);
	else if (edit->record->user_id.len > 0)
		join_user(edit);
	else
		write_record(edit);
}

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_edit *edit = ctx;
	struct saver *saver = edit->saver;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING) {
		edit->old = saver_record_decode(saver_reply_bytes(reply));
		if (edit->old == NULL) {
			++*saver->metrics.unreadable;
			error = SAVER_INTERNAL;
			if (hf_log_throttle_pass(&saver->unreadable_throttle, 10000))
				HF_ERROR("record_unreadable", "app=%u registration=%s",
					 edit->name.app,
					 hf_log_quote(edit->name.bytes, edit->name.len));
		} else {
			saver_registry_note_known(saver, &edit->name);
		}
	} else if (error == SAVER_OK && reply->type != REDIS_REPLY_NIL) {
		error = SAVER_INTERNAL;
	}
	if (error == SAVER_OK)
		decide(edit);
	else
		finish(edit, error);
}

static enum saver_error read_record(struct saver_edit *edit)
{
	struct saver *saver = edit->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"),
				     { key, saver_record_key_encode(&edit->name, key) } };

	return saver_redis_send(saver->redis, saver_node_of(saver, &edit->name),
				SAVER_OP_REGISTRY_READ, words, 2, on_read, edit);
}

enum saver_error saver_edit_start(struct saver_edit *edit)
{
	struct hf_table *edits = &edit->saver->registry.edits;
	struct saver_edit *running = find(edits, &edit->name);
	enum saver_error error;

	edit->waiting = edit->waiting_tail = NULL;
	edit->waiting_count = 0;
	edit->too_many = edit->added = false;
	edit->old = edit->record = NULL;
	edit->value = NULL;
	edit->value_len = 0;
	if (running == NULL) {
		error = read_record(edit);
		if (error == SAVER_OK)
			hf_table_insert(edits, &edit->node, edit->name.hash);
		return error;
	}
	if (running->waiting_count == WAITING_MAX)
		return SAVER_OVERLOADED;
	if (running->waiting == NULL)
		running->waiting = edit;
	else
		running->waiting_tail->waiting = edit;
	running->waiting_tail = edit;
	running->waiting_count++;
	return SAVER_OK;
}
