#include "agent_config.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "plan.h"

#define UNIX_PATH_MAX 107 /* of a socket's address */

static const char *const role_names[] = {
	[ROLE_REGISTER] = "register",
	[ROLE_SAVER] = "saver",
	[ROLE_COORDINATOR] = "coordinator",
	[ROLE_CENTER] = "center",
	[ROLE_DISPATCHER] = "dispatcher",
	[ROLE_ROOM] = "room",
	[ROLE_REDIS] = "redis",
	[ROLE_MARIADB] = "mariadb",
};

static const char *const role_choices[] = { "register",   "saver", "coordinator", "center",
					    "dispatcher", "room",  NULL };

const char *agent_role_name(enum agent_role role)
{
	return role_names[role];
}

#define AT(field) offsetof(struct agent_process_config, field)
static const struct hf_option process_options[] = {
	{ "role", HF_OPT_ENUM, AT(role), NULL, 0, 0,
	  "register, saver, coordinator, center, dispatcher or room", .choices = role_choices },
	{ "count", HF_OPT_UINT, AT(count), "1", 0, 256, "how many of them" },
	{ "config", HF_OPT_STRING, AT(config), "", 0, 4000, "configuration file of the service" },
	{ "set", HF_OPT_STRINGS, AT(set), "", 0, 40,
	  "key=value each, over the file; {n}, {id} and {data_dir} are filled in" },
	{ 0 },
};
#undef AT

#define AT(field) offsetof(struct agent_config, field)
const struct hf_option agent_options[] = {
	{ "data_dir", HF_OPT_STRING, AT(data_dir), "/var/lib/holdfast", 1, 3000,
	  "where the keeper, the stores and the logs live; relative to the working folder" },
	{ "services_dir", HF_OPT_STRING, AT(services_dir), "", 0, 3000,
	  "where the services' programs are; default: where the agent's own program is, or beside "
	  "it in a build tree" },
	{ "processes", HF_OPT_LIST, AT(processes), "", 0, 64, "what runs on this host",
	  .items = process_options, .item_size = sizeof(struct agent_process_config),
	  .reloadable = true },
	{ "redis.enabled", HF_OPT_BOOL, AT(redis_enabled), "false", 0, 0,
	  "run a private Redis for the savers of this host" },
	{ "redis.port", HF_OPT_UINT, AT(redis_port), "0", 0, 65535,
	  "its port on 127.0.0.1, beside the Unix socket; 0: the socket only" },
	{ "redis.maxmemory", HF_OPT_SIZE, AT(redis_maxmemory), "0", 0, 0,
	  "most memory it takes before it refuses writes; 0: no limit" },
	{ "redis.program", HF_OPT_STRING, AT(redis_program), "redis-server", 1, 3000,
	  "program, by name or path" },
	{ "mariadb.enabled", HF_OPT_BOOL, AT(mariadb_enabled), "false", 0, 0,
	  "run a private MariaDB for the savers of this host" },
	{ "mariadb.port", HF_OPT_UINT, AT(mariadb_port), "0", 0, 65535,
	  "its port on 127.0.0.1, beside the Unix socket; 0: the socket only" },
	{ "mariadb.buffer_pool", HF_OPT_SIZE, AT(mariadb_buffer_pool), "64MiB", 16777216, 0,
	  "memory for its pages" },
	{ "mariadb.program", HF_OPT_STRING, AT(mariadb_program), "mariadbd", 1, 3000,
	  "program, by name or path" },
	{ "mariadb.install_program", HF_OPT_STRING, AT(mariadb_install_program),
	  "mariadb-install-db", 1, 3000, "makes the data folder at the first start" },
	{ "stop.timeout", HF_OPT_MSEC, AT(stop_timeout_ms), "40s", 100, 3600000,
	  "time a process has to end after TERM before it is killed", .reloadable = true },
	{ "node.id", HF_OPT_STRING, AT(service.node_id), "", 0, HF_NODE_ID_MAX,
	  "name of this agent in the cluster; default agent-<host>" },
	{ "node.prefix", HF_OPT_STRING, AT(node_prefix), "", 0, 40,
	  "put before the node ids of its processes, to tell hosts apart" },
	{ "node.zone", HF_OPT_STRING, AT(service.zone), "default", 1, HF_NODE_ID_MAX,
	  "data centre or region; told to the processes as well" },
	{ "keeper.backend", HF_OPT_STRING, AT(service.keeper), "", 0, 3500,
	  "the cluster's shared tree; default dir:<data_dir>/keeper" },
	{ "admin.bind", HF_OPT_ADDRESS, AT(service.admin_bind), "127.0.0.1:9464", 0, 0,
	  "admin HTTP port: keep it off public networks" },
	{ "log.level", HF_OPT_ENUM, AT(service.log_level), "info", 0, 0,
	  "debug, info, warn or error", .choices = hf_log_level_choices, .reloadable = true },
	{ "log.format", HF_OPT_ENUM, AT(service.log_format), "text", 0, 0, "text or json",
	  .choices = hf_log_format_choices, .reloadable = true },
	{ "log.file", HF_OPT_STRING, AT(service.log_file), "", 0, 1024,
	  "log file of the agent; default standard error" },
	{ "shutdown.drain_timeout", HF_OPT_MSEC, AT(service.drain_timeout_ms), "5m", 0, 3600000,
	  "longest time an orderly stop of everything may take", .reloadable = true },
	{ 0 },
};
#undef AT

static int fail(char error[HF_CONFIG_ERROR_SIZE], const char *what)
{
	snprintf(error, HF_CONFIG_ERROR_SIZE, "%s", what);
	return -EINVAL;
}

/* Replaces *field (malloc'd, or NULL out of memory). */
static bool set_string(char **field, char *text)
{
	if (text == NULL)
		return false;
	free(*field);
	*field = text;
	return true;
}

static bool make_absolute(char **field)
{
	char folder[PATH_MAX];
	char *text = NULL;

	if ((*field)[0] == '/')
		return true;
	if (getcwd(folder, sizeof(folder)) == NULL || asprintf(&text, "%s/%s", folder, *field) < 0)
		return false;
	return set_string(field, text);
}

static bool default_node_id(char **field)
{
	char host[33] = "localhost";
	char *text = NULL;

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	for (char *p = host; *p != '\0'; p++) {
		bool fits = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			    (*p >= '0' && *p <= '9');

		if (!fits)
			*p = '-';
	}
	if (asprintf(&text, "agent-%s", host) < 0)
		return false;
	return set_string(field, text);
}

static bool default_services_dir(char **field)
{
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (len < 0)
		return false;
	program[len] = '\0';
	return set_string(field, strdup(dirname(program)));
}

static bool default_keeper(char **field, const char *data_dir)
{
	char *text = NULL;

	return asprintf(&text, "dir:%s/keeper", data_dir) >= 0 && set_string(field, text);
}

int agent_config_check(void *config, char error[HF_CONFIG_ERROR_SIZE])
{
	struct agent_config *c = config;
	struct plan plan;
	int err;

	if (!make_absolute(&c->data_dir) ||
	    (c->services_dir[0] == '\0' && !default_services_dir(&c->services_dir)) ||
	    (c->service.keeper[0] == '\0' && !default_keeper(&c->service.keeper, c->data_dir)) ||
	    (c->service.node_id[0] == '\0' && !default_node_id(&c->service.node_id)))
		return fail(error, "out of memory");
	if ((c->redis_enabled || c->mariadb_enabled) &&
	    strlen(c->data_dir) + sizeof("/run/mariadb.sock") - 1 > UNIX_PATH_MAX)
		return fail(error, "data_dir: too long for the Unix sockets of the stores");
	err = plan_build(c, &plan, error);
	if (err == 0)
		plan_deinit(&plan);
	return err;
}
