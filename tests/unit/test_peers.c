/* tests/unit/test_peers.c - promises of hf_peers.h, over the dir keeper and real servers. */
#include <ftw.h>

#include "hf_peers.h"
#include "rpc_fixture.h"

struct cluster {
	struct fixture *f;
	char path[64];
	struct hf_keeper *keeper;
	struct hf_peers *peers;
	unsigned joins, leaves, changes, connects, disconnects;
	char last_left[HF_NODE_ID_MAX + 1];
};

static void on_join(struct hf_peer *peer, void *ctx)
{
	struct cluster *c = ctx;

	c->joins++;
	assert_ptr_equal(hf_peers_by_id(c->peers, peer->instance.id), peer);
	assert_null(peer->user);
	peer->user = c;
}

static void on_leave(struct hf_peer *peer, void *ctx)
{
	struct cluster *c = ctx;

	c->leaves++;
	assert_ptr_equal(peer->user, c);
	assert_ptr_not_equal(hf_peers_by_id(c->peers, peer->instance.id), peer);
	snprintf(c->last_left, sizeof(c->last_left), "%s", peer->instance.id);
}

static void on_change(struct hf_peers *peers, void *ctx)
{
	((struct cluster *)ctx)->changes++;
}

static void on_connected(struct hf_peer *peer, bool connected, void *ctx)
{
	struct cluster *c = ctx;

	assert_int_equal(hf_rpc_client_connected(peer->client), connected);
	if (connected)
		c->connects++;
	else
		c->disconnects++;
}

static void peers_start(struct cluster *c, bool with_clients)
{
	struct hf_peers_options options = {
		.service = "echo",
		.descriptor = with_clients ? &echo_descriptor : NULL,
		.on_join = on_join,
		.on_leave = on_leave,
		.on_change = on_change,
		.on_connected = on_connected,
		.ctx = c,
	};

	assert_int_equal(hf_peers_new(c->f->loop, c->f->metrics, c->keeper, &options, &c->peers),
			 0);
}

static struct cluster *cluster_new(bool with_clients)
{
	struct cluster *c = calloc(1, sizeof(*c));
	char spec[80];

	assert_non_null(c);
	c->f = fixture_bare();
	snprintf(c->path, sizeof(c->path), "/tmp/hf_peers_XXXXXX");
	assert_non_null(mkdtemp(c->path));
	snprintf(spec, sizeof(spec), "dir:%s", c->path);
	assert_int_equal(hf_keeper_open(c->f->loop, spec, &c->keeper), 0);
	peers_start(c, with_clients);
	return c;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void cluster_free(struct cluster *c)
{
	hf_peers_free(c->peers);
	hf_keeper_close(c->keeper);
	nftw(c->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	fixture_free(c->f);
	free(c);
}

static struct hf_instance instance_of(const char *id, uint32_t number, const char *rpc)
{
	struct hf_instance instance = { .number = number,
					.incarnation = 1000 + number,
					.state = HF_INSTANCE_SERVING,
					.weight = 100,
					.since_ms = 1769860798412 };

	snprintf(instance.id, sizeof(instance.id), "%s", id);
	snprintf(instance.rpc, sizeof(instance.rpc), "%.*s", HF_ADDRESS_MAX - 1, rpc);
	snprintf(instance.admin, sizeof(instance.admin), "127.0.0.1:1");
	snprintf(instance.zone, sizeof(instance.zone), "default");
	return instance;
}

static void hold_text(struct cluster *c, const char *id, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "instances/echo/%s", id);
	assert_int_equal(hf_keeper_hold(c->keeper, path, text, strlen(text)), 0);
}

static void hold(struct cluster *c, const struct hf_instance *instance)
{
	char *text = hf_instance_encode(instance);

	assert_non_null(text);
	hold_text(c, instance->id, text);
	free(text);
}

static void release(struct cluster *c, const char *id)
{
	char path[128];

	snprintf(path, sizeof(path), "instances/echo/%s", id);
	assert_int_equal(hf_keeper_release(c->keeper, path), 0);
}

/* `count` serving instances e0, e1, ... that are only watched. */
static void hold_many(struct cluster *c, unsigned count)
{
	char id[16];

	for (unsigned i = 0; i < count; i++) {
		struct hf_instance instance;

		snprintf(id, sizeof(id), "e%u", i);
		instance = instance_of(id, i + 1, "127.0.0.1:9");
		hold(c, &instance);
	}
	RUN_UNTIL(c->f, hf_peers_by_id(c->peers, id) != NULL);
}

static void test_an_empty_list_is_known_too(void **state)
{
	struct cluster *c = cluster_new(false);

	assert_false(hf_peers_known(c->peers));
	RUN_UNTIL(c->f, hf_peers_known(c->peers));
	assert_int_equal(c->changes, 1);
	assert_int_equal(hf_peers_count(c->peers), 0);
	assert_null(hf_peers_by_slot(c->peers, 0));
	assert_null(hf_peers_pick(c->peers, HF_BALANCE_ROUND_ROBIN));
	cluster_free(c);
}

static void test_peers_come_and_go_with_their_entries(void **state)
{
	struct cluster *c = cluster_new(false);

	hold_many(c, 3);
	assert_int_equal(c->joins, 3);
	assert_string_equal(hf_peers_first(c->peers)->instance.id, "e0");
	assert_string_equal(hf_peers_first(c->peers)->next->instance.id, "e1");
	assert_string_equal(hf_peers_by_number(c->peers, 3)->instance.id, "e2");
	assert_null(hf_peers_by_number(c->peers, 4));
	assert_null(hf_peers_by_number(c->peers, 70000));
	assert_null(hf_peers_by_id(c->peers, "e9"));
	assert_null(hf_peers_first(c->peers)->client);
	release(c, "e1");
	RUN_UNTIL(c->f, c->leaves == 1);
	assert_string_equal(c->last_left, "e1");
	assert_null(hf_peers_by_number(c->peers, 2));
	assert_true(metrics_have(c->f, "holdfast_discovery_nodes{role=\"echo\"} 2"));
	cluster_free(c);
}

static void test_a_restart_under_the_same_id_is_a_leave_and_a_join(void **state)
{
	struct cluster *c = cluster_new(false);
	struct hf_instance instance = instance_of("e0", 1, "127.0.0.1:9");

	hold(c, &instance);
	RUN_UNTIL(c->f, c->joins == 1);
	instance.load = 7; /* the same process says more of itself */
	instance.weight = 50;
	hold(c, &instance);
	RUN_UNTIL(c->f, hf_peers_first(c->peers)->instance.weight == 50);
	assert_int_equal(c->joins, 1);
	assert_int_equal(hf_peers_first(c->peers)->instance.load, 7);

	instance.incarnation++;
	hold(c, &instance);
	RUN_UNTIL(c->f, c->leaves == 1);
	assert_int_equal(c->joins, 2);
	assert_int_equal(hf_peers_count(c->peers), 1);
	assert_ptr_equal(hf_peers_by_slot(c->peers, 5), hf_peers_first(c->peers));
	cluster_free(c);
}

static void test_a_load_alone_is_no_change(void **state)
{
	struct cluster *c = cluster_new(false);
	struct hf_instance instance = instance_of("e0", 1, "127.0.0.1:9");
	unsigned changes;

	hold_many(c, 2);
	changes = c->changes;
	instance.load = 7;
	hold(c, &instance);
	RUN_UNTIL(c->f, hf_peers_first(c->peers)->instance.load == 7);
	assert_int_equal(c->changes, changes);
	instance.state = HF_INSTANCE_DRAINING;
	hold(c, &instance);
	RUN_UNTIL(c->f, c->changes == changes + 1);
	cluster_free(c);
}

static void test_what_is_no_instance_is_refused(void **state)
{
	struct cluster *c = cluster_new(false);
	struct hf_instance instance = instance_of("other", 2, "127.0.0.1:9");
	char *text = hf_instance_encode(&instance);

	hold_text(c, "bad", "{\"id\":");
	hold_text(c, "liar", text); /* says that it is somebody else */
	free(text);
	hold_many(c, 1);
	assert_int_equal(c->joins, 1);
	assert_true(metrics_have(c->f, "holdfast_discovery_refused_total{role=\"echo\","
				       "reason=\"malformed\"}"));
	cluster_free(c);
}

/* The table worked out change by change is the one that any process works out from scratch. */
static void test_slot_owners_depend_on_the_living_only(void **state)
{
	struct cluster *c = cluster_new(false);
	struct hf_peers *old, *fresh;
	struct hf_instance draining = instance_of("e2", 3, "127.0.0.1:9");
	unsigned owned[6] = { 0 };

	hold_many(c, 6);
	release(c, "e4");
	RUN_UNTIL(c->f, hf_peers_count(c->peers) == 5);
	draining.state = HF_INSTANCE_DRAINING;
	hold(c, &draining);
	RUN_UNTIL(c->f, hf_peers_by_id(c->peers, "e2")->instance.state == HF_INSTANCE_DRAINING);

	old = c->peers;
	peers_start(c, false);
	RUN_UNTIL(c->f, hf_peers_known(c->peers));
	fresh = c->peers;
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		const struct hf_peer *owner = hf_peers_by_slot(old, (uint16_t)slot);

		assert_non_null(owner);
		assert_string_equal(owner->instance.id,
				    hf_peers_by_slot(fresh, (uint16_t)slot)->instance.id);
		owned[owner->instance.number - 1]++;
	}
	assert_int_equal(owned[2] + owned[4], 0); /* draining, and gone */
	for (unsigned i = 0; i < 6; i++) {
		if (i != 2 && i != 4) /* 1024 each on average; 5 sigma is about 140 */
			assert_in_range(owned[i], 884, 1164);
	}
	assert_null(hf_peers_by_slot(fresh, HF_SLOTS));
	hf_peers_free(fresh);
	c->peers = old;
	cluster_free(c);
}

static void test_only_the_slots_of_who_leaves_move(void **state)
{
	struct cluster *c = cluster_new(false);
	const struct hf_peer *before[HF_SLOTS];
	const struct hf_peer *leaver;

	hold_many(c, 4);
	leaver = hf_peers_by_id(c->peers, "e1");
	for (unsigned slot = 0; slot < HF_SLOTS; slot++)
		before[slot] = hf_peers_by_slot(c->peers, (uint16_t)slot);
	release(c, "e1");
	RUN_UNTIL(c->f, c->leaves == 1);
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		if (before[slot] != leaver)
			assert_ptr_equal(hf_peers_by_slot(c->peers, (uint16_t)slot), before[slot]);
	}
	cluster_free(c);
}

static void test_weighted_picks_follow_the_weights_smoothly(void **state)
{
	static const uint32_t weights[] = { 5, 1, 1, 0 };
	/* nginx's own example: never five of the first in a row. */
	static const char *const expected[] = { "e0", "e0", "e1", "e0", "e2", "e0", "e0" };
	struct cluster *c = cluster_new(false);

	for (unsigned i = 0; i < HF_ARRAY_LEN(weights); i++) {
		char id[16];
		struct hf_instance instance;

		snprintf(id, sizeof(id), "e%u", i);
		instance = instance_of(id, i + 1, "127.0.0.1:9");
		instance.weight = weights[i];
		hold(c, &instance);
	}
	RUN_UNTIL(c->f, hf_peers_count(c->peers) == 4);
	for (unsigned i = 0; i < 2 * HF_ARRAY_LEN(expected); i++)
		assert_string_equal(hf_peers_pick(c->peers, HF_BALANCE_WEIGHTED)->instance.id,
				    expected[i % HF_ARRAY_LEN(expected)]);
	cluster_free(c);
}

static void test_every_balancer_reaches_every_serving_peer(void **state)
{
	static const enum hf_balance all[] = { HF_BALANCE_ROUND_ROBIN, HF_BALANCE_WEIGHTED,
					       HF_BALANCE_LEAST_IN_FLIGHT, HF_BALANCE_RANDOM };
	struct cluster *c = cluster_new(false);
	struct hf_instance starting = instance_of("e9", 10, "127.0.0.1:9");

	starting.state = HF_INSTANCE_STARTING;
	hold(c, &starting);
	RUN_UNTIL(c->f, hf_peers_count(c->peers) == 1);
	assert_null(hf_peers_pick(c->peers, HF_BALANCE_RANDOM));
	hold_many(c, 3);
	release(c, "e9");
	RUN_UNTIL(c->f, hf_peers_count(c->peers) == 3);
	for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
		unsigned picked[4] = { 0 };

		for (unsigned n = 0; n < 300; n++)
			picked[hf_peers_pick(c->peers, all[i])->instance.number]++;
		for (unsigned number = 1; number <= 3; number++) {
			assert_in_range(picked[number], 40, 160);
			if (all[i] != HF_BALANCE_RANDOM)
				assert_int_equal(picked[number], 100);
		}
	}
	cluster_free(c);
}

static void test_calls_go_to_real_peers_and_end_when_these_leave(void **state)
{
	struct cluster *c = cluster_new(true);
	struct fixture *f = c->f;
	struct hf_instance instance, nobody = instance_of("e0", 1, "");
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;
	struct result results[4] = { 0 };
	ProtobufCService *service;

	server_start(f, "127.0.0.1:0", NULL);
	instance = instance_of("e1", 2, f->address);
	hold(c, &nobody);
	hold(c, &instance);
	RUN_UNTIL(f, c->connects == 1 && hf_peers_count(c->peers) == 2);
	assert_true(metrics_have(f, "holdfast_discovery_links{role=\"echo\"} 1"));

	/* Picks prefer who is connected. */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(hf_peers_pick(c->peers, (enum hf_balance)i)->instance.number, 2);
	service = hf_peers_call(c->peers, hf_peers_by_id(c->peers, "e1"), 1000);
	service->invoke(service, METHOD_ECHO, &request.base, on_result, &results[0]);
	service = hf_peers_call(c->peers, hf_peers_by_id(c->peers, "e0"), 1000);
	service->invoke(service, METHOD_ECHO, &request.base, on_result, &results[1]);
	service = hf_peers_call(c->peers, NULL, 1000);
	service->invoke(service, METHOD_ECHO, &request.base, on_result, &results[2]);
	RUN_UNTIL(f, results[0].count == 1 && results[1].count == 1 && results[2].count == 1);
	assert_int_equal(results[0].status, HF_RPC_OK);
	assert_int_equal(results[1].status, HF_RPC_UNREACHABLE);
	assert_int_equal(results[2].status, HF_RPC_UNREACHABLE);

	request.result = (Hf__ClaimResult)ECHO_HOLD;
	service = hf_peers_call(c->peers, hf_peers_by_id(c->peers, "e1"), 5000);
	service->invoke(service, METHOD_ECHO, &request.base, on_result, &results[3]);
	RUN_UNTIL(f, f->held_count == 1);
	release(c, "e1");
	RUN_UNTIL(f, results[3].count == 1);
	assert_int_equal(results[3].status, HF_RPC_CANCELED);
	assert_int_equal(c->disconnects, 0);
	assert_true(metrics_have(f, "holdfast_discovery_links{role=\"echo\"} 0"));
	answer_held(f, 0);
	cluster_free(c);
}

static void test_free_lets_every_peer_go(void **state)
{
	struct cluster *c = cluster_new(true);

	hold_many(c, 2);
	hf_peers_free(c->peers);
	c->peers = NULL;
	assert_int_equal(c->leaves, 2);
	cluster_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_list_is_known_too),
		cmocka_unit_test(test_peers_come_and_go_with_their_entries),
		cmocka_unit_test(test_a_restart_under_the_same_id_is_a_leave_and_a_join),
		cmocka_unit_test(test_a_load_alone_is_no_change),
		cmocka_unit_test(test_what_is_no_instance_is_refused),
		cmocka_unit_test(test_slot_owners_depend_on_the_living_only),
		cmocka_unit_test(test_only_the_slots_of_who_leaves_move),
		cmocka_unit_test(test_weighted_picks_follow_the_weights_smoothly),
		cmocka_unit_test(test_every_balancer_reaches_every_serving_peer),
		cmocka_unit_test(test_calls_go_to_real_peers_and_end_when_these_leave),
		cmocka_unit_test(test_free_lets_every_peer_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
