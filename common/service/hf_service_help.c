/* common/service/hf_service_help.c - what --help prints: the manual page of a service. */
#include <stdio.h>

#include "hf_service_internal.h"
#include "hf_version.h"

static const char options_text[] =
	"OPTIONS\n"
	"  -c, --config FILE    read the configuration (YAML) from FILE; without it the\n"
	"                       defaults and --set are all there is\n"
	"  -t, --test           check the configuration and exit\n"
	"      --dump           print the configuration in force, secrets masked, and exit;\n"
	"                       without -c and --set: all keys with defaults, as a file to\n"
	"                       start from\n"
	"      --set NAME=VALUE set one key, after the file was read; repeatable. Lists of\n"
	"                       texts are separated by commas\n"
	"      --node-id ID     the same as --set node.id=ID\n"
	"  -V, --version        print the version and exit\n"
	"  -h, --help           print this text and exit\n";

static const char config_text[] =
	"CONFIGURATION\n"
	"  Dots in a name are nesting: log.level is the key level in the section log.\n"
	"  Durations are written 500ms, 30s, 5m, 2h, 7d; sizes 4096, 64KiB, 1MiB; addresses\n"
	"  host:port, [v6]:port or unix:/path. An unknown key is an error. A reload (HUP)\n"
	"  applies the keys marked reloadable; a change to another key is logged and waits\n"
	"  for a restart.\n\n";

static const char end_text[] =
	"SIGNALS\n"
	"  TERM   drain: leave the cluster's view, finish what is there, exit; at the latest\n"
	"         after shutdown.drain_timeout. A second TERM exits at once\n"
	"  INT    exit at once\n"
	"  HUP    reload the configuration; one that is not valid is refused and logged, and\n"
	"         the old one stays in force\n"
	"  USR1   reopen the log file, after it was rotated\n"
	"\n"
	"ADMIN PORT (admin.bind)\n"
	"  GET /livez           200 while the event loop turns\n"
	"  GET /readyz          200 when ready to serve, else 503 and the reason;\n"
	"                       ?verbose gives JSON\n"
	"  GET /metrics         Prometheus text\n"
	"  GET /version         JSON: version, role, node, number, incarnation\n"
	"  GET /config          the configuration in force, secrets masked\n"
	"  PUT /log/LEVEL       change the log level until the next reload\n"
	"\n"
	"EXIT STATUS\n"
	"  0  clean      1  usage or configuration      2  could not start\n"
	"  3  fatal error while running\n";

void hf_command_help(const struct hf_service_type *type, FILE *out)
{
	fprintf(out,
		"NAME\n"
		"  holdfast-%s - %s\n\n"
		"SYNOPSIS\n"
		"  holdfast-%s -c FILE [-t] [--dump] [--set NAME=VALUE]... [--node-id ID]\n"
		"  holdfast-%s -V | -h\n\n"
		"DESCRIPTION\n"
		"  One process of a Holdfast cluster, version %s. It runs in the foreground on "
		"one\n"
		"  thread and finds its peers through the keeper; to use more cores, run more\n"
		"  instances.\n\n",
		type->name, type->summary, type->name, type->name, HF_VERSION);
	fprintf(out, "%s\n%s", options_text, config_text);
	hf_config_help(type->options, out);
	fprintf(out, "\n%s", end_text);
}
