/* tests/unit/test_register_rooms.c - what register makes of rooms that come, go and come back. */
#include "hf_id.h"
#include "keeper_fixture.h"
#include "register.h"
#include "room.pb-c.h"

#define NUMBER 5u

struct cluster {
	struct fixture *f;
	struct hf_service service;
	struct register_config config;
	struct register_state *state;
};

#define WAIT_UNTIL(c, condition)                                \
	do {                                                    \
		struct hf_timer guard;                          \
                                                                \
		hf_timer_init(&guard, on_timeout, NULL);        \
		hf_loop_arm((c)->f->loop, &guard, PATIENCE_MS); \
		while (!(condition))                            \
			hf_loop_turn((c)->f->loop, true);       \
		hf_wheel_disarm(&guard);                        \
	} while (0)

/* An id of that node, made at that second. */
static uint64_t id_at(uint64_t second, uint32_t number)
{
	struct hf_id_generator ids;

	hf_id_generator_init(&ids, number);
	return hf_id_next(&ids, HF_ID_EPOCH_MS + second * 1000);
}

static void announce_at(struct cluster *c, const char *path, uint32_t number, uint64_t incarnation,
			const char *rpc)
{
	struct hf_instance instance = { .number = number,
					.incarnation = incarnation,
					.state = HF_INSTANCE_SERVING };
	char *text;

	snprintf(instance.id, sizeof(instance.id), "%s", strrchr(path, '/') + 1);
	snprintf(instance.rpc, sizeof(instance.rpc), "%s", rpc);
	text = hf_instance_encode(&instance);
	assert_non_null(text);
	assert_int_equal(hf_keeper_hold(c->f->keeper, path, text, strlen(text)), 0);
	free(text);
}

static void announce(struct cluster *c, const char *path, uint32_t number, uint64_t incarnation)
{
	announce_at(c, path, number, incarnation, "");
}

/* A register that owns every slot. */
static void cluster_start(struct cluster *c, struct fixture *f)
{
	*c = (struct cluster){ .f = f,
			       .config = { .service = { .rpc_bind = "127.0.0.1:0",
							.rpc_advertise = "" },
					   .max_sessions = 1000,
					   .resync_ms = 50,
					   .kick_timeout_ms = 1000 } };
	c->service = (struct hf_service){ .type = &register_type,
					  .loop = f->loop,
					  .metrics = hf_metrics_new(),
					  .keeper = f->keeper,
					  .config = &c->config,
					  .instance = { .id = "register-1", .number = 1 } };
	announce(c, "instances/register/register-1", 1, id_at(1, 1));
	assert_int_equal(register_type.start(&c->service), 0);
	c->state = c->service.state;
	WAIT_UNTIL(c, c->state->owned_count == HF_SLOTS);
}

static void cluster_stop(struct cluster *c)
{
	hf_rpc_server_free(c->service.rpc);
	register_type.stop(&c->service);
	hf_metrics_free(c->service.metrics);
}

static void tell_all_slots(struct cluster *c)
{
	for (uint32_t slot = 0; slot < HF_SLOTS; slot++)
		room_told_slot(c->state, NUMBER, (uint16_t)slot);
}

static enum add_outcome add(struct cluster *c, uint64_t epoch)
{
	Hf__Session session = HF__SESSION__INIT;
	uint8_t registration[] = "phone";

	session.app = 1;
	session.registration = (ProtobufCBinaryData){ 5, registration };
	session.epoch = epoch;
	session.session = 1;
	return session_add(c->state, &session, true);
}

static Hf__Presence find(struct cluster *c)
{
	struct slot_session found;

	return session_find(c->state, 1, hf_bytes_of("phone", 5), &found);
}

static void test_a_room_that_comes_back_is_asked_for_all_it_has(void **state)
{
	struct cluster c;
	uint64_t incarnation = id_at(100, NUMBER);

	cluster_start(&c, *state);
	announce(&c, "instances/room/room-1", NUMBER, incarnation);
	WAIT_UNTIL(&c, c.state->room[NUMBER] != NULL && c.state->room[NUMBER]->live);
	assert_true(slot_is_complete(c.state, 0)); /* a new room has nothing yet */
	assert_int_equal(hf_keeper_release(c.f->keeper, "instances/room/room-1"), 0);
	WAIT_UNTIL(&c, !c.state->room[NUMBER]->live);

	/* its sessions may be swept by now */
	announce(&c, "instances/room/room-1", NUMBER, incarnation);
	WAIT_UNTIL(&c, c.state->room[NUMBER]->live);
	assert_int_equal(c.state->incomplete_count, HF_SLOTS);
	assert_int_equal(find(&c), HF__PRESENCE__NOT_YET_KNOWN);
	WAIT_UNTIL(&c, *c.state->metrics.resyncs_asked > 0);
	tell_all_slots(&c);
	assert_int_equal(find(&c), HF__PRESENCE__OFFLINE);
	cluster_stop(&c);
}

static void test_a_room_that_only_ever_spoke_is_not_awaited_for_ever(void **state)
{
	struct cluster c;
	uint64_t incarnation = id_at(100, NUMBER);

	cluster_start(&c, *state);
	assert_true(room_speaks(c.state, NUMBER, incarnation));
	assert_int_equal(add(&c, incarnation + 1), ADD_OK);
	assert_int_equal(find(&c), HF__PRESENCE__ONLINE);
	for (unsigned i = 0; i < 5; i++) /* the keeper does not know it, but it may come yet */
		hf_loop_turn(c.f->loop, true);
	assert_int_equal(find(&c), HF__PRESENCE__ONLINE);
	c.state->room[NUMBER]->heard_ms -= 60000;
	WAIT_UNTIL(&c, find(&c) == HF__PRESENCE__OFFLINE);
	assert_int_equal(c.state->incomplete_count, 0);
	assert_true(room_speaks(c.state, NUMBER, incarnation)); /* it may still speak up */
	cluster_stop(&c);
}

static void test_a_room_whose_clock_went_back_is_served(void **state)
{
	struct cluster c;
	uint64_t before = id_at(200, NUMBER), after = id_at(100, NUMBER);

	cluster_start(&c, *state);
	announce(&c, "instances/room/room-1", NUMBER, before);
	WAIT_UNTIL(&c, c.state->room[NUMBER] != NULL && c.state->room[NUMBER]->live);
	assert_int_equal(add(&c, before + 1), ADD_OK);
	assert_int_equal(hf_keeper_release(c.f->keeper, "instances/room/room-1"), 0);
	WAIT_UNTIL(&c, !c.state->room[NUMBER]->live);

	announce(&c, "instances/room/room-1", NUMBER, after);
	WAIT_UNTIL(&c, c.state->room[NUMBER]->live);
	assert_true(room_speaks(c.state, NUMBER, after));
	assert_int_equal(find(&c), HF__PRESENCE__OFFLINE); /* no ghost of the old process */
	assert_int_equal(add(&c, after + 1), ADD_OK);
	assert_int_equal(find(&c), HF__PRESENCE__ONLINE);
	cluster_stop(&c);
}

static uint64_t kicked_epoch;

static void on_room_kick(ProtobufCService *room, unsigned method, const ProtobufCMessage *input,
			 ProtobufCClosure closure, void *call)
{
	const Hf__RoomKickRequest *request = (const Hf__RoomKickRequest *)input;
	protobuf_c_boolean kicked = true;
	Hf__RoomKickReply reply = HF__ROOM_KICK_REPLY__INIT;

	if (input->descriptor != &hf__room_kick_request__descriptor) {
		hf_rpc_fail(call, HF_RPC_UNAVAILABLE, "");
		return;
	}
	assert_int_equal(request->n_epochs, 1);
	kicked_epoch = request->epochs[0];
	reply.n_kicked = 1;
	reply.kicked = &kicked;
	closure(&reply.base, call);
}

static void test_a_loser_is_told_as_soon_as_its_room_can_be_reached(void **state)
{
	ProtobufCService room = { .descriptor = &hf__room__descriptor, .invoke = on_room_kick };
	struct hf_rpc_server_options options = { .address = "127.0.0.1:0", .service = &room };
	struct hf_rpc_server *server;
	struct cluster c;
	uint64_t incarnation = id_at(100, NUMBER);

	cluster_start(&c, *state);
	announce(&c, "instances/room/room-1", NUMBER, incarnation);
	WAIT_UNTIL(&c, c.state->room[NUMBER] != NULL && c.state->room[NUMBER]->live);
	assert_int_equal(add(&c, incarnation + 1), ADD_OK);
	assert_int_equal(add(&c, incarnation + 2), ADD_OK);
	WAIT_UNTIL(&c, *c.state->metrics.kicks_failed > 1); /* said again, at its tick */

	assert_int_equal(hf_rpc_server_new(c.f->loop, c.service.metrics, &options, &server), 0);
	announce_at(&c, "instances/room/room-1", NUMBER, incarnation,
		    hf_rpc_server_address(server));
	WAIT_UNTIL(&c, kicked_epoch == incarnation + 1);
	assert_int_equal(c.state->replaced_count, 0);
	hf_rpc_server_free(server);
	cluster_stop(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_room_that_comes_back_is_asked_for_all_it_has),
		TEST(test_a_room_that_only_ever_spoke_is_not_awaited_for_ever),
		TEST(test_a_room_whose_clock_went_back_is_served),
		TEST(test_a_loser_is_told_as_soon_as_its_room_can_be_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
