#define HF_LOG_MODULE "register"
#include "register.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "hf_log.h"

#define AT(member) offsetof(struct register_config, member)

static const struct hf_option register_options[] = {
	HF_SERVICE_OPTIONS(struct register_config),
	{ "limits.sessions", HF_OPT_UINT, AT(max_sessions), "100000000", 1, 2000000000,
	  "sessions held; above it new ones are refused", .reloadable = true },
	{ "resync.interval", HF_OPT_MSEC, AT(resync_ms), "500ms", 50, 60000,
	  "how often rooms are asked again for slots they have not told yet", .reloadable = true },
	{ "kick.timeout", HF_OPT_MSEC, AT(kick_timeout_ms), "2s", 100, 60000,
	  "longest wait for a room to end a session", .reloadable = true },
	{ "takeovers.limit", HF_OPT_UINT, AT(takeovers_limit), "5", 0, 1000,
	  "times in takeovers.period that a registration may be taken from a live client before "
	  "newcomers are refused; 0: no limit",
	  .reloadable = true },
	{ "takeovers.period", HF_OPT_MSEC, AT(takeovers_ms), "30s", 1000, 3600000,
	  "the time that takeovers.limit is about", .reloadable = true },
	{ 0 },
};

static double read_sessions(void *ctx)
{
	return (double)((struct register_state *)ctx)->sessions;
}

static double read_bytes(void *ctx)
{
	return (double)((struct register_state *)ctx)->bytes;
}

static double read_owned(void *ctx)
{
	return ((struct register_state *)ctx)->owned_count;
}

static double read_complete(void *ctx)
{
	const struct register_state *state = ctx;

	return state->owned_count - state->incomplete_count;
}

static void metrics_init(struct register_state *state)
{
	struct hf_metrics *m = state->service->metrics;
	struct register_metrics *metrics = &state->metrics;
	const struct {
		uint64_t **cell;
		const char *name, *labels, *help;
	} rows[] = {
		{ &metrics->lookups[HF__PRESENCE__OFFLINE], "holdfast_register_lookups_total",
		  "result=\"offline\"", "Lookups by result" },
		{ &metrics->lookups[HF__PRESENCE__ONLINE], "holdfast_register_lookups_total",
		  "result=\"online\"", "Lookups by result" },
		{ &metrics->lookups[HF__PRESENCE__NOT_YET_KNOWN], "holdfast_register_lookups_total",
		  "result=\"not_yet_known\"", "Lookups by result" },
		{ &metrics->added, "holdfast_register_updates_total", "kind=\"added\"",
		  "Session changes by kind" },
		{ &metrics->removed, "holdfast_register_updates_total", "kind=\"removed\"",
		  "Session changes by kind" },
		{ &metrics->stale, "holdfast_register_refusals_total", "reason=\"stale\"",
		  "Sessions refused by reason" },
		{ &metrics->not_owner, "holdfast_register_refusals_total", "reason=\"not_owner\"",
		  "Sessions refused by reason" },
		{ &metrics->refused_full, "holdfast_register_refusals_total", "reason=\"full\"",
		  "Sessions refused by reason" },
		{ &metrics->throttled, "holdfast_register_refusals_total", "reason=\"throttled\"",
		  "Sessions refused by reason" },
		{ &metrics->bad_requests, "holdfast_register_refusals_total",
		  "reason=\"bad_request\"", "Sessions refused by reason" },
		{ &metrics->kicks_replaced, "holdfast_register_kicks_total", "kind=\"replaced\"",
		  "Sessions that rooms were told to end" },
		{ &metrics->kicks_asked, "holdfast_register_kicks_total", "kind=\"asked\"",
		  "Sessions that rooms were told to end" },
		{ &metrics->kicks_failed, "holdfast_register_kicks_failed_total", NULL,
		  "Kicks whose room did not answer" },
		{ &metrics->slots_synced, "holdfast_register_slots_synced_total", NULL,
		  "Slots that rooms have told, one for each room and slot" },
		{ &metrics->resyncs_asked, "holdfast_register_resyncs_asked_total", NULL,
		  "Times a room was asked for slots" },
		{ &metrics->swept, "holdfast_register_swept_total", NULL,
		  "Sessions of dead rooms removed by the sweep" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++)
		*rows[i].cell = hf_metrics_counter(m, rows[i].name, rows[i].labels, rows[i].help);
	hf_metrics_gauge_fn(m, "holdfast_register_sessions", NULL, "Sessions in the index",
			    read_sessions, state);
	hf_metrics_gauge_fn(m, "holdfast_register_table_bytes", NULL, "Memory of the index",
			    read_bytes, state);
	hf_metrics_gauge_fn(m, "holdfast_register_slots_owned", NULL,
			    "Hash slots that belong to this instance", read_owned, state);
	hf_metrics_gauge_fn(m, "holdfast_register_slots_complete", NULL,
			    "Owned slots that every room has told", read_complete, state);
}

static void register_stop(struct hf_service *service)
{
	struct register_state *state = service->state;

	if (state == NULL)
		return;
	hf_wheel_disarm(&state->resync_timer);
	hf_wheel_disarm(&state->sweep_timer);
	ownership_stop(state);
	kick_deinit(state);
	for (uint32_t slot = 0; slot < HF_SLOTS; slot++)
		slot_table_deinit(&state->slots[slot]);
	for (uint32_t number = 0; number < ROOMS_MAX; number++)
		free(state->room[number]);
	free(state);
	service->state = NULL;
}

static int register_start(struct hf_service *service)
{
	struct register_state *state = calloc(1, sizeof(*state));
	int err;

	if (state == NULL)
		return -ENOMEM;
	service->state = state;
	state->service = service;
	state->config = service->config;
	metrics_init(state);
	kick_init(state);
	rpc_init(state);

	err = ownership_start(state);
	if (err < 0) {
		HF_ERROR("keeper watch failed", "err=%s", strerror(-err));
		return err;
	}
	sweep_start(state);
	return hf_service_serve_rpc(service, &state->rpc.base);
}

static void register_reload(struct hf_service *service, const void *old)
{
	struct register_state *state = service->state;

	(void)old;
	state->config = service->config;
}

static const char *register_not_ready(struct hf_service *service)
{
	const struct register_state *state = service->state;

	if (!hf_peers_known(state->rooms) || !hf_peers_known(state->registers))
		return "keeper view not complete";
	return NULL;
}

const struct hf_service_type register_type = {
	.name = "register",
	.summary = "the session index: which room holds which registration",
	.options = register_options,
	.config_size = sizeof(struct register_config),
	.start = register_start,
	.reload = register_reload,
	.not_ready = register_not_ready,
	.stop = register_stop,
};
