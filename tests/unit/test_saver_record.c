#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "known.h"
#include "record.h"

#define DAY 86400000ull

static ProtobufCBinaryData text(const char *s)
{
	return (ProtobufCBinaryData){ strlen(s), (uint8_t *)(uintptr_t)s };
}

static struct hf_bytes encode(const Hf__RegistrationRecord *record, uint8_t buf[SAVER_RECORD_MAX])
{
	return hf_bytes_of(buf, saver_record_encode(record, buf));
}

static struct saver_name named(uint32_t app, const char *registration)
{
	struct saver_name name;

	assert_true(saver_name_set(&name, 42, app, registration, strlen(registration)));
	return name;
}

static void test_a_record_comes_back_as_it_was(void **state)
{
	ProtobufCBinaryData tags[] = { text("a"), text("b") };
	Hf__RegistrationRecord record = HF__REGISTRATION_RECORD__INIT, *found;
	uint8_t buf[SAVER_RECORD_MAX], packed[HF_TAGS_PACKED_MAX];

	record.user_id = text("ana");
	record.tags = tags;
	record.n_tags = 2;
	record.platform = text("ios");
	record.first_seen_ms = 5;
	record.barred_until_ms = 1000;
	record.revision = 7;
	found = saver_record_decode(encode(&record, buf));
	assert_non_null(found);
	assert_int_equal(found->user_id.len, 3);
	assert_true(saver_record_same_tags(found, &record));
	assert_int_equal(found->revision, 7);
	assert_true(saver_record_is_barred(found, 999));
	assert_false(saver_record_is_barred(found, 1000));
	assert_true(hf_bytes_equal(saver_record_tags(found, packed), HF_BYTES_LITERAL("\1a"
										      "\1b")));
	hf__registration_record__free_unpacked(found, NULL);
}

static void test_the_largest_record_fits(void **state)
{
	static uint8_t bytes[HF_TAGS_MAX][HF_TAG_MAX];
	static char long_text[HF_USER_ID_MAX];
	ProtobufCBinaryData tags[HF_TAGS_MAX];
	Hf__RegistrationRecord record = HF__REGISTRATION_RECORD__INIT, *found;
	uint8_t buf[SAVER_RECORD_MAX];

	for (size_t i = 0; i < HF_TAGS_MAX; i++)
		tags[i] = (ProtobufCBinaryData){ HF_TAG_MAX, bytes[i] };
	record.tags = tags;
	record.n_tags = HF_TAGS_MAX;
	record.user_id = (ProtobufCBinaryData){ HF_USER_ID_MAX, (uint8_t *)long_text };
	record.platform = (ProtobufCBinaryData){ HF_PLATFORM_MAX, (uint8_t *)long_text };
	record.sdk_version = (ProtobufCBinaryData){ HF_SDK_VERSION_MAX, (uint8_t *)long_text };
	record.bar_reason = (ProtobufCBinaryData){ SAVER_BAR_REASON_MAX, (uint8_t *)long_text };
	record.first_seen_ms = record.last_seen_ms = record.barred_until_ms = UINT64_MAX;
	record.revision = UINT32_MAX;
	found = saver_record_decode(encode(&record, buf));
	assert_non_null(found);
	hf__registration_record__free_unpacked(found, NULL);
}

static void test_what_no_version_of_ours_wrote_is_no_record(void **state)
{
	Hf__RegistrationRecord record = HF__REGISTRATION_RECORD__INIT;
	ProtobufCBinaryData tags[HF_TAGS_MAX + 1];
	uint8_t buf[8192];
	size_t len;

	assert_null(saver_record_decode(hf_bytes_of(NULL, 0)));
	record.user_id = text("ana");
	len = saver_record_encode(&record, buf);
	buf[0]++;
	assert_null(saver_record_decode(hf_bytes_of(buf, len)));
	buf[0]--;
	for (size_t cut = 2; cut < len; cut++) { /* without the sanitizer's eye on `buf` */
		uint8_t *exact = malloc(cut);

		assert_non_null(exact);
		memcpy(exact, buf, cut);
		assert_null(saver_record_decode(hf_bytes_of(exact, cut)));
		free(exact);
	}
	for (size_t i = 0; i <= HF_TAGS_MAX; i++)
		tags[i] = text("t");
	record.tags = tags;
	record.n_tags = HF_TAGS_MAX + 1;
	len = hf__registration_record__pack(&record, buf + 1);
	assert_null(saver_record_decode(hf_bytes_of(buf, len + 1)));
}

static void test_a_login_changes_what_it_says_and_nothing_else(void **state)
{
	ProtobufCBinaryData tags[] = { text("b"), text("a"), text("b") };
	Hf__Profile profile = HF__PROFILE__INIT;
	struct saver_draft first, second;

	profile.user_id = text("ana");
	profile.tags = tags;
	profile.n_tags = 3;
	profile.platform = text("ios");
	saver_draft_init(&first, NULL, 1000);
	saver_draft_login(&first, &profile, 1000, DAY);
	assert_true(first.changed);
	assert_int_equal(first.record.revision, 1);
	assert_int_equal(first.record.n_tags, 2);
	assert_int_equal(first.tags[0].data[0], 'a');

	profile = (Hf__Profile)HF__PROFILE__INIT;
	profile.platform = text("ios");
	saver_draft_init(&second, &first.record, 2000);
	saver_draft_login(&second, &profile, 2000, DAY);
	assert_false(second.changed);
	assert_false(second.seen);
	saver_draft_login(&second, &profile, 1000 + DAY, DAY);
	assert_false(second.changed);
	assert_true(second.seen);
	assert_int_equal(second.record.last_seen_ms, 1000 + DAY);
	assert_int_equal(second.record.first_seen_ms, 1000);
	assert_int_equal(second.record.revision, 1);

	profile.platform = text("android");
	saver_draft_init(&second, &first.record, 2000);
	saver_draft_login(&second, &profile, 2000, DAY);
	assert_true(second.changed && second.seen);
	assert_int_equal(second.record.revision, 2);
	assert_int_equal(second.record.n_tags, 2);
	assert_int_equal(second.record.user_id.len, 3);
}

static void test_tags_are_added_and_removed_up_to_a_hundred(void **state)
{
	static char names[HF_TAGS_MAX + 1][8];
	ProtobufCBinaryData many[HF_TAGS_MAX + 1], one = text("t050"), other = text("z");
	Hf__ChangeRegistrationRequest change = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	struct saver_draft draft;

	for (size_t i = 0; i <= HF_TAGS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "t%03zu", i);
		many[i] = text(names[i]);
	}
	saver_draft_init(&draft, NULL, 1);
	change.tags_add = many;
	change.n_tags_add = HF_TAGS_MAX;
	assert_int_equal(saver_draft_change(&draft, &change), 0);
	assert_int_equal(draft.record.n_tags, HF_TAGS_MAX);
	change.tags_add = &other;
	change.n_tags_add = 1;
	assert_int_equal(saver_draft_change(&draft, &change), -E2BIG);
	change.tags_remove = &one;
	change.n_tags_remove = 1;
	assert_int_equal(saver_draft_change(&draft, &change), 0);
	assert_int_equal(draft.record.n_tags, HF_TAGS_MAX);
	assert_int_equal(draft.tags[HF_TAGS_MAX - 1].data[0], 'z');
	change = (Hf__ChangeRegistrationRequest)HF__CHANGE_REGISTRATION_REQUEST__INIT;
	change.set_tags = true;
	assert_int_equal(saver_draft_change(&draft, &change), 0);
	assert_int_equal(draft.record.n_tags, 0);
	change.tags_add = many;
	change.n_tags_add = HF_TAGS_MAX + 1;
	assert_string_equal(saver_change_check(&change), "TOO_MANY_TAGS");
}

static void test_a_change_that_changes_nothing_is_none(void **state)
{
	Hf__RegistrationRecord old = HF__REGISTRATION_RECORD__INIT;
	Hf__ChangeRegistrationRequest change = HF__CHANGE_REGISTRATION_REQUEST__INIT;
	ProtobufCBinaryData tag = text("a");
	struct saver_draft draft;

	old.tags = &tag;
	old.n_tags = 1;
	old.user_id = text("ana");
	change.set_user_id = true;
	change.user_id = text("ana");
	change.tags_add = &tag;
	change.n_tags_add = 1;
	change.set_bar = true;
	change.bar_reason = text("said for nothing: there is no bar");
	saver_draft_init(&draft, &old, 1);
	assert_int_equal(saver_draft_change(&draft, &change), 0);
	assert_false(draft.changed);
	change.barred_until_ms = 5;
	assert_int_equal(saver_draft_change(&draft, &change), 0);
	assert_true(draft.changed);
	assert_int_equal(draft.record.revision, 1);
	assert_int_not_equal(draft.record.bar_reason.len, 0);
}

static void test_keys_say_whose_they_are(void **state)
{
	struct saver_name name = named(UINT32_MAX, "with:colon");
	uint8_t key[SAVER_KEY_MAX], user[SAVER_USER_KEY_MAX];
	struct hf_bytes registration;
	char longest[HF_USER_ID_MAX];
	uint32_t app;
	size_t len = saver_record_key_encode(&name, key);

	assert_true(saver_record_key_decode(hf_bytes_of(key, len), &app, &registration));
	assert_int_equal(app, UINT32_MAX);
	assert_true(hf_bytes_equal(registration, HF_BYTES_LITERAL("with:colon")));
	assert_false(saver_record_key_decode(HF_BYTES_LITERAL("hf:q:7:x"), &app, &registration));
	assert_false(saver_record_key_decode(HF_BYTES_LITERAL("hf:r:7:"), &app, &registration));
	memset(longest, 'u', sizeof(longest));
	assert_true(saver_user_key_encode(UINT32_MAX, hf_bytes_of(longest, sizeof(longest)),
					  user) <= sizeof(user));
}

static void test_who_is_known_is_known_until_forgotten(void **state)
{
	struct saver_name a = named(1, "a"), b = named(1, "b"), same = named(2, "a");
	struct saver_known known;

	assert_int_equal(saver_known_init(&known, 1000), 0);
	assert_int_equal(known.mask, 1023);
	assert_false(saver_known_has(&known, &a));
	saver_known_add(&known, &a);
	assert_true(saver_known_has(&known, &a));
	assert_false(saver_known_has(&known, &b));
	assert_false(saver_known_has(&known, &same));
	saver_known_forget(&known, &a);
	assert_false(saver_known_has(&known, &a));
	saver_known_add(&known, &a);
	saver_known_clear(&known);
	assert_false(saver_known_has(&known, &a));
	saver_known_deinit(&known);
}

static void test_a_place_that_was_taken_over_is_not_freed_for_the_old_one(void **state)
{
	struct saver_name a = named(1, "a"), b = named(1, "b");
	struct saver_known known;

	assert_int_equal(saver_known_init(&known, 1), 0);
	b.hash = a.hash ^ 1ull << 63; /* the same place */
	saver_known_add(&known, &a);
	saver_known_set_length(&known, &a, 5);
	saver_known_add(&known, &b);
	assert_false(saver_known_has(&known, &a));
	assert_int_equal(saver_known_length(&known, &b), SAVER_KNOWN_MANY);
	saver_known_forget(&known, &a);
	saver_known_set_length(&known, &a, 7);
	assert_true(saver_known_has(&known, &b));
	assert_int_equal(saver_known_length(&known, &b), SAVER_KNOWN_MANY);
	saver_known_deinit(&known);
}

static void test_a_queue_is_never_known_to_be_shorter_than_it_may_be(void **state)
{
	struct saver_name a = named(1, "a");
	struct saver_known known;

	assert_int_equal(saver_known_init(&known, 1000), 0);
	saver_known_sent(&known, &a);
	saver_known_set_length(&known, &a, 1);
	assert_int_equal(saver_known_length(&known, &a), SAVER_KNOWN_MANY); /* not known at all */
	saver_known_add(&known, &a);
	saver_known_sent(&known, &a);
	saver_known_left(&known, &a);
	assert_int_equal(saver_known_length(&known, &a), SAVER_KNOWN_MANY); /* nobody said */
	saver_known_set_length(&known, &a, 2);
	saver_known_sent(&known, &a);
	assert_int_equal(saver_known_length(&known, &a), 3);
	saver_known_add(&known, &a); /* known already */
	for (unsigned i = 0; i < 4; i++)
		saver_known_left(&known, &a);
	assert_int_equal(saver_known_length(&known, &a), 0);
	saver_known_set_length(&known, &a, SAVER_KNOWN_MANY - 1);
	saver_known_sent(&known, &a);
	saver_known_sent(&known, &a);
	saver_known_left(&known, &a);
	assert_int_equal(saver_known_length(&known, &a), SAVER_KNOWN_MANY);
	saver_known_set_length(&known, &a, UINT64_MAX);
	assert_int_equal(saver_known_length(&known, &a), SAVER_KNOWN_MANY);
	assert_true(saver_known_has(&known, &a));
	saver_known_deinit(&known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_comes_back_as_it_was),
		cmocka_unit_test(test_the_largest_record_fits),
		cmocka_unit_test(test_what_no_version_of_ours_wrote_is_no_record),
		cmocka_unit_test(test_a_login_changes_what_it_says_and_nothing_else),
		cmocka_unit_test(test_tags_are_added_and_removed_up_to_a_hundred),
		cmocka_unit_test(test_a_change_that_changes_nothing_is_none),
		cmocka_unit_test(test_keys_say_whose_they_are),
		cmocka_unit_test(test_who_is_known_is_known_until_forgotten),
		cmocka_unit_test(test_a_queue_is_never_known_to_be_shorter_than_it_may_be),
		cmocka_unit_test(test_a_place_that_was_taken_over_is_not_freed_for_the_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
