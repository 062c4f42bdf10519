/* tools/bench/svg.h - line charts as inline SVG, for a page that needs nothing else. */
#ifndef SVG_H
#define SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct svg_series {
	const char *name;
	const double *x, *y;
	size_t count;
};

struct svg_chart {
	const char *title, *x_title;
	/* How a value of an axis is written; NULL: plain numbers with k and M. */
	void (*x_text)(double x, char *ret, size_t size);
	void (*y_text)(double y, char *ret, size_t size);
	bool y_log;
	const struct svg_series *series;
	size_t series_count; /* at most 6: as many colours as the page has */
};

void svg_draw(FILE *to, const struct svg_chart *chart);
void svg_text_count(double value, char *ret, size_t size); /* "12.5k" */
void svg_text_us(double us, char *ret, size_t size);       /* "1.3 ms" */
void svg_escape(FILE *to, const char *text);

#endif
