/* common/service/hf_service_internal.h - what the files of common/service share. */
#ifndef HF_SERVICE_INTERNAL_H
#define HF_SERVICE_INTERNAL_H

#include "hf_http_server.h"
#include "hf_service.h"

enum hf_exit {
	HF_EXIT_CLEAN = 0,
	HF_EXIT_USAGE = 1, /* command line or configuration */
	HF_EXIT_START = 2,
	HF_EXIT_FATAL = 3,
};

#define HF_SERVICE_SIGNALS 4
#define HF_SERVICE_SET_MAX 64 /* --set and --node-id on one command line */

/* What the command line asks for. */
struct hf_command {
	const char *path; /* NULL: no -c */
	bool check, dump;
	struct hf_config_override overrides[HF_SERVICE_SET_MAX];
	size_t override_count;
	char *names[HF_SERVICE_SET_MAX]; /* what the names of the overrides are in; freed */
};

enum hf_phase {
	HF_PHASE_STARTING,
	HF_PHASE_SERVING,
	HF_PHASE_DRAINING, /* until drained() or the deadline */
	HF_PHASE_FLUSHING, /* new calls are refused; the last answers leave */
	HF_PHASE_STOPPED,
};

/* One process; `service` is the part that services see. */
struct hf_runtime {
	struct hf_service service;
	const struct hf_command *command;
	void *config; /* service.config, ours to change */
	enum hf_phase phase;
	bool terminated; /* a TERM came */
	enum hf_exit status;
	struct event *signals[HF_SERVICE_SIGNALS];
	struct hf_http_server *admin;
	struct hf_task announce_task;
	struct hf_timer announce_timer; /* tries again after an error, looks after our entries */
	int announce_err;
	struct hf_timer drain_timer;
	uint64_t drain_started_ms, flush_started_ms;
	uint64_t *reloads_ok, *reloads_failed;
	int64_t *reload_successful, *reload_time, *drain_active;
};

static inline struct hf_runtime *hf_runtime_of(struct hf_service *service)
{
	return HF_CONTAINER_OF(service, struct hf_runtime, service);
}

/* Every config struct starts with this one. */
static inline const struct hf_service_config *hf_runtime_config(const struct hf_runtime *runtime)
{
	return runtime->service.config;
}

/* hf_service_command.c: returns true when the process goes on, else *ret_status is its exit status.
 * *ret_config is the configuration, malloc'd. */
HF_MUST_CHECK bool hf_command_run(const struct hf_service_type *type, int argc, char **argv,
				  struct hf_command *ret_command, void **ret_config,
				  enum hf_exit *ret_status);
void hf_command_deinit(struct hf_command *command);
void hf_command_help(const struct hf_service_type *type, FILE *out); /* hf_service_help.c */

/* hf_service_cluster.c: our place in the keeper. 0 or -errno, logged. */
void hf_cluster_name_node(struct hf_runtime *runtime); /* instance.id, configured or made up */
HF_MUST_CHECK int hf_cluster_join(struct hf_runtime *runtime);
HF_MUST_CHECK int hf_cluster_hold_instance(struct hf_runtime *runtime); /* the first announcement */
void hf_cluster_leave(struct hf_runtime *runtime);
/* A node id that is fit for a path of the keeper? */
bool hf_cluster_is_node_id(const char *id);

/* hf_service_admin.c */
HF_MUST_CHECK int hf_admin_start(struct hf_runtime *runtime);
const char *hf_admin_not_ready(struct hf_runtime *runtime); /* NULL: ready */

/* hf_service_process.c: the numbers every process shows. */
void hf_process_metrics(struct hf_runtime *runtime);
void hf_process_raise_limits(void); /* logs what it got */

/* hf_service_signals.c: signals, drain, reload. */
HF_MUST_CHECK int hf_signals_start(struct hf_runtime *runtime);
void hf_signals_stop(struct hf_runtime *runtime);
HF_MUST_CHECK int hf_runtime_setup_log(struct hf_runtime *runtime); /* as configured; 0 or -errno */

#endif
