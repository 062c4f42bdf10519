/* hf_audience: kinds AND together, each means what it says, and limits are held. */
#include "test_base.h"

#include <errno.h>
#include <stdio.h>

#include "hf_audience.h"

#define DATA(s) ((ProtobufCBinaryData){ sizeof(s) - 1, (uint8_t *)(uintptr_t)(s) })

static struct hf_bytes text(const char *s)
{
	return hf_bytes_of_string(s);
}

static const uint8_t vip_beijing[] = "\3vip\7beijing";
static const struct hf_profile ana = {
	.app = 7,
	.registration = { (const uint8_t *)"ana", 3 },
	.platform = { (const uint8_t *)"android", 7 },
	.sdk_version = { (const uint8_t *)"c/1.10", 6 },
	.tags = { vip_beijing, sizeof(vip_beijing) - 1 },
};

static void test_versions_compare_as_numbers(void **state)
{
	assert_true(hf_version_compare(text("1.9"), text("1.10")) < 0);
	assert_true(hf_version_compare(text("2"), text("1.10.3")) > 0);
	assert_int_equal(hf_version_compare(text("2"), text("2.0.0")), 0);
	assert_int_equal(hf_version_compare(text("2.0-beta"), text("2.0")), 0);
	assert_true(hf_version_compare(text("99999999999999999999999"), text("1")) > 0);
	assert_true(hf_version_is_valid(text("1.2")));
	assert_false(hf_version_is_valid(text("")));
	assert_false(hf_version_is_valid(text("v1")));
}

static void test_nobody_is_left_out_of_an_empty_audience(void **state)
{
	Hf__Audience audience = HF__AUDIENCE__INIT;

	assert_true(hf_audience_matches(NULL, &ana));
	assert_true(hf_audience_matches(&audience, &ana));
	assert_true(hf_audience_is_all(&audience));
}

static void test_tags_any_all_none(void **state)
{
	ProtobufCBinaryData beijing_or_paris[] = { DATA("paris"), DATA("beijing") };
	ProtobufCBinaryData both[] = { DATA("vip"), DATA("beijing") };
	ProtobufCBinaryData vi[] = { DATA("vi") };
	Hf__Audience audience = HF__AUDIENCE__INIT;

	audience.tag = beijing_or_paris;
	audience.n_tag = 2;
	assert_true(hf_audience_matches(&audience, &ana));
	audience.tag_and = both;
	audience.n_tag_and = 2;
	assert_true(hf_audience_matches(&audience, &ana));
	audience.tag_and = beijing_or_paris;
	assert_false(hf_audience_matches(&audience, &ana));
	audience.n_tag_and = 0;
	audience.tag_not = vi;
	audience.n_tag_not = 1;
	assert_true(hf_audience_matches(&audience, &ana));
	audience.tag_not = both;
	assert_false(hf_audience_matches(&audience, &ana));
	assert_false(hf_audience_is_all(&audience));
}

static void test_platform_version_and_exclusion(void **state)
{
	ProtobufCBinaryData platforms[] = { DATA("ios"), DATA("android") };
	ProtobufCBinaryData excluded[] = { DATA("ana") };
	struct hf_profile versioned = ana;
	Hf__Audience audience = HF__AUDIENCE__INIT;

	audience.platform = platforms;
	audience.n_platform = 1;
	assert_false(hf_audience_matches(&audience, &ana));
	audience.n_platform = 2;
	assert_true(hf_audience_matches(&audience, &ana));
	audience.version_min = DATA("1.9");
	assert_true(hf_audience_matches(&audience, &ana)); /* "c/1.10" */
	versioned.sdk_version = text("c/v2");
	assert_false(hf_audience_matches(&audience, &versioned));
	versioned.sdk_version = text("1.10");
	assert_true(hf_audience_matches(&audience, &versioned));
	audience.version_max = DATA("1.10");
	assert_true(hf_audience_matches(&audience, &versioned));
	audience.version_max = DATA("1.9.9");
	assert_false(hf_audience_matches(&audience, &versioned));
	audience.version_max.len = 0;
	audience.exclude = excluded;
	audience.n_exclude = 1;
	assert_false(hf_audience_matches(&audience, &versioned));
}

static void test_a_percentage_is_a_stable_share(void **state)
{
	Hf__Audience audience = HF__AUDIENCE__INIT;
	struct hf_profile profile = ana;
	unsigned chosen = 0, again = 0, other = 0;

	audience.percentage = 30;
	for (unsigned i = 0; i < 10000; i++) {
		char name[16];
		bool first;

		snprintf(name, sizeof(name), "reg-%u", i);
		profile.registration = text(name);
		audience.percentage_seed.len = 0;
		first = hf_audience_matches(&audience, &profile);
		chosen += first;
		again += first && hf_audience_matches(&audience, &profile);
		audience.percentage_seed = DATA("spring");
		other += first && hf_audience_matches(&audience, &profile);
	}
	assert_in_range(chosen, 2800, 3200);
	assert_int_equal(again, chosen);
	assert_in_range(other, 700, 1100); /* 30 % of them: another draw */
}

static void test_limits_name_their_field(void **state)
{
	ProtobufCBinaryData tags[HF_AUDIENCE_TAGS_MAX + 1];
	Hf__Audience audience = HF__AUDIENCE__INIT;
	const char *field = NULL;

	for (size_t i = 0; i < HF_ARRAY_LEN(tags); i++)
		tags[i] = DATA("t");
	audience.tag_and = tags;
	audience.n_tag_and = HF_AUDIENCE_TAGS_MAX;
	assert_int_equal(hf_audience_check(&audience, &field), 0);
	audience.n_tag_and++;
	assert_int_equal(hf_audience_check(&audience, &field), -EINVAL);
	assert_string_equal(field, "tag_and");
	audience.n_tag_and = 1;
	tags[0].len = 0;
	assert_int_equal(hf_audience_check(&audience, &field), -EINVAL);
	audience.n_tag_and = 0;
	audience.percentage = 101;
	assert_int_equal(hf_audience_check(&audience, &field), -EINVAL);
	assert_string_equal(field, "percentage");
	audience.percentage = 100;
	audience.version_min = DATA("new");
	assert_int_equal(hf_audience_check(&audience, &field), -EINVAL);
	assert_string_equal(field, "version_min");
}

static void test_tags_are_packed(void **state)
{
	ProtobufCBinaryData tags[] = { DATA("vip"), DATA("beijing") };
	uint8_t packed[HF_TAGS_PACKED_MAX];

	assert_int_equal(hf_tags_pack(tags, 2, packed), sizeof(vip_beijing) - 1);
	assert_memory_equal(packed, vip_beijing, sizeof(vip_beijing) - 1);
	assert_true(hf_tag_is_valid(text("vip")));
	assert_false(hf_tag_is_valid(text("a\nb")));
	assert_false(hf_tag_is_valid(text("12345678901234567890123456789012345678901")));
}

static void test_a_copy_means_the_same(void **state)
{
	ProtobufCBinaryData tags[] = { DATA("vip"), DATA("beijing") };
	Hf__Audience audience = HF__AUDIENCE__INIT, *copy;

	audience.tag_and = tags;
	audience.n_tag_and = 2;
	audience.percentage = 100;
	copy = hf_audience_copy(&audience);
	tags[0].len = 0; /* what it was made from is gone */
	assert_int_equal(copy->n_tag_and, 2);
	assert_int_equal(copy->percentage, 100);
	assert_true(hf_audience_matches(copy, &ana));
	hf__audience__free_unpacked(copy, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions_compare_as_numbers),
		cmocka_unit_test(test_nobody_is_left_out_of_an_empty_audience),
		cmocka_unit_test(test_tags_any_all_none),
		cmocka_unit_test(test_platform_version_and_exclusion),
		cmocka_unit_test(test_a_percentage_is_a_stable_share),
		cmocka_unit_test(test_limits_name_their_field),
		cmocka_unit_test(test_tags_are_packed),
		cmocka_unit_test(test_a_copy_means_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
