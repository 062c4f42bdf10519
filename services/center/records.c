/* services/center/records.c - see records.h. */
#include "records.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_clock.h"

#define READ_MAX 1000 /* registrations in one call */

static const struct {
	const char *name;
	unsigned field;
} field_names[] = {
	{ "online", RECORD_ONLINE },
	{ "node", RECORD_NODE },
	{ "user_id", RECORD_USER_ID },
	{ "tags", RECORD_TAGS },
	{ "platform", RECORD_PLATFORM },
	{ "sdk_version", RECORD_SDK_VERSION },
	{ "first_seen_at", RECORD_FIRST_SEEN },
	{ "last_seen_at", RECORD_LAST_SEEN },
	{ "bar", RECORD_BAR },
};

int records_parse_fields(const json_t *fields, unsigned *ret_fields, struct problem *ret_problem)
{
	unsigned found = 0;

	if (fields == NULL || json_is_null(fields)) {
		*ret_fields = RECORD_ALL;
		return 0;
	}
	if (!json_is_array(fields) || json_array_size(fields) == 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "fields", NULL,
				   "fields must be an array of names");
	for (size_t i = 0; i < json_array_size(fields); i++) {
		const char *name = json_string_value(json_array_get(fields, i));
		size_t at = 0;

		while (name != NULL && at < HF_ARRAY_LEN(field_names) &&
		       strcmp(field_names[at].name, name) != 0)
			at++;
		if (name == NULL || at == HF_ARRAY_LEN(field_names))
			return problem_set(ret_problem, 400, "BAD_VALUE", "fields", name,
					   "fields are online, node, user_id, tags, platform, "
					   "sdk_version, first_seen_at, last_seen_at and bar");
		found |= field_names[at].field;
	}
	*ret_fields = found;
	return 0;
}

json_t *record_text(ProtobufCBinaryData bytes)
{
	json_t *text = bytes.len > 0 ? json_stringn((const char *)bytes.data, bytes.len) : NULL;

	return text != NULL ? text : json_null();
}

static json_t *word_time(uint64_t wall_ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	if (wall_ms == 0)
		return json_null();
	hf_clock_format(wall_ms, text);
	return json_string(text);
}

static json_t *word_tags(const Hf__RegistrationRecord *record)
{
	json_t *list = json_array();

	for (size_t i = 0; i < record->n_tags; i++)
		json_array_append_new(list, record_text(record->tags[i]));
	return list;
}

json_t *record_word_stored(const Hf__RegistrationRecord *record, unsigned fields, uint64_t now_ms)
{
	json_t *word = json_object();

	if (fields & RECORD_USER_ID)
		json_object_set_new(word, "user_id", record_text(record->user_id));
	if (fields & RECORD_TAGS)
		json_object_set_new(word, "tags", word_tags(record));
	if (fields & RECORD_PLATFORM)
		json_object_set_new(word, "platform", record_text(record->platform));
	if (fields & RECORD_SDK_VERSION)
		json_object_set_new(word, "sdk_version", record_text(record->sdk_version));
	if (fields & RECORD_FIRST_SEEN)
		json_object_set_new(word, "first_seen_at", word_time(record->first_seen_ms));
	if (fields & RECORD_LAST_SEEN)
		json_object_set_new(word, "last_seen_at", word_time(record->last_seen_ms));
	if (fields & RECORD_BAR)
		json_object_set_new(word, "bar",
				    record->barred_until_ms > now_ms
					    ? json_pack("{s:o, s:o}", "until",
							word_time(record->barred_until_ms),
							"reason", record_text(record->bar_reason))
					    : json_null());
	return word;
}

json_t *record_word(const struct center *center, const struct record_item *item, unsigned fields)
{
	const struct hf_peer *room = item->online == HF__PRESENCE__ONLINE
					     ? hf_peers_by_number(center->rooms, item->room)
					     : NULL;
	json_t *word = json_pack("{s:s%}", "registration_id", item->registration.data,
				 item->registration.len);

	if (word == NULL)
		return NULL;
	if (fields & RECORD_OF_STORE)
		json_object_set_new(word, "registered",
				    item->read ? json_boolean(item->known) : json_null());
	if (fields & RECORD_ONLINE)
		json_object_set_new(word, "online",
				    item->online == HF__PRESENCE__NOT_YET_KNOWN
					    ? json_null()
					    : json_boolean(item->online == HF__PRESENCE__ONLINE));
	if (fields & RECORD_NODE)
		json_object_set_new(word, "node",
				    room != NULL ? json_string(room->instance.id) : json_null());
	if (item->record != NULL)
		json_object_update(word, item->record);
	return word;
}

/* ---- asking ---- */

/* One call: which items it asked about. */
struct records_call {
	struct records *records;
	size_t count;
	uint32_t at[];
};

static void one_less(struct records *records)
{
	if (--records->open > 0)
		return;
	records->done(records, records->ctx);
	for (size_t i = 0; i < records->count; i++)
		json_decref(records->items[i].record);
	free(records);
}

static void on_read(const Hf__ReadRegistrationsReply *reply, void *ctx)
{
	struct records_call *call = ctx;
	struct records *records = call->records;
	uint64_t now_ms = hf_loop_wall_ms(records->center->loop);
	bool read = reply != NULL && reply->n_entries == call->count;

	records->unread |= !read;
	for (size_t i = 0; read && i < call->count; i++) {
		struct record_item *item = &records->items[call->at[i]];

		item->read = true;
		item->known = reply->entries[i]->known && reply->entries[i]->record != NULL;
		if (item->known)
			item->record = record_word_stored(reply->entries[i]->record,
							  records->fields, now_ms);
	}
	free(call);
	one_less(records);
}

/* Ask `peer` about all items of its slots that come at or after `first`. */
static void ask(struct records *records, struct hf_peer *peer, size_t first, bool *asked)
{
	struct center *center = records->center;
	size_t room = HF_MIN(records->count - first, (size_t)READ_MAX);
	struct records_call *call = malloc(sizeof(*call) + room * sizeof(call->at[0]));
	Hf__ReadRegistrationsRequest request = HF__READ_REGISTRATIONS_REQUEST__INIT;

	hf_arena_reset(&center->call);
	request.registrations =
		hf_arena_alloc(&center->call, room * sizeof(*request.registrations));
	if (call == NULL || request.registrations == NULL) {
		free(call);
		asked[first] = records->unread = true;
		return;
	}
	call->records = records;
	call->count = 0;
	for (size_t i = first; i < records->count && call->count < room; i++) {
		const struct record_item *item = &records->items[i];

		if (asked[i] || hf_peers_by_slot(center->savers, item->slot) != peer)
			continue;
		asked[i] = true;
		request.registrations[call->count] =
			(ProtobufCBinaryData){ item->registration.len,
					       (uint8_t *)(uintptr_t)item->registration.data };
		call->at[call->count++] = (uint32_t)i;
	}
	request.app = records->app;
	request.n_registrations = call->count;
	records->open++;
	hf__saver__read_registrations(hf_peers_call(center->savers, peer,
						    (uint32_t)center->config->query_ms),
				      &request, on_read, call);
}

static void on_found(struct lookup *lookup, void *ctx)
{
	struct records *records = ctx;

	for (size_t i = 0; i < lookup->count; i++) {
		records->items[i].online = lookup->items[i].presence;
		records->items[i].room = lookup->items[i].room;
	}
	one_less(records);
}

static int ask_all(struct records *records, const struct hf_bytes *registrations)
{
	struct center *center = records->center;
	bool *asked = calloc(records->count, sizeof(*asked));
	int err = asked != NULL ? 0 : -ENOMEM;

	if (err == 0 && records->fields & RECORD_OF_REGISTER) {
		records->open++;
		err = lookup_start(center, records->app, registrations, records->count, on_found,
				   records);
		if (err < 0)
			records->open--;
	}
	for (size_t i = 0; err == 0 && records->fields & RECORD_OF_STORE && i < records->count; i++)
		if (!asked[i])
			ask(records, hf_peers_by_slot(center->savers, records->items[i].slot), i,
			    asked);
	free(asked);
	return err;
}

int records_start(struct center *center, uint32_t app, const struct hf_bytes *registrations,
		  size_t count, unsigned fields, records_done done, void *ctx)
{
	size_t names = 0;
	struct records *records;
	uint8_t *copy;
	int err;

	for (size_t i = 0; i < count; i++)
		names += registrations[i].len;
	records = calloc(1, sizeof(*records) + count * sizeof(records->items[0]) + names);
	if (records == NULL)
		return -ENOMEM;
	records->center = center;
	records->app = app;
	records->fields = fields;
	records->done = done;
	records->ctx = ctx;
	records->count = count;
	records->open = 1; /* held while the calls are made */
	copy = (uint8_t *)&records->items[count];
	for (size_t i = 0; i < count; i++) {
		struct record_item *item = &records->items[i];

		memcpy(copy, registrations[i].data, registrations[i].len);
		item->registration = hf_bytes_of(copy, registrations[i].len);
		item->slot = hf_service_slot(center->service, app, copy, registrations[i].len);
		item->online = HF__PRESENCE__NOT_YET_KNOWN;
		copy += registrations[i].len;
	}
	err = count > 0 ? ask_all(records, registrations) : 0;
	if (err < 0) {
		free(records); /* nothing was asked yet */
		return err;
	}
	one_less(records);
	return 0;
}
