/* common/config/hf_config_internal.h - what the files of common/config share; nobody else includes
 * it. */
#ifndef HF_CONFIG_INTERNAL_H
#define HF_CONFIG_INTERNAL_H

#include "hf_arena.h"
#include "hf_config.h"

/* Where we are, for messages: "origin:line: key: what is wrong". line 0 and key NULL are left out.
 */
struct hf_config_at {
	const char *origin;
	unsigned line;
	const char *key;
	char *error; /* HF_CONFIG_ERROR_SIZE bytes */
};

int hf_config_fail(const struct hf_config_at *at, const char *fmt, ...)
	HF_PRINTF(2, 3);                                /* always -EINVAL */
int hf_config_no_memory(const struct hf_config_at *at); /* always -ENOMEM */

/* --- hf_config_yaml.c: a document as a tree, within limits --- */

#define HF_CONFIG_DEPTH_MAX 8
#define HF_CONFIG_TEXT_MAX  (1u << 20)
#define HF_CONFIG_TREE_MAX  (16u << 20) /* bytes of memory for the tree */
#define HF_CONFIG_KEYS_MAX  1024        /* of one mapping: the check for twins is quadratic */

enum hf_config_kind { HF_CONFIG_SCALAR, HF_CONFIG_SEQUENCE, HF_CONFIG_MAPPING };

struct hf_config_node {
	enum hf_config_kind kind;
	unsigned line;
	bool empty;       /* a scalar of nothing, "~" or "null", unquoted */
	bool used;        /* an option has claimed it */
	const char *key;  /* in a mapping */
	const char *text; /* of a scalar, NUL-terminated, without NUL inside */
	size_t len;
	size_t count; /* children */
	struct hf_config_node *children, **children_tail, *next;
};

/* *ret_root is NULL for an empty document. The tree lives in `arena`. 0, -EINVAL or -ENOMEM. */
HF_MUST_CHECK int hf_config_read_tree(const struct hf_config_at *at, const char *text, size_t len,
				      struct hf_arena *arena, struct hf_config_node **ret_root);

/* --- hf_config_value.c: one value, text to field and back --- */

static inline void *hf_config_field(const struct hf_option *option, const void *config)
{
	return (char *)(uintptr_t)config + option->offset;
}

/* For all types but STRINGS and LIST. The old value of the field is not freed. */
HF_MUST_CHECK int hf_config_set_scalar(const struct hf_config_at *at,
				       const struct hf_option *option, const char *text, size_t len,
				       void *field);
/* The content of `path` as the value of a SECRET. */
HF_MUST_CHECK int hf_config_set_secret_file(const struct hf_config_at *at,
					    const struct hf_option *option, const char *path,
					    void *field);
HF_MUST_CHECK int hf_config_check_count(const struct hf_config_at *at,
					const struct hf_option *option, size_t count);
/* `value` in the unit of the option: "30s", "64KiB", "17". */
#define HF_CONFIG_NUMBER_SIZE 32
const char *hf_config_format_number(enum hf_option_type type, uint64_t value,
				    char ret[HF_CONFIG_NUMBER_SIZE]);
/* "64B to 16MiB", "at least 5 bytes", or "". */
#define HF_CONFIG_RANGE_SIZE 96
const char *hf_config_format_range(const struct hf_option *option, char ret[HF_CONFIG_RANGE_SIZE]);

#endif
