#include "test_base.h"

#include "flow.h"

#define MOST 256u

/* A server that does `capacity` calls in each step of 10 ms, and says that it has too much above
 * `queue` of them. */
struct server {
	uint32_t capacity, queue, waiting;
	uint64_t done, refused;
};

static void run(struct flow *flow, struct server *server, uint64_t *now_ms, uint64_t steps)
{
	for (uint64_t step = 0; step < steps; step++, *now_ms += 10) {
		uint32_t refused = 0, served;

		while (flow_may(flow, *now_ms)) { /* there is always more to do */
			flow_began(flow);
			if (server->waiting < server->queue)
				server->waiting++;
			else
				refused++;
		}
		for (uint32_t i = 0; i < refused; i++)
			flow_ended(flow, FLOW_TOO_MUCH, MOST, *now_ms);
		served = HF_MIN(server->waiting, server->capacity);
		for (uint32_t i = 0; i < served; i++)
			flow_ended(flow, FLOW_GOOD, MOST, *now_ms);
		server->waiting -= served;
		server->done += served;
		server->refused += refused;
	}
}

static void test_the_window_grows_to_its_bound_while_all_goes_well(void **state)
{
	struct server server = { .capacity = 1000, .queue = 100000 };
	struct flow flow;
	uint64_t now_ms = 1000;

	flow_init(&flow);
	run(&flow, &server, &now_ms, 50);
	assert_int_equal(flow.window, MOST);
	assert_int_equal(server.refused, 0);
}

static void test_a_server_that_has_too_much_is_kept_busy_and_rarely_bothered(void **state)
{
	struct server server = { .capacity = 20, .queue = 60 };
	struct flow flow;
	uint64_t now_ms = 1000;

	flow_init(&flow);
	run(&flow, &server, &now_ms, 100);
	server.done = server.refused = 0;
	run(&flow, &server, &now_ms, 1000);
	assert_true(server.done > 1000 * 20 * 7 / 10);
	assert_true(server.refused < server.done / 50);
}

static void test_refusals_of_one_moment_count_once(void **state)
{
	struct flow flow;

	flow_init(&flow);
	for (uint32_t i = 0; i < FLOW_FIRST; i++)
		flow_began(&flow);
	for (uint32_t i = 0; i < FLOW_FIRST; i++)
		flow_ended(&flow, FLOW_TOO_MUCH, MOST, 1000);
	assert_int_equal(flow.window, FLOW_FIRST / 2);
	assert_int_equal(flow.in_flight, 0);
	assert_false(flow_may(&flow, 1000 + FLOW_REST_MS - 1));
	assert_true(flow_may(&flow, 1000 + FLOW_REST_MS));
}

static void test_the_window_never_closes(void **state)
{
	struct flow flow;
	uint64_t now_ms = 1000;

	flow_init(&flow);
	for (int i = 0; i < 100; i++, now_ms += FLOW_REST_MS) {
		assert_true(flow_may(&flow, now_ms));
		flow_began(&flow);
		flow_ended(&flow, FLOW_TOO_MUCH, MOST, now_ms);
	}
	assert_int_equal(flow.window, 1);
}

static void test_a_window_that_is_not_used_does_not_grow(void **state)
{
	struct flow flow;

	flow_init(&flow);
	for (int i = 0; i < 1000; i++) {
		flow_began(&flow);
		flow_ended(&flow, FLOW_GOOD, MOST, 1000);
	}
	assert_int_equal(flow.window, FLOW_FIRST);
	flow_began(&flow);
	flow_ended(&flow, FLOW_OTHER, 4, 1000); /* the bound was lowered */
	assert_int_equal(flow.window, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_window_grows_to_its_bound_while_all_goes_well),
		cmocka_unit_test(test_a_server_that_has_too_much_is_kept_busy_and_rarely_bothered),
		cmocka_unit_test(test_refusals_of_one_moment_count_once),
		cmocka_unit_test(test_the_window_never_closes),
		cmocka_unit_test(test_a_window_that_is_not_used_does_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
