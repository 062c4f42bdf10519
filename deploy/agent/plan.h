/* deploy/agent/plan.h - the processes that a configuration asks for, with their command lines.
 * Nothing runs here; programs are only looked for.
 *
 * Node ids are <node.prefix><role>-<n>, n from 1, counted over all entries of one role. In `set`,
 * "{n}" becomes that number, "{id}" the node id and "{data_dir}" the agent's folder:
 *
 *	set: ["listen=0.0.0.0:710{n}"]
 */
#ifndef PLAN_H
#define PLAN_H

#include "agent_config.h"

#define PLAN_MAX 512 /* processes of one host */

struct plan_entry {
	char name[HF_NODE_ID_MAX + 1];
	enum agent_role role;
	char **argv; /* NULL-terminated; argv[0] is a path */
};

struct plan {
	size_t count;
	struct plan_entry *entries; /* the stores first */
};

/* 0, or -EINVAL or -ENOMEM with a message. */
HF_MUST_CHECK int plan_build(const struct agent_config *config, struct plan *ret,
			     char error[HF_CONFIG_ERROR_SIZE]);
void plan_deinit(struct plan *plan);
void plan_argv_free(char **argv);
bool plan_argv_equal(char *const *a, char *const *b);

/* Puts number, id and folder into `text`; malloc'd, NULL out of memory. */
HF_MUST_CHECK char *plan_expand(const char *text, unsigned n, const char *id, const char *data_dir);

#endif
