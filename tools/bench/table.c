#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_base.h"

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->columns; i++) {
		free(table->names[i]);
		free(table->values[i]);
	}
}

static void add(struct table *table, char *line)
{
	size_t column = 0;
	char *cell;

	if (table->rows == table->capacity) {
		table->capacity = HF_MAX(256, 2 * table->capacity);
		for (size_t i = 0; i < table->columns; i++) {
			double *grown =
				reallocarray(table->values[i], table->capacity, sizeof(*grown));

			if (grown == NULL)
				return;
			table->values[i] = grown;
		}
	}
	for (; column < table->columns && (cell = strsep(&line, ",\n")) != NULL; column++)
		table->values[column][table->rows] = strtod(cell, NULL);
	if (column == table->columns)
		table->rows++;
}

void table_read(struct table *table, const char *folder)
{
	char path[4096], *line = NULL, *rest, *cell;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/timeseries.csv", folder);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	if (getline(&line, &size, file) > 0) {
		rest = line;
		while (table->columns < TABLE_COLUMNS && (cell = strsep(&rest, ",\n")) != NULL) {
			if (*cell != '\0')
				table->names[table->columns++] = strdup(cell);
		}
		while (getline(&line, &size, file) > 0)
			add(table, line);
	}
	free(line);
	fclose(file);
}

const double *table_column(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->columns; i++) {
		if (strcmp(table->names[i], name) == 0)
			return table->values[i];
	}
	return NULL;
}

double table_at(const struct table *table, const char *name, size_t row)
{
	const double *column = table_column(table, name);

	return column != NULL && row < table->rows ? column[row] : 0;
}
