#define HF_LOG_MODULE "dispatcher"
#include "dispatcher.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"

#define AT(member) offsetof(struct dispatcher_config, member)

static const struct hf_option dispatcher_options[] = {
	HF_SERVICE_OPTIONS(struct dispatcher_config),
	{ "api.bind", HF_OPT_ADDRESS, AT(api_bind), "0.0.0.0:8081", 0, 0,
	  "where clients ask for endpoints" },
	{ "api.advertise", HF_OPT_STRING, AT(api_advertise), "", 0, 107,
	  "address shown to operators; default the bound one" },
	{ "limits.connections", HF_OPT_UINT, AT(connections_max), "10000", 1, 1000000,
	  "open HTTP connections" },
	{ "limits.requests_per_second", HF_OPT_UINT, AT(requests_per_second), "20000", 1, 10000000,
	  "requests answered; above it 429", .reloadable = true },
	{ "endpoints.ttl", HF_OPT_MSEC, AT(ttl_ms), "10m", 60000, 86400000,
	  "how long a client may keep an answer", .reloadable = true },
	{ "keepalive.cellular.initial", HF_OPT_MSEC, AT(cellular.initial_ms), "270s", 1000, 3600000,
	  "heartbeat told to clients on mobile networks", .reloadable = true },
	{ "keepalive.cellular.min", HF_OPT_MSEC, AT(cellular.min_ms), "60s", 1000, 3600000,
	  "shortest heartbeat on mobile networks", .reloadable = true },
	{ "keepalive.cellular.max", HF_OPT_MSEC, AT(cellular.max_ms), "570s", 1000, 3600000,
	  "longest heartbeat on mobile networks", .reloadable = true },
	{ "keepalive.cellular.step", HF_OPT_MSEC, AT(cellular.step_ms), "60s", 1000, 3600000,
	  "step of the search for a longer one", .reloadable = true },
	{ "keepalive.wifi.initial", HF_OPT_MSEC, AT(wifi.initial_ms), "300s", 1000, 3600000,
	  "heartbeat told to clients on Wi-Fi and cable", .reloadable = true },
	{ "keepalive.wifi.min", HF_OPT_MSEC, AT(wifi.min_ms), "60s", 1000, 3600000,
	  "shortest heartbeat on Wi-Fi and cable", .reloadable = true },
	{ "keepalive.wifi.max", HF_OPT_MSEC, AT(wifi.max_ms), "900s", 1000, 3600000,
	  "longest heartbeat on Wi-Fi and cable", .reloadable = true },
	{ "keepalive.wifi.step", HF_OPT_MSEC, AT(wifi.step_ms), "60s", 1000, 3600000,
	  "step of the search for a longer one", .reloadable = true },
	{ "reconnect.base", HF_OPT_MSEC, AT(backoff_base_ms), "1s", 10, 600000,
	  "first back-off of clients", .reloadable = true },
	{ "reconnect.max", HF_OPT_MSEC, AT(backoff_max_ms), "120s", 100, 3600000,
	  "longest back-off of clients", .reloadable = true },
	{ "connect.timeout", HF_OPT_MSEC, AT(connect_timeout_ms), "10s", 100, 120000,
	  "how long clients wait for one address", .reloadable = true },
	{ 0 },
};

static void metrics_init(struct dispatcher_state *state)
{
	struct hf_metrics *m = state->service->metrics;
	static const char *const reasons[] = { "reason=\"start\"", "reason=\"network\"",
					       "reason=\"failed\"", "reason=\"drain\"" };
	const struct {
		uint64_t **cell;
		const char *labels;
	} refusals[] = {
		{ &state->refused_rate, "reason=\"rate\"" },
		{ &state->refused_bad, "reason=\"bad_request\"" },
		{ &state->refused_app, "reason=\"app\"" },
		{ &state->refused_no_room, "reason=\"no_room\"" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(reasons); i++)
		state->requests[i] =
			hf_metrics_counter(m, "holdfast_dispatcher_answers_total", reasons[i],
					   "Answers by the client's reason");
	for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++)
		*refusals[i].cell =
			hf_metrics_counter(m, "holdfast_dispatcher_refusals_total",
					   refusals[i].labels, "Requests refused by reason");
}

static void dispatcher_stop(struct hf_service *service)
{
	struct dispatcher_state *state = service->state;

	if (state == NULL)
		return;
	hf_http_server_free(state->http);
	hf_apps_free(state->apps);
	hf_peers_free(state->rooms);
	free(state);
	service->state = NULL;
}

static int dispatcher_start(struct hf_service *service)
{
	struct dispatcher_state *state = calloc(1, sizeof(*state));
	struct hf_peers_options rooms = { .service = "room" };
	struct hf_http_server_options http = { .name = "api", .body_max = 1 };
	struct hf_endpoint *endpoint = &service->instance.endpoints[0];
	const char *advertise;
	int err;

	if (state == NULL)
		return -ENOMEM;
	service->state = state;
	state->service = service;
	state->config = service->config;
	state->tokens = (double)state->config->requests_per_second;
	metrics_init(state);
	err = hf_peers_new(service->loop, service->metrics, service->keeper, &rooms, &state->rooms);
	if (err == 0)
		err = hf_apps_new(service->keeper, NULL, NULL, &state->apps);
	if (err < 0) {
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
		return err;
	}

	http.address = state->config->api_bind;
	http.connections_max = (uint32_t)state->config->connections_max;
	http.on_request = endpoints_request;
	http.ctx = state;
	err = hf_http_server_new(service->loop, service->metrics, &http, &state->http);
	if (err < 0) {
		HF_ERROR("cannot listen", "address=%s err=%s", http.address, strerror(-err));
		return err;
	}
	advertise = state->config->api_advertise[0] != '\0' ? state->config->api_advertise
							    : hf_http_server_address(state->http);
	service->instance.endpoint_count = 1;
	*endpoint = (struct hf_endpoint){ .transport = "http" };
	memcpy(endpoint->address, advertise, strnlen(advertise, sizeof(endpoint->address) - 1));
	return 0;
}

static void dispatcher_reload(struct hf_service *service, const void *old)
{
	struct dispatcher_state *state = service->state;

	(void)old;
	state->config = service->config;
}

static const char *dispatcher_not_ready(struct hf_service *service)
{
	const struct dispatcher_state *state = service->state;

	if (!hf_peers_known(state->rooms) || !hf_apps_known(state->apps))
		return "keeper view not complete";
	return NULL;
}

static void dispatcher_drain(struct hf_service *service)
{
	struct dispatcher_state *state = service->state;

	hf_http_server_drain(state->http);
}

static bool dispatcher_drained(struct hf_service *service)
{
	const struct dispatcher_state *state = service->state;

	return hf_http_server_open_exchanges(state->http) == 0;
}

const struct hf_service_type dispatcher_type = {
	.name = "dispatcher",
	.summary = "tells clients which rooms to connect to",
	.options = dispatcher_options,
	.config_size = sizeof(struct dispatcher_config),
	.start = dispatcher_start,
	.reload = dispatcher_reload,
	.not_ready = dispatcher_not_ready,
	.drain = dispatcher_drain,
	.drained = dispatcher_drained,
	.stop = dispatcher_stop,
	.admin = endpoints_explain,
};
