/* Answers as tables for people, or as JSON for programs. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hf_base.h"
#include "hfctl.h"

#define CELL_MAX    256
#define COLUMNS_MAX 16

/* "a.b" of an object. */
static const json_t *value_at(const json_t *object, const char *key)
{
	const char *dot = strchr(key, '.');
	char first[64];

	if (dot == NULL)
		return json_object_get(object, key);
	snprintf(first, sizeof(first), "%.*s", (int)(dot - key), key);
	return value_at(json_object_get(object, first), dot + 1);
}

struct cell {
	char text[CELL_MAX];
	size_t len;
};

/* What comes from clients must not steer the terminal: control characters are shown as '?'. */
__attribute__((format(printf, 2, 3))) static void add(struct cell *cell, const char *format, ...)
{
	size_t room = CELL_MAX - cell->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(cell->text + cell->len, room, format, args);
	va_end(args);
	for (int i = 0; i < len && (size_t)i < room - 1; i++) {
		unsigned char *byte = (unsigned char *)cell->text + cell->len + i;

		if (*byte < 0x20 || *byte == 0x7f)
			*byte = '?';
	}
	cell->len += len < 0 ? 0 : HF_MIN((size_t)len, room - 1);
}

/* Lists as "a, b", objects as "key value", which reads well for the small ones of this API. */
static void add_value(struct cell *cell, const json_t *value)
{
	const char *key, *between = "";
	json_t *item;
	size_t i;

	switch (value == NULL ? JSON_NULL : json_typeof(value)) {
	case JSON_STRING:
		add(cell, "%s", json_string_length(value) == 0 ? "-" : json_string_value(value));
		break;
	case JSON_INTEGER:
		add(cell, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		add(cell, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
		add(cell, "yes");
		break;
	case JSON_FALSE:
		add(cell, "no");
		break;
	case JSON_NULL:
		add(cell, "-");
		break;
	case JSON_ARRAY:
		if (json_array_size(value) == 0)
			add(cell, "-");
		json_array_foreach(value, i, item)
		{
			add(cell, "%s", i > 0 ? ", " : "");
			add_value(cell, item);
		}
		break;
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, key, item)
		{
			add(cell, "%s%s ", between, key);
			add_value(cell, item);
			between = ", ";
		}
		break;
	}
}

static void format_value(const json_t *value, char ret[CELL_MAX])
{
	struct cell cell = { .len = 0 };

	add_value(&cell, value);
	if (cell.len == CELL_MAX - 1)
		snprintf(cell.text + CELL_MAX - 4, 4, "...");
	memcpy(ret, cell.text, cell.len + 1);
}

static void show_json(const json_t *answer)
{
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
}

void show_list(const struct ctl *ctl, const json_t *answer, const char *key,
	       const struct ctl_column *columns)
{
	const json_t *rows = json_object_get(answer, key), *row;
	int width[COLUMNS_MAX];
	char cell[CELL_MAX];
	size_t i;

	if (ctl->json) {
		show_json(answer);
		return;
	}
	for (int c = 0; columns[c].header != NULL; c++) {
		width[c] = (int)strlen(columns[c].header);
		json_array_foreach(rows, i, row)
		{
			format_value(value_at(row, columns[c].key), cell);
			if ((int)strlen(cell) > width[c])
				width[c] = (int)strlen(cell);
		}
	}
	for (int c = 0; columns[c].header != NULL; c++)
		printf("%-*s%s", columns[c + 1].header == NULL ? 0 : width[c] + 2,
		       columns[c].header, columns[c + 1].header == NULL ? "\n" : "");
	json_array_foreach(rows, i, row)
	{
		for (int c = 0; columns[c].header != NULL; c++) {
			format_value(value_at(row, columns[c].key), cell);
			printf("%-*s%s", columns[c + 1].header == NULL ? 0 : width[c] + 2, cell,
			       columns[c + 1].header == NULL ? "\n" : "");
		}
	}
}

void show_page(const struct ctl *ctl, const json_t *answer, const char *key,
	       const struct ctl_column *columns)
{
	const char *cursor = json_string_value(json_object_get(answer, "next_cursor"));

	show_list(ctl, answer, key, columns);
	if (cursor != NULL && !ctl->json)
		fprintf(stderr, "hfctl: there is more: --cursor %s\n", cursor);
}

void show_object(const struct ctl *ctl, const json_t *answer)
{
	char cell[CELL_MAX];
	const char *key;
	json_t *value;
	int width = 0;

	if (ctl->json || !json_is_object(answer)) {
		if (answer != NULL)
			show_json(answer);
		return;
	}
	json_object_foreach((json_t *)answer, key, value) width =
		(int)strlen(key) > width ? (int)strlen(key) : width;
	json_object_foreach((json_t *)answer, key, value)
	{
		format_value(value, cell);
		printf("%-*s  %s\n", width, key, cell);
	}
}
