/* tests/unit/test_center_delivery.c - what center does with a message when savers, registers and
 * rooms answer, err or are silent: the real center and its RPC, with made-up peers, on one loop. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "center.h"
#include "hf_clock.h"
#include "hf_rpc_server.h"
#include "hf_wire.h"
#include "message.h"
#include "send.h"

#define PATIENCE_MS 20000
#define SAVERS      2
#define NAMES_MAX   2048

struct fake_saver {
	Hf__Saver_Service rpc;
	struct hf_rpc_server *server;
	unsigned calls, items;
	unsigned fail_next; /* so many calls end UNAVAILABLE with fail_reason */
	const char *fail_reason;
};

struct fixture {
	struct hf_loop *loop;
	struct hf_service service;
	struct center_config config;
	struct center *center;
	char path[64];
	struct fake_saver savers[SAVERS];
	Hf__Register_Service register_rpc;
	Hf__Room_Service room_rpc;
	struct hf_rpc_server *register_server, *room_server;
	struct hf_app app;
	/* what happened */
	unsigned lookups, lookup_calls, pushes, push_calls, stored_at_push;
	uint64_t stored_ids[NAMES_MAX];
	unsigned stored_count;
	unsigned claims, completes, gave_up;
	char claimed_key[REQUEST_CID_MAX + 1];
	uint32_t claim_status;
	char claim_response[4096];
	/* how the fakes behave */
	unsigned not_yet_known; /* lookups answered so first */
	unsigned gone;          /* pushes answered so first */
	bool offline, room_silent, never_acked;
	const char *poison; /* a registration that savers call invalid */
	/* the last answer */
	unsigned answers, status;
	bool replayed;
	char text[1 << 17];
};

static struct fixture *fix; /* of the test that runs: RPC handlers get no context of ours */

static struct fake_saver *saver_of(Hf__Saver_Service *rpc)
{
	return HF_CONTAINER_OF(rpc, struct fake_saver, rpc);
}

static void on_store(Hf__Saver_Service *rpc, const Hf__StoreRequest *request,
		     Hf__StoreReply_Closure closure, void *call)
{
	struct fake_saver *saver = saver_of(rpc);
	Hf__StoreReply reply = HF__STORE_REPLY__INIT;

	saver->calls++;
	if (saver->fail_next > 0) {
		saver->fail_next--;
		hf_rpc_fail(call, HF_RPC_UNAVAILABLE, saver->fail_reason);
		return;
	}
	for (size_t i = 0; i < request->n_items; i++) {
		ProtobufCBinaryData name = request->items[i]->registration;

		assert_true(request->items[i]->frame < request->n_frames);
		if (fix->poison != NULL && name.len == strlen(fix->poison) &&
		    memcmp(name.data, fix->poison, name.len) == 0) {
			hf_rpc_fail(call, HF_RPC_INVALID, "BAD_ITEM");
			return;
		}
	}
	for (size_t i = 0; i < request->n_items; i++)
		fix->stored_ids[fix->stored_count++ % NAMES_MAX] = request->items[i]->message_id;
	saver->items += (unsigned)request->n_items;
	reply.durability = HF__DURABILITY__FSYNC;
	closure(&reply, call);
}

static void on_await_ack(Hf__Saver_Service *rpc, const Hf__AwaitAckRequest *request,
			 Hf__AwaitAckReply_Closure closure, void *call)
{
	Hf__AwaitAckReply reply = HF__AWAIT_ACK_REPLY__INIT;

	reply.acked = !fix->never_acked;
	closure(&reply, call);
}

static void on_claim(Hf__Saver_Service *rpc, const Hf__ClaimRequest *request,
		     Hf__ClaimReply_Closure closure, void *call)
{
	Hf__ClaimReply reply = HF__CLAIM_REPLY__INIT;

	fix->claims++;
	if (fix->claimed_key[0] == '\0') {
		memcpy(fix->claimed_key, request->key.data, request->key.len);
		reply.result = HF__CLAIM_RESULT__CLAIMED;
	} else if (fix->claim_status == 0) {
		reply.result = HF__CLAIM_RESULT__IN_PROGRESS;
	} else {
		reply.result = HF__CLAIM_RESULT__REPLAY;
		reply.status = fix->claim_status;
		reply.response.data = (uint8_t *)fix->claim_response;
		reply.response.len = strlen(fix->claim_response);
	}
	closure(&reply, call);
}

static void on_complete(Hf__Saver_Service *rpc, const Hf__CompleteRequest *request,
			Hf__CompleteReply_Closure closure, void *call)
{
	Hf__CompleteReply reply = HF__COMPLETE_REPLY__INIT;

	fix->completes++;
	fix->claim_status = request->status;
	if (request->status == 0) {
		fix->gave_up++;
		fix->claimed_key[0] = '\0';
	}
	snprintf(fix->claim_response, sizeof(fix->claim_response), "%.*s",
		 (int)request->response.len, (const char *)request->response.data);
	closure(&reply, call);
}

static void on_lookup(Hf__Register_Service *rpc, const Hf__LookupRequest *request,
		      Hf__LookupReply_Closure closure, void *call)
{
	Hf__LookupReply reply = HF__LOOKUP_REPLY__INIT;
	Hf__LookupResult *results = calloc(request->n_items, sizeof(*results));
	Hf__LookupResult **list = calloc(request->n_items, sizeof(*list));

	if (results == NULL || list == NULL)
		abort();
	fix->lookup_calls++;
	for (size_t i = 0; i < request->n_items; i++) {
		hf__lookup_result__init(&results[i]);
		fix->lookups++;
		results[i].presence = fix->offline ? HF__PRESENCE__OFFLINE : HF__PRESENCE__ONLINE;
		if (fix->not_yet_known > 0) {
			fix->not_yet_known--;
			results[i].presence = HF__PRESENCE__NOT_YET_KNOWN;
		}
		results[i].room = 30;
		results[i].session = fix->lookups;
		results[i].epoch = 1000 + fix->lookups;
		list[i] = &results[i];
	}
	reply.n_results = request->n_items;
	reply.results = list;
	closure(&reply, call);
	free(list);
	free(results);
}

static void on_push(Hf__Room_Service *rpc, const Hf__PushRequest *request,
		    Hf__PushReply_Closure closure, void *call)
{
	Hf__PushReply reply = HF__PUSH_REPLY__INIT;
	Hf__PushResult results[NAMES_MAX];
	size_t n = 0;

	fix->push_calls++;
	fix->stored_at_push = fix->stored_count;
	for (size_t i = 0; i < request->n_items; i++) {
		const Hf__PushItem *item = request->items[i];
		struct hf_wire_frame frame;
		struct hf_wire_push push;

		assert_int_equal(item->n_sessions, item->n_epochs);
		assert_true(hf_wire_decode(item->frame.data, item->frame.len, 65536, &frame, NULL) >
			    0);
		assert_int_equal(hf_wire_decode_push(frame.body, &push), 0);
		assert_int_equal(push.message_id, item->message_id);
		for (size_t j = 0; j < item->n_sessions; j++) {
			assert_int_equal(item->epochs[j], 1000 + item->sessions[j]);
			fix->pushes++;
			results[n] = HF__PUSH_RESULT__WRITTEN;
			if (fix->gone > 0) {
				fix->gone--;
				results[n] = HF__PUSH_RESULT__GONE;
			}
			n++;
		}
	}
	if (fix->room_silent) {
		hf_rpc_fail(call, HF_RPC_DEADLINE, "");
		return;
	}
	reply.n_results = n;
	reply.results = results;
	closure(&reply, call);
}

static void hold(struct fixture *f, const char *role, unsigned n, const char *rpc)
{
	struct hf_instance instance = {
		.number = 10 * n, .incarnation = n, .state = HF_INSTANCE_SERVING, .weight = 100
	};
	char path[128], *text;

	snprintf(instance.id, sizeof(instance.id), "%s-%u", role, n);
	snprintf(instance.rpc, sizeof(instance.rpc), "%s", rpc);
	snprintf(instance.admin, sizeof(instance.admin), "127.0.0.1:1");
	snprintf(instance.zone, sizeof(instance.zone), "z");
	snprintf(path, sizeof(path), "instances/%s/%s", role, instance.id);
	text = hf_instance_encode(&instance);
	assert_non_null(text);
	assert_int_equal(hf_keeper_hold(f->service.keeper, path, text, strlen(text)), 0);
	free(text);
}

static void serve(struct fixture *f, const char *role, unsigned n, ProtobufCService *service,
		  struct hf_rpc_server **ret_server)
{
	struct hf_rpc_server_options options = { .address = "127.0.0.1:0", .service = service };

	assert_int_equal(hf_rpc_server_new(f->loop, f->service.metrics, &options, ret_server), 0);
	hold(f, role, n, hf_rpc_server_address(*ret_server));
}

static void start_fakes(struct fixture *f)
{
	for (unsigned i = 0; i < SAVERS; i++) {
		f->savers[i].rpc = (Hf__Saver_Service){ .base = HF__SAVER__BASE_INIT,
							.store = on_store,
							.await_ack = on_await_ack,
							.claim = on_claim,
							.complete = on_complete };
		f->savers[i].fail_reason = "STORE_UNAVAILABLE";
		serve(f, "saver", 1 + i, &f->savers[i].rpc.base, &f->savers[i].server);
	}
	f->register_rpc =
		(Hf__Register_Service){ .base = HF__REGISTER__BASE_INIT, .lookup = on_lookup };
	serve(f, "register", 1, &f->register_rpc.base, &f->register_server);
	f->room_rpc = (Hf__Room_Service){ .base = HF__ROOM__BASE_INIT, .push = on_push };
	serve(f, "room", 3, &f->room_rpc.base, &f->room_server);
}

#define TURN_UNTIL(f, condition)                                                              \
	do {                                                                                  \
		uint64_t until = hf_clock_monotonic_ms() + PATIENCE_MS;                       \
		while (!(condition)) {                                                        \
			if (hf_clock_monotonic_ms() > until)                                  \
				fail_msg("waited for %s; answer: %s", #condition, (f)->text); \
			hf_loop_turn((f)->loop, true);                                        \
		}                                                                             \
	} while (0)

static bool all_connected(const struct hf_peers *peers, size_t count)
{
	const struct hf_peer *peer = hf_peers_first(peers);

	if (hf_peers_count(peers) != count)
		return false;
	for (; peer != NULL; peer = peer->next)
		if (!hf_rpc_client_connected(peer->client))
			return false;
	return true;
}

static int setup(void **state)
{
	static const struct hf_config_override settings[] = {
		{ "keeper.backend", "dir:unused" }, { "api.bind", "127.0.0.1:0" },
		{ "store.timeout", "300ms" },       { "route.timeout", "400ms" },
		{ "route.try_timeout", "100ms" },
	};
	struct fixture *f = calloc(1, sizeof(*f));
	char error[HF_CONFIG_ERROR_SIZE] = "", spec[80];

	assert_non_null(f);
	fix = f;
	*state = f;
	f->loop = hf_loop_new();
	assert_int_equal(hf_config_parse(center_options, "test", "", 0, settings,
					 HF_ARRAY_LEN(settings), &f->config, error),
			 0);
	f->service = (struct hf_service){ .type = &center_type,
					  .loop = f->loop,
					  .metrics = hf_metrics_new(),
					  .config = &f->config,
					  .salt = 42 };
	hf_id_generator_init(&f->service.ids, 9);
	snprintf(f->path, sizeof(f->path), "/tmp/hf_center_XXXXXX");
	assert_non_null(mkdtemp(f->path));
	snprintf(spec, sizeof(spec), "dir:%s", f->path);
	assert_int_equal(hf_keeper_open(f->loop, spec, &f->service.keeper), 0);
	start_fakes(f);
	assert_int_equal(center_type.start(&f->service), 0);
	f->center = f->service.state;
	f->app = (struct hf_app){ .id = 7,
				  .enabled = true,
				  .messages_per_second = 1000000,
				  .burst = 1000000,
				  .payload_max = 4096,
				  .stored_per_registration = 100 };
	TURN_UNTIL(f, all_connected(f->center->savers, SAVERS) &&
			      all_connected(f->center->registers, 1) &&
			      all_connected(f->center->rooms, 1) && hf_apps_known(f->center->apps));
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	center_type.stop(&f->service);
	for (unsigned i = 0; i < SAVERS; i++)
		hf_rpc_server_free(f->savers[i].server);
	hf_rpc_server_free(f->register_server);
	hf_rpc_server_free(f->room_server);
	hf_keeper_close(f->service.keeper);
	nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	hf_metrics_free(f->service.metrics);
	hf_loop_free(f->loop);
	hf_config_deinit(center_options, &f->config);
	free(f);
	return 0;
}

static void on_answer(const struct send_answer *answer, void *ctx)
{
	struct fixture *f = ctx;

	f->answers++;
	f->status = answer->status;
	f->replayed = answer->replayed;
	snprintf(f->text, sizeof(f->text), "%.*s", (int)answer->len, answer->text);
}

static struct send *begin(struct fixture *f, const char *text, const char *key)
{
	struct send_input input = {
		.app = &f->app,
		.text = hf_bytes_of_string(text),
		.key = key != NULL ? hf_bytes_of_string(key) : hf_bytes_of(NULL, 0),
		.request_id = "req-test",
	};

	return send_begin(f->center, &input, on_answer, f);
}

/* A send to registrations a0..a<count-1>, whole until its answer. */
static void send_to(struct fixture *f, unsigned count, const char *message, const char *options)
{
	static char text[65536];
	unsigned answers = f->answers;
	size_t len = (size_t)sprintf(text, "{\"audience\":{\"registration_id\":[\"a0\"");

	for (unsigned i = 1; i < count; i++)
		len += (size_t)sprintf(text + len, ",\"a%u\"", i);
	snprintf(text + len, sizeof(text) - len, "]},\"message\":{\"data\":1%s},\"options\":{%s}}",
		 message, options);
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers > answers);
}

static bool has(const struct fixture *f, const char *text)
{
	return strstr(f->text, text) != NULL;
}

static void test_a_message_is_stored_then_pushed(void **state)
{
	struct fixture *f = *state;

	send_to(f, 1, "", "");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"accepted\""));
	assert_true(has(f, "\"targets\":{\"kind\":\"unicast\",\"requested\":1,\"accepted\":1}"));
	assert_true(has(f, "\"durability\":\"fsync\""));
	assert_int_equal(f->stored_count, 1);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, 1);
	assert_int_equal(f->stored_at_push, 1);
}

static void test_many_recipients_share_few_calls(void **state)
{
	struct fixture *f = *state;

	send_to(f, 1000, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_true(has(f, "\"state\":\"routed\""));
	assert_int_equal(f->stored_count, 1000);
	assert_int_equal(f->savers[0].items + f->savers[1].items, 1000);
	assert_true(f->savers[0].items > 0 && f->savers[1].items > 0);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, SAVERS);
	assert_true(f->lookup_calls <= SAVERS && f->push_calls <= SAVERS);
	assert_int_equal(f->pushes, 1000);
}

static void test_messages_of_one_turn_share_a_call(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 50; i++)
		begin(f, "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1}}",
		      NULL);
	TURN_UNTIL(f, f->answers == 50 && f->center->messages_open == 0);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, 1);
	assert_int_equal(f->stored_count, 50);
	assert_int_equal(f->pushes, 50);
}

static void test_a_store_is_repeated_with_the_same_id(void **state)
{
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = 2;
	send_to(f, 1, "", "");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->savers[0].calls + f->savers[1].calls, 3);
	assert_int_equal(f->stored_count, 1);
}

static void test_nothing_stored_is_503_with_the_reason(void **state)
{
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = UINT32_MAX;
	f->savers[0].fail_reason = f->savers[1].fail_reason = "STORE_FULL";
	send_to(f, 3, "", "");
	assert_int_equal(f->status, 503);
	assert_true(has(f, "\"reason\":\"STORE_FULL\""));
	assert_true(has(f, "\"retry_after_s\":1"));
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->lookups, 0);
	assert_int_equal(f->center->targets_open, 0);
}

static void test_what_could_be_stored_goes_on_without_the_rest(void **state)
{
	struct fixture *f = *state;
	unsigned listed = 0;

	f->savers[1].fail_next = UINT32_MAX;
	send_to(f, 100, "", "");
	assert_int_equal(f->status, 202);
	for (const char *at = f->text;
	     (at = strstr(at, "\"reason\":\"STORE_UNAVAILABLE\"")) != NULL; at++)
		listed++;
	assert_true(listed > 0 && listed < 100);
	assert_int_equal(listed, 100 - f->stored_count);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, f->stored_count);
}

static void test_one_bad_recipient_does_not_hold_up_the_others(void **state)
{
	struct fixture *f = *state;

	f->poison = "a5";
	send_to(f, 20, "", "");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 19);
	assert_true(has(f, "\"failed\":[{\"registration_id\":\"a5\""));
}

static void test_a_register_that_does_not_know_yet_is_asked_again(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = 2;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_int_equal(f->lookups, 3);
	assert_int_equal(f->pushes, 1);
}

static void test_a_register_that_never_knows_is_given_up(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = UINT32_MAX;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"unrouted\":1"));
	assert_int_equal(f->pushes, 0);
	assert_int_equal(f->stored_count, 1); /* owed: its next login loads it */
}

static void test_a_session_that_moved_is_looked_for_once(void **state)
{
	struct fixture *f = *state;

	f->gone = 1;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 200);
	assert_int_equal(f->lookups, 2);
	assert_int_equal(f->pushes, 2);

	f->gone = 2;
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"written\":0,\"offline\":1"));
	assert_int_equal(f->pushes, 4);
}

static void test_who_is_offline_is_owed_it(void **state)
{
	struct fixture *f = *state;

	f->offline = true;
	send_to(f, 2, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"accepted\""));
	assert_true(has(f, "\"offline\":2"));
}

static void test_a_transient_message_is_not_stored(void **state)
{
	struct fixture *f = *state;

	send_to(f, 2, ",\"qos\":0", "");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"durability\":\"none\""));
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->stored_count, 0);
	assert_int_equal(f->pushes, 2);

	f->offline = true;
	send_to(f, 1, ",\"ttl\":0", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"state\":\"failed\""));
}

/* The room may have written it or not: "at least once" pushes again, "at most once" must not. */
static void test_only_what_is_stored_is_pushed_again_when_unsure(void **state)
{
	struct fixture *f = *state;

	f->room_silent = true;
	send_to(f, 1, ",\"qos\":0", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_int_equal(f->pushes, 1);
	send_to(f, 1, "", "\"wait\":\"routed\"");
	assert_int_equal(f->status, 202);
	assert_true(f->pushes > 2);
}

static void test_acks_are_awaited(void **state)
{
	struct fixture *f = *state;

	send_to(f, 3, "", "\"wait\":\"acked\"");
	assert_int_equal(f->status, 200);
	assert_true(has(f, "\"state\":\"acked\""));
	assert_true(has(f, "\"acked\":3"));
	f->never_acked = true;
	send_to(f, 1, "", "\"wait\":\"acked\",\"wait_timeout\":\"1s\"");
	assert_int_equal(f->status, 202);
	assert_true(has(f, "\"acked\":0"));
}

static void test_a_key_makes_a_send_happen_once(void **state)
{
	static const char text[] =
		"{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1}}";
	struct fixture *f = *state;
	char first[512];

	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 202);
	assert_false(f->replayed);
	assert_int_equal(f->completes, 1);
	snprintf(first, sizeof(first), "%.*s", 40, f->text);

	begin(f, text, "k-1");
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_true(f->replayed);
	assert_true(has(f, "\"replayed\":true"));
	assert_memory_equal(f->text, first, 40);
	assert_int_equal(f->stored_count, 1);
}

static void test_a_key_is_free_again_when_nothing_was_accepted(void **state)
{
	static const char text[] = "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{"
				   "\"data\":1},\"cid\":\"k-2\"}";
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = UINT32_MAX;
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 503);
	TURN_UNTIL(f, f->gave_up == 1);
	f->savers[0].fail_next = f->savers[1].fail_next = 0;
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 1);
}

static void test_two_at_once_with_one_key_conflict(void **state)
{
	static const char text[] = "{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{"
				   "\"data\":1},\"cid\":\"k-3\"}";
	struct fixture *f = *state;

	f->savers[0].fail_next = f->savers[1].fail_next = 2; /* the first is held up */
	begin(f, text, NULL);
	begin(f, text, NULL);
	TURN_UNTIL(f, f->answers == 1);
	assert_int_equal(f->status, 409);
	assert_true(has(f, "IDEMPOTENCY_IN_PROGRESS"));
	TURN_UNTIL(f, f->answers == 2);
	assert_int_equal(f->status, 202);
	assert_int_equal(f->stored_count, 1);
}

static void test_a_client_that_left_does_not_stop_its_message(void **state)
{
	static const char text[] =
		"{\"audience\":{\"registration_id\":[\"a\"]},\"message\":{\"data\":1},"
		"\"options\":{\"wait\":\"acked\"}}";
	struct fixture *f = *state;
	struct send *send = begin(f, text, NULL);

	assert_non_null(send);
	send_detach(send);
	TURN_UNTIL(f, f->center->messages_open == 0);
	assert_int_equal(f->pushes, 1);
	assert_int_equal(f->answers, 0);
	assert_true(TAILQ_EMPTY(&f->center->sends));
}

static void test_the_quota_refuses_and_says_when(void **state)
{
	struct fixture *f = *state;

	f->app.messages_per_second = 1;
	f->app.burst = 2;
	send_to(f, 2, "", "");
	assert_int_equal(f->status, 202);
	send_to(f, 1, "", "");
	assert_int_equal(f->status, 429);
	assert_true(has(f, "\"reason\":\"QUOTA_APP\""));
	assert_true(has(f, "\"retry_after_s\":1"));
}

static void test_too_much_in_delivery_is_refused_at_the_door(void **state)
{
	struct fixture *f = *state;

	f->config.targets_max = 5;
	send_to(f, 6, "", "");
	assert_int_equal(f->status, 503);
	assert_true(has(f, "\"reason\":\"OVERLOADED\""));
	assert_int_equal(f->stored_count, 0);
}

static void test_stopping_in_the_middle_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;

	f->not_yet_known = 1;
	f->savers[0].fail_next = 1;
	for (unsigned i = 0; i < 20; i++)
		begin(f,
		      "{\"audience\":{\"registration_id\":[\"a\",\"b\",\"c\"]},\"message\":{"
		      "\"data\":1},"
		      "\"options\":{\"wait\":\"acked\"}}",
		      i == 0 ? "k" : NULL);
	for (unsigned i = 0; i < 3; i++)
		hf_loop_turn(f->loop, false);
	/* The teardown stops the center; the sanitizer sees what is left. */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_message_is_stored_then_pushed),
		TEST(test_many_recipients_share_few_calls),
		TEST(test_messages_of_one_turn_share_a_call),
		TEST(test_a_store_is_repeated_with_the_same_id),
		TEST(test_nothing_stored_is_503_with_the_reason),
		TEST(test_what_could_be_stored_goes_on_without_the_rest),
		TEST(test_one_bad_recipient_does_not_hold_up_the_others),
		TEST(test_a_register_that_does_not_know_yet_is_asked_again),
		TEST(test_a_register_that_never_knows_is_given_up),
		TEST(test_a_session_that_moved_is_looked_for_once),
		TEST(test_who_is_offline_is_owed_it),
		TEST(test_a_transient_message_is_not_stored),
		TEST(test_only_what_is_stored_is_pushed_again_when_unsure),
		TEST(test_acks_are_awaited),
		TEST(test_a_key_makes_a_send_happen_once),
		TEST(test_a_key_is_free_again_when_nothing_was_accepted),
		TEST(test_two_at_once_with_one_key_conflict),
		TEST(test_a_client_that_left_does_not_stop_its_message),
		TEST(test_the_quota_refuses_and_says_when),
		TEST(test_too_much_in_delivery_is_refused_at_the_door),
		TEST(test_stopping_in_the_middle_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
