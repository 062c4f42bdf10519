#include "record.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "hf_text.h"

#define RECORD_VERSION 1

static struct hf_bytes bytes_of(const ProtobufCBinaryData *data)
{
	return hf_bytes_of(data->data, data->len);
}

static bool is_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return hf_bytes_equal(bytes_of(a), bytes_of(b));
}

size_t saver_record_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX])
{
	return saver_key_encode(HF_BYTES_LITERAL(SAVER_RECORD_PREFIX), name->app,
				saver_name_registration(name), ret);
}

bool saver_record_key_decode(struct hf_bytes key, uint32_t *ret_app,
			     struct hf_bytes *ret_registration)
{
	return saver_key_decode(HF_BYTES_LITERAL(SAVER_RECORD_PREFIX), key, ret_app,
				ret_registration) &&
	       ret_registration->len >= 1 && ret_registration->len <= HF_REGISTRATION_MAX;
}

size_t saver_user_key_encode(uint32_t app, struct hf_bytes user_id, uint8_t ret[SAVER_USER_KEY_MAX])
{
	return saver_key_encode(HF_BYTES_LITERAL(SAVER_USER_PREFIX), app, user_id, ret);
}

/* Whoever reads the record relies on these. */
static bool keeps_limits(const Hf__RegistrationRecord *record)
{
	if (record->user_id.len > HF_USER_ID_MAX || record->platform.len > HF_PLATFORM_MAX ||
	    record->sdk_version.len > HF_SDK_VERSION_MAX ||
	    record->bar_reason.len > SAVER_BAR_REASON_MAX || record->n_tags > HF_TAGS_MAX)
		return false;
	for (size_t i = 0; i < record->n_tags; i++) {
		if (record->tags[i].len == 0 || record->tags[i].len > HF_TAG_MAX)
			return false;
	}
	return true;
}

Hf__RegistrationRecord *saver_record_decode(struct hf_bytes value)
{
	Hf__RegistrationRecord *record;

	if (value.len < 1 || value.len > SAVER_RECORD_MAX || value.data[0] != RECORD_VERSION)
		return NULL;
	record = hf__registration_record__unpack(NULL, value.len - 1, value.data + 1);
	if (record != NULL && !keeps_limits(record)) {
		hf__registration_record__free_unpacked(record, NULL);
		return NULL;
	}
	return record;
}

size_t saver_record_encode(const Hf__RegistrationRecord *record, uint8_t ret[SAVER_RECORD_MAX])
{
	assert(keeps_limits(record));
	ret[0] = RECORD_VERSION;
	return 1 + hf__registration_record__pack(record, ret + 1);
}

bool saver_record_is_barred(const Hf__RegistrationRecord *record, uint64_t now_ms)
{
	return record->barred_until_ms > now_ms;
}

struct hf_bytes saver_record_tags(const Hf__RegistrationRecord *record,
				  uint8_t ret[HF_TAGS_PACKED_MAX])
{
	return hf_bytes_of(ret, hf_tags_pack(record->tags, record->n_tags, ret));
}

bool saver_record_same_tags(const Hf__RegistrationRecord *a, const Hf__RegistrationRecord *b)
{
	if (a->n_tags != b->n_tags)
		return false;
	for (size_t i = 0; i < a->n_tags; i++) {
		if (!is_same(&a->tags[i], &b->tags[i]))
			return false;
	}
	return true;
}

/* Drafts */

void saver_draft_init(struct saver_draft *draft, const Hf__RegistrationRecord *old, uint64_t now_ms)
{
	draft->changed = draft->seen = old == NULL;
	if (old != NULL) {
		draft->record = *old;
		if (old->n_tags > 0)
			memcpy(draft->tags, old->tags, old->n_tags * sizeof(old->tags[0]));
	} else {
		hf__registration_record__init(&draft->record);
		draft->record.first_seen_ms = draft->record.last_seen_ms = now_ms;
		draft->record.revision = 1;
	}
	draft->record.tags = draft->tags;
}

/* The first change of a draft is what makes it a new revision. */
static void note_change(struct saver_draft *draft)
{
	if (!draft->changed)
		draft->record.revision++;
	draft->changed = true;
}

static void set_bytes(struct saver_draft *draft, ProtobufCBinaryData *field,
		      const ProtobufCBinaryData *value)
{
	if (is_same(field, value))
		return;
	*field = *value;
	note_change(draft);
}

static int compare_tags(const void *a, const void *b)
{
	const ProtobufCBinaryData *x = a, *y = b;
	int order = memcmp(x->data, y->data, HF_MIN(x->len, y->len));

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Sorts, and leaves out what is there twice. */
static size_t tidy_tags(ProtobufCBinaryData *tags, size_t count)
{
	size_t kept = 0;

	if (count > 0)
		qsort(tags, count, sizeof(tags[0]), compare_tags);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || !is_same(&tags[kept - 1], &tags[i]))
			tags[kept++] = tags[i];
	}
	return kept;
}

/* `tags`, which may be shuffled, become those of the draft. */
static int set_tags(struct saver_draft *draft, ProtobufCBinaryData *tags, size_t count)
{
	Hf__RegistrationRecord wanted = HF__REGISTRATION_RECORD__INIT;

	wanted.tags = tags;
	wanted.n_tags = tidy_tags(tags, count);
	if (wanted.n_tags > HF_TAGS_MAX)
		return -E2BIG;
	if (saver_record_same_tags(&draft->record, &wanted))
		return 0;
	memcpy(draft->tags, tags, wanted.n_tags * sizeof(tags[0]));
	draft->record.n_tags = wanted.n_tags;
	note_change(draft);
	return 0;
}

void saver_draft_login(struct saver_draft *draft, const Hf__Profile *profile, uint64_t now_ms,
		       uint64_t seen_interval_ms)
{
	Hf__RegistrationRecord *record = &draft->record;
	ProtobufCBinaryData tags[HF_TAGS_MAX];

	if (profile->user_id.len > 0)
		set_bytes(draft, &record->user_id, &profile->user_id);
	if (profile->n_tags > 0) { /* at most HF_TAGS_MAX: saver_profile_check() */
		memcpy(tags, profile->tags, profile->n_tags * sizeof(tags[0]));
		(void)!set_tags(draft, tags, profile->n_tags);
	}
	set_bytes(draft, &record->platform, &profile->platform);
	set_bytes(draft, &record->sdk_version, &profile->sdk_version);
	if (!draft->changed && now_ms < record->last_seen_ms + seen_interval_ms)
		return;
	draft->seen = true;
	record->last_seen_ms = HF_MAX(record->last_seen_ms, now_ms);
}

static bool is_listed(const ProtobufCBinaryData *list, size_t count, const ProtobufCBinaryData *tag)
{
	for (size_t i = 0; i < count; i++) {
		if (is_same(&list[i], tag))
			return true;
	}
	return false;
}

int saver_draft_change(struct saver_draft *draft, const Hf__ChangeRegistrationRequest *request)
{
	ProtobufCBinaryData tags[2 * HF_TAGS_MAX]; /* what it has and what is added */
	Hf__RegistrationRecord *record = &draft->record;
	size_t count = 0;

	for (size_t i = 0; !request->set_tags && i < record->n_tags; i++) {
		if (!is_listed(request->tags_remove, request->n_tags_remove, &record->tags[i]))
			tags[count++] = record->tags[i];
	}
	for (size_t i = 0; i < request->n_tags_add; i++)
		tags[count++] = request->tags_add[i];
	if (set_tags(draft, tags, count) < 0)
		return -E2BIG;
	if (request->set_user_id)
		set_bytes(draft, &record->user_id, &request->user_id);
	if (request->set_bar) {
		static const ProtobufCBinaryData none;
		bool barred = request->barred_until_ms != 0;

		if (record->barred_until_ms != request->barred_until_ms) {
			record->barred_until_ms = request->barred_until_ms;
			note_change(draft);
		}
		set_bytes(draft, &record->bar_reason, barred ? &request->bar_reason : &none);
	}
	return 0;
}

/* What comes from other processes */

static const char *check_tags(const ProtobufCBinaryData *tags, size_t count)
{
	if (count > HF_TAGS_MAX)
		return "TOO_MANY_TAGS";
	for (size_t i = 0; i < count; i++) {
		if (!hf_tag_is_valid(bytes_of(&tags[i])))
			return "BAD_TAG";
	}
	return NULL;
}

static bool is_user_id(const ProtobufCBinaryData *user_id)
{
	return user_id->len == 0 || hf_text_is_id(user_id->data, user_id->len, HF_USER_ID_MAX);
}

const char *saver_profile_check(const Hf__Profile *profile)
{
	if (!is_user_id(&profile->user_id))
		return "BAD_USER_ID";
	if (profile->platform.len > HF_PLATFORM_MAX ||
	    profile->sdk_version.len > HF_SDK_VERSION_MAX)
		return "BAD_PROFILE";
	return check_tags(profile->tags, profile->n_tags);
}

const char *saver_change_check(const Hf__ChangeRegistrationRequest *request)
{
	const char *broken = check_tags(request->tags_add, request->n_tags_add);

	if (broken == NULL)
		broken = check_tags(request->tags_remove, request->n_tags_remove);
	if (broken != NULL)
		return broken;
	if (request->set_tags && request->n_tags_remove > 0)
		return "BAD_TAG";
	if (request->set_user_id && !is_user_id(&request->user_id))
		return "BAD_USER_ID";
	if (request->set_bar &&
	    (request->bar_reason.len > SAVER_BAR_REASON_MAX ||
	     !hf_text_is_utf8(request->bar_reason.data, request->bar_reason.len)))
		return "BAD_BAR";
	return NULL;
}
