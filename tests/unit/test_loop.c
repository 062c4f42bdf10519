/* tests/unit/test_loop.c - what a turn of the loop promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_clock.h"
#include "hf_loop.h"

/* What happened, in order, as letters. */
struct journal {
	struct hf_loop *loop;
	char letters[32];
	size_t len;
	struct hf_task task, other;
	struct hf_turn_hook hooks[3];
	struct hf_timer timer;
	uint64_t seen_ms;
};

static void note(struct journal *j, char letter)
{
	assert_true(j->len + 1 < sizeof(j->letters));
	j->letters[j->len++] = letter;
	j->letters[j->len] = '\0';
}

static int setup(void **state)
{
	static struct journal j;

	j = (struct journal){ .loop = hf_loop_new() };
	*state = &j;
	return j.loop != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	hf_loop_free(((struct journal *)*state)->loop);
	return 0;
}

static void note_task(void *ctx)
{
	note(ctx, 't');
}

static void note_hook(void *ctx)
{
	note(ctx, 'h');
}

static void note_second_hook(void *ctx)
{
	note(ctx, 'i');
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct journal *j = ctx;

	note(j, 'w');
	j->seen_ms = hf_loop_now_ms(j->loop);
	hf_task_schedule(j->loop, &j->task);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct journal *j = ctx;
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
	note(j, 'e');
	hf_task_schedule(j->loop, &j->task);
	hf_task_schedule(j->loop, &j->task);
}

static void test_a_turn_is_events_timers_tasks_hooks(void **state)
{
	struct journal *j = *state;
	struct event *ev;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	ev = event_new(j->loop->base, fds[0], EV_READ | EV_PERSIST, on_readable, j);
	assert_int_equal(event_add(ev, NULL), 0);
	hf_task_init(&j->task, note_task, j);
	hf_timer_init(&j->timer, on_timer, j);
	j->hooks[0] = (struct hf_turn_hook){ .fn = note_hook, .ctx = j };
	j->hooks[1] = (struct hf_turn_hook){ .fn = note_second_hook, .ctx = j };
	hf_loop_add_hook(j->loop, &j->hooks[0]);
	hf_loop_add_hook(j->loop, &j->hooks[1]);

	hf_loop_arm(j->loop, &j->timer, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	while (j->len == 0 || strchr(j->letters, 'w') == NULL || strchr(j->letters, 'e') == NULL) {
		j->len = 0;
		if (!hf_timer_armed(&j->timer))
			hf_loop_arm(j->loop, &j->timer, 0);
		hf_loop_turn(j->loop, true);
		assert_int_equal(write(fds[1], "x", 1), 1);
	}
	assert_string_equal(j->letters, "ewthi");

	event_free(ev);
	close(fds[0]);
	close(fds[1]);
}

static void test_the_clock_is_read_after_the_wait(void **state)
{
	struct journal *j = *state;
	uint64_t before_ms = hf_clock_monotonic_ms();

	hf_task_init(&j->task, note_task, j);
	hf_timer_init(&j->timer, on_timer, j);
	hf_loop_arm(j->loop, &j->timer, 30);
	while (j->seen_ms == 0)
		hf_loop_turn(j->loop, true);
	assert_true(j->seen_ms >= before_ms + 30);
	assert_true(j->seen_ms <= hf_clock_monotonic_ms());
}

static void hold_the_clock(void *ctx)
{
	struct journal *j = ctx;
	uint64_t first_ms = hf_loop_now_ms(j->loop), wall_ms = hf_loop_wall_ms(j->loop);

	while (hf_clock_monotonic_ms() <= first_ms + 1)
		;
	assert_int_equal(hf_loop_now_ms(j->loop), first_ms);
	assert_int_equal(hf_loop_wall_ms(j->loop), wall_ms);
	note(j, 'c');
}

static void test_the_clock_stands_still_within_a_turn(void **state)
{
	struct journal *j = *state;

	hf_task_init(&j->task, hold_the_clock, j);
	hf_task_schedule(j->loop, &j->task);
	hf_loop_turn(j->loop, true);
	assert_string_equal(j->letters, "c");
}

static void schedule_both(void *ctx)
{
	struct journal *j = ctx;

	note(j, 's');
	hf_task_schedule(j->loop, &j->other);
}

static void test_a_task_of_a_task_runs_in_the_next_turn_without_waiting(void **state)
{
	struct journal *j = *state;

	hf_task_init(&j->task, schedule_both, j);
	hf_task_init(&j->other, note_task, j);
	hf_task_schedule(j->loop, &j->task);
	hf_loop_turn(j->loop, true);
	assert_string_equal(j->letters, "s");
	hf_loop_turn(j->loop, true); /* would hang if it waited */
	assert_string_equal(j->letters, "st");
}

static void test_a_task_of_a_hook_runs_in_the_next_turn_without_waiting(void **state)
{
	struct journal *j = *state;

	hf_task_init(&j->other, note_task, j);
	j->hooks[0] = (struct hf_turn_hook){ .fn = schedule_both, .ctx = j };
	hf_loop_add_hook(j->loop, &j->hooks[0]);
	hf_loop_turn(j->loop, false);
	assert_string_equal(j->letters, "s");
	hf_loop_turn(j->loop, true);
	assert_string_equal(j->letters, "sts");
}

static void cancel_other(void *ctx)
{
	struct journal *j = ctx;

	note(j, 'x');
	hf_task_cancel(j->loop, &j->other);
}

static void test_a_task_can_cancel_one_of_the_same_turn(void **state)
{
	struct journal *j = *state;

	hf_task_init(&j->task, cancel_other, j);
	hf_task_init(&j->other, note_task, j);
	hf_task_schedule(j->loop, &j->task);
	hf_task_schedule(j->loop, &j->other);
	hf_loop_turn(j->loop, true);
	assert_string_equal(j->letters, "x");

	/* and the list is sound after it */
	hf_task_cancel(j->loop, &j->other);
	hf_task_schedule(j->loop, &j->other);
	hf_task_schedule(j->loop, &j->task);
	hf_loop_turn(j->loop, true);
	assert_string_equal(j->letters, "xtx");
}

static void remove_two_hooks(void *ctx)
{
	struct journal *j = ctx;

	note(j, 'r');
	hf_loop_remove_hook(j->loop, &j->hooks[0]);
	hf_loop_remove_hook(j->loop, &j->hooks[1]);
}

static void test_a_hook_can_remove_itself_and_the_next(void **state)
{
	struct journal *j = *state;

	j->hooks[0] = (struct hf_turn_hook){ .fn = remove_two_hooks, .ctx = j };
	j->hooks[1] = (struct hf_turn_hook){ .fn = note_hook, .ctx = j };
	j->hooks[2] = (struct hf_turn_hook){ .fn = note_second_hook, .ctx = j };
	for (size_t i = 0; i < 3; i++)
		hf_loop_add_hook(j->loop, &j->hooks[i]);
	hf_loop_turn(j->loop, false);
	hf_loop_turn(j->loop, false);
	assert_string_equal(j->letters, "rii");
}

static void stop(void *ctx)
{
	struct journal *j = ctx;

	note(j, 'q');
	hf_loop_stop(j->loop);
}

static void test_stop_ends_the_run_at_the_end_of_the_turn(void **state)
{
	struct journal *j = *state;

	hf_task_init(&j->task, stop, j);
	hf_task_init(&j->other, note_task, j);
	j->hooks[0] = (struct hf_turn_hook){ .fn = note_hook, .ctx = j };
	hf_loop_add_hook(j->loop, &j->hooks[0]);
	hf_task_schedule(j->loop, &j->task);
	hf_task_schedule(j->loop, &j->other);
	hf_loop_run(j->loop);
	assert_string_equal(j->letters, "qth");
}

static void test_turns_are_measured_without_their_wait(void **state)
{
	struct journal *j = *state;
	static struct hf_histogram turn_us;

	j->loop->turn_us = &turn_us;
	hf_task_init(&j->task, note_task, j);
	hf_timer_init(&j->timer, on_timer, j);
	hf_loop_arm(j->loop, &j->timer, 200);
	while (j->seen_ms == 0)
		hf_loop_turn(j->loop, true);
	assert_true(turn_us.count > 0);
	assert_true(turn_us.max < 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_turn_is_events_timers_tasks_hooks),
		TEST(test_the_clock_is_read_after_the_wait),
		TEST(test_the_clock_stands_still_within_a_turn),
		TEST(test_a_task_of_a_task_runs_in_the_next_turn_without_waiting),
		TEST(test_a_task_of_a_hook_runs_in_the_next_turn_without_waiting),
		TEST(test_a_task_can_cancel_one_of_the_same_turn),
		TEST(test_a_hook_can_remove_itself_and_the_next),
		TEST(test_stop_ends_the_run_at_the_end_of_the_turn),
		TEST(test_turns_are_measured_without_their_wait),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
