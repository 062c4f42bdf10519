/* services/center/json.c - see json.h. */
#include "json.h"

#include <errno.h>

#include "hf_text.h"
#include "json_slate.h"

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct json_walk *walk)
{
	while (walk->pos < walk->end && is_space(*walk->pos))
		walk->pos++;
}

#define PLAIN_MAX 32

const uint8_t *json_skip_plain(const uint8_t *pos, const uint8_t *end)
{
	static const bool stops[256] = {
		[0x00 ... 0x1f] = true,
		['"'] = true,
		['\\'] = true,
		[0x80 ... 0xff] = true,
	};
	const uint8_t *limit = end - pos > PLAIN_MAX ? pos + PLAIN_MAX : end;

	while (pos < limit && !stops[*pos])
		pos++;
	return pos;
}

/* Pass over the string at `pos`, which is its opening quote. Payloads are most of what is walked,
 * so the common case, no escape, goes at the speed of memchr(). */
static int skip_string(struct json_walk *walk)
{
	const uint8_t *start = walk->pos + 1;
	const uint8_t *quote = json_skip_plain(start, walk->end);
	uint8_t lowest = UINT8_MAX;

	if (quote < walk->end && *quote == '"') {
		walk->pos = quote + 1;
		return 0;
	}
	quote = memchr(start, '"', (size_t)(walk->end - start));
	if (quote == NULL)
		return -EINVAL;
	if (memchr(start, '\\', (size_t)(quote - start)) == NULL) {
		for (const uint8_t *c = start; c < quote; c++)
			lowest = HF_MIN(lowest, *c);
		walk->pos = quote + 1;
		return lowest < ' ' ? -EINVAL : 0;
	}
	for (walk->pos++; walk->pos < walk->end; walk->pos++) {
		if (*walk->pos < ' ')
			return -EINVAL;
		if (*walk->pos == '"') {
			walk->pos++;
			return 0;
		}
		if (*walk->pos == '\\' && ++walk->pos == walk->end)
			return -EINVAL;
	}
	return -EINVAL;
}

static bool is_literal(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '+' || c == '.';
}

/* Pass over one value: of a container, only strings and the nesting of brackets are looked at. */
static int skip_value(struct json_walk *walk)
{
	char closing[JSON_DEPTH_LIMIT];
	size_t depth = 0;

	do {
		uint8_t c;

		if (depth > 0)
			while (walk->pos < walk->end && *walk->pos != '"' && *walk->pos != '{' &&
			       *walk->pos != '[' && *walk->pos != '}' && *walk->pos != ']')
				walk->pos++;
		if (walk->pos == walk->end)
			return -EINVAL;
		c = *walk->pos;
		if (c == '"') {
			if (skip_string(walk) < 0)
				return -EINVAL;
		} else if (c == '{' || c == '[') {
			if (depth == JSON_DEPTH_LIMIT)
				return -EINVAL;
			closing[depth++] = c == '{' ? '}' : ']';
			walk->pos++;
		} else if (c == '}' || c == ']') {
			if (depth == 0 || closing[depth - 1] != (char)c)
				return -EINVAL;
			depth--;
			walk->pos++;
		} else {
			const uint8_t *start = walk->pos;

			while (walk->pos < walk->end && is_literal(*walk->pos))
				walk->pos++;
			if (walk->pos == start)
				return -EINVAL;
		}
	} while (depth > 0);
	return 0;
}

/* The bracket that it begins with. */
static int open_walk(struct json_walk *walk, char open)
{
	skip_space(walk);
	if (walk->pos == walk->end || *walk->pos != (uint8_t)open)
		return -EINVAL;
	walk->pos++;
	return 0;
}

int json_walk_begin(struct json_walk *walk, struct hf_bytes text, char open)
{
	*walk = (struct json_walk){ .pos = text.data, .object = open == '{', .first = true };
	if (text.len == 0)
		return -EINVAL;
	walk->end = text.data + text.len;
	return open_walk(walk, open);
}

int json_walk_enter(const struct json_walk *walk, char open, struct json_walk *ret_inner)
{
	*ret_inner = (struct json_walk){ .pos = walk->pos,
					 .end = walk->end,
					 .object = open == '{',
					 .first = true,
					 .inside = true };
	return open_walk(ret_inner, open);
}

void json_walk_leave(struct json_walk *walk, const struct json_walk *inner)
{
	walk->pos = inner->pos;
}

/* After the last closing bracket nothing but white space may follow. */
static int at_end(struct json_walk *walk)
{
	walk->pos++;
	if (walk->inside)
		return 0;
	skip_space(walk);
	return walk->pos == walk->end ? 0 : -EINVAL;
}

int json_walk_key(struct json_walk *walk, struct hf_bytes *ret_key)
{
	const uint8_t *start;

	skip_space(walk);
	if (walk->pos == walk->end)
		return -EINVAL;
	if (*walk->pos == (walk->object ? '}' : ']'))
		return at_end(walk);
	if (!walk->first) {
		if (*walk->pos != ',')
			return -EINVAL;
		walk->pos++;
		skip_space(walk);
	}
	walk->first = false;
	*ret_key = (struct hf_bytes){ NULL, 0 };
	if (!walk->object)
		return 1;
	if (walk->pos == walk->end || *walk->pos != '"')
		return -EINVAL;
	start = walk->pos;
	if (skip_string(walk) < 0)
		return -EINVAL;
	*ret_key = hf_bytes_of(start, (size_t)(walk->pos - start));
	skip_space(walk);
	if (walk->pos == walk->end || *walk->pos != ':')
		return -EINVAL;
	walk->pos++;
	skip_space(walk);
	return 1;
}

int json_walk_value(struct json_walk *walk, struct hf_bytes *ret_value)
{
	const uint8_t *start = walk->pos;

	if (skip_value(walk) < 0)
		return -EINVAL;
	*ret_value = hf_bytes_of(start, (size_t)(walk->pos - start));
	return 0;
}

int json_walk_next(struct json_walk *walk, struct hf_bytes *ret_key, struct hf_bytes *ret_value)
{
	int n = json_walk_key(walk, ret_key);

	return n == 1 && json_walk_value(walk, ret_value) < 0 ? -EINVAL : n;
}

bool json_key_is(struct hf_bytes key, const char *name)
{
	json_t *string;
	bool same;

	if (memchr(key.data, '\\', key.len) == NULL)
		return hf_bytes_equal(hf_bytes_of(key.data + 1, key.len - 2),
				      hf_bytes_of_string(name));
	string = json_loadb((const char *)key.data, key.len, JSON_DECODE_ANY, NULL);
	same = string != NULL && strcmp(json_string_value(string), name) == 0;
	json_decref(string);
	return same;
}

struct hf_bytes json_member(struct hf_bytes object, const char *name)
{
	struct json_walk walk;
	struct hf_bytes key, value;

	if (json_walk_begin(&walk, object, '{') == 0)
		while (json_walk_next(&walk, &key, &value) == 1)
			if (json_key_is(key, name))
				return value;
	return (struct hf_bytes){ NULL, 0 };
}

json_t *json_parse_object(struct hf_bytes text, struct problem *ret_problem)
{
	json_error_t error;
	json_t *root;

	if (hf_text_json_is_deep(text.data, text.len, JSON_DEPTH_LIMIT)) {
		problem_set(ret_problem, 400, "BAD_JSON", NULL, NULL,
			    "the body is nested deeper than %d levels", JSON_DEPTH_LIMIT);
		return NULL;
	}
	json_slate_begin();
	root = json_loadb((const char *)text.data, text.len,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
	json_slate_end();
	if (root == NULL) {
		problem_set(ret_problem, 400, "BAD_JSON", NULL, NULL, "line %d: %s", error.line,
			    error.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		json_decref(root);
		problem_set(ret_problem, 400, "BAD_JSON", NULL, NULL, "the body is not an object");
		return NULL;
	}
	return root;
}
