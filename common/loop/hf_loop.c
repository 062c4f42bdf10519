/* common/loop/hf_loop.c - see hf_loop.h. */
#include "hf_loop.h"

#include <assert.h>
#include <stdlib.h>

#include "hf_clock.h"

#define NOT_ARMED UINT64_MAX

void hf_loop_read_clocks(struct hf_loop *loop)
{
	loop->clock_ns = hf_clock_monotonic_ns();
	loop->clock_ms = loop->clock_ns / 1000000;
	loop->clock_wall_ms = hf_clock_wall_ms();
	loop->clock_fresh = loop->in_turn;
}

/* Its only work is to end the wait: the wheel is advanced in every turn anyway. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct hf_loop *loop = arg;

	loop->wake_ms = NOT_ARMED;
}

struct hf_loop *hf_loop_new(void)
{
	struct hf_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop->tasks_tail = &loop->tasks;
	loop->wake_ms = NOT_ARMED;
	loop->base = event_base_new();
	loop->wheel = hf_wheel_new(hf_clock_monotonic_ms());
	if (loop->base != NULL)
		loop->wake = event_new(loop->base, -1, 0, on_wake, loop);
	if (loop->wheel == NULL || loop->wake == NULL) {
		hf_loop_free(loop);
		return NULL;
	}
	return loop;
}

void hf_loop_free(struct hf_loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->tasks != NULL)
		hf_task_cancel(loop, loop->tasks);
	if (loop->wake != NULL)
		event_free(loop->wake);
	hf_wheel_free(loop->wheel);
	if (loop->base != NULL)
		event_base_free(loop->base);
	free(loop);
}

/* Make the coming wait end when the wheel needs it. Left alone while nothing changed, so a busy
 * loop pays for the comparison only. */
static void arm_wake(struct hf_loop *loop)
{
	uint64_t now_ms = hf_clock_monotonic_ms();
	uint64_t wait_ms = hf_wheel_wait_ms(loop->wheel, now_ms);
	uint64_t wake_ms = wait_ms == UINT64_MAX ? NOT_ARMED : now_ms + wait_ms;
	struct timeval wait = { .tv_sec = (time_t)(wait_ms / 1000),
				.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000) };

	if (wake_ms == loop->wake_ms)
		return;
	if (wake_ms == NOT_ARMED)
		event_del(loop->wake);
	else if (event_add(loop->wake, &wait) < 0)
		abort(); /* a timer that is lost for want of memory would hang the process */
	loop->wake_ms = wake_ms;
}

/* Tasks that these tasks schedule wait for the next turn, so one turn always ends. */
static void run_tasks(struct hf_loop *loop)
{
	struct hf_task *batch = loop->tasks;

	if (batch == NULL)
		return;
	batch->prev = &batch;
	loop->tasks = NULL;
	loop->tasks_tail = &loop->tasks;
	while (batch != NULL) {
		struct hf_task *task = batch;

		hf_task_cancel(loop, task);
		task->fn(task->ctx);
	}
}

static void run_hooks(struct hf_loop *loop)
{
	struct hf_turn_hook *hook = loop->hooks;

	while (hook != NULL) {
		loop->next_hook = hook->next; /* moved on by a removal from inside */
		hook->fn(hook->ctx);
		hook = loop->next_hook;
	}
	loop->next_hook = NULL;
}

void hf_loop_turn(struct hf_loop *loop, bool may_block)
{
	int flags = EVLOOP_ONCE;

	assert(!loop->in_turn);
	if (may_block && loop->tasks == NULL && !loop->stopping) {
		arm_wake(loop);
		flags |= EVLOOP_NO_EXIT_ON_EMPTY;
	} else {
		flags |= EVLOOP_NONBLOCK;
	}

	loop->in_turn = true;
	loop->clock_fresh = false;
	event_base_loop(loop->base, flags);
	hf_wheel_advance(loop->wheel, hf_loop_now_ms(loop));
	run_tasks(loop);
	run_hooks(loop);
	if (loop->turn_us != NULL)
		hf_histogram_record(loop->turn_us,
				    (hf_clock_monotonic_ns() - loop->clock_ns) / 1000);
	loop->in_turn = false;
	loop->clock_fresh = false;
}

void hf_loop_run(struct hf_loop *loop)
{
	while (!loop->stopping)
		hf_loop_turn(loop, true);
	loop->stopping = false; /* it may be run again */
}

void hf_loop_stop(struct hf_loop *loop)
{
	loop->stopping = true;
}

void hf_task_schedule(struct hf_loop *loop, struct hf_task *task)
{
	if (task->prev != NULL)
		return;
	task->next = NULL;
	task->prev = loop->tasks_tail;
	*loop->tasks_tail = task;
	loop->tasks_tail = &task->next;
}

void hf_task_cancel(struct hf_loop *loop, struct hf_task *task)
{
	if (task->prev == NULL)
		return;
	*task->prev = task->next;
	if (task->next != NULL)
		task->next->prev = task->prev;
	else if (loop->tasks_tail == &task->next) /* not so in the batch that run_tasks() took */
		loop->tasks_tail = task->prev;
	task->next = NULL;
	task->prev = NULL;
}

void hf_loop_add_hook(struct hf_loop *loop, struct hf_turn_hook *hook)
{
	struct hf_turn_hook **end = &loop->hooks;

	while (*end != NULL)
		end = &(*end)->next;
	hook->next = NULL;
	*end = hook;
}

void hf_loop_remove_hook(struct hf_loop *loop, struct hf_turn_hook *hook)
{
	struct hf_turn_hook **at = &loop->hooks;

	while (*at != NULL && *at != hook)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	*at = hook->next;
	if (loop->next_hook == hook)
		loop->next_hook = hook->next;
	hook->next = NULL;
}

void hf_loop_arm(struct hf_loop *loop, struct hf_timer *timer, uint64_t delay_ms)
{
	hf_wheel_arm(loop->wheel, timer, hf_loop_now_ms(loop) + delay_ms);
}
