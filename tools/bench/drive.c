#include "drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "hf_clock.h"
#include "hf_text.h"

#define NODE 1023 /* of the ids made here: no process of the cluster gets it */

void *drive_alloc(struct drive *drive, size_t count, size_t size)
{
	void *block = calloc(count, size);

	if (block == NULL || drive->block_count == HF_ARRAY_LEN(drive->blocks)) {
		fprintf(stderr, "hf-drive: out of memory\n");
		exit(1);
	}
	drive->blocks[drive->block_count++] = block;
	return block;
}

uint64_t drive_random(struct drive *drive)
{
	drive->random ^= drive->random >> 12;
	drive->random ^= drive->random << 25;
	drive->random ^= drive->random >> 27;
	return drive->random * 0x2545f4914f6cdd1dull;
}

size_t drive_registration(const struct drive *drive, uint64_t number,
			  char ret[HF_REGISTRATION_MAX + 1])
{
	int len = snprintf(ret, HF_REGISTRATION_MAX + 1, "%s%llu", drive->options->prefix,
			   (unsigned long long)(drive->options->start + number));

	return (size_t)HF_MIN(len, HF_REGISTRATION_MAX);
}

int drive_connect(struct drive *drive, const char *address,
		  const ProtobufCServiceDescriptor *service, struct hf_rpc_client **ret_client)
{
	struct hf_rpc_client_options options = {
		.address = address, .peer_role = "bench", .service = service, .window = 65536
	};
	uint64_t give_up_ms = hf_clock_monotonic_ms() + 10000;
	int err = hf_rpc_client_new(drive->loop, drive->metrics, &options, ret_client);

	while (err == 0 && !hf_rpc_client_connected(*ret_client)) {
		if (hf_clock_monotonic_ms() > give_up_ms) {
			fprintf(stderr, "hf-drive: %s does not answer\n", address);
			return 1;
		}
		hf_loop_turn(drive->loop, true);
	}
	return err == 0 ? 0 : 1;
}

static void on_hold_over(struct hf_timer *timer, void *ctx);

/* One more call, now or when it may go. */
static void go_on(struct drive *drive)
{
	if (drive->ended || (drive->end_ns != 0 && hf_clock_monotonic_ns() >= drive->end_ns))
		return;
	if (drive->may_issue != NULL && !drive->may_issue(drive)) {
		drive->held++;
		if (!hf_timer_armed(&drive->hold_timer))
			hf_loop_arm(drive->loop, &drive->hold_timer, 1);
		return;
	}
	drive->in_flight++;
	if (!drive->issue(drive)) {
		drive->in_flight--;
		drive->ended = true;
	}
}

static void on_hold_over(struct hf_timer *timer, void *ctx)
{
	struct drive *drive = ctx;
	uint64_t held = drive->held;

	drive->held = 0;
	for (uint64_t i = 0; i < held; i++)
		go_on(drive);
}

void drive_answered(struct drive *drive, bool good, uint64_t units)
{
	drive->in_flight--;
	drive->last_ns = hf_clock_monotonic_ns();
	if (good) {
		drive->calls++;
		drive->units += units;
	} else {
		drive->failed++;
	}
	go_on(drive);
}

int drive_run(struct drive *drive, bool (*issue)(struct drive *drive))
{
	struct rusage usage;
	double seconds;

	drive->issue = issue;
	drive->start_ns = hf_clock_monotonic_ns();
	if (drive->options->seconds > 0)
		drive->end_ns = drive->start_ns + (uint64_t)(drive->options->seconds * 1e9);
	hf_timer_init(&drive->hold_timer, on_hold_over, drive);
	for (uint64_t i = 0; i < drive->options->inflight; i++)
		go_on(drive);
	while (drive->in_flight > 0 || drive->held > 0)
		hf_loop_turn(drive->loop, true);
	seconds = (double)(drive->last_ns - drive->start_ns) / 1e9;
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"calls\": %llu, \"units\": %llu, \"failed\": %llu, \"seconds\": %.3f, "
	       "\"per_second\": %.1f, \"cpu_s\": %.3f}\n",
	       (unsigned long long)drive->calls, (unsigned long long)drive->units,
	       (unsigned long long)drive->failed, seconds,
	       seconds > 0 ? (double)drive->units / seconds : 0,
	       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	return drive->units == 0;
}

static const struct {
	const char *name;
	int (*run)(struct drive *drive);
	const char *help;
} operations[] = {
	{ "echo-server", drive_echo_server, "answer 64 byte calls at --address" },
	{ "echo", drive_echo, "call it, 64 bytes each way" },
	{ "store", drive_store, "Saver.Store of --items messages a call" },
	{ "fill", drive_fill, "Register.Sync of --count sessions, as --room --incarnation" },
	{ "lookup", drive_lookup, "Register.Lookup of --items registrations a call" },
	{ "push", drive_push,
	  "Room.Push of --items messages a call to sessions that --other, a register, knows" },
	{ "fanout", drive_fanout, "Room.Push of --items messages a call, each to all sessions" },
};

static void usage(void)
{
	fprintf(stderr,
		"usage: hf-drive OPERATION --address A [--other A] [--app N] [--prefix P] "
		"[--start N] [--count N]\n"
		"                [--inflight N] [--items N] [--size BYTES] [--seconds S] "
		"[--transient 1]\n"
		"                [--room N --incarnation ID --salt HEX] [--stats-file FILE] "
		"[--open N] [--rate N]\n"
		"                [--shuffle 1]\n\n");
	for (size_t i = 0; i < HF_ARRAY_LEN(operations); i++)
		fprintf(stderr, "  %-12s %s\n", operations[i].name, operations[i].help);
	exit(1);
}

static uint64_t number(const char *text)
{
	uint64_t value;

	if (hf_text_parse_uint(text, strlen(text), &value) < 0)
		usage();
	return value;
}

static void parse(int argc, char **argv, struct drive_options *o)
{
	for (int i = 2; i + 1 < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];

		if (strcmp(name, "--address") == 0)
			o->address = value;
		else if (strcmp(name, "--other") == 0)
			o->other_address = value;
		else if (strcmp(name, "--prefix") == 0)
			o->prefix = value;
		else if (strcmp(name, "--app") == 0)
			o->app = number(value);
		else if (strcmp(name, "--start") == 0)
			o->start = number(value);
		else if (strcmp(name, "--count") == 0)
			o->count = number(value);
		else if (strcmp(name, "--open") == 0)
			o->open = number(value);
		else if (strcmp(name, "--inflight") == 0)
			o->inflight = number(value);
		else if (strcmp(name, "--items") == 0)
			o->items = number(value);
		else if (strcmp(name, "--size") == 0)
			o->size = number(value);
		else if (strcmp(name, "--seconds") == 0)
			o->seconds = strtod(value, NULL);
		else if (strcmp(name, "--rate") == 0)
			o->rate = strtod(value, NULL);
		else if (strcmp(name, "--room") == 0)
			o->room = number(value);
		else if (strcmp(name, "--incarnation") == 0 &&
			 hf_id_parse(value, strlen(value), &o->incarnation) == 0)
			continue;
		else if (strcmp(name, "--stats-file") == 0)
			o->stats_file = value;
		else if (strcmp(name, "--salt") == 0)
			o->salt = strtoull(value, NULL, 16);
		else if (strcmp(name, "--transient") == 0)
			o->transient = number(value) != 0;
		else if (strcmp(name, "--shuffle") == 0)
			o->shuffle = number(value) != 0;
		else
			usage();
	}
	if (o->address == NULL || o->items < 1 || o->items > 1000 || o->inflight < 1 ||
	    o->count < 1 || o->count > 10000000 || o->size > 65536)
		usage();
}

int main(int argc, char **argv)
{
	struct drive_options options = { .prefix = "bench-",
					 .app = 1,
					 .count = 1000,
					 .inflight = 64,
					 .items = 1,
					 .size = 256,
					 .seconds = 2 };
	struct drive drive = { .options = &options };
	int code = 1;

	if (argc < 2)
		usage();
	parse(argc, argv, &options);
	drive.loop = hf_loop_new();
	drive.metrics = hf_metrics_new();
	drive.random = hf_clock_monotonic_ns() | 1;
	hf_id_generator_init(&drive.ids, NODE);
	if (drive.loop == NULL || drive.metrics == NULL)
		return 1;
	for (size_t i = 0; i < HF_ARRAY_LEN(operations); i++) {
		if (strcmp(operations[i].name, argv[1]) == 0) {
			code = operations[i].run(&drive);
			hf_rpc_client_free(drive.client);
			while (drive.block_count > 0)
				free(drive.blocks[--drive.block_count]);
			hf_metrics_free(drive.metrics);
			hf_loop_free(drive.loop);
			return code;
		}
	}
	usage();
}
