/* tools/bench/svg.h - line charts as inline SVG, for a page that needs nothing else: no script, so
 * what a pointer shows is the titles of strips over the points. */
#ifndef SVG_H
#define SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SVG_SERIES_MAX 6 /* as many colors as the page has */

struct svg_series {
	const char *name;
	const double *x, *y;
	size_t count;
	bool dashed, area;
};

struct svg_axis {
	const char *title;
	/* How a value is written; NULL: plain numbers with k and M. */
	void (*text)(double value, char *ret, size_t size);
	bool log;
	double low, step; /* 0: found by the values */
};

struct svg_chart {
	const char *title, *note; /* the note says what is to be seen, in a line; or NULL */
	struct svg_axis x, y;
	const struct svg_series *series;
	size_t series_count;
	const double *marks; /* x of vertical lines */
	size_t mark_count;
	bool strips; /* all series have the same x: a pointer shows their values there */
};

/* Nothing, when no series has a point. */
void svg_draw(FILE *to, const struct svg_chart *chart);
void svg_text_count(double value, char *ret, size_t size); /* "12.5k" */
void svg_text_us(double us, char *ret, size_t size);       /* "1.3 ms" */
void svg_text_clock(double s, char *ret, size_t size);     /* "1:05" */
void svg_escape(FILE *to, const char *text);

#endif
