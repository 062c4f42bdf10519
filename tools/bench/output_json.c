/* summary.json */
#include <stdlib.h>

#include "hf_clock.h"
#include "output.h"

static json_t *hist_json(const struct hf_histogram *hist)
{
	json_t *json = json_object();

	for (size_t i = 0; i < HIST_QUANTILES; i++)
		json_object_set_new(
			json, hist_quantiles[i].name,
			json_integer((json_int_t)hist_quantile(hist, hist_quantiles[i].quantile)));
	json_object_set_new(json, "max", json_integer((json_int_t)hist->max));
	json_object_set_new(json, "mean", json_real(hist_mean(hist)));
	json_object_set_new(json, "stddev", json_real(hist_stddev(hist)));
	json_object_set_new(json, "count", json_integer((json_int_t)hist->count));
	return json;
}

static json_t *latency_json(const struct stats *total)
{
	static const struct {
		const char *name;
		enum hist corrected, uncorrected;
	} rows[] = { { "login", HIST_LOGIN, HIST_LOGIN_UNCORRECTED },
		     { "deliver", HIST_DELIVER, HIST_DELIVER_UNCORRECTED },
		     { "request", HIST_REQUEST, HIST_REQUEST_UNCORRECTED },
		     { "ack", HIST_ACK, HIST_ACK_UNCORRECTED },
		     { "upstream", HIST_UPSTREAM, HIST_UPSTREAM_UNCORRECTED },
		     { "connect", HIST_CONNECT, HISTS },
		     { "tls", HIST_TLS, HISTS },
		     { "auth", HIST_AUTH, HISTS },
		     { "deliver_storm", HIST_DELIVER_STORM, HISTS },
		     { "deliver_back", HIST_DELIVER_BACK, HISTS },
		     { "deliver_slow", HIST_DELIVER_SLOW, HISTS },
		     { "redeliver", HIST_REDELIVER, HISTS },
		     { "lag", HIST_LAG, HISTS } };
	json_t *json = json_object();

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
		json_t *corrected;

		if (total->hist[rows[i].corrected].count == 0)
			continue;
		corrected = hist_json(&total->hist[rows[i].corrected]);
		json_object_set_new(
			json, rows[i].name,
			rows[i].uncorrected == HISTS
				? corrected
				: json_pack("{s:o, s:o}", "corrected", corrected, "uncorrected",
					    hist_json(&total->hist[rows[i].uncorrected])));
	}
	return json;
}

static json_t *codes_json(const uint64_t counts[CLOSE_CODES])
{
	json_t *json = json_object();
	char code[16];

	for (unsigned i = 0; i < CLOSE_CODES; i++) {
		snprintf(code, sizeof(code), "%u", close_code(i));
		if (counts[i] > 0)
			json_object_set_new(json, code, json_integer((json_int_t)counts[i]));
	}
	return json;
}

/* As print_parts() of output.c. */
static json_t *parts_json(const uint64_t *counters, enum counter sum, enum counter last)
{
	json_t *json = json_object();

	for (enum counter i = sum + 1; i <= last; i++) {
		if (counters[i] > 0)
			json_object_set_new(json, counter_names[i] + strlen(counter_names[sum]) + 1,
					    json_integer((json_int_t)counters[i]));
	}
	return json;
}

static json_t *connections_json(const struct result *result)
{
	const struct stats *total = result->total;
	const uint64_t *c = total->counters;
	json_t *waves = json_array();

	for (unsigned i = 0; i < WAVES_MAX; i++) {
		const struct wave *wave = &total->waves[i];

		if (wave->begin_ns != 0)
			json_array_append_new(
				waves,
				json_pack("{s:f, s:I, s:I, s:f}", "at_s",
					  wave->begin_ns > result->start_ns
						  ? (double)(wave->begin_ns - result->start_ns) /
							    1e9
						  : 0.0,
					  "dropped", (json_int_t)wave->dropped, "recovered",
					  (json_int_t)wave->recovered, "recovery_s",
					  wave->done_ns > wave->begin_ns
						  ? (double)(wave->done_ns - wave->begin_ns) / 1e9
						  : 0.0));
	}
	return json_pack(
		"{s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:o, s:f, s:o, s:o}", "target",
		(json_int_t)(result->options->command & COMMANDS_CLIENT ? result->options->count
									: 0),
		"opened", (json_int_t)c[COUNT_LOGINS], "failed", (json_int_t)c[COUNT_FAILED],
		"failed_by", parts_json(c, COUNT_FAILED, COUNT_FAILED_LOCAL), "refused",
		codes_json(total->refused), "cut", (json_int_t)c[COUNT_CUT], "closed",
		codes_json(total->closed), "reconnected", (json_int_t)c[COUNT_RECONNECTED],
		"reconnected_by", parts_json(c, COUNT_RECONNECTED, COUNT_RECONNECTED_CHURN),
		"setup_s", result->setup_s, "mem_per_conn_server_b",
		result->server_memory_b < 0 ? json_null() : json_real(result->server_memory_b),
		"waves", waves);
}

json_t *result_run_json(const struct result *result)
{
	json_t *arguments = json_array();
	char began[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(result->wall_ms, began);
	for (int i = 0; i < result->options->argc; i++)
		json_array_append_new(arguments, json_string(result->options->argv[i]));
	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:f, s:I, s:f, s:I, s:s, s:o, s:I}", "command",
			 result->options->command_name, "arguments", arguments, "began_at", began,
			 "host", result->host, "machine", result->machine, "seconds",
			 result->seconds, "processes", (json_int_t)result->options->processes,
			 "cpu_s", (double)result->total->cpu_us / 1e6, "began_ms",
			 (json_int_t)result->wall_ms, "main", hist_names[result->main],
			 "server_cpu_s",
			 result->server_cpu_s < 0 ? json_null() : json_real(result->server_cpu_s),
			 "merged", (json_int_t)result->merged);
}

static json_t *messages_json(const struct result *result)
{
	const uint64_t *c = result->total->counters;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "sent",
			 (json_int_t)c[COUNT_SENT_MESSAGES], "accepted",
			 (json_int_t)c[COUNT_ACCEPTED], "due", (json_int_t)c[COUNT_DUE], "received",
			 (json_int_t)c[COUNT_UNIQUE], "lost", (json_int_t)result_lost(result),
			 "duplicated", (json_int_t)c[COUNT_DUPLICATED], "reordered",
			 (json_int_t)c[COUNT_REORDERED], "rate",
			 result->seconds > 0 ? (double)c[COUNT_RX_MESSAGES] / result->seconds : 0.0,
			 "first_refusal",
			 result->total->refusal[0] != '\0' ? json_string(result->total->refusal)
							   : json_null());
}

static json_t *clock_json(const struct result *result)
{
	const struct clock *clock = &result->clock;

	if (clock->source == NULL)
		return json_null();
	return json_pack("{s:s, s:f, s:f}", "source", clock->source, "offset_us",
			 clock->offset_ms * 1e3, "error_us", clock->error_ms * 1e3);
}

static json_t *thresholds_json(const struct result *result)
{
	json_t *json = json_array();

	for (size_t i = 0; i < result->threshold_count; i++) {
		const struct threshold *threshold = &result->thresholds[i];

		json_array_append_new(json, json_pack("{s:s, s:f, s:f, s:s, s:b}", "fail_if",
						      threshold->text, "value", threshold->value,
						      "limit", threshold->limit, "unit",
						      threshold->is_latency ? "us" : "", "failed",
						      (int)threshold->failed));
	}
	return json;
}

json_t *result_json(const struct result *result)
{
	json_t *counters = json_object(), *reasons = json_array();

	for (int i = 0; i < COUNTERS; i++)
		json_object_set_new(counters, counter_names[i],
				    json_integer((json_int_t)result->total->counters[i]));
	for (size_t i = 0; i < result->reason_count; i++)
		json_array_append_new(reasons, json_string(result->reasons[i]));
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:b, s:o}", "schema", 1,
			 "run", result_run_json(result), "connections", connections_json(result),
			 "messages", messages_json(result), "latency_us",
			 latency_json(result->total), "clock", clock_json(result), "one_way_known",
			 (int)!result->one_way_unknown, "counters", counters, "thresholds",
			 thresholds_json(result), "valid", (int)(result->reason_count == 0),
			 "invalid_reasons", reasons);
}
