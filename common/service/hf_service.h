/* common/service/hf_service.h - the life of a process, the same for all six services and the agent.
 *
 *	static const struct hf_service_type room_type = { .name = "room", ... };
 *
 *	int main(int argc, char **argv)
 *	{
 *		return hf_service_main(&room_type, argc, argv);
 *	}
 *
 * hf_service_main: reads the command line and the configuration; sets up the log, the loop, metrics
 * and the keeper; claims a node number; reads (or makes) the cluster's salt; starts the admin port;
 * calls start(); holds instances/<name>/<id> in the keeper; then runs the loop. Signals: TERM
 * drains and exits; a second TERM, or INT, exits at once; HUP reloads; USR1 reopens the log.
 *
 * Command line: holdfast-<name> -c FILE [-t] [--dump] [--set KEY=VALUE]... [--node-id ID] [-V] [-h]
 * Exit status: 0 clean, 1 usage or configuration, 2 could not start, 3 fatal while running.
 *
 * Admin port (own HTTP server, loopback by default): GET /livez, /readyz[?verbose], /metrics,
 * /version, /config (secrets masked), PUT /log/{level}, and the service's own routes. */
#ifndef HF_SERVICE_H
#define HF_SERVICE_H

#include "hf_config.h"
#include "hf_id.h"
#include "hf_instance.h"
#include "hf_keeper.h"
#include "hf_loop.h"
#include "hf_metrics.h"
#include "hf_rpc_server.h"
#include "hf_why.h"

struct hf_http_exchange;

/* The options that every service has: the first member of its config struct, and the first rows of
 * its table by HF_SERVICE_OPTIONS. */
struct hf_service_config {
	char *node_id, *zone;
	uint64_t weight;
	char *keeper;        /* "dir:PATH" */
	char *rpc_bind;      /* where we serve RPC; port 0: the system chooses */
	char *rpc_advertise; /* what others dial; "": the bound address */
	char *admin_bind;
	int log_level, log_format;
	char *log_file;
	uint64_t drain_timeout_ms;
	uint64_t why_records;
};

extern const char *const hf_log_level_choices[];
extern const char *const hf_log_format_choices[];

/* clang-format off */
#define HF_SERVICE_OPTIONS(type)                                                                   \
	{ "node.id", HF_OPT_STRING, offsetof(type, service.node_id), "", 0, HF_NODE_ID_MAX,        \
	  "name of this process in the cluster; default <service>-<host>-<pid>" },                 \
	{ "node.zone", HF_OPT_STRING, offsetof(type, service.zone), "default", 1, HF_NODE_ID_MAX,  \
	  "data centre or region" },                                                               \
	{ "node.weight", HF_OPT_UINT, offsetof(type, service.weight), "100", 0, 10000,             \
	  "share of the load compared with its peers" },                                           \
	{ "keeper.backend", HF_OPT_STRING, offsetof(type, service.keeper), NULL, 5, 512,           \
	  "dir:PATH, the shared tree of a cluster on one machine" },                               \
	{ "rpc.bind", HF_OPT_ADDRESS, offsetof(type, service.rpc_bind), "127.0.0.1:0", 0, 0,       \
	  "where other services reach this one; port 0 lets the system choose" },                  \
	{ "rpc.advertise", HF_OPT_STRING, offsetof(type, service.rpc_advertise), "", 0, 107,       \
	  "address told to the others, host or host:port; default the bound one" },                \
	{ "admin.bind", HF_OPT_ADDRESS, offsetof(type, service.admin_bind), "127.0.0.1:0", 0, 0,   \
	  "admin HTTP port: keep it off public networks" },                                        \
	{ "log.level", HF_OPT_ENUM, offsetof(type, service.log_level), "info", 0, 0,               \
	  "debug, info, warn or error", .choices = hf_log_level_choices, .reloadable = true },     \
	{ "log.format", HF_OPT_ENUM, offsetof(type, service.log_format), "text", 0, 0,             \
	  "text or json", .choices = hf_log_format_choices, .reloadable = true },                  \
	{ "log.file", HF_OPT_STRING, offsetof(type, service.log_file), "", 0, 1024,                \
	  "log file; default standard error" },                                                    \
	{ "shutdown.drain_timeout", HF_OPT_MSEC, offsetof(type, service.drain_timeout_ms), "30s",  \
	  0, 3600000, "longest time a drain may take", .reloadable = true },                          \
	{ "why.records", HF_OPT_UINT, offsetof(type, service.why_records), "65536", 1024, 262144,  \
	  "records kept of what was done with each message; 40 bytes each" }
/* clang-format on */

struct hf_service {
	const struct hf_service_type *type;
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_keeper *keeper;
	const void *config; /* the whole struct of the service; swapped by a reload */
	struct hf_id_generator ids;
	struct hf_instance instance; /* ours; change it, then hf_service_announce() */
	uint64_t salt;               /* the cluster's, for hf_slot() */
	struct hf_why why;           /* each hop of each message notes there what it did */
	void *state;                 /* what start() made */
	struct hf_rpc_server *rpc;   /* made by start() through hf_service_serve_rpc(), or NULL */
};

struct hf_service_type {
	const char *name;    /* "room": program, metrics and keeper names follow */
	const char *summary; /* one sentence for --help */
	const struct hf_option *options;
	size_t config_size;
	/* A configuration was read, at start or for a reload: check what the table can't say, and
	 * fill in what depends on other values (strings are malloc'd). 0, or -EINVAL with a
	 * message. May be NULL. */
	int (*check)(void *config, char error[HF_CONFIG_ERROR_SIZE]);
	/* Build the state. 0, or -errno after logging why. The admin port answers already; /readyz
	 * says no. */
	int (*start)(struct hf_service *service);
	/* A new configuration is in force; `old` is freed after. NULL: nothing to do. */
	void (*reload)(struct hf_service *service, const void *old);
	/* Why this process can't serve now: NULL when ready, or a short reason for /readyz. */
	const char *(*not_ready)(struct hf_service *service);
	/* Ready, and yet something that an operator should see: a short remark for /readyz, or
	 * NULL. May be NULL itself. */
	const char *(*remark)(struct hf_service *service);
	/* TERM came, or hf_service_drain(): bring nothing new in, move what is there. May be NULL.
	 */
	void (*drain)(struct hf_service *service);
	bool (*drained)(
		struct hf_service *service); /* asked every 20 ms; NULL: no calls unanswered */
	/* Free everything; the loop no longer runs, and the RPC server is gone. Also after a
	 * start() that failed, so it copes with state that is NULL or half built. */
	void (*stop)(struct hf_service *service);
	/* Own admin routes, asked after ours: true when it answered. May be NULL. */
	bool (*admin)(struct hf_service *service, struct hf_http_exchange *exchange);
};

int hf_service_main(const struct hf_service_type *type, int argc, char **argv);

/* Listen on rpc.bind with `service_impl` and put the address into the instance. 0 or -errno,
 * logged. */
HF_MUST_CHECK int hf_service_serve_rpc(struct hf_service *service, ProtobufCService *service_impl);
/* Write service->instance to the keeper, at the end of this turn, and again until it holds. When
 * start() returns 0 the state becomes SERVING and the instance is announced for the first time. */
void hf_service_announce(struct hf_service *service);
/* hf_slot() with the cluster's salt. */
uint16_t hf_service_slot(const struct hf_service *service, uint32_t app, const void *registration,
			 size_t len);
/* Drain and exit, as after a TERM. False: it does so already, or does not serve yet. */
bool hf_service_drain(struct hf_service *service);
/* End the process with status 3 after this turn, for what can't go on. */
void hf_service_fatal(struct hf_service *service, const char *reason);

#endif
