#define HF_LOG_MODULE "coordinator"
#include "coordinator.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "hf_why_rpc.h"
#include "hf_wire.h"

#define AT(member) offsetof(struct coordinator_config, member)

const struct hf_option coordinator_options[] = {
	HF_SERVICE_OPTIONS(struct coordinator_config),
	{ "disconnect.timeout", HF_OPT_MSEC, AT(disconnect_timeout_ms), "3s", 100, 60000,
	  "longest wait for a register's answer", .reloadable = true },
	{ "callbacks.queue", HF_OPT_UINT, AT(queue), "1000", 1, 1000000,
	  "messages that may wait for one callback; above it they are refused with 4100",
	  .reloadable = true },
	{ "callbacks.queue_bytes", HF_OPT_SIZE, AT(queue_bytes), "4MiB", 131072, 1ull << 30,
	  "their bytes", .reloadable = true },
	{ "callbacks.total_bytes", HF_OPT_SIZE, AT(total_bytes), "256MiB", 131072, 1ull << 36,
	  "bytes of all messages that wait or are being sent", .reloadable = true },
	{ "callbacks.in_flight", HF_OPT_UINT, AT(in_flight), "1000", 1, 100000,
	  "requests at once to all callbacks together", .reloadable = true },
	{ "callbacks.queue_timeout", HF_OPT_MSEC, AT(queue_timeout_ms), "5s", 100, 60000,
	  "longest time a message may wait for its turn", .reloadable = true },
	{ "callbacks.connect_timeout", HF_OPT_MSEC, AT(connect_timeout_ms), "3s", 100, 15000,
	  "longest time to connect, TLS included", .reloadable = true },
	{ "callbacks.answer_max", HF_OPT_SIZE, AT(answer_max), "64KiB", 1, HF_WIRE_PAYLOAD_MAX,
	  "size of an answer", .reloadable = true },
	{ "callbacks.ca_file", HF_OPT_STRING, AT(ca_file), "", 0, 1024,
	  "authorities that callbacks' certificates must come from, PEM; default the system's" },
	{ 0 },
};

static void metrics_init(struct coordinator_state *state)
{
	static const char *const labels[] = {
		[HF__KICK_RESULT__KICKED] = "result=\"kicked\"",
		[HF__KICK_RESULT__NOT_CONNECTED] = "result=\"not_connected\"",
		[HF__KICK_RESULT__KICK_FAILED] = "result=\"failed\"",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(labels); i++)
		state->disconnects[i] =
			hf_metrics_counter(state->service->metrics,
					   "holdfast_coordinator_disconnects_total", labels[i],
					   "Registrations asked to be disconnected, by result");
	state->bad_requests =
		hf_metrics_counter(state->service->metrics, "holdfast_coordinator_refusals_total",
				   "reason=\"bad_request\"", "Calls refused by reason");
}

static void coordinator_stop(struct hf_service *service)
{
	struct coordinator_state *state = service->state;

	if (state == NULL)
		return;
	upstream_close(state);
	hf_peers_free(state->registers);
	free(state);
	service->state = NULL;
}

static void on_why(Hf__Coordinator_Service *rpc, const Hf__WhyRequest *request,
		   Hf__WhyReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);

	hf_why_answer(&state->service->why, request, closure, call);
}

static int coordinator_start(struct hf_service *service)
{
	struct coordinator_state *state = calloc(1, sizeof(*state));
	struct hf_peers_options registers = { .service = "register",
					      .descriptor = &hf__register__descriptor };
	int err;

	if (state == NULL)
		return -ENOMEM;
	service->state = state;
	state->service = service;
	state->config = service->config;
	state->rpc = (Hf__Coordinator_Service){
		.base = { &hf__coordinator__descriptor, protobuf_c_service_invoke_internal, NULL },
		.disconnect = on_disconnect,
		.upstream = on_upstream,
		.why = on_why,
	};
	metrics_init(state);
	err = hf_peers_new(service->loop, service->metrics, service->keeper, &registers,
			   &state->registers);
	if (err < 0) {
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
		return err;
	}
	err = upstream_open(state);
	if (err < 0) {
		HF_ERROR("callbacks not opened", "err=%s", strerror(-err));
		return err;
	}
	return hf_service_serve_rpc(service, &state->rpc.base);
}

static void coordinator_reload(struct hf_service *service, const void *old)
{
	struct coordinator_state *state = service->state;

	(void)old;
	state->config = service->config;
	upstream_configure(state);
}

static const char *coordinator_not_ready(struct hf_service *service)
{
	const struct coordinator_state *state = service->state;

	if (!hf_apps_known(state->apps))
		return "apps not read yet";
	return hf_peers_known(state->registers) ? NULL : "keeper view not complete";
}

const struct hf_service_type coordinator_type = {
	.name = "coordinator",
	.summary = "operations that need several services, such as ending sessions",
	.options = coordinator_options,
	.config_size = sizeof(struct coordinator_config),
	.start = coordinator_start,
	.reload = coordinator_reload,
	.not_ready = coordinator_not_ready,
	.stop = coordinator_stop,
};
