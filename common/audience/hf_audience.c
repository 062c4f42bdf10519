#include "hf_audience.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <xxhash.h>

#include "hf_text.h"

static struct hf_bytes bytes_of(const ProtobufCBinaryData *data)
{
	return hf_bytes_of(data->data, data->len);
}

bool hf_tag_is_valid(struct hf_bytes tag)
{
	return hf_text_is_id(tag.data, tag.len, HF_TAG_MAX);
}

bool hf_version_is_valid(struct hf_bytes version)
{
	return version.len > 0 && version.len <= HF_SDK_VERSION_MAX && version.data[0] >= '0' &&
	       version.data[0] <= '9';
}

/* Limits */

static bool are_tags(const ProtobufCBinaryData *tags, size_t count)
{
	if (count > HF_AUDIENCE_TAGS_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!hf_tag_is_valid(bytes_of(&tags[i])))
			return false;
	}
	return true;
}

static bool are_ids(const ProtobufCBinaryData *ids, size_t count, size_t count_max, size_t len_max)
{
	if (count > count_max)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!hf_text_is_id(ids[i].data, ids[i].len, len_max))
			return false;
	}
	return true;
}

static bool is_bound(const ProtobufCBinaryData *version)
{
	return version->len == 0 || hf_version_is_valid(bytes_of(version));
}

int hf_audience_check(const Hf__Audience *audience, const char **ret_field)
{
	if (!are_tags(audience->tag, audience->n_tag))
		*ret_field = "tag";
	else if (!are_tags(audience->tag_and, audience->n_tag_and))
		*ret_field = "tag_and";
	else if (!are_tags(audience->tag_not, audience->n_tag_not))
		*ret_field = "tag_not";
	else if (!are_ids(audience->platform, audience->n_platform, HF_AUDIENCE_PLATFORMS_MAX,
			  HF_PLATFORM_MAX))
		*ret_field = "platform";
	else if (!is_bound(&audience->version_min))
		*ret_field = "version_min";
	else if (!is_bound(&audience->version_max))
		*ret_field = "version_max";
	else if (audience->percentage > 100)
		*ret_field = "percentage";
	else if (audience->percentage_seed.len > HF_AUDIENCE_SEED_MAX)
		*ret_field = "percentage_seed";
	else if (!are_ids(audience->exclude, audience->n_exclude, HF_AUDIENCE_EXCLUDE_MAX,
			  HF_REGISTRATION_MAX))
		*ret_field = "exclude";
	else
		return 0;
	return -EINVAL;
}

Hf__Audience *hf_audience_copy(const Hf__Audience *audience)
{
	size_t size = hf__audience__get_packed_size(audience);
	uint8_t *packed = malloc(size + 1);
	Hf__Audience *copy = NULL;

	if (packed != NULL)
		copy = hf__audience__unpack(NULL, hf__audience__pack(audience, packed), packed);
	free(packed);
	return copy;
}

/* Versions */

/* The next number, saturated; 0 at the end. */
static uint64_t next_number(struct hf_bytes *rest)
{
	uint64_t number = 0;

	while (rest->len > 0 && rest->data[0] >= '0' && rest->data[0] <= '9') {
		if (number < UINT64_MAX / 16)
			number = number * 10 + (rest->data[0] - '0');
		rest->data++;
		rest->len--;
	}
	if (rest->len > 0 && rest->data[0] == '.') {
		rest->data++;
		rest->len--;
	} else {
		rest->len = 0;
	}
	return number;
}

int hf_version_compare(struct hf_bytes a, struct hf_bytes b)
{
	while (a.len > 0 || b.len > 0) {
		uint64_t left = next_number(&a), right = next_number(&b);

		if (left != right)
			return left < right ? -1 : 1;
	}
	return 0;
}

/* Matching */

bool hf_tags_have(struct hf_bytes packed, struct hf_bytes tag)
{
	for (size_t pos = 0; pos < packed.len; pos += 1u + packed.data[pos]) {
		if (hf_bytes_equal(hf_bytes_of(packed.data + pos + 1, packed.data[pos]), tag))
			return true;
	}
	return false;
}

size_t hf_tags_pack(const ProtobufCBinaryData *tags, size_t count, uint8_t ret[HF_TAGS_PACKED_MAX])
{
	size_t len = 0;

	assert(count <= HF_TAGS_MAX);
	for (size_t i = 0; i < count; i++) {
		assert(tags[i].len <= HF_TAG_MAX);
		ret[len++] = (uint8_t)tags[i].len;
		memcpy(ret + len, tags[i].data, tags[i].len);
		len += tags[i].len;
	}
	return len;
}

static size_t count_tags(struct hf_bytes packed, const ProtobufCBinaryData *tags, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += hf_tags_have(packed, bytes_of(&tags[i]));
	return found;
}

static bool is_one_of(const ProtobufCBinaryData *list, size_t count, struct hf_bytes wanted)
{
	for (size_t i = 0; i < count; i++) {
		if (hf_bytes_equal(bytes_of(&list[i]), wanted))
			return true;
	}
	return false;
}

/* Of "c/1.10" the number counts: SDKs put their name before it. */
static struct hf_bytes number_of(struct hf_bytes version)
{
	for (size_t i = version.len; i > 0; i--) {
		if (version.data[i - 1] == '/')
			return hf_bytes_of(version.data + i, version.len - i);
	}
	return version;
}

/* Who has no version, or none that can be compared, is outside of every range. */
static bool is_in_range(const Hf__Audience *audience, struct hf_bytes sdk_version)
{
	struct hf_bytes version = number_of(sdk_version);

	if (audience->version_min.len == 0 && audience->version_max.len == 0)
		return true;
	return hf_version_is_valid(version) &&
	       (audience->version_min.len == 0 ||
		hf_version_compare(version, bytes_of(&audience->version_min)) >= 0) &&
	       (audience->version_max.len == 0 ||
		hf_version_compare(version, bytes_of(&audience->version_max)) <= 0);
}

/* A hash of the name alone: the same in every process, for ever. */
static bool is_in_share(const Hf__Audience *audience, const struct hf_profile *profile)
{
	uint64_t seed;

	if (audience->percentage == 0 || audience->percentage == 100)
		return true;
	seed = XXH3_64bits_withSeed(audience->percentage_seed.data, audience->percentage_seed.len,
				    profile->app);
	return XXH3_64bits_withSeed(profile->registration.data, profile->registration.len, seed) %
		       100 <
	       audience->percentage;
}

bool hf_audience_matches(const Hf__Audience *audience, const struct hf_profile *profile)
{
	if (audience == NULL)
		return true;
	return (audience->n_tag == 0 ||
		count_tags(profile->tags, audience->tag, audience->n_tag) > 0) &&
	       count_tags(profile->tags, audience->tag_and, audience->n_tag_and) ==
		       audience->n_tag_and &&
	       count_tags(profile->tags, audience->tag_not, audience->n_tag_not) == 0 &&
	       (audience->n_platform == 0 ||
		is_one_of(audience->platform, audience->n_platform, profile->platform)) &&
	       is_in_range(audience, profile->sdk_version) && is_in_share(audience, profile) &&
	       !is_one_of(audience->exclude, audience->n_exclude, profile->registration);
}

bool hf_audience_is_all(const Hf__Audience *audience)
{
	return audience == NULL ||
	       (audience->n_tag == 0 && audience->n_tag_and == 0 && audience->n_tag_not == 0 &&
		audience->n_platform == 0 && audience->version_min.len == 0 &&
		audience->version_max.len == 0 && audience->percentage % 100 == 0 &&
		audience->n_exclude == 0);
}
