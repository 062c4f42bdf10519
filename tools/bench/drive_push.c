/* push and fanout: a room through its inside door, as center drives it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "drive.h"
#include "hf_clock.h"
#include "hf_wire.h"
#include "register.pb-c.h"
#include "room.pb-c.h"

#define LOOKUP_ITEMS 500

struct push {
	uint32_t *sessions;
	uint64_t *epochs;
	uint64_t found, asked, next;
	uint8_t *frames, *payload; /* one frame an item */
	size_t frame_size;
	Hf__PushItem *items, **pointers;
	uint64_t issued, most_open;   /* messages; how many more than were received may be sent */
	const struct shared *clients; /* of the hf-bench that receives, or NULL */
	uint64_t received_before;
	bool to_all;
};

/* At --rate messages a second, if there is one, and not ahead of the clients.
 *
 * Without this a sender runs ahead of slow clients, which then read and ack many messages at once:
 * cheaper than what is to be measured. */
static bool may_issue(struct drive *drive)
{
	const struct push *push = drive->state;
	uint64_t received = push->clients->stats[0].counters[COUNT_RX_MESSAGES];
	double rate = drive->options->rate;

	if (rate > 0 &&
	    (double)push->issued > rate * (double)(hf_clock_monotonic_ns() - drive->start_ns) / 1e9)
		return false;
	return push->issued < received - push->received_before + push->most_open;
}

static const struct shared *map_clients(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *memory = fd < 0 ? MAP_FAILED
			      : mmap(NULL, sizeof(struct shared) + sizeof(struct stats), PROT_READ,
				     MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	return memory == MAP_FAILED ? NULL : memory;
}

static void on_found(const Hf__LookupReply *reply, void *ctx)
{
	struct drive *drive = ctx;
	struct push *push = drive->state;

	for (size_t i = 0; reply != NULL && i < reply->n_results; i++) {
		if (reply->results[i]->presence != HF__PRESENCE__ONLINE)
			continue;
		push->sessions[push->found] = reply->results[i]->session;
		push->epochs[push->found++] = reply->results[i]->epoch;
	}
	drive->in_flight--;
}

/* Handle and epoch of every session, from register. */
static int find_sessions(struct drive *drive, struct push *push)
{
	static Hf__LookupItem items[LOOKUP_ITEMS], *pointers[LOOKUP_ITEMS];
	static char names[LOOKUP_ITEMS][HF_REGISTRATION_MAX + 1];
	struct hf_rpc_client *client;

	if (drive_connect(drive, drive->options->other_address, &hf__register__descriptor, &client))
		return 1;
	while (push->asked < drive->options->count) {
		Hf__LookupRequest request = HF__LOOKUP_REQUEST__INIT;

		for (; request.n_items < LOOKUP_ITEMS && push->asked < drive->options->count;
		     request.n_items++, push->asked++) {
			Hf__LookupItem *item = &items[request.n_items];

			*item = (Hf__LookupItem)HF__LOOKUP_ITEM__INIT;
			item->app = (uint32_t)drive->options->app;
			item->registration.len =
				drive_registration(drive, push->asked, names[request.n_items]);
			item->registration.data = (uint8_t *)names[request.n_items];
			pointers[request.n_items] = item;
		}
		request.items = pointers;
		drive->in_flight++;
		hf__register__lookup(hf_rpc_to(client, DRIVE_TIMEOUT_MS), &request, on_found,
				     drive);
		while (drive->in_flight > 0)
			hf_loop_turn(drive->loop, true);
	}
	hf_rpc_client_free(client);
	for (uint64_t i = push->found; drive->options->shuffle && i > 1; i--) {
		uint64_t other = drive_random(drive) % i, epoch = push->epochs[i - 1];
		uint32_t session = push->sessions[i - 1];

		push->sessions[i - 1] = push->sessions[other];
		push->epochs[i - 1] = push->epochs[other];
		push->sessions[other] = session;
		push->epochs[other] = epoch;
	}
	if (push->found > 0)
		return 0;
	fprintf(stderr, "hf-drive: register knows none of these registrations\n");
	return 1;
}

static void on_pushed(const Hf__PushReply *reply, void *ctx)
{
	struct drive *drive = ctx;
	struct push *push = drive->state;
	uint64_t written = 0;

	for (size_t i = 0; reply != NULL && i < reply->n_results; i++)
		written += reply->results[i] == HF__PUSH_RESULT__WRITTEN;
	if (reply != NULL) /* what was not written will not be received */
		push->issued -= reply->n_results - written;
	drive_answered(drive, reply != NULL, written);
}

static bool issue_push(struct drive *drive)
{
	struct push *push = drive->state;
	const struct drive_options *options = drive->options;
	Hf__PushRequest request = HF__PUSH_REQUEST__INIT;
	uint64_t wall_ms = hf_loop_wall_ms(drive->loop);

	for (uint64_t i = 0; i < options->items; i++) {
		Hf__PushItem *item = &push->items[i];
		uint8_t *frame = push->frames + i * push->frame_size;
		uint64_t target = push->to_all ? 0 : push->next++ % push->found;
		struct hf_wire_push body = { .message_id = hf_id_next(&drive->ids, wall_ms),
					     .app = (uint32_t)options->app,
					     .kind = HF_WIRE_PAYLOAD_BYTES,
					     .qos = !options->transient,
					     .payload = { push->payload, options->size } };
		ssize_t len = hf_wire_encode_push(&body, frame, push->frame_size);

		*item = (Hf__PushItem)HF__PUSH_ITEM__INIT;
		item->frame = (ProtobufCBinaryData){ len > 0 ? (size_t)len : 0, frame };
		item->message_id = body.message_id;
		item->class_ = options->transient ? HF__CLASS__TRANSIENT : HF__CLASS__STORED;
		item->n_sessions = item->n_epochs = push->to_all ? push->found : 1;
		item->sessions = &push->sessions[target];
		item->epochs = &push->epochs[target];
		push->pointers[i] = item;
	}
	push->issued += options->items * (push->to_all ? push->found : 1);
	request.n_items = options->items;
	request.items = push->pointers;
	hf__room__push(hf_rpc_to(drive->client, DRIVE_TIMEOUT_MS), &request, on_pushed, drive);
	return true;
}

static int run(struct drive *drive, bool to_all)
{
	const struct drive_options *options = drive->options;
	struct push push = { .to_all = to_all,
			     .frame_size = options->size + HF_WIRE_PUSH_OVERHEAD };

	push.sessions = drive_alloc(drive, options->count, sizeof(*push.sessions));
	push.epochs = drive_alloc(drive, options->count, sizeof(*push.epochs));
	push.payload = drive_alloc(drive, 1, options->size + 1);
	push.frames = drive_alloc(drive, options->items, push.frame_size);
	push.items = drive_alloc(drive, options->items, sizeof(*push.items));
	push.pointers = drive_alloc(drive, options->items, sizeof(*push.pointers));
	if (options->other_address == NULL)
		return 1;
	drive->state = &push;
	if (find_sessions(drive, &push) ||
	    drive_connect(drive, options->address, &hf__room__descriptor, &drive->client))
		return 1;
	if (options->stats_file != NULL) {
		push.clients = map_clients(options->stats_file);
		if (push.clients == NULL)
			return 1;
		push.received_before = push.clients->stats[0].counters[COUNT_RX_MESSAGES];
		push.most_open = options->open > 0 ? options->open
						   : HF_MAX(push.found / (to_all ? 2 : 4), 1);
		drive->may_issue = may_issue;
	}
	return drive_run(drive, issue_push);
}

int drive_push(struct drive *drive)
{
	return run(drive, false);
}

int drive_fanout(struct drive *drive)
{
	return run(drive, true);
}
