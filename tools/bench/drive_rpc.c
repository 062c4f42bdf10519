/* echo: the RPC layer alone, between two processes of ours. store: saver and its Redis. */
#include <signal.h>
#include <stdio.h>

#include "drive.h"
#include "hf_rpc_server.h"
#include "hf_wire.h"
#include "saver.pb-c.h"

#define REGISTERING_MAX 64

#define ECHO_BYTES 60 /* with its field's tag and length: 64 bytes and a little */

static void on_claim(Hf__Saver_Service *service, const Hf__ClaimRequest *request,
		     Hf__ClaimReply_Closure closure, void *call)
{
	Hf__ClaimReply reply = HF__CLAIM_REPLY__INIT;

	reply.response = request->key;
	closure(&reply, call);
}

static void on_stop(evutil_socket_t signal, short what, void *ctx)
{
	hf_loop_stop(ctx);
}

int drive_echo_server(struct drive *drive)
{
	static Hf__Saver_Service service = { .claim = on_claim };
	struct hf_rpc_server_options options = { .address = drive->options->address };
	struct hf_rpc_server *server;
	struct event *stop = evsignal_new(drive->loop->base, SIGTERM, on_stop, drive->loop);

	hf__saver__init(&service, NULL);
	service.claim = on_claim;
	options.service = &service.base;
	if (stop == NULL || event_add(stop, NULL) < 0 ||
	    hf_rpc_server_new(drive->loop, drive->metrics, &options, &server) < 0)
		return 1;
	printf("%s\n", hf_rpc_server_address(server));
	fflush(stdout);
	hf_loop_run(drive->loop);
	hf_rpc_server_free(server);
	event_free(stop);
	return 0;
}

static void on_echo(const Hf__ClaimReply *reply, void *ctx)
{
	drive_answered(ctx, reply != NULL && reply->response.len == ECHO_BYTES, 1);
}

static bool issue_echo(struct drive *drive)
{
	static uint8_t bytes[ECHO_BYTES];
	Hf__ClaimRequest request = HF__CLAIM_REQUEST__INIT;

	request.key = (ProtobufCBinaryData){ sizeof(bytes), bytes };
	hf__saver__claim(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_echo, drive);
	return true;
}

int drive_echo(struct drive *drive)
{
	if (drive_connect(drive, drive->options->address, &hf__saver__descriptor, &drive->client))
		return 1;
	return drive_run(drive, issue_echo);
}

struct store {
	uint8_t *frame;
	size_t frame_len;
	Hf__StoreItem *items, **pointers;
	char (*registrations)[HF_REGISTRATION_MAX + 1];
};

static void on_stored(const Hf__StoreReply *reply, void *ctx)
{
	struct drive *drive = ctx;

	drive_answered(drive, reply != NULL && reply->n_unregistered == 0 && reply->n_failures == 0,
		       drive->options->items);
}

static void on_registered(const Hf__LoadReply *reply, void *ctx)
{
	struct drive *drive = ctx;

	drive->in_flight--;
	if (reply == NULL)
		drive->failed++;
}

/* The store takes nothing for who never logged in. */
static int register_all(struct drive *drive)
{
	char name[HF_REGISTRATION_MAX + 1];

	for (uint64_t i = 0; i < drive->options->count; i++) {
		Hf__LoadRequest request = HF__LOAD_REQUEST__INIT;
		Hf__Profile profile = HF__PROFILE__INIT;

		request.app = (uint32_t)drive->options->app;
		request.registration.len = drive_registration(drive, i, name);
		request.registration.data = (uint8_t *)name;
		request.login = true;
		request.max_count = 1;
		request.profile = &profile;
		drive->in_flight++;
		hf__saver__load(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_registered,
				drive);
		while (drive->in_flight > (i + 1 < drive->options->count ? REGISTERING_MAX : 0))
			hf_loop_turn(drive->loop, true);
	}
	if (drive->failed == 0)
		return 0;
	fprintf(stderr, "hf-drive: saver did not take all registrations\n");
	return 1;
}

static bool issue_store(struct drive *drive)
{
	struct store *store = drive->state;
	Hf__StoreRequest request = HF__STORE_REQUEST__INIT;
	ProtobufCBinaryData frame = { store->frame_len, store->frame };
	uint64_t wall_ms = hf_loop_wall_ms(drive->loop);

	for (uint64_t i = 0; i < drive->options->items; i++) {
		Hf__StoreItem *item = &store->items[i];
		uint64_t target = drive_random(drive) % drive->options->count;

		*item = (Hf__StoreItem)HF__STORE_ITEM__INIT;
		item->message_id = hf_id_next(&drive->ids, wall_ms);
		item->app = (uint32_t)drive->options->app;
		item->registration.len = drive_registration(drive, target, store->registrations[i]);
		item->registration.data = (uint8_t *)store->registrations[i];
		item->class_ = HF__CLASS__STORED;
		item->expires_ms = wall_ms + 3600000;
		item->cap = 100;
		store->pointers[i] = item;
	}
	request.n_frames = 1;
	request.frames = &frame;
	request.n_items = drive->options->items;
	request.items = store->pointers;
	hf__saver__store(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_stored, drive);
	return true;
}

int drive_store(struct drive *drive)
{
	const struct drive_options *options = drive->options;
	struct store store = { .frame = drive_alloc(drive, 1, options->size + 64) };
	uint8_t *payload = drive_alloc(drive, 1, options->size + 1);
	struct hf_wire_push push = { .message_id = 1,
				     .app = (uint32_t)options->app,
				     .kind = HF_WIRE_PAYLOAD_BYTES,
				     .qos = 1,
				     .payload = { payload, options->size } };
	ssize_t len;

	store.items = drive_alloc(drive, options->items, sizeof(*store.items));
	store.pointers = drive_alloc(drive, options->items, sizeof(*store.pointers));
	store.registrations = drive_alloc(drive, options->items, sizeof(*store.registrations));
	len = hf_wire_encode_push(&push, store.frame, options->size + 64);
	store.frame_len = len > 0 ? (size_t)len : 0;
	drive->state = &store;
	if (drive_connect(drive, options->address, &hf__saver__descriptor, &drive->client) ||
	    register_all(drive))
		return 1;
	return drive_run(drive, issue_store);
}
