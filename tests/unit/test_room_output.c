#include "test_base.h"

#include <errno.h>

#include "output.h"

struct fixture {
	struct pool pool;
	struct output output;
	uint8_t expected[1 << 20];
	size_t queued, written;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	pool_init(&f->pool);
	*state = f;
	return f == NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	output_clear(&f->pool, &f->output);
	assert_int_equal(f->pool.used, 0);
	pool_deinit(&f->pool);
	free(f);
	return 0;
}

static void push(struct fixture *f, size_t len)
{
	struct frame *frame = frame_new(NULL, len);

	assert_non_null(frame);
	for (size_t i = 0; i < len; i++)
		frame->data[i] = f->expected[f->queued + i] = (uint8_t)(f->queued + i * 31);
	f->queued += len;
	assert_int_equal(output_push(&f->pool, &f->output, frame), 0);
	frame_unref(frame);
}

/* Writes at most `n` bytes of what a writev of `pieces` would, and checks that they are the right
 * ones. */
static void write_some(struct fixture *f, size_t n, int pieces)
{
	struct iovec iov[16];
	int count = output_peek(&f->pool, &f->output, iov, pieces);
	size_t taken = 0;

	for (int i = 0; i < count && taken < n; i++) {
		size_t take = HF_MIN(iov[i].iov_len, n - taken);

		assert_memory_equal(iov[i].iov_base, f->expected + f->written, take);
		f->written += take;
		taken += take;
	}
	assert_int_equal(output_advance(&f->pool, &f->output, taken), 0);
	assert_int_equal(output_bytes(&f->pool, &f->output), f->queued - f->written);
}

static void test_one_frame_needs_no_ring(void **state)
{
	struct fixture *f = *state;

	push(f, 300);
	assert_int_equal(output_bytes(&f->pool, &f->output), 300);
	assert_int_equal(f->pool.used, 0);
	write_some(f, 300, 1);
	assert_true(output_empty(&f->output));
}

static void test_bytes_leave_in_order_however_writes_are_cut(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 1;

	for (int round = 0; round < 2000; round++) {
		seed = seed * 1103515245 + 12345;
		if (f->queued < sizeof(f->expected) - 1000 && seed >> 16 & 1)
			push(f, 1 + (seed >> 18) % 700);
		else
			write_some(f, (seed >> 18) % 1500, 1 + (int)(seed >> 29));
	}
	while (!output_empty(&f->output))
		write_some(f, 100000, 16);
	assert_int_equal(f->written, f->queued);
	assert_int_equal(f->pool.used, 0);
}

static void test_a_frame_is_shared_and_freed_by_the_last(void **state)
{
	struct fixture *f = *state;
	struct output other = { 0 };
	struct frame *frame = frame_new("shared", 6);

	assert_int_equal(output_push(&f->pool, &f->output, frame), 0);
	assert_int_equal(output_push(&f->pool, &other, frame), 0);
	assert_int_equal(frame->refs, 3);
	frame_unref(frame);
	assert_int_equal(output_advance(&f->pool, &other, 6), 0);
	assert_int_equal(f->output.first->refs, 1);
}

static void test_truncate_keeps_only_a_frame_that_is_half_out(void **state)
{
	struct fixture *f = *state;

	push(f, 100);
	push(f, 200);
	push(f, 300);
	write_some(f, 150, 16);
	assert_int_equal(output_truncate(&f->pool, &f->output), 1);
	assert_int_equal(output_bytes(&f->pool, &f->output), 150);
	assert_int_equal(output_advance(&f->pool, &f->output, 150), 0);
	assert_true(output_empty(&f->output));

	push(f, 100);
	push(f, 200);
	assert_int_equal(output_truncate(&f->pool, &f->output), 2);
	assert_true(output_empty(&f->output));
}

static void test_the_number_of_frames_has_a_bound(void **state)
{
	struct fixture *f = *state;
	struct frame *frame = frame_new("x", 1);
	int err = 0, queued = 0;

	while ((err = output_push(&f->pool, &f->output, frame)) == 0)
		queued++;
	assert_int_equal(err, -ENOBUFS);
	assert_int_equal(queued, 8193);
	assert_int_equal(output_bytes(&f->pool, &f->output), 8193);
	frame_unref(frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_frame_needs_no_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes_leave_in_order_however_writes_are_cut,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_frame_is_shared_and_freed_by_the_last, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_truncate_keeps_only_a_frame_that_is_half_out,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_number_of_frames_has_a_bound, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
