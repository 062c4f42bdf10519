/* services/center/json_read.h - the known members of a JSON object, found in one strict pass.
 *
 * A send names a dozen members and most of its bytes are one of them, the payload: a tree of all of
 * it costs ten times what looking at it does. Here a table says which members there are; each comes
 * as the slice of its text, and a tree is made of those alone that want one. What one pass can't be
 * sure of (an escaped key, \u, an exponent, more keys than are remembered) is left to jansson to
 * judge, and so are the words of a refusal: both always agree on what is JSON. Pure. */
#ifndef CENTER_JSON_READ_H
#define CENTER_JSON_READ_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"

struct json_slot {
	struct hf_bytes text; /* the value as it was sent; data NULL: absent */
	json_t *value;        /* of a member that wants a tree, and is there */
};

struct json_shape;

struct json_member {
	const char *name;
	size_t name_len;
	unsigned slot;
	bool tree;                       /* if it is no object with a shape */
	const struct json_shape *inside; /* its own members, if it is an object; NULL: any value */
};

#define JSON_MEMBER(name, ...)                        \
	{                                             \
		(name), sizeof(name) - 1, __VA_ARGS__ \
	}

struct json_shape {
	const struct json_member *members; /* ends with a NULL name */
	unsigned unknown; /* slot of the first member that is none of them: the text of its key */
};

/* Fill `slots`, which are cleared before. The slices point into `text`. -EINVAL with a problem
 * BAD_JSON, or OVERLOADED when out of memory; nothing needs json_clear() then. */
HF_MUST_CHECK int json_read(struct hf_bytes text, const struct json_shape *shape,
			    struct json_slot *slots, size_t count, struct problem *ret_problem);
void json_clear(struct json_slot *slots, size_t count);

/* The tree of one value that json_read() has passed over. 0 or -ENOMEM. */
HF_MUST_CHECK int json_value(struct hf_bytes text, json_t **ret_value);

/* The one pass alone: 0 when `text` is a JSON object for sure, 1 when jansson must judge, -EINVAL
 * when it is none. `slots` may be partly filled. */
int json_read_pass(struct hf_bytes text, const struct json_shape *shape, struct json_slot *slots);

#endif
