/* The registry: reading, changing and forgetting records. */
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

#include "collapse.h"
#include "log_value.h"
#include "saver.h"

#define READ_MAX   1000u
#define ANSWER_MAX (3u << 20) /* bytes of records in one answer: an RPC takes a little more */

void saver_registry_changed(struct saver *saver, const struct saver_name *name,
			    const Hf__RegistrationRecord *old, const Hf__RegistrationRecord *record,
			    struct hf_bytes value)
{
	struct saver_registry *registry = &saver->registry;
	struct saver_registry_work work = { .erase = record == NULL };

	if (record == NULL)
		++*registry->deleted;
	else if (old == NULL)
		++*registry->created;
	else if (old->revision != record->revision)
		++*registry->updated;
	else
		++*registry->seen;
	if (record != NULL)
		work.tags = old == NULL ? record->n_tags > 0 : !saver_record_same_tags(old, record);
	saver_registry_behind_put(registry->behind, name, value, work);
	saver_registry_tell(saver, name, old, record);
}

void saver_registry_note_known(struct saver *saver, const struct saver_name *name)
{
	if (saver_owns(saver, name->slot))
		saver_known_add(&saver->registry.known, name);
}

void saver_registry_doubt(struct saver *saver)
{
	saver_known_clear(&saver->registry.known);
}

/* --- A login --- */

static enum saver_edit_act decide_login(struct saver_edit *edit, const Hf__RegistrationRecord *old,
					struct saver_draft *draft)
{
	struct saver_login *login = HF_CONTAINER_OF(edit, struct saver_login, edit);
	struct saver *saver = edit->saver;

	saver_draft_login(draft, login->profile, hf_loop_wall_ms(saver->service->loop),
			  saver->config->registry_seen_ms);
	return draft->changed || draft->seen ? SAVER_EDIT_WRITE : SAVER_EDIT_KEEP;
}

static Hf__RegistrationRecord *copy_record(const Hf__RegistrationRecord *record)
{
	uint8_t value[SAVER_RECORD_MAX];

	return saver_record_decode(hf_bytes_of(value, saver_record_encode(record, value)));
}

/* A Redis that is full keeps nobody who is registered from what he is owed. */
static void login_done(struct saver_edit *edit, enum saver_error error,
		       const Hf__RegistrationRecord *record)
{
	struct saver_login *login = HF_CONTAINER_OF(edit, struct saver_login, edit);

	if (error == SAVER_STORE_FULL && edit->old != NULL) {
		error = SAVER_OK;
		record = edit->old;
	}
	if (error == SAVER_OK) {
		login->record = copy_record(record);
		if (login->record == NULL)
			error = SAVER_INTERNAL;
	}
	login->done(login, error);
}

/* The request lives as long as its handler runs; the edit may have to wait. */
static Hf__Profile *copy_profile(const Hf__Profile *profile)
{
	size_t len = hf__profile__get_packed_size(profile);
	uint8_t *packed = malloc(len + 1);
	Hf__Profile *copy = NULL;

	if (packed != NULL) {
		hf__profile__pack(profile, packed);
		copy = hf__profile__unpack(NULL, len, packed);
	}
	free(packed);
	return copy;
}

enum saver_error saver_login_begin(struct saver_login *login, struct saver *saver,
				   const struct saver_name *name, const Hf__Profile *profile,
				   void (*done)(struct saver_login *login, enum saver_error error))
{
	login->profile = copy_profile(profile);
	if (login->profile == NULL)
		return SAVER_INTERNAL;
	login->done = done;
	login->edit = (struct saver_edit){
		.saver = saver, .name = *name, .decide = decide_login, .done = login_done
	};
	return saver_edit_start(&login->edit);
}

void saver_login_deinit(struct saver_login *login)
{
	if (login->profile != NULL)
		hf__profile__free_unpacked(login->profile, NULL);
	if (login->record != NULL)
		hf__registration_record__free_unpacked(login->record, NULL);
}

/* --- ReadRegistrations --- */

struct reading {
	struct saver *saver;
	Hf__ReadRegistrationsReply_Closure closure;
	void *call;
	enum saver_error error;
	uint32_t pending; /* replies awaited, and 1 while commands are sent */
	size_t count, bytes;
	struct read_item {
		struct reading *reading;
		Hf__RegistrationRecord *record;
	} items[];
};

static void answer_reading(struct reading *reading)
{
	Hf__ReadRegistrationsReply reply = HF__READ_REGISTRATIONS_REPLY__INIT;
	Hf__RegistrationEntry entries[READ_MAX], *pointers[READ_MAX];

	for (size_t i = 0; i < reading->count; i++) {
		hf__registration_entry__init(&entries[i]);
		entries[i].record = reading->items[i].record;
		entries[i].known = entries[i].record != NULL;
		pointers[i] = &entries[i];
	}
	reply.n_entries = reading->count;
	reply.entries = pointers;
	if (reading->error != SAVER_OK)
		saver_fail(reading->saver, reading->call, reading->error);
	else if (reading->bytes > ANSWER_MAX)
		saver_fail_invalid(reading->saver, reading->call, "TOO_MANY_RESULTS");
	else
		reading->closure(&reply, reading->call);
	for (size_t i = 0; i < reading->count; i++) {
		if (reading->items[i].record != NULL)
			hf__registration_record__free_unpacked(reading->items[i].record, NULL);
	}
	free(reading);
}

static void on_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct read_item *item = ctx;
	struct reading *reading = item->reading;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING) {
		reading->bytes += reply->len;
		if (reading->bytes <= ANSWER_MAX)
			item->record = saver_record_decode(saver_reply_bytes(reply));
		if (reading->bytes <= ANSWER_MAX && item->record == NULL)
			++*reading->saver->metrics.unreadable;
	} else if (error == SAVER_OK && reply->type != REDIS_REPLY_NIL) {
		error = SAVER_INTERNAL;
	}
	if (reading->error == SAVER_OK)
		reading->error = error;
	if (--reading->pending == 0)
		answer_reading(reading);
}

static enum saver_error read_one(struct read_item *item, const struct saver_name *name)
{
	struct saver *saver = item->reading->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"),
				     { key, saver_record_key_encode(name, key) } };

	return saver_redis_send(saver->redis, saver_node_of(saver, name), SAVER_OP_REGISTRY_READ,
				words, 2, on_read, item);
}

void saver_on_read_registrations(Hf__Saver_Service *rpc,
				 const Hf__ReadRegistrationsRequest *request,
				 Hf__ReadRegistrationsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	size_t count = request->n_registrations;
	struct reading *reading;
	struct saver_name name;

	if (count > READ_MAX) {
		saver_fail_invalid(saver, call, "TOO_MANY_ITEMS");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (!saver_name_of_request(saver, request->app, &request->registrations[i], call,
					   &name))
			return;
	}
	reading = calloc(1, sizeof(*reading) + count * sizeof(reading->items[0]));
	if (reading == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*reading = (struct reading){
		.saver = saver, .closure = closure, .call = call, .pending = 1, .count = count
	};
	for (size_t i = 0; i < count && reading->error == SAVER_OK; i++) {
		const ProtobufCBinaryData *registration = &request->registrations[i];

		reading->items[i].reading = reading;
		(void)!saver_name_set(&name, saver->service->salt, request->app, registration->data,
				      registration->len);
		reading->error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
		if (reading->error == SAVER_OK)
			reading->error = read_one(&reading->items[i], &name);
		reading->pending += reading->error == SAVER_OK;
	}
	if (--reading->pending == 0)
		answer_reading(reading);
}

/* --- ChangeRegistration --- */

struct change {
	struct saver_edit edit;
	void *call;
	Hf__ChangeRegistrationReply_Closure closure;
	Hf__ChangeRegistrationRequest *request; /* a copy of ours */
	bool known, changed, too_many_tags;
};

static enum saver_edit_act decide_change(struct saver_edit *edit, const Hf__RegistrationRecord *old,
					 struct saver_draft *draft)
{
	struct change *change = HF_CONTAINER_OF(edit, struct change, edit);

	change->known = old != NULL;
	if (!change->known)
		return SAVER_EDIT_KEEP;
	change->too_many_tags = saver_draft_change(draft, change->request) < 0;
	change->changed = !change->too_many_tags && draft->changed;
	return change->changed ? SAVER_EDIT_WRITE : SAVER_EDIT_KEEP;
}

static void change_done(struct saver_edit *edit, enum saver_error error,
			const Hf__RegistrationRecord *record)
{
	struct change *change = HF_CONTAINER_OF(edit, struct change, edit);
	struct saver *saver = edit->saver;
	Hf__ChangeRegistrationReply reply = HF__CHANGE_REGISTRATION_REPLY__INIT;

	reply.known = change->known;
	reply.changed = change->changed;
	reply.record = (Hf__RegistrationRecord *)(uintptr_t)record;
	if (error != SAVER_OK)
		saver_fail(saver, change->call, error);
	else if (change->too_many_tags)
		saver_fail_invalid(saver, change->call, "TOO_MANY_TAGS");
	else if (edit->too_many)
		saver_fail_invalid(saver, change->call, "TOO_MANY_REGISTRATIONS");
	else
		change->closure(&reply, change->call);
	hf__change_registration_request__free_unpacked(change->request, NULL);
	free(change);
}

/* The request lives as long as its handler runs; the edit may have to wait. */
static Hf__ChangeRegistrationRequest *copy_request(const Hf__ChangeRegistrationRequest *request)
{
	size_t len = hf__change_registration_request__get_packed_size(request);
	Hf__ChangeRegistrationRequest *copy = NULL;
	uint8_t *packed = malloc(len + 1);

	if (packed != NULL) {
		hf__change_registration_request__pack(request, packed);
		copy = hf__change_registration_request__unpack(NULL, len, packed);
	}
	free(packed);
	return copy;
}

void saver_on_change_registration(Hf__Saver_Service *rpc,
				  const Hf__ChangeRegistrationRequest *request,
				  Hf__ChangeRegistrationReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const char *broken = saver_change_check(request);
	struct change *change;
	struct saver_name name;
	enum saver_error error;

	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		return;
	}
	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	change = calloc(1, sizeof(*change));
	if (change == NULL || (change->request = copy_request(request)) == NULL) {
		free(change);
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	change->edit = (struct saver_edit){ .saver = saver,
					    .name = name,
					    .strict = true,
					    .decide = decide_change,
					    .done = change_done };
	change->closure = closure;
	change->call = call;
	error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
	if (error == SAVER_OK)
		error = saver_edit_start(&change->edit);
	if (error != SAVER_OK)
		change_done(&change->edit, error, NULL);
}

/* --- ForgetRegistration --- */

struct forget {
	struct saver_edit edit;
	void *call;
	Hf__ForgetRegistrationReply_Closure closure;
	bool known;
};

static void forget_done(struct forget *forget, enum saver_error error)
{
	Hf__ForgetRegistrationReply reply = HF__FORGET_REGISTRATION_REPLY__INIT;

	reply.known = forget->known;
	if (error == SAVER_OK)
		forget->closure(&reply, forget->call);
	else
		saver_fail(forget->edit.saver, forget->call, error);
	free(forget);
}

static void on_keys_deleted(const redisReply *reply, enum saver_error error, void *ctx)
{
	forget_done(ctx, error);
}

/* What lies beside the queue goes too: how many were lost, collapse keys, acked broadcasts. */
static enum saver_error delete_keys(struct forget *forget)
{
	struct saver *saver = forget->edit.saver;
	const struct saver_name *name = &forget->edit.name;
	uint8_t queue[SAVER_KEY_MAX], collapse[SAVER_KEY_MAX], acked[SAVER_KEY_MAX];
	struct hf_bytes words[4] = {
		HF_BYTES_LITERAL("DEL"),
		{ queue, saver_queue_key_encode(name, queue) },
		{ collapse, saver_key_encode(HF_BYTES_LITERAL(SAVER_COLLAPSE_PREFIX), name->app,
					     saver_name_registration(name), collapse) },
		{ acked, saver_acked_key_encode(name, acked) },
	};

	/* In the order of the queue: what is stored for who is back by now comes after it. */
	return saver_redis_send_slot(saver->redis, name->slot, SAVER_OP_REGISTRY_WRITE, words, 4,
				     on_keys_deleted, forget);
}

static void on_purged(uint32_t removed, enum saver_error error, void *ctx)
{
	struct forget *forget = ctx;

	if (error == SAVER_OK)
		error = delete_keys(forget);
	if (error != SAVER_OK)
		forget_done(forget, error);
}

/* Also without a record: an earlier try may have come only so far. */
static enum saver_edit_act decide_forget(struct saver_edit *edit, const Hf__RegistrationRecord *old,
					 struct saver_draft *draft)
{
	HF_CONTAINER_OF(edit, struct forget, edit)->known = old != NULL;
	return SAVER_EDIT_FORGET;
}

/* The queue goes after the record: what was let in on the strength of it is there by now. */
static void record_forgotten(struct saver_edit *edit, enum saver_error error,
			     const Hf__RegistrationRecord *record)
{
	struct forget *forget = HF_CONTAINER_OF(edit, struct forget, edit);

	if (error == SAVER_OK)
		error = saver_purge(edit->saver, &edit->name, on_purged, forget);
	if (error != SAVER_OK)
		forget_done(forget, error);
}

void saver_on_forget_registration(Hf__Saver_Service *rpc,
				  const Hf__ForgetRegistrationRequest *request,
				  Hf__ForgetRegistrationReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct forget *forget;
	struct saver_name name;
	enum saver_error error;

	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	forget = calloc(1, sizeof(*forget));
	if (forget == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	forget->edit = (struct saver_edit){
		.saver = saver, .name = name, .decide = decide_forget, .done = record_forgotten
	};
	forget->closure = closure;
	forget->call = call;
	error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
	if (error == SAVER_OK)
		error = saver_edit_start(&forget->edit);
	if (error != SAVER_OK)
		forget_done(forget, error);
}

/* --- Beginning and end --- */

static void make_metrics(struct saver *saver)
{
	static const char records[] = "Records of registrations, by what became of them.";
	static const char looks[] = "Stores by whether the registration was known without asking.";
	struct hf_metrics *m = saver->service->metrics;
	struct saver_registry *registry = &saver->registry;
	const char *name = "holdfast_saver_registrations_total";

	registry->created = hf_metrics_counter(m, name, "change=\"created\"", records);
	registry->updated = hf_metrics_counter(m, name, "change=\"updated\"", records);
	registry->seen = hf_metrics_counter(m, name, "change=\"seen\"", records);
	registry->deleted = hf_metrics_counter(m, name, "change=\"deleted\"", records);
	registry->unindexed =
		hf_metrics_counter(m, "holdfast_saver_registrations_unindexed_total", NULL,
				   "Logins whose user has too many registrations to be indexed.");
	registry->unregistered =
		hf_metrics_counter(m, "holdfast_saver_unregistered_total", NULL,
				   "Messages not stored as their registration never attached.");
	registry->known_hits =
		hf_metrics_counter(m, "holdfast_saver_known_total", "result=\"hit\"", looks);
	registry->known_misses =
		hf_metrics_counter(m, "holdfast_saver_known_total", "result=\"miss\"", looks);
}

int saver_registry_init(struct saver *saver)
{
	struct saver_registry *registry = &saver->registry;
	int err = hf_table_init(&registry->edits);

	make_metrics(saver);
	if (err == 0)
		err = saver_known_init(&registry->known, (uint32_t)saver->config->registry_known);
	if (err == 0)
		err = saver_registry_behind_new(saver, &registry->behind);
	return err;
}

void saver_registry_deinit(struct saver *saver)
{
	struct saver_registry *registry = &saver->registry;

	saver_registry_behind_free(registry->behind);
	saver_known_deinit(&registry->known);
	hf_table_deinit(&registry->edits);
}
