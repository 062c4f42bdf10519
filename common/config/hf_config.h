/* common/config/hf_config.h - YAML into structs, by a table.
 *
 * One table of options is the truth about a configuration: names, types, defaults, bounds and help.
 * Parsing, checking, `--help`, `--dump` and reload all read it. An unknown key, a wrong type, a
 * value out of bounds, or a missing required key is an error that names file, line, key and the
 * allowed range:
 *
 *	room.yaml:12: limits.frame_max: 2GiB is out of range: 64B to 16MiB
 *
 * libyaml does the parsing; the document is read as events with depth, size and alias limits, as
 * configuration also comes from the keeper. Names with dots are nested mappings in the file. */
#ifndef HF_CONFIG_H
#define HF_CONFIG_H

#include <stdio.h>

#include "hf_base.h"

enum hf_option_type {
	HF_OPT_BOOL,    /* bool */
	HF_OPT_UINT,    /* uint64_t; bounds min..max */
	HF_OPT_MSEC,    /* uint64_t milliseconds; "30s"; bounds in ms */
	HF_OPT_SIZE,    /* uint64_t bytes; "64KiB" */
	HF_OPT_STRING,  /* char *, never NULL ("" when unset); bounds on length */
	HF_OPT_ENUM,    /* int: index into `choices` */
	HF_OPT_ADDRESS, /* char *, "0.0.0.0:443" "[::]:443" "unix:/path"; port 0 allowed: the system
			   chooses */
	HF_OPT_SECRET, /* char *, like STRING, masked in --dump; a value "${NAME}" is taken from the
			* environment; the same key with "_file" appended names a file that holds it
			*/
	HF_OPT_STRINGS, /* struct hf_strings; bounds on count */
	HF_OPT_LIST,    /* struct hf_list of sub-structs described by `items`; bounds on count */
};

struct hf_strings {
	size_t count;
	char **values;
};

struct hf_list {
	size_t count;
	void *items; /* count structs of item_size */
};

struct hf_option {
	const char *name; /* "limits.frame_max"; NULL ends the table */
	enum hf_option_type type;
	size_t offset;
	const char *value; /* default as it would stand in the file; NULL: required */
	uint64_t min, max; /* max 0: no bound beyond the type's */
	const char *help;
	const char *const *choices;    /* ENUM: NULL-terminated */
	const struct hf_option *items; /* LIST: table of the sub-struct */
	size_t item_size;              /* LIST */
	bool reloadable; /* takes effect at HUP; others are reported as needing a restart */
};

struct hf_config_override {
	const char *name, *value; /* from --set name=value; applied after the file */
};

#define HF_CONFIG_ERROR_SIZE 512

/* Fill `ret` (zeroed by the caller, `size` bytes) from defaults, then `text`, then overrides.
 * `origin` is the file name in messages. On success 0. On failure -EINVAL (or -ENOMEM), `ret` is
 * left empty and `error` holds the message. Strings are allocated: hf_config_deinit() frees them.
 */
HF_MUST_CHECK int hf_config_parse(const struct hf_option *table, const char *origin,
				  const char *text, size_t len,
				  const struct hf_config_override *overrides, size_t override_count,
				  void *ret, char error[HF_CONFIG_ERROR_SIZE]);
/* The same from a file (at most 1 MiB); -errno when it can't be read. path NULL: defaults and
 * overrides alone. */
HF_MUST_CHECK int hf_config_load(const struct hf_option *table, const char *path,
				 const struct hf_config_override *overrides, size_t override_count,
				 void *ret, char error[HF_CONFIG_ERROR_SIZE]);
void hf_config_deinit(const struct hf_option *table, void *config);

/* A commented YAML document of the defaults, or of `config` when not NULL; secrets masked. */
void hf_config_dump(const struct hf_option *table, const void *config, FILE *out);
/* One entry each option: name, type, range, default, help. */
void hf_config_help(const struct hf_option *table, FILE *out);
/* For reload. Does the option differ between the two? */
bool hf_config_differs(const struct hf_option *option, const void *a, const void *b);
/* Exchange its values: what can't take effect now stays in force. */
void hf_config_swap(const struct hf_option *option, void *a, void *b);

#endif
