/* common/audience/hf_audience.h - does a message mean this registration?
 *
 * An audience travels and is kept as protobuf (proto/audience.proto); here are its limits and its
 * one meaning, so that center, room and saver never disagree. Pure. */
#ifndef HF_AUDIENCE_H
#define HF_AUDIENCE_H

#include "audience.pb-c.h"
#include "hf_base.h"

#define HF_TAG_MAX                40  /* bytes of a tag, at least 1 */
#define HF_TAGS_MAX               100 /* of one registration */
#define HF_TAGS_PACKED_MAX        (HF_TAGS_MAX * (1 + HF_TAG_MAX))
#define HF_AUDIENCE_TAGS_MAX      20 /* of each kind */
#define HF_AUDIENCE_PLATFORMS_MAX 8
#define HF_AUDIENCE_SEED_MAX      64
#define HF_AUDIENCE_EXCLUDE_MAX   1000
#define HF_PLATFORM_MAX           32 /* bytes */
#define HF_SDK_VERSION_MAX        32

/* What an audience looks at. Tags are packed: for each a length byte and its bytes, as they lie in
 * memory where there are many of them. */
struct hf_profile {
	uint32_t app;
	struct hf_bytes registration, platform, sdk_version, tags;
};

/* Is everything within its limits? 0, or -EINVAL with the name of the field, a literal. */
HF_MUST_CHECK int hf_audience_check(const Hf__Audience *audience, const char **ret_field);
/* For who keeps it longer than the call it came with; freed by hf__audience__free_unpacked(). NULL
 * out of memory. */
HF_MUST_CHECK Hf__Audience *hf_audience_copy(const Hf__Audience *audience);
/* NULL is everybody. The audience has passed hf_audience_check(). */
bool hf_audience_matches(const Hf__Audience *audience, const struct hf_profile *profile);
/* Does it look at nothing, so that it is everybody? */
bool hf_audience_is_all(const Hf__Audience *audience);

/* Dotted numbers: "1.10" is above "1.9", "2" equals "2.0"; what follows the first character that
 * is neither a digit nor a dot is ignored. < 0, 0, > 0. */
int hf_version_compare(struct hf_bytes a, struct hf_bytes b);
/* Begins it with a digit? */
bool hf_version_is_valid(struct hf_bytes version);

/* 1..40 bytes of UTF-8 without control characters. */
bool hf_tag_is_valid(struct hf_bytes tag);
bool hf_tags_have(struct hf_bytes packed, struct hf_bytes tag);
/* Packs `count` (at most HF_TAGS_MAX) valid tags; returns the bytes written. */
size_t hf_tags_pack(const ProtobufCBinaryData *tags, size_t count, uint8_t ret[HF_TAGS_PACKED_MAX]);

#endif
