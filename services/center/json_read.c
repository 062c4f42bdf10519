/* services/center/json_read.c - see json_read.h. */
#include "json_read.h"

#include <errno.h>

#include "hf_text.h"
#include "json.h"
#include "json_slate.h"

#define KEYS_MAX   64  /* remembered at once, of all objects around where we are */
#define DIGITS_MAX 300 /* of a number that is surely finite */

struct reader {
	const uint8_t *pos, *end;
	struct json_slot *slots;
	bool sure;
	unsigned depth;
	size_t key_count;
	struct hf_bytes
		keys[KEYS_MAX]; /* of open objects, outermost first, to find what is twice */
};

static int read_object(struct reader *reader, const struct json_shape *shape);

static bool is_at(const struct reader *reader, uint8_t c)
{
	return reader->pos < reader->end && *reader->pos == c;
}

static void skip_space(struct reader *reader)
{
	while (reader->pos < reader->end && (*reader->pos == ' ' || *reader->pos == '\n' ||
					     *reader->pos == '\t' || *reader->pos == '\r'))
		reader->pos++;
}

/* From the first character after the quote on, when there is a backslash in it. */
static int read_escaped(struct reader *reader)
{
	const uint8_t *start = reader->pos;

	for (; reader->pos < reader->end && *reader->pos != '"'; reader->pos++) {
		if (*reader->pos < ' ')
			return -EINVAL;
		if (*reader->pos != '\\')
			continue;
		if (++reader->pos == reader->end)
			return -EINVAL;
		if (*reader->pos == 'u') /* four digits, and surrogates come in pairs */
			reader->sure = false;
		else if (memchr("\"\\/bfnrt", *reader->pos, 8) == NULL)
			return -EINVAL;
	}
	if (reader->pos == reader->end || !hf_text_is_utf8(start, (size_t)(reader->pos - start)))
		return -EINVAL;
	reader->pos++;
	return 0;
}

/* The string at `pos`, if there is one; `ret` has its quotes. Most are names; most bytes are in
 * payloads: this goes over them in the strides of memchr() and of a loop without branches. */
static int read_string(struct reader *reader, struct hf_bytes *ret)
{
	const uint8_t *open = reader->pos, *start = open + 1, *quote;
	uint8_t lowest = UINT8_MAX, all = 0, escapes = 0;
	int err = 0;

	if (!is_at(reader, '"'))
		return -EINVAL;
	reader->pos = json_skip_plain(start, reader->end);
	if (is_at(reader, '"')) {
		reader->pos++;
		*ret = hf_bytes_of(open, (size_t)(reader->pos - open));
		return 0;
	}
	quote = memchr(start, '"', (size_t)(reader->end - start));
	if (quote == NULL)
		return -EINVAL;
	for (const uint8_t *c = start; c < quote; c++) {
		lowest = HF_MIN(lowest, *c);
		all |= *c;
		escapes |= *c == '\\';
	}
	if (lowest < ' ')
		return -EINVAL;
	if (escapes) {
		reader->pos = start;
		err = read_escaped(reader);
	} else {
		if (all >= 0x80 && !hf_text_is_utf8(start, (size_t)(quote - start)))
			err = -EINVAL;
		reader->pos = quote + 1;
	}
	*ret = hf_bytes_of(open, (size_t)(reader->pos - open));
	return err;
}

static size_t skip_digits(struct reader *reader)
{
	const uint8_t *start = reader->pos;

	while (reader->pos < reader->end && *reader->pos >= '0' && *reader->pos <= '9')
		reader->pos++;
	return (size_t)(reader->pos - start);
}

static int read_number(struct reader *reader)
{
	const uint8_t *start;

	if (is_at(reader, '-'))
		reader->pos++;
	start = reader->pos;
	if (skip_digits(reader) == 0 || (*start == '0' && reader->pos - start > 1))
		return -EINVAL;
	if (reader->pos - start > DIGITS_MAX)
		reader->sure = false;
	if (is_at(reader, '.')) {
		reader->pos++;
		if (skip_digits(reader) == 0)
			return -EINVAL;
	}
	if (is_at(reader, 'e') || is_at(reader, 'E')) {
		reader->sure = false; /* may be more than a double holds */
		reader->pos++;
		if (is_at(reader, '-') || is_at(reader, '+'))
			reader->pos++;
		if (skip_digits(reader) == 0)
			return -EINVAL;
	}
	return 0;
}

static int read_word(struct reader *reader, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(reader->end - reader->pos) < len || memcmp(reader->pos, word, len) != 0)
		return -EINVAL;
	reader->pos += len;
	return 0;
}

static int read_value(struct reader *reader);

/* After an element: 1 when another follows, 0 when `close` was it. */
static int read_comma(struct reader *reader, uint8_t close)
{
	bool comma;

	skip_space(reader);
	comma = is_at(reader, ',');
	if (!comma && !is_at(reader, close))
		return -EINVAL;
	reader->pos++;
	if (!comma) {
		reader->depth--;
		return 0;
	}
	skip_space(reader);
	return 1;
}

/* The bracket at `pos` and the space after it. 0 when `close` comes next and was passed over. */
static int read_open(struct reader *reader, uint8_t close)
{
	if (++reader->depth > JSON_DEPTH_LIMIT)
		return -EINVAL;
	reader->pos++;
	skip_space(reader);
	if (!is_at(reader, close))
		return 1;
	reader->pos++;
	reader->depth--;
	return 0;
}

static int read_array(struct reader *reader)
{
	int more = read_open(reader, ']');

	while (more == 1) {
		if (read_value(reader) < 0)
			return -EINVAL;
		more = read_comma(reader, ']');
	}
	return more;
}

static int read_value(struct reader *reader)
{
	struct hf_bytes string;

	if (reader->pos == reader->end)
		return -EINVAL;
	switch (*reader->pos) {
	case '"':
		return read_string(reader, &string);
	case '{':
		return read_object(reader, NULL);
	case '[':
		return read_array(reader);
	case 't':
		return read_word(reader, "true");
	case 'f':
		return read_word(reader, "false");
	case 'n':
		return read_word(reader, "null");
	default:
		return read_number(reader);
	}
}

/* A key of the object whose keys are remembered from `first` on: was it there before? */
static int note_key(struct reader *reader, size_t first, struct hf_bytes key)
{
	for (size_t i = first; i < reader->key_count; i++)
		if (hf_bytes_equal(reader->keys[i], key))
			return -EINVAL;
	if (reader->key_count == KEYS_MAX || memchr(key.data, '\\', key.len) != NULL)
		reader->sure = false;
	else
		reader->keys[reader->key_count++] = key;
	return 0;
}

static const struct json_member *find_member(const struct json_shape *shape, struct hf_bytes key)
{
	bool escaped = memchr(key.data, '\\', key.len) != NULL;

	for (const struct json_member *member = shape->members; member->name != NULL; member++)
		if (escaped ? json_key_is(key, member->name)
			    : member->name_len == key.len - 2 &&
				      memcmp(member->name, key.data + 1, member->name_len) == 0)
			return member;
	return NULL;
}

static int read_member(struct reader *reader, const struct json_shape *shape, size_t first,
		       struct hf_bytes key)
{
	const struct json_member *member = find_member(shape, key);
	const uint8_t *start = reader->pos;
	struct json_slot *slot;
	int err;

	if (member == NULL) {
		slot = &reader->slots[shape->unknown];
		if (slot->text.data == NULL)
			slot->text = key;
		return note_key(reader, first, key) < 0 ? -EINVAL : read_value(reader);
	}
	slot = &reader->slots[member->slot];
	if (slot->text.data != NULL)
		return -EINVAL; /* twice */
	err = member->inside != NULL && is_at(reader, '{') ? read_object(reader, member->inside)
							   : read_value(reader);
	slot->text = hf_bytes_of(start, (size_t)(reader->pos - start));
	return err;
}

static int read_object(struct reader *reader, const struct json_shape *shape)
{
	size_t first = reader->key_count;
	int more = read_open(reader, '}');

	while (more == 1) {
		struct hf_bytes key;

		if (read_string(reader, &key) < 0)
			return -EINVAL;
		skip_space(reader);
		if (!is_at(reader, ':'))
			return -EINVAL;
		reader->pos++;
		skip_space(reader);
		if (shape != NULL ? read_member(reader, shape, first, key) < 0
				  : note_key(reader, first, key) < 0 || read_value(reader) < 0)
			return -EINVAL;
		more = read_comma(reader, '}');
	}
	reader->key_count = first;
	return more;
}

int json_read_pass(struct hf_bytes text, const struct json_shape *shape, struct json_slot *slots)
{
	struct reader reader; /* its keys are not worth being wiped */

	if (text.len == 0)
		return -EINVAL;
	reader.pos = text.data;
	reader.end = text.data + text.len;
	reader.slots = slots;
	reader.sure = true;
	reader.depth = 0;
	reader.key_count = 0;
	skip_space(&reader);
	if (!is_at(&reader, '{') || read_object(&reader, shape) < 0)
		return -EINVAL;
	skip_space(&reader);
	if (reader.pos != reader.end)
		return -EINVAL;
	return reader.sure ? 0 : 1;
}

int json_value(struct hf_bytes text, json_t **ret_value)
{
	uint64_t number;

	json_slate_begin();
	if (text.data[0] == '"' && memchr(text.data, '\\', text.len) == NULL)
		*ret_value = json_stringn_nocheck((const char *)text.data + 1, text.len - 2);
	else if (text.len <= 15 && /* a double holds any of these */
		 hf_text_parse_uint((const char *)text.data, text.len, &number) == 0)
		*ret_value = json_real((double)number);
	else
		*ret_value = json_loadb((const char *)text.data, text.len,
					JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	json_slate_end();
	return *ret_value != NULL ? 0 : -ENOMEM;
}

void json_clear(struct json_slot *slots, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slots[i].value != NULL)
			json_decref(slots[i].value);
}

static int make_trees(const struct json_shape *shape, struct json_slot *slots)
{
	int err = 0;

	for (const struct json_member *member = shape->members; member->name != NULL && err == 0;
	     member++) {
		struct json_slot *slot = &slots[member->slot];

		if (slot->text.data == NULL)
			continue;
		if (member->inside != NULL && slot->text.data[0] == '{')
			err = make_trees(member->inside, slots);
		else if (member->tree)
			err = json_value(slot->text, &slot->value);
	}
	return err;
}

int json_read(struct hf_bytes text, const struct json_shape *shape, struct json_slot *slots,
	      size_t count, struct problem *ret_problem)
{
	int result;

	memset(slots, 0, count * sizeof(*slots));
	result = json_read_pass(text, shape, slots);
	if (result != 0) {
		json_t *root = json_parse_object(text, ret_problem);

		if (root == NULL)
			return -EINVAL;
		json_decref(root);
		if (result < 0) /* jansson overlooks a NUL after a number */
			return problem_set(ret_problem, 400, "BAD_JSON", NULL, NULL,
					   "the body is not JSON");
	}
	if (make_trees(shape, slots) == 0)
		return 0;
	json_clear(slots, count);
	return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}
