/* common/config/hf_config_show.c - a table, or a configuration, for people to read. What the dump
 * writes is YAML that hf_config_parse() takes back, but for the secrets. */
#include <inttypes.h>
#include <stdio.h>

#include "hf_config_internal.h"
#include "hf_text.h"

#define MASK "********"

static const char *type_name(enum hf_option_type type)
{
	static const char *const type_names[] = {
		[HF_OPT_BOOL] = "true or false",    [HF_OPT_UINT] = "number",
		[HF_OPT_MSEC] = "duration",         [HF_OPT_SIZE] = "size",
		[HF_OPT_STRING] = "text",           [HF_OPT_ENUM] = "one of",
		[HF_OPT_ADDRESS] = "address",       [HF_OPT_SECRET] = "secret",
		[HF_OPT_STRINGS] = "list of texts", [HF_OPT_LIST] = "list of sections",
	};

	return type_names[type];
}

/* "duration, 1s to 10m, default 30s, reload" */
static void show_facts(const struct hf_option *option, FILE *out)
{
	char range[HF_CONFIG_RANGE_SIZE];

	fputs(type_name(option->type), out);
	if (option->type == HF_OPT_ENUM) {
		for (const char *const *choice = option->choices; *choice != NULL; choice++)
			fprintf(out, "%s%s", choice == option->choices ? " " : ", ", *choice);
	}
	hf_config_format_range(option, range);
	if (range[0] != '\0')
		fprintf(out, ", %s", range);
	if (option->value == NULL)
		fputs(", required", out);
	else if (option->value[0] != '\0')
		fprintf(out, ", default %s", option->value);
	if (option->reloadable)
		fputs(", reloadable", out);
}

static void help_table(const struct hf_option *table, int indent, FILE *out)
{
	for (; table->name != NULL; table++) {
		fprintf(out, "%*s%s (", indent, "", table->name);
		show_facts(table, out);
		fprintf(out, ")\n%*s%s\n", indent + 6, "", table->help);
		if (table->type == HF_OPT_SECRET)
			fprintf(out,
				"%*sGive %s_file, or a value ${NAME} for a variable of the "
				"environment,\n%*sto keep it out of the file.\n",
				indent + 6, "", table->name, indent + 6, "");
		if (table->type == HF_OPT_LIST) {
			fprintf(out, "%*sEach entry has:\n", indent + 6, "");
			help_table(table->items, indent + 6, out);
		}
	}
}

void hf_config_help(const struct hf_option *table, FILE *out)
{
	help_table(table, 2, out);
}

/* What YAML does not take as it is, or would take for the end of a line. */
static bool needs_escape(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

/* A double-quoted YAML scalar of valid UTF-8. */
static void dump_string(const char *text, FILE *out)
{
	size_t len = strlen(text), n;

	fputc('"', out);
	for (size_t at = 0; at < len; at += n) {
		const unsigned char *p = (const unsigned char *)text + at;
		uint32_t c = *p;

		n = HF_MAX(hf_text_char_len(p, len - at), (size_t)1);
		if (n == 2)
			c = (c & 0x1fu) << 6 | (p[1] & 0x3fu);
		else if (n == 3)
			c = (c & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
		if (n < 4 && needs_escape(c))
			fprintf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (int)c);
		else
			fwrite(p, 1, n, out);
	}
	fputc('"', out);
}

static void dump_table(const struct hf_option *table, const char *prefix, size_t prefix_len,
		       const void *config, int indent, bool comments, FILE *out);

static void dump_strings(const struct hf_strings *strings, FILE *out)
{
	fputc('[', out);
	for (size_t i = 0; i < strings->count; i++) {
		fputs(i > 0 ? ", " : "", out);
		dump_string(strings->values[i], out);
	}
	fputs("]\n", out);
}

/* The first key of an entry stands behind its "- ", the others below that key. */
static void dump_list(const struct hf_option *option, const struct hf_list *list, int indent,
		      FILE *out)
{
	if (list->count == 0) {
		fputs("[]\n", out);
		return;
	}
	fputc('\n', out);
	for (size_t i = 0; i < list->count; i++) {
		const char *item = (const char *)list->items + i * option->item_size;

		fprintf(out, "%*s-\n", indent + 2, "");
		dump_table(option->items, "", 0, item, indent + 4, false, out);
	}
}

static void dump_value(const struct hf_option *option, const void *field, int indent, FILE *out)
{
	char number[HF_CONFIG_NUMBER_SIZE];
	const char *const *string = field;

	switch (option->type) {
	case HF_OPT_BOOL:
		fprintf(out, "%s\n", *(const bool *)field ? "true" : "false");
		break;
	case HF_OPT_UINT:
	case HF_OPT_MSEC:
	case HF_OPT_SIZE:
		hf_config_format_number(option->type, *(const uint64_t *)field, number);
		fprintf(out, "%s\n", number);
		break;
	case HF_OPT_ENUM:
		fprintf(out, "%s\n", option->choices[*(const int *)field]);
		break;
	case HF_OPT_SECRET:
		dump_string((*string)[0] != '\0' ? MASK : "", out);
		fputc('\n', out);
		break;
	case HF_OPT_STRING:
	case HF_OPT_ADDRESS:
		dump_string(*string, out);
		fputc('\n', out);
		break;
	case HF_OPT_STRINGS:
		dump_strings(field, out);
		break;
	case HF_OPT_LIST:
		dump_list(option, field, indent, out);
		break;
	}
}

/* The default as it stands in the table. */
static void dump_default(const struct hf_option *option, FILE *out)
{
	switch (option->type) {
	case HF_OPT_STRING:
	case HF_OPT_ADDRESS:
	case HF_OPT_SECRET:
		dump_string(option->value, out);
		break;
	case HF_OPT_STRINGS:
	case HF_OPT_LIST:
		fprintf(out, option->value[0] == '[' ? "%s" : "[%s]", option->value);
		break;
	default:
		fputs(option->value, out);
		break;
	}
	fputc('\n', out);
}

static void dump_option(const struct hf_option *option, const char *key, const void *config,
			int indent, bool comments, FILE *out)
{
	if (comments) {
		fprintf(out, "%*s# %s (", indent, "", option->help);
		show_facts(option, out);
		fputs(")\n", out);
		if (config == NULL && option->type == HF_OPT_LIST) {
			for (const struct hf_option *item = option->items; item->name; item++) {
				fprintf(out, "%*s#   %s: %s (", indent, "", item->name, item->help);
				show_facts(item, out);
				fputs(")\n", out);
			}
		}
	}
	if (config == NULL && option->value == NULL) {
		fprintf(out, "%*s#%s:\n", indent, "", key);
		return;
	}
	fprintf(out, "%*s%s: ", indent, "", key);
	if (config == NULL)
		dump_default(option, out);
	else
		dump_value(option, hf_config_field(option, config), indent, out);
}

static bool is_in_section(const struct hf_option *option, const char *prefix, size_t prefix_len)
{
	return strncmp(option->name, prefix, prefix_len) == 0;
}

/* The rows whose names start with `prefix` ("limits."), in their order; a section stands where its
 * first row does, with all its rows, as a mapping has each key once. */
static void dump_table(const struct hf_option *table, const char *prefix, size_t prefix_len,
		       const void *config, int indent, bool comments, FILE *out)
{
	for (const struct hf_option *option = table; option->name != NULL; option++) {
		const char *key = option->name + prefix_len;
		const struct hf_option *earlier = table;
		size_t len;

		if (!is_in_section(option, prefix, prefix_len))
			continue;
		len = strcspn(key, ".");
		if (key[len] == '\0') {
			dump_option(option, key, config, indent, comments, out);
			continue;
		}
		len += prefix_len + 1; /* of "limits.per_ip." */
		while (!is_in_section(earlier, option->name, len))
			earlier++;
		if (earlier != option)
			continue; /* written already */
		if (comments && indent == 0 && option != table)
			fputc('\n', out);
		fprintf(out, "%*s%.*s:\n", indent, "", (int)(len - prefix_len - 1), key);
		dump_table(table, option->name, len, config, indent + 2, comments, out);
	}
}

void hf_config_dump(const struct hf_option *table, const void *config, FILE *out)
{
	dump_table(table, "", 0, config, 0, true, out);
}
