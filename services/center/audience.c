/* services/center/audience.c - who a send is for: JSON to lists of names and an Hf__Audience. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fields.h"
#include "hf_text.h"
#include "json.h"
#include "request_internal.h"

static int compare_ids(const void *a, const void *b)
{
	const struct hf_bytes *left = a, *right = b;
	int order = memcmp(left->data, right->data, HF_MIN(left->len, right->len));

	return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* Who is named twice gets the message once. */
static size_t drop_duplicates(struct hf_bytes *ids, size_t count)
{
	size_t kept = 1;

	if (count < 2)
		return count;
	qsort(ids, count, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < count; i++)
		if (!hf_bytes_equal(ids[i], ids[kept - 1]))
			ids[kept++] = ids[i];
	return kept;
}

static bool is_plain_text(struct hf_bytes item)
{
	return item.data[0] == '"' && memchr(item.data, '\\', item.len) == NULL;
}

/* One id: where it lies in the text, or a copy of what its escapes mean. */
static int parse_id(struct hf_bytes item, const char *field, size_t len_max, struct hf_arena *arena,
		    struct hf_bytes *ret, struct problem *ret_problem)
{
	json_t *value = NULL;
	int err = 0;

	if (is_plain_text(item)) {
		*ret = hf_bytes_of(item.data + 1, item.len - 2);
		if (hf_text_is_id(ret->data, ret->len, len_max))
			return 0;
	}
	if (json_value(item, &value) < 0)
		return request_out_of_memory(ret_problem);
	*ret = hf_bytes_of(hf_arena_copy(arena, json_string_value(value),
					 json_string_length(value)),
			   json_string_length(value));
	if (ret->data == NULL)
		err = request_out_of_memory(ret_problem);
	else if (!json_is_string(value) || !hf_text_is_id(ret->data, ret->len, len_max))
		err = problem_set(ret_problem, 400, "BAD_AUDIENCE", field, json_string_value(value),
				  "%s: each is text of 1 to %zu bytes, without control characters",
				  field, len_max);
	json_decref(value);
	return err;
}

int request_parse_ids(struct hf_bytes list, const char *field, size_t count_max, size_t len_max,
		      struct hf_arena *arena, struct hf_bytes **ret, size_t *ret_count,
		      struct problem *ret_problem)
{
	struct json_walk walk;
	struct hf_bytes key, item;
	/* An id, its quotes and a comma are 4 bytes. */
	size_t count = 0, room = HF_MIN(count_max, list.len / 4 + 1);
	int err = 0;

	*ret = NULL;
	*ret_count = 0;
	if (!request_has_text(list))
		return 0;
	if (json_walk_begin(&walk, list, '[') < 0)
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", field, NULL,
				   "%s must be an array of texts", field);
	*ret = hf_arena_alloc(arena, room * sizeof(**ret));
	if (*ret == NULL)
		return request_out_of_memory(ret_problem);
	while (json_walk_next(&walk, &key, &item) == 1) {
		if (err == 0 && count < room)
			err = parse_id(item, field, len_max, arena, &(*ret)[count], ret_problem);
		count++;
	}
	if (count > count_max)
		return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", field, NULL,
				   "%s may have %zu entries at most", field, count_max);
	if (err < 0)
		return err;
	assert(count <= room);
	*ret_count = drop_duplicates(*ret, count);
	return 0;
}

static int to_binary(const struct hf_bytes *ids, size_t count, struct hf_arena *arena,
		     ProtobufCBinaryData **ret, size_t *ret_count, struct problem *ret_problem)
{
	if (count == 0)
		return 0;
	*ret = hf_arena_alloc(arena, count * sizeof(**ret));
	if (*ret == NULL)
		return request_out_of_memory(ret_problem);
	for (size_t i = 0; i < count; i++)
		(*ret)[i] = (ProtobufCBinaryData){ ids[i].len, (uint8_t *)ids[i].data };
	*ret_count = count;
	return 0;
}

/* A list that was computed and came out empty must not widen the audience to everybody else. */
static int refuse_empty(struct hf_bytes list, const char *field, struct problem *ret_problem)
{
	struct json_walk walk;
	struct hf_bytes key, item;

	if (list.data == NULL || json_walk_begin(&walk, list, '[') < 0 ||
	    json_walk_next(&walk, &key, &item) != 0)
		return 0;
	return problem_set(ret_problem, 400, "EMPTY_AUDIENCE", field, NULL,
			   "%s is an empty list, which nobody is in; leave it out if it does not "
			   "matter",
			   field);
}

static int parse_kind(struct hf_bytes list, const char *field, size_t count_max, size_t len_max,
		      struct hf_arena *arena, ProtobufCBinaryData **ret, size_t *ret_count,
		      struct problem *ret_problem)
{
	struct hf_bytes *ids;
	size_t count;
	int err = request_parse_ids(list, field, count_max, len_max, arena, &ids, &count,
				    ret_problem);

	return err == 0 ? to_binary(ids, count, arena, ret, ret_count, ret_problem) : err;
}

static int parse_version(const json_t *value, const char *field, struct hf_arena *arena,
			 ProtobufCBinaryData *ret, struct problem *ret_problem)
{
	const char *text = NULL;
	int err = fields_text(value, field, 1, HF_SDK_VERSION_MAX, &text, ret_problem);

	if (err < 0 || text == NULL)
		return err;
	if (!hf_version_is_valid(hf_bytes_of_string(text)))
		return problem_set(ret_problem, 400, "BAD_VALUE", field, text,
				   "%s must be a version, such as 1.4.2", field);
	ret->len = strlen(text);
	ret->data = hf_arena_copy(arena, text, ret->len);
	return ret->data != NULL ? 0 : request_out_of_memory(ret_problem);
}

static int parse_versions(const json_t *versions, struct hf_arena *arena, Hf__Audience *ret,
			  struct problem *ret_problem)
{
	static const char field[] = "audience.sdk_version";
	static const char *const known[] = { "min", "max", NULL };
	int err;

	if (!request_has(versions))
		return 0;
	if (!json_is_object(versions))
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", field, NULL,
				   "%s must be an object with min, max or both", field);
	err = fields_known(versions, "audience.sdk_version.", known, ret_problem);
	if (err == 0)
		err = parse_version(json_object_get(versions, "min"), "audience.sdk_version.min",
				    arena, &ret->version_min, ret_problem);
	if (err == 0)
		err = parse_version(json_object_get(versions, "max"), "audience.sdk_version.max",
				    arena, &ret->version_max, ret_problem);
	if (err == 0 && ret->version_min.len > 0 && ret->version_max.len > 0 &&
	    hf_version_compare(hf_bytes_of(ret->version_min.data, ret->version_min.len),
			       hf_bytes_of(ret->version_max.data, ret->version_max.len)) > 0)
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", field, NULL,
				   "%s.min is above %s.max", field, field);
	return err;
}

static int parse_percentage(const struct json_slot *slots, struct hf_arena *arena,
			    Hf__Audience *ret, struct problem *ret_problem)
{
	const json_t *seed = slots[SLOT_PERCENTAGE_SEED].value;
	const char *text = NULL;
	uint64_t percentage = 0;
	int err = fields_uint(slots[SLOT_PERCENTAGE].value, "audience.percentage", 1, 100,
			      "BAD_AUDIENCE", &percentage, ret_problem);

	if (err == 0)
		err = fields_text(seed, "audience.percentage_seed", 1, HF_AUDIENCE_SEED_MAX, &text,
				  ret_problem);
	if (err < 0)
		return err;
	ret->percentage = (uint32_t)percentage;
	if (text == NULL)
		return 0;
	if (percentage == 0)
		return problem_set(ret_problem, 400, "CONFLICTING_FIELDS",
				   "audience.percentage_seed", NULL,
				   "audience.percentage_seed needs audience.percentage");
	ret->percentage_seed.len = json_string_length(seed);
	ret->percentage_seed.data = hf_arena_copy(arena, text, ret->percentage_seed.len);
	return ret->percentage_seed.data != NULL ? 0 : request_out_of_memory(ret_problem);
}

static int parse_tags(const struct json_slot *slots, struct hf_arena *arena, Hf__Audience *ret,
		      struct problem *ret_problem)
{
	const struct {
		enum request_slot slot;
		const char *field;
		ProtobufCBinaryData **ret;
		size_t *ret_count;
	} kinds[] = {
		{ SLOT_TAG, "audience.tag", &ret->tag, &ret->n_tag },
		{ SLOT_TAG_AND, "audience.tag_and", &ret->tag_and, &ret->n_tag_and },
		{ SLOT_TAG_NOT, "audience.tag_not", &ret->tag_not, &ret->n_tag_not },
	};
	int err = 0;

	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(kinds); i++)
		err = parse_kind(slots[kinds[i].slot].text, kinds[i].field, HF_AUDIENCE_TAGS_MAX,
				 HF_TAG_MAX, arena, kinds[i].ret, kinds[i].ret_count, ret_problem);
	return err;
}

static int parse_object(const struct json_slot *slots, struct hf_arena *arena, struct request *ret,
			Hf__Audience *filter, struct problem *ret_problem)
{
	static const struct {
		enum request_slot slot;
		const char *field;
	} lists[] = { { SLOT_REGISTRATION_ID, "audience.registration_id" },
		      { SLOT_USER_ID, "audience.user_id" },
		      { SLOT_TAG, "audience.tag" },
		      { SLOT_TAG_AND, "audience.tag_and" } };
	int err = request_known(&slots[SLOT_AUDIENCE_UNKNOWN], "audience.", ret_problem);

	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(lists); i++)
		err = refuse_empty(slots[lists[i].slot].text, lists[i].field, ret_problem);
	if (err == 0)
		err = request_parse_ids(slots[SLOT_REGISTRATION_ID].text,
					"audience.registration_id", REQUEST_TARGETS_MAX,
					HF_REGISTRATION_MAX, arena, &ret->targets,
					&ret->target_count, ret_problem);
	if (err == 0)
		err = request_parse_ids(slots[SLOT_USER_ID].text, "audience.user_id",
					REQUEST_TARGETS_MAX, HF_USER_ID_MAX, arena, &ret->users,
					&ret->user_count, ret_problem);
	if (err == 0)
		err = parse_tags(slots, arena, filter, ret_problem);
	if (err == 0)
		err = parse_versions(slots[SLOT_SDK_VERSION].value, arena, filter, ret_problem);
	if (err == 0)
		err = parse_percentage(slots, arena, filter, ret_problem);
	return err;
}

int request_parse_audience(const struct json_slot *slots, struct hf_arena *arena,
			   struct request *ret, struct problem *ret_problem)
{
	struct hf_bytes audience = slots[SLOT_AUDIENCE].text;
	const char *name = json_string_value(slots[SLOT_AUDIENCE].value);
	Hf__Audience *filter = hf_arena_alloc(arena, sizeof(*filter));
	bool all = name != NULL && strcmp(name, "all") == 0;
	int err = 0;

	if (filter == NULL)
		return request_out_of_memory(ret_problem);
	hf__audience__init(filter);
	if (!request_has_text(audience))
		return problem_set(ret_problem, 400, "MISSING_FIELD", "audience", NULL,
				   "audience is required");
	if (!all && audience.data[0] != '{')
		return problem_set(ret_problem, 400, "BAD_AUDIENCE", "audience", name,
				   "audience must be \"all\" or an object");
	if (!all)
		err = parse_object(slots, arena, ret, filter, ret_problem);
	if (err == 0)
		err = refuse_empty(slots[SLOT_PLATFORM].text, "platform", ret_problem);
	if (err == 0)
		err = parse_kind(slots[SLOT_PLATFORM].text, "platform", HF_AUDIENCE_PLATFORMS_MAX,
				 HF_PLATFORM_MAX, arena, &filter->platform, &filter->n_platform,
				 ret_problem);
	if (err < 0)
		return err;
	if (!hf_audience_is_all(filter))
		ret->audience = filter;
	if (!all && ret->audience == NULL && filter->percentage == 0 && ret->target_count == 0 &&
	    ret->user_count == 0)
		return problem_set(ret_problem, 400, "EMPTY_AUDIENCE", "audience", NULL,
				   "audience names nobody; everybody is \"all\"");
	if (ret->target_count > 0 || ret->user_count > 0)
		ret->kind = REQUEST_LIST;
	else
		ret->kind = filter->n_tag + filter->n_tag_and + filter->n_tag_not > 0
				    ? REQUEST_TAG
				    : REQUEST_BROADCAST;
	return 0;
}

static bool is_among(struct hf_bytes id, const struct hf_bytes *sorted, size_t count)
{
	return bsearch(&id, sorted, count, sizeof(*sorted), compare_ids) != NULL;
}

int request_exclude(const struct hf_bytes *excluded, size_t count, struct hf_arena *arena,
		    struct request *ret, struct problem *ret_problem)
{
	size_t kept = 0;

	if (count == 0)
		return 0;
	if (!request_is_plain(ret)) {
		if (ret->audience == NULL) {
			ret->audience = hf_arena_alloc(arena, sizeof(*ret->audience));
			if (ret->audience == NULL)
				return request_out_of_memory(ret_problem);
			hf__audience__init(ret->audience);
		}
		return to_binary(excluded, count, arena, &ret->audience->exclude,
				 &ret->audience->n_exclude, ret_problem);
	}
	for (size_t i = 0; i < ret->target_count; i++)
		if (!is_among(ret->targets[i], excluded, count))
			ret->targets[kept++] = ret->targets[i];
	ret->target_count = kept;
	if (kept > 0)
		return 0;
	return problem_set(ret_problem, 400, "EMPTY_AUDIENCE", "options.exclude_registration_id",
			   NULL, "options.exclude_registration_id leaves nobody of the audience");
}
