/* services/center/json.h - JSON from outside: bounded before it is parsed, and looked at in place.
 *
 * jansson builds a tree that costs up to 80 times the text, so a batch is taken apart here, as
 * text, and each message of it is parsed alone. The same slices give a message's payload exactly as
 * it was sent: no number of it is ever rounded. Pure. */
#ifndef CENTER_JSON_H
#define CENTER_JSON_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"

#define JSON_DEPTH_LIMIT 32

/* Parse an object. NULL with a problem BAD_JSON (not JSON, nested too deep, a key twice, not an
 * object). */
HF_MUST_CHECK json_t *json_parse_object(struct hf_bytes text, struct problem *ret_problem);

/* The first of the next bytes that is a quote, a backslash, a control character, or no ASCII; or
 * the end, or where it gave up: this is quick for names, and long strings are better searched
 * otherwise. */
const uint8_t *json_skip_plain(const uint8_t *pos, const uint8_t *end);

/* Walk the members of an object or the elements of an array, as text. */
struct json_walk {
	const uint8_t *pos, *end;
	bool object, first;
	bool inside; /* of another walk, which goes on after its end */
};
/* `open` is '{' or '['. 0, or -EINVAL when `text` does not begin so. */
HF_MUST_CHECK int json_walk_begin(struct json_walk *walk, struct hf_bytes text, char open);
/* 1 with the next value (and its key with quotes, of an object), 0 at the end, -EINVAL when the
 * text is not well-formed as far as it was read: brackets, strings and commas are checked, what a
 * number looks like is not. White space around values is not part of them. */
HF_MUST_CHECK int json_walk_next(struct json_walk *walk, struct hf_bytes *ret_key,
				 struct hf_bytes *ret_value);
/* The same in two steps: to the next value, then over it, or into it. json_walk_leave() goes on
 * after what was entered, when that was walked to its end. */
HF_MUST_CHECK int json_walk_key(struct json_walk *walk, struct hf_bytes *ret_key);
HF_MUST_CHECK int json_walk_value(struct json_walk *walk, struct hf_bytes *ret_value);
HF_MUST_CHECK int json_walk_enter(const struct json_walk *walk, char open,
				  struct json_walk *ret_inner);
void json_walk_leave(struct json_walk *walk, const struct json_walk *inner);
/* Is a key, as the walk gives it, this name? Escapes are understood. */
bool json_key_is(struct hf_bytes key, const char *name);
/* The text of a member's value; data NULL when there is none. The object was parsed before. */
struct hf_bytes json_member(struct hf_bytes object, const char *name);

#endif
