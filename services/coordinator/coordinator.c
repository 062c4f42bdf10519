#define HF_LOG_MODULE "coordinator"
#include "coordinator.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"

#define AT(member) offsetof(struct coordinator_config, member)

static const struct hf_option coordinator_options[] = {
	HF_SERVICE_OPTIONS(struct coordinator_config),
	{ "disconnect.timeout", HF_OPT_MSEC, AT(disconnect_timeout_ms), "3s", 100, 60000,
	  "longest wait for a register's answer", .reloadable = true },
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
	hf_peers_free(state->registers);
	free(state);
	service->state = NULL;
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
	state->rpc = (Hf__Coordinator_Service)HF__COORDINATOR__INIT(on_);
	metrics_init(state);
	err = hf_peers_new(service->loop, service->metrics, service->keeper, &registers,
			   &state->registers);
	if (err < 0) {
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
		return err;
	}
	return hf_service_serve_rpc(service, &state->rpc.base);
}

static void coordinator_reload(struct hf_service *service, const void *old)
{
	struct coordinator_state *state = service->state;

	(void)old;
	state->config = service->config;
}

static const char *coordinator_not_ready(struct hf_service *service)
{
	const struct coordinator_state *state = service->state;

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
