/* deploy/agent/argv.h - a command line in the making. */
#ifndef ARGV_H
#define ARGV_H

#include "hf_base.h"

struct argv {
	char **items; /* NULL-terminated once anything was added */
	size_t count, capacity;
	bool failed; /* out of memory; stays set: build it all, then look once */
};

void argv_add(struct argv *argv, const char *fmt, ...) HF_PRINTF(2, 3);
/* "--set", "text" */
void argv_add_set(struct argv *argv, const char *fmt, ...) HF_PRINTF(2, 3);
/* The list, now the caller's; NULL after a failure, when everything is freed. */
HF_MUST_CHECK char **argv_take(struct argv *argv);

#endif
