/* services/center/center.c - the process: what it follows, what it serves, how it ends. */
#define HF_LOG_MODULE "center"
#include "center.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api.h"
#include "held.h"
#include "hf_log.h"
#include "message.h"
#include "quota.h"
#include "send.h"

#define SCRATCH_BUDGET (8u << 20) /* of one request being checked: its body's size and a little */
#define SCRATCH_KEEP   (256u << 10)
#define CALL_BUDGET    (4u << 20)

/* The reasons are literals of this program: the labels are bounded. */
void center_count_refusal(struct center *center, const char *reason)
{
	char label[96];

	snprintf(label, sizeof(label), "reason=\"%s\"", reason);
	++*hf_metrics_counter(center->service->metrics, "holdfast_center_refusals_total", label,
			      "requests and messages refused, by reason");
}

static double read_messages(void *ctx)
{
	return (double)((struct center *)ctx)->messages_open;
}

static double read_targets(void *ctx)
{
	return (double)((struct center *)ctx)->targets_open;
}

static double read_frame_bytes(void *ctx)
{
	return (double)((struct center *)ctx)->frame_bytes;
}

static void make_gauges(struct center *center, struct hf_metrics *metrics)
{
	hf_metrics_gauge_fn(metrics, "holdfast_center_messages_in_delivery", NULL,
			    "messages being stored or pushed", read_messages, center);
	hf_metrics_gauge_fn(metrics, "holdfast_center_recipients_in_delivery", NULL,
			    "their recipients", read_targets, center);
	hf_metrics_gauge_fn(metrics, "holdfast_center_delivery_bytes", NULL,
			    "bytes of their frames", read_frame_bytes, center);
}

static void make_metrics(struct center *center)
{
	struct hf_metrics *metrics = center->service->metrics;
	struct center_counters *counters = &center->counters;
	static const char dropped[] = "holdfast_messages_dropped_total";

	counters->accepted[CENTER_UNICAST] =
		hf_metrics_counter(metrics, "holdfast_messages_accepted_total", "kind=\"unicast\"",
				   "messages accepted, by audience");
	counters->accepted[CENTER_MULTICAST] =
		hf_metrics_counter(metrics, "holdfast_messages_accepted_total",
				   "kind=\"multicast\"", NULL);
	counters->accepted[CENTER_TAG] =
		hf_metrics_counter(metrics, "holdfast_messages_accepted_total", "kind=\"tag\"",
				   NULL);
	counters->accepted[CENTER_BROADCAST] =
		hf_metrics_counter(metrics, "holdfast_messages_accepted_total",
				   "kind=\"broadcast\"", NULL);
	counters->written =
		hf_metrics_counter(metrics, "holdfast_messages_written_total", "path=\"online\"",
				   "recipients whose room wrote the message");
	counters->deferred = hf_metrics_counter(metrics, "holdfast_center_deferred_total", NULL,
						"recipients whose window was full");
	counters->offline = hf_metrics_counter(metrics, "holdfast_center_offline_total", NULL,
					       "recipients that were not connected");
	counters->dropped = hf_metrics_counter(metrics, dropped, "reason=\"slow_consumer\"",
					       "transient messages dropped, by recipient");
	counters->unrouted =
		hf_metrics_counter(metrics, "holdfast_center_unrouted_total", NULL,
				   "recipients left to their next login after route.timeout");
	counters->gone = hf_metrics_counter(metrics, "holdfast_center_gone_total", NULL,
					    "pushes that found the session gone");
	counters->store_retries =
		hf_metrics_counter(metrics, "holdfast_center_retries_total", "phase=\"store\"",
				   "repeated attempts, by recipient");
	counters->route_retries = hf_metrics_counter(metrics, "holdfast_center_retries_total",
						     "phase=\"route\"", NULL);
	counters->store_failed = hf_metrics_counter(metrics, "holdfast_center_store_failed_total",
						    NULL, "recipients that could not be stored");
	counters->unregistered = hf_metrics_counter(metrics, "holdfast_center_unregistered_total",
						    NULL, "Recipients that never attached.");
	counters->replayed = hf_metrics_counter(metrics, "holdfast_center_replayed_total", NULL,
						"answers given again for an idempotency key");
	counters->store_us =
		hf_metrics_histogram(metrics, "holdfast_center_store_duration_seconds", NULL,
				     "from a message's acceptance until it is stored", 1000000);
	counters->write_us = hf_metrics_histogram(metrics, "holdfast_delivery_latency_seconds",
						  "stage=\"accept_to_write\"",
						  "from acceptance to a stage", 1000000);
	make_gauges(center, metrics);
}

static void on_apps_change(struct hf_apps *apps, void *ctx)
{
	struct center *center = ctx;

	held_on_change(center);
	quota_sweep(center);
}

static int follow(struct center *center)
{
	const struct {
		const char *service;
		const ProtobufCServiceDescriptor *descriptor;
		struct hf_peers **ret;
	} followed[] = {
		{ "saver", &hf__saver__descriptor, &center->savers },
		{ "register", &hf__register__descriptor, &center->registers },
		{ "room", &hf__room__descriptor, &center->rooms },
		{ "coordinator", &hf__coordinator__descriptor, &center->coordinators },
		{ "center", &hf__center__descriptor, &center->centers },
		{ "dispatcher", NULL, &center->dispatchers },
	};
	struct hf_service *service = center->service;
	int err = 0;

	for (size_t i = 0; err == 0 && i < HF_ARRAY_LEN(followed); i++) {
		struct hf_peers_options options = { .service = followed[i].service,
						    .descriptor = followed[i].descriptor };

		err = hf_peers_new(service->loop, service->metrics, service->keeper, &options,
				   followed[i].ret);
	}
	if (err == 0)
		err = hf_apps_new(service->keeper, on_apps_change, center, &center->apps);
	if (err < 0)
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
	return err;
}

static int serve(struct center *center)
{
	const struct center_config *config = center->config;
	struct hf_http_server_options options = {
		.address = config->api_bind,
		.name = "api",
		.body_max = config->body_max,
		.buffered_max = config->buffered_max,
		.connections_max = (uint32_t)config->connections_max,
		.header_ms = (uint32_t)config->header_ms,
		.body_ms = (uint32_t)config->body_ms,
		.idle_ms = (uint32_t)config->idle_ms,
		.on_request = api_on_request,
		.wants_stream = api_on_head,
		.ctx = center,
	};
	int err =
		hf_http_server_new(center->loop, center->service->metrics, &options, &center->http);

	if (err < 0) {
		HF_ERROR("api not served", "bind=%s err=%s", config->api_bind, strerror(-err));
		return err;
	}
	HF_INFO("api served", "address=%s operator_key=%s", hf_http_server_address(center->http),
		center->has_operator ? "set" : "none");
	return 0;
}

/* Others, and tests on port 0, find the API's address in the keeper. */
static void announce_endpoint(struct center *center)
{
	struct hf_instance *instance = &center->service->instance;
	struct hf_endpoint *endpoint = &instance->endpoints[0];

	snprintf(endpoint->address, sizeof(endpoint->address), "%s",
		 hf_http_server_address(center->http));
	snprintf(endpoint->transport, sizeof(endpoint->transport), "http");
	instance->endpoint_count = 1;
}

static int center_start(struct hf_service *service)
{
	struct center *center = calloc(1, sizeof(*center));
	int err;

	if (center == NULL)
		return -ENOMEM;
	service->state = center;
	center->service = service;
	center->loop = service->loop;
	center->config = service->config;
	TAILQ_INIT(&center->messages);
	TAILQ_INIT(&center->sends);
	TAILQ_INIT(&center->held_answers);
	hf_arena_init(&center->scratch, SCRATCH_BUDGET, SCRATCH_KEEP);
	hf_arena_init(&center->call, CALL_BUDGET, SCRATCH_KEEP);
	store_init(center);
	route_init(center);
	make_metrics(center);
	if (auth_init(center) < 0) {
		HF_ERROR("bad operator key", "option=operator_key min_length=16");
		return -EINVAL;
	}
	err = recent_init(&center->recent, (size_t)center->config->recent_max);
	if (err == 0)
		err = quota_init(center);
	if (err == 0)
		err = follow(center);
	if (err == 0)
		runner_init(center);
	if (err == 0)
		err = serve(center);
	if (err < 0)
		return err;
	announce_endpoint(center);
	return why_serve(center);
}

/* Sends answer into the void, calls end CANCELED, and what then still waits is freed: everything
 * that was accepted is in the store. */
static void center_stop(struct hf_service *service)
{
	struct center *center = service->state;

	if (center == NULL)
		return;
	center->stopping = true;
	hf_http_server_free(center->http);
	hf_peers_free(center->savers);
	hf_peers_free(center->registers);
	hf_peers_free(center->rooms);
	hf_peers_free(center->coordinators);
	hf_peers_free(center->centers);
	hf_peers_free(center->dispatchers);
	lanes_deinit(&center->store_lanes);
	lanes_deinit(&center->lookup_lanes);
	lanes_deinit(&center->push_lanes);
	send_free_all(center);
	runner_free_all(center);
	message_free_all(center);
	held_free_all(center);
	quota_deinit(center);
	recent_deinit(&center->recent);
	hf_apps_free(center->apps);
	hf_arena_deinit(&center->scratch);
	hf_arena_deinit(&center->call);
	free(center);
	service->state = NULL;
}

static void center_reload(struct hf_service *service, const void *old)
{
	((struct center *)service->state)->config = service->config;
}

static const char *center_not_ready(struct hf_service *service)
{
	const struct center *center = service->state;

	if (!hf_apps_known(center->apps))
		return "the apps are not loaded yet";
	if (hf_peers_by_slot(center->savers, 0) == NULL)
		return "no saver serves";
	if (hf_peers_by_slot(center->registers, 0) == NULL)
		return "no register serves";
	return NULL;
}

static void center_drain(struct hf_service *service)
{
	struct center *center = service->state;

	runner_drain(center);
	hf_http_server_drain(center->http);
}

static bool center_drained(struct hf_service *service)
{
	const struct center *center = service->state;

	return hf_http_server_open_exchanges(center->http) == 0 && center->messages_open == 0;
}

const struct hf_service_type center_type = {
	.name = "center",
	.summary = "The HTTP API of the businesses: takes messages, stores them, pushes them.",
	.options = center_options,
	.config_size = sizeof(struct center_config),
	.start = center_start,
	.reload = center_reload,
	.not_ready = center_not_ready,
	.drain = center_drain,
	.drained = center_drained,
	.stop = center_stop,
};
