#include "svg.h"

#include <math.h>
#include <string.h>

#define WIDTH      640.0
#define HEIGHT     270.0
#define LEFT       66.0
#define RIGHT      14.0
#define TOP        12.0
#define BOTTOM     38.0
#define POINTS_MAX 1000 /* of one line: more would not be seen */
#define STRIPS_MAX 400

struct scale {
	double low, high;
	bool log;
};

void svg_escape(FILE *to, const char *text)
{
	for (; text != NULL && *text != '\0'; text++) {
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
		case '\'':
			fputs("&#39;", to);
			break;
		default:
			fputc(*text, to);
		}
	}
}

void svg_text_count(double value, char *ret, size_t size)
{
	if (fabs(value) >= 1e9)
		snprintf(ret, size, "%.4gG", value / 1e9);
	else if (fabs(value) >= 1e6)
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
		snprintf(ret, size, "%.3g \xc2\xb5s", us);
}

void svg_text_clock(double s, char *ret, size_t size)
{
	long seconds = lround(s);

	if (seconds >= 3600)
		snprintf(ret, size, "%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60,
			 seconds % 60);
	else
		snprintf(ret, size, "%ld:%02ld", seconds / 60, seconds % 60);
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

/* As step_of(), for seconds: 15 s and 5 min read better than 20 s and 200 s. */
static double clock_step_of(double range, int count)
{
	static const double steps[] = { 1,   2,   5,   10,   15,   30,   60,
					120, 300, 600, 1200, 1800, 3600, 7200 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (range / steps[i] <= count)
			return steps[i];
	}
	return 3600 * step_of(range / 3600, count);
}

static void find_scales(const struct svg_chart *chart, struct scale *x, struct scale *y)
{
	*x = (struct scale){ .low = INFINITY, .high = -INFINITY, .log = chart->x.log };
	*y = (struct scale){ .low = chart->y.log ? INFINITY : 0,
			     .high = -INFINITY,
			     .log = chart->y.log };
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
		x->high = x->log ? x->low * 10 : x->low + 1;
	if (chart->y.log) {
		y->low = isfinite(y->low) ? pow(10, floor(log10(y->low))) : 1;
		y->high = pow(10, ceil(log10(fmax(y->high, y->low * 1.01))));
		if (chart->y.low > 0)
			y->low = chart->y.low;
	} else {
		double step = step_of(fmax(y->high, 1e-9), 5);

		y->high = fmax(ceil(y->high / step), 1) * step;
		y->low = 0;
	}
}

static void value_text(const struct svg_axis *axis, double value, char text[32])
{
	(axis->text != NULL ? axis->text : svg_text_count)(value, text, 32);
}

static void grid_y(FILE *to, const struct svg_chart *chart, const struct scale *scale, double y)
{
	char text[32];

	value_text(&chart->y, y, text);
	fprintf(to,
		"<line class=g x1=%.1f x2=%.1f y1=%.1f y2=%.1f /><text class=l x=%.1f y=%.1f "
		"text-anchor=end>%s</text>",
		LEFT, WIDTH - RIGHT, at_y(scale, y), at_y(scale, y), LEFT - 6, at_y(scale, y) + 4,
		text);
}

static void grid_x(FILE *to, const struct svg_chart *chart, const struct scale *scale, double x)
{
	char text[32];

	value_text(&chart->x, x, text);
	fprintf(to, "<text class=l x=%.1f y=%.1f text-anchor=middle>%s</text>", at_x(scale, x),
		HEIGHT - BOTTOM + 16, text);
}

static void draw_axes(FILE *to, const struct svg_chart *chart, const struct scale *x,
		      const struct scale *y)
{
	double step;

	if (y->log) {
		for (double value = pow(10, ceil(log10(y->low))); value <= y->high * 1.001;
		     value *= 10)
			grid_y(to, chart, y, value);
	} else {
		step = step_of(y->high, 5);
		for (double value = 0; value <= y->high * 1.001; value += step)
			grid_y(to, chart, y, value);
	}
	if (x->log) {
		for (double value = pow(10, ceil(log10(x->low) - 1e-9)); value <= x->high * 1.001;
		     value *= 10)
			grid_x(to, chart, x, value);
	} else {
		step = chart->x.step > 0                 ? chart->x.step
		       : chart->x.text == svg_text_clock ? clock_step_of(x->high - x->low, 8)
							 : step_of(x->high - x->low, 8);
		for (double value = ceil(x->low / step) * step; value <= x->high + step / 1000;
		     value += step)
			grid_x(to, chart, x, value);
	}
	fprintf(to, "<text class=l x=%.1f y=%.1f text-anchor=end>", WIDTH - RIGHT, HEIGHT - 5);
	svg_escape(to, chart->x.title);
	fputs("</text>", to);
}

/* Returns how many points there were. */
static size_t draw_points(FILE *to, const struct svg_series *series, const struct scale *x,
			  const struct scale *y, double ret_x[2])
{
	size_t stride = series->count / POINTS_MAX + 1, drawn = 0;

	for (size_t i = 0; i < series->count; i += stride) {
		size_t highest = i; /* a peak is never left out */

		for (size_t k = i; k < i + stride && k < series->count; k++) {
			if (series->y[k] > series->y[highest])
				highest = k;
		}
		if (y->log && series->y[highest] <= 0)
			continue;
		ret_x[drawn++ > 0] = at_x(x, series->x[highest]);
		fprintf(to, "%.1f,%.1f ", at_x(x, series->x[highest]), at_y(y, series->y[highest]));
	}
	return drawn;
}

static void draw_series(FILE *to, const struct svg_series *series, size_t color,
			const struct scale *x, const struct scale *y)
{
	double ends[2] = { 0 };
	size_t drawn;

	if (series->area) {
		fprintf(to, "<polygon class=\"a f%zu\" points=\"", color);
		drawn = draw_points(to, series, x, y, ends);
		fprintf(to, "%.1f,%.1f %.1f,%.1f\"/>", ends[drawn > 1], HEIGHT - BOTTOM, ends[0],
			HEIGHT - BOTTOM);
	}
	fprintf(to, "<polyline class=\"s c%zu%s\" points=\"", color, series->dashed ? " d" : "");
	drawn = draw_points(to, series, x, y, ends);
	fputs("\"/>", to);
	if (drawn == 1) /* a line of one point is none */
		fprintf(to, "<circle class=\"p f%zu\" cx=%.1f cy=%.1f r=3 />", color, ends[0],
			at_y(y, series->y[0]));
}

static void draw_strips(FILE *to, const struct svg_chart *chart, const struct scale *x)
{
	const struct svg_series *first = &chart->series[0];
	size_t stride = first->count / STRIPS_MAX + 1;
	double width = (WIDTH - LEFT - RIGHT) / (double)(first->count / stride + 1);
	char text[32];

	for (size_t k = 0; k < first->count; k += stride) {
		value_text(&chart->x, first->x[k], text);
		fprintf(to, "<rect class=h x=%.1f y=%.1f width=%.1f height=%.1f><title>%s",
			at_x(x, first->x[k]) - width / 2, TOP, width, HEIGHT - TOP - BOTTOM, text);
		for (size_t i = 0; i < chart->series_count; i++) {
			value_text(&chart->y, chart->series[i].y[k], text);
			fputs("\n", to);
			svg_escape(to, chart->series[i].name);
			fprintf(to, ": %s", text);
		}
		fputs("</title></rect>", to);
	}
}

static void draw_legend(FILE *to, const struct svg_chart *chart)
{
	fputs("<span class=legend>", to);
	for (size_t i = 0; chart->series_count > 1 && i < chart->series_count; i++) {
		fprintf(to, "<span><i class=\"k%zu%s\"></i>", i,
			chart->series[i].dashed ? " d" : "");
		svg_escape(to, chart->series[i].name);
		fputs("</span>", to);
	}
	fputs("</span>", to);
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
	fputs("<figure><figcaption><b>", to);
	svg_escape(to, chart->title);
	fputs("</b>", to);
	draw_legend(to, chart);
	if (chart->note != NULL) {
		fputs("<small>", to);
		svg_escape(to, chart->note);
		fputs("</small>", to);
	}
	fprintf(to, "</figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"", WIDTH,
		HEIGHT);
	svg_escape(to, chart->title);
	fputs("\">", to);
	draw_axes(to, chart, &x, &y);
	for (size_t i = 0; i < chart->mark_count; i++)
		fprintf(to, "<line class=m x1=%.1f x2=%.1f y1=%.1f y2=%.1f />",
			at_x(&x, chart->marks[i]), at_x(&x, chart->marks[i]), TOP, HEIGHT - BOTTOM);
	for (size_t i = chart->series_count; i-- > 0;) /* the first one on top */
		draw_series(to, &chart->series[i], i, &x, &y);
	if (chart->strips)
		draw_strips(to, chart, &x);
	fputs("</svg></figure>\n", to);
}
