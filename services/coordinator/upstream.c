/* Upstream: one message of a client to its app's callback, and the business's answer back, in one
 * call of its room. Nothing is tried twice: the client hears how it went and decides. */
#define HF_LOG_MODULE "upstream"
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "body.h"
#include "events.h"
#include "hf_hash.h"
#include "hf_log.h"
#include "hf_text.h"
#include "hf_wire.h"

struct message {
	struct parcel parcel;
	struct coordinator_state *state;
	Hf__UpstreamReply_Closure closure;
	void *call;
	uint32_t app, sequence;
	uint64_t name; /* for hf_why */
	char webhook[HF_WEBHOOK_ID_MAX + 1];
	char *body;
};

static void reply(struct coordinator_state *state, Hf__UpstreamReply_Closure closure, void *call,
		  unsigned code, const char *reason, struct hf_bytes frame)
{
	Hf__UpstreamReply answer = HF__UPSTREAM_REPLY__INIT;
	char labels[48];

	snprintf(labels, sizeof(labels), "result=\"%s\"", hf_upstream_name(code));
	++*hf_metrics_counter(state->service->metrics, "holdfast_upstream_messages_total", labels,
			      "Messages of clients by outcome");
	answer.code = code;
	answer.reason = (char *)(uintptr_t)reason;
	answer.frame = (ProtobufCBinaryData){ frame.len, (uint8_t *)(uintptr_t)frame.data };
	closure(&answer, call);
}

static void message_free(struct message *message)
{
	free(message->body);
	free(message);
}

static void finish(struct message *message, unsigned code, const char *reason,
		   struct hf_bytes frame)
{
	static struct hf_log_throttle throttle;

	if (code != 0 && hf_log_throttle_pass(&throttle, 1000))
		HF_WARN("upstream not delivered", "app=%u webhook=%s code=%u reason=\"%s\"",
			message->app, message->webhook, code, reason);
	reply(message->state, message->closure, message->call, code, reason, frame);
	message_free(message);
}

/* 2xx: taken. What the business wrote becomes a PUSH that names the client's sequence. */
static void taken(struct message *message, const struct post_outcome *outcome)
{
	static uint8_t frame[HF_WIRE_PAYLOAD_MAX + HF_WIRE_PUSH_OVERHEAD];
	struct hf_service *service = message->state->service;
	struct hf_wire_push push = {
		.message_id = message->parcel.request.id,
		.app = message->app,
		.kind = outcome->is_json && body_is_json(outcome->body) ? HF_WIRE_PAYLOAD_JSON
									: HF_WIRE_PAYLOAD_BYTES,
		.upstream_sequence = message->sequence,
		.payload = outcome->body,
	};
	ssize_t len = 0;

	if (outcome->body.len > 0) {
		push.message_id = hf_id_next(&service->ids, hf_loop_wall_ms(service->loop));
		len = hf_wire_encode_push(&push, frame, sizeof(frame));
	}
	if (len < 0)
		finish(message, HF_UPSTREAM_BAD_ANSWER, "the answer is too large",
		       hf_bytes_of(NULL, 0));
	else
		finish(message, 0, "", hf_bytes_of(frame, (size_t)len));
}

static void answered(struct message *message, const struct post_outcome *outcome)
{
	char reason[64];
	unsigned code = HF_UPSTREAM_FAILED;

	if (outcome->status / 100 == 2) {
		taken(message, outcome);
		return;
	}
	if (outcome->status == 429)
		code = HF_CLOSE_RATE_LIMITED;
	else if (outcome->status / 100 == 4 && outcome->status != 408)
		code = HF_UPSTREAM_REFUSED;
	snprintf(reason, sizeof(reason), "the callback answered %u", outcome->status);
	finish(message, code, reason, hf_bytes_of(NULL, 0));
}

static void count_delivery(struct coordinator_state *state, const struct parcel *parcel,
			   const struct post_outcome *outcome)
{
	static const char *const names[] = {
		[POST_ANSWERED] = "answered", [POST_TIMEOUT] = "timeout",
		[POST_FAILED] = "failed",     [POST_TOO_LARGE] = "too_large",
		[POST_DENIED] = "denied",
	};
	char labels[64];

	snprintf(labels, sizeof(labels), "class=\"upstream\",result=\"%s\"",
		 names[outcome->result]);
	++*hf_metrics_counter(state->service->metrics, "holdfast_webhook_deliveries_total", labels,
			      "Requests to callbacks by outcome");
	hf_histogram_record(state->upstream_us,
			    hf_loop_now_us(state->service->loop) - parcel->started_us);
}

static void on_done(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct message *message = HF_CONTAINER_OF(parcel, struct message, parcel);
	static struct hf_log_throttle throttle;
	struct hf_bytes nothing = { NULL, 0 };

	if (outcome == NULL) {
		finish(message, HF_CLOSE_OVERLOADED,
		       lost ? "could not be sent" : "waited too long for the callback", nothing);
		return;
	}
	count_delivery(message->state, parcel, outcome);
	hf_why_note(&message->state->service->why,
		    outcome->result == POST_ANSWERED && outcome->status / 100 == 2
			    ? HF_WHY_POSTED
			    : HF_WHY_POST_FAILED,
		    message->app, message->parcel.request.id, message->name, outcome->status);
	if (outcome->result != POST_ANSWERED && hf_log_throttle_pass(&throttle, 1000))
		HF_WARN("callback failed", "app=%u webhook=%s error=%s", message->app,
			message->webhook, hf_log_quote(outcome->detail, strlen(outcome->detail)));
	switch (outcome->result) {
	case POST_ANSWERED:
		answered(message, outcome);
		break;
	case POST_TIMEOUT:
		finish(message, HF_UPSTREAM_TIMEOUT, "the callback did not answer in time",
		       nothing);
		break;
	case POST_FAILED:
		finish(message, HF_UPSTREAM_FAILED, "the callback could not be asked", nothing);
		break;
	case POST_TOO_LARGE:
		finish(message,
		       outcome->status / 100 == 2 ? HF_UPSTREAM_BAD_ANSWER : HF_UPSTREAM_FAILED,
		       "the answer is too large", nothing);
		break;
	case POST_DENIED:
		finish(message, HF_UPSTREAM_BAD_CALLBACK,
		       "the callback leads into a private network", nothing);
		break;
	}
}

static struct hf_bytes bytes_of(const ProtobufCBinaryData *data)
{
	return hf_bytes_of(data->data, data->len);
}

static bool is_valid(const Hf__UpstreamRequest *request)
{
	return request->app != 0 && request->sequence != 0 &&
	       hf_text_is_id(request->registration.data, request->registration.len,
			     HF_REGISTRATION_MAX) &&
	       (request->user_id.len == 0 ||
		hf_text_is_id(request->user_id.data, request->user_id.len, HF_USER_ID_MAX)) &&
	       hf_text_is_id(request->forward_type, strlen(request->forward_type),
			     HF_WIRE_LABEL_MAX) &&
	       request->payload.len <= HF_WIRE_PAYLOAD_MAX;
}

static struct message *message_new(struct coordinator_state *state,
				   const Hf__UpstreamRequest *request,
				   const struct hf_webhook *webhook)
{
	struct hf_service *service = state->service;
	uint64_t wall_ms = hf_loop_wall_ms(service->loop);
	struct upstream_event event = {
		.app = request->app,
		.sequence = request->sequence,
		.id = hf_id_next(&service->ids, wall_ms),
		.at_ms = wall_ms,
		.registration = bytes_of(&request->registration),
		.user_id = bytes_of(&request->user_id),
		.forward_type = hf_bytes_of_string(request->forward_type),
		.payload = bytes_of(&request->payload),
	};
	struct message *message = calloc(1, sizeof(*message));

	if (message == NULL)
		return NULL;
	message->state = state;
	message->app = request->app;
	message->name = hf_why_name(&service->why, request->app, request->registration.data,
				    request->registration.len);
	message->sequence = request->sequence;
	memcpy(message->webhook, webhook->id, sizeof(message->webhook));
	message->parcel.request.app = request->app;
	message->parcel.request.id = event.id;
	message->parcel.request.attempt = 1;
	message->body = body_of_upstream(&event, &message->parcel.request.body_len);
	message->parcel.request.body = message->body;
	if (message->body == NULL) {
		free(message);
		return NULL;
	}
	return message;
}

void on_upstream(Hf__Coordinator_Service *rpc, const Hf__UpstreamRequest *request,
		 Hf__UpstreamReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	const struct hf_app *app = hf_apps_get(state->apps, request->app);
	const struct hf_webhook *webhook = NULL;
	struct hf_bytes nothing = { NULL, 0 };
	struct message *message;
	int err;

	if (!is_valid(request)) {
		++*state->bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_UPSTREAM");
		return;
	}
	if (app != NULL)
		webhook = hf_webhook_for_type(app->webhooks, app->webhook_count,
					      hf_bytes_of_string(request->forward_type));
	if (app == NULL || !app->enabled) {
		reply(state, closure, call,
		      app == NULL ? HF_CLOSE_APP_UNKNOWN : HF_CLOSE_APP_DISABLED, "", nothing);
		return;
	}
	if (webhook == NULL) {
		reply(state, closure, call, HF_UPSTREAM_NO_CALLBACK,
		      "no callback takes this forward type", nothing);
		return;
	}
	message = message_new(state, request, webhook);
	if (message == NULL) {
		hf_rpc_fail(call, HF_RPC_INTERNAL, "OUT_OF_MEMORY");
		return;
	}
	message->closure = closure;
	message->call = call;
	err = targets_submit(state->targets, request->app, webhook,
			     hf_hash(request->registration.data, request->registration.len),
			     &message->parcel);
	if (err == -EDQUOT)
		finish(message, HF_CLOSE_RATE_LIMITED, "too many messages of this app", nothing);
	else if (err < 0)
		finish(message, HF_CLOSE_OVERLOADED, "the callback's queue is full", nothing);
}

static double read_waiting(void *ctx)
{
	return (double)targets_waiting(ctx);
}

static double read_in_flight(void *ctx)
{
	return (double)targets_in_flight(ctx);
}

static double read_targets(void *ctx)
{
	return (double)targets_count(ctx);
}

void upstream_configure(struct coordinator_state *state)
{
	struct targets_limits limits;

	coordinator_limits(state, &limits);
	targets_set_limits(state->targets, &limits);
}

/* Every request may need a descriptor, and connections are kept: take all that we may have. */
static void raise_descriptor_limit(const struct coordinator_config *config)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 2 * config->in_flight)
		HF_WARN("few descriptors for callbacks", "nofile=%llu in_flight=%llu",
			(unsigned long long)limit.rlim_max, (unsigned long long)config->in_flight);
}

static void on_apps_changed(struct hf_apps *apps, void *ctx)
{
	receipts_apps_changed(ctx);
}

int upstream_open(struct coordinator_state *state)
{
	struct hf_metrics *metrics = state->service->metrics;

	raise_descriptor_limit(state->config);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	state->targets = targets_new(state->service->loop, on_done);
	if (state->targets == NULL)
		return -ENOMEM;
	upstream_configure(state);
	state->upstream_us =
		hf_metrics_histogram(metrics, "holdfast_webhook_duration_seconds",
				     "class=\"upstream\"",
				     "From the start of a request to a callback to its outcome",
				     1000000);
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_queue_events", "class=\"upstream\"",
			    "Waiting for their turn at a callback", read_waiting, state->targets);
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_requests_in_flight", NULL,
			    "Requests to callbacks", read_in_flight, state->targets);
	hf_metrics_gauge_fn(metrics, "holdfast_webhook_targets", NULL,
			    "Callbacks in use a short while ago", read_targets, state->targets);
	return hf_apps_new(state->service->keeper, on_apps_changed, state, &state->apps);
}

void upstream_close(struct coordinator_state *state)
{
	targets_free(state->targets);
	hf_apps_free(state->apps);
	curl_global_cleanup();
}
