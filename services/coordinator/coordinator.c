#define HF_LOG_MODULE "coordinator"
#include "coordinator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "events.h"
#include "hf_log.h"
#include "hf_text.h"
#include "hf_why_rpc.h"
#include "hf_wire.h"
#include "saver.pb-c.h"

#define TARGET_IDLE_MS 120000

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
	{ "callbacks.retries", HF_OPT_STRINGS, AT(retries), "5s,30s,2m,10m,1h,6h,24h", 1,
	  VERDICT_DELAYS_MAX,
	  "delays between the tries of a receipt, +-20 %; then it is a dead letter",
	  .reloadable = true },
	{ "callbacks.receipt_timeout", HF_OPT_MSEC, AT(receipt_timeout_ms), "15s", 100, 60000,
	  "longest wait for the answer to a request with receipts", .reloadable = true },
	{ "callbacks.poll", HF_OPT_MSEC, AT(poll_ms), "5s", 100, 600000,
	  "how often the spool is looked at when nobody says that something is there",
	  .reloadable = true },
	{ "callbacks.status_timeout", HF_OPT_MSEC, AT(status_timeout_ms), "5s", 100, 60000,
	  "longest wait for the answer to a request with status events; the callback's own timeout "
	  "if that is shorter",
	  .reloadable = true },
	{ "callbacks.status_keep", HF_OPT_MSEC, AT(status_keep_ms), "5m", 1000, 3600000,
	  "status events that were not delivered by then are dropped", .reloadable = true },
	{ "callbacks.status_queue", HF_OPT_UINT, AT(status_queue), "10000", 1, 10000000,
	  "status events that may wait for one callback", .reloadable = true },
	{ "callbacks.status_bytes", HF_OPT_SIZE, AT(status_bytes), "8MiB", 65536, 1ull << 34,
	  "their bytes", .reloadable = true },
	{ "callbacks.status_keys", HF_OPT_UINT, AT(status_keys), "100000", 1000, 16000000,
	  "registrations, and users, whose latest status is remembered", .reloadable = true },
	{ "callbacks.offline_delay", HF_OPT_MSEC, AT(offline_delay_ms), "5s", 0, 600000,
	  "a user who is back by then was never offline", .reloadable = true },
	{ 0 },
};

/* The delays of the retries, one by one. */
static int parse_retries(const struct coordinator_config *config, struct verdict_schedule *ret,
			 char error[HF_CONFIG_ERROR_SIZE])
{
	ret->count = config->retries.count;
	for (size_t i = 0; i < ret->count; i++) {
		const char *text = config->retries.values[i];

		if (hf_text_parse_duration(text, 1, &ret->delays_ms[i]) < 0 ||
		    ret->delays_ms[i] > 7 * 86400000ull) {
			snprintf(error, HF_CONFIG_ERROR_SIZE,
				 "callbacks.retries: \"%.32s\" is not a duration of at most 7d",
				 text);
			return -EINVAL;
		}
	}
	return 0;
}

static int coordinator_check(void *config, char error[HF_CONFIG_ERROR_SIZE])
{
	struct verdict_schedule schedule;

	return parse_retries(config, &schedule, error);
}

static void take_retries(struct coordinator_state *state)
{
	char error[HF_CONFIG_ERROR_SIZE];

	if (parse_retries(state->config, &state->retries, error) < 0)
		state->retries.count = 0; /* can't be: it was checked */
}

void coordinator_limits(const struct coordinator_state *state, struct targets_limits *ret)
{
	const struct coordinator_config *config = state->config;

	*ret = (struct targets_limits){
		.queue = config->queue,
		.queue_bytes = config->queue_bytes,
		.in_flight = config->in_flight,
		.bytes = config->total_bytes,
		.queue_timeout_ms = config->queue_timeout_ms,
		.idle_ms = TARGET_IDLE_MS,
		.post = { .answer_max = config->answer_max,
			  .connect_timeout_ms = config->connect_timeout_ms,
			  .ca_file = config->ca_file },
	};
}

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
	receipts_stop(state);
	presence_stop(state);
	hf_peers_free(state->registers);
	hf_peers_free(state->savers);
	hf_peers_free(state->coordinators);
	receipts_close(state);
	status_close(state);
	presence_close(state);
	report_close(state);
	manual_close(state);
	upstream_close(state);
	free(state);
	service->state = NULL;
}

static void on_why(Hf__Coordinator_Service *rpc, const Hf__WhyRequest *request,
		   Hf__WhyReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);

	hf_why_answer(&state->service->why, request, closure, call);
}

static void on_coordinators_changed(struct hf_peers *peers, void *ctx)
{
	receipts_lanes_changed(ctx);
}

static int peers_open(struct coordinator_state *state)
{
	struct hf_service *service = state->service;
	struct hf_peers_options registers = { .service = "register",
					      .descriptor = &hf__register__descriptor };
	struct hf_peers_options savers = { .service = "saver",
					   .descriptor = &hf__saver__descriptor };
	struct hf_peers_options coordinators = { .service = "coordinator",
						 .on_change = on_coordinators_changed,
						 .ctx = state };
	int err = hf_peers_new(service->loop, service->metrics, service->keeper, &registers,
			       &state->registers);

	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &savers,
				   &state->savers);
	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &coordinators,
				   &state->coordinators);
	if (err < 0)
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
	return err;
}

static int callbacks_open(struct coordinator_state *state)
{
	int err = upstream_open(state);

	if (err == 0)
		err = report_open(state);
	if (err == 0)
		err = status_open(state);
	if (err == 0)
		err = presence_open(state);
	if (err == 0)
		err = manual_open(state);
	if (err == 0)
		err = receipts_open(state);
	if (err < 0)
		HF_ERROR("callbacks not opened", "err=%s", strerror(-err));
	return err;
}

static int coordinator_start(struct hf_service *service)
{
	struct coordinator_state *state = calloc(1, sizeof(*state));
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
		.report = on_report,
		.poke = on_poke,
		.test_webhook = on_test_webhook,
		.redeliver = on_redeliver,
	};
	metrics_init(state);
	take_retries(state);
	err = callbacks_open(state);
	if (err == 0)
		err = peers_open(state);
	if (err < 0)
		return err;
	return hf_service_serve_rpc(service, &state->rpc.base);
}

static void coordinator_reload(struct hf_service *service, const void *old)
{
	struct coordinator_state *state = service->state;

	(void)old;
	state->config = service->config;
	take_retries(state);
	upstream_configure(state);
	receipts_configure(state);
	status_configure(state);
	manual_configure(state);
}

/* Calls are answered, and what is half done is done. What the spool has is for the next owner; a
 * status event that was not tried yet gets one try. */
static bool coordinator_drained(struct hf_service *service)
{
	struct coordinator_state *state = service->state;
	bool receipts = receipts_busy(state), status = status_busy(state);

	return !receipts && !status &&
	       (service->rpc == NULL || hf_rpc_server_running(service->rpc) == 0);
}

static const char *coordinator_not_ready(struct hf_service *service)
{
	const struct coordinator_state *state = service->state;

	if (!hf_apps_known(state->apps))
		return "apps not read yet";
	return hf_peers_known(state->registers) && hf_peers_known(state->savers) &&
			       hf_peers_known(state->coordinators)
		       ? NULL
		       : "keeper view not complete";
}

const struct hf_service_type coordinator_type = {
	.name = "coordinator",
	.summary =
		"operations that need several services, and the way to the businesses' callbacks",
	.options = coordinator_options,
	.config_size = sizeof(struct coordinator_config),
	.check = coordinator_check,
	.start = coordinator_start,
	.reload = coordinator_reload,
	.not_ready = coordinator_not_ready,
	.drained = coordinator_drained,
	.stop = coordinator_stop,
};
