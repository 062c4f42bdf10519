/* Answers as tables for people, or as JSON for programs. */
#include <stdio.h>
#include <string.h>

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

static void format_value(const json_t *value, char *ret)
{
	size_t len = 0;

	switch (value == NULL ? JSON_NULL : json_typeof(value)) {
	case JSON_STRING:
		snprintf(ret, CELL_MAX, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(ret, CELL_MAX, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(ret, CELL_MAX, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
		snprintf(ret, CELL_MAX, "yes");
		break;
	case JSON_FALSE:
		snprintf(ret, CELL_MAX, "no");
		break;
	case JSON_NULL:
		snprintf(ret, CELL_MAX, "-");
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		len = json_dumpb(value, ret, CELL_MAX - 1, JSON_COMPACT);
		if (len >= CELL_MAX) {
			snprintf(ret, CELL_MAX, "(%zu bytes, see -o json)", len);
			return;
		}
		ret[len] = '\0';
		break;
	}
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
