/* tools/bench/table.h - timeseries.csv, column by column. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include <stddef.h>

#define TABLE_COLUMNS 64

struct table {
	size_t columns, rows, capacity;
	char *names[TABLE_COLUMNS];
	double *values[TABLE_COLUMNS];
};

void table_read(struct table *table, const char *folder); /* without the file it stays empty */
void table_free(struct table *table);
const double *table_column(const struct table *table, const char *name);  /* NULL: no such column */
double table_at(const struct table *table, const char *name, size_t row); /* 0: no such column */

#endif
