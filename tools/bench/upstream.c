/* What clients send to their business: when, by whom, and how long it took. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "hf_wire.h"

#define OPEN_MAX  65536u /* unanswered messages of a worker; a power of two */
#define BURST_MAX 256u

/* The sequence of a message is its place in the ring, and which time round it is. */
struct unanswered {
	const struct client *client; /* NULL: answered */
	uint32_t sequence;
	uint64_t intended_ns, sent_ns;
};

struct upstream {
	struct unanswered ring[OPEN_MAX];
	uint32_t sequence; /* of the newest; 0 is none */
	uint64_t next;     /* number of the next message of this worker */
	uint64_t begin_ns; /* when the first one is due */
	uint64_t turn;     /* whose turn it is */
	uint8_t *payload, *frame;
	size_t frame_size;
};

static const struct worker *worker_of(const struct fleet *fleet)
{
	return fleet->engine.worker;
}

static uint64_t *counter_of(const struct fleet *fleet, enum counter counter)
{
	return &worker_of(fleet)->stats->counters[counter];
}

int upstream_open(struct fleet *fleet)
{
	const struct options *options = worker_of(fleet)->options;
	struct upstream *upstream = calloc(1, sizeof(*upstream));

	fleet->upstream = upstream;
	if (upstream == NULL)
		return -ENOMEM;
	upstream->frame_size = options->size + 256;
	upstream->payload = calloc(1, options->size);
	upstream->frame = malloc(upstream->frame_size);
	/* A second after the last arrival is due: the logins have the machine for themselves. */
	upstream->begin_ns =
		worker_of(fleet)->shared->start_ns + 1000000000u + shape_length_ns(&options->shape);
	return upstream->payload == NULL || upstream->frame == NULL ? -ENOMEM : 0;
}

void upstream_close(struct fleet *fleet)
{
	if (fleet->upstream == NULL)
		return;
	free(fleet->upstream->payload);
	free(fleet->upstream->frame);
	free(fleet->upstream);
	fleet->upstream = NULL;
}

static struct client *next_open(struct fleet *fleet)
{
	for (uint64_t i = 0; i < HF_MIN(fleet->count, (uint64_t)64); i++) {
		struct client *client = &fleet->clients[fleet->upstream->turn++ % fleet->count];

		if (client->state == CLIENT_OPEN)
			return client;
	}
	return NULL;
}

static void send_one(struct fleet *fleet, struct client *client, uint64_t intended_ns)
{
	const struct options *options = worker_of(fleet)->options;
	struct upstream *upstream = fleet->upstream;
	struct engine *engine = &fleet->engine;
	struct payload head = { .run = worker_of(fleet)->shared->run,
				.sequence = upstream->next,
				.intended_ns = engine_wall_of(engine, intended_ns),
				.sent_ns = engine->wall_ns };
	struct hf_wire_upstream wire = {
		.app = (uint32_t)options->app,
		.forward_type = hf_bytes_of_string(options->forward_type),
		.payload = hf_bytes_of(upstream->payload, options->size),
	};
	struct unanswered *place;
	ssize_t len;

	if (++upstream->sequence == 0)
		upstream->sequence = 1;
	place = &upstream->ring[upstream->sequence % OPEN_MAX];
	if (place->client != NULL) /* so long unanswered: it never will be */
		++*counter_of(fleet, COUNT_UPSTREAM_REFUSED);
	*place = (struct unanswered){ client, upstream->sequence, intended_ns, engine->now_ns };
	wire.sequence = upstream->sequence;
	payload_write(&head, upstream->payload);
	len = hf_wire_encode_upstream(&wire, upstream->frame, upstream->frame_size);
	++*counter_of(fleet, COUNT_UPSTREAM_SENT);
	if (len < 0 || !client_send(client, upstream->frame, (size_t)len)) {
		place->client = NULL;
		++*counter_of(fleet, COUNT_UPSTREAM_REFUSED);
	}
}

uint64_t upstream_send_due(struct fleet *fleet)
{
	const struct worker *worker = worker_of(fleet);
	struct upstream *upstream = fleet->upstream;
	uint64_t now_ns = fleet->engine.now_ns;

	if (fleet->end_ns != 0 && now_ns + 1000000000u >= fleet->end_ns)
		return UINT64_MAX; /* the last second is for the answers */
	for (unsigned i = 0; i < BURST_MAX; i++) {
		uint64_t due_ns =
			upstream->begin_ns +
			(uint64_t)((double)(upstream->next * worker->count + worker->index) /
				   worker->options->rate * 1e9);
		struct client *client;

		if (due_ns > now_ns)
			return due_ns;
		upstream->next++;
		client = next_open(fleet);
		if (client != NULL)
			send_one(fleet, client, due_ns);
		else
			++*counter_of(fleet, COUNT_DROPPED_ARRIVALS);
	}
	return now_ns;
}

static struct unanswered *find(const struct client *client, uint32_t sequence)
{
	struct upstream *upstream = client->fleet->upstream;
	struct unanswered *place;

	if (upstream == NULL)
		return NULL;
	place = &upstream->ring[sequence % OPEN_MAX];
	return place->sequence == sequence ? place : NULL;
}

void upstream_on_ack(struct client *client, struct hf_bytes body)
{
	struct stats *stats = worker_of(client->fleet)->stats;
	uint64_t now_ns = client->fleet->engine.now_ns;
	struct hf_wire_upstream_ack ack;
	struct unanswered *place;

	if (hf_wire_decode_upstream_ack(body, &ack) < 0)
		return;
	place = find(client, ack.sequence);
	if (place == NULL || place->client != client)
		return;
	place->client = NULL;
	if (ack.code != 0) {
		stats->counters[COUNT_UPSTREAM_REFUSED]++;
		return;
	}
	stats->counters[COUNT_UPSTREAM_ACCEPTED]++;
	hf_histogram_record(&stats->hist[HIST_UPSTREAM], (now_ns - place->intended_ns) / 1000);
	hf_histogram_record(&stats->hist[HIST_UPSTREAM_UNCORRECTED],
			    (now_ns - place->sent_ns) / 1000);
}

void upstream_on_answer(struct client *client, uint32_t sequence)
{
	if (find(client, sequence) != NULL)
		++*counter_of(client->fleet, COUNT_UPSTREAM_ANSWERS);
}
