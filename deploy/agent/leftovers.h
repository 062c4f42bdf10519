/* deploy/agent/leftovers.h - one agent per data folder, and nothing left running of the one before.
 *
 * run/children records every live child as "<pid> <start time> <role> <name>" under the boot id of
 * the kernel, so that a pid that was given to somebody else since is never mistaken for ours. */
#ifndef LEFTOVERS_H
#define LEFTOVERS_H

#include "process.h"

/* Make the data folder with its parts and take it for us until the process ends. 0, -EBUSY (another
 * agent has it), or -errno; logged. *ret_fd stays open. */
HF_MUST_CHECK int leftovers_lock(const char *data_dir, int *ret_fd);

/* The start time of `pid` in clock ticks since boot; 0: there is no such process, or it has ended.
 */
uint64_t leftovers_birth(pid_t pid);

/* Write the record of all children of `supervisor`. */
void leftovers_record(const struct supervisor *supervisor);

struct leftover {
	pid_t pid;
	uint64_t born;
	enum agent_role role;
	char name[HF_NODE_ID_MAX + 1];
};

struct leftovers {
	size_t count;
	struct leftover *items;
};

/* Those of the record that still live; malloc'd. */
void leftovers_load(const char *data_dir, struct leftovers *ret);
/* Forget those that have ended; the number that is left. */
size_t leftovers_prune(struct leftovers *leftovers);
/* Signal the services among them, or the stores. */
void leftovers_signal(const struct leftovers *leftovers, bool stores, int number);
bool leftovers_has(const struct leftovers *leftovers, bool stores);
void leftovers_deinit(struct leftovers *leftovers);

/* The lines of a record, as text; for leftovers_load() and its test. Lines that make no sense are
 * skipped. */
HF_MUST_CHECK int leftovers_parse(const char *text, const char *boot_id, struct leftovers *ret);

#endif
