/* deploy/agent/agent_config.h - what the agent's YAML file says. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include "hf_service.h"

enum agent_role {
	ROLE_REGISTER,
	ROLE_SAVER,
	ROLE_COORDINATOR,
	ROLE_CENTER,
	ROLE_DISPATCHER,
	ROLE_ROOM,
	ROLE_SERVICE_COUNT,
	ROLE_REDIS = ROLE_SERVICE_COUNT,
	ROLE_MARIADB,
	ROLE_COUNT
};
const char *agent_role_name(
	enum agent_role role); /* "room": program, keeper and label names follow */
static inline bool agent_role_is_store(enum agent_role role)
{
	return role >= ROLE_SERVICE_COUNT;
}

/* One entry of `processes`. */
struct agent_process_config {
	int role; /* enum agent_role */
	uint64_t count;
	char *config;          /* file given by -c; "": none */
	struct hf_strings set; /* "key=value" each; see plan.h for what is put in */
};

struct agent_config {
	struct hf_service_config service;
	char *data_dir; /* absolute */
	char *services_dir, *node_prefix;
	uint64_t stop_timeout_ms;
	struct hf_list processes;

	bool redis_enabled;
	uint64_t redis_port, redis_maxmemory;
	char *redis_program;

	bool mariadb_enabled;
	uint64_t mariadb_port, mariadb_buffer_pool;
	char *mariadb_program, *mariadb_install_program;
};

extern const struct hf_option agent_options[];

/* Fills in what depends on other values and checks the whole; for struct hf_service_type. */
int agent_config_check(void *config, char error[HF_CONFIG_ERROR_SIZE]);

#endif
