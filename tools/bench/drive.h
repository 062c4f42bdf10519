/* tools/bench/drive.h - hf-drive: a closed loop of RPC calls at one service, for tools/perf.
 *
 * Keeps `inflight` calls open until the time is over and prints one line of JSON: calls, units
 * (what the calls carried), failures, seconds. It is no load tester for users: what it measures is
 * a service behind its inner door, without the rest of the cluster. */
#ifndef DRIVE_H
#define DRIVE_H

#include "hf_id.h"
#include "hf_loop.h"
#include "hf_rpc_client.h"

struct drive_options {
	const char *address, *other_address, *prefix, *stats_file;
	uint64_t app, start, count, inflight, items, size, open, room, incarnation, salt;
	double seconds, rate;
	bool transient, shuffle;
};

struct drive {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_rpc_client *client;
	const struct drive_options *options;
	struct hf_id_generator ids;
	uint64_t random;
	uint64_t start_ns, end_ns, last_ns;
	uint64_t calls, units, failed, in_flight;
	bool ended;
	void *state;      /* of the operation */
	void *blocks[16]; /* of drive_alloc() */
	size_t block_count;
	/* May the next call go out? NULL: always. Asked again each millisecond while not. */
	bool (*may_issue)(struct drive *drive);
	uint64_t held;
	struct hf_timer hold_timer;
	/* One more call. False: there is no more to do. */
	bool (*issue)(struct drive *drive);
};

#define DRIVE_TIMEOUT_MS 10000

/* Zeroed; lives until the end. Ends the program when there is none. */
void *drive_alloc(struct drive *drive, size_t count, size_t size);
uint64_t drive_random(struct drive *drive);
size_t drive_registration(const struct drive *drive, uint64_t number,
			  char ret[HF_REGISTRATION_MAX + 1]);
int drive_connect(struct drive *drive, const char *address,
		  const ProtobufCServiceDescriptor *service, struct hf_rpc_client **ret_client);
/* Keeps the calls going; 0, or 1 when all failed. Prints the line. */
int drive_run(struct drive *drive, bool (*issue)(struct drive *drive));
/* For every closure: counts, and issues the next call. `units` counts when `good`. */
void drive_answered(struct drive *drive, bool good, uint64_t units);

/* The operations. */
int drive_echo_server(struct drive *drive); /* drive_rpc.c */
int drive_echo(struct drive *drive);
int drive_store(struct drive *drive);
int drive_fill(struct drive *drive); /* drive_register.c */
int drive_lookup(struct drive *drive);
int drive_push(struct drive *drive); /* drive_push.c */
int drive_fanout(struct drive *drive);

#endif
