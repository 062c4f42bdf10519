/* tests/unit/center_fixture.h - the real center and its RPC, with made-up savers, registers and
 * rooms, on one loop. */
#ifndef CENTER_FIXTURE_H
#define CENTER_FIXTURE_H

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
	unsigned not_yet_known;  /* lookups answered so first */
	unsigned gone;           /* pushes answered so first */
	unsigned complete_fails; /* completions that end UNAVAILABLE first */
	bool offline, room_silent, never_acked;
	unsigned unregistered; /* answers of a store that still call its first item unregistered */
	const char *poison;    /* a registration that savers call invalid */
	/* the last answer */
	unsigned answers, status;
	bool replayed;
	char text[1 << 17];
};

static struct fixture *fix; /* of the test that runs: RPC handlers get no context of ours */

static inline struct fake_saver *saver_of(Hf__Saver_Service *rpc)
{
	return HF_CONTAINER_OF(rpc, struct fake_saver, rpc);
}

static inline void on_store(Hf__Saver_Service *rpc, const Hf__StoreRequest *request,
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
	if (fix->unregistered > 0) {
		static uint32_t first;

		fix->unregistered--;
		fix->stored_count--;
		reply.n_unregistered = 1;
		reply.unregistered = &first;
	}
	closure(&reply, call);
}

static inline void on_await_ack(Hf__Saver_Service *rpc, const Hf__AwaitAckRequest *request,
				Hf__AwaitAckReply_Closure closure, void *call)
{
	Hf__AwaitAckReply reply = HF__AWAIT_ACK_REPLY__INIT;

	reply.acked = !fix->never_acked;
	closure(&reply, call);
}

static inline void on_claim(Hf__Saver_Service *rpc, const Hf__ClaimRequest *request,
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

static inline void on_complete(Hf__Saver_Service *rpc, const Hf__CompleteRequest *request,
			       Hf__CompleteReply_Closure closure, void *call)
{
	Hf__CompleteReply reply = HF__COMPLETE_REPLY__INIT;

	if (fix->complete_fails > 0) {
		fix->complete_fails--;
		hf_rpc_fail(call, HF_RPC_UNAVAILABLE, "STORE_UNAVAILABLE");
		return;
	}
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

static inline void on_lookup(Hf__Register_Service *rpc, const Hf__LookupRequest *request,
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

static inline void on_push(Hf__Room_Service *rpc, const Hf__PushRequest *request,
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

static inline void hold(struct fixture *f, const char *role, unsigned n, const char *rpc)
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

static inline void serve(struct fixture *f, const char *role, unsigned n, ProtobufCService *service,
			 struct hf_rpc_server **ret_server)
{
	struct hf_rpc_server_options options = { .address = "127.0.0.1:0", .service = service };

	assert_int_equal(hf_rpc_server_new(f->loop, f->service.metrics, &options, ret_server), 0);
	hold(f, role, n, hf_rpc_server_address(*ret_server));
}

static inline void start_fakes(struct fixture *f)
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

static inline bool all_connected(const struct hf_peers *peers, size_t count)
{
	const struct hf_peer *peer = hf_peers_first(peers);

	if (hf_peers_count(peers) != count)
		return false;
	for (; peer != NULL; peer = peer->next)
		if (!hf_rpc_client_connected(peer->client))
			return false;
	return true;
}

static inline int setup(void **state)
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
				  .stored_per_registration = 100,
				  .broadcasts = 20 };
	TURN_UNTIL(f, all_connected(f->center->savers, SAVERS) &&
			      all_connected(f->center->registers, 1) &&
			      all_connected(f->center->rooms, 1) && hf_apps_known(f->center->apps));
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	hf_rpc_server_free(f->service.rpc); /* as hf_service_main() does */
	f->service.rpc = NULL;
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

static inline void on_answer(const struct send_answer *answer, void *ctx)
{
	struct fixture *f = ctx;

	f->answers++;
	f->status = answer->status;
	f->replayed = answer->replayed;
	snprintf(f->text, sizeof(f->text), "%.*s", (int)hf_buffer_len(answer->text),
		 (const char *)hf_buffer_data(answer->text));
}

static inline struct send *begin(struct fixture *f, const char *text, const char *key)
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
static inline void send_to(struct fixture *f, unsigned count, const char *message,
			   const char *options)
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

static inline bool has(const struct fixture *f, const char *text)
{
	return strstr(f->text, text) != NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
