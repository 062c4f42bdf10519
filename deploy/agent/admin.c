/* deploy/agent/admin.c - what the agent tells: /v1/processes, readiness, metrics. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "hf_http_server.h"

static json_t *describe_endpoints(const struct hf_instance *instance)
{
	json_t *list = json_array();

	for (size_t i = 0; i < instance->endpoint_count; i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "address",
						      instance->endpoints[i].address, "transport",
						      instance->endpoints[i].transport));
	return list;
}

static json_t *describe(const struct process *process)
{
	const struct hf_instance *instance = &process->instance;
	json_t *object =
		json_pack("{s:s,s:s,s:I,s:s,s:b,s:I,s:I,s:s}", "name", process->name, "role",
			  agent_role_name(process->role), "pid", (json_int_t)process->pid, "state",
			  process_state_name(process), "ready", (int)process->ready, "restarts",
			  (json_int_t)process->restarts, "since_ms", (json_int_t)process->since_ms,
			  "last_exit", process->last_exit);

	if (object != NULL && instance->id[0] != '\0') {
		json_object_set_new(object, "rpc", json_string(instance->rpc));
		json_object_set_new(object, "admin", json_string(instance->admin));
		json_object_set_new(object, "load", json_integer((json_int_t)instance->load));
		json_object_set_new(object, "endpoints", describe_endpoints(instance));
	}
	return object;
}

static void on_processes(struct agent *agent, struct hf_http_exchange *exchange)
{
	json_t *list = json_array();
	const struct process *process;
	char *text;

	TAILQ_FOREACH (process, &agent->supervisor.processes, link)
		json_array_append_new(list, describe(process));
	text = json_dumps(list, JSON_INDENT(2));
	json_decref(list);
	if (text == NULL)
		hf_http_respond_error(exchange, 503, "UNAVAILABLE", "OVERLOADED", "out of memory",
				      NULL, NULL, 1);
	else
		hf_http_respond(exchange, 200, "application/json", text, strlen(text));
	free(text);
}

bool agent_admin(struct hf_service *service, struct hf_http_exchange *exchange)
{
	const struct hf_http_request *request = hf_http_exchange_request(exchange);
	struct agent *agent = service->state;

	if (agent == NULL || !hf_bytes_equal(request->path, HF_BYTES_LITERAL("/v1/processes")))
		return false;
	if (hf_bytes_equal(request->method, HF_BYTES_LITERAL("GET")) ||
	    hf_bytes_equal(request->method, HF_BYTES_LITERAL("HEAD"))) {
		on_processes(agent, exchange);
		return true;
	}
	hf_http_add_header(exchange, "Allow", "GET, HEAD");
	hf_http_respond_error(exchange, 405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED",
			      "this path does not take this method", NULL, NULL, -1);
	return true;
}

const char *agent_not_ready(struct hf_service *service)
{
	struct agent *agent = service->state;
	const struct process *process;

	if (agent->phase == AGENT_CLEANING)
		return "children of an earlier agent are still ending";
	TAILQ_FOREACH (process, &agent->supervisor.processes, link) {
		if (!process->wanted || process->ready)
			continue;
		snprintf(agent->reason, sizeof(agent->reason), "%s is %s", process->name,
			 process_state_name(process));
		return agent->reason;
	}
	return NULL;
}

/* --- metrics: by role, as the names of processes come and go --- */

struct gauge {
	const struct agent *agent;
	enum agent_role role;
};

static double count_wanted(void *ctx)
{
	const struct gauge *gauge = ctx;
	const struct process *process;
	double n = 0;

	TAILQ_FOREACH (process, &gauge->agent->supervisor.processes, link)
		n += process->role == gauge->role && process->wanted;
	return n;
}

static double count_ready(void *ctx)
{
	const struct gauge *gauge = ctx;
	const struct process *process;
	double n = 0;

	TAILQ_FOREACH (process, &gauge->agent->supervisor.processes, link)
		n += process->role == gauge->role && process->ready;
	return n;
}

void agent_metrics(struct agent *agent)
{
	static struct gauge gauges[ROLE_COUNT];
	struct hf_metrics *m = agent->service->metrics;

	for (int i = 0; i < ROLE_COUNT; i++) {
		char labels[64];

		snprintf(labels, sizeof(labels), "role=\"%s\"",
			 agent_role_name((enum agent_role)i));
		gauges[i] = (struct gauge){ agent, (enum agent_role)i };
		agent->restarts[i] = hf_metrics_counter(m, "holdfast_agent_restarts_total", labels,
							"Processes that ended unasked, by role");
		hf_metrics_gauge_fn(m, "holdfast_agent_processes_wanted", labels,
				    "Processes that shall run, by role", count_wanted, &gauges[i]);
		hf_metrics_gauge_fn(m, "holdfast_agent_processes_ready", labels,
				    "Processes that run and serve, by role", count_ready,
				    &gauges[i]);
	}
}
