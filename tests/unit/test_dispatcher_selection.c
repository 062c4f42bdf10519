#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "selection.h"

#define ROOMS 6

static struct hf_instance rooms[ROOMS];
static const struct hf_instance *pointers[ROOMS];

/* Three rooms at home, three far away, one port each. */
static int setup(void **state)
{
	for (unsigned i = 0; i < ROOMS; i++) {
		struct hf_instance *room = &rooms[i];

		*room = (struct hf_instance){ .state = HF_INSTANCE_SERVING,
					      .weight = 100,
					      .endpoint_count = 1 };
		snprintf(room->id, sizeof(room->id), "room-%u", i + 1);
		snprintf(room->zone, sizeof(room->zone), "%s", i < 3 ? "home" : "far");
		snprintf(room->endpoints[0].address, sizeof(room->endpoints[0].address),
			 "198.51.100.%u:443", i + 1);
		pointers[i] = room;
	}
	return 0;
}

static struct selection_client client_of(uint64_t key, enum selection_reason reason)
{
	return (struct selection_client){
		.key = key, .zone = "home", .last_node = "", .reason = reason
	};
}

static void test_rooms_of_the_home_zone_come_first(void **state)
{
	struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];
	struct selection_client client = client_of(11, SELECTION_START);
	size_t count = selection_make(&client, pointers, ROOMS, chosen);

	assert_int_equal(count, SELECTION_ROOMS_MAX);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(chosen[i].room->zone, "home");
	assert_string_equal(chosen[3].room->zone, "far");
}

static void test_a_client_that_failed_gets_other_zones_first_and_its_last_room_last(void **state)
{
	struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];
	struct selection_client client = client_of(11, SELECTION_FAILED);

	client.last_node = "room-4";
	assert_int_equal(selection_make(&client, pointers, ROOMS, chosen), SELECTION_ROOMS_MAX);
	assert_string_equal(chosen[0].room->zone, "far");
	assert_string_equal(chosen[1].room->zone, "far");
	assert_string_equal(chosen[2].room->zone, "home");
	for (size_t i = 0; i < SELECTION_ROOMS_MAX; i++)
		assert_string_not_equal(chosen[i].room->id, "room-4");
}

static void test_a_leaving_room_moves_only_its_own_clients(void **state)
{
	for (uint64_t key = 0; key < 500; key++) {
		struct selection_client client = client_of(key, SELECTION_START);
		struct selection_endpoint before[SELECTION_ENDPOINTS_MAX];
		struct selection_endpoint after[SELECTION_ENDPOINTS_MAX];

		rooms[0].state = HF_INSTANCE_SERVING;
		selection_make(&client, pointers, ROOMS, before);
		rooms[0].state = HF_INSTANCE_DRAINING;
		selection_make(&client, pointers, ROOMS, after);
		if (before[0].room == &rooms[0])
			assert_ptr_equal(after[0].room, before[1].room);
		else
			assert_ptr_equal(after[0].room, before[0].room);
	}
}

static void test_a_room_gets_its_share_by_weight(void **state)
{
	unsigned first[ROOMS] = { 0 };

	rooms[0].weight = 200;
	for (uint64_t key = 0; key < 4096; key++) {
		struct selection_client client = client_of(key, SELECTION_START);
		struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];

		selection_make(&client, pointers, ROOMS, chosen);
		first[chosen[0].room - rooms]++;
	}
	/* 200 : 100 : 100 of 4096 are 2048, 1024 and 1024. */
	assert_in_range(first[0], 1850, 2250);
	assert_in_range(first[1], 900, 1150);
	assert_in_range(first[2], 900, 1150);
}

static void test_further_ports_of_a_room_come_after_the_other_rooms(void **state)
{
	struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];
	struct selection_client client = client_of(3, SELECTION_START);

	for (unsigned i = 0; i < ROOMS; i++) {
		rooms[i].endpoint_count = 2;
		snprintf(rooms[i].endpoints[1].address, sizeof(rooms[i].endpoints[1].address),
			 "198.51.100.%u:5223", i + 1);
	}
	assert_int_equal(selection_make(&client, pointers, ROOMS, chosen), SELECTION_ENDPOINTS_MAX);
	assert_ptr_equal(chosen[4].room, chosen[0].room);
	assert_ptr_equal(chosen[4].endpoint, &chosen[0].room->endpoints[1]);
}

static void test_rooms_without_weight_or_endpoints_are_never_named(void **state)
{
	struct selection_endpoint chosen[SELECTION_ENDPOINTS_MAX];
	struct selection_client client = client_of(3, SELECTION_START);

	for (unsigned i = 0; i < ROOMS; i++)
		i % 2 ? (rooms[i].weight = 0) : (uint32_t)(rooms[i].endpoint_count = 0);
	assert_int_equal(selection_make(&client, pointers, ROOMS, chosen), 0);
	assert_int_equal(selection_make(&client, pointers, 0, chosen), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rooms_of_the_home_zone_come_first, setup),
		cmocka_unit_test_setup(
			test_a_client_that_failed_gets_other_zones_first_and_its_last_room_last,
			setup),
		cmocka_unit_test_setup(test_a_leaving_room_moves_only_its_own_clients, setup),
		cmocka_unit_test_setup(test_a_room_gets_its_share_by_weight, setup),
		cmocka_unit_test_setup(test_further_ports_of_a_room_come_after_the_other_rooms,
				       setup),
		cmocka_unit_test_setup(test_rooms_without_weight_or_endpoints_are_never_named,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
