#include "test_base.h"

#include "hf_hash.h"
#include "hf_wheel.h"

/* Where the wheel of a test begins: a time at which slots of several levels end. */
#define START ((1ull << 36) - 3)

struct probe {
	struct hf_timer timer;
	struct hf_wheel *wheel;
	uint64_t now_ms; /* of the advance that runs */
	uint64_t fired_ms;
	unsigned fired;
	struct probe *other;
	uint64_t again_ms;
};

static void on_fire(struct hf_timer *timer, void *ctx)
{
	struct probe *probe = ctx;

	assert_false(hf_timer_armed(timer));
	probe->fired++;
	probe->fired_ms = probe->now_ms;
}

static void probe_init(struct probe *probe, struct hf_wheel *wheel, hf_timer_cb cb)
{
	*probe = (struct probe){ .wheel = wheel };
	hf_timer_init(&probe->timer, cb, probe);
}

static void advance(struct probe *probe, uint64_t now_ms)
{
	probe->now_ms = now_ms;
	hf_wheel_advance(probe->wheel, now_ms);
}

static const uint64_t distances[] = { 1,          2,
				      62,         63,
				      64,         65,
				      127,        128,
				      255,        256,
				      4095,       4096,
				      4097,       5000,
				      30000,      65535,
				      262143,     262144,
				      262145,     3600000,
				      86400000,   1u << 24,
				      1u << 30,   (1ull << 36) - 1,
				      1ull << 36, (1ull << 36) + 1,
				      5ull << 36 };

static void test_a_timer_fires_at_its_time_and_not_before(void **state)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(distances); i++) {
		struct hf_wheel *wheel = hf_wheel_new(START);
		uint64_t due = START + distances[i];
		struct probe probe;

		probe_init(&probe, wheel, on_fire);
		hf_wheel_arm(wheel, &probe.timer, due);
		assert_true(hf_timer_armed(&probe.timer));
		advance(&probe, START);
		advance(&probe, START + distances[i] / 2);
		advance(&probe, due - 1);
		assert_int_equal(probe.fired, 0);
		advance(&probe, due);
		assert_int_equal(probe.fired, 1);
		advance(&probe, due + (1ull << 37));
		assert_int_equal(probe.fired, 1);
		hf_wheel_free(wheel);
	}
}

static void test_sleeping_for_the_wait_wakes_up_in_time(void **state)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(distances); i++) {
		struct hf_wheel *wheel = hf_wheel_new(START);
		uint64_t now = START, due = START + distances[i];
		struct probe probe;
		int wakes = 0;

		probe_init(&probe, wheel, on_fire);
		hf_wheel_arm(wheel, &probe.timer, due);
		while (probe.fired == 0) {
			uint64_t wait = hf_wheel_wait_ms(wheel, now);

			assert_in_range(wait, 1, due - now);
			now += wait;
			advance(&probe, now);
			wakes++;
		}
		assert_int_equal(probe.fired_ms, due);
		assert_true(wakes <= 12); /* not once for each millisecond */
		hf_wheel_free(wheel);
	}
}

static void test_the_wait_of_an_empty_wheel_is_endless(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probe;

	assert_true(hf_wheel_wait_ms(wheel, START) == UINT64_MAX);
	probe_init(&probe, wheel, on_fire);
	for (size_t i = 0; i < HF_ARRAY_LEN(distances); i++) {
		hf_wheel_arm(wheel, &probe.timer, START + distances[i]);
		assert_true(hf_wheel_wait_ms(wheel, START) <= distances[i]);
		hf_wheel_disarm(&probe.timer);
		assert_true(hf_wheel_wait_ms(wheel, START) == UINT64_MAX);
	}
	hf_wheel_arm(wheel, &probe.timer, UINT64_MAX);
	assert_true(hf_wheel_wait_ms(wheel, START) > 1ull << 30);
	hf_wheel_free(wheel);
}

static void test_an_overdue_timer_fires_at_the_next_advance(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probe;

	probe_init(&probe, wheel, on_fire);
	hf_wheel_arm(wheel, &probe.timer, START);
	assert_int_equal(hf_wheel_wait_ms(wheel, START), 0);
	advance(&probe, START);
	assert_int_equal(probe.fired, 1);

	hf_wheel_arm(wheel, &probe.timer, 0);
	advance(&probe, START - 1); /* time never goes back */
	assert_int_equal(probe.fired, 2);
	hf_wheel_arm(wheel, &probe.timer, START + 10);
	assert_int_equal(hf_wheel_wait_ms(wheel, START + 20), 0);
	hf_wheel_free(wheel);
}

static void test_a_disarmed_timer_never_fires(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probes[3];

	for (int i = 0; i < 3; i++) {
		probe_init(&probes[i], wheel, on_fire);
		hf_wheel_arm(wheel, &probes[i].timer, START + 100);
	}
	hf_wheel_disarm(&probes[1].timer);
	hf_wheel_disarm(&probes[1].timer);
	assert_false(hf_timer_armed(&probes[1].timer));
	hf_wheel_advance(wheel, START + 1000);
	assert_int_equal(probes[0].fired, 1);
	assert_int_equal(probes[1].fired, 0);
	assert_int_equal(probes[2].fired, 1);
	hf_wheel_free(wheel);
}

static void test_arming_again_moves_a_timer(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probe;

	probe_init(&probe, wheel, on_fire);
	hf_wheel_arm(wheel, &probe.timer, START + 10);
	hf_wheel_arm(wheel, &probe.timer, START + 5000);
	advance(&probe, START + 4999);
	assert_int_equal(probe.fired, 0);
	hf_wheel_arm(wheel, &probe.timer, START + 90000);
	hf_wheel_arm(wheel, &probe.timer, START + 5001);
	advance(&probe, START + 5001);
	assert_int_equal(probe.fired, 1);
	assert_true(hf_wheel_wait_ms(wheel, START + 5001) == UINT64_MAX);
	hf_wheel_free(wheel);
}

static void on_fire_arm_again(struct hf_timer *timer, void *ctx)
{
	struct probe *probe = ctx;

	on_fire(timer, ctx);
	hf_wheel_arm(probe->wheel, timer, probe->again_ms);
}

static void test_a_timer_that_arms_itself_for_the_past_cannot_hold_the_loop(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probe;

	probe_init(&probe, wheel, on_fire_arm_again);
	hf_wheel_arm(wheel, &probe.timer, START + 1);
	for (unsigned turn = 1; turn <= 5; turn++) {
		advance(&probe, START + 1000000); /* far ahead of its first time */
		assert_int_equal(probe.fired, turn);
		assert_int_equal(hf_wheel_wait_ms(wheel, START + 1000000), 0);
	}
	probe.again_ms = START + 1000001;
	advance(&probe, START + 1000000);
	assert_int_equal(hf_wheel_wait_ms(wheel, START + 1000000), 1);
	hf_wheel_free(wheel);
}

static void test_a_periodic_timer_keeps_its_pace(void **state)
{
	static const uint64_t periods[] = { 1, 63, 64, 65, 100, 4096, 5000 };

	for (size_t i = 0; i < HF_ARRAY_LEN(periods); i++) {
		struct hf_wheel *wheel = hf_wheel_new(START);
		struct probe probe;

		probe_init(&probe, wheel, on_fire_arm_again);
		hf_wheel_arm(wheel, &probe.timer, START + periods[i]);
		for (uint64_t now = START + 1; now <= START + 20000; now++) {
			probe.again_ms = now + periods[i];
			advance(&probe, now);
			assert_int_equal(probe.fired, (now - START) / periods[i]);
		}
		hf_wheel_free(wheel);
	}
}

static void on_fire_disarm_other(struct hf_timer *timer, void *ctx)
{
	struct probe *probe = ctx;

	on_fire(timer, ctx);
	hf_wheel_disarm(&probe->other->timer);
}

static void test_a_callback_may_disarm_what_is_due_with_it(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probes[2];

	for (int i = 0; i < 2; i++) {
		probe_init(&probes[i], wheel, on_fire_disarm_other);
		probes[i].other = &probes[1 - i];
		hf_wheel_arm(wheel, &probes[i].timer, START + 70);
	}
	hf_wheel_advance(wheel, START + 70);
	assert_int_equal(probes[0].fired + probes[1].fired, 1);
	assert_false(hf_timer_armed(&probes[0].timer));
	assert_false(hf_timer_armed(&probes[1].timer));
	hf_wheel_free(wheel);
}

static void on_fire_delay_other(struct hf_timer *timer, void *ctx)
{
	struct probe *probe = ctx;

	on_fire(timer, ctx);
	if (hf_timer_armed(&probe->other->timer))
		hf_wheel_arm(probe->wheel, &probe->other->timer, probe->again_ms);
}

static void test_a_callback_may_delay_what_is_due_with_it(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probes[2];

	for (int i = 0; i < 2; i++) {
		probe_init(&probes[i], wheel, on_fire_delay_other);
		probes[i].other = &probes[1 - i];
		probes[i].again_ms = START + 70 + 64; /* the same slot, a turn later */
		hf_wheel_arm(wheel, &probes[i].timer, START + 70);
	}
	hf_wheel_advance(wheel, START + 70);
	assert_int_equal(probes[0].fired + probes[1].fired, 1);
	hf_wheel_advance(wheel, START + 70 + 63);
	assert_int_equal(probes[0].fired + probes[1].fired, 1);
	hf_wheel_advance(wheel, START + 70 + 64);
	assert_int_equal(probes[0].fired + probes[1].fired, 2);
	hf_wheel_free(wheel);
}

static void on_fire_free(struct hf_timer *timer, void *ctx)
{
	free(HF_CONTAINER_OF(timer, struct probe, timer));
	++*(unsigned *)ctx;
}

static void test_a_callback_may_free_its_record(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	unsigned freed = 0;

	for (uint64_t i = 0; i < 100; i++) {
		struct probe *probe = malloc(sizeof(*probe));

		hf_timer_init(&probe->timer, on_fire_free, &freed);
		hf_wheel_arm(wheel, &probe->timer, START + i / 10 * 50);
	}
	hf_wheel_advance(wheel, START + 450);
	assert_int_equal(freed, 100);
	hf_wheel_free(wheel);
}

static void test_freeing_the_wheel_disarms_its_timers(void **state)
{
	struct hf_wheel *wheel = hf_wheel_new(START);
	struct probe probes[HF_ARRAY_LEN(distances)], past;

	probe_init(&past, wheel, on_fire);
	hf_wheel_arm(wheel, &past.timer, START);
	for (size_t i = 0; i < HF_ARRAY_LEN(distances); i++) {
		probe_init(&probes[i], wheel, on_fire);
		hf_wheel_arm(wheel, &probes[i].timer, START + distances[i]);
	}
	hf_wheel_free(wheel);
	assert_false(hf_timer_armed(&past.timer));
	for (size_t i = 0; i < HF_ARRAY_LEN(distances); i++) {
		assert_false(hf_timer_armed(&probes[i].timer));
		assert_int_equal(probes[i].fired, 0);
		hf_wheel_disarm(&probes[i].timer);
	}
	hf_wheel_free(NULL);
}

/* The wheel against a plain array of due times, at random steps, some of them far. */
static void test_many_timers_fire_like_in_a_sorted_list(void **state)
{
	enum { COUNT = 300, STEPS = 2000 };
	struct hf_wheel *wheel = hf_wheel_new(START);
	static struct probe probes[COUNT];
	static unsigned expected[COUNT];
	uint64_t now = START;

	for (int i = 0; i < COUNT; i++)
		probe_init(&probes[i], wheel, on_fire);
	for (int step = 0; step < STEPS; step++) {
		for (int k = 0; k < 20; k++) {
			struct hf_timer *timer = &probes[hf_random_below(COUNT)].timer;

			if (hf_random_below(4) == 0)
				hf_wheel_disarm(timer);
			else
				hf_wheel_arm(wheel, timer,
					     now + hf_random_below(1ull << hf_random_below(24)));
		}
		now += hf_random_below(1ull << hf_random_below(20));
		for (int i = 0; i < COUNT; i++)
			if (hf_timer_armed(&probes[i].timer) && probes[i].timer.due_ms <= now)
				expected[i]++;
		hf_wheel_advance(wheel, now);
		for (int i = 0; i < COUNT; i++) {
			assert_int_equal(probes[i].fired, expected[i]);
			if (hf_timer_armed(&probes[i].timer))
				assert_in_range(hf_wheel_wait_ms(wheel, now), 1,
						probes[i].timer.due_ms - now);
		}
	}
	hf_wheel_free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_timer_fires_at_its_time_and_not_before),
		cmocka_unit_test(test_sleeping_for_the_wait_wakes_up_in_time),
		cmocka_unit_test(test_the_wait_of_an_empty_wheel_is_endless),
		cmocka_unit_test(test_an_overdue_timer_fires_at_the_next_advance),
		cmocka_unit_test(test_a_disarmed_timer_never_fires),
		cmocka_unit_test(test_arming_again_moves_a_timer),
		cmocka_unit_test(test_a_timer_that_arms_itself_for_the_past_cannot_hold_the_loop),
		cmocka_unit_test(test_a_periodic_timer_keeps_its_pace),
		cmocka_unit_test(test_a_callback_may_disarm_what_is_due_with_it),
		cmocka_unit_test(test_a_callback_may_delay_what_is_due_with_it),
		cmocka_unit_test(test_a_callback_may_free_its_record),
		cmocka_unit_test(test_freeing_the_wheel_disarms_its_timers),
		cmocka_unit_test(test_many_timers_fire_like_in_a_sorted_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
