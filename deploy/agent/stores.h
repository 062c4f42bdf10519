/* deploy/agent/stores.h - the private Redis and MariaDB of one host: their command lines, the files
 * they need, and how to tell that they answer. */
#ifndef STORES_H
#define STORES_H

#include "agent_config.h"
#include "argv.h"

/* The command line of ROLE_REDIS or ROLE_MARIADB. 0, or -EINVAL (the program is not there) or
 * -ENOMEM. */
HF_MUST_CHECK int stores_argv(const struct agent_config *config, enum agent_role role,
			      char ***ret_argv, char error[HF_CONFIG_ERROR_SIZE]);
/* Where a saver finds the stores that are enabled. */
void stores_add_saver_options(const struct agent_config *config, struct argv *argv);

/* Make the folders and files that the stores start from. 0 or -errno, logged. */
HF_MUST_CHECK int stores_prepare(const struct agent_config *config);

/* Ask a store whether it serves. `cb` runs exactly once, later, unless freed before. */
struct stores_probe;
HF_MUST_CHECK int stores_probe_new(struct hf_loop *loop, const struct agent_config *config,
				   enum agent_role role, void (*cb)(bool answers, void *ctx),
				   void *ctx, struct stores_probe **ret_probe); /* 0 or -errno */
void stores_probe_free(struct stores_probe *probe); /* NULL is fine; not needed after `cb` */

#endif
