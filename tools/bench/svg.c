#include "svg.h"

#include <math.h>
#include <string.h>

#define WIDTH      640.0
#define HEIGHT     260.0
#define LEFT       64.0
#define RIGHT      12.0
#define TOP        12.0
#define BOTTOM     34.0
#define POINTS_MAX 1000 /* of one line: more would not be seen */

struct scale {
	double low, high;
	bool log;
};

void svg_escape(FILE *to, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*text, to);
		}
	}
}

void svg_text_count(double value, char *ret, size_t size)
{
	if (fabs(value) >= 1e6)
		snprintf(ret, size, "%.4gM", value / 1e6);
	else if (fabs(value) >= 1e4)
		snprintf(ret, size, "%.4gk", value / 1e3);
	else
		snprintf(ret, size, "%.4g", value);
}

void svg_text_us(double us, char *ret, size_t size)
{
	if (us >= 1e6)
		snprintf(ret, size, "%.3g s", us / 1e6);
	else if (us >= 1e3)
		snprintf(ret, size, "%.3g ms", us / 1e3);
	else
		snprintf(ret, size, "%.3g us", us);
}

static double place(const struct scale *scale, double value)
{
	if (!scale->log)
		return (value - scale->low) / (scale->high - scale->low);
	return log(fmax(value, scale->low) / scale->low) / log(scale->high / scale->low);
}

static double at_x(const struct scale *scale, double x)
{
	return LEFT + place(scale, x) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct scale *scale, double y)
{
	return HEIGHT - BOTTOM - place(scale, y) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, for about `count` steps of the range. */
static double step_of(double range, int count)
{
	double raw = range / count, power = pow(10, floor(log10(raw)));

	if (raw / power > 5)
		return 10 * power;
	if (raw / power > 2)
		return 5 * power;
	return raw / power > 1 ? 2 * power : power;
}

static void find_scales(const struct svg_chart *chart, struct scale *x, struct scale *y)
{
	*x = (struct scale){ .low = INFINITY, .high = -INFINITY };
	*y = (struct scale){ .low = chart->y_log ? INFINITY : 0,
			     .high = -INFINITY,
			     .log = chart->y_log };
	for (size_t i = 0; i < chart->series_count; i++) {
		const struct svg_series *series = &chart->series[i];

		for (size_t k = 0; k < series->count; k++) {
			x->low = fmin(x->low, series->x[k]);
			x->high = fmax(x->high, series->x[k]);
			y->high = fmax(y->high, series->y[k]);
			if (series->y[k] > 0)
				y->low = fmin(y->low, series->y[k]);
		}
	}
	if (!(x->high > x->low))
		x->high = x->low + 1;
	if (chart->y_log) {
		y->low = isfinite(y->low) ? pow(10, floor(log10(y->low))) : 1;
		y->high = pow(10, ceil(log10(fmax(y->high, y->low * 1.01))));
	} else {
		double step = step_of(fmax(y->high, 1e-9), 5);

		y->high = fmax(ceil(y->high / step), 1) * step;
	}
}

static void grid_line(FILE *to, const struct svg_chart *chart, const struct scale *scale, double y)
{
	char text[32];

	(chart->y_text != NULL ? chart->y_text : svg_text_count)(y, text, sizeof(text));
	fprintf(to,
		"<line class=g x1=%.1f x2=%.1f y1=%.1f y2=%.1f /><text class=l x=%.1f y=%.1f "
		"text-anchor=end>%s</text>",
		LEFT, WIDTH - RIGHT, at_y(scale, y), at_y(scale, y), LEFT - 6, at_y(scale, y) + 4,
		text);
}

static void draw_axes(FILE *to, const struct svg_chart *chart, const struct scale *x,
		      const struct scale *y)
{
	char text[32];
	double step;

	if (y->log) {
		for (double value = y->low; value <= y->high * 1.001; value *= 10)
			grid_line(to, chart, y, value);
	} else {
		step = step_of(y->high, 5);
		for (double value = 0; value <= y->high * 1.001; value += step)
			grid_line(to, chart, y, value);
	}
	step = step_of(x->high - x->low, 8);
	for (double value = ceil(x->low / step) * step; value <= x->high + step / 1000;
	     value += step) {
		(chart->x_text != NULL ? chart->x_text : svg_text_count)(value, text, sizeof(text));
		fprintf(to, "<text class=l x=%.1f y=%.1f text-anchor=middle>%s</text>",
			at_x(x, value), HEIGHT - BOTTOM + 16, text);
	}
	fprintf(to, "<text class=l x=%.1f y=%.1f text-anchor=end>%s</text>", WIDTH - RIGHT,
		HEIGHT - 3, chart->x_title);
}

static void draw_series(FILE *to, const struct svg_series *series, size_t colour,
			const struct scale *x, const struct scale *y)
{
	size_t stride = series->count / POINTS_MAX + 1;

	fprintf(to, "<polyline class=\"s c%zu\" points=\"", colour);
	for (size_t i = 0; i < series->count; i += stride) {
		size_t highest = i; /* a peak is never left out */

		for (size_t k = i; k < i + stride && k < series->count; k++) {
			if (series->y[k] > series->y[highest])
				highest = k;
		}
		if (y->log && series->y[highest] <= 0)
			continue;
		fprintf(to, "%.1f,%.1f ", at_x(x, series->x[highest]), at_y(y, series->y[highest]));
	}
	fputs("\"/>", to);
}

void svg_draw(FILE *to, const struct svg_chart *chart)
{
	struct scale x, y;
	bool empty = true;

	for (size_t i = 0; i < chart->series_count; i++)
		empty = empty && chart->series[i].count == 0;
	if (empty)
		return;
	find_scales(chart, &x, &y);
	fputs("<figure><figcaption>", to);
	svg_escape(to, chart->title);
	fputs("<span class=legend>", to);
	for (size_t i = 0; chart->series_count > 1 && i < chart->series_count; i++) {
		fprintf(to, "<span class=k%zu>&#9632;</span> ", i);
		svg_escape(to, chart->series[i].name);
		fputc(' ', to);
	}
	fprintf(to, "</span></figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=img>", WIDTH, HEIGHT);
	draw_axes(to, chart, &x, &y);
	for (size_t i = 0; i < chart->series_count; i++)
		draw_series(to, &chart->series[i], i, &x, &y);
	fputs("</svg></figure>\n", to);
}
