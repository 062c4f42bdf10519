/* common/service/hf_service_command.c - the command line, up to a checked configuration. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_service_internal.h"
#include "hf_version.h"

enum { OPTION_DUMP = 256, OPTION_SET, OPTION_NODE_ID };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "test", no_argument, NULL, 't' },
	{ "dump", no_argument, NULL, OPTION_DUMP },
	{ "set", required_argument, NULL, OPTION_SET },
	{ "node-id", required_argument, NULL, OPTION_NODE_ID },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static bool add_override(struct hf_command *command, char *name, const char *value)
{
	if (name == NULL || command->override_count == HF_SERVICE_SET_MAX) {
		fprintf(stderr, name == NULL ? "out of memory\n" : "too many --set\n");
		free(name);
		return false;
	}
	command->names[command->override_count] = name;
	command->overrides[command->override_count++] = (struct hf_config_override){ name, value };
	return true;
}

/* --set name=value */
static bool add_set(struct hf_command *command, const char *text)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text) {
		fprintf(stderr, "--set %s: write it as name=value\n", text);
		return false;
	}
	return add_override(command, strndup(text, (size_t)(equals - text)), equals + 1);
}

static bool usage(const struct hf_service_type *type)
{
	fprintf(stderr, "Try 'holdfast-%s --help'.\n", type->name);
	return false;
}

/* True to go on; false to end with *ret_status. */
static bool read_arguments(const struct hf_service_type *type, int argc, char **argv,
			   struct hf_command *command, enum hf_exit *ret_status)
{
	int c;

	*ret_status = HF_EXIT_USAGE;
	while ((c = getopt_long(argc, argv, "c:tVh", long_options, NULL)) != -1) {
		bool ok = true;

		switch (c) {
		case 'c':
			command->path = optarg;
			break;
		case 't':
			command->check = true;
			break;
		case OPTION_DUMP:
			command->dump = true;
			break;
		case OPTION_SET:
			ok = add_set(command, optarg);
			break;
		case OPTION_NODE_ID:
			ok = add_override(command, strdup("node.id"), optarg);
			break;
		case 'V':
			printf("holdfast-%s %s\n", type->name, HF_VERSION);
			*ret_status = HF_EXIT_CLEAN;
			return false;
		case 'h':
			hf_command_help(type, stdout);
			*ret_status = HF_EXIT_CLEAN;
			return false;
		default:
			ok = false;
			break;
		}
		if (!ok)
			return usage(type);
	}
	if (optind < argc) {
		fprintf(stderr, "holdfast-%s: unexpected argument '%s'\n", type->name,
			argv[optind]);
		return usage(type);
	}
	return true;
}

/* What the table can't say. */
static bool check_config(const struct hf_service_type *type, const void *config)
{
	const struct hf_service_config *common = config;

	if (common->node_id[0] == '\0' || hf_cluster_is_node_id(common->node_id))
		return true;
	fprintf(stderr,
		"holdfast-%s: node.id: only letters, digits, '.', '_' and '-', and no '.' first\n",
		type->name);
	return false;
}

bool hf_command_run(const struct hf_service_type *type, int argc, char **argv,
		    struct hf_command *ret_command, void **ret_config, enum hf_exit *ret_status)
{
	struct hf_command *command = ret_command;
	char error[HF_CONFIG_ERROR_SIZE];
	void *config;
	bool valid;

	if (!read_arguments(type, argc, argv, command, ret_status))
		return false;
	if (command->dump && command->path == NULL && command->override_count == 0) {
		hf_config_dump(type->options, NULL, stdout);
		*ret_status = HF_EXIT_CLEAN;
		return false;
	}

	*ret_status = HF_EXIT_USAGE;
	config = calloc(1, type->config_size);
	if (config == NULL)
		return false;
	if (hf_config_load(type->options, command->path, command->overrides,
			   command->override_count, config, error) < 0 ||
	    (type->check != NULL && type->check(config, error) < 0)) {
		fprintf(stderr, "holdfast-%s: %s\n", type->name, error);
		hf_config_deinit(type->options, config);
		free(config);
		return false;
	}
	valid = check_config(type, config);
	if (valid && !command->check && !command->dump) {
		*ret_config = config;
		return true;
	}
	if (valid) {
		if (command->dump)
			hf_config_dump(type->options, config, stdout);
		else
			printf("%s: the configuration is good\n",
			       command->path != NULL ? command->path : "defaults");
		*ret_status = HF_EXIT_CLEAN;
	}
	hf_config_deinit(type->options, config);
	free(config);
	return false;
}

void hf_command_deinit(struct hf_command *command)
{
	for (size_t i = 0; i < command->override_count; i++)
		free(command->names[i]);
	command->override_count = 0;
}
