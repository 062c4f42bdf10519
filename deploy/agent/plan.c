#include "plan.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "argv.h"
#include "stores.h"

static int fail(char error[HF_CONFIG_ERROR_SIZE], const char *fmt, ...) HF_PRINTF(2, 3);

static int fail(char error[HF_CONFIG_ERROR_SIZE], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, HF_CONFIG_ERROR_SIZE, fmt, args);
	va_end(args);
	return -EINVAL;
}

void plan_argv_free(char **argv)
{
	for (size_t i = 0; argv != NULL && argv[i] != NULL; i++)
		free(argv[i]);
	free(argv);
}

bool plan_argv_equal(char *const *a, char *const *b)
{
	size_t i = 0;

	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == NULL && b[i] == NULL;
}

char *plan_expand(const char *text, unsigned n, const char *id, const char *data_dir)
{
	char *ret = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&ret, &size);

	if (out == NULL)
		return NULL;
	while (*text != '\0') {
		if (strncmp(text, "{n}", 3) == 0) {
			fprintf(out, "%u", n);
			text += 3;
		} else if (strncmp(text, "{id}", 4) == 0) {
			fputs(id, out);
			text += 4;
		} else if (strncmp(text, "{data_dir}", 10) == 0) {
			fputs(data_dir, out);
			text += 10;
		} else {
			fputc(*text++, out);
		}
	}
	if (fclose(out) != 0) {
		free(ret);
		return NULL;
	}
	return ret;
}

/* Installed: all programs in one folder. In a build tree each service has its own. */
static bool find_service(const char *folder, enum agent_role role, char ret[PATH_MAX])
{
	const char *name = agent_role_name(role);

	for (unsigned layout = 0; layout < 3; layout++) {
		int len;

		if (layout == 0)
			len = snprintf(ret, PATH_MAX, "%s/holdfast-%s", folder, name);
		else
			len = snprintf(ret, PATH_MAX, "%s%s/%s/holdfast-%s", folder,
				       layout == 1 ? "" : "/../../services", name, name);
		if (len > 0 && len < PATH_MAX && access(ret, X_OK) == 0)
			return true;
	}
	return false;
}

static char **service_argv(const struct agent_config *config,
			   const struct agent_process_config *process, const char *program,
			   const char *id, unsigned n)
{
	struct argv argv = { 0 };

	argv_add(&argv, "%s", program);
	if (process->config[0] != '\0') {
		argv_add(&argv, "-c");
		argv_add(&argv, "%s", process->config);
	}
	argv_add(&argv, "--node-id");
	argv_add(&argv, "%s", id);
	argv_add_set(&argv, "keeper.backend=%s", config->service.keeper);
	argv_add_set(&argv, "node.zone=%s", config->service.zone);
	argv_add_set(&argv, "log.file=%s/log/%s.log", config->data_dir, id);
	if (process->role == ROLE_SAVER)
		stores_add_saver_options(config, &argv);
	for (size_t i = 0; i < process->set.count; i++) {
		char *text = plan_expand(process->set.values[i], n, id, config->data_dir);

		if (text == NULL)
			argv.failed = true;
		else
			argv_add_set(&argv, "%s", text);
		free(text);
	}
	return argv_take(&argv);
}

/* Takes `argv`. */
static int add_entry(struct plan *plan, const char *name, enum agent_role role, char **argv,
		     char error[HF_CONFIG_ERROR_SIZE])
{
	struct plan_entry *entry = &plan->entries[plan->count];

	if (argv == NULL) {
		fail(error, "out of memory");
		return -ENOMEM;
	}
	if (plan->count == PLAN_MAX) {
		plan_argv_free(argv);
		return fail(error, "processes: more than %d", PLAN_MAX);
	}
	*entry = (struct plan_entry){ .role = role, .argv = argv };
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	plan->count++;
	return 0;
}

static int add_processes(struct plan *plan, const struct agent_config *config,
			 const struct agent_process_config *process, unsigned *count,
			 char error[HF_CONFIG_ERROR_SIZE])
{
	const char *role = agent_role_name((enum agent_role)process->role);
	char program[PATH_MAX];

	for (size_t i = 0; i < process->set.count; i++) {
		const char *text = process->set.values[i];

		if (strchr(text, '=') == NULL || text[0] == '=')
			return fail(error, "processes: set of %s: %s: write it as key=value", role,
				    text);
	}
	if (!find_service(config->services_dir, (enum agent_role)process->role, program))
		return fail(error, "processes: holdfast-%s is not in %s (services_dir)", role,
			    config->services_dir);
	for (uint64_t i = 0; i < process->count; i++) {
		char id[HF_NODE_ID_MAX + 1];
		int err;

		snprintf(id, sizeof(id), "%s%s-%u", config->node_prefix, role, ++*count);
		err = add_entry(plan, id, (enum agent_role)process->role,
				service_argv(config, process, program, id, *count), error);
		if (err < 0)
			return err;
	}
	return 0;
}

static int add_store(struct plan *plan, const struct agent_config *config, enum agent_role role,
		     char error[HF_CONFIG_ERROR_SIZE])
{
	char **argv = NULL;
	int err = stores_argv(config, role, &argv, error);

	return err < 0 ? err : add_entry(plan, agent_role_name(role), role, argv, error);
}

int plan_build(const struct agent_config *config, struct plan *ret,
	       char error[HF_CONFIG_ERROR_SIZE])
{
	const struct agent_process_config *processes = config->processes.items;
	unsigned counts[ROLE_SERVICE_COUNT] = { 0 };
	struct plan plan = { 0 };
	int err = 0;

	plan.entries = calloc(PLAN_MAX, sizeof(*plan.entries));
	if (plan.entries == NULL) {
		fail(error, "out of memory");
		return -ENOMEM;
	}
	if (config->redis_enabled)
		err = add_store(&plan, config, ROLE_REDIS, error);
	if (err == 0 && config->mariadb_enabled)
		err = add_store(&plan, config, ROLE_MARIADB, error);
	for (size_t i = 0; err == 0 && i < config->processes.count; i++)
		err = add_processes(&plan, config, &processes[i], &counts[processes[i].role],
				    error);
	if (err < 0) {
		plan_deinit(&plan);
		return err;
	}
	*ret = plan;
	return 0;
}

void plan_deinit(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		plan_argv_free(plan->entries[i].argv);
	free(plan->entries);
	*plan = (struct plan){ 0 };
}
