/* common/config/hf_config.c - a tree and a table into a struct. For every row of the table the
 * value comes from an override, else from the document, else from the default; then every key of
 * the document that no row has claimed is an error. */
#include "hf_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hf_config_internal.h"
#include "hf_log.h"
#include "hf_text.h"

#define KEY_SIZE    256
#define FILE_SUFFIX "_file"

struct reading {
	const char *origin;
	struct hf_arena arena;
	const struct hf_config_override *overrides;
	size_t override_count;
	char *error;
};

static int set_from_node(struct reading *r, const struct hf_config_at *at,
			 const struct hf_option *option, struct hf_config_node *node, void *field);

/* --- setting one option --- */

static int add_string(const struct hf_config_at *at, struct hf_strings *strings, const char *text,
		      size_t len)
{
	strings->values[strings->count] = strndup(text, len);
	if (strings->values[strings->count] == NULL)
		return hf_config_no_memory(at);
	strings->count++;
	return 0;
}

/* "a, b,c"; nothing at all is an empty list. */
static int split_strings(const struct hf_config_at *at, const char *text,
			 struct hf_strings *strings)
{
	size_t count = 1;
	int err = 0;

	text += strspn(text, " ");
	if (*text == '\0')
		return 0;
	for (const char *p = text; *p != '\0'; p++)
		count += *p == ',';
	strings->values = calloc(count, sizeof(char *));
	if (strings->values == NULL)
		return hf_config_no_memory(at);
	for (size_t i = 0; i < count && err == 0; i++) {
		size_t len = strcspn(text, ","), trimmed = len;

		while (trimmed > 0 && text[trimmed - 1] == ' ')
			trimmed--;
		err = add_string(at, strings, text, trimmed);
		text += len + (text[len] == ',');
		text += strspn(text, " ");
	}
	return err;
}

/* Defaults and overrides. A list is written as in the file ("[...]"); strings also "a,b". */
static int set_from_text(struct reading *r, const struct hf_config_at *at,
			 const struct hf_option *option, const char *text, void *field)
{
	size_t len = strlen(text);
	bool list = option->type == HF_OPT_LIST || option->type == HF_OPT_STRINGS;

	if (!hf_text_is_utf8(text, len))
		return hf_config_fail(at, "is not UTF-8");
	if (list && text[0] == '[') {
		struct hf_config_node *root = NULL;
		int err = hf_config_read_tree(at, text, len, &r->arena, &root);

		return err < 0 ? err : set_from_node(r, at, option, root, field);
	}
	if (option->type == HF_OPT_STRINGS) {
		int err = split_strings(at, text, field);

		return err < 0 ? err
			       : hf_config_check_count(at, option,
						       ((struct hf_strings *)field)->count);
	}
	if (option->type == HF_OPT_LIST && len == 0)
		return hf_config_check_count(at, option, 0);
	return hf_config_set_scalar(at, option, text, len, field);
}

static int set_strings(const struct hf_config_at *at, const struct hf_option *option,
		       struct hf_config_node *node, struct hf_strings *strings)
{
	int err = hf_config_check_count(at, option, node->count);

	if (err < 0 || node->count == 0)
		return err;
	strings->values = calloc(node->count, sizeof(char *));
	if (strings->values == NULL)
		return hf_config_no_memory(at);
	for (struct hf_config_node *child = node->children; child; child = child->next) {
		if (child->kind != HF_CONFIG_SCALAR || child->empty)
			return hf_config_fail(at, "entry %zu is not a text", strings->count + 1);
		err = add_string(at, strings, child->text, child->len);
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_table(struct reading *r, const struct hf_option *table, const char *prefix,
		      struct hf_config_node *root, void *ret);

static int set_list(struct reading *r, const struct hf_config_at *at,
		    const struct hf_option *option, struct hf_config_node *node,
		    struct hf_list *list)
{
	int err = hf_config_check_count(at, option, node->count);

	if (err < 0 || node->count == 0)
		return err;
	list->items = calloc(node->count, option->item_size);
	if (list->items == NULL)
		return hf_config_no_memory(at);
	for (struct hf_config_node *child = node->children; child; child = child->next) {
		void *item = (char *)list->items + list->count * option->item_size;
		char prefix[KEY_SIZE];
		struct hf_config_at here = *at;

		snprintf(prefix, sizeof(prefix), "%s[%zu].", at->key, list->count);
		here.line = at->line > 0 ? child->line : 0;
		if (child->kind != HF_CONFIG_MAPPING)
			return hf_config_fail(&here, "entry %zu is not a section of keys",
					      list->count + 1);
		list->count++; /* before reading: what is half read is freed with the list */
		err = read_table(r, option->items, prefix, child, item);
		if (err < 0)
			return err;
	}
	return 0;
}

static int set_from_node(struct reading *r, const struct hf_config_at *at,
			 const struct hf_option *option, struct hf_config_node *node, void *field)
{
	bool list = option->type == HF_OPT_LIST || option->type == HF_OPT_STRINGS;

	if (node->kind == HF_CONFIG_SCALAR && node->empty)
		return hf_config_fail(at, "has no value (leave the key out for the default)");
	if (list && node->kind != HF_CONFIG_SEQUENCE)
		return hf_config_fail(at, "is not a list");
	if (!list && node->kind != HF_CONFIG_SCALAR)
		return hf_config_fail(at, "is not a single value");
	if (option->type == HF_OPT_STRINGS)
		return set_strings(at, option, node, field);
	if (option->type == HF_OPT_LIST)
		return set_list(r, at, option, node, field);
	return hf_config_set_scalar(at, option, node->text, node->len, field);
}

/* --- finding what an option's value is --- */

static bool is_empty_section(const struct hf_config_node *node)
{
	return node->kind == HF_CONFIG_SCALAR && node->empty;
}

/* The node at the dotted `name` with `suffix`; marks the way to it as known. */
static struct hf_config_node *find_node(struct hf_config_node *root, const char *name,
					const char *suffix)
{
	struct hf_config_node *node = root;

	while (node != NULL) {
		size_t len = strcspn(name, ".");
		bool last = name[len] == '\0';
		struct hf_config_node *child = node->children;

		if (node->kind != HF_CONFIG_MAPPING)
			return NULL;
		for (; child != NULL; child = child->next) {
			if (strncmp(child->key, name, len) == 0 &&
			    strcmp(child->key + len, last ? suffix : "") == 0)
				break;
		}
		if (child != NULL &&
		    (last || child->kind == HF_CONFIG_MAPPING || is_empty_section(child)))
			child->used = true;
		if (last)
			return child;
		node = child;
		name += len + 1;
	}
	return NULL;
}

static bool has_file_twin(const struct hf_option *option)
{
	return option->type == HF_OPT_SECRET;
}

static bool names(const struct hf_option *option, const char *name, bool *ret_is_file)
{
	size_t len = strlen(option->name);

	if (strncmp(name, option->name, len) != 0)
		return false;
	*ret_is_file = has_file_twin(option) && strcmp(name + len, FILE_SUFFIX) == 0;
	return name[len] == '\0' || *ret_is_file;
}

/* The last one wins, as on any command line. */
static const struct hf_config_override *find_override(const struct reading *r, const char *prefix,
						      const struct hf_option *option,
						      bool *ret_is_file)
{
	if (prefix[0] != '\0')
		return NULL; /* entries of lists have no name to be called by */
	for (size_t i = r->override_count; i > 0; i--) {
		if (names(option, r->overrides[i - 1].name, ret_is_file))
			return &r->overrides[i - 1];
	}
	return NULL;
}

static int read_secret_path(const struct hf_config_at *at, const struct hf_option *option,
			    const struct hf_config_node *node, void *field)
{
	if (node->kind != HF_CONFIG_SCALAR || node->empty)
		return hf_config_fail(at, "is not the name of a file");
	return hf_config_set_secret_file(at, option, node->text, field);
}

static int read_option(struct reading *r, const struct hf_option *option, const char *prefix,
		       struct hf_config_node *root, void *ret)
{
	void *field = hf_config_field(option, ret);
	char key[KEY_SIZE], file_key[KEY_SIZE + sizeof(FILE_SUFFIX)];
	struct hf_config_at at = { .origin = r->origin, .key = key, .error = r->error };
	struct hf_config_node *node = find_node(root, option->name, "");
	struct hf_config_node *file = NULL;
	const struct hf_config_override *override;
	bool is_file = false;

	snprintf(key, sizeof(key), "%s%s", prefix, option->name);
	snprintf(file_key, sizeof(file_key), "%s" FILE_SUFFIX, key);
	if (has_file_twin(option))
		file = find_node(root, option->name, FILE_SUFFIX);

	override = find_override(r, prefix, option, &is_file);
	if (override != NULL) {
		at.origin = "--set";
		at.key = override->name;
		return is_file ? hf_config_set_secret_file(&at, option, override->value, field)
			       : set_from_text(r, &at, option, override->value, field);
	}
	if (file != NULL) {
		at.line = file->line;
		at.key = file_key;
		if (node != NULL)
			return hf_config_fail(&at, "%s is given too: one of the two", key);
		return read_secret_path(&at, option, file, field);
	}
	if (node != NULL) {
		at.line = node->line;
		return set_from_node(r, &at, option, node, field);
	}
	if (option->value == NULL) {
		at.line = prefix[0] != '\0' ? root->line : 0; /* of the entry it is missing in */
		return hf_config_fail(&at, "is required");
	}
	at.origin = "default";
	return set_from_text(r, &at, option, option->value, field);
}

/* --- what nobody claimed --- */

/* Number of single-character edits between two short words, or a large number. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t b_len = strlen(b);

	if (b_len >= HF_ARRAY_LEN(row) || strlen(a) >= HF_ARRAY_LEN(row))
		return UINT32_MAX;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
			unsigned shifted = HF_MIN(row[j], row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = HF_MIN(replaced, shifted);
		}
	}
	return row[b_len];
}

static int unknown_key(const struct hf_config_at *at, const struct hf_option *table,
		       const char *name)
{
	size_t len = strlen(name);
	const char *nearest = NULL;
	unsigned best = 3; /* two typing errors are still recognised */

	for (; table->name != NULL; table++) {
		unsigned d = distance(name, table->name);

		if (strncmp(table->name, name, len) == 0 && table->name[len] == '.')
			return hf_config_fail(at, "is a section: its keys stand below it, as in %s",
					      table->name);
		if (d < best) {
			best = d;
			nearest = table->name;
		}
	}
	if (best == 0)
		return hf_config_fail(at, "unknown key: a dot is written as nesting");
	if (nearest != NULL)
		return hf_config_fail(at, "unknown key, did you mean %s?", nearest);
	return hf_config_fail(at, "unknown key");
}

/* `path` is the name below `prefix`: "limits.frame_max". */
static int check_all_used(struct reading *r, const struct hf_option *table, const char *prefix,
			  const char *path, const struct hf_config_node *mapping)
{
	for (const struct hf_config_node *node = mapping->children; node; node = node->next) {
		char name[KEY_SIZE], key[KEY_SIZE];
		struct hf_config_at at = { r->origin, node->line, key, r->error };
		bool section = node->kind == HF_CONFIG_MAPPING;
		int err = 0;

		snprintf(name, sizeof(name), "%s%s", path, node->key);
		if (!node->used) {
			snprintf(key, sizeof(key), "%s%s", prefix, name);
			at.key = hf_log_quote(key, strlen(key));
			return unknown_key(&at, table, name);
		}
		if (section && HF_LIKELY(strlen(name) + 1 < sizeof(name))) {
			strcat(name, ".");
			err = check_all_used(r, table, prefix, name, node);
		}
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_table(struct reading *r, const struct hf_option *table, const char *prefix,
		      struct hf_config_node *root, void *ret)
{
	int err = 0;

	/* Unknown keys first: a mistyped key is the better message than the required one it was. */
	for (const struct hf_option *option = table; option->name != NULL; option++) {
		find_node(root, option->name, "");
		if (has_file_twin(option))
			find_node(root, option->name, FILE_SUFFIX);
	}
	if (root != NULL)
		err = check_all_used(r, table, prefix, "", root);
	for (const struct hf_option *option = table; option->name != NULL && err == 0; option++)
		err = read_option(r, option, prefix, root, ret);
	return err;
}

static int check_overrides(struct reading *r, const struct hf_option *table)
{
	for (size_t i = 0; i < r->override_count; i++) {
		const char *name = r->overrides[i].name;
		struct hf_config_at at = { "--set", 0, name, r->error };
		const struct hf_option *option = table;
		bool is_file;

		while (option->name != NULL && !names(option, name, &is_file))
			option++;
		if (option->name == NULL)
			return unknown_key(&at, table, name);
	}
	return 0;
}

int hf_config_parse(const struct hf_option *table, const char *origin, const char *text, size_t len,
		    const struct hf_config_override *overrides, size_t override_count, void *ret,
		    char error[HF_CONFIG_ERROR_SIZE])
{
	struct reading r = { origin, .overrides = overrides, .override_count = override_count,
			     .error = error };
	struct hf_config_at at = { .origin = origin, .error = error };
	struct hf_config_node *root = NULL;
	int err;

	error[0] = '\0';
	hf_arena_init(&r.arena, HF_CONFIG_TREE_MAX, 0);
	err = hf_config_read_tree(&at, text, len, &r.arena, &root);
	if (err == 0 && root != NULL && is_empty_section(root))
		root = NULL;
	if (err == 0 && root != NULL && root->kind != HF_CONFIG_MAPPING)
		err = hf_config_fail(&at, "is not a list of \"key: value\"");
	if (err == 0)
		err = check_overrides(&r, table);
	if (err == 0)
		err = read_table(&r, table, "", root, ret);
	if (err < 0)
		hf_config_deinit(table, ret);
	hf_arena_deinit(&r.arena);
	return err;
}

/* At most HF_CONFIG_TEXT_MAX bytes and a NUL, malloc'd; or NULL with errno set. */
static char *read_file(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t size = HF_CONFIG_TEXT_MAX + 1, len = 0;
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else
		text = malloc(size);
	while (text != NULL && len < size && (n = read(fd, text + len, size - len)) > 0)
		len += (size_t)n;
	if (text != NULL && (n < 0 || len == size)) {
		int err = n < 0 ? errno : EFBIG;

		free(text);
		text = NULL;
		errno = err;
	}
	n = errno; /* close() may change it */
	close(fd);
	errno = (int)n;
	*ret_len = len;
	return text;
}

int hf_config_load(const struct hf_option *table, const char *path,
		   const struct hf_config_override *overrides, size_t override_count, void *ret,
		   char error[HF_CONFIG_ERROR_SIZE])
{
	size_t len = 0;
	char *text;
	int err;

	if (path == NULL)
		return hf_config_parse(table, "default", "", 0, overrides, override_count, ret,
				       error);
	text = read_file(path, &len);
	if (text == NULL) {
		struct hf_config_at at = { .origin = path, .error = error };

		err = errno;
		hf_config_fail(&at, "%s", strerror(err));
		return -err;
	}
	err = hf_config_parse(table, path, text, len, overrides, override_count, ret, error);
	free(text);
	return err;
}
