/* tests/unit/test_metrics.c - the Prometheus text of each kind of metric. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hf_metrics.h"

static int setup(void **state)
{
	*state = hf_metrics_new();
	return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	hf_metrics_free(*state);
	return 0;
}

static void assert_text(const struct hf_metrics *metrics, const char *expected)
{
	struct hf_buffer out = { 0 };

	assert_int_equal(hf_metrics_write(metrics, &out), 0);
	assert_int_equal(hf_buffer_append(&out, "", 1), 0);
	assert_string_equal((const char *)hf_buffer_data(&out), expected);
	hf_buffer_deinit(&out);
}

static void test_a_family_shows_its_cells_together(void **state)
{
	struct hf_metrics *m = *state;
	uint64_t *ok = hf_metrics_counter(m, "holdfast_calls_total", "result=\"ok\"", "Calls");
	int64_t *depth = hf_metrics_gauge(m, "holdfast_depth", NULL, "Depth");

	++*ok;
	*hf_metrics_counter(m, "holdfast_calls_total", "result=\"failed\"", "Calls") = 7;
	*depth = -3;
	assert_text(m, "# HELP holdfast_calls_total Calls\n"
		       "# TYPE holdfast_calls_total counter\n"
		       "holdfast_calls_total{result=\"ok\"} 1\n"
		       "holdfast_calls_total{result=\"failed\"} 7\n"
		       "# HELP holdfast_depth Depth\n"
		       "# TYPE holdfast_depth gauge\n"
		       "holdfast_depth -3\n");
}

static void test_the_same_name_and_labels_give_the_same_cell(void **state)
{
	struct hf_metrics *m = *state;
	char labels[] = "role=\"a\"";
	uint64_t *cell = hf_metrics_counter(m, "x_total", labels, "X");

	labels[6] = 'b'; /* labels are copied */
	assert_ptr_equal(hf_metrics_counter(m, "x_total", "role=\"a\"", "X"), cell);
	assert_ptr_not_equal(hf_metrics_counter(m, "x_total", labels, "X"), cell);
	assert_ptr_equal(hf_metrics_histogram(m, "y_seconds", NULL, "Y", 1000),
			 hf_metrics_histogram(m, "y_seconds", "", "Y", 1000));
}

static double read_value(void *ctx)
{
	return *(const double *)ctx;
}

static void test_functions_are_asked_when_somebody_reads(void **state)
{
	struct hf_metrics *m = *state;
	double gauge = 0.5, counter = 12.25;

	hf_metrics_gauge_fn(m, "g", NULL, "G", read_value, &gauge);
	hf_metrics_counter_fn(m, "c_total", NULL, "C", read_value, &counter);
	assert_text(m, "# HELP g G\n# TYPE g gauge\ng 0.5\n"
		       "# HELP c_total C\n# TYPE c_total counter\nc_total 12.25\n");
	gauge = INFINITY;
	counter = NAN;
	assert_text(m, "# HELP g G\n# TYPE g gauge\ng +Inf\n"
		       "# HELP c_total C\n# TYPE c_total counter\nc_total NaN\n");
}

static void test_help_text_is_escaped(void **state)
{
	hf_metrics_gauge(*state, "g", NULL, "one\\two\nthree");
	assert_text(*state, "# HELP g one\\\\two\\nthree\n# TYPE g gauge\ng 0\n");
}

static void test_a_histogram_counts_up_to_all(void **state)
{
	struct hf_metrics *m = *state;
	struct hf_histogram *h = hf_metrics_histogram(m, "t_seconds", "k=\"v\"", "T", 1000000);
	struct hf_buffer out = { 0 };
	const char *text;

	hf_histogram_record(h, 50);        /* 50 us */
	hf_histogram_record(h, 2000);      /* 2 ms */
	hf_histogram_record(h, 120000000); /* 2 min: above the last edge */
	assert_int_equal(hf_metrics_write(m, &out), 0);
	assert_int_equal(hf_buffer_append(&out, "", 1), 0);
	text = (const char *)hf_buffer_data(&out);
	assert_non_null(strstr(text, "# TYPE t_seconds histogram\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{k=\"v\",le=\"0.0001\"} 1\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{k=\"v\",le=\"0.001\"} 1\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{k=\"v\",le=\"0.0025\"} 2\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{k=\"v\",le=\"60\"} 2\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{k=\"v\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "t_seconds_sum{k=\"v\"} 120.00205\n"));
	assert_non_null(strstr(text, "t_seconds_count{k=\"v\"} 3\n"));
	hf_buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_family_shows_its_cells_together),
		TEST(test_the_same_name_and_labels_give_the_same_cell),
		TEST(test_functions_are_asked_when_somebody_reads),
		TEST(test_help_text_is_escaped),
		TEST(test_a_histogram_counts_up_to_all),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
