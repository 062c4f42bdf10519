/* tests/fuzz/fuzz_json.c - our one pass over JSON against jansson's parser: what we take, it takes,
 * what we refuse, it refuses, and both find the same values. */
#include <stdlib.h>

#include "hf_text.h"
#include "json.h"
#include "json_read.h"

enum { UNKNOWN, A, LIST, INNER, INNER_UNKNOWN, NAME, SLOTS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct json_member inner_members[] = {
	JSON_MEMBER("name", NAME, .tree = true),
	{ 0 },
};
static const struct json_shape inner_shape = { inner_members, INNER_UNKNOWN };
static const struct json_member members[] = {
	JSON_MEMBER("a", A, .tree = true),
	JSON_MEMBER("list", LIST, .tree = true),
	JSON_MEMBER("inner", INNER, .tree = true, .inside = &inner_shape),
	{ 0 },
};
static const struct json_shape shape = { members, UNKNOWN };

/* A NUL is never JSON; jansson overlooks one after a number. */
static json_t *judge(struct hf_bytes text)
{
	json_t *root;

	if (hf_text_json_is_deep(text.data, text.len, JSON_DEPTH_LIMIT) ||
	    (text.len > 0 && memchr(text.data, '\0', text.len) != NULL))
		return NULL;
	root = json_loadb((const char *)text.data, text.len,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

static void check_same(const struct json_slot *slot, const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name), *ours;

	if ((value == NULL) != (slot->text.data == NULL))
		abort();
	if (value == NULL)
		return;
	if (slot->value != NULL && !json_equal(slot->value, value))
		abort();
	if (json_value(slot->text, &ours) < 0 || !json_equal(ours, value))
		abort();
	json_decref(ours);
}

/* The first member that has none of `names`. */
static void check_unknown(const struct json_slot *slot, json_t *object, const char *const *names)
{
	void *at = json_object_iter(object);
	json_t *key = NULL;

	for (; at != NULL; at = json_object_iter_next(object, at)) {
		size_t i = 0;

		while (names[i] != NULL && strcmp(names[i], json_object_iter_key(at)) != 0)
			i++;
		if (names[i] == NULL)
			break;
	}
	if ((at == NULL) != (slot->text.data == NULL))
		abort();
	if (at == NULL)
		return;
	if (json_value(slot->text, &key) < 0 ||
	    strcmp(json_string_value(key), json_object_iter_key(at)) != 0)
		abort();
	json_decref(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "a", "list", "inner", NULL };
	static const char *const inner_names[] = { "name", NULL };
	struct hf_bytes text = hf_bytes_of(data, size);
	struct json_slot slots[SLOTS] = { 0 };
	int verdict = json_read_pass(text, &shape, slots);
	json_t *root = judge(text), *inner;
	struct problem problem;

	if ((verdict == 0 && root == NULL) || (verdict < 0 && root != NULL))
		abort();
	if ((json_read(text, &shape, slots, SLOTS, &problem) == 0) != (root != NULL))
		abort();
	if (root == NULL)
		return 0;
	inner = json_object_get(root, "inner");
	check_same(&slots[A], root, "a");
	check_same(&slots[LIST], root, "list");
	check_same(&slots[INNER], root, "inner");
	check_unknown(&slots[UNKNOWN], root, names);
	if (json_is_object(inner)) {
		check_same(&slots[NAME], inner, "name");
		check_unknown(&slots[INNER_UNKNOWN], inner, inner_names);
	}
	json_clear(slots, SLOTS);
	json_decref(root);
	return 0;
}
