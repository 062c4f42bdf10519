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
	assert_int_equal(output_push(&f->pool, &f->output, frame, 0), 0);
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

	assert_int_equal(output_push(&f->pool, &f->output, frame, 0), 0);
	assert_int_equal(output_push(&f->pool, &other, frame, 0), 0);
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

	while ((err = output_push(&f->pool, &f->output, frame, 0)) == 0)
		queued++;
	assert_int_equal(err, -ENOBUFS);
	assert_int_equal(queued, 8193);
	assert_int_equal(output_bytes(&f->pool, &f->output), 8193);
	frame_unref(frame);
}

/* A frame of one byte that names it. */
static struct frame *named(char name, enum frame_kind kind, uint64_t collapse)
{
	struct frame *frame = frame_new(&name, 1);

	assert_non_null(frame);
	frame->kind = (uint8_t)kind;
	frame->collapse = collapse;
	frame->message_id = (uint64_t)name;
	return frame;
}

static void queue_frame(struct fixture *f, struct frame *frame, size_t pinned)
{
	assert_int_equal(output_push(&f->pool, &f->output, frame, pinned), 0);
	frame_unref(frame);
}

static void queue_message(struct fixture *f, char name, bool high)
{
	queue_frame(f, named(name, high ? FRAME_HIGH : FRAME_MESSAGE, 0), 0);
}

/* What will be written, in order, is `expected`. */
static void check_order(struct fixture *f, const char *expected)
{
	struct iovec iov[64];
	int count = output_peek(&f->pool, &f->output, iov, 64);
	char found[4096];
	size_t len = 0;

	for (int i = 0; i < count; i++) {
		memcpy(found + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	found[len] = '\0';
	assert_string_equal(found, expected);
	assert_int_equal(output_bytes(&f->pool, &f->output), len);
}

static void test_high_ones_pass_normal_ones_and_keep_their_order(void **state)
{
	struct fixture *f = *state;

	queue_message(f, 'a', false);
	queue_message(f, 'b', false);
	queue_message(f, 'X', true);
	check_order(f, "Xab");
	queue_message(f, 'Y', true);
	queue_message(f, 'c', false);
	check_order(f, "XYabc");
	assert_int_equal(output_advance(&f->pool, &f->output, 3), 0);
	check_order(f, "bc");
	for (char name = 'd'; name <= 'z'; name++)
		queue_message(f, name, false);
	queue_message(f, 'Z', true);
	check_order(f, "Zbcdefghijklmnopqrstuvwxyz");
	assert_int_equal(output_advance(&f->pool, &f->output, 26), 0);
	assert_int_equal(f->pool.used, 0);
}

static void test_nothing_passes_a_control_frame(void **state)
{
	struct fixture *f = *state;

	queue_message(f, 'a', false);
	queue_frame(f, named('!', FRAME_CONTROL, 0), 0);
	queue_message(f, 'b', false);
	queue_message(f, 'X', true);
	check_order(f, "a!Xb");
}

static void test_a_frame_that_is_half_out_is_neither_passed_nor_taken(void **state)
{
	struct fixture *f = *state;
	struct frame *frame = frame_new("0123456789", 10);

	frame->kind = FRAME_MESSAGE;
	frame->collapse = 5;
	queue_frame(f, frame, 0);
	assert_int_equal(output_advance(&f->pool, &f->output, 4), 0);
	queue_message(f, 'a', false);
	queue_message(f, 'X', true);
	check_order(f, "456789Xa");
	assert_null(output_take(&f->pool, &f->output, 5, 0));
}

static void test_pinned_bytes_keep_their_place(void **state)
{
	struct fixture *f = *state;

	for (char name = 'a'; name <= 'f'; name++)
		queue_frame(f, named(name, FRAME_MESSAGE, (uint64_t)name), 3);
	queue_frame(f, named('X', FRAME_HIGH, 0), 3);
	check_order(f, "abcXdef");
	assert_null(output_take(&f->pool, &f->output, 'c', 3));
	assert_null(output_take(&f->pool, &f->output, 'f', 100));
	frame_unref(output_take(&f->pool, &f->output, 'd', 3));
	check_order(f, "abcXef");
}

static void test_a_waiting_frame_is_taken_by_its_collapse_key(void **state)
{
	struct fixture *f = *state;
	struct frame *frame;

	for (char name = 'a'; name <= 'e'; name++)
		queue_frame(f, named(name, FRAME_MESSAGE, (uint64_t)name), 0);
	assert_null(output_take(&f->pool, &f->output, 'z', 0));
	frame = output_take(&f->pool, &f->output, 'a', 0);
	assert_int_equal(frame->message_id, 'a');
	assert_int_equal(frame->refs, 1);
	frame_unref(frame);
	check_order(f, "bcde");
	frame_unref(output_take(&f->pool, &f->output, 'd', 0));
	check_order(f, "bce");
	frame_unref(output_take(&f->pool, &f->output, 'e', 0));
	frame_unref(output_take(&f->pool, &f->output, 'b', 0));
	frame_unref(output_take(&f->pool, &f->output, 'c', 0));
	assert_true(output_empty(&f->output));
	assert_int_equal(f->pool.used, 0);
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
		cmocka_unit_test_setup_teardown(
			test_high_ones_pass_normal_ones_and_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_passes_a_control_frame, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_frame_that_is_half_out_is_neither_passed_nor_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pinned_bytes_keep_their_place, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_waiting_frame_is_taken_by_its_collapse_key,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
