/* deploy/agent/agent.h - the agent: one per host, it runs the processes that its configuration
 * names.
 *
 *	CLEANING   children of an agent that was killed are ended first
 *	STORES     Redis and MariaDB start; services wait until both answer
 *	RUNNING    everything runs and is restarted when it ends
 *	STOPPING   stage by stage, each when the one before has ended: rooms; dispatchers, centers
 * and coordinators; registers; savers; stores. So a message on its way finds who it needs.
 */
#ifndef AGENT_H
#define AGENT_H

#include "leftovers.h"
#include "plan.h"
#include "process.h"
#include "stores.h"

enum agent_phase { AGENT_CLEANING, AGENT_STORES, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED };

struct agent;

/* One watch of instances/<role>, so that a process counts as ready when it says that it serves. */
struct agent_watch {
	struct agent *agent;
	enum agent_role role;
	struct hf_keeper_watch *watch;
};

struct agent {
	struct hf_service *service;
	enum agent_phase phase;
	unsigned stage; /* STOPPING */
	int lock_fd;
	char *data_dir; /* of the configuration at start; it can't change */
	struct supervisor supervisor;
	struct leftovers leftovers;
	uint64_t clean_started_ms;
	unsigned clean_step;
	struct hf_timer clean_timer;
	struct stores_probe *probes[ROLE_COUNT];
	struct hf_timer probe_timer;
	struct hf_task advance; /* move on when the phase or stage is through */
	struct event *usr1;
	struct agent_watch watches[ROLE_SERVICE_COUNT];
	uint64_t *restarts[ROLE_COUNT];
	char reason[128]; /* for agent_not_ready() */
};

extern const struct hf_service_type agent_type;

static inline const struct agent_config *agent_config_of(const struct agent *agent)
{
	return agent->service->config;
}

/* admin.c */
bool agent_admin(struct hf_service *service, struct hf_http_exchange *exchange);
const char *agent_not_ready(struct hf_service *service);
void agent_metrics(struct agent *agent);

#endif
