/* What both classes of events need: their metrics, and the end of a callback that answered 410. */
#define HF_LOG_MODULE "callbacks"
#include "events.h"

#include <stdio.h>
#include <stdlib.h>

#include "hf_log.h"

void events_metrics_init(struct events_metrics *metrics, struct hf_metrics *registry,
			 const char *class)
{
	static const char *const names[] = {
		[POST_ANSWERED] = "answered", [POST_TIMEOUT] = "timeout",
		[POST_FAILED] = "failed",     [POST_TOO_LARGE] = "too_large",
		[POST_DENIED] = "denied",
	};
	char labels[64];

	for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
		snprintf(labels, sizeof(labels), "class=\"%s\",result=\"%s\"", class, names[i]);
		metrics->results[i] =
			hf_metrics_counter(registry, "holdfast_webhook_deliveries_total", labels,
					   "Requests to callbacks by outcome");
	}
	snprintf(labels, sizeof(labels), "class=\"%s\"", class);
	metrics->delivered = hf_metrics_counter(registry, "holdfast_webhook_events_delivered_total",
						labels, "Events that a callback took");
	metrics->duration_us =
		hf_metrics_histogram(registry, "holdfast_webhook_duration_seconds", labels,
				     "From the start of a request to a callback to its outcome",
				     1000000);
}

void events_count_request(struct coordinator_state *state, struct events_metrics *metrics,
			  const char *class, const struct parcel *parcel, const char *webhook,
			  const struct post_outcome *outcome)
{
	static struct hf_log_throttle throttle;

	++*metrics->results[outcome->result];
	hf_histogram_record(metrics->duration_us,
			    hf_loop_now_us(state->service->loop) - parcel->started_us);
	if (outcome->status / 100 != 2 && hf_log_throttle_pass(&throttle, 1000))
		HF_WARN("events not delivered",
			"class=%s app=%u webhook=%s attempt=%u status=%u error=%s", class,
			parcel->request.app, webhook, parcel->request.attempt, outcome->status,
			hf_log_quote(outcome->detail, strlen(outcome->detail)));
}

uint64_t *events_dropped(struct coordinator_state *state, const char *class, const char *reason)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "class=\"%s\",reason=\"%s\"", class, reason);
	return hf_metrics_counter(state->service->metrics, "holdfast_webhook_events_dropped_total",
				  labels, "Events that no callback got, by reason");
}

/* The newest document is changed, as center does it; who writes at the same time may win. */
void events_disable_webhook(struct coordinator_state *state, uint32_t app_id, const char *webhook,
			    const char *reason)
{
	char path[32], error[HF_CONFIG_ERROR_SIZE] = "", *text = NULL, *changed = NULL;
	struct hf_keeper *keeper = state->service->keeper;
	bool found = false;
	struct hf_app app;
	size_t len;
	int err;

	snprintf(path, sizeof(path), "apps/%u", app_id);
	err = hf_keeper_get(keeper, path, &text, &len);
	if (err == 0)
		err = hf_app_decode(text, len, &app, error);
	free(text);
	for (size_t i = 0; err == 0 && i < app.webhook_count; i++) {
		struct hf_webhook *one = &app.webhooks[i];

		if (strcmp(one->id, webhook) != 0 || !one->enabled)
			continue;
		found = true;
		one->enabled = false;
		memset(one->disabled_reason, 0, sizeof(one->disabled_reason));
		snprintf(one->disabled_reason, sizeof(one->disabled_reason), "%s", reason);
	}
	if (err == 0 && found) {
		changed = hf_app_encode(&app);
		err = changed != NULL ? hf_keeper_set(keeper, path, changed, strlen(changed))
				      : -ENOMEM;
		free(changed);
	}
	if (err < 0)
		HF_ERROR("callback not turned off", "app=%u webhook=%s err=%s", app_id, webhook,
			 strerror(-err));
	else if (found)
		HF_WARN("callback turned off", "app=%u webhook=%s reason=%s", app_id, webhook,
			hf_log_quote(reason, strlen(reason)));
}
