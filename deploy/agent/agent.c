#define HF_LOG_MODULE "agent"
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_log.h"

#define CLEAN_STEP_MS 50
#define PROBE_MS      100

/* Who stops when; see agent.h. */
static const unsigned stop_stage[ROLE_COUNT] = {
	[ROLE_ROOM] = 0,     [ROLE_DISPATCHER] = 1, [ROLE_CENTER] = 1, [ROLE_COORDINATOR] = 1,
	[ROLE_REGISTER] = 2, [ROLE_SAVER] = 3,      [ROLE_REDIS] = 4,  [ROLE_MARIADB] = 4,
};
#define STOP_STAGES 5

/* --- CLEANING --- */

/* They got TERM from the kernel when their agent died, and are on their way out. A service takes a
 * second TERM as "leave at once"; as nothing they need is left either, they do not get long. Stores
 * get the time that a flush takes. */
static void push_leftovers(struct agent *agent, uint64_t elapsed_ms)
{
	static const struct {
		uint64_t after_ms;
		bool stores;
		int number;
	} steps[] = {
		{ 0, true, SIGTERM },
		{ 2000, false, SIGTERM },
		{ 4000, false, SIGKILL },
		{ 30000, true, SIGKILL },
	};

	while (agent->clean_step < HF_ARRAY_LEN(steps) &&
	       elapsed_ms >= steps[agent->clean_step].after_ms) {
		leftovers_signal(&agent->leftovers, steps[agent->clean_step].stores,
				 steps[agent->clean_step].number);
		agent->clean_step++;
	}
}

static void on_clean_timer(struct hf_timer *timer, void *ctx)
{
	struct agent *agent = ctx;
	struct hf_loop *loop = agent->service->loop;
	uint64_t elapsed_ms = hf_loop_now_ms(loop) - agent->clean_started_ms;

	if (agent->phase != AGENT_CLEANING)
		return;
	if (leftovers_prune(&agent->leftovers) > 0) {
		push_leftovers(agent, elapsed_ms);
		hf_loop_arm(loop, timer, CLEAN_STEP_MS);
		return;
	}
	agent->phase = AGENT_STORES;
	hf_task_schedule(loop, &agent->advance);
}

/* --- STORES --- */

static void on_probed(bool answers, void *ctx)
{
	struct process *process = ctx;
	struct agent *agent = process->supervisor->ctx;

	agent->probes[process->role] = NULL;
	if (!answers || process->state != PROCESS_RUNNING)
		return;
	HF_INFO("store answers", "name=%s", process->name);
	process->ready = true;
	hf_task_schedule(agent->service->loop, &agent->advance);
}

/* Stores are asked while they are not known to answer: at the start, and after each of their
 * deaths. */
static void on_probe_timer(struct hf_timer *timer, void *ctx)
{
	struct agent *agent = ctx;
	struct hf_loop *loop = agent->service->loop;
	struct process *process;
	bool asking = false;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link) {
		struct stores_probe **probe = &agent->probes[process->role];

		if (!agent_role_is_store(process->role) || process->ready || !process->wanted)
			continue;
		asking = true;
		if (process->state == PROCESS_RUNNING && *probe == NULL &&
		    stores_probe_new(loop, agent_config_of(agent), process->role, on_probed,
				     process, probe) < 0)
			*probe = NULL; /* not listening yet */
	}
	if (asking)
		hf_loop_arm(loop, timer, PROBE_MS);
}

static bool stores_ready(const struct agent *agent)
{
	const struct process *process;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link)
		if (agent_role_is_store(process->role) && !process->ready)
			return false;
	return true;
}

/* --- moving on --- */

/* Stores while they are awaited, then everything. */
static void start_waiting(struct agent *agent)
{
	struct process *process;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link)
		if (process->wanted &&
		    (agent->phase == AGENT_RUNNING || agent_role_is_store(process->role)))
			process_start(process);
}

static void stop_stage_by_stage(struct agent *agent)
{
	while (agent->stage < STOP_STAGES) {
		struct process *process;
		bool alive = false;

		TAILQ_FOREACH (process, &agent->supervisor.processes, link) {
			if (stop_stage[process->role] != agent->stage)
				continue;
			process_stop(process);
			alive |= process->state != PROCESS_WAITING;
		}
		if (alive)
			return;
		agent->stage++;
	}
	agent->phase = AGENT_STOPPED;
}

static void free_removed(struct agent *agent)
{
	struct process *process = TAILQ_FIRST(&agent->supervisor.processes);

	while (process != NULL) {
		struct process *next = TAILQ_NEXT(process, link);

		if (!process->wanted && process->state == PROCESS_WAITING)
			process_free(process);
		process = next;
	}
}

static void on_advance(void *ctx)
{
	struct agent *agent = ctx;

	switch (agent->phase) {
	case AGENT_CLEANING:
	case AGENT_STOPPED:
		return;
	case AGENT_STORES:
		if (stores_ready(agent))
			agent->phase = AGENT_RUNNING;
		break;
	case AGENT_RUNNING:
		free_removed(agent);
		break;
	case AGENT_STOPPING:
		stop_stage_by_stage(agent);
		return;
	}
	start_waiting(agent);
	if (!stores_ready(agent) && !hf_timer_armed(&agent->probe_timer))
		hf_loop_arm(agent->service->loop, &agent->probe_timer, PROBE_MS);
}

static void on_change(struct process *process, void *ctx)
{
	struct agent *agent = ctx;

	if (process->state == PROCESS_BACKOFF)
		++*agent->restarts[process->role];
	hf_task_schedule(agent->service->loop, &agent->advance);
}

/* --- the keeper's view of our processes --- */

static void on_instances(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	const struct agent_watch *watch = ctx;
	struct agent *agent = watch->agent;
	struct process *process;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link) {
		if (process->role != watch->role)
			continue;
		process->instance.id[0] = '\0';
		for (size_t i = 0; i < count; i++)
			if (strcmp(entries[i].name, process->name) == 0 &&
			    hf_instance_decode(entries[i].value.data, entries[i].value.len,
					       &process->instance) < 0)
				process->instance.id[0] = '\0';
		process->ready = process->state == PROCESS_RUNNING &&
				 process->instance.id[0] != '\0' &&
				 process->instance.state == HF_INSTANCE_SERVING;
	}
}

static int watch_instances(struct agent *agent)
{
	for (int i = 0; i < ROLE_SERVICE_COUNT; i++) {
		struct agent_watch *watch = &agent->watches[i];
		char path[64];
		int err;

		*watch = (struct agent_watch){ .agent = agent, .role = (enum agent_role)i };
		snprintf(path, sizeof(path), "instances/%s", agent_role_name(watch->role));
		err = hf_keeper_watch(agent->service->keeper, path, on_instances, watch,
				      &watch->watch);
		if (err < 0)
			return err;
	}
	return 0;
}

/* --- start, reload, stop: what struct hf_service_type asks for --- */

static int add_process(struct agent *agent, struct plan_entry *entry)
{
	if (process_new(&agent->supervisor, entry->name, entry->role, entry->argv) == NULL)
		return -ENOMEM;
	entry->argv = NULL; /* taken */
	return 0;
}

/* Make the list of processes what `plan` says; running ones go on as they are. */
static void follow_plan(struct agent *agent, struct plan *plan)
{
	struct process *process;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link)
		process->wanted = false;
	for (size_t i = 0; i < plan->count; i++) {
		struct plan_entry *entry = &plan->entries[i];

		process = supervisor_find(&agent->supervisor, entry->name);
		if (process == NULL) {
			if (add_process(agent, entry) < 0)
				HF_ERROR("process not added", "name=%s err=%s", entry->name,
					 strerror(ENOMEM));
			continue;
		}
		process->wanted = true;
		if (plan_argv_equal(process->argv, entry->argv))
			continue;
		HF_WARN("new options wait for its next start", "name=%s", process->name);
		plan_argv_free(process->argv);
		process->argv = entry->argv;
		entry->argv = NULL;
	}
	TAILQ_FOREACH (process, &agent->supervisor.processes, link)
		if (!process->wanted)
			process_stop(process);
}

static void agent_reload(struct hf_service *service, const void *old)
{
	struct agent *agent = service->state;
	char error[HF_CONFIG_ERROR_SIZE];
	struct plan plan;

	agent->supervisor.stop_timeout_ms = agent_config_of(agent)->stop_timeout_ms;
	if (agent->phase >= AGENT_STOPPING)
		return;
	if (plan_build(agent_config_of(agent), &plan, error) < 0) {
		HF_ERROR("processes stay as they are", "why=%s",
			 hf_log_quote(error, strlen(error)));
		return;
	}
	follow_plan(agent, &plan);
	plan_deinit(&plan);
	supervisor_signal(&agent->supervisor, SIGHUP);
	hf_task_schedule(service->loop, &agent->advance);
}

static void on_usr1(evutil_socket_t number, short what, void *ctx)
{
	struct agent *agent = ctx;

	supervisor_signal(&agent->supervisor, SIGUSR1);
}

static int prepare(struct agent *agent)
{
	const struct agent_config *config = agent_config_of(agent);
	struct hf_loop *loop = agent->service->loop;
	char error[HF_CONFIG_ERROR_SIZE];
	struct plan plan;
	int err;

	agent->data_dir = strdup(config->data_dir);
	if (agent->data_dir == NULL)
		return -ENOMEM;
	hf_task_init(&agent->advance, on_advance, agent);
	hf_timer_init(&agent->clean_timer, on_clean_timer, agent);
	hf_timer_init(&agent->probe_timer, on_probe_timer, agent);
	agent_metrics(agent);
	err = leftovers_lock(agent->data_dir, &agent->lock_fd);
	if (err == 0)
		err = stores_prepare(config);
	if (err == 0)
		err = supervisor_init(&agent->supervisor, loop, agent->data_dir, on_change, agent);
	if (err < 0)
		return err;
	agent->supervisor.stop_timeout_ms = config->stop_timeout_ms;
	agent->usr1 = evsignal_new(loop->base, SIGUSR1, on_usr1, agent);
	if (agent->usr1 == NULL || event_add(agent->usr1, NULL) < 0)
		return -ENOMEM;
	err = plan_build(config, &plan, error);
	if (err < 0) {
		HF_ERROR("no plan", "why=%s", hf_log_quote(error, strlen(error)));
		return err;
	}
	follow_plan(agent, &plan);
	plan_deinit(&plan);
	return watch_instances(agent);
}

static int agent_start(struct hf_service *service)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	int err;

	if (agent == NULL)
		return -ENOMEM;
	agent->service = service;
	agent->lock_fd = -1;
	service->state = agent;
	err = prepare(agent);
	if (err < 0)
		return err; /* agent_stop() cleans up */
	leftovers_load(agent->data_dir, &agent->leftovers);
	agent->clean_started_ms = hf_loop_now_ms(service->loop);
	hf_loop_arm(service->loop, &agent->clean_timer, 0);
	return 0;
}

static void agent_drain(struct hf_service *service)
{
	struct agent *agent = service->state;

	agent->phase = AGENT_STOPPING;
	hf_task_schedule(service->loop, &agent->advance);
}

static bool agent_drained(struct hf_service *service)
{
	return ((struct agent *)service->state)->phase == AGENT_STOPPED;
}

static void agent_stop(struct hf_service *service)
{
	struct agent *agent = service->state;

	if (agent == NULL)
		return;
	for (int i = 0; i < ROLE_SERVICE_COUNT; i++)
		hf_keeper_unwatch(agent->watches[i].watch);
	supervisor_deinit(&agent->supervisor);
	for (int i = 0; i < ROLE_COUNT; i++)
		stores_probe_free(agent->probes[i]);
	hf_wheel_disarm(&agent->clean_timer);
	hf_wheel_disarm(&agent->probe_timer);
	hf_task_cancel(service->loop, &agent->advance);
	if (agent->usr1 != NULL)
		event_free(agent->usr1);
	leftovers_deinit(&agent->leftovers);
	if (agent->lock_fd >= 0)
		close(agent->lock_fd);
	free(agent->data_dir);
	free(agent);
	service->state = NULL;
}

const struct hf_service_type agent_type = {
	.name = "agent",
	.summary = "runs the Holdfast processes of one host, and their stores",
	.options = agent_options,
	.config_size = sizeof(struct agent_config),
	.check = agent_config_check,
	.start = agent_start,
	.reload = agent_reload,
	.not_ready = agent_not_ready,
	.drain = agent_drain,
	.drained = agent_drained,
	.stop = agent_stop,
	.admin = agent_admin,
};
