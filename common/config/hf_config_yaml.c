/* common/config/hf_config_yaml.c - libyaml's events into a tree of nodes, with a bound on
 * everything. Anchors, aliases, tags and second documents are refused: they have no use here, and
 * aliases are how a small document becomes a huge one. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "hf_config_internal.h"
#include "hf_log.h"

int hf_config_fail(const struct hf_config_at *at, const char *fmt, ...)
{
	size_t len = 0, size = HF_CONFIG_ERROR_SIZE;
	va_list args;
	int n;

	n = at->line > 0 ? snprintf(at->error, size, "%s:%u: ", at->origin, at->line)
			 : snprintf(at->error, size, "%s: ", at->origin);
	len = HF_MIN((size_t)HF_MAX(n, 0), size - 1);
	if (at->key != NULL) {
		n = snprintf(at->error + len, size - len, "%s: ", at->key);
		len = HF_MIN(len + (size_t)HF_MAX(n, 0), size - 1);
	}
	va_start(args, fmt);
	vsnprintf(at->error + len, size - len, fmt, args);
	va_end(args);
	return -EINVAL;
}

int hf_config_no_memory(const struct hf_config_at *at)
{
	hf_config_fail(at, "out of memory");
	return -ENOMEM;
}

struct builder {
	struct hf_config_at at;
	struct hf_arena *arena;
	struct hf_config_node *root;
	struct hf_config_node *open[HF_CONFIG_DEPTH_MAX]; /* the path to where we are */
	unsigned depth;
	const char *key; /* of the value that comes next, inside a mapping */
	unsigned key_line;
	unsigned documents;
};

static void attach(struct builder *b, struct hf_config_node *node)
{
	struct hf_config_node *parent = b->depth > 0 ? b->open[b->depth - 1] : NULL;

	node->children_tail = &node->children;
	if (parent == NULL) {
		b->root = node;
		return;
	}
	if (parent->kind == HF_CONFIG_MAPPING) {
		node->key = b->key;
		node->line = b->key_line; /* a section would start at its first key */
		b->key = NULL;
	}
	*parent->children_tail = node;
	parent->children_tail = &node->next;
	parent->count++;
}

static bool is_key(const struct builder *b)
{
	return b->depth > 0 && b->open[b->depth - 1]->kind == HF_CONFIG_MAPPING && b->key == NULL;
}

static int take_key(struct builder *b, const char *text)
{
	const struct hf_config_node *mapping = b->open[b->depth - 1];
	struct hf_config_at at = b->at;

	if (mapping->count >= HF_CONFIG_KEYS_MAX)
		return hf_config_fail(&at, "more than %d keys in one place", HF_CONFIG_KEYS_MAX);
	for (const struct hf_config_node *node = mapping->children; node; node = node->next) {
		if (strcmp(node->key, text) != 0)
			continue;
		at.key = hf_log_quote(text, strlen(text));
		return hf_config_fail(&at, "is given twice, first in line %u", node->line);
	}
	b->key = text;
	b->key_line = at.line;
	return 0;
}

static int take_scalar(struct builder *b, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct hf_config_node *node;
	char *text;

	if (memchr(value, '\0', len) != NULL)
		return hf_config_fail(&b->at, "a value holds a NUL byte");
	text = hf_arena_alloc(b->arena, len + 1);
	if (text == NULL)
		return hf_config_fail(&b->at, "the document is too large");
	memcpy(text, value, len);
	text[len] = '\0';
	if (is_key(b))
		return take_key(b, text);

	node = hf_arena_zalloc(b->arena, sizeof(*node));
	if (node == NULL)
		return hf_config_fail(&b->at, "the document is too large");
	node->kind = HF_CONFIG_SCALAR;
	node->line = b->at.line;
	node->text = text;
	node->len = len;
	node->empty = plain && (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
	attach(b, node);
	return 0;
}

static int open_collection(struct builder *b, enum hf_config_kind kind)
{
	struct hf_config_node *node;

	if (is_key(b))
		return hf_config_fail(&b->at, "a key must be a plain word");
	if (b->depth == HF_CONFIG_DEPTH_MAX)
		return hf_config_fail(&b->at, "nested more than %d deep", HF_CONFIG_DEPTH_MAX);
	node = hf_arena_zalloc(b->arena, sizeof(*node));
	if (node == NULL)
		return hf_config_fail(&b->at, "the document is too large");
	node->kind = kind;
	node->line = b->at.line;
	attach(b, node);
	b->open[b->depth++] = node;
	return 0;
}

static int take_event(struct builder *b, const yaml_event_t *event)
{
	b->at.line = (unsigned)event->start_mark.line + 1;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->documents++ > 0)
			return hf_config_fail(&b->at, "a second document starts here");
		return 0;
	case YAML_ALIAS_EVENT:
		return hf_config_fail(&b->at, "aliases are not supported");
	case YAML_SCALAR_EVENT:
		if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
			return hf_config_fail(&b->at, "anchors and tags are not supported");
		return take_scalar(b, event);
	case YAML_SEQUENCE_START_EVENT:
		if (event->data.sequence_start.anchor || event->data.sequence_start.tag)
			return hf_config_fail(&b->at, "anchors and tags are not supported");
		return open_collection(b, HF_CONFIG_SEQUENCE);
	case YAML_MAPPING_START_EVENT:
		if (event->data.mapping_start.anchor || event->data.mapping_start.tag)
			return hf_config_fail(&b->at, "anchors and tags are not supported");
		return open_collection(b, HF_CONFIG_MAPPING);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	default: /* ends of document and stream; nothing to build */
		return 0;
	}
}

static int parser_failed(const struct builder *b, const yaml_parser_t *parser)
{
	struct hf_config_at at = b->at;

	if (parser->error == YAML_MEMORY_ERROR)
		return hf_config_no_memory(&at);
	at.line = (unsigned)parser->problem_mark.line + 1;
	return hf_config_fail(&at, "not YAML: %s",
			      parser->problem ? parser->problem : "unreadable");
}

int hf_config_read_tree(const struct hf_config_at *at, const char *text, size_t len,
			struct hf_arena *arena, struct hf_config_node **ret_root)
{
	struct builder b = { .at = *at, .arena = arena };
	yaml_parser_t parser;
	bool end = false;
	int err = 0;

	if (len > HF_CONFIG_TEXT_MAX)
		return hf_config_fail(at, "larger than %u bytes", HF_CONFIG_TEXT_MAX);
	if (!yaml_parser_initialize(&parser))
		return hf_config_no_memory(at);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);

	while (err == 0 && !end) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			err = parser_failed(&b, &parser);
			break;
		}
		end = event.type == YAML_STREAM_END_EVENT;
		err = take_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	if (err == 0)
		*ret_root = b.root;
	return err;
}
